"""disk_setup, fs_setup, device_aliases: what is planned, and what the script does to real disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.desired import desired
from guestagent.errors import Origin, Problems
from guestagent.model import Text
from guestagent.parse.block_devices import read_disks
from guestagent.plan.commands import split
from guestagent.plan.wanted import Ask, Wanted
from guestagent.scripts.commands import Watch
from guestagent.system.root import Root

from .planning import (
    EMPTY,
    FACTS,
    SETTINGS,
    apply_twice,
    clean_plan,
    make_drive,
    plan_of,
    steps,
)

Disk = Callable[[], str]
NAME = "early/35-resumed-disks"
TOOLS = ("losetup", "sfdisk", "mkfs.ext4", "mkfs.vfat", "mkswap", "wipefs", "blkid", "lsblk")
_LINUX, _SWAP = "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"


def script(text: str) -> str:
    return steps(clean_plan(text))[NAME].content.decode()


def calls(text: str) -> list[str]:
    return [line.replace("'", "") for line in script(text).splitlines() if line.startswith("'")]


@pytest.mark.parametrize(
    ("layout", "call"),
    [
        ("{table_type: gpt, layout: true}", f"keep gpt rest:{_LINUX}"),
        ("{layout: auto, overwrite: true}", "overwrite dos rest:83"),
        ("{layout: [33, [33, 82], 34]}", "keep dos 33:83 33:82 rest:83"),
        ("{table_type: gpt, layout: [50, [25, 8200]]}", f"keep gpt 50:{_LINUX} rest:{_SWAP}"),
        ("{layout: [20]}", "keep dos rest:83"),
        ("{layout: remove}", "keep remove"),
    ],
)
def test_a_layout_becomes_a_table(layout: str, call: str) -> None:
    assert calls(f"disk_setup: {{vdb: {layout}}}") == [f"table 0 /dev/vdb {call}"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("disk_setup: {vdb: {layout: [60, 50]}}", "more than 100"),
        ("disk_setup: {vdb: {layout: [[10, xyz]]}}", "two hexadecimal digits"),
        ("disk_setup: {vdb: {layout: [10, 10, 10, 10, 10]}}", "more than 4"),
        ("disk_setup: {nothing: {layout: true}}", "an alias"),
        ("disk_setup: {/dev/../etc/x: {layout: true}}", "an alias"),
        ("fs_setup: [{device: vdb, filesystem: zfs}]", "must be one of"),
        ("fs_setup: [{device: vdb, partition: last}]", "partition must be"),
    ],
)
def test_what_cannot_be_used_is_an_error(text: str, reason: str) -> None:
    resources, (problem,) = plan_of(text)
    assert reason in problem.reason
    assert NAME not in steps(resources)


def test_mounts_know_aliases_and_the_first_partition_of_a_disk() -> None:
    text = (
        "device_aliases: {data: /dev/vdb, id: /dev/disk/by-id/x}\n"
        "disk_setup: {/dev/vdb: {layout: [50, 50]}}\n"
        "mounts: [[data, /a], [data.2, /b], [id.1, /c], [nvme0n1.1, /d], [vdc, /e]]"
    )
    (block,) = (item for item in clean_plan(text) if item.kind == "block")
    assert [line.split()[0] for line in block.lines] == [
        *("/dev/vdb1", "/dev/vdb2", "/dev/disk/by-id/x-part1", "/dev/nvme0n1p1", "/dev/vdc"),
    ]


FLAVOR = EMPTY._replace(
    disks=(
        ("ephemeral0", Text("/dev/vdb", Origin("drive", "ec2", "ephemeral0"))),
        ("swap", Text("/dev/vdc", Origin("drive", "ec2", "swap"))),
    )
)
SCRATCH = "/dev/vdb /mnt auto defaults,nofail 0 2"
SWAP = "/dev/vdc none swap sw,nofail 0 0"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("timezone: UTC", [SCRATCH, SWAP]),
        ("mounts: [[ephemeral0, null], [swap, null]]", []),
        ("mounts: [[ephemeral0, /scratch]]", ["/dev/vdb /scratch auto defaults,nofail 0 2", SWAP]),
        ("mounts: [[vdd, /mnt]]", ["/dev/vdd /mnt auto defaults,nofail 0 2", SWAP]),
        (
            "mounts: [[/dev/vdb, /a], [vdc, none, swap, sw]]",
            ["/dev/vdb /a auto defaults,nofail 0 2", "/dev/vdc none swap sw 0 2"],
        ),
        (
            "disk_setup: {ephemeral0: {layout: true}}",
            ["/dev/vdb1 /mnt auto defaults,nofail 0 2", SWAP],
        ),
    ],
)
def test_the_disks_of_a_flavor_are_used_as_cloud_init_does(text: str, lines: list[str]) -> None:
    found = [item for item in clean_plan(text, data=FLAVOR) if item.kind == "block"]
    assert [line for block in found for line in block.lines] == lines


def test_the_disks_of_a_flavor_are_used_without_user_data() -> None:
    wanted = Wanted()
    desired(Ask(FLAVOR, FACTS, SETTINGS, first=True), wanted)
    (block,) = (item for item in wanted.resources if item.kind == "block")
    assert block.lines == (SCRATCH, SWAP)
    assert (
        "swapon -- '/dev/vdc'"
        in steps(wanted.resources)["early/40-instance-mounts"].content.decode()
    )


def test_the_images_own_line_for_mnt_stays() -> None:
    facts = FACTS._replace(texts={defs.FSTAB: "LABEL=x /mnt ext4 defaults 0 0\n"})
    found = clean_plan("timezone: UTC", data=FLAVOR, facts=facts)
    assert [item.lines for item in found if item.kind == "block"] == [(SWAP,)]


@pytest.mark.parametrize("layouts", [("openstack", "ec2"), ("ec2",)])
def test_a_drive_names_the_disks_of_a_flavor(tmp_path: Path, layouts: tuple[str, ...]) -> None:
    mapping = {"ami": "vda", "root": "/dev/vda", "ebs0": "vdx", "ephemeral0": "/dev/vdb"}
    meta = {"instance-id": "i-1", "block-device-mapping": mapping | {"swap": "vdc"}}
    (tmp_path / "drive/ec2/latest").mkdir(parents=True)
    (tmp_path / "drive/ec2/latest/meta-data.json").write_text(json.dumps(meta))
    if "openstack" in layouts:
        make_drive(tmp_path, b"")
    guest = tmp_path / "guest"
    (guest / "etc").mkdir(parents=True)
    apply_twice(tmp_path / "drive", guest)
    lines = (guest / "etc/fstab").read_text().splitlines()
    assert lines[1:-1] == [SCRATCH, SWAP]


@pytest.mark.parametrize("path", ["/dev/../etc/shadow", "vdb /x", "", 5, None, "vdb\n/"])
def test_a_disk_with_a_name_that_no_disk_has_is_an_error(path: object) -> None:
    problems = Problems()
    mapping = {"ephemeral0": path}
    assert read_disks(mapping, Origin("drive", "ec2", ""), problems) == ()
    assert [problem.severity for problem in problems.problems] == ["error"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Make empty disks: loop devices, which the kernel gives no partitions."""
    usable = os.geteuid() == 0 and all(shutil.which(tool) for tool in TOOLS)
    rig.need(usable, f"needs root, and {', '.join(TOOLS)}")
    made: list[str] = []

    def make() -> str:
        file = tmp_path / f"disk-{len(made)}"
        with file.open("wb") as opened:
            opened.truncate(64 << 20)
        made.append(tool("losetup", "--find", "--show", file).strip())
        return made[-1]

    yield make
    for device in made:
        tool("losetup", "--detach", device)


