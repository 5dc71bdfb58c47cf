"""Which daemons and units are told of what a run changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Origin, Problems
from guestagent.live import daemons, network
from guestagent.memory import applied, state
from guestagent.memory.state import State
from guestagent.options import Options
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.kinds.host_keys import MakeHostKeys
from guestagent.plan.kinds.link import MakeLink
from guestagent.plan.kinds.random_password import SetRandomPassword
from guestagent.plan.kinds.remove import RemoveFile
from guestagent.plan.kinds.script import Script, StageScript
from guestagent.plan.kinds.sshd import SetSshd
from guestagent.report.run import Report
from guestagent.settings import Settings
from guestagent.system.lock import lock
from guestagent.system.root import Root
from guestagent.system.tools import Result
from guestagent.verbs import apply, change

if TYPE_CHECKING:
    from guestagent.plan.kinds import Change

WHY = Origin("test", "", "")
PASSWORD = SetRandomPassword("set_console_password", "debian", "service", (), WHY, ())
FILE = WriteFile("write", defs.SSHD_DROPIN, None, b"", None, 0o644, "", WHY, False)
DROPIN = SetSshd("set_sshd", FILE, switches_off=False, key_files=())
GONE = RemoveFile("remove", defs.SSHD_DROPIN, b"", 0o600, WHY)
OPENED = GONE._replace(path=defs.SSHD_CLOSED)
KEYS = MakeHostKeys("make_host_keys", ("ed25519",), WHY)
NOT_ACTIVE = Result(3, b"", b"")
RELOAD = "systemctl --no-block try-reload-or-restart ssh.service"


@pytest.fixture
def started(mocker: MockerFixture) -> list[str]:
    """The command lines of all programs that would have been started; sshd has no socket."""
    lines: list[str] = []

    def run(argv: list[str], timeout: float = 0) -> Result:
        if "is-active" in argv:
            return NOT_ACTIVE
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


@pytest.mark.parametrize(
    "change", [DROPIN, GONE, OPENED, KEYS], ids=["settings", "none", "opened", "host keys"]
)
def test_a_running_sshd_reads_what_is_new(started: list[str], change: Change) -> None:
    tell(change)
    tell(change, fetched=True)
    assert [line for line in started if "start guestagent" not in line] == [RELOAD] * 2


def test_sshd_is_told_once_by_the_name_that_it_has(mocker: MockerFixture) -> None:
    asked: list[str] = []

    def run(argv: list[str]) -> Result:
        if "is-active" in argv:
            return NOT_ACTIVE
        asked.append(argv[-1])
        return Result(5 if argv[-1] == "ssh.service" else 0, b"", b"")

    mocker.patch.object(daemons, "find_program", lambda name: name)
    mocker.patch.object(daemons, "run", run)
    tell(DROPIN)
    assert asked == ["ssh.service", "sshd.service"]


@pytest.mark.parametrize("name", ["ssh", "sshd"])
def test_an_sshd_with_systemd_s_socket_is_started_anew(mocker: MockerFixture, name: str) -> None:
    """By itself it would not find the socket again, and fail."""
    asked: list[list[str]] = []

    def run(argv: list[str]) -> Result:
        if "is-active" in argv:
            return Result(0, b"", b"") if argv[-1] == f"{name}.socket" else NOT_ACTIVE
        asked.append(argv[2:])
        return Result(0 if argv[-1] == f"{name}.service" else 5, b"", b"")

    mocker.patch.object(daemons, "find_program", lambda name: name)
    mocker.patch.object(daemons, "run", run)
    tell(DROPIN)
    assert asked[-1] == ["try-restart", f"{name}.service"]


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
        if "is-active" in argv:
            return NOT_ACTIVE
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


@pytest.mark.parametrize(
    ("status", "wants", "closed", "again"),
    [
        (defs.EXIT_TRY_AGAIN, False, False, True),
        (defs.EXIT_TRY_AGAIN, True, True, False),
        (defs.EXIT_WRONG_SOURCE, False, False, False),
        # Nobody could log in and have it asked again, and the daemon does not.
        (defs.EXIT_WRONG_SOURCE, True, True, True),
        (defs.EXIT_ERRORS, True, True, True),
        (defs.EXIT_OK, False, True, False),
    ],
)
def test_a_service_without_an_answer_is_asked_again_also_without_the_daemon(
    started: list[str],
    tree: Path,
    status: int,
    wants: bool,
    closed: bool,
    again: bool,
) -> None:
    folder = tree / "etc/systemd/system/multi-user.target.wants"
    folder.mkdir(parents=True)
    if wants:
        (folder / defs.DAEMON_UNIT).symlink_to(f"/usr/lib/systemd/system/{defs.DAEMON_UNIT}")
    root = Root(str(tree))
    root.live = True
    state.save(root, State(record={applied.SSHD_CLOSED: "yes"} if closed else {}))
    apply._ask_again_later(status, root)
    assert started == ([f"systemctl --no-block restart {defs.AGAIN_TIMER}"] if again else [])


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
    ],
)
def test_the_network_takes_over_its_files_when_it_can(
    mocker: MockerFixture, options: dict[str, bool], function: str
) -> None:
    functions = {name: mocker.patch.object(network, name) for name in ("reload", "at_boot")}
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


@pytest.mark.parametrize("unit", ["fetched", "confined"])
def test_a_confined_run_has_the_network_reloaded_by_its_unit(
    started: list[str], tmp_path: Path, unit: str
) -> None:
    """Even where it was killed when it had changed the files: the next run finds no difference."""
    root, options = Root(str(tmp_path)), Options(**{unit: True})  # type: ignore[arg-type]
    daemons.announce([FILE], options, root)
    daemons.announce([NETWORK], Options(), root)
    daemons.tell_daemons((), options, root, Problems())
    assert started == []
    daemons.announce([NETWORK], options, root)
    assert defs.NETPLAN_FILE in (root.read(defs.RELOAD_FILE) or b"").decode()
    daemons.tell_daemons((), options, root, Problems())
    reload = "systemctl --no-block restart guestagent-reload.service"
    # The units of a metadata service are started together.
    assert started == ([reload] if unit == "confined" else [])


def test_a_reload_that_is_at_work_is_not_ended_by_a_run(started: list[str], tmp_path: Path) -> None:
    root, options = Root(str(tmp_path)), Options(confined=True)
    daemons.announce([NETWORK], options, root)
    held = lock(root, defs.RELOAD_LOCK_FILE)
    daemons.tell_daemons([NETWORK], options, root, Problems())
    assert started == []
    os.close(held)
    daemons.tell_daemons([NETWORK], options, root, Problems())
    assert started == [f"systemctl --no-block restart {defs.RELOAD_UNIT}"]


def test_the_units_of_a_metadata_service_run_again_in_their_order(started: list[str]) -> None:
    daemons.ask_again()
    units = " ".join(f"guestagent-{name}.service" for name in ("fetch", "apply", "reload"))
    assert started == [f"systemctl --no-block restart {units}"]


@pytest.mark.parametrize("is_left", [True, False])
def test_a_run_without_a_source_has_the_network_told_of_what_a_killed_one_has_changed(
    started: list[str], tree: Path, is_left: bool
) -> None:
    root = Root(str(tree))
    root.live = True
    if is_left:
        network.postpone(root, [NETWORK])
    run = change.Run(Options(verb="refresh", confined=True), root, Settings(), ())
    list(change.add_nics(run, State(configured=True), report=Report()))
    assert started == ([f"systemctl --no-block restart {defs.RELOAD_UNIT}"] if is_left else [])
