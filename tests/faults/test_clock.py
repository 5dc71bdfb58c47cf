"""D7: whatever the wall clock says, a run does the same, and its waits take as long."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest
import rig

from .rig import Entry, Scene


def _run(scene: Scene, clock: str) -> subprocess.CompletedProcess[str]:
    command = rig.with_clock(clock, scene.command())
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def _found(scene: Scene) -> dict[str, Entry]:
    """The tree, without what is new in each run: salts, and the day of a password."""
    return {
        name: entry._replace(content=b"") if "etc/shadow" in name else entry
        for name, entry in scene.snapshot().items()
    }


@pytest.mark.parametrize("clock", rig.CLOCKS)
def test_D7_a_run_does_the_same_at_any_time(account: Scene, clock: str) -> None:
    assert account.run().returncode == 0
    after = _found(account)
    account.fresh()
    done = _run(account, clock)
    assert done.returncode == 0, done.stderr
    assert _found(account) == after
    # When the clock is right again, there is nothing to do, and the other way round.
    for again in (account.run(), _run(account, clock)):
        assert (again.returncode, again.stderr.count(": unchanged, 0 errors")) == (0, 1), (
            again.stderr
        )
    assert _found(account) == after


@pytest.mark.parametrize("clock", rig.CLOCKS)
def test_D7_a_lock_is_waited_for_as_long_at_any_time(account: Scene, clock: str) -> None:
    lock = account.tree / "etc/passwd.lock"
    lock.write_text(f"{os.getpid()}\0")
    release = threading.Timer(2.0, lock.unlink)
    start = time.monotonic()
    release.start()
    done = _run(account, clock)
    release.join()
    assert done.returncode == 0, done.stderr
    assert 2.0 <= time.monotonic() - start < 10.0
    assert "ada:" in (account.tree / "etc/passwd").read_text()
