"""Other programs are bounded in time and output, and see a clean environment."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.system.tools import TIMED_OUT, find_program, run

_SH = "/bin/sh"


def test_status_output_and_errors() -> None:
    result = run([_SH, "-c", "cat; echo e >&2; exit 3"], b"in\n")
    assert result[:3] == (3, b"in\n", b"e\n")
    assert result.reason() == "exit status 3: e"


def test_B3_the_environment_is_clean_and_arguments_are_as_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CANARY", "CANARY")
    lines = run(["/usr/bin/env"]).output.decode().splitlines()
    assert {line.split("=")[0] for line in lines} <= {"PATH", "LANG", "LC_ALL"}


@pytest.mark.parametrize(
    "code", ["sleep 60", "sleep 60 & exec sleep 60", "exec >&- 2>&-; sleep 60"]
)
def test_a_program_that_hangs_is_killed_with_its_children(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(defs, "PROGRAM_TIMEOUT", 0.3)
    start = time.monotonic()
    assert run([_SH, "-c", code]).status == TIMED_OUT
    assert time.monotonic() - start < 5


def test_too_much_output_is_cut_and_shows_that_it_was() -> None:
    result = run([_SH, "-c", "head -c 5000000 /dev/zero; exit 4"], limit=100)
    assert (result.status, len(result.output)) == (4, 101)


def test_input_that_nobody_reads_does_not_hang() -> None:
    assert run(["/bin/true"], b"x" * 5_000_000).status == 0


def test_a_killed_program_has_a_negative_status() -> None:
    assert run([_SH, "-c", "kill -9 $$"]).status == -9


def test_no_descriptor_is_left_open_or_handed_on(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with (tmp_path / "secret").open("w"):
        listing = run(["/bin/ls", "-l", "/proc/self/fd"]).output
    with pytest.raises(OSError, match="No such file"):
        run(["/no/such/program"])
    assert b"secret" not in listing
    assert len(os.listdir("/proc/self/fd")) == before


def test_programs_are_looked_for_in_system_folders_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/tmp")
    found = find_program("env")
    assert found is not None
    assert found.rpartition("/")[0] in defs.PROGRAM_DIRS
    assert find_program("no-such-program") is None
