"""What user data adds to the three-way rule: appended bytes, links, groups, late files, steps."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import rig

from guestagent import commit as apply
from guestagent import defs
from guestagent.errors import Origin
from guestagent.facts import gather
from guestagent.memory import note
from guestagent.model import Secret
from guestagent.plan.difference import Plan, diff
from guestagent.plan.kinds.account import Group, PasswordState, UserPassword
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.link import Link, MakeLink
from guestagent.plan.kinds.script import Script
from guestagent.system.root import Root
from guestagent.verbs.change import without

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds import Change, Resource
    from guestagent.plan.kinds.block import Style
    from guestagent.plan.kinds.script import Frequency

WHY = Origin("drive", "user_data", "key")
MORE = File("append", "/etc/motd", b"more\n", 0o644, WHY)
ZONE = Link("link", "/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin", WHY)
SCRIPT = b"#!/bin/sh\n"


def step(often: Frequency, script: bytes = SCRIPT) -> Script:
    return Script("script", "late", 50, often, "x", script, WHY)


class Guest:
    """A tree on which plans are really carried out, and what is recorded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record: dict[str, str] = {}

    def plan(self, *resources: Resource, first: bool = False) -> Plan:
        root = Root(str(self.path))
        return diff(resources, root, gather(root), recorded=self.record, first=first, complete=True)

    def apply(self, *resources: Resource, first: bool = False) -> Plan:
        plan = self.plan(*resources, first=first)
        assert apply.commit(plan.changes, Root(str(self.path))) == []
        self.record = plan.record
        return plan

    def failed(self, plan: Plan, *changes: Change) -> None:
        """Remember a run in which some changes of its plan failed."""
        self.record = without(plan, list(changes), self.record).record

    def steps(self, stage: str = "late") -> dict[str, bytes]:
        where = self.path / f"{defs.STATE_DIR[1:]}/{stage}"
        return {path.name: path.read_bytes() for path in sorted(where.glob("*"))}


@pytest.fixture
def there(guest: Path) -> Guest:
    zone = guest / "usr/share/zoneinfo/Europe/Berlin"
    zone.parent.mkdir(parents=True)
    zone.write_text("zone")
    return Guest(guest)


class TestAppend:
    def test_bytes_are_appended_once_in_an_instance(self, there: Guest) -> None:
        (there.path / "etc/motd").write_text("old\n")
        there.apply(MORE, first=True)
        assert there.plan(MORE).changes == ()
        assert (there.path / "etc/motd").read_text() == "old\nmore\n"
        (there.path / "etc/motd").write_text("edited\n")
        assert there.plan(MORE).changes == ()
        there.apply(MORE, first=True)
        assert (there.path / "etc/motd").read_text() == "edited\nmore\n"

    def test_D1_a_run_killed_before_its_record_appends_no_second_time(self, there: Guest) -> None:
        (there.path / "etc/motd").write_text("old\n")
        there.apply(MORE, first=True)
        there.record = {}
        assert there.plan(MORE, first=True).changes == ()
        (there.path / "etc/motd").write_text("new\n")
        assert len(there.plan(MORE, first=True).changes) == 1

    @pytest.mark.parametrize(
        "text", ["{", "[]", "{}", '{"appended": 7}', '{"appended": {"/etc/motd": 7}}']
    )
    def test_D1_a_spoiled_note_of_what_was_appended_is_none(self, there: Guest, text: str) -> None:
        note = there.path / defs.NOTE_FILE[1:]
        note.parent.mkdir(mode=0o700)
        note.write_text(text)
        (there.path / "etc/motd").write_text("old\n")
        assert len(there.plan(MORE, first=True).changes) == 1

    def test_a_missing_file_is_made(self, there: Guest) -> None:
        there.apply(MORE._replace(path="/etc/new", mode=0o640), first=True)
        assert (there.path / "etc/new").stat().st_mode & 0o777 == 0o640

    def test_a_file_keeps_its_mode(self, there: Guest) -> None:
        (there.path / "etc/motd").write_text("")
        (there.path / "etc/motd").chmod(0o600)
        there.apply(MORE, first=True)
        assert (there.path / "etc/motd").stat().st_mode & 0o777 == 0o600

    def test_several_changes_of_one_file_are_one(self, there: Guest) -> None:
        (there.path / "etc/motd").write_text("old\n")
        other = MORE._replace(content=b"again\n")
        block = Block("block", "/etc/motd", ("mine",), "block", "root", 0o644, WHY)
        plan = there.apply(MORE, other, block, first=True)
        assert len(plan.changes) == 1
        text = "old\nmore\nagain\n# guestagent: begin\nmine\n# guestagent: end\n"
        assert (there.path / "etc/motd").read_text() == text
        assert there.plan(MORE, other, block).changes == ()


