"""Carrying out a plan: all staged or nothing changed, and users' directories as the user."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import rig

from guestagent import commit as apply
from guestagent import defs
from guestagent.commit import file
from guestagent.errors import Origin, Problem
from guestagent.facts import gather
from guestagent.model import Secret
from guestagent.plan.difference import diff
from guestagent.plan.kinds.account import User, UserPassword
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.kinds.remove import RemoveFile
from guestagent.system import ownfiles
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds import Change, Resource

WHY = Origin("drive", "meta_data.json", "key")
KEYS = "/home/debian/.ssh/authorized_keys"
UID = 1000


def write(path: str, new: bytes = b"new\n", old: bytes | None = None, user: str = "") -> WriteFile:
    return WriteFile("write", path, old, new, None, 0o640, user, WHY, False)


def commit(guest: Path, *changes: Change) -> list[Problem]:
    """Apply changes to a tree; the problems of those that failed."""
    return [problem for _, problem in apply.commit(changes, Root(str(guest)))]


def planned(guest: Path, *resources: Resource) -> tuple[Change, ...]:
    """The changes of a first run."""
    root = Root(str(guest))
    return diff(resources, root, gather(root), recorded={}, first=True, complete=True).changes


def test_files_get_content_and_mode_and_their_folders_are_made(guest: Path) -> None:
    (guest / "etc/motd").write_text("a much longer old content\n")
    assert commit(guest, write("/etc/motd", old=b"x"), write("/srv/a/b/c", b"\0" * 70000)) == []
    assert (guest / "etc/motd").read_bytes() == b"new\n"
    assert (guest / "srv/a/b/c").read_bytes() == b"\0" * 70000
    assert (guest / "srv/a/b/c").stat().st_mode & 0o7777 == 0o640
    assert (guest / "srv/a").stat().st_mode & 0o7777 == 0o755


def test_a_link_at_the_target_is_replaced_not_followed(guest: Path) -> None:
    (guest / "etc/motd").symlink_to("hosts")
    before = (guest / "etc/hosts").read_bytes()
    assert commit(guest, write("/etc/motd")) == []
    assert not (guest / "etc/motd").is_symlink()
    assert (guest / "etc/hosts").read_bytes() == before


@pytest.mark.parametrize("call", ["write", "fchmod", "open"])
def test_D2_a_failure_while_staging_leaves_the_tree_as_it_was(
    guest: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    ownfiles.write(Root(str(guest)), defs.REPORT_FILE, {}, 0o644)
    ownfiles.write(Root(str(guest)), defs.STATE_FILE, {}, 0o600)
    before = rig.snapshot(guest)
    real = getattr(os, call)

    def fail(*arguments: object, **options: object) -> object:
        at_last = b"last\n" in arguments or str(arguments[0]).startswith(defs.TEMPORARY_PREFIX)
        if call == "fchmod" and Path("/proc/self/fd", str(arguments[0])).stat().st_size == 5:
            at_last = True
        if at_last and str(arguments[0]) != ".guestagent.tmp":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space"):
        commit(guest, write("/etc/one"), write("/etc/hosts", b"last\n", old=b""))
    monkeypatch.undo()
    assert rig.differences(before, rig.snapshot(guest)) == set()


def test_D2_what_the_kernel_takes_in_pieces_is_written_whole(
    guest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write(2) may take less than it is given, of root and of the child that became a user."""
    rig.need_root()
    real, content = os.write, bytes(range(256)) * 40
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:1000])))
    assert commit(guest, write("/etc/motd", content), write(KEYS, content, user="debian")) == []
    assert (guest / "etc/motd").read_bytes() == content
    assert (guest / KEYS[1:]).read_bytes() == content


def test_D1_what_a_killed_run_staged_is_removed(guest: Path) -> None:
    root = Root(str(guest))
    left = [f"/etc/{defs.TEMPORARY_PREFIX}0123456789ab", f"/etc/{defs.TEMPORARY_PREFIX}none"]
    (guest / left[0][1:]).write_text("half")
    ownfiles.write(root, defs.STAGING_FILE, left, 0o600)
    assert commit(guest, write("/etc/motd")) == []
    names = [path.name for path in guest.rglob("*") if path.name.startswith(".guestagent.")]
    assert names == []
    assert not (guest / defs.STAGING_FILE[1:]).exists()


