"""Files that are edited in place: other lines, links of root's, owners and attributes stay."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent.commit import commit
from guestagent.errors import Origin, Refused
from guestagent.facts import gather
from guestagent.plan.difference import Plan, diff
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.file import File
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

WHY = Origin("drive", "meta_data.json", "key")
HOSTS = Block("block", "/etc/hosts", ("127.0.1.1 web",), "line", "root", 0o644, WHY)
FSTAB = Block("block", "/etc/fstab", ("/dev/b /b",), "block", "root", 0o644, WHY)
KEYS = Block("block", "/root/.ssh/authorized_keys", (rig.KEY,), "block", "root", 0o600, WHY)
APPENDED = File("append", "/etc/hosts", b"10.0.0.9 db\n", 0o644, WHY)
EDITS = [HOSTS, FSTAB, KEYS, APPENDED]
USER = 1000  # debian, who has a home in the tree
OTHERS = b"# the administrator's\n"


def plan(guest: Path, *resources: Resource, recorded: dict[str, str] | None = None) -> Plan:
    root = Root(str(guest))
    first = recorded is None
    return diff(resources, root, gather(root), recorded=recorded or {}, first=first, complete=True)


def apply(guest: Path, *resources: Resource) -> Plan:
    """Plan and commit a first run."""
    made = plan(guest, *resources)
    assert made.problems == ()
    assert commit(made.changes, Root(str(guest))) == []
    return made


def place(guest: Path, path: str, content: bytes = OTHERS) -> Path:
    """A file of root's in the tree."""
    where = guest / path[1:]
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_bytes(content)
    where.chmod(0o640)
    return where


@pytest.fixture
def root_home(guest: Path) -> Path:
    """The tree with a directory for root's keys, and without the files that tests link."""
    (guest / "root/.ssh").mkdir(parents=True, mode=0o700)
    for path in ("etc/hosts", "etc/fstab"):
        (guest / path).unlink(missing_ok=True)
    return guest


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("target", ["/srv/real/file", "{up}srv/real/file", "{up}srv/second"])
def test_D8_an_edit_follows_roots_own_link(root_home: Path, edit: Resource, target: str) -> None:
    assert isinstance(edit, (Block, File))
    real = place(root_home, "/srv/real/file")
    (root_home / "srv/second").symlink_to("real/file")
    link = root_home / edit.path[1:]
    text = target.format(up="../" * (edit.path.count("/") - 1))
    link.symlink_to(text)
    made = apply(root_home, edit)
    assert os.readlink(link) == text
    content = real.read_bytes()
    assert content.startswith(OTHERS)
    assert len(content) > len(OTHERS)
    assert real.stat().st_mode & 0o777 == 0o640
    # And the next run finds it as it is.
    again = plan(root_home, edit, recorded=made.record)
    assert (again.changes, again.kept) == ((), ())
    # What is no longer wanted is taken out of there too, but for what was appended.
    gone = plan(root_home, recorded=made.record)
    assert commit(gone.changes, Root(str(root_home))) == []
    assert real.read_bytes() == (content if edit is APPENDED else OTHERS)
    assert os.readlink(link) == text


@pytest.mark.parametrize("edit", EDITS)
def test_a_link_to_a_file_that_is_missing_makes_it(root_home: Path, edit: Resource) -> None:
    assert isinstance(edit, (Block, File))
    (root_home / "srv").mkdir()
    (root_home / edit.path[1:]).symlink_to("/srv/new")
    apply(root_home, edit)
    assert (root_home / edit.path[1:]).is_symlink()
    assert (root_home / "srv/new").stat().st_mode & 0o777 == edit.mode


def _users_link(guest: Path, link: Path) -> None:
    link.symlink_to("/srv/real")
    os.chown(link, USER, USER, follow_symlinks=False)


def _into_a_home(guest: Path, link: Path) -> None:
    place(guest, "/home/debian/real")
    link.symlink_to("/home/debian/real")


def _into_a_shared_folder(guest: Path, link: Path) -> None:
    place(guest, "/srv/shared/root/real")
    (guest / "srv/shared").chmod(0o775)
    link.symlink_to("/srv/shared/root/real")


def _into_a_sticky_folder(guest: Path, link: Path) -> None:
    (guest / "tmp").mkdir(exist_ok=True)
    (guest / "tmp").chmod(0o1777)
    link.symlink_to("/tmp/new")


def _to_a_users_file(guest: Path, link: Path) -> None:
    os.chown(place(guest, "/srv/theirs"), USER, 0)
    link.symlink_to("/srv/theirs")