class TestWhatWasThereBefore:
    def test_a_file_of_the_system_that_was_replaced_is_never_removed(self, there: Guest) -> None:
        file = File("file", "/etc/hosts", b"mine\n", 0o644, WHY)
        other = file._replace(path="/etc/new")
        there.apply(file, other, first=True)
        there.apply(file, other)
        changed = file._replace(content=b"again\n")
        there.apply(changed, other)
        there.apply(first=True)
        assert (there.path / "etc/hosts").read_bytes() == b"again\n"
        assert not (there.path / "etc/new").exists()

    def test_what_guestagent_made_stays_its_own(self, there: Guest) -> None:
        file = File("file", "/etc/new", b"one\n", 0o644, WHY)
        there.apply(file, first=True)
        there.apply(file._replace(content=b"two\n"), first=True)
        there.apply()
        assert not (there.path / "etc/new").exists()

    def test_a_file_that_is_as_wanted_already_is_never_removed(self, there: Guest) -> None:
        file = File("file", "/etc/motd", b"image\n", 0o644, WHY)
        (there.path / "etc/motd").write_bytes(b"image\n")
        assert there.apply(file, first=True).changes == ()
        there.apply(file)
        assert there.apply(file._replace(content=b"new\n")).changes != ()
        assert there.apply().changes == ()
        assert there.apply(first=True).changes == ()
        assert (there.path / "etc/motd").read_bytes() == b"new\n"

    def test_D1_a_run_that_was_killed_does_not_take_its_own_file_for_the_image_s(
        self, there: Guest
    ) -> None:
        file = File("file", "/etc/new", b"new\n", 0o644, WHY)
        there.apply(file, first=True)
        there.record = {}  # killed before it remembered
        there.apply(file, first=True)
        note.finish(Root(str(there.path)), (), "")
        there.apply()
        assert not (there.path / "etc/new").exists()

    @pytest.mark.parametrize("content", [b"mine\n", b"image\n"])
    def test_D2_an_error_of_the_disk_does_not_make_it_guestagent_s(
        self, there: Guest, monkeypatch: pytest.MonkeyPatch, content: bytes
    ) -> None:
        file = File("file", "/etc/motd", content, 0o644, WHY)
        (there.path / "etc/motd").write_bytes(b"image\n")
        there.apply(file, first=True)

        def fail(_: Root, path: str) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

        with monkeypatch.context() as broken:
            broken.setattr(Root, "look", fail)
            plan = there.apply(file)
        assert plan.problems != ()
        there.apply(file)
        there.apply()
        assert (there.path / "etc/motd").read_bytes() == content


class TestWhatIsUndone:
    """What is not undone in one run is undone in the next."""

    def test_a_file_that_cannot_be_removed(self, there: Guest) -> None:
        rig.need_root()
        there.apply(File("file", "/etc/new/file", b"new\n", 0o644, WHY), first=True)
        os.chown(there.path / "etc/new/file", 1000, 1000)
        os.chown(there.path / "etc/new", 1000, 1000)
        for _ in range(2):
            plan = there.plan()
            ((change, problem),) = apply.commit(plan.changes, Root(str(there.path)))
            assert "a user owns" in problem.reason
            there.failed(plan, change)
        os.chown(there.path / "etc/new", 0, 0)
        there.apply()
        assert not (there.path / "etc/new/file").exists()
        assert there.record == {}

    @pytest.mark.parametrize("style", ["block", "line"])
    def test_lines_that_cannot_be_taken_out(self, there: Guest, style: Style) -> None:
        path = "/etc/hosts" if style == "line" else "/etc/motd"
        there.apply(Block("block", path, ("mine",), style, "root", 0o644, WHY), first=True)
        plan = there.plan()
        there.failed(plan, *plan.changes)
        there.apply()
        assert b"mine" not in (there.path / path[1:]).read_bytes()
        assert there.record == {}

    def test_a_script_that_cannot_be_removed(self, there: Guest) -> None:
        for often in ("boot", "instance"):
            script = step(often)
            there.apply(script, first=True)
            plan = there.plan()
            there.failed(plan, *plan.changes)
            there.apply()
            assert there.steps() == {}
            assert there.record == {}

    def test_D4_a_script_of_another_instance_that_cannot_be_removed(self, there: Guest) -> None:
        there.apply(step("boot"), first=True)
        plan = there.plan(first=True)
        there.failed(plan, *plan.changes)
        there.apply()
        assert there.steps() == {}

    def test_D4_a_password_of_another_instance_that_cannot_be_locked(self, there: Guest) -> None:
        password = UserPassword("password", "debian", Secret("x"), WHY)
        keys = Block("block", "/etc/keys", ("key",), "block", "root", 0o600, WHY, lets_in=True)
        there.record = there.plan(password, first=True).record
        plan = there.plan(keys, first=True)
        (lock,) = (change for change in plan.changes if change.kind == "lock_password")
        there.failed(plan, lock)
        again = there.plan(keys)
        assert [item.name for item in again.changes if item.kind == "lock_password"] == ["debian"]
        # Not while that may be the only way in, and not if this instance has set another one.
        without_key = there.plan()
        assert "lock_password" not in {change.kind for change in without_key.changes}
        kept, there.record = there.record, without_key.record
        assert "lock_password" in {change.kind for change in there.plan(keys).changes}
        there.record = kept
        kinds = {change.kind for change in there.plan(keys, password).changes}
        assert kinds & {"lock_password", "set_password"} == {"set_password"}
        there.record = again.record
        assert "lock_password" not in {change.kind for change in there.plan(keys).changes}