def test_one_refused_file_does_not_stop_the_others(guest: Path) -> None:
    (guest / "etc/folder").mkdir()
    problems = commit(guest, write("/etc/folder"), write("/etc/motd"))
    assert [problem.key for problem in problems] == ["key"]
    assert "is a directory" in problems[0].reason
    assert (guest / "etc/motd").exists()


def test_a_folder_that_everybody_may_write_is_refused(guest: Path) -> None:
    (guest / "open").mkdir()
    (guest / "open").chmod(0o777)
    (problem,) = commit(guest, write("/open/file"))
    assert "world-writable" in problem.reason
    assert list((guest / "open").iterdir()) == []


def test_files_that_are_no_longer_wanted_go(guest: Path) -> None:
    (guest / "etc/old").write_text("old")
    assert commit(guest, RemoveFile("remove", "/etc/old", b"old", 0o644, WHY)) == []
    assert commit(guest, RemoveFile("remove", "/etc/old", b"old", 0o644, WHY)) == []
    assert not (guest / "etc/old").exists()


class TestB1:
    """Files in a home are written as its user, or not at all."""

    @pytest.fixture(autouse=True)
    def _root(self) -> None:
        rig.need_root()

    def keys(self, guest: Path, old: bytes | None = None) -> list[Problem]:
        return commit(guest, write(KEYS, old=old, user="debian"))

    def test_B1_keys_belong_to_their_user(self, guest: Path) -> None:
        assert self.keys(guest) == []
        for path, mode in ((guest / KEYS[1:], 0o640), (guest / "home/debian/.ssh", 0o700)):
            assert (path.stat().st_uid, path.stat().st_gid) == (UID, UID)
            assert path.stat().st_mode & 0o7777 == mode

    def refused(self, guest: Path, reason: str) -> None:
        before = rig.snapshot(guest)
        (problem,) = self.keys(guest)
        assert reason in problem.reason
        changed = rig.differences(before, rig.snapshot(guest))
        assert not any(name.startswith(("/home", "/etc")) for name in changed)

    @pytest.mark.parametrize("owner", [0, UID])
    def test_B1_a_link_instead_of_dot_ssh_is_refused(self, guest: Path, owner: int) -> None:
        (guest / "home/debian/.ssh").symlink_to("/etc/ssh")
        os.chown(guest / "home/debian/.ssh", owner, owner, follow_symlinks=False)
        self.refused(guest, "")

    def test_B1_a_link_instead_of_the_file_is_refused(self, guest: Path) -> None:
        (guest / "home/debian/.ssh").mkdir()
        (guest / KEYS[1:]).symlink_to("/etc/hosts")
        rig.own_homes(guest)
        self.refused(guest, "symbolic link")

    def test_B1_a_foreign_dot_ssh_is_refused(self, guest: Path) -> None:
        (guest / "home/debian/.ssh").mkdir(mode=0o777)
        (guest / "home/debian/.ssh").chmod(0o777)
        os.chown(guest / "home/debian/.ssh", 4321, 4321)
        self.refused(guest, "another user")

    def test_a_home_that_is_root_s_is_named(self, guest: Path) -> None:
        os.chown(guest / "home/debian", 0, 0)
        self.refused(guest, "Permission denied to its user; check owner and mode of the home")

    def test_B1_a_home_that_everybody_may_write_is_refused(self, guest: Path) -> None:
        (guest / "home/debian").chmod(0o777)
        self.refused(guest, "world-writable")

    def test_B1_a_hard_link_of_a_foreign_file_is_not_read(self, guest: Path) -> None:
        (guest / "home/debian/.ssh").mkdir()
        rig.own_homes(guest)
        os.link(guest / "etc/passwd", guest / KEYS[1:])
        (guest / "etc/passwd").chmod(0o666)
        self.refused(guest, "another user")

    def test_B1_a_fifo_does_not_hang_the_run(self, guest: Path) -> None:
        (guest / "home/debian/.ssh").mkdir()
        os.mkfifo(guest / KEYS[1:])
        rig.own_homes(guest)
        self.refused(guest, "not a regular file")

    def test_B1_a_missing_home_is_a_problem(self, guest: Path) -> None:
        for path in (guest / "home/debian/.keep", guest / "home/debian"):
            path.unlink() if path.is_file() else path.rmdir()
        self.refused(guest, "No such file")

    def test_a_file_that_changed_meanwhile_is_left(self, guest: Path) -> None:
        assert self.keys(guest) == []
        (problem,) = self.keys(guest, old=b"what was planned with\n")
        assert "changed by another program" in problem.reason

    def test_B1_a_home_that_is_elsewhere_is_refused(self, guest: Path) -> None:
        (problem,) = commit(guest, write("/srv/debian/.ssh/authorized_keys", user="debian"))
        assert "home elsewhere" in problem.reason

    def test_B1_a_file_in_a_folder_of_no_account_is_refused(self, guest: Path) -> None:
        (guest / "srv").mkdir()
        os.chown(guest / "srv", 4321, 4321)
        (problem,) = commit(guest, write("/srv/file"))
        assert "belongs to no account" in problem.reason

    def test_B1_an_injected_file_in_a_home_is_the_users(self, guest: Path) -> None:
        assert commit(guest, write("/home/debian/new/notes")) == []
        assert (guest / "home/debian/new/notes").stat().st_uid == UID


