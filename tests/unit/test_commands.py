"""The commands that a plan shows are those that run, word by word; secrets are on stdin alone."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guestagent import commit as apply
from guestagent import defs
from guestagent.errors import Origin
from guestagent.facts import gather
from guestagent.memory import note
from guestagent.model import Secret
from guestagent.plan.difference import Plan, diff
from guestagent.plan.kinds.account import Group, PasswordState, User, UserPassword
from guestagent.plan.kinds.host_keys import HostKeys
from guestagent.plan.kinds.random_password import ConsolePassword
from guestagent.report.plan import plan_object, text
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

WHY = Origin("drive", "user_data", "key")
TOOLS = ("groupadd", "useradd", "userdel", "usermod", "chpasswd", "chage", "ssh-keygen")
CANARY = "CANARY 9f3c"
HASH = "$6$CANARY$hash"
# A tool that keeps what it was given: its words, a line each, and what it reads.
RECORDER = """#!/bin/sh
number=$(($(ls {log} | wc -l) / 2 + 1))
printf '%s\\n' "${{0##*/}}" "$@" >{log}/$number.words
cat >{log}/$number.stdin
"""


class Ran(NamedTuple):
    """A command that really ran."""

    words: tuple[str, ...]
    stdin: str


class Lab:
    """A tree, and tools that only record how they are called."""

    def __init__(self, tree: Path, log: Path, *, live: bool) -> None:
        self.tree, self.log = tree, log
        self.root = Root(str(tree))
        facts = gather(self.root)
        self.root.live = live
        self.facts = facts

    def plan(self, *resources: Resource) -> Plan:
        return diff(resources, self.root, self.facts, recorded={}, first=True, complete=True)

    def run(self, plan: Plan) -> list[Ran]:
        """Carry out a plan; return the commands that ran."""
        failed = [change.kind for change, _ in apply.commit(plan.changes, self.root)]
        # The recorder makes no account that could get a home.
        assert set(failed) <= ({"make_home"} if "useradd" in str(plan.changes) else set())
        found = []
        for words in sorted(self.log.glob("*.words"), key=lambda path: int(path.stem)):
            text = words.read_text()
            # The tree that a tool works on is a descriptor, behind which no program can be run.
            text = re.sub(r"^/proc/self/fd/\d+$", str(self.tree), text, flags=re.MULTILINE)
            argv = tuple(text.splitlines())
            found.append(Ran(argv, words.with_suffix(".stdin").read_text()))
        return found


@pytest.fixture(params=["live", "offline"])
def lab(
    request: pytest.FixtureRequest, guest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Lab:
    log, programs = tmp_path / "log", tmp_path / "programs"
    log.mkdir()
    programs.mkdir()
    for name in TOOLS:
        (programs / name).write_text(RECORDER.format(log=log))
        (programs / name).chmod(0o755)
    (tmp_path / "console").touch()
    monkeypatch.setattr(defs, "PROGRAM_DIRS", (str(programs),))
    monkeypatch.setattr(defs, "CONSOLE_DEVICE", str(tmp_path / "console"))
    (guest / "etc/login.defs").write_text("ENCRYPT_METHOD YESCRYPT\n")
    with (guest / "etc/passwd").open("a") as file:
        file.write("half:x:1500:1500::/home/half:/bin/sh\n")
    return Lab(guest, log, live=request.param == "live")


def shown(plan: Plan) -> list[tuple[str, ...]]:
    """The commands that the plan shows to people."""
    lines = text(plan, []).splitlines()
    return [tuple(shlex.split(line[2:])) for line in lines if line.startswith("$ ")]


def told(plan: Plan) -> list[tuple[str, ...]]:
    """The commands that the plan tells programs."""
    changes: list[dict[str, Any]] = plan_object(plan, [])["changes"]
    return [tuple(argv) for change in changes for argv in change.get("commands", ())]


PLAIN = UserPassword("password", "debian", Secret(CANARY), WHY)
# What each resource runs: the tool, and its arguments behind --root DIR and the hash method.
KINDS: dict[str, tuple[Resource, list[str]]] = {
    "group": (Group("group", "app", (), WHY), ["groupadd app"]),
    "member": (
        Group("group", "sudo", ("debian",), WHY),
        ["usermod --append --groups sudo debian"],
    ),
    "user": (
        User("user", "app", "An App's", "", ("a", "b"), WHY, ("--uid", "7")),
        ["useradd --create-home --comment 'An App'\\''s' --groups a,b --uid 7 app"],
    ),
    "half-made user": (
        User("user", "half", "", "/bin/sh", (), WHY, ("--gid", "half")),
        [
            "userdel half",
            "groupadd --force half",
            "useradd --uid 1500 --create-home --shell /bin/sh --gid half half",
        ],
    ),
    "password": (PLAIN, ["chpasswd"]),
    "hash": (
        PLAIN._replace(form="hash", secret=Secret(HASH)),
        ["chpasswd --encrypted"],
    ),
    "random password": (PLAIN._replace(form="random", secret=Secret("")), ["chpasswd"]),
    "random password for the console": (
        PLAIN._replace(form="random", secret=Secret(""), shown=True),
        ["chpasswd"],
    ),
    "random password for the service": (
        ConsolePassword("console_password", "debian", 3, (1 << 1024) - 1, "http://x/", WHY),
        ["chpasswd"],
    ),
    "lock": (PasswordState("password_state", "debian", "locked", WHY), ["usermod --lock debian"]),
    "expiry": (
        PasswordState("password_state", "debian", "expired", WHY),
        ["chage --lastday 0 debian"],
    ),
    "host keys": (
        HostKeys("host_keys", ("ed25519", "rsa"), WHY),
        [
            "ssh-keygen -q -t ed25519 -N '' -C '' -f ssh_host_ed25519_key",
            "ssh-keygen -q -t rsa -N '' -C '' -f ssh_host_rsa_key",
        ],
    ),
}


def expected(lab: Lab, line: str) -> tuple[str, ...]:
    """A command of KINDS as it must run on the tree."""
    tool, *words = shlex.split(line)
    if lab.root.live or tool == "ssh-keygen":
        return (tool, *words)
    if tool == "chpasswd" and not words:
        words = ["--crypt-method", "YESCRYPT"]
    return (tool, "--root", str(lab.tree), *words)


@pytest.mark.parametrize("kind", KINDS)
def test_what_runs_is_what_the_plan_shows(lab: Lab, kind: str) -> None:
    resource, lines = KINDS[kind]
    note.write(lab.root, note.Note(accounts=("half",)))
    lab.facts = lab.facts._replace(unfinished=frozenset(["half"]))
    plan = lab.plan(resource)
    ran = [command.words for command in lab.run(plan)]
    assert ran == [expected(lab, line) for line in lines]
    assert shown(plan) == ran
    assert told(plan) == ran


@pytest.mark.parametrize("kind", [name for name in KINDS if KINDS[name][0].kind != "host_keys"])
def test_no_shown_command_changes_another_tree(lab: Lab, kind: str) -> None:
    for command in shown(lab.plan(KINDS[kind][0])):
        assert lab.root.live == (str(lab.tree) not in command), command


@pytest.mark.parametrize("kind", ["password", "hash"])
def test_B3_a_secret_is_on_standard_input_alone(lab: Lab, kind: str) -> None:
    resource, _ = KINDS[kind]
    plan = lab.plan(resource)
    (ran,) = lab.run(plan)
    assert "CANARY" not in " ".join(ran.words)
    assert ran.stdin == f"debian:{HASH if kind == 'hash' else CANARY}\n"
    for output in (text(plan, []), str(plan_object(plan, [])), repr(plan)):
        assert "CANARY" not in output
    assert "standard input: debian:(secret, not shown)" in text(plan, [])


def test_an_account_that_is_whole_is_not_made_again(lab: Lab) -> None:
    lab.facts = lab.facts._replace(unfinished=frozenset(["debian"]))
    assert lab.plan(User("user", "debian", "", "", (), WHY)).changes == ()
