"""The three-way rule: what is wanted, what is there, what guestagent recorded last."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from guestagent import defs
from guestagent.errors import Origin
from guestagent.facts import gather
from guestagent.model import Secret
from guestagent.plan.difference import Plan, diff
from guestagent.plan.kinds.account import Group, PasswordState, User, UserPassword
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.entropy import Entropy
from guestagent.plan.kinds.file import File, WriteFile
from guestagent.plan.kinds.host_keys import HostKeys
from guestagent.plan.kinds.hostname import Hostname
from guestagent.plan.kinds.link import Link
from guestagent.plan.kinds.random_password import ConsolePassword
from guestagent.plan.kinds.remove import RemoveFile
from guestagent.plan.kinds.script import Script
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

WHY = Origin("drive", "meta_data.json", "key")
FILE = File("file", "/etc/motd", b"wanted\n", 0o644, WHY)
KEYS = Block("block", "/etc/keys", ("key one", "key two"), "block", "root", 0o600, WHY)
HOSTS = Block("block", "/etc/hosts", ("127.0.1.1 web",), "line", "root", 0o644, WHY)


class Guest:
    """A tree, and what guestagent recorded when it last applied."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: dict[str, str] = {}

    def plan(self, *resources: Resource, first: bool = False, complete: bool = True) -> Plan:
        root = Root(str(self.path))
        return diff(
            resources, root, gather(root), recorded=self.record, first=first, complete=complete
        )

    def apply(self, *resources: Resource, first: bool = False) -> Plan:
        """Write and remove files as planned, and record it."""
        plan = self.plan(*resources, first=first)
        for change in plan.changes:
            if isinstance(change, WriteFile):
                self.put(change.path, change.new, change.mode)
            elif isinstance(change, RemoveFile):
                (self.path / change.path[1:]).unlink()
        self.record = plan.record
        return plan

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        where = self.path / path[1:]
        where.write_bytes(content)
        where.chmod(mode)

    def get(self, path: str) -> bytes:
        return (self.path / path[1:]).read_bytes()


@pytest.fixture
def there(guest: Path) -> Guest:
    return Guest(guest)


def paths(plan: Plan) -> list[str]:
    return [getattr(change, "path", change.kind) for change in plan.changes]


@pytest.mark.parametrize("resource", [FILE, KEYS, HOSTS])
def test_D5_what_was_applied_is_not_applied_again(there: Guest, resource: Resource) -> None:
    assert len(there.apply(resource, first=True).changes) == 1
    again = there.plan(resource)
    assert (again.changes, again.kept, again.record) == ((), (), there.record)
    assert there.plan(resource, first=True).changes == ()


@pytest.mark.parametrize("resource", [FILE, KEYS, HOSTS])
def test_a_new_value_replaces_what_was_applied(there: Guest, resource: Resource) -> None:
    there.apply(resource, first=True)
    if isinstance(resource, File):
        new: Resource = resource._replace(content=b"newer\n")
    else:
        assert isinstance(resource, Block)
        new = resource._replace(lines=("other",))
    assert paths(there.plan(new)) == [resource.path]


def test_an_administrators_edit_is_kept_and_told(there: Guest) -> None:
    there.apply(FILE, KEYS, first=True)
    there.put("/etc/motd", b"mine\n")
    there.put("/etc/keys", there.get("/etc/keys").replace(b"key two", b"key 2"), 0o600)
    plan = there.plan(FILE._replace(content=b"newer\n"), KEYS._replace(lines=("other",)))
    assert plan.changes == ()
    assert plan.kept == ("/etc/motd", "/etc/keys")
    assert plan.record == there.record


def test_what_an_administrator_removed_stays_away(there: Guest) -> None:
    there.apply(FILE, KEYS, first=True)
    (there.path / "etc/motd").unlink()
    there.put("/etc/keys", b"")
    plan = there.plan(FILE, KEYS)
    assert (plan.changes, plan.kept) == ((), ("/etc/motd", "/etc/keys"))


def test_a_new_instance_overrides_an_administrators_edit(there: Guest) -> None:
    there.apply(FILE, first=True)
    there.put("/etc/motd", b"mine\n")
    assert paths(there.plan(FILE, first=True)) == ["/etc/motd"]


def test_an_edit_that_makes_the_file_as_wanted_is_no_change(there: Guest) -> None:
    there.apply(FILE, first=True)
    there.put("/etc/motd", b"newer\n")
    plan = there.plan(FILE._replace(content=b"newer\n"))
    assert (plan.changes, plan.kept) == ((), ())
    assert plan.record != there.record