class TestAnotherKind:
    """A path of which another kind of thing is wanted now."""

    FILE = File("file", "/etc/motd", b"whole\n", 0o600, WHY)
    BLOCK = Block("block", "/etc/motd", ("line",), "block", "root", 0o644, WHY)
    TEXT = b"# guestagent: begin\nline\n# guestagent: end\n"

    @pytest.mark.parametrize("first", [True, False])
    def test_D4_lines_in_place_of_a_file_that_guestagent_made(
        self, there: Guest, first: bool
    ) -> None:
        (there.path / "etc/motd").unlink(missing_ok=True)
        there.apply(self.FILE, first=True)
        assert there.apply(self.BLOCK, first=first).kept == ()
        assert (there.path / "etc/motd").read_bytes() == self.TEXT
        again = there.plan(self.BLOCK)
        assert (again.changes, again.kept) == ((), ())

    @pytest.mark.parametrize("first", [True, False])
    def test_lines_in_place_of_a_file_that_was_there_before(
        self, there: Guest, first: bool
    ) -> None:
        (there.path / "etc/motd").write_bytes(b"image\n")
        there.apply(self.FILE, first=True)
        assert there.apply(self.BLOCK, first=first).kept == ()
        assert (there.path / "etc/motd").read_bytes() == b"whole\n" + self.TEXT

    def test_D8_lines_in_a_file_that_an_administrator_changed(self, there: Guest) -> None:
        there.apply(self.FILE, first=True)
        (there.path / "etc/motd").write_bytes(b"changed\n")
        assert there.apply(self.BLOCK).kept == ()
        assert (there.path / "etc/motd").read_bytes() == b"changed\n" + self.TEXT

    def test_a_file_in_place_of_lines(self, there: Guest) -> None:
        (there.path / "etc/motd").write_bytes(b"image\n")
        there.apply(self.BLOCK, first=True)
        assert there.apply(self.FILE).kept == ()
        assert (there.path / "etc/motd").read_bytes() == b"whole\n"
        again = there.plan(self.FILE)
        assert (again.changes, again.kept) == ((), ())

    def test_bytes_at_the_end_in_place_of_a_file(self, there: Guest) -> None:
        there.apply(self.FILE._replace(path="/etc/new"), first=True)
        assert there.apply(MORE._replace(path="/etc/new")).kept == ()
        assert (there.path / "etc/new").read_bytes() == MORE.content

    def test_a_link_in_place_of_lines(self, there: Guest) -> None:
        there.apply(self.BLOCK, first=True)
        link = ZONE._replace(path="/etc/motd")
        assert there.apply(link).kept == ()
        assert (there.path / "etc/motd").is_symlink()
        assert there.apply(self.BLOCK._replace(path="/etc/other")).kept == ()