class TestAccounts:
    """useradd and chpasswd work on the tree, not on this machine."""

    @pytest.fixture
    def accounts(self, guest: Path) -> Path:
        rig.need_root()
        rig.need_tools("useradd", "chpasswd")
        (guest / "etc/shadow").write_text("root:*:19000:0:99999:7:::\ndebian:!:19000::::::\n")
        (guest / "etc/gshadow").write_text("root:*::\nsudo:*::\ndebian:!::\n")
        (guest / "etc/login.defs").write_text("UID_MIN 1000\nUSERGROUPS_ENAB yes\n")
        (guest / "etc/shadow").chmod(0o600)
        return guest

    def test_B6_a_user_is_made_in_the_tree(self, accounts: Path) -> None:
        here = Path("/etc/passwd").read_bytes()
        user = User("user", "tester", "A Tester", "/bin/sh", ("sudo",), WHY)
        assert commit(accounts, *planned(accounts, user)) == []
        passwd = (accounts / "etc/passwd").read_text()
        assert "tester:x:1001:1001:A Tester:/home/tester:/bin/sh\n" in passwd
        assert "sudo:x:27:tester\n" in (accounts / "etc/group").read_text()
        assert (accounts / "home/tester").stat().st_uid == 1001
        assert Path("/etc/passwd").read_bytes() == here

    @pytest.mark.parametrize(("method", "mark"), [("YESCRYPT", "$y$"), ("DES", "$6$")])
    def test_B6_a_password_is_set_in_the_tree(self, accounts: Path, method: str, mark: str) -> None:
        (accounts / "etc/login.defs").write_text(f"ENCRYPT_METHOD {method}\n")
        secret = Secret("CANARY: $(id) 'ü")
        password = UserPassword("password", "debian", secret, WHY)
        assert commit(accounts, *planned(accounts, password)) == []
        shadow = (accounts / "etc/shadow").read_text()
        (line,) = (line for line in shadow.splitlines() if line.startswith("debian:"))
        assert line.split(":")[1].startswith(mark)
        assert line.split(":")[2] not in ("", "0")
        assert "CANARY" not in shadow

    def test_B6_a_new_user_gets_keys_in_the_same_run(self, accounts: Path) -> None:
        user = User("user", "tester", "", "/bin/sh", (), WHY)
        keys = write("/home/tester/.ssh/authorized_keys", user="tester")
        assert commit(accounts, keys, *planned(accounts, user)) == []
        assert (accounts / "home/tester/.ssh/authorized_keys").stat().st_uid == 1001

    def test_B6_a_password_for_nobody_is_refused(self, accounts: Path) -> None:
        before = rig.snapshot(accounts)
        password = UserPassword("password", "none", Secret("CANARY"), WHY)
        (problem,) = commit(accounts, *planned(accounts, password))
        assert "no account none" in problem.reason
        assert rig.differences(before, rig.snapshot(accounts)) == set()


@pytest.mark.parametrize(
    "content", ['["/etc/hal', "{}", '["/etc/hosts"]', '["/no/such/.guestagent.1"]', "\xff"]
)
def test_D1_no_staging_list_is_a_dead_end(guest: Path, content: str) -> None:
    before = rig.snapshot(guest)
    place = guest / defs.STAGING_FILE[1:]
    place.parent.mkdir(mode=0o700)
    place.write_text(content, encoding="latin-1")
    file.clean(Root(str(guest)))
    assert rig.differences(before, rig.snapshot(guest)) == {defs.STATE_DIR}