def test_a_file_of_the_image_is_replaced_at_first(there: Guest) -> None:
    there.put("/etc/motd", b"image\n", 0o600)
    (change,) = there.apply(FILE).changes
    assert change.kind == "write"
    assert (change.old, change.old_mode, change.mode) == (b"image\n", 0o600, 0o644)


def test_only_the_mode_differs(there: Guest) -> None:
    there.put("/etc/motd", FILE.content, 0o666)
    (change,) = there.plan(FILE, first=True).changes
    assert change.kind == "write"
    assert (change.old, change.old_mode, change.mode) == (FILE.content, 0o666, 0o644)
    there.apply(FILE, first=True)
    there.put("/etc/motd", FILE.content, 0o600)
    assert there.plan(FILE).kept == ("/etc/motd",)


USERS = [
    b"",
    b"# mine\nssh-rsa A  \n\n",
    b"no newline",
    b"crlf\r\nx\r\n",
    b"\xff\xfe raw\n",
    b"\n\n",
]


@pytest.mark.parametrize("users", USERS)
@pytest.mark.parametrize("block", [KEYS, HOSTS])
def test_D8_a_block_leaves_the_users_lines_byte_identical(
    there: Guest, users: bytes, block: Block
) -> None:
    there.put(block.path, users, 0o600)
    there.apply(block, first=True)
    content = there.get(block.path)
    assert content.startswith(users)
    there.put(block.path, content + b"# after\n", 0o600)
    there.apply(block._replace(lines=("only", "these")))
    content = there.get(block.path)
    assert content.startswith(users)
    assert content.endswith(b"# after\n")
    there.apply()
    ended = users if not users or users.endswith(b"\n") else users + b"\n"
    assert there.get(block.path) == ended + b"# after\n"


def test_D8_a_block_without_its_end_is_the_administrators(there: Guest) -> None:
    there.apply(KEYS, first=True)
    broken = there.get(KEYS.path).replace(b"# guestagent: end\n", b"")
    there.put(KEYS.path, broken, 0o600)
    assert there.plan(KEYS).kept == (KEYS.path,)
    there.apply(KEYS, first=True)
    assert there.get(KEYS.path).startswith(broken)
    assert there.get(KEYS.path).count(b"# guestagent: end\n") == 1


def test_a_block_keeps_the_mode_of_a_file_that_is_there(there: Guest) -> None:
    there.put(KEYS.path, b"x\n", 0o640)
    (change,) = there.plan(KEYS, first=True).changes
    assert change.kind == "write"
    assert change.mode == 0o640
    (there.path / KEYS.path[1:]).unlink()
    (change,) = there.plan(KEYS, first=True).changes
    assert change.kind == "write"
    assert change.mode == 0o600


@pytest.mark.parametrize(
    ("first", "complete", "goes"),
    [(False, True, True), (True, False, True), (True, True, True), (False, False, False)],
)
def test_removal_needs_a_complete_source_or_a_new_instance(
    there: Guest, first: bool, complete: bool, goes: bool
) -> None:
    there.apply(FILE, KEYS, first=True)
    plan = there.plan(first=first, complete=complete)
    assert paths(plan) == (["/etc/motd", "/etc/keys"] if goes else [])
    assert plan.record == ({} if goes else there.record)


def test_a_removed_file_is_told_with_its_content_and_mode(there: Guest) -> None:
    there.apply(FILE._replace(mode=0o600), first=True)
    (change,) = there.plan().changes
    assert change[:4] == ("remove", "/etc/motd", FILE.content, 0o600)
    assert change.why == Origin("guestagent", defs.STATE_FILE, "file:/etc/motd")


def test_a_link_that_replaces_a_file_of_guestagents_own_is_not_removed(there: Guest) -> None:
    there.apply(FILE, first=True)
    plan = there.plan(Link("link", "/etc/motd", "/etc/hosts", WHY))
    assert [
        (change.kind, path) for change, path in zip(plan.changes, paths(plan), strict=True)
    ] == [("link", "/etc/motd")]


def test_an_edited_file_is_not_removed(there: Guest) -> None:
    there.apply(FILE, first=True)
    there.put("/etc/motd", b"mine\n")
    plan = there.plan()
    assert (plan.changes, plan.kept, plan.record) == ((), ("/etc/motd",), {})


ONCE = (
    UserPassword("password", "debian", Secret("CANARY"), WHY),
    HostKeys("host_keys", ("ed25519",), WHY),
    Entropy("entropy", b"seed", WHY),
)


def test_D4_once_per_instance(there: Guest) -> None:
    kinds = ["set_password", "make_host_keys", "add_entropy"]
    assert paths(there.apply(*ONCE, first=True)) == kinds
    assert paths(there.apply(*ONCE)) == []
    assert paths(there.apply(*ONCE, first=True)) == kinds