def tool(*argv: str | Path) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def run(
    text: str, where: Path, instance: str = "i-1", path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the script; its notes are below ``where``."""
    content = script(text).replace(f"{defs.STATE_DIR}/", f"{where}/")
    environment = {"PATH": path + os.environ["PATH"], "INSTANCE_ID": instance}
    return subprocess.run(
        ["sh", "-c", content], env=environment, check=False, capture_output=True, text=True
    )


def kind_of(device: str, tag: str = "TYPE") -> str:
    return subprocess.run(
        ["blkid", "-p", "-s", tag, "-o", "value", device],
        check=False,
        capture_output=True,
        text=True,
    ).stdout.strip()


def bytes_of(device: str) -> bytes:
    return Path(device).read_bytes()


@pytest.mark.parametrize(("kind", "label"), [("gpt", "gpt"), ("mbr", "dos")])
def test_an_empty_disk_gets_its_table_once(
    disk: Disk, tmp_path: Path, kind: str, label: str
) -> None:
    device = disk()
    text = f"disk_setup: {{{device}: {{table_type: {kind}, layout: [50, [50, 82]]}}}}"
    done = run(text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert kind_of(device, "PTTYPE") == label
    assert tool("sfdisk", "--dump", device).count("start=") == 2
    before = bytes_of(device)
    assert [run(text, tmp_path, i).returncode for i in ("i-1", "i-2")] == [0, 0]
    assert bytes_of(device) == before


@pytest.mark.parametrize("kind", ["ext4", "vfat", "swap"])
def test_a_file_system_is_made_once(disk: Disk, tmp_path: Path, kind: str) -> None:
    device = disk()
    text = f"fs_setup: [{{device: {device}, filesystem: {kind}, label: DATA, overwrite: true}}]"
    done = run(text, tmp_path)
    assert (done.returncode, kind_of(device), kind_of(device, "LABEL")) == (0, kind, "DATA")
    before = bytes_of(device)
    assert run(text, tmp_path).returncode == 0
    assert bytes_of(device) == before


USED: dict[str, Callable[[str], object]] = {
    "ext4": lambda device: tool("mkfs.ext4", "-q", device),
    "swap": lambda device: tool("mkswap", device),
    "gpt": lambda device: subprocess.run(
        ["sfdisk", "-q", device], input="label: gpt\n,10M\n,10M\n,\n", text=True, check=True
    ),
    # The label of a physical volume, as LVM writes it into the second sector.
    "LVM2_member": lambda device: write_at(
        device, 512, b"LABELONE" + (1).to_bytes(8, "little") + bytes(4) + b"\x20\0\0\0LVM2 001"
    ),
}
ASKS = {
    "table": "disk_setup: {%s: {table_type: gpt, layout: [50, 50]%s}}",
    "file system": "fs_setup: [{device: %s, filesystem: ext4, label: data%s}]",
    "remove": "disk_setup: {%s: {layout: remove%s}}",
    "command": 'fs_setup: [{device: %s, label: data, cmd: "mkfs.ext4 -qF %%(device)s"%s}]',
}


def write_at(device: str, offset: int, content: bytes) -> None:
    with Path(device).open("r+b") as opened:
        opened.seek(offset)
        opened.write(content)


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("used", USED)
def test_a_device_that_holds_something_is_left_alone(
    disk: Disk, tmp_path: Path, used: str, ask: str
) -> None:
    device = disk()
    USED[used](device)
    before = bytes_of(device)
    done = run(ASKS[ask] % (device, ""), tmp_path)
    assert done.returncode == 0  # as in cloud-init, where nothing is said either
    assert f"{device}: holds: " in done.stderr
    assert used in done.stderr
    assert bytes_of(device) == before


def test_a_device_that_is_left_alone_is_a_warning_at_its_place(disk: Disk, tmp_path: Path) -> None:
    used, empty = disk(), disk()
    USED["gpt"](used)
    text = (
        f"disk_setup: {{{used}: {{layout: true}}}}\n"
        f"fs_setup:\n- {{device: {empty}}}\n- {{device: {used}}}\n"
    )
    content = script(text).replace(f"{defs.STATE_DIR}/", f"{tmp_path}/").encode()
    watch = Watch(Root(str(tmp_path)), "disks", split(content), None, stop=False)
    environment = {"PATH": os.environ["PATH"], "INSTANCE_ID": "i-1"}
    done = subprocess.run(["sh", watch.path], env=environment, check=False)
    assert done.returncode == 0
    assert [(found.place.partition(" (")[0], *found[1:]) for found in watch.failures(0)] == [
        (f"user_data: disk_setup.{used}", 2, 1, None),
        ("user_data: fs_setup[1]", 5, 1, None),
    ]
    watch.close()
    assert kind_of(empty) == "ext4"


@pytest.mark.parametrize("ask", ASKS)
def test_a_device_is_overwritten_where_that_is_asked_for(
    disk: Disk, tmp_path: Path, ask: str
) -> None:
    device = disk()
    USED["swap"](device)
    done = run(ASKS[ask] % (device, ", overwrite: true"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert kind_of(device) != "swap"


def test_a_device_in_use_is_left_alone_even_with_overwrite(disk: Disk, tmp_path: Path) -> None:
    device = disk()
    # What lsblk(8) says where it is mounted; mounting itself takes a kernel with the file system.
    stub(tmp_path / "lsblk", 'echo "/srv"')
    done = run(ASKS["file system"] % (device, ", overwrite: true"), tmp_path, path=f"{tmp_path}:")
    assert (done.returncode, kind_of(device)) == (1, "")
    assert "is in use at /srv" in done.stderr


def stub(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("is_made", [False, True])
def test_a_file_system_whose_making_was_cut_off_is_finished(
    disk: Disk, tmp_path: Path, is_made: bool, overwrite: bool
) -> None:
    device = disk()
    if overwrite:
        USED["swap"](device)
    real = shutil.which("mkfs.ext4")
    stub(tmp_path / "mkfs.ext4", (f'{real} "$@"; ' if is_made else "") + "kill -KILL $PPID")
    text = ASKS["file system"] % (device, f", overwrite: {str(overwrite).lower()}")
    assert run(text, tmp_path, path=f"{tmp_path}:").returncode == -signal.SIGKILL
    before = bytes_of(device)
    done = run(text, tmp_path)
    assert (done.returncode, kind_of(device)) == (0, "ext4"), done.stderr
    if is_made:
        assert bytes_of(device) == before


def test_what_was_written_after_an_interruption_is_kept(disk: Disk, tmp_path: Path) -> None:
    device = disk()
    stub(tmp_path / "mkfs.ext4", "kill -KILL $PPID")
    text = ASKS["file system"] % (device, ", overwrite: true")
    run(text, tmp_path, path=f"{tmp_path}:")
    tool("mkfs.ext4", "-q", "-L", "data", device)
    before = bytes_of(device)
    done = run(text, tmp_path)
    assert done.returncode == 1
    assert "was interrupted, and the device holds: ext4 " in done.stderr
    assert bytes_of(device) == before


@pytest.mark.parametrize("is_made", [False, True])
def test_a_table_whose_making_was_cut_off_is_finished(
    disk: Disk, tmp_path: Path, is_made: bool
) -> None:
    device = disk()
    real = shutil.which("sfdisk")
    stub(
        tmp_path / "sfdisk",
        (f'{real} "$@"; ' if is_made else "") + '[ "$1" = --dump ] || kill -KILL $PPID',
    )
    text = ASKS["table"] % (device, ", overwrite: true")
    assert run(text, tmp_path, path=f"{tmp_path}:").returncode == -signal.SIGKILL
    before = bytes_of(device)
    done = run(text, tmp_path)
    assert (done.returncode, kind_of(device, "PTTYPE")) == (0, "gpt"), done.stderr
    if is_made:
        assert bytes_of(device) == before


def test_a_file_system_that_may_be_replaced_is(disk: Disk, tmp_path: Path) -> None:
    device = disk()
    tool("mkfs.vfat", "-I", device)
    assert (
        "left as it is"
        in run(ASKS["file system"] % (device, ", replace_fs: swap"), tmp_path).stderr
    )
    assert run(ASKS["file system"] % (device, ", replace_fs: vfat"), tmp_path).returncode == 0
    assert kind_of(device) == "ext4"


@pytest.mark.parametrize(("where", "taken"), [("any", True), ("auto", False)])
def test_auto_takes_the_file_system_with_its_label_only(
    disk: Disk, tmp_path: Path, where: str, taken: bool
) -> None:
    device = disk()
    tool("mkfs.ext4", "-q", "-L", "other", device)
    before = bytes_of(device)
    done = run(ASKS["file system"] % (device, f", partition: {where}"), tmp_path)
    assert (done.returncode, bytes_of(device) == before) == (0, True), done.stderr
    assert ("left as it is" in done.stderr) is not taken
