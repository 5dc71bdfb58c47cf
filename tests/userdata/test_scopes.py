"""Scripts where systemd runs: each in a scope of its own, none lost while the system stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.scripts import process, runner
from guestagent.system.root import Root
from guestagent.system.signals import Termination
from guestagent.system.tools import Result

from .stage import Stage


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands in for the system's programs, by their names."""
    found: dict[str, str] = {}

    def program(name: str) -> str | None:
        if name not in found:
            return None
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{found[name]}\n")
        path.chmod(0o755)
        return str(path)

    for module in (runner, process):
        monkeypatch.setattr(module, "find_program", program)
    return found


@pytest.fixture
def no_scopes(programs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The service manager refuses: what was started stays in this process's control group."""
    programs["systemd-run"] = "exit 1"
    monkeypatch.setattr(process, "_control_group", lambda pid: "/system.slice/x.service")


@pytest.fixture
def late(stage: Stage) -> Iterator[runner.Runner]:
    reader, writer = os.pipe()
    found = runner.Runner(Root(str(stage.tree)), "late", 0, Termination(reader))
    found.systemd = True
    yield found
    os.close(reader)
    os.close(writer)


def test_each_script_gets_a_scope(
    stage: Stage,
    late: runner.Runner,
    programs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = stage.marks / "called"
    programs["systemd-run"] = f'echo "$@" >>{called}; while [ "$1" != -- ]; do shift; done\n' + (
        'shift; exec "$@"'
    )
    monkeypatch.setattr(process, "_control_group", str)
    for name in ("10-instance-a", "20-instance-b"):
        stage.put(name)
    late.run()
    assert stage.ran() == {"10-instance-a": 1, "20-instance-b": 1, "called": 2}
    for number, line in enumerate(called.read_text().splitlines(), 1):
        scope = f"guestagent-late-{os.getpid()}-{number}.scope"
        assert line.startswith(f"--scope --quiet --collect --unit={scope} -- /bin/sh /")


@pytest.mark.usefixtures("no_scopes")
def test_without_a_scope_a_script_runs_all_the_same(stage: Stage, late: runner.Runner) -> None:
    stage.put("10-instance-a", "exit 3")
    late.run()
    assert stage.ran() == {"10-instance-a": 1}
    assert stage.results() == {"10-instance-a": 3}


@pytest.mark.usefixtures("no_scopes")
def test_a_script_that_could_not_begin_before_the_system_stops_runs_at_its_next_start(
    stage: Stage, late: runner.Runner, programs: dict[str, str]
) -> None:
    programs["systemctl"] = "echo stopping"
    stage.put("10-instance-a")
    late.run()
    assert (late.stopped, late.failed) == (True, False)
    assert stage.ran() == {}
    assert stage.ledger() == []
    assert stage.run().returncode == 0
    assert stage.ran() == {"10-instance-a": 1}


@pytest.mark.parametrize(
    "answers",
    [
        {"systemctl": "echo stopping; exit 1"},
        {"systemctl": "echo running", "busctl": "echo b true"},
    ],
)
def test_after_a_script_that_reboots_no_other_begins(
    stage: Stage, late: runner.Runner, programs: dict[str, str], answers: dict[str, str]
) -> None:
    programs |= answers
    stage.put("10-instance-reboots")
    stage.put("20-instance-b")
    late.run()
    assert stage.ran() == {"10-instance-reboots": 1}
    assert stage.waiting() == ["20-instance-b"]


@pytest.mark.parametrize(
    ("name", "answer", "again"),
    [
        ("25-resumed-fetch", "echo stopping", True),
        ("25-resumed-fetch", "echo running", False),
        ("25-instance-a", "echo stopping", False),
    ],
)
def test_what_can_be_resumed_and_failed_as_the_system_was_about_to_stop_runs_again(
    stage: Stage,
    late: runner.Runner,
    programs: dict[str, str],
    name: str,
    answer: str,
    again: bool,
) -> None:
    """What it had asked the service manager for is stopped before the script is."""
    programs["systemctl"] = answer
    stage.put(name, "exit 1")
    late.run()
    assert (stage.waiting(), late.failed) == ([name] if again else [], not again)
    stage.boot("boot-2")
    stage.run()
    assert stage.ran() == {name: 2 if again else 1}


@pytest.mark.parametrize(
    ("names", "started"), [([], False), (["50-boot-a"], True), ([".guestagent.0"], False)]
)
def test_the_early_stage_starts_the_late_one_where_something_waits(
    stage: Stage,
    late: runner.Runner,
    programs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    started: bool,
) -> None:
    calls: list[list[str]] = []

    def run(argv: list[str]) -> Result:
        calls.append(argv[1:])
        return Result(0, b"", b"")

    monkeypatch.setattr(runner, "run", run)
    programs["systemctl"] = ""
    for name in names:
        stage.put(name)
    late.start_late_unit()
    assert calls == [["--no-block", "start", "guestagent-late.service"]] * started


def test_what_wants_to_go_on_later_runs_again_in_the_same_boot_and_a_timer_starts_it(
    stage: Stage, late: runner.Runner, programs: dict[str, str]
) -> None:
    """It puts another script in its own place, as the one that fetches does."""
    called = stage.marks.parent / "called"
    programs["systemctl"] = f'echo "$@" >>{called}'
    name = "25-resumed-fetch"
    path = stage.file(name)
    stage.put(name, f"echo : >>{path}; exit {defs.EXIT_TRY_AGAIN}")
    stage.put("50-instance-a", f"exit {defs.EXIT_TRY_AGAIN}")
    late.run()
    assert (stage.waiting(), stage.ran()) == ([name], {name: 1, "50-instance-a": 1})
    assert f"--no-block restart {defs.LATE_TIMER}" in called.read_text().splitlines()
    assert "tried in some minutes, or at the next boot" in stage.reasons()[name]
    path.write_text(f"#!/bin/sh\necho ran >>{stage.mark(name)}\n")
    assert stage.run().returncode == 0
    assert (stage.waiting(), stage.ran()) == ([], {name: 2, "50-instance-a": 1})
    assert (stage.results()[name], name in stage.reasons()) == (0, False)
    # One that has put nothing in its place is not run for ever.
    stage.put(name, f"exit {defs.EXIT_TRY_AGAIN}")
    stage.run()
    assert stage.waiting() == [name]
    stage.run()
    assert (stage.waiting(), stage.ran()[name]) == ([], 3)


def test_a_time_limit_ends_the_whole_scope(
    stage: Stage, programs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = stage.marks / "called"
    programs["systemd-run"] = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'
    programs["systemctl"] = f'echo "$@" >>{called}'
    script = process.Process(["/bin/sleep", "1000"], {"PATH": defs.SCRIPT_PATH}, 2, "x.scope")
    reader, writer = os.pipe()
    with pytest.raises(process.CutShort, match="timeout"):
        script.wait(0.1, reader, bool)
    os.close(reader)
    os.close(writer)
    assert called.read_text().splitlines() == [
        "kill --signal=15 x.scope",
        "kill --signal=9 x.scope",
    ]
