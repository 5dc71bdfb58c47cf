"""The runner killed at any instant: nothing runs twice, and the rest goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs

from .stage import Stage

# What a runner calls to change something, to start a script and to see its end.
CALLS = ("openat", "write", "fchmod", "renameat", "unlinkat", "fsync", "vfork", "clone3", "wait4")
SCRIPTS = ("10-instance-a", "20-boot-b", "30-once-c", "40-resumed-d")
_CALL = re.compile(r"(\w+)\((.*)")


class Killed:
    """A stage that is set up again and again."""

    def __init__(self, stage: Stage) -> None:
        rig.need_tools("strace")
        self.stage = stage

    def fresh(self) -> None:
        for path in (self.stage.marks, self.stage.tree):
            shutil.rmtree(path)
        self.stage.tree.mkdir()
        self.stage.__init__(self.stage.tree)  # type: ignore[misc]
        for name in SCRIPTS:
            self.stage.put(name, "echo words")

    def strace(self, *options: str, out: str = os.devnull) -> int:
        """A runner under strace, until all that it started has ended too."""
        reader, writer = os.pipe()
        argv = ["strace", "-qq", "-o", out, *options, "--", *self.stage.command()]
        runner = subprocess.Popen(
            argv, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(writer)
        with open(reader, "rb") as pipe:
            pipe.read()  # scripts inherit the other end
        return runner.wait(60)

    def points(self) -> list[tuple[str, int]]:
        """Each call that can be the last one, by its name and number, from 1."""
        out = self.stage.tree.parent / "strace.log"
        self.fresh()
        assert (
            self.strace("-e", f"trace={','.join(f'?{name}' for name in CALLS)}", out=str(out)) == 0
        )
        counts: dict[str, int] = {}
        found = []
        for line in out.read_text().splitlines():
            call = _CALL.match(line)
            if call:
                counts[call[1]] = counts.get(call[1], 0) + 1
                if call[1] != "openat" or "O_CREAT" in call[2]:
                    found.append((call[1], counts[call[1]]))
        return found

    def go_on(self) -> None:
        """Another runner comes: what is left runs, and once."""
        stage = self.stage
        done = stage.run()
        missing = set(SCRIPTS) - stage.ran().keys()
        assert "40-resumed-d" not in missing
        assert {times for name, times in stage.ran().items() if name != "40-resumed-d"} <= {1}
        results = stage.results() if missing else {}
        assert [results[name] for name in missing] == ["interrupted"] * len(missing)
        assert len(missing) <= 1
        assert stage.waiting() == ["20-boot-b"]
        assert done.returncode in (0, 1)
        before = stage.ran()
        assert stage.run().returncode == 0
        assert stage.ran() == before
        names = [path.name for path in stage.path(defs.STATE_DIR).iterdir()]
        assert sorted(names) == ["early", "late", "ledger.json", "state.json"]


@pytest.fixture
def killed(stage: Stage) -> Killed:
    return Killed(stage)


def test_D1_killed_at_every_call_nothing_runs_twice_and_the_rest_goes_on(killed: Killed) -> None:
    points = killed.points()
    assert len(points) >= 60
    for name, number in points:
        killed.fresh()
        fault = f"inject={name}:signal=KILL:when={number}"
        assert killed.strace("-e", f"trace={name}", "-e", fault) != 0, (name, number)
        killed.go_on()


@pytest.mark.parametrize("name", SCRIPTS)
def test_D1_a_system_that_stops_while_a_script_runs_goes_on_with_the_next(
    stage: Stage, tmp_path: Path, name: str
) -> None:
    gate, gone = tmp_path / "gate", tmp_path / "gone"
    os.mkfifo(gate)
    for script in SCRIPTS:
        wait = f"echo begun; [ -e {gone} ] || read x <{gate}"
        stage.put(script, wait if script == name else "")
    runner = subprocess.Popen(stage.command(), stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    with runner.stdout:
        assert f"{name}: begun\n" in iter(runner.stdout.readline, "")
    runner.kill()
    assert runner.wait(30) == -signal.SIGKILL
    gone.touch()
    gate.write_text("end\n")
    stage.boot("boot-2")
    done = stage.run()
    boot, resumed = "20-boot-b", "40-resumed-d"
    assert done.returncode == (0 if name == resumed else 1)
    assert (f"{name}: interrupted" in done.stderr) == (name != resumed)
    assert stage.results()[name] == (0 if name in (boot, resumed) else "interrupted")
    again = {boot: 1 if name < boot else 2, resumed: 2 if name == resumed else 1}
    assert stage.ran() == dict.fromkeys(SCRIPTS, 1) | again
    assert stage.waiting() == [boot]