def test_D4_the_password_of_an_earlier_instance_is_locked(there: Guest) -> None:
    keys = KEYS._replace(path="/etc/.ssh/authorized_keys", lets_in=True)
    there.apply(ONCE[0], first=True)
    assert paths(there.plan(keys)) == [keys.path]
    assert paths(there.plan(keys, first=True)) == [keys.path, "lock_password"]
    assert paths(there.plan(KEYS, first=True)) == [KEYS.path]  # no one gets in by it
    assert paths(there.plan(first=True)) == []  # nobody could log in any more


def test_an_account_is_made_once_and_never_changed(there: Guest) -> None:
    user = User("user", "debian", "Other", "/bin/sh", (), WHY)
    assert there.plan(user, first=True).changes == ()
    new = user._replace(name="new")
    assert paths(there.apply(new, first=True)) == ["add_user"]
    assert there.plan(new).kept == ("user new",)  # removed by an administrator since


def test_a_running_name_that_was_changed_since_is_kept(there: Guest) -> None:
    name = Hostname("hostname", "web", WHY)
    assert paths(there.apply(name, first=True)) == ["set_hostname"]
    assert there.plan(name).kept == ("running host name",)
    assert paths(there.plan(name._replace(name="db"))) == ["set_hostname"]


EVERY_KIND: tuple[Resource, ...] = (
    *(FILE, KEYS, HOSTS, *ONCE),
    FILE._replace(kind="append"),
    FILE._replace(late=True),
    Link("link", "/etc/link", "/etc/hosts", WHY),
    Script("script", "late", 50, "instance", "x", b"#!/bin/sh\n", WHY),
    Group("group", "app", ("debian",), WHY),
    User("user", "new", "", "", (), WHY),
    PasswordState("password_state", "debian", "locked", WHY),
    PasswordState("password_state", "debian", "expired", WHY),
    ConsolePassword("console_password", "debian", 3, 5, "http://x/", WHY),
    Hostname("hostname", "web", WHY),
)


@pytest.mark.parametrize("resource", EVERY_KIND, ids=lambda resource: resource.key)
def test_a_change_that_fails_is_forgotten_by_its_keys(there: Guest, resource: Resource) -> None:
    plan = there.plan(resource, first=True)
    assert plan.changes
    for change in plan.changes:
        assert change.keys
        assert plan.record.keys() >= set(change.keys)
    assert resource.key in plan.record


def test_a_file_that_two_resources_change_has_the_keys_of_both(there: Guest) -> None:
    more = FILE._replace(kind="append", path=KEYS.path)
    (change,) = there.plan(more, KEYS, first=True).changes
    assert change.keys == (more.key, KEYS.key)


@pytest.mark.parametrize("resource", EVERY_KIND, ids=lambda resource: resource.key)
def test_every_kind_says_what_comes_of_a_thing_that_is_no_longer_asked_for(
    there: Guest, resource: Resource
) -> None:
    there.record = there.plan(resource, first=True).record
    for first in (False, True):
        assert there.plan(first=first).problems == ()


def test_what_another_version_recorded_is_forgotten(there: Guest) -> None:
    there.record = {"of-no-kind:x": "y"}
    plan = there.plan()
    assert (plan.changes, plan.record) == ((), {})


def test_a_refused_path_is_a_problem_and_the_rest_is_planned(there: Guest) -> None:
    (there.path / "etc/motd").mkdir()
    (there.path / "loop").symlink_to("loop")
    plan = there.plan(FILE._replace(path="/loop/file"), KEYS, first=True)
    assert paths(plan) == [KEYS.path]
    assert [problem.key for problem in plan.problems] == ["key"]
    assert "/loop/file" in plan.problems[0].reason
    assert "file:/loop/file" not in plan.record


def test_B3_a_secret_is_in_no_repr(there: Guest) -> None:
    plan = there.plan(*ONCE, first=True)
    assert "CANARY" not in repr(plan) + str(plan)


@pytest.mark.parametrize("kind", ["file", "append"])
def test_B3_what_others_wrote_for_few_is_not_shown(
    there: Guest, kind: Literal["file", "append"]
) -> None:
    new = File(kind, "/etc/thing", b"new\n", 0o644, WHY)
    for mode in (0o600, 0o640, 0o644):
        there.put("/etc/thing", b"CANARY\n", mode)
        (change,) = there.plan(new, first=True).changes
        shown = "".join(change.show()) + repr(change.json())
        assert ("CANARY" in shown) == (mode == 0o644), mode
    own = FILE._replace(path="/etc/own", mode=0o600)
    there.apply(own, first=True)
    (change,) = there.plan(own._replace(content=b"other\n"), first=True).changes
    assert "-wanted" in change.show()