def _to_a_file_of_a_group(guest: Path, link: Path) -> None:
    place(guest, "/srv/theirs").chmod(0o664)
    link.symlink_to("/srv/theirs")


def _over_a_users_link(guest: Path, link: Path) -> None:
    _users_link(guest, guest / "srv/second")
    link.symlink_to("/srv/second")


def _to_a_device(_: Path, link: Path) -> None:
    link.symlink_to("/dev/null")


def _to_a_folder(_: Path, link: Path) -> None:
    link.symlink_to("/etc/..")


def _to_nowhere(_: Path, link: Path) -> None:
    link.symlink_to("/none/file")


def _to_itself(_: Path, link: Path) -> None:
    link.symlink_to(link.name)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_users_link, "a symbolic link that a user other than root controls"),
        (_into_a_home, "is not followed"),
        (_into_a_shared_folder, "is not followed"),
        (_into_a_sticky_folder, "is not followed"),
        (_to_a_users_file, "is not followed"),
        (_to_a_file_of_a_group, "is not followed"),
        (_over_a_users_link, "a symbolic link that a user other than root controls"),
        (_to_a_device, "not a regular file"),
        (_to_a_folder, "not a regular file"),
        (_to_nowhere, "a directory that does not exist"),
        (_to_itself, "Too many levels"),
    ],
)
def test_B1_an_edit_through_any_other_link_is_refused(
    root_home: Path, edit: Resource, make: object, reason: str
) -> None:
    rig.need_root()
    assert isinstance(edit, (Block, File))
    assert callable(make)
    place(root_home, "/srv/real")
    (root_home / "dev").mkdir(exist_ok=True)
    os.mknod(root_home / "dev/null", 0o20666, os.makedev(1, 3))
    make(root_home, root_home / edit.path[1:])
    before = rig.snapshot(root_home)
    found = plan(root_home, edit)
    (problem,) = found.problems
    assert problem.reason.startswith(f"{edit.path}: ")
    assert reason in problem.reason
    assert found.changes == ()
    assert rig.snapshot(root_home) == before


def test_B1_a_link_does_not_leave_the_root(root_home: Path) -> None:
    (root_home / "etc/hosts").symlink_to("../../../../../etc/hosts.outside")
    assert Root(str(root_home)).follow("/etc/hosts") == "/etc/hosts.outside"
    (root_home / "etc/fstab").symlink_to(f"{root_home.parent}/fstab")
    with pytest.raises(Refused, match="does not exist"):
        Root(str(root_home)).follow("/etc/fstab")


def test_D5_a_link_that_changes_is_seen(root_home: Path) -> None:
    place(root_home, "/srv/a")
    (root_home / "etc/hosts").symlink_to("/srv/second")
    (root_home / "srv/second").symlink_to("/srv/a")
    root = Root(str(root_home))
    root.follow("/etc/hosts")
    before = root.fingerprint(tuple(root.watched), b"")
    (root_home / "srv/second").unlink()
    (root_home / "srv/second").symlink_to("/srv/b")
    assert root.fingerprint(tuple(root.watched), b"") != before


def _attributes(path: Path) -> tuple[str, str]:
    acl = subprocess.run(["getfacl", "-cpn", path], capture_output=True, text=True, check=True)
    argv = ["getfattr", "--absolute-names", "-d", "-m", "-", str(path)]
    return acl.stdout, subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _dress(path: Path, *, security: bool = True) -> None:
    """Give a file an ACL and extended attributes."""
    names = ["user.note", *(("trusted.note", "security.selinux") if security else ())]
    subprocess.run(["setfacl", "-m", "u:4321:r--,g:27:r--", path], check=True)
    for name in names:
        subprocess.run(["setfattr", "-n", name, "-v", "system_u:object_r:x_t:s0", path], check=True)


@pytest.mark.parametrize("edit", EDITS)
def test_D8_an_edited_file_keeps_owner_mode_acl_and_attributes(guest: Path, edit: Resource) -> None:
    rig.need_root()
    rig.need_tools("setfacl", "setfattr", "getfacl", "getfattr")
    assert isinstance(edit, (Block, File))
    file = place(guest, edit.path)
    file.parent.chmod(0o755)
    os.chown(file, USER, 27)
    _dress(file)
    before, mode = _attributes(file), file.stat().st_mode
    apply(guest, edit)
    after = file.stat()
    assert file.read_bytes() != OTHERS
    assert (after.st_uid, after.st_gid, after.st_mode) == (USER, 27, mode)
    assert _attributes(file) == before


