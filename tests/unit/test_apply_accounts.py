"""Accounts, groups and passwords on a tree, by the real tools; files that are written late."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import rig

from guestagent import cli, defs
from guestagent import commit as apply
from guestagent.commit import account
from guestagent.errors import Origin, Problem, UsageError
from guestagent.facts import gather
from guestagent.memory import note
from guestagent.model import Secret
from guestagent.plan.difference import diff
from guestagent.plan.kinds.account import Group, PasswordState, RunTool, User, UserPassword
from guestagent.plan.kinds.file import WriteFile
from guestagent.system import tools
from guestagent.system.root import Root
from guestagent.verbs.write_later import write_later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds import Change, Resource

WHY = Origin("drive", "user_data", "key")
HASH = "$6$saltsalt$" + "a" * 86


@pytest.fixture
def accounts(guest: Path) -> Path:
    """A tree whose user database the tools of shadow(5) take."""
    rig.need_root()
    rig.need_tools("useradd", "groupadd", "usermod", "chage", "chpasswd")
    (guest / "etc/shadow").write_text("root:*:19000:0:99999:7:::\ndebian:$6$x$y:19000::::::\n")
    (guest / "etc/gshadow").write_text("root:*::\nsudo:*::\ndebian:!::\n")
    (guest / "etc/login.defs").write_text("UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\n")
    (guest / "etc/shadow").chmod(0o600)
    return guest


def commit(guest: Path, *changes: Change) -> list[Problem]:
    """Apply changes to a tree; the problems of those that failed."""
    return [problem for _, problem in apply.commit(changes, Root(str(guest)))]


def planned(guest: Path, *resources: Resource) -> tuple[Change, ...]:
    """The changes of a first run."""
    root = Root(str(guest))
    return diff(resources, root, gather(root), recorded={}, first=True, complete=True).changes


def fields(guest: Path, file: str, name: str) -> list[str]:
    """One line of a file of the user database."""
    lines = (guest / "etc" / file).read_text().splitlines()
    return next(line.split(":") for line in lines if line.startswith(f"{name}:"))


def test_B6_groups_come_before_users_and_users_before_members(accounts: Path) -> None:
    user = User("user", "app", "", "/bin/sh", ("extra",), WHY, ("--uid", "2000"))
    members, group = Group("group", "sudo", ("app",), WHY), Group("group", "extra", (), WHY)
    changes = planned(accounts, members, user, group)
    assert [change.kind for change in changes] == ["add_member", "add_user", "add_group"]
    assert commit(accounts, *changes) == []
    assert fields(accounts, "passwd", "app")[2] == "2000"
    assert note.read(Root(str(accounts))).accounts == ("app",)  # for a run after a kill
    assert fields(accounts, "group", "extra")[3] == "app"
    assert fields(accounts, "group", "sudo")[3] == "app"


@pytest.mark.parametrize("groups_go", ["yes", "no"])
def test_D1_a_half_made_account_is_made_again_by_the_tools(accounts: Path, groups_go: str) -> None:
    text = f"UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB {groups_go}\n"
    (accounts / "etc/login.defs").write_text(text)
    subprocess.run(["groupadd", "--root", str(accounts), "app"], check=True)
    argv = ["useradd", "--root", str(accounts), "--no-create-home", "--gid", "app", "app"]
    subprocess.run(argv, check=True)
    note.write(Root(str(accounts)), note.Note(accounts=("app",)))
    user = User("user", "app", "", "/bin/sh", (), WHY, ("--gid", "app"))
    (change,) = planned(accounts, user)
    assert isinstance(change, RunTool)
    assert [command[0] for command in change.commands] == ["userdel", "groupadd", "useradd"]
    assert commit(accounts, change) == []
    assert (accounts / "home/app").is_dir()
    assert fields(accounts, "passwd", "app")[3] == fields(accounts, "group", "app")[2]


def test_B6_an_account_may_have_no_home(accounts: Path) -> None:
    user = User("user", "daemon1", "", "", (), WHY, ("--system", "--no-create-home"))
    assert commit(accounts, *planned(accounts, user)) == []
    assert int(fields(accounts, "passwd", "daemon1")[2]) < 1000
    assert not (accounts / "home/daemon1").exists()


def test_B6_a_hash_is_taken_as_it_is(accounts: Path) -> None:
    password = UserPassword("password", "debian", Secret(HASH), WHY, "hash")
    assert commit(accounts, *planned(accounts, password)) == []
    assert fields(accounts, "shadow", "debian")[1] == HASH


def test_B6_a_password_is_locked_and_expired(accounts: Path) -> None:
    expired = PasswordState("password_state", "debian", "expired", WHY)
    locked = PasswordState("password_state", "debian", "locked", WHY)
    assert commit(accounts, *planned(accounts, expired, locked)) == []
    _, password, changed, *_ = fields(accounts, "shadow", "debian")
    assert (password, changed) == ("!$6$x$y", "0")


@pytest.mark.parametrize("shown", [True, False])
def test_B3_a_random_password_is_told_to_the_console_or_nobody(
    accounts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    console = tmp_path / "console"
    console.touch()
    monkeypatch.setattr(defs, "CONSOLE_DEVICE", str(console))
    password = UserPassword("password", "debian", Secret(""), WHY, "random", shown)
    assert commit(accounts, *planned(accounts, password)) == []
    assert fields(accounts, "shadow", "debian")[1].startswith("$")
    assert ("the password of debian is " in console.read_text()) is shown
    assert not shown or len(console.read_text().split()[-1]) == 20


def test_a_member_of_no_group_is_a_problem_of_its_own(accounts: Path) -> None:
    groups = [Group("group", name, ("debian",), WHY) for name in ("none", "sudo")]
    changes = planned(accounts, *groups)
    members = [change for change in changes if change.kind == "add_member"]
    assert len(members) == 2
    (problem,) = commit(accounts, *members)
    assert problem.reason.startswith("usermod: ")
    assert fields(accounts, "group", "sudo")[3] == "debian"


_CARRIED = {
    "path": "/etc/x",
    "content": "eA==",
    "mode": 0o600,
    "owner": "",
    "append": False,
    "why": ["drive", "user_data", "key"],
}
_ODD: tuple[dict[str, Any], ...] = (
    *({"path": 7}, {"path": "/etc/x\0"}, {"content": "a"}, {"content": None}, {"mode": "0600"}),
    *({"owner": None}, {"append": 1}, {"why": ["a"]}, {"why": [1, 2, 3]}, {"more": 1}),
    *({"mode": 0o777777}, {"mode": -1}),
)


class TestLater:
    def late(self, path: str, content: bytes, append: bool = False) -> WriteFile:
        return WriteFile("write_later", path, None, content, None, 0o640, "", WHY, True, "", append)

    def carried(self, guest: Path) -> bytes:
        """What the staged script hands to the program on standard input."""
        (step,) = (guest / f"{defs.STATE_DIR[1:]}/late").iterdir()
        script = step.read_text().replace(f"exec {defs.PROGRAM} write-later", "cat")
        shown = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
        assert json.loads(shown)
        return shown

    def test_the_step_carries_files_whole(self, guest: Path) -> None:
        content = b"'EOF'\nEND\n$(id)\0\xff"
        (guest / "etc/motd").write_text("old\n")
        changes = (self.late("/opt/pkg/conf", content), self.late("/etc/motd", b"more\n", True))
        assert commit(guest, *changes) == []
        assert not (guest / "opt/pkg").exists()
        assert write_later(Root(str(guest)), self.carried(guest)) == 0
        assert (guest / "opt/pkg/conf").read_bytes() == content
        assert (guest / "opt/pkg/conf").stat().st_mode & 0o777 == 0o640
        assert (guest / "etc/motd").read_text() == "old\nmore\n"

    def test_D3_a_run_that_is_resumed_writes_nothing_twice(self, guest: Path) -> None:
        (guest / "opt").mkdir(exist_ok=True)
        (guest / "opt/log").write_text("old\n")
        files = [self.late("/opt/whole", b"whole\n"), self.late("/opt/log", b"new\n", append=True)]
        assert commit(guest, *files) == []
        for _ in range(2):
            assert write_later(Root(str(guest)), self.carried(guest)) == 0
            assert (guest / "opt/log").read_text() == "old\nnew\n"
            assert (guest / "opt/whole").read_text() == "whole\n"

    def test_scripts_that_wait_are_left_alone(self, guest: Path) -> None:
        (guest / "etc/motd").write_text("old\n")
        commit(guest, self.late("/etc/x", b"x"), self.late("/etc/motd", b"more\n", True))
        carried = self.carried(guest)
        other = guest / f"{defs.STATE_DIR[1:]}/late/50-instance-runcmd"
        other.write_text("#!/bin/sh\n")
        assert write_later(Root(str(guest)), carried) == 0
        assert other.exists()
        assert (guest / "etc/motd").read_text() == "old\nmore\n"

    def test_B1_a_late_file_in_a_home_is_written_as_the_user(self, guest: Path) -> None:
        rig.need_root()
        commit(guest, self.late("/home/debian/x", b"x"))
        assert write_later(Root(str(guest)), self.carried(guest)) == 0
        assert (guest / "home/debian/x").stat().st_uid == 1000

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"{", b"{}", b"[7]", b'[{"path": "/etc/x"}]'),
            *(json.dumps([{**_CARRIED, **odd}]).encode() for odd in _ODD),
        ],
    )
    def test_what_no_script_of_ours_carries_is_not_written(
        self, guest: Path, content: bytes
    ) -> None:
        with pytest.raises(UsageError, match="write-later: standard input: "):
            write_later(Root(str(guest)), content)
        assert not (guest / "etc/x").exists()

    def test_what_cannot_be_written_is_told(
        self, guest: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        commit(guest, self.late("/etc/motd/x", b"x"), self.late("/etc/new", b"x"))
        (guest / "etc/motd").write_text("a file in the way")
        assert write_later(Root(str(guest)), self.carried(guest)) == 1
        assert (guest / "etc/new").exists()
        assert "error: drive: user_data: key: /etc/motd/x" in capfd.readouterr().err

    def test_without_their_script_all_late_files_fail(self, guest: Path) -> None:
        place = guest / f"{defs.STATE_DIR[1:]}/late"
        place.parent.mkdir(parents=True)
        place.write_text("a file in the way")
        script, *problems = commit(guest, self.late("/etc/x", b"x"), self.late("/etc/y", b"y"))
        assert "/late/30-resumed-write_files-" in script.reason
        assert [problem.reason for problem in problems] == [script.reason] * 2


@pytest.mark.parametrize("arguments", [(), ("--home-dir", "/srv/app/")])
def test_B1_a_file_in_the_home_of_a_new_user_comes_after_it(
    accounts: Path, arguments: tuple[str, ...]
) -> None:
    home = arguments[1].rstrip("/") if arguments else "/home/app"
    user = User("user", "app", "", "/bin/sh", (), WHY, arguments)
    (accounts / "srv").mkdir()
    file = WriteFile("write", f"{home}/notes", None, b"x", None, 0o640, "", WHY, False)
    assert commit(accounts, file, *planned(accounts, user)) == []
    uid = int(fields(accounts, "passwd", "app")[2])
    assert (accounts / home[1:]).stat().st_uid == uid
    assert (accounts / home[1:] / "notes").stat().st_uid == uid


@pytest.fixture
def held(accounts: Path) -> Path:
    """The lock of the user database, which another process holds: this one."""
    lock = accounts / "etc/passwd.lock"
    lock.write_text(f"{os.getpid()}\0")
    return lock


def test_B6_a_locked_user_database_is_waited_for(accounts: Path, held: Path) -> None:
    release = threading.Timer(1.5, held.unlink)
    user = User("user", "app", "", "/bin/sh", (), WHY)
    changes = planned(accounts, user)
    start = time.monotonic()
    release.start()
    assert commit(accounts, *changes) == []
    release.join()
    assert 1.5 <= time.monotonic() - start < defs.LOCK_WAIT
    assert fields(accounts, "passwd", "app")[5] == "/home/app"


def test_D3_a_lock_that_a_power_cut_left_is_removed_though_its_number_is_in_use(
    accounts: Path, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defs, "LOCK_WAIT", 0.5)
    began = psutil.Process().create_time()
    os.utime(held, (began - 60, began - 60))
    assert commit(accounts, *planned(accounts, User("user", "app", "", "/bin/sh", (), WHY))) == []
    assert fields(accounts, "passwd", "app")[5] == "/home/app"
    assert not held.exists()


def test_B6_a_user_database_that_stays_locked_ends_the_run(
    accounts: Path, held: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exit status 5, before any file has changed; the next run finishes."""
    monkeypatch.setattr(defs, "LOCK_WAIT", 0.5)
    folder = tmp_path / "drive/openstack/latest"
    folder.mkdir(parents=True)
    (folder / "meta_data.json").write_text('{"uuid": "i-1", "hostname": "web"}')
    (folder / "user_data").write_text("#cloud-config\nusers: [app]\n")
    before = {path: (accounts / path).read_bytes() for path in ("etc/passwd", "etc/hostname")}
    arguments = ["--source", str(tmp_path / "drive"), "--root", str(accounts)]
    assert cli.main(arguments) == defs.EXIT_ACCOUNTS_LOCKED == 5
    assert before == {path: (accounts / path).read_bytes() for path in before}
    held.unlink()
    assert cli.main(arguments) == 0
    assert fields(accounts, "passwd", "app")[5] == "/home/app"
    assert (accounts / "etc/hostname").read_text() == "web\n"


