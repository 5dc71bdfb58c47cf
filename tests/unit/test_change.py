"""What becomes of a run whose changes were not made, or not all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import cli, defs
from guestagent.commit import commit
from guestagent.errors import Problem, Unreachable
from guestagent.memory import applied, state
from guestagent.memory.state import State
from guestagent.options import Options
from guestagent.report.run import Report
from guestagent.system import machine
from guestagent.system.root import Root
from guestagent.verbs import apply, planning
from guestagent.verbs.new_instance import is_closed, was_left_closed
from guestagent.verbs.source import DriveCame

if TYPE_CHECKING:
    from guestagent.plan.kinds import Change
    from guestagent.verbs.planning import Planned

COMMIT = "guestagent.verbs.change.commit"


@pytest.fixture
def options(guest: Path, drive: Path) -> Options:
    return Options(source=str(drive), root=str(guest))


def report(guest: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((guest / defs.REPORT_FILE[1:]).read_text())
    return found


@pytest.mark.parametrize("drive_came", [True, False])
def test_A1_a_boot_after_one_that_a_drive_missed_waits_for_it(
    guest: Path, mocker: MockerFixture, drive_came: bool
) -> None:
    mocker.patch.object(machine, "product_uuid", return_value="u-1")
    own = {applied.SSHD_CLOSED: applied.CLOSED, applied.HOST_KEYS: applied.ahead("u-1")}
    before, root = State(record=own), Root(str(guest))
    root.live = True
    state.save(root, before)
    mocker.patch.object(
        apply, "open_source", side_effect=(DriveCame if drive_came else Unreachable)("x")
    )
    mocker.patch("guestagent.verbs.change.make_host_keys_ahead", return_value=iter(()))
    assert was_left_closed(before)
    with pytest.raises(Unreachable):
        list(apply._steps(Options(fetched=True), root, before, report=Report(started=0.0)))
    assert was_left_closed(state.load(root)) == (not drive_came)
    # That it must be opened again is remembered all the same.
    assert is_closed(state.load(root))


def test_what_still_differs_after_a_run_is_an_error(
    options: Options, guest: Path, mocker: MockerFixture
) -> None:
    rig.need_root()

    def give_away(
        changes: tuple[Change, ...], root: Root, instance: str
    ) -> list[tuple[Change, Problem]]:
        failed = commit(changes, root, instance)
        os.chown(guest / "etc/hostname", 1000, 1000)
        return failed

    mocker.patch(COMMIT, give_away)
    assert apply.run(options) == defs.EXIT_ERRORS
    reasons = [problem["reason"] for problem in report(guest)["problems"]]
    assert reasons == ["/etc/hostname: still differs after the run (write)"]


@pytest.mark.parametrize("content", ["half", "", None])
def test_what_was_written_with_other_content_is_an_error_and_written_again(
    options: Options, guest: Path, mocker: MockerFixture, content: str | None
) -> None:
    def spoil(
        changes: tuple[Change, ...], root: Root, instance: str
    ) -> list[tuple[Change, Problem]]:
        failed = commit(changes, root, instance)
        (guest / "etc/hostname").unlink()
        if content is not None:
            (guest / "etc/hostname").write_text(content)
        return failed

    mocker.patch(COMMIT, spoil)
    assert apply.run(options) == defs.EXIT_ERRORS
    reasons = [problem["reason"] for problem in report(guest)["problems"]]
    (reason,) = reasons
    assert reason.startswith("/etc/hostname: is not as it was written in this run; the next run")
    mocker.stopall()
    assert apply.run(options) == defs.EXIT_OK
    assert (guest / "etc/hostname").read_text() == "web-1\n"


def test_what_daemons_and_scripts_change_when_the_run_is_verified_is_no_error(
    options: Options, guest: Path, mocker: MockerFixture
) -> None:
    def verify(planned: Planned, root: Root, record: dict[str, str]) -> dict[str, Problem]:
        found = planning.verify(planned, root, record)
        root.live = True  # as for a running system, of which the test could not be
        return found

    def tell(*_: object) -> None:
        (guest / "etc/hostname").write_text("changed\n")

    mocker.patch("guestagent.verbs.change.planning", mocker.Mock(wraps=planning, verify=verify))
    mocker.patch("guestagent.live.daemons.tell_daemons", tell)
    assert apply.run(options) == defs.EXIT_OK
    assert (guest / "etc/hostname").read_text() == "changed\n"
    mocker.stopall()
    assert apply.run(options) == defs.EXIT_OK


def test_an_interrupted_run_says_so_and_the_next_one_finishes(
    options: Options, guest: Path, mocker: MockerFixture
) -> None:
    mocker.patch(COMMIT, side_effect=KeyboardInterrupt)
    arguments = ["apply", "--source", options.source, "--root", options.root]
    assert cli.main(arguments) == defs.EXIT_INTERRUPTED
    told = report(guest)
    assert told["exit_status"] == defs.EXIT_INTERRUPTED
    assert [problem["reason"].partition(":")[0] for problem in told["problems"]] == ["interrupted"]
    mocker.stopall()
    assert cli.main(arguments) == defs.EXIT_OK


def test_what_an_administrator_changed_before_is_no_error(options: Options, guest: Path) -> None:
    assert apply.run(options) == defs.EXIT_OK
    (guest / "etc/hostname").write_text("mine\n")
    (guest / defs.SSHD_CONFIG[1:]).write_text("")  # so that there is something to do
    assert apply.run(options) == defs.EXIT_OK
    assert report(guest)["kept"] == ["/etc/hostname"]


def test_what_failed_is_tried_again_although_nothing_has_changed(
    options: Options, guest: Path, mocker: MockerFixture
) -> None:
    def fail(changes: Sequence[Change], root: Root, instance: str) -> list[tuple[Change, Problem]]:
        return [(change, change.why.error("is broken")) for change in changes]

    mocker.patch(COMMIT, fail)
    assert apply.run(options) == defs.EXIT_ERRORS
    assert report(guest)["changes"] == []
    mocker.stopall()
    assert apply.run(options) == defs.EXIT_OK
    assert (guest / "etc/hostname").read_text() == "web-1\n"
    assert not report(guest)["unchanged"]
