"""Sample drives: what a dry run predicts is exactly what a run does, whatever the drive's form.

Each sample is a folder with a ``drive``, a guest's ``root`` and an ``expect.json``: exit status
of the dry run and of the run, the plan's changes, places of errors, lines of some files.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import rig

SAMPLES = sorted(path.name for path in rig.SAMPLES.iterdir())
FORMS = ("directory", "iso", "vfat")
CANARY = "CANARY"
ACCOUNT_FILES = {
    f"/etc/{name}{end}"
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
    for end in ("", "-")
} | {"/etc/.pwd.lock"}


class Case(NamedTuple):
    """One sample as one form of drive, with a copy of its root."""

    expect: dict[str, Any]
    drive: Path
    root: Path

    def run(self, *arguments: str) -> rig.Result:
        """The agent on this case; what it prints never holds a canary."""
        found = rig.agent(*arguments, "--source", self.drive, "--root", self.root)
        assert CANARY not in found.out
        assert CANARY not in found.err
        assert "internal error" not in found.err
        return found

    def plan(self) -> dict[str, Any]:
        """The plan of a dry run, which changes nothing."""
        before = rig.snapshot(self.root)
        found = self.run("--dry-run", "--json")
        assert rig.differences(before, rig.snapshot(self.root)) == set()
        plan: dict[str, Any] = json.loads(found.out)
        return {"status": found.status, **plan}


@pytest.fixture(params=[(name, form) for name in SAMPLES for form in FORMS], ids="-".join)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    name, form = request.param
    sample = rig.SAMPLES / name
    expect = json.loads((sample / "expect.json").read_text())
    if expect.get("tools"):
        rig.need_root()
        rig.need_tools(*expect["tools"])
    root = rig.copy_root(sample / "root", tmp_path / "root")
    return Case(expect, rig.make_drive(sample / "drive", form, tmp_path), root)


def test_a_run_does_what_its_dry_run_says(case: Case) -> None:
    plan = case.plan()
    assert plan["status"] == case.expect["dry_run"]
    assert [change["summary"] for change in plan["changes"]] == case.expect["changes"]
    errors = [problem for problem in plan["problems"] if problem["severity"] == "error"]
    assert [f"{error['document']}: {error['key']}" for error in errors] == case.expect["errors"]
    for error in errors:
        assert error["reason"]
        assert error["source"] in (str(case.drive), "settings")

    before = rig.snapshot(case.root)
    applied = case.run("apply")
    after = rig.snapshot(case.root)
    assert applied.status == case.expect.get("apply", 0), applied.err
    for error in errors:
        assert f"{error['source']}: {error['document']}" in applied.err

    changed = rig.differences(before, after)
    explained = (
        check_files(plan, after, uids(case.root))
        | account_files(plan, after)
        | set(plan["bookkeeping"])
    )
    explained |= host_keys(plan, before, after)
    folders = {str(parent) for name in explained for parent in Path(name).parents}
    assert changed - explained - {name for name in folders if name not in before} == set()
    for name, lines in case.expect["files"].items():
        assert (case.root / name[1:]).read_text().splitlines() == lines
    for name in case.expect.get("absent", ()):
        assert name not in after


def uids(root: Path) -> dict[str, int]:
    """The numbers of a tree's users."""
    lines = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    return {name: int(number) for name, _, number, *_ in lines}


def check_files(
    plan: dict[str, Any], after: dict[str, rig.Entry], numbers: dict[str, int]
) -> set[str]:
    """Each file is as the plan says: content, mode, owner; returns their paths."""
    links = {change["path"] for change in plan["changes"] if change["kind"] == "link"}
    assert {after[path].kind for path in links} <= {"link"}
    late = [change for change in plan["changes"] if change["kind"] == "write_later"]
    assert not [change["path"] for change in late if change["path"] in after]
    carried = {name for name in after if "/30-resumed-write_files-" in name}
    assert bool(late) == bool(carried)
    writes = [
        change for change in plan["changes"] if change["kind"] in ("write", "set_sshd", "step")
    ]
    for change in writes:
        entry = after[change["path"]]
        assert entry.kind == "file"
        assert f"{entry.mode:04o}" == change["mode"]
        assert change["sha256"] in (entry.digest, None)
        assert (change["sha256"] is None) == (change["content"] is None)
        assert entry.uid == numbers.get(change["user"], 0) or os.geteuid()
        if change["content"] is not None and "�" not in change["content"]:
            content = change["content"].encode()
            assert hashlib.sha256(content).hexdigest() == change["sha256"]
    return {change["path"] for change in writes} | links | carried


def account_files(plan: dict[str, Any], after: dict[str, rig.Entry]) -> set[str]:
    """What useradd and chpasswd may touch, where the plan has them."""
    kinds = {change["kind"] for change in plan["changes"]}
    names = [change["user"] for change in plan["changes"] if change["kind"] == "add_user"]
    homes = {home for home in after for name in names if home.startswith(f"/home/{name}")}
    found = ACCOUNT_FILES if kinds & {"add_user", "set_password", "lock_password"} else set()
    return found | (homes if "add_user" in kinds else {"/home/debian/.ssh"})


def host_keys(
    plan: dict[str, Any], before: dict[str, rig.Entry], after: dict[str, rig.Entry]
) -> set[str]:
    """The host keys after the run are those of the plan's types, and none is the image's."""
    types = [kind for change in plan["changes"] for kind in change.get("types", ())]
    if not types:
        return set()
    names = {f"/etc/ssh/ssh_host_{kind}_key{end}" for kind in types for end in ("", ".pub")}
    old = {name for name in before if name.startswith("/etc/ssh/ssh_host_")}
    assert {name for name in after if name.startswith("/etc/ssh/ssh_host_")} == names
    assert not {before[name].digest for name in old} & {after[name].digest for name in names}
    return names | old


def test_D5_a_second_run_changes_nothing(case: Case) -> None:
    case.run("apply")
    before = rig.snapshot(case.root)
    plan = case.plan()
    assert plan["changes"] == []
    assert plan["status"] == case.expect.get("apply", 0)
    assert case.run("apply").status == case.expect.get("apply", 0)
    changed = rig.differences(before, rig.snapshot(case.root))
    assert changed <= {"/run/guestagent/report.json", "/var/lib/guestagent/state.json"}


def test_B3_no_secret_is_shown_or_kept(case: Case) -> None:
    case.run("--dry-run")
    case.run("apply")
    shown = rig.agent("status", "--root", case.root)
    told = rig.agent("status", "--json", "--root", case.root)
    assert json.loads(told.out)["exit_status"] == case.expect.get("apply", 0)
    assert CANARY not in shown.out + shown.err + told.out + told.err
    # Scripts wait there for the unit that runs them, where only root can enter.
    waiting = [case.root / f"var/lib/guestagent/{stage}" for stage in ("early", "late")]
    for folder in ("var", "run"):
        for path in (case.root / folder).rglob("*"):
            if path.parent in waiting:
                assert path.stat().st_mode & 0o777 == 0o700
            else:
                assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path
    assert (case.root / "var/lib/guestagent").stat().st_mode & 0o777 == 0o700
