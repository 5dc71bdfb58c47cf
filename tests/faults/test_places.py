"""D2: one place that is read-only or full, by a real mount: the rest is applied, and at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import rig

from guestagent import defs

from .rig import Entry, Scene

PLACES = ("etc", "var", "home")
READ_ONLY, FULL = "Read-only file system", "No space left on device"
# Of a place that becomes a mount of its own: "$1" is its path, "$2" a directory for what it needs.
MOUNTS = {
    "bound": ('mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"', READ_ONLY),
    "tmpfs": (
        'mkdir "$2/copy"; cp -a "$1/." "$2/copy"; mount -t tmpfs -o mode=755 tmpfs "$1"; '
        'cp -a "$2/copy/." "$1"; mount -o remount,ro "$1"',
        READ_ONLY,
    ),
    "ext4": (
        'truncate -s 8M "$2/disk"; mkfs.ext4 -q -d "$1" "$2/disk"; mount -o loop "$2/disk" "$1"; '
        'dd if=/dev/zero of="$1/filler" bs=1k 2>/dev/null || true; '
        'truncate -s -8k "$1/filler"',
        FULL,
    ),
}


@pytest.fixture
def everywhere(account: Scene) -> Scene:
    """An account with key and password, and files of root's own in each of the places."""
    latest = account.drive / "openstack/latest"
    meta = json.loads((latest / "meta_data.json").read_text())
    (latest / "meta_data.json").write_text(json.dumps({**meta, "hostname": "everywhere"}))
    files = "".join(
        f"- {{path: /{place}/below/{name}, content: '{'x' * size}'}}\n"
        for place in PLACES
        for name, size in (("small", 1), ("large", 20_000), ("other", 1))
    )
    with (latest / "user_data").open("a") as file:
        file.write(f"write_files:\n{files}")
    for place in PLACES:
        (account.image / place / "below").mkdir(parents=True, exist_ok=True)
    account.fresh()
    return account


def _run(scene: Scene, place: str, mount: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """A run with a place mounted so; what the tree is like then is in ``seen`` beside it."""
    rig.need_tools("mount", "unshare", "mkfs.ext4")
    work, seen = scene.tree.parent / "work", scene.tree.parent / "seen"
    for folder in (work, seen):
        shutil.rmtree(folder, ignore_errors=True)
    work.mkdir()
    script = f'set -e; {mount}; s=$3; t=$4; shift 4; "$@" || status=$?; cp -a "$t" "$s"; '
    script += "exit ${status-0}"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    names = (str(scene.tree / place), str(work), str(seen), str(scene.tree))
    start = time.monotonic()
    done = subprocess.run(
        [*command, *names, *scene.command()], capture_output=True, text=True, timeout=120
    )
    return done, time.monotonic() - start


def _found(scene: Scene, folder: Path) -> dict[str, Entry]:
    before, scene.tree = scene.tree, folder
    found = scene.snapshot()
    scene.tree = before
    # The hash of the password has a new salt each time.
    return {name: entry for name, entry in found.items() if not name.startswith("etc/shadow")}


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("place", PLACES)
def test_D2_one_place_that_cannot_be_written_costs_what_belongs_there(
    everywhere: Scene, place: str, mount: str
) -> None:
    how, reason = MOUNTS[mount]
    before = _found(everywhere, everywhere.tree)
    assert everywhere.run().returncode == 0
    after = _found(everywhere, everywhere.tree)
    everywhere.fresh()
    done, seconds = _run(everywhere, place, how)
    assert done.returncode == 1, done.stderr
    assert f": {reason}" in done.stderr, done.stderr
    assert "locked" not in done.stderr
    assert "Traceback" not in done.stderr
    assert seconds < 10
    now = _found(everywhere, everywhere.tree.parent / "seen")
    lost = {name for name, entry in after.items() if name in before and now.get(name) != entry}
    lost |= {name for name in after if name not in before and name not in now}
    # Without accounts in /etc there is no home; without a home there is no key in it.
    expected = {"etc": ("etc/", "home/ada", "var/mail/"), "var": ("var/",), "home": ("home/",)}
    assert {name for name in lost if not f"{name}/".startswith(expected[place])} == set()
    # In a place that is full, nothing is applied by half.
    small = [now.get(f"{place}/below/{name}") for name in ("small", "other")]
    assert small == [None, None]
    temporaries = list((everywhere.tree.parent / "seen").rglob(".guestagent.*"))
    assert temporaries == []
    report = json.loads((everywhere.tree.parent / "seen" / defs.REPORT_FILE[1:]).read_text())
    assert report["exit_status"] == 1
    again = everywhere.run()
    assert again.returncode == 0, again.stderr
    assert _found(everywhere, everywhere.tree) == after


def test_D2_nothing_is_appended_that_cannot_be_remembered(user_data: Scene) -> None:
    done, _ = _run(user_data, "var", MOUNTS["bound"][0])
    assert done.returncode == 1
    path = "/etc/hosts"
    assert f"{path}: not appended, because it cannot be remembered: {defs.STATE_DIR}" in done.stderr
    assert f"{defs.STATE_FILE}: {READ_ONLY}; what this run did is not remembered" in done.stderr
    hosts = user_data.tree / path[1:]
    assert "db.example.org" not in hosts.read_text()
    assert user_data.run().returncode == 0
    assert hosts.read_text().count("db.example.org") == 1
