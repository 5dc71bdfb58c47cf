"""growpart and resize_rootfs: when the script is planned, and what it calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guestagent.plan.kinds.script import Script

from .planning import FACTS, plan_of
from .test_plan_mounts import GROWS, steps


def test_the_root_grows_where_there_is_room() -> None:
    assert "partition '/'\nfile_system\n" in steps("timezone: UTC")["30-instance-grow-20480"]
    larger, _ = plan_of("timezone: UTC", FACTS._replace(room=30720))
    assert [item.file_name for item in larger if isinstance(item, Script)] == [
        "30-instance-grow-30720"
    ]
    nothing, _ = plan_of("timezone: UTC", FACTS._replace(room=0))
    assert [item for item in nothing if isinstance(item, Script) and "grow" in item.name] == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("growpart: {mode: off}", ["file_system"]),
        ("resize_rootfs: false", ["partition '/'"]),
        ("resize_rootfs: noblock", ["partition '/'", "file_system &"]),
        ("growpart: {devices: [/, /dev/vdb1]}", ["partition '/'", "partition '/dev/vdb1'"]),
    ],
)
def test_what_grows_can_be_chosen(text: str, lines: list[str]) -> None:
    script = steps(text)["30-boot-grow"]
    calls = [
        line for line in script.splitlines() if line.startswith(("partition /", "partition '"))
    ]
    calls += [
        line for line in script.splitlines() if line.startswith("file_system") and "(" not in line
    ]
    assert calls[: len(lines)] == lines


def test_growing_can_be_switched_off() -> None:
    resources, _ = plan_of("growpart: {mode: off}\nresize_rootfs: false", GROWS)
    assert not [item for item in resources if isinstance(item, Script)]


def test_a_device_without_its_path_is_an_error() -> None:
    _, (problem,) = plan_of("growpart: {devices: [vda1]}", GROWS)
    assert problem.key == "growpart.devices[0] (line 2, column 22)"


@pytest.mark.parametrize(("text", "status"), [("timezone: UTC", 0), ("growpart: {}", 1)])
def test_a_tool_that_is_missing_matters_only_to_who_asks_to_grow(
    tmp_path: Path, text: str, status: int
) -> None:
    (tmp_path / "findmnt").write_text("#!/bin/sh\n[ $1 = -no ] && echo ext4 || echo /dev/vda\n")
    (tmp_path / "findmnt").chmod(0o755)
    for name in ("sh", "basename", "readlink"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    (script,) = (script for name, script in steps(text).items() if "grow" in name)
    argv = ["/bin/sh", "-c", script]
    done = subprocess.run(argv, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert "resize2fs is not installed" in done.stdout + done.stderr
