"""cloud-init-per: the program for scripts that were written for cloud-init, run really."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from guestagent import defs

PROGRAM = Path(__file__).parents[2] / "packaging/bin/cloud-init-per"
SHELLS = ("sh", "bash")


class Guest:
    """The program with its records in a folder, and a command that counts its runs."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.records, self.runs, self.shell = folder / "state/per", folder / "runs", shell
        self.script = folder / "cloud-init-per"
        text = PROGRAM.read_text()
        assert text.count(f"{defs.STATE_DIR}/per") == 1
        self.script.write_text(text.replace(f"{defs.STATE_DIR}/per", str(self.records)))

    def run(self, *words: str, instance: str = "i-1") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "INSTANCE_ID": instance}
        argv = [self.shell, str(self.script), *words]
        return subprocess.run(argv, capture_output=True, text=True, env=environment)

    def count(self, frequency: str, name: str, *, instance: str = "i-1", status: int = 0) -> int:
        """How often the command has run in all, after one more call."""
        command = ("sh", "-c", 'echo "$2" >>"$1"; exit $3', "-", str(self.runs), "a  b")
        done = self.run(frequency, name, *command, str(status), instance=instance)
        assert done.stderr == ""
        return len(self.runs.read_text().splitlines()) if self.runs.exists() else 0


@pytest.fixture(params=SHELLS)
def per(request: pytest.FixtureRequest, tmp_path: Path) -> Guest:
    return Guest(tmp_path, request.param)


def test_always_is_each_time_and_leaves_nothing(per: Guest) -> None:
    assert [per.count("always", "a") for _ in range(2)] == [1, 2]
    assert not per.records.exists()
    assert per.runs.read_text() == "a  b\na  b\n"


def test_once_is_once_in_the_life_of_the_disk(per: Guest) -> None:
    assert [per.count("once", "a", instance=name) for name in ("i-1", "i-1", "i-2")] == [1, 1, 1]
    assert per.count("once", "b") == 2


def test_instance_is_once_for_each_instance(per: Guest) -> None:
    names = ("i-1", "i-1", "..", "..", "i-1")
    assert [per.count("instance", "a", instance=name) for name in names] == [1, 1, 2, 2, 2]
    assert per.count("once", "a") == 3


@pytest.mark.parametrize("name", [".", "..", "-e", "a b", "$(id)", "*"])
def test_a_name_may_be_any_file_name(per: Guest, name: str) -> None:
    assert [per.count("once", name) for _ in range(2)] == [1, 1]


def test_a_command_that_failed_is_run_again(per: Guest) -> None:
    assert per.run("once", "a", "sh", "-c", "exit 7").returncode == 7
    assert per.run("once", "a", "no-such-program").returncode == 127
    assert [per.count("once", "a", status=status) for status in (3, 0, 0)] == [1, 2, 2]
    assert per.run("always", "a", "sh", "-c", "exit 7").returncode == 7


def test_records_are_root_s_alone_and_the_command_has_the_usual_mask(per: Guest) -> None:
    before = os.umask(0o022)
    try:
        assert per.run("once", "a", "sh", "-c", "umask").stdout.strip() == "0022"
    finally:
        os.umask(before)
    (record,) = (path for path in per.records.rglob("*") if path.is_file())
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "words",
    [(), ("once", "a"), ("daily", "a", "true"), ("once", "a/b", "true"), ("once", "", "true")],
)
def test_a_wrong_call_runs_nothing(per: Guest, words: tuple[str, ...]) -> None:
    done = per.run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cloud-init-per: ")
    assert not per.records.exists()


def test_without_an_instance_id_there_is_no_instance(per: Guest) -> None:
    assert per.run("instance", "a", "true", instance="").returncode == 1


def test_a_record_that_cannot_be_written_is_a_failure(per: Guest) -> None:
    per.records.parent.write_text("a file")
    assert per.run("once", "a", "true").returncode == 1


def test_scripts_find_the_program_and_a_login_does_not() -> None:
    assert PROGRAM.stat().st_mode & 0o777 == 0o755
    installed = (PROGRAM.parents[1] / "debian/guestagent.install").read_text().splitlines()
    assert f"packaging/bin/{PROGRAM.name} {defs.SCRIPT_PROGRAMS_DIR[1:]}/" in installed
    assert defs.SCRIPT_PATH.split(":")[0] == defs.SCRIPT_PROGRAMS_DIR
    assert defs.SCRIPT_PROGRAMS_DIR not in defs.PROGRAM_DIRS
