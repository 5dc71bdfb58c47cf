"""What a run does grows as what it is asked for does: function calls, and processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType

import growth
import pytest
import rig

from guestagent import cli

# Three numbers of things, and how many processes a run may start for each of them and for all.
_CASES = {
    "files": ((32, 64, 128), (0, 1)),  # the child that writes the keys in the home
    "home": ((32, 64, 128), (0, 1)),
    "nics": ((16, 32, 64), (0, 1)),
    # useradd and the child for the user's keys; chpasswd for all words, and for all hashes.
    "users": ((6, 12, 24), (2, 2)),
}


def run(place: Path, kind: str, number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many functions a first run calls, and how many processes it starts."""
    drive = growth.make_drive(place / f"drive{number}", kind, number)
    tree = growth.make_tree(place / f"tree{number}")
    rig.own_homes(tree)
    calls = started = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def fork() -> int:
        nonlocal started
        started += 1
        return real()

    real = os.fork
    with monkeypatch.context() as changed:
        changed.setattr(os, "fork", fork)
        sys.setprofile(note)
        try:
            status = cli.main(["--source", str(drive), "--root", str(tree)])
        finally:
            sys.setprofile(None)
    assert status == 0
    return calls, started


@pytest.mark.parametrize("kind", list(_CASES))
def test_a_run_grows_as_what_it_is_asked_for(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.need_root()
    rig.need_tools("useradd", "chpasswd")
    tmp_path.chmod(0o755)
    numbers, (each, base) = _CASES[kind]
    run(tmp_path, kind, 1, monkeypatch)  # what is imported, and compiled, only once
    calls, started = zip(*(run(tmp_path, kind, n, monkeypatch) for n in numbers), strict=True)
    first, second = calls[1] - calls[0], calls[2] - calls[1]
    assert 0 < second <= 2.1 * first, calls
    assert [*started] == [each * number + base for number in numbers]
