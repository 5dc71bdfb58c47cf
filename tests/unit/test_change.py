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

from guestagent import defs
from guestagent.commit import commit
from guestagent.errors import Problem
from guestagent.options import Options
from guestagent.system.root import Root
from guestagent.verbs import apply

if TYPE_CHECKING:
    from guestagent.plan.kinds import Change

COMMIT = "guestagent.verbs.change.commit"


@pytest.fixture
def options(guest: Path, drive: Path) -> Options:
    return Options(source=str(drive), root=str(guest))


def report(guest: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((guest / defs.REPORT_FILE[1:]).read_text())
    return found


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
