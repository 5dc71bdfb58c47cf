"""growpart and resize_rootfs: when the script is planned, and what it calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from guestagent.plan.kinds.script import Script

from .planning import FACTS, SETTINGS, plan_of
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


TOOLS = ("growpart", "pvresize", "lvextend", "lvs", "resize2fs", "findmnt")


def grow_volume(where: Path, uuid: str, below: int, volumes: bool = False) -> tuple[str, str]:
    """Run the script where / is on a volume: what it says, and which tools it calls."""
    programs, devices = where / "bin", where / "block"
    programs.mkdir()
    for name in TOOLS:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{where}/calls\n')
        (programs / name).chmod(0o755)
    (programs / "lvs").write_text("#!/bin/sh\necho 4\n")
    volume = where / "dm-0"
    volume.touch()
    (programs / "findmnt").write_text(f"#!/bin/sh\n[ $1 = -no ] && echo ext4 || echo {volume}\n")
    (devices / "dm-0/dm").mkdir(parents=True)
    (devices / "dm-0/dm/uuid").write_text(f"{uuid}\n")
    for number in range(3, 3 + below):
        (devices / f"dm-0/slaves/xyz{number}").mkdir(parents=True)
        (devices / f"xyz/xyz{number}").mkdir(parents=True)
        (devices / f"xyz/xyz{number}/partition").write_text(f"{number}\n")
        (devices / f"xyz{number}").symlink_to(f"xyz/xyz{number}")
    resources, _ = plan_of("growpart: {}", settings=SETTINGS._replace(disk_grow_volumes=volumes))
    (script,) = (item for item in resources if isinstance(item, Script))
    text = script.content.decode().replace("/sys/class/block", str(devices))
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    calls = where / "calls"
    return done.stdout, calls.read_text() if calls.exists() else ""


@pytest.mark.parametrize("volumes", [False, True])
def test_below_a_logical_volume_all_grows_and_itself_by_setting(
    tmp_path: Path, volumes: bool
) -> None:
    said, calls = grow_volume(tmp_path, "LVM-abc", 1, volumes=volumes)
    assert calls.splitlines()[:2] == ["growpart /dev/xyz 3", "pvresize /dev/xyz3"]
    assert (f"lvextend -l +100%FREE {tmp_path}/dm-0" in calls) == volumes
    assert ("use lvextend -r -l +100%FREE" in said) != volumes


def test_below_luks_the_partition_grows_and_the_rest_is_told(tmp_path: Path) -> None:
    said, calls = grow_volume(tmp_path, "CRYPT-LUKS2-abc", 1)
    assert calls.splitlines()[0] == "growpart /dev/xyz 3"
    assert "use cryptsetup resize" in said


def test_a_volume_on_several_devices_is_left_alone_and_that_is_told(tmp_path: Path) -> None:
    said, calls = grow_volume(tmp_path, "LVM-abc", 2, volumes=True)
    assert "is on 2 devices; nothing of it grows" in said
    assert "growpart" not in calls
    assert "lvextend" not in calls