def test_B4_an_edited_file_gets_no_acl_from_its_directory(guest: Path) -> None:
    rig.need_root()
    rig.need_tools("setfacl", "getfacl", "getfattr")
    file = place(guest, KEYS.path)
    before = _attributes(file)
    subprocess.run(["setfacl", "-d", "-m", "u:4321:rwx", file.parent], check=True)
    apply(guest, KEYS)
    assert _attributes(file) == before


def test_D8_a_users_edited_file_keeps_acl_and_attributes(guest: Path) -> None:
    rig.need_root()
    rig.need_tools("setfacl", "setfattr", "getfacl", "getfattr")
    keys = KEYS._replace(path="/home/debian/.ssh/authorized_keys", user="debian")
    file = place(guest, keys.path)
    rig.own_homes(guest)
    _dress(file, security=False)
    before = _attributes(file)
    apply(guest, keys)
    assert file.read_bytes() != OTHERS
    assert _attributes(file) == before


def test_attributes_of_the_old_content_are_not_kept(guest: Path) -> None:
    rig.need_root()
    rig.need_tools("setcap", "getcap")
    file = place(guest, HOSTS.path)
    subprocess.run(["setcap", "cap_net_raw+ep", file], check=True)
    apply(guest, HOSTS)
    assert "security.capability" not in os.listxattr(file)


@pytest.mark.parametrize("call", ["listxattr", "setxattr"])
def test_a_file_system_without_attributes_is_no_error(
    guest: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    file = place(guest, HOSTS.path)
    os.setxattr(file, "user.note", b"x")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, call, fail)
    apply(guest, HOSTS)
    assert b"web" in file.read_bytes()


def test_a_whole_file_in_place_of_a_link_is_not_edited_through_it(root_home: Path) -> None:
    real = place(root_home, "/srv/real")
    (root_home / "etc/hosts").symlink_to("/srv/real")
    whole = File("file", "/etc/hosts", b"whole\n", 0o644, WHY)
    apply(root_home, whole, APPENDED)
    assert (root_home / "etc/hosts").read_bytes() == b"whole\n" + APPENDED.content
    assert not (root_home / "etc/hosts").is_symlink()
    assert real.read_bytes() == OTHERS


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("how", ["more", "other", "removed", "mode"])
def test_D8_what_another_program_writes_during_the_run_is_not_lost(
    root_home: Path, edit: Resource, how: str
) -> None:
    file = place(root_home, edit.path)  # type: ignore[union-attr]
    changes = plan(root_home, edit).changes
    if how == "more":
        file.write_bytes(OTHERS + b"more\n")
    elif how == "other":
        file.write_bytes(OTHERS.swapcase())
    elif how == "mode":
        file.chmod(0o4755)
    else:
        file.unlink()
    before = rig.snapshot(file.parent)
    ((_, problem),) = commit(changes, Root(str(root_home)))
    assert "was changed by another program" in problem.reason
    assert rig.snapshot(file.parent) == before


def test_D8_a_file_that_appears_during_the_run_is_not_replaced_by_an_edit(root_home: Path) -> None:
    changes = plan(root_home, HOSTS).changes
    file = place(root_home, HOSTS.path)
    ((_, problem),) = commit(changes, Root(str(root_home)))
    assert "was changed by another program" in problem.reason
    assert file.read_bytes() == OTHERS


def test_B1_an_edit_gives_no_set_user_id_bit_of_a_user_to_root(guest: Path) -> None:
    """In /tmp, a user may exchange the file for a hard link to one of root's (fs.protected_*)."""
    rig.need_root()
    shared = guest / "tmp"
    shared.mkdir(exist_ok=True)
    shared.chmod(0o1777)
    edit = APPENDED._replace(path="/tmp/log")
    mine = place(guest, edit.path, b"")
    os.chown(mine, USER, USER)
    mine.chmod(0o4755)
    changes = plan(guest, edit).changes
    mine.unlink()
    os.link(place(guest, "/etc/empty", b""), mine)
    ((_, problem),) = commit(changes, Root(str(guest)))
    assert "was changed by another program" in problem.reason
    assert mine.stat().st_mode & 0o4000 == 0


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_B3_of_what_not_all_may_read_only_our_lines_are_shown(root_home: Path, mode: int) -> None:
    secret = b'environment="TOKEN=secret" ssh-ed25519 AAAA other\n'
    file = place(root_home, KEYS.path, secret)
    file.chmod(mode)
    (change,) = plan(root_home, KEYS).changes
    shown = [*change.show(), str(change.json())]
    assert ("TOKEN" in "".join(shown)) is (mode == 0o644)
    assert rig.KEY in "".join(change.show())
    assert rig.KEY in shown[-1]
    assert (change.json()["sha256"] is None) is (mode == 0o600)
    apply(root_home, KEYS)
    assert file.read_bytes().startswith(secret)
