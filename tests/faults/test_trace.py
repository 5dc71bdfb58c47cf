"""What a run calls: bars B3, B4, B8 and D5."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from .rig import SAMPLE, Agent, Scene, changing

_CANARY = "CANARY-9f3c-word"
_STAGED = re.compile(r"\.guestagent\.[0-9a-f]{16}$")
_MODE = re.compile(r", (0[0-7]*)\)")
_NAME = re.compile(r'"([^"]*)"')
_STARTS = ("clone", "clone3", "fork", "vfork", "execve", "execveat")


# D5


def test_D5_an_unchanged_run_starts_nothing_and_writes_only_to_run(scene: Scene) -> None:
    assert scene.run().returncode == 0
    before = _times(scene.tree)
    calls = scene.calls("openat", "renameat", "fchmod", "fchmodat", "mkdirat", "unlinkat", "write",
                        "fsync", "syncfs", *_STARTS, options=("-y",))  # fmt: skip
    started = [call for call in calls if call.name in _STARTS]
    assert [call.name for call in started] == ["execve"]
    outside = [
        call
        for call in changing(calls)
        if call.name != "execve" and f"{scene.tree}/run/guestagent" not in call.text
    ]
    assert [call.text for call in outside if not call.text.startswith("2<")] == []
    assert _times(scene.tree) == before


def test_D5_an_unchanged_run_renames_only_its_report(scene: Scene) -> None:
    assert scene.run().returncode == 0
    renamed = scene.calls("rename", "renameat", "renameat2")
    assert [_NAME.findall(call.text) for call in renamed] == [[".guestagent.tmp", "report.json"]]


def test_D5_a_hundred_runs_leave_the_tree_as_the_first_did(scene: Scene) -> None:
    assert scene.run().returncode == 0
    before = scene.snapshot(), _times(scene.tree)
    for _ in range(100):
        assert scene.run().returncode == 0
    assert (scene.snapshot(), _times(scene.tree)) == before


def _times(tree: Path) -> dict[str, tuple[int, int]]:
    """When each file outside /run was changed last, by content or by inode."""
    paths = [path for path in tree.rglob("*") if "run/guestagent" not in str(path)]
    found = {str(path): path.lstat() for path in paths if path != tree / "run"}
    return {name: (stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in found.items()}


# B4


def test_B4_every_file_is_made_for_root_alone_and_gets_its_mode_before_its_name(
    scene: Scene,
) -> None:
    calls = changing(scene.calls("openat", "fchmod", "fchmodat", "renameat", "execve"))
    programs = {call.process for call in calls if call.name == "execve"} - {calls[0].process}
    calls = [call for call in calls if call.process not in programs and call.name != "execve"]
    made: set[tuple[int, str]] = set()
    modes: dict[tuple[int, str], str] = {}
    for call in calls:
        name = _NAME.search(call.text)
        if call.name == "openat" and name:
            assert _MODE.search(call.text)[1] == "0600", call  # type: ignore[index]
            made.add((call.process, name[1]))
            last = (call.process, name[1])
        elif call.name == "fchmod" and "0700" not in call.text:
            modes[last] = call.text
        elif call.name == "renameat" and name:
            assert modes.pop((call.process, name[1])), call
    assert len(made) >= 7
    assert modes == {}
    assert [call for call in calls if call.name == "fchmodat"] == []


def test_B4_the_directory_of_the_state_is_never_open_to_others(scene: Scene) -> None:
    made = [call.text for call in scene.calls("mkdirat") if "guestagent" in call.text]
    assert [_MODE.search(text)[1] for text in made] == ["0755", "0700"]  # type: ignore[index]
    assert (scene.tree / "run/guestagent").stat().st_mode & 0o777 == 0o755
    assert (scene.tree / "var/lib/guestagent").stat().st_mode & 0o777 == 0o700


# B3


def test_B3_a_password_reaches_chpasswd_and_nobody_else(scene: Scene) -> None:
    meta = json.loads((SAMPLE / "drive/openstack/latest/meta_data.json").read_text())
    drive = scene.tree.parent / "drive"
    (drive / "openstack/latest").mkdir(parents=True)
    meta = {key: meta[key] for key in ("uuid", "public_keys", "hostname")}
    text = json.dumps({**meta, "admin_pass": _CANARY})
    (drive / "openstack/latest/meta_data.json").write_text(text)
    scene.drive = drive
    _make_databases(scene.tree)
    log = scene.tree.parent / "execve.log"
    result = scene.strace("-v", "-s", "4096", "-e", "trace=execve", out=str(log))
    assert result.returncode == 0, result.stderr
    assert "chpasswd" in log.read_text()
    assert (scene.tree / "etc/shadow").read_text().splitlines()[1].startswith("debian:$")
    for shown in (log.read_text(), result.stdout, result.stderr, *_dry_runs(scene)):
        assert _CANARY not in shown
    own = [path for path in scene.tree.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in own if _CANARY.encode() in path.read_bytes()] == []


def _make_databases(tree: Path) -> None:
    (tree / "etc/shadow").write_text("root:*:19000:0:99999:7:::\ndebian:!:19000:0:99999:7:::\n")
    (tree / "etc/shadow").chmod(0o600)
    (tree / "etc/gshadow").write_text("root:*::\ndebian:!::\n")
    (tree / "etc/login.defs").write_text("ENCRYPT_METHOD SHA512\nSHA_CRYPT_MIN_ROUNDS 1000\n")


def _dry_runs(scene: Scene) -> list[str]:
    scene.fresh()
    _make_databases(scene.tree)
    found = []
    for options in (["--dry-run"], ["--dry-run", "--json"]):
        result = subprocess.run([*scene.command(), *options], capture_output=True, text=True)
        assert result.returncode == 2, result.stderr
        found += [result.stdout, result.stderr]
    return found


# D3


def test_D3_what_is_renamed_is_on_the_disk_before_and_its_name_before_it_is_remembered(
    scene: Scene,
) -> None:
    """One syncfs(2) for all that is staged, one for all renames, and only then the state."""
    calls = scene.calls("openat", "write", "renameat", "syncfs")
    (agent,) = {call.process for call in calls if "staging.json" in call.text}
    order = []
    for call in calls:
        if call.process != agent:
            continue
        names = _NAME.findall(call.text)
        if call.name == "openat" and "O_CREAT" in call.text and _STAGED.match(names[0]):
            order.append("stage")
        elif call.name == "renameat" and _STAGED.match(names[0]):
            order.append("rename")
        elif call.name == "syncfs":
            order.append("sync")
        elif call.name == "renameat" and names[1] == "state.json":
            order.append("state")
    steps = [step for step, _ in itertools.groupby(order)]
    assert steps[:4] == ["stage", "sync", "rename", "sync"]
    assert steps[-1] == "state"
    assert order.count("rename") == order.count("stage") >= 4


def test_D3_a_file_that_is_written_alone_is_on_the_disk_with_its_name(scene: Scene) -> None:
    """As keys are in a home, and the state: fsync(2) of the file, and of its directory."""
    calls = scene.calls("openat", "renameat", "fsync", options=("-y",))
    renamed = 0
    for place, call in enumerate(calls):
        if call.name != "renameat" or '".guestagent.tmp"' not in call.text:
            continue
        if f"{scene.tree}/run/" in call.text:
            continue  # it does not outlive the boot
        own = [other for other in calls if other.process == call.process]
        place = own.index(call)
        assert [other.name for other in own[place - 1 : place + 2]] == [
            "fsync",
            "renameat",
            "fsync",
        ]
        renamed += 1
    assert renamed >= 3


# B8


def test_B8_neither_environment_nor_current_directory_changes_what_python_runs(
    agent: Agent, tmp_path: Path
) -> None:
    evil, mark = tmp_path / "evil", tmp_path / "mark"
    (evil / "guestagent").mkdir(parents=True)
    code = f"open({str(mark)!r}, 'w')\n"
    for name in ("sitecustomize", "usercustomize", "os", "stat", "gc", "guestagent/__init__"):
        (evil / f"{name}.py").write_text(code)
    environment = {
        **os.environ,
        "PYTHONPATH": str(evil),
        "PYTHONHOME": str(evil),
        "PYTHONSTARTUP": str(evil / "sitecustomize.py"),
        "PYTHONINSPECT": "1",
        "PYTHONUSERBASE": str(evil),
    }
    result = subprocess.run(
        agent.command("--version"), cwd=evil, env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("guestagent ")
    assert not mark.exists()
    subprocess.run(["python3", "-c", "import usercustomize"], cwd=evil, check=True)
    assert mark.exists(), "the trap itself works"


# How much a run looks at


@pytest.mark.parametrize(("sample", "most"), [("scene", 155), ("user_data", 290)])
def test_a_run_opens_few_directories(
    sample: str, most: int, request: pytest.FixtureRequest
) -> None:
    """It took 271 and 579 when each look was a walk from the root; more needs a reason."""
    chosen: Scene = request.getfixturevalue(sample)
    opened = [call for call in chosen.calls("openat") if "O_DIRECTORY" in call.text]
    walked = [call.text for call in opened if "O_PATH" in call.text]
    assert 50 < len(walked) <= most, len(walked)
