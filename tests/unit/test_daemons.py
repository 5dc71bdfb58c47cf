"""Which daemons and units are told of what a run changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Origin, Problems
from guestagent.live import daemons, network
from guestagent.options import Options
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.kinds.host_keys import MakeHostKeys
from guestagent.plan.kinds.link import MakeLink
from guestagent.plan.kinds.random_password import SetRandomPassword
from guestagent.plan.kinds.remove import RemoveFile
from guestagent.plan.kinds.script import Script, StageScript
from guestagent.plan.kinds.sshd import SetSshd
from guestagent.system.root import Root
from guestagent.system.tools import Result

if TYPE_CHECKING:
    from guestagent.plan.kinds import Change

WHY = Origin("test", "", "")
PASSWORD = SetRandomPassword("set_console_password", "debian", "service", (), WHY, ())
FILE = WriteFile("write", defs.SSHD_DROPIN, None, b"", None, 0o644, "", WHY, False)
DROPIN = SetSshd("set_sshd", FILE, switches_off=False, key_files=())
GONE = RemoveFile("remove", defs.SSHD_DROPIN, b"", 0o600, WHY)
KEYS = MakeHostKeys("make_host_keys", ("ed25519",), WHY)
RELOAD = "systemctl --no-block try-reload-or-restart ssh.service sshd.service"


@pytest.fixture
def started(mocker: MockerFixture) -> list[str]:
    """The command lines of all programs that would have been started."""
    lines: list[str] = []

    def run(argv: list[str], timeout: float = 0) -> Result:
        lines.append(" ".join(argv))
        return Result(0, b"", b"")

    mocker.patch.object(daemons, "find_program", lambda name: name)
    mocker.patch.object(daemons, "run", run)
    return lines


def tell(*changes: Change, **options: bool) -> None:
    problems = Problems()
    daemons.tell_daemons(changes, Options(**options), Root("/"), problems)  # type: ignore[arg-type]
    assert problems.problems == []


def test_without_changes_nothing_is_started(started: list[str]) -> None:
    tell()
    assert started == []


@pytest.mark.parametrize("change", [DROPIN, GONE, KEYS], ids=["settings", "none", "host keys"])
def test_a_running_sshd_reads_what_is_new(started: list[str], change: Change) -> None:
    tell(change)
    tell(change, fetched=True)
    assert [line for line in started if "start guestagent" not in line] == [RELOAD] * 2


@pytest.mark.parametrize("fetched", [False, True])
def test_the_unit_that_makes_host_keys_is_started(started: list[str], fetched: bool) -> None:
    tell(KEYS, fetched=fetched)
    assert started == [RELOAD, f"systemctl --no-block start {defs.HOST_KEYS_UNIT}"]


@pytest.mark.parametrize("failed", [(), ("ssh.service",), ("sshd.service",)])
def test_an_sshd_that_failed_is_started_once_there_is_a_host_key(
    mocker: MockerFixture, failed: tuple[str, ...]
) -> None:
    lines: list[str] = []

    def run(argv: list[str]) -> Result:
        if "is-failed" in argv:
            return Result(0 if argv[-1] in failed else 1, b"", b"")
        lines.append(" ".join(argv))
        return Result(0, b"", b"")

    mocker.patch.object(daemons, "find_program", lambda name: name)
    mocker.patch.object(daemons, "run", run)
    daemons.offer_new_host_keys()
    verbs = ("reset-failed", "start")
    again = [f"systemctl --no-block {verb} {unit}" for unit in failed for verb in verbs]
    assert lines == [RELOAD, *again]


def test_early_in_a_boot_no_daemon_runs_yet(started: list[str]) -> None:
    tell(DROPIN, KEYS, boot=True)
    assert started == []


@pytest.mark.parametrize("fetched", [False, True])
def test_the_password_is_sent_by_its_unit(started: list[str], fetched: bool) -> None:
    tell(PASSWORD, fetched=fetched)
    assert started == ["systemctl --no-block start guestagent-password.service"]


NETWORK = WriteFile("write", defs.NETPLAN_FILE, None, b"", None, 0o600, "", WHY, False)


@pytest.mark.parametrize(
    ("options", "function"),
    [
        ({}, "reload"),
        ({"boot": True}, "at_boot"),
        ({"fetched": True}, "postpone"),
        ({"confined": True}, "postpone"),
    ],
)
def test_the_network_takes_over_its_files_when_it_can(
    mocker: MockerFixture, options: dict[str, bool], function: str
) -> None:
    functions = {name: mocker.patch.object(network, name) for name in ("reload", "at_boot")}
    functions["postpone"] = mocker.patch.object(network, "postpone")
    tell(NETWORK, **options)
    assert [name for name, called in functions.items() if called.called] == [function]


def test_what_the_network_does_not_take_over_is_a_problem(mocker: MockerFixture) -> None:
    mocker.patch.object(network, "reload", return_value=["netplan is not installed"])
    problems = Problems()
    daemons.tell_daemons([NETWORK], Options(), Root("/"), problems)
    (problem,) = problems.problems
    assert (problem.severity, problem.text()) == ("error", "network: netplan is not installed")


def test_other_files_do_not_concern_the_network(mocker: MockerFixture, started: list[str]) -> None:
    reload = mocker.patch.object(network, "reload")
    tell(DROPIN)
    assert not reload.called


SCRIPT = Script("script", "early", 10, "boot", "a", b"", WHY)
STEP = StageScript("step", SCRIPT, None)


@pytest.mark.parametrize(("state", "verb"), [(b"exited\n", "restart"), (b"dead\n", "start")])
@pytest.mark.parametrize("fetched", [False, True])
def test_scripts_run_again_but_never_beside_themselves(
    mocker: MockerFixture, state: bytes, verb: str, fetched: bool
) -> None:
    lines: list[str] = []

    def run(argv: list[str], timeout: float = 0) -> Result:
        lines.append(" ".join(argv))
        return Result(0, state, b"")

    mocker.patch.object(daemons, "find_program", lambda name: name)
    mocker.patch.object(daemons, "run", run)
    tell(STEP, fetched=fetched)
    tell(STEP, boot=True)
    shown, started = lines
    assert shown.startswith("systemctl show --property=SubState ")
    assert started == f"systemctl --no-block {verb} {defs.EARLY_UNIT}"


LINK = MakeLink(
    "link",
    "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
    "",
    "/usr/lib/systemd/system/systemd-networkd.service",
    WHY,
)


def test_a_network_stack_that_is_enabled_starts_in_this_boot(started: list[str]) -> None:
    tell(LINK, boot=True)
    units = "systemd-networkd.service systemd-networkd-wait-online.service"
    assert started == [f"systemctl --no-block start {units}"]


def test_by_hand_it_runs_before_it_is_told_of_its_files(started: list[str]) -> None:
    tell(LINK)
    assert started == ["systemctl start systemd-networkd.service"]


def test_another_link_starts_nothing(started: list[str]) -> None:
    tell(LINK._replace(path=defs.LOCALTIME), boot=True)
    assert started == []


def test_a_confined_run_has_the_network_reloaded_by_its_unit(
    started: list[str], mocker: MockerFixture
) -> None:
    mocker.patch.object(network, "postpone", side_effect=lambda *_: started.append("postponed"))
    tell(NETWORK, fetched=True)
    tell(NETWORK, confined=True)
    reload = "systemctl --no-block restart guestagent-reload.service"
    assert started == ["postponed", "postponed", reload]


def test_the_units_of_a_metadata_service_run_again_in_their_order(started: list[str]) -> None:
    daemons.ask_again()
    units = " ".join(f"guestagent-{name}.service" for name in ("fetch", "apply", "reload"))
    assert started == [f"systemctl --no-block restart {units}"]
