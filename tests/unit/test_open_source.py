"""The source of a run: what was named, a drive, else the metadata service."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Unreachable, UsageError
from guestagent.memory.state import State
from guestagent.options import Options
from guestagent.settings import Settings
from guestagent.sources import find, remote
from guestagent.sources.cloud import Cloud
from guestagent.sources.handover import Request
from guestagent.system import machine as machine_facts
from guestagent.system.root import Root
from guestagent.verbs.source import Opened, describe_age, open_source

REQUEST = Request(Cloud("openstack", "a test"))
KNOWN = State(configured=True, instance_id="u-1", salt="0f", fingerprint="x", time=1_700_000_000)
UNKNOWN = State()
URL = "http://192.0.2.1"


class Scene:
    """What drives and services there are."""

    def __init__(self, tree: Path, mocker: MockerFixture) -> None:
        self.root = Root(str(tree))
        self.command_line = tree / "cmdline"
        mocker.patch.object(defs, "KERNEL_COMMAND_LINE", str(self.command_line))
        self.find = mocker.patch.object(find, "find_drive", return_value=None)
        self.request = mocker.patch.object(remote, "request_for", return_value=REQUEST)
        self.ask = mocker.patch.object(remote, "ask_now", return_value="service")
        self.fetched = mocker.patch.object(remote, "read_answer", return_value="fetched")

    def open(self, before: State = UNKNOWN, **options: Any) -> Opened:
        return open_source(Options(**options), Settings(), self.root, before=before)

    def source(self, before: State = UNKNOWN, **options: Any) -> object:
        """What stands for the bundle."""
        return self.open(before, **options).bundle

    def left(self) -> bool:
        """True if a request was left for the unit that asks."""
        return self.root.exists(defs.REQUEST_FILE)


@pytest.fixture
def scene(tree: Path, mocker: MockerFixture) -> Scene:
    return Scene(tree, mocker)


def test_a_drive_goes_before_a_service(scene: Scene) -> None:
    scene.find.return_value = "drive"
    for boot in (True, False):
        assert scene.source(boot=boot) == "drive"
    assert not scene.request.called
    assert not scene.left()


def test_at_boot_the_question_is_left_for_who_may_ask(scene: Scene) -> None:
    assert scene.open(boot=True) == Opened(asked=True)
    assert scene.left()
    assert not scene.ask.called


def test_by_hand_it_is_asked_at_once(scene: Scene) -> None:
    assert scene.source() == "service"
    assert not scene.left()


def test_C1_without_a_sign_of_a_cloud_nobody_asks(scene: Scene) -> None:
    scene.request.return_value = None
    assert scene.open(boot=True) == Opened()
    (problem,) = scene.open().problems
    assert (problem.severity, "no sign of a cloud" in problem.reason) == ("error", True)
    assert not scene.left()
    assert not scene.ask.called


@pytest.mark.parametrize("boot", [True, False])
def test_who_had_a_drive_waits_for_it_to_come_back(scene: Scene, boot: bool) -> None:
    opened = scene.open(KNOWN._replace(drive=True), boot=boot)
    assert (opened.bundle, opened.asked) == (None, False)
    (problem,) = opened.problems
    assert problem.severity == ("warning" if boot else "error")
    assert "last good configuration stays" in problem.reason
    assert not scene.request.called


@pytest.mark.parametrize(
    ("before", "machine", "wait"),
    [
        (KNOWN, "u-1", 0.0),
        (KNOWN, "u-2", defs.DRIVE_WAIT),
        (KNOWN._replace(configured=False), "u-1", defs.DRIVE_WAIT),
        (KNOWN._replace(drive=True), "u-1", defs.DRIVE_WAIT),
        (State(), "u-1", defs.DRIVE_WAIT),
    ],
)
def test_who_was_configured_without_a_drive_waits_for_none(
    scene: Scene, mocker: MockerFixture, before: State, machine: str, wait: float
) -> None:
    mocker.patch.object(machine_facts, "product_uuid", return_value=machine)
    scene.open(before, boot=True)
    assert scene.find.call_args.args[0].wait == wait


@pytest.mark.parametrize("before", [State(), KNOWN, KNOWN._replace(drive=True)])
def test_a_url_that_is_named_is_asked_whatever_was_before(scene: Scene, before: State) -> None:
    assert scene.source(before, source=URL) == "service"
    assert scene.request.call_args.args[1] == URL
    assert not scene.find.called


def test_the_command_line_may_name_a_url(scene: Scene) -> None:
    scene.command_line.write_text(f"quiet guestagent.source={URL}\n")
    assert scene.open(boot=True).asked
    assert scene.request.call_args.args[1] == URL
    assert not scene.find.called


def test_a_path_that_is_named_is_opened_without_a_search(scene: Scene, tmp_path: Path) -> None:
    bundle = scene.open(source=str(tmp_path)).bundle
    assert bundle is not None
    assert bundle.label == str(tmp_path)
    assert not scene.find.called
    with pytest.raises(UsageError, match="/none"):
        scene.open(source="/none")


def test_what_was_fetched_is_all_that_the_later_unit_reads(scene: Scene) -> None:
    assert scene.source(fetched=True) == "fetched"
    assert not scene.find.called
    assert not scene.ask.called
    scene.fetched.side_effect = Unreachable("x")
    with pytest.raises(Unreachable):
        scene.open(fetched=True)


@pytest.mark.parametrize(("days", "words"), [(0, "stays"), (1, "1 days"), (40, "40 days old")])
def test_what_stays_is_told_with_its_age(days: int, words: str) -> None:
    when = int(time.time()) - days * 86400 - 60
    told = describe_age(KNOWN._replace(time=when))
    assert told.startswith("the configuration of 2")
    assert told.endswith("UTC stays") if days == 0 else words in told


def test_a_clock_that_was_set_back_makes_nothing_older() -> None:
    assert describe_age(KNOWN._replace(time=int(time.time()) + 10**8)).endswith("UTC stays")


@pytest.mark.parametrize("before", [State(), KNOWN._replace(configured=False)])
def test_what_was_never_configured_has_no_age(before: State) -> None:
    assert describe_age(before) == "this machine was not configured yet"
