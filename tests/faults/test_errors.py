"""D2: the disk is full, read-only or broken, at every system call that changes something."""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR

import pytest

from .rig import Call, Entry, Scene, changing, old_or_new

FAULTS = ("openat", "write", "renameat", "fsync", "syncfs", "mkdirat", "fchmod")
REPORT = "run/guestagent"


def _files(tree: dict[str, Entry]) -> dict[str, Entry]:
    """A folder made for a staged file may stay; nothing in it does."""
    return {name: entry for name, entry in tree.items() if not S_ISDIR(entry.mode)}


def _points(scene: Scene) -> tuple[list[Call], int]:
    """Where to fail, and how many of these are over before the first file is renamed."""
    calls = changing(scene.calls(*FAULTS))
    agents = {call.process for call in calls if ".guestagent." in call.text}
    points = {(c.name, c.number): c for c in reversed(calls) if c.process in agents}
    ordered = list(reversed(points.values()))
    names = [call.name for call in ordered]
    return ordered, names.index("syncfs")


@pytest.mark.parametrize("name", ["ENOSPC", "EIO", "EROFS"])
def test_D2_an_error_anywhere_is_told_and_the_next_run_finishes(scene: Scene, name: str) -> None:
    reason = os.strerror(getattr(errno, name))
    before = scene.snapshot()
    assert scene.run().returncode == 0
    after = scene.snapshot()
    scene.fresh()
    points, staging = _points(scene)
    for number, call in enumerate(points):
        scene.fresh()
        result = scene.inject(call, f"error={name}")
        _told(call, result.returncode, result.stderr, reason)
        old_or_new(call, before, scene.snapshot(), after)
        assert scene.temporaries() == [], call
        if number <= staging and result.returncode and name != "EROFS":
            assert _files(scene.snapshot()) == _files(before), call
        again = scene.run()
        assert again.returncode == 0, (call, again.stderr)
        assert scene.snapshot() == after, call
        assert scene.temporaries() == [], call
    assert len(points) >= 50


def _told(call: Call, status: int, errors: str, reason: str) -> None:
    assert "Traceback" not in errors, (call, errors)
    assert "internal error" not in errors, (call, errors)
    if "guestagent: " in call.text:
        assert status == 0, call  # the terminal cannot be written to: no reason to stop
        return
    if status == 0 and "report.json" in errors:
        return  # only the report is missing, and that is told
    assert status == 1, (call, errors)
    assert f": {reason}" in errors, (call, errors)
    assert "system: " not in errors or "file system: " in errors, (call, errors)
