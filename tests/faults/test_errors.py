"""D2: the disk is full, read-only or broken, at every system call that changes something."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from stat import S_ISDIR

import pytest
import rig

from .rig import HOST_KEY, Call, Entry, Scene, changing, old_or_new

FAULTS = ("openat", "write", "renameat", "fsync", "syncfs", "mkdirat", "fchmod")
REPORT = "run/guestagent"


def _files(tree: dict[str, Entry]) -> dict[str, Entry]:
    """A folder made for a staged file may stay; nothing in it does."""
    return {name: entry for name, entry in tree.items() if not S_ISDIR(entry.mode)}


def _with_keys(
    now: dict[str, Entry], before: dict[str, Entry], after: dict[str, Entry]
) -> dict[str, Entry]:
    """Return a tree with host keys: the image's go also where no new ones can be made (D4)."""
    missing = {path for path in before | after if HOST_KEY.fullmatch(path)} - now.keys()
    return {**now, **{path: (before | after)[path] for path in missing}}


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
        if name == "EROFS" and not result.returncode and scene.snapshot() == after:
            continue  # what is written to the state's directory first can be written to /run
        _told(call, result.returncode, result.stderr, reason)
        now = scene.snapshot()
        old_or_new(call, before, _with_keys(now, before, after), after)
        if any(HOST_KEY.fullmatch(path) and now[path].content == b"image" for path in now):
            # Only where the run came to an end before it made any key.
            ended = re.search(r": \d+ changes?, ", result.stderr) is None
            assert ended or ": 0 changes, 1 error," in result.stderr
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


def _in_namespace(scene: Scene, setup: str, *names: str) -> subprocess.CompletedProcess[str]:
    """A run of the agent after a shell script, in mounts of its own; ``names`` are "$1" and on.

    The script says what to run with "$@".
    """
    rig.need_tools("mount", "unshare")
    script = f"set -e; {setup}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    return subprocess.run([*command, *names], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("place", ["etc/systemd", "home/debian"])
def test_D2_one_read_only_directory_costs_what_belongs_there(scene: Scene, place: str) -> None:
    """Images with parts that cannot be changed: the rest is applied, and the next run finishes."""
    before = scene.snapshot()
    assert scene.run().returncode == 0
    after = scene.snapshot()
    scene.fresh()
    folder = scene.tree / place
    folder.mkdir(parents=True, exist_ok=True)
    mount = f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro "{folder}"; exec "$@"'
    failed = _in_namespace(scene, mount, *scene.command())
    assert failed.returncode == 1
    assert f"/{place}/" in failed.stderr
    assert ": Read-only file system" in failed.stderr
    now = scene.snapshot()
    lost = {name for name, entry in after.items() if now.get(name) != entry}
    assert lost
    for name in lost:
        # A guest whose network cannot be written does not let passwords or keys go.
        assert name.startswith(place), name
        assert now.get(name) in (before.get(name), None) or S_ISDIR(now[name].mode), name
    assert scene.temporaries() == []
    assert scene.run().returncode == 0
    assert scene.snapshot() == after


def test_D2_a_disk_that_fills_up_for_real_leaves_no_file_cut_short(scene: Scene) -> None:
    """A tmpfs with so many pages left: every target is old or new, and the run says what failed."""
    before = scene.snapshot()
    assert scene.run().returncode == 0
    after = scene.snapshot()
    image, out, statuses = scene.tree.parent / "image", scene.tree.parent / "out", set()
    scene.fresh()
    shutil.copytree(scene.tree, image, symlinks=True)
    subprocess.run(["cp", "-a", f"{scene.tree}/.", str(image)], check=True)
    script = """
    mount -t tmpfs -o size=16m tmpfs "$1"; cp -a "$2/." "$1"; out=$3
    used=$(stat -f -c '%b %f' "$1"); used=$((${used% *} - ${used#* }))
    mount -o remount,size=$((4096 * (used + $4))) "$1"
    tree=$1; shift 4; "$@" || status=$?
    cp -a "$tree/." "$out"; exit ${status-0}
    """
    for pages in range(0, 44, 2):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        names = (str(scene.tree), str(image), str(out), str(pages))
        done = _in_namespace(scene, script, *names, *scene.command())
        statuses.add(done.returncode)
        assert "Traceback" not in done.stderr, (pages, done.stderr)
        assert done.returncode == 0 or ": No space left on device" in done.stderr, done.stderr
        scene.tree, tree = out, scene.tree
        now = _with_keys(scene.snapshot(), before, after)
        scene.tree = tree
        for name in before.keys() | after.keys():
            assert now.get(name) in (before.get(name), after.get(name)), (pages, name)
    assert statuses == {0, 1}
