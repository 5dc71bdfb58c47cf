"""Which daemons and units are told of what a run changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Origin, Problems
from guestagent.live import daemons
from guestagent.options import Options
from guestagent.plan.changes import MakeHostKeys, SetConsolePassword, WriteFile
from guestagent.system.root import Root
from guestagent.system.tools import Result

if TYPE_CHECKING:
    from guestagent.plan.changes import Change

WHY = Origin("test", "", "")
PASSWORD = SetConsolePassword("set_console_password", "debian", 3, 5, "http://192.0.2.1/", WHY)
DROPIN = WriteFile("write", defs.SSHD_DROPIN, None, b"", None, 0o644, "", WHY, False)
KEYS = MakeHostKeys("make_host_keys", ("ed25519",), WHY)


@pytest.fixture
def started(mocker: MockerFixture) -> list[str]:
    """The command lines of all programs that would have been started."""
    lines: list[str] = []

    def run(argv: list[str]) -> Result:
        lines.append(" ".join(argv))
        return Result(0, b"", b"")

    mocker.patch.object(daemons, "program", lambda name: name)
    mocker.patch.object(daemons, "run", run)
    return lines


def tell(*changes: Change, **options: bool) -> None:
    problems = Problems()
    daemons.tell_daemons(changes, Options(**options), Root("/"), problems)  # type: ignore[arg-type]
    assert problems.problems == []


def test_without_changes_nothing_is_started(started: list[str]) -> None:
    tell()
    assert started == []


@pytest.mark.parametrize("change", [DROPIN, KEYS], ids=["settings", "host keys"])
def test_a_running_sshd_reads_what_is_new(started: list[str], change: Change) -> None:
    tell(change)
    tell(change, fetched=True)
    line = "systemctl --no-block try-reload-or-restart ssh.service sshd.service"
    assert started == [line] * 2


def test_early_in_a_boot_no_daemon_runs_yet(started: list[str]) -> None:
    tell(DROPIN, KEYS, boot=True)
    assert started == []


def test_by_hand_the_password_is_sent_by_its_unit(started: list[str]) -> None:
    tell(PASSWORD)
    assert started == ["systemctl --no-block start guestagent-password.service"]


def test_at_boot_that_unit_starts_by_itself(started: list[str]) -> None:
    tell(PASSWORD, fetched=True)
    assert started == []
