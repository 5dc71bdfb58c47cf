"""The program from outside: exit statuses, outputs, what it leaves alone, one at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import VERSION, defs

# Everything is imported first: nobody may not be able to read the interpreter's library.
_AS_NOBODY = (
    "import os, sys; sys.path.insert(0, sys.argv.pop(1)); import difflib, hashlib, pkgutil; "
    "import guestagent; names = [m.name for m in pkgutil.walk_packages(guestagent.__path__, "
    "'guestagent.')]; away = ('udev', 'http', 'https', 'service', 'download'); "
    "[__import__(name) for name in names if name.rpartition('.')[2] not in away]; "
    "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534); "
    "sys.exit(sys.modules['guestagent.cli'].main(sys.argv[1:]))"
)


def _python(code: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-IBS", "-c", code, str(rig.REPOSITORY), *map(str, arguments)]


def as_nobody(*arguments: str | Path) -> rig.Result:
    """Run the agent as a user without any rights."""
    rig.need_root()
    argv = _python(_AS_NOBODY, *arguments)
    done = subprocess.run(argv, capture_output=True, text=True)
    return rig.Result(done.returncode, done.stdout, done.stderr)


def times(tree: Path) -> dict[str, tuple[int, int]]:
    """When each name was last changed."""
    stats = ((str(path), path.lstat()) for path in tree.rglob("*"))
    return {name: (stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats}


def test_the_exit_statuses_of_a_life(guest: Path, drive: Path) -> None:
    source = ("--source", drive, "--root", guest)
    assert rig.agent("--dry-run", *source).status == 2
    assert rig.agent(*source).status == 0
    assert rig.agent("--dry-run", *source).status == 0
    assert rig.agent("apply", *source).status == 0
    assert rig.agent("status", "--root", guest).status == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--none",),
        ("--root", "/none", "--source", "/tmp"),
        ("--root", "/tmp"),
        ("--source", "/none", "--dry-run"),
        ("--source", "/dev/null", "--dry-run"),
    ],
)
def test_wrong_usage_is_64(arguments: tuple[str, ...]) -> None:
    found = rig.agent(*arguments)
    assert found.status == 64
    assert "--help" in found.err
    assert found.out == ""


def test_help_and_version_are_no_errors() -> None:
    assert rig.agent("--version") == (0, f"guestagent {VERSION}\n", "")
    found = rig.agent("--help")
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith("usage: guestagent")


def test_it_runs_from_a_source_tree_as_a_module() -> None:
    argv = [sys.executable, "-B", "-m", "guestagent", "--version"]
    done = subprocess.run(argv, cwd=rig.REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"guestagent {VERSION}\n", "")


def test_an_unreadable_source_is_3_and_no_new_instance(guest: Path, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"no image")
    found = rig.agent("--source", tmp_path / "image", "--root", guest)
    assert found.status == 3
    report = json.loads((guest / defs.REPORT_FILE[1:]).read_text())
    assert report["exit_status"] == 3
    assert str(tmp_path / "image") in report["problems"][0]["reason"]
    assert not (guest / defs.STATE_FILE[1:]).exists()


def test_B7_others_than_root_may_not_configure_the_running_system() -> None:
    found = as_nobody("apply", "--source", "/tmp")
    assert found.status == 77, found.err
    assert "only root" in found.err


@pytest.mark.parametrize("json_too", [False, True])
def test_a_dry_run_writes_nothing_at_all(guest: Path, drive: Path, json_too: bool) -> None:
    before, then = rig.snapshot(guest), times(guest)
    options = ["--dry-run", *(["--json"] if json_too else [])]
    assert rig.agent(*options, "--source", drive, "--root", guest).status == 2
    assert rig.differences(before, rig.snapshot(guest)) == set()
    assert times(guest) == then


@pytest.mark.parametrize("form", ["directory", "iso", "vfat"])
def test_a_dry_run_needs_no_root(guest: Path, tmp_path: Path, form: str) -> None:
    shutil.copytree(rig.SAMPLES / "nova" / "drive", tmp_path / "drive")
    drive = rig.make_drive(tmp_path / "drive", form, tmp_path)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    mine = rig.agent("--dry-run", "--json", "--source", drive, "--root", guest)
    assert as_nobody("--dry-run", "--json", "--source", drive, "--root", guest) == mine
    assert mine.status == 2


def plan(guest: Path, drive: Path) -> dict[str, Any]:
    found = rig.agent("--dry-run", "--json", "--source", drive, "--root", guest)
    loaded: dict[str, Any] = json.loads(found.out)
    return loaded


def test_the_shape_of_the_json_plan(guest: Path, drive: Path) -> None:
    found = plan(guest, drive)
    assert set(found) == {"changes", "kept", "problems", "signatures", "bookkeeping"}
    for change in found["changes"]:
        assert {"kind", "summary", "why"} <= set(change)
        assert set(change["why"]) == {"source", "document", "key"}
        assert change["why"]["source"] == str(drive)
        if change["kind"] == "write":
            fields = {"path", "mode", "user", "new", "size", "sha256", "content"}
            assert fields <= set(change)
    hidden = {change["path"]: change["content"] for change in found["changes"] if "path" in change}
    assert hidden["/etc/motd"] is None  # injected files are for root alone
    assert hidden["/etc/hostname"] == "web-1\n"


def test_B3_no_digest_of_what_is_masked_is_shown(guest: Path, drive: Path) -> None:
    text = rig.agent("--dry-run", "--json", "--source", drive, "--root", guest).out
    files = [change for change in json.loads(text)["changes"] if "content" in change]
    hidden = [change for change in files if change["content"] is None]
    assert "/etc/motd" in [change["path"] for change in hidden]
    assert {change["sha256"] for change in hidden} == {None}
    assert None not in {change["sha256"] for change in files if change not in hidden}
    rig.agent("--source", drive, "--root", guest)
    shown = text + "".join(
        rig.agent("status", *more, "--root", guest).out for more in ((), ("--json",))
    )
    for name in hashlib.algorithms_guaranteed - {"shake_128", "shake_256"}:
        for path in (change["path"] for change in hidden):
            digest = hashlib.new(name, (guest / path[1:]).read_bytes()).hexdigest()
            assert digest[:8] not in shown, (name, path)


def test_the_plan_for_people_has_reasons_and_diffs(guest: Path, drive: Path) -> None:
    text = rig.agent("--dry-run", "--source", drive, "--root", guest).out
    for line in (
        "# change /etc/hostname (mode 0644)",
        f"#   why: {drive}, meta_data.json, hostname",
        "--- /etc/hostname",
        "-localhost",
        "+web-1",
        "(content not shown, 18 bytes)",
    ):
        assert line in text.splitlines(), text


def test_the_report(guest: Path, drive: Path) -> None:
    rig.agent("--source", drive, "--root", guest)
    report = json.loads(rig.agent("status", "--json", "--root", guest).out)
    assert report["first_boot"] is True
    assert report["unchanged"] is False
    assert report["instance_id"] == "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"
    assert report["availability_zone"] == "nova"
    assert report["project_id"] == "5b1f6c1ddf2a4b0f8a7a3b5cf0f1c9e2"
    assert {"find", "parse", "plan", "apply"} <= set(report["steps_ms"])
    assert {change["what"].split()[0] for change in report["changes"]} <= {"write", "change"}
    rig.agent("--source", drive, "--root", guest)
    report = json.loads(rig.agent("status", "--json", "--root", guest).out)
    assert (report["unchanged"], report["changes"]) == (True, [])
    assert report["availability_zone"] == "nova"
    shown = rig.agent("status", "--root", guest).out.splitlines()
    assert "zone         nova" in shown
    assert "project      5b1f6c1ddf2a4b0f8a7a3b5cf0f1c9e2" in shown
    assert "nothing had changed since the run before" in shown


def test_status_without_a_report_is_an_error(tree: Path) -> None:
    assert rig.agent("status", "--root", tree).status == 1


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_status_with_a_damaged_report_is_an_error(tree: Path, content: str) -> None:
    report = tree / defs.REPORT_FILE[1:]
    report.parent.mkdir(parents=True)
    report.write_text(content)
    found = rig.agent("status", "--root", tree)
    assert (found.status, found.out) == (1, "")
    assert "report.json is damaged" in found.err


def unchanged(guest: Path, drive: Path) -> bool:
    """Run the agent, and tell whether it found nothing new."""
    assert rig.agent("--source", drive, "--root", guest).status == 0
    report = json.loads((guest / defs.REPORT_FILE[1:]).read_text())
    return bool(report["unchanged"])


def test_settings_that_change_are_noticed_by_the_next_run(guest: Path, drive: Path) -> None:
    settings = guest / defs.SETTINGS_FILE[1:]
    settings.parent.mkdir(parents=True)
    settings.write_text("[hosts]\nmanage = false\n")
    rig.agent("--source", drive, "--root", guest)
    assert unchanged(guest, drive)
    settings.write_text("[hosts]\nmanage = true\n")
    assert not unchanged(guest, drive)
    assert "web-1" in (guest / "etc/hosts").read_text()
    dropin = guest / defs.SETTINGS_DROPINS[1:] / "a.toml"
    dropin.parent.mkdir()
    dropin.write_text("[hosts]\nmanage = false\n")
    assert not unchanged(guest, drive)
    assert unchanged(guest, drive)


def test_B7_the_agents_own_files_are_closed(guest: Path, drive: Path) -> None:
    rig.agent("--source", drive, "--root", guest)
    assert (guest / defs.STATE_DIR[1:]).stat().st_mode & 0o7777 == 0o700
    assert (guest / defs.STATE_FILE[1:]).stat().st_mode & 0o7777 == 0o600
    for folder in (defs.STATE_DIR, defs.RUN_DIR):
        for path in (guest / folder[1:], *(guest / folder[1:]).rglob("*")):
            assert not path.stat().st_mode & 0o022


def test_D4_a_new_instance_runs_first_boot_again(guest: Path, drive: Path, tmp_path: Path) -> None:
    rig.agent("--source", drive, "--root", guest)
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", drive, other], check=True)
    meta = other / "openstack/latest/meta_data.json"
    meta.write_text(meta.read_text().replace("0c1a9b2e", "ffffffff").replace("web-1.", "web-2."))
    (guest / "etc/motd").write_text("an administrator's\n")
    assert rig.agent("--source", other, "--root", guest).status == 0
    assert (guest / "etc/hostname").read_text() == "web-2\n"
    assert (guest / "etc/motd").read_text() == "Welcome to web-1.\n"


def test_D6_the_lock_excludes(guest: Path, drive: Path) -> None:
    lock = guest / defs.LOCK_FILE[1:]
    lock.parent.mkdir(parents=True)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from guestagent import defs; "
    code += "defs.LOCK_WAIT = 0.3; from guestagent.cli import main; sys.exit(main(sys.argv[1:]))"
    argv = _python(code, "--source", drive, "--root", guest)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = rig.snapshot(guest)
        start = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 75, done.stderr
        assert 0.3 <= time.monotonic() - start < 5
        assert rig.differences(before, rig.snapshot(guest)) == set()
        assert rig.agent("--dry-run", "--source", drive, "--root", guest).status == 2
    assert subprocess.run(argv, capture_output=True).returncode == 0


def test_D6_many_runs_at_once_end_as_one_does(guest: Path, drive: Path, tmp_path: Path) -> None:
    alone = rig.copy_root(rig.SAMPLES / "nova" / "root", tmp_path / "alone")
    rig.agent("--source", drive, "--root", alone)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from guestagent.cli import main; "
    code += "sys.exit(main(sys.argv[1:]))"
    argv = _python(code, "--source", drive, "--root", guest)
    running = [subprocess.Popen(argv, stderr=subprocess.DEVNULL) for _ in range(8)]
    assert {process.wait(timeout=60) for process in running} <= {0, 75}
    own = {defs.STATE_FILE, defs.REPORT_FILE}
    assert rig.differences(rig.snapshot(alone), rig.snapshot(guest)) <= own


def test_an_error_in_the_agent_shows_a_place_and_no_text(guest: Path, drive: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from guestagent import cli\n"
    code += "from guestagent.verbs import planning\n"
    code += "def fail(*_, **__): raise KeyError('CANARY')\n"
    code += "planning.make_plan = fail; sys.exit(cli.main(sys.argv[1:]))"
    argv = _python(code, "--source", drive, "--root", guest)
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 1
    assert "internal error: KeyError at " in done.stderr
    assert "CANARY" not in done.stderr + done.stdout
    assert os.path.exists(guest / defs.REPORT_FILE[1:])


@pytest.mark.parametrize(
    "arguments",
    [(), ("apply",), ("--source", "/x"), ("apply", "--boot"), ("run-late",), ("rollback",)],
)
def test_tests_never_configure_the_machine_that_runs_them(arguments: tuple[str, ...]) -> None:
    with pytest.raises(pytest.fail.Exception, match="would change this machine"):
        rig.agent(*arguments)