class TestLink:
    def test_a_link_leads_where_it_shall(self, there: Guest) -> None:
        (there.path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
        (change,) = there.apply(ZONE, first=True).changes
        assert isinstance(change, MakeLink)
        assert change.old == "/usr/share/zoneinfo/Etc/UTC"
        assert (there.path / "etc/localtime").readlink() == Path(ZONE.target)
        assert there.plan(ZONE).changes == ()

    def test_a_relative_link_to_the_same_place_is_left(self, there: Guest) -> None:
        (there.path / "etc/localtime").symlink_to("../usr/share/zoneinfo/Europe/Berlin")
        assert there.plan(ZONE, first=True).changes == ()

    def test_a_file_in_the_way_is_replaced(self, there: Guest) -> None:
        (there.path / "etc/localtime").write_text("a copy")
        there.apply(ZONE, first=True)
        assert (there.path / "etc/localtime").is_symlink()

    def test_what_is_not_there_is_not_linked_to(self, there: Guest) -> None:
        plan = there.plan(ZONE._replace(target="/usr/share/zoneinfo/Moon"), first=True)
        assert plan.changes == ()
        assert "Moon does not exist" in plan.problems[0].reason

    def test_an_administrators_link_is_kept(self, there: Guest) -> None:
        there.apply(ZONE, first=True)
        (there.path / "etc/localtime").unlink()
        (there.path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
        plan = there.plan(ZONE)
        assert (plan.changes, plan.kept) == ((), ("/etc/localtime",))

    def test_B2_a_link_is_not_made_where_a_user_may_write(self, there: Guest) -> None:
        plan = there.plan(ZONE._replace(path="/home/debian/link"), first=True)
        ((_, problem),) = apply.commit(plan.changes, Root(str(there.path)))
        assert "others than root" in problem.reason


class TestGroup:
    GROUP = Group("group", "app", ("debian", "root"), WHY)

    def test_a_group_and_its_members_are_added_once(self, there: Guest) -> None:
        kinds = [change.kind for change in there.plan(self.GROUP, first=True).changes]
        assert kinds == ["add_group", "add_member", "add_member"]
        with (there.path / "etc/group").open("a") as file:
            file.write("app:x:1500:debian\n")
        (change,) = there.plan(self.GROUP, first=True).changes
        assert change.kind == "add_member"
        assert change.name == "root"
        there.record = there.plan(self.GROUP, first=True).record
        assert there.plan(self.GROUP).changes == ()  # whom an administrator took out stays out

    def test_a_group_that_was_removed_stays_away(self, there: Guest) -> None:
        there.record = there.plan(self.GROUP, first=True).record
        plan = there.plan(self.GROUP)
        assert (plan.changes, plan.kept) == ((), ("group app",))

    def test_a_new_member_is_added_later(self, there: Guest) -> None:
        there.record = there.plan(self.GROUP._replace(members=("debian",)), first=True).record
        with (there.path / "etc/group").open("a") as file:
            file.write("app:x:1500:\n")
        (change,) = there.plan(self.GROUP).changes
        assert change.kind == "add_member"
        assert change.name == "root"

    def test_a_membership_that_fails_is_tried_again_and_no_other(self, there: Guest) -> None:
        plan = there.plan(self.GROUP, first=True)
        there.failed(plan, plan.changes[1])
        with (there.path / "etc/group").open("a") as file:
            file.write("app:x:1500:\n")  # from which an administrator took root out again
        (change,) = there.plan(self.GROUP).changes
        assert change.kind == "add_member"
        assert change.name == "debian"
        (there.path / "etc/group").write_text("root:x:0:\n")
        assert there.plan(self.GROUP).kept == ("group app",)

    def test_who_is_no_longer_wanted_as_a_member_may_become_one_again(self, there: Guest) -> None:
        with (there.path / "etc/group").open("a") as file:
            file.write("app:x:1500:\n")
        there.record = there.plan(self.GROUP, first=True).record
        there.record = there.plan(self.GROUP._replace(members=())).record
        kinds = [change.kind for change in there.plan(self.GROUP).changes]
        assert kinds == ["add_member", "add_member"]


class TestPasswords:
    def test_an_account_that_is_there_is_locked_once(self, there: Guest) -> None:
        locked = PasswordState("password_state", "debian", "locked", WHY)
        plan = there.plan(locked, first=True)
        assert [change.kind for change in plan.changes] == ["lock_password"]
        there.record = plan.record
        assert there.plan(locked).changes == ()
        assert there.plan(locked._replace(name="new"), first=True).changes == ()  # it has none

    def test_passwords_and_states_survive_their_keys(self, there: Guest) -> None:
        expired = PasswordState("password_state", "debian", "expired", WHY)
        password = UserPassword("password", "debian", Secret("x"), WHY)
        there.record = there.plan(password, expired, first=True).record
        there.record = there.plan().record
        assert there.plan(password, expired).changes == ()


class TestLateFiles:
    LATE = File("file", "/etc/late", b"late\n", 0o644, WHY, late=True)

    def test_a_late_file_is_handed_to_a_step_once(self, there: Guest) -> None:
        (change,) = there.apply(self.LATE, first=True).changes
        assert change.kind == "write_later"
        assert not (there.path / "etc/late").exists()
        (name,) = there.steps()
        assert name.startswith("30-resumed-write_files-")
        assert there.plan(self.LATE).changes == ()

    def test_B3_the_name_of_the_step_tells_nothing_of_the_contents(self, there: Guest) -> None:
        names: list[str] = []
        for content in (b"word1\n", b"word2\n"):
            late = self.LATE._replace(content=content)
            there.apply(late, first=True)
            names += there.steps()
        assert len(set(names)) == 1

    def test_several_late_files_are_one_step(self, there: Guest) -> None:
        there.apply(self.LATE, MORE._replace(late=True), first=True)
        assert len(there.steps()) == 1


class TestSteps:
    def test_a_step_is_staged_for_root_alone(self, there: Guest) -> None:
        (change,) = there.apply(step("instance"), first=True).changes
        assert change.kind == "step"
        assert there.steps() == {"50-instance-x": SCRIPT}
        where = there.path / defs.STATE_DIR[1:]
        assert where.stat().st_mode & 0o777 == 0o700
        assert (where / "late/50-instance-x").stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("often", ["instance", "once"])
    def test_what_has_run_is_not_staged_again(self, there: Guest, often: Frequency) -> None:
        there.apply(step(often), first=True)
        (there.path / f"{defs.STATE_DIR[1:]}/late/50-{often}-x").unlink()  # as the runner does
        assert there.plan(step(often)).changes == ()
        assert there.plan(step(often, b"#!/bin/sh\nother\n")).changes == ()

    def test_a_new_instance_runs_it_again_but_for_once(self, there: Guest) -> None:
        there.apply(step("instance"), step("once"), first=True)
        for name in there.steps():
            (there.path / f"{defs.STATE_DIR[1:]}/late/{name}").unlink()
        there.apply(step("instance"), step("once"), first=True)
        assert list(there.steps()) == ["50-instance-x"]
        there.apply(first=True)
        assert there.plan(step("once"), first=True).changes == ()

    def test_a_script_of_each_boot_follows_the_source(self, there: Guest) -> None:
        there.apply(step("boot"), first=True)
        there.apply(step("boot", b"#!/bin/sh\nother\n"))
        assert there.steps() == {"50-boot-x": b"#!/bin/sh\nother\n"}
        there.apply()
        assert there.steps() == {}

    def test_a_script_that_an_administrator_removed_stays_away(self, there: Guest) -> None:
        there.apply(step("boot"), first=True)
        (there.path / f"{defs.STATE_DIR[1:]}/late/50-boot-x").unlink()
        plan = there.plan(step("boot"))
        assert (plan.changes, plan.kept) == ((), ("script 50-boot-x",))

    def test_D4_what_another_instance_left_unrun_goes(self, there: Guest) -> None:
        there.apply(step("instance"), first=True)
        there.apply(first=True)
        assert there.steps() == {}


class TestOwners:
    def test_an_owner_makes_a_file_differ(self, there: Guest) -> None:
        file = File("file", "/etc/motd", b"x", 0o644, WHY, owner="debian:sudo")
        there.apply(file, first=True)
        found = (there.path / "etc/motd").stat()
        assert (found.st_uid, found.st_gid) == (1000, 27)
        assert there.plan(file).changes == ()
        (change,) = there.plan(file._replace(owner=""), first=True).changes
        assert change.kind == "write"

    @pytest.mark.parametrize(("owner", "gid"), [("debian", 0), (":sudo", 27)])
    def test_either_name_may_be_missing(self, there: Guest, owner: str, gid: int) -> None:
        there.apply(File("file", "/etc/motd", b"x", 0o640, WHY, owner=owner), first=True)
        found = (there.path / "etc/motd").stat()
        assert (found.st_uid, found.st_gid) == (1000 if owner[0] != ":" else 0, gid)
        assert found.st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("owner", ["nobody-there", "root:none"])
    def test_D2_a_file_for_somebody_unknown_is_not_written(self, there: Guest, owner: str) -> None:
        file = File("file", "/etc/motd", b"x", 0o644, WHY, owner=owner)
        other = File("file", "/etc/other", b"x", 0o644, WHY)
        plan = there.plan(file, other, first=True)
        ((_, problem),) = apply.commit(plan.changes, Root(str(there.path)))
        assert "there is no" in problem.reason
        assert not (there.path / "etc/motd").exists()
        assert (there.path / "etc/other").exists()
        assert not list((there.path / "etc").glob(".guestagent*"))
