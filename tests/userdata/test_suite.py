"""The command that validates a whole collection of user data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rig

from guestagent.errors import Problem
from guestagent.plan.difference import Plan
from guestagent.verbs.validate import Verdict, validate_file

from . import suite

COMMAND = [sys.executable, "-m", "tests.userdata.suite"]


def lines(folder: Path, *patterns: str) -> list[str]:
    return suite.report(suite.look(folder, list(patterns)))


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    for name, text in {
        "a/user_data": "#cloud-config\ntimezone: Etc/UTC\n",
        "a/expect.md": "nothing",
        "b/user_data": "#cloud-config\nhostname: a_b\n",
        "c.yaml": "#cloud-config\nhostname: a_b\nusers: canary\nruncmd: 5\nbootcmd: 6\n",
        ".git/user_data": "nothing",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "d").symlink_to("c.yaml")
    os.mkfifo(tmp_path / "e")
    return tmp_path


def test_documents_are_counted_by_what_is_said_of_them(collection: Path) -> None:
    first, _, *reasons = lines(collection, "user_data", "*.yaml")
    assert first == (
        "3 documents: 1 without a problem, 1 with warnings only, 1 with errors, "
        "0 that made guestagent fail"
    )
    assert reasons[0].split()[:3] == ["2", "2", "warning:"]
    assert reasons[0].endswith("it becomes a hyphen (c.yaml)")
    assert [line.split()[:3] for line in reasons if "must be a list" in line] == [
        ["1", "2", "error:"]
    ]


def test_all_regular_files_without_patterns(collection: Path) -> None:
    assert lines(collection)[0].startswith("4 documents: ")


def test_an_error_of_the_program_is_told_and_the_others_go_on(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str, system: str) -> Verdict:
        if path.endswith(".yaml"):
            raise RuntimeError("canary")
        return validate_file(path, system)

    monkeypatch.setattr(suite, "validate_file", fail)
    first, failed, *_ = lines(collection, "user_data", "*.yaml")
    assert first.startswith("3 documents: 1 without a problem, 1 with warnings only, 0 with")
    assert failed.startswith("failed: c.yaml: internal error: RuntimeError at test_suite.py:")
    assert suite.main([str(collection)]) == 1


def test_what_is_printed_is_bounded_and_without_values(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(path: str, system: str) -> Verdict:
        texts = (chr(ord("a") + n) * 5 for n in range(26))
        problems = tuple(Problem("error", "", "", "", f"{t} 5") for t in texts)
        return Verdict(path, Plan(), problems * 3)

    monkeypatch.setattr(suite, "MOST_REASONS", 20)
    assert "canary" not in "\n".join(lines(collection))
    monkeypatch.setattr(suite, "validate_file", many)
    found = lines(collection, "user_data")
    assert len(found) == 2 + 20 + 1
    assert found[2].split()[:4] == ["2", "6", "error:", "aaaaa"]
    assert found[-1] == "and 6 more reasons"
    monkeypatch.setattr(suite, "MOST_DOCUMENTS", 1)
    assert lines(collection, "user_data")[:2] == [
        "1 documents: 0 without a problem, 0 with warnings only, 1 with errors, "
        "0 that made guestagent fail",
        "the first 1 documents only",
    ]


def test_the_command(collection: Path) -> None:
    done = subprocess.run(
        [*COMMAND, collection, "user_data", "--os", "rhel"],
        cwd=rig.REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 documents: 1 without a problem, ")
    wrong = subprocess.run(
        [*COMMAND, collection / "c.yaml"], cwd=rig.REPOSITORY, capture_output=True
    )
    assert wrong.returncode == 2