def test_B6_a_run_waits_only_once_for_a_locked_user_database(
    accounts: Path, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each other change that needs the database fails at once, with the same reason."""
    monkeypatch.setattr(defs, "LOCK_WAIT", 0.5)
    started: list[bytes] = []

    def run(argv: list[str], stdin: bytes, **options: Any) -> tools.Result:
        started.append(stdin)
        return tools.run(argv, stdin, **options)

    monkeypatch.setattr(account, "run", run)
    changes = planned(
        accounts,
        UserPassword("password", "root", Secret("one"), WHY),
        UserPassword("password", "debian", Secret("two"), WHY),
        PasswordState("password_state", "debian", "locked", WHY),
    )
    problems = commit(accounts, *changes)
    assert [problem.reason.partition(": ")[2] for problem in problems] == [
        "the user database is locked"
    ] * len(changes)
    assert len(changes) == 3
    assert set(started) == {started[0]}
    held.unlink()
    assert commit(accounts, *changes) == []  # the next run waits for itself


def noted_runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], bytes, float]]:
    """Note arguments, standard input and seconds of each tool that is run."""
    runs: list[tuple[list[str], bytes, float]] = []

    def run(argv: list[str], stdin: bytes, **options: Any) -> tools.Result:
        runs.append((argv, stdin, options["timeout"]))
        return tools.run(argv, stdin, **options)

    monkeypatch.setattr(account, "run", run)
    return runs


def people(accounts: Path, number: int) -> list[str]:
    """Accounts that are there."""
    names = [f"p{index}" for index in range(number)]
    for index, name in enumerate(names):
        for file, line in {
            "passwd": f"{name}:x:{3000 + index}:{3000 + index}::/home/{name}:/bin/sh",
            "shadow": f"{name}:*:19000::::::",
        }.items():
            with (accounts / "etc" / file).open("a") as database:
                database.write(f"{line}\n")
    return names


def test_B3_one_run_of_a_command_sets_all_passwords(
    accounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = people(accounts, 20)
    passwords = [
        UserPassword("password", name, Secret(HASH), WHY, "hash")
        if index % 2
        else UserPassword("password", name, Secret(f"secret {index}"), WHY)
        for index, name in enumerate(names)
    ]
    states = [PasswordState("password_state", name, "expired", WHY) for name in names[:2]]
    runs = noted_runs(monkeypatch)
    assert commit(accounts, *planned(accounts, *passwords, *states)) == []
    assert [argv[0].rpartition("/")[2] for argv, *_ in runs] == ["chpasswd"] * 2 + ["chage"] * 2
    for argv, stdin, seconds in runs[:2]:
        assert "secret" not in " ".join(argv)
        assert "$6$" not in " ".join(argv)
        assert len(stdin.splitlines()) == 10
        assert seconds == defs.PROGRAM_TIMEOUT + 9 * defs.PASSWORD_TIMEOUT_MORE
    for index, name in enumerate(names):
        found = fields(accounts, "shadow", name)
        assert (found[1] == HASH) is bool(index % 2), name
        assert found[1].startswith("$"), name
        assert (found[2] == "0") is (index < 2), name


def test_B6_a_password_that_is_refused_spoils_no_other(
    accounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """chpasswd without PAM sets none of those that it reads with such a one."""
    names = people(accounts, 4)
    secrets = ("one", "x" * 20000, "three", "four")
    changes = planned(
        accounts,
        *(
            UserPassword("password", name, Secret(secret), WHY._replace(key=name))
            for name, secret in zip(names, secrets, strict=True)
        ),
    )
    lines = (accounts / "etc/passwd").read_text().splitlines(keepends=True)
    (accounts / "etc/passwd").write_text("".join(line for line in lines if "p3:" not in line))
    runs = noted_runs(monkeypatch)
    problems = commit(accounts, *changes)
    assert [problem.key for problem in problems] == ["p1", "p3"]
    assert problems[1].reason == "there is no account p3"
    assert "xxx" not in problems[0].reason
    assert [len(stdin.splitlines()) for _, stdin, _ in runs] == [4, 1, 1, 1]
    for name in ("p0", "p2"):
        assert fields(accounts, "shadow", name)[1].startswith("$"), name
    for name in ("p1", "p3"):
        assert fields(accounts, "shadow", name)[1] == "*", name


def test_B6_at_a_clock_of_1970_no_password_must_be_changed_at_login(
    accounts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 as the day of the last change would mean that, shadow(5)."""
    fake = {**rig.fake_clock("@1970-01-01 00:00:20"), **tools._ENVIRONMENT}
    monkeypatch.setattr(tools, "_ENVIRONMENT", fake)
    assert tools.run(["/bin/date", "+%Y"]).output == b"1970\n"
    user = User("user", "app", "", "/bin/sh", (), WHY)
    passwords = (
        UserPassword("password", "app", Secret("correct horse"), WHY),
        UserPassword("password", "debian", Secret(HASH), WHY, "hash"),
    )
    assert commit(accounts, *planned(accounts, user, *passwords)) == []
    for name in ("app", "debian"):
        assert fields(accounts, "shadow", name)[2] != "0", name
