"""Bars A1 and A2: which drive is this machine's, in whole runs of a guest, scenario by scenario.

What is made up is udev's database and the mounting; the devices' content has the true marks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest
import rig

from guestagent import defs

from . import documents
from .lab import Lab, Machine, Run

OWN, OTHER, THIRD = documents.UUID, "11111111-2222-4333-8444-555555555555", "i-third"
SETTINGS = '[drive]\nwait = 0\n[metadata]\nservice = "none"\n[network]\nmanage = false\n'
# Where a file system has its mark, and the mark.
MARKS = {
    "iso9660": (32769, b"CD001"),
    "vfat": (82, b"FAT32   "),
    "ext4": (1080, b"\x53\xef"),
    "btrfs": (65600, b"_BHRfS_M"),
    "xfs": (0, b"XFSB"),
}


class Drive(NamedTuple):
    """A block device: the instance that it is for, and the host name that it asks for.

    ``kind`` is its file system, ``told`` the one that udev takes it for.  One with the label
    cidata is a seed of NoCloud.  ``damaged`` says that ``meta_data.json`` is cut off, and the
    folder ec2 is sound; ``torn``, that the file system is cut off.
    """

    uuid: str
    name: str
    kind: str = "iso9660"
    label: str = "config-2"
    node: str = ""
    told: str = ""
    broken: bool = False
    damaged: bool = False
    torn: bool = False
    bus: str = ""


MINE, YOURS, THEIRS = Drive(OWN, "mine"), Drive(OTHER, "yours"), Drive(THIRD, "theirs")
NAMELESS = Drive("", "nameless")
EXT4 = YOURS._replace(kind="ext4")
DAMAGED = Drive("", "whole", damaged=True)
SEED = Drive("i-seed", "seed", label="cidata")
OWN_SEED = SEED._replace(uuid=OWN, name="own")
EXT_SEED = SEED._replace(kind="ext4")


class Row(NamedTuple):
    """Drives in the order of their nodes, and what becomes of them.

    ``wanted`` is the host name in the end, or the exit status; ``told`` are the places of the
    drives whose nodes the console names.
    """

    drives: tuple[Drive, ...]
    wanted: str | int = 0
    told: tuple[int, ...] = ()


FIRST_BOOT = {
    "none": Row(()),
    "the machine's own": Row((MINE,), "mine"),
    "one for another uuid": Row((YOURS,), "yours"),
    "one without a uuid": Row((NAMELESS,), "nameless"),
    "two that say the same": Row((YOURS, YOURS), "yours", (1,)),
    "two that differ": Row((YOURS, THEIRS), 6, (0, 1)),
    "two that differ, for one instance": Row((MINE, MINE._replace(name="x")), 6, (0, 1)),
    "two without a uuid that differ": Row((NAMELESS, NAMELESS._replace(name="x")), 6, (0, 1)),
    "the first is the machine's": Row((MINE, YOURS), "mine", (1,)),
    "the second is the machine's": Row((YOURS, MINE), "mine", (0,)),
    "the third is the machine's": Row((YOURS, THEIRS, MINE), "mine", (0, 1)),
    "a uuid in capitals": Row((YOURS, MINE._replace(uuid=OWN.upper())), "mine", (0,)),
    "a label in capitals": Row((MINE._replace(kind="vfat", label="CONFIG-2"),), "mine"),
    "two labels, of which one is in capitals": Row(
        (YOURS._replace(kind="vfat", label="CONFIG-2"), MINE), "mine", (0,)
    ),
    "a partition": Row((MINE._replace(node="vdb1"),), "mine"),
    "a USB stick": Row((YOURS._replace(node="sda1", bus="usb"),), "yours"),
    "a USB stick beside the own": Row((YOURS._replace(node="sda", bus="usb"), MINE), "mine", (0,)),
    "ext4 with the label": Row((EXT4,), 0, (0,)),
    "btrfs with the label": Row((YOURS._replace(kind="btrfs"),), 0, (0,)),
    "xfs with the label": Row((YOURS._replace(kind="xfs"),), 0, (0,)),
    "one of no type that udev knows": Row((YOURS._replace(told="none"),), "yours"),
    "ext4 beside the own": Row((EXT4, MINE), "mine", (0,)),
    "ext4 beside two that differ": Row((EXT4, YOURS, THEIRS), 6, (1, 2)),
    "ext4 that udev takes for ISO 9660": Row((EXT4._replace(told="iso9660"),), 3, (0,)),
    "another label": Row((YOURS._replace(label="config-22"), YOURS._replace(label="config"))),
    "no label": Row((MINE._replace(label=""),)),
    "a broken one": Row((MINE._replace(broken=True),), 3, (0,)),
    "a broken one beside the own": Row((YOURS._replace(broken=True), MINE), "mine", (0,)),
    "a broken one beside another's": Row((MINE._replace(broken=True), YOURS), 3, (0,)),
    "a damaged one with the folder ec2": Row((DAMAGED,), "whole"),
    "a damaged one beside the own": Row((DAMAGED, MINE), "mine", (0,)),
    "a seed": Row((SEED,), "seed"),
    "a seed in capitals on VFAT": Row((SEED._replace(label="CIDATA", kind="vfat"),), "seed"),
    "a seed on XFS": Row((SEED._replace(kind="xfs"),), 0, (0,)),
    "a seed on XFS beside a seed": Row((SEED._replace(kind="xfs"), SEED), "seed", (0,)),
    "a seed on ext4": Row((EXT_SEED,), "seed"),
    "a seed in capitals on ext2": Row((EXT_SEED._replace(label="CIDATA", told="ext2"),), "seed"),
    "a seed on ext4 and a drive for another uuid": Row((EXT_SEED, YOURS), "yours", (0,)),
    "a seed on ext4 with the machine's uuid and such a drive": Row(
        (YOURS, EXT_SEED._replace(uuid=OWN, name="own")), "own", (0,)
    ),
    "a seed on ext4 and one that says the same": Row((SEED, EXT_SEED), "seed", (1,)),
    "a seed on ext4 and one that differs": Row((SEED, EXT_SEED._replace(name="x")), 6, (0, 1)),
    "a damaged seed on ext4": Row((EXT_SEED._replace(torn=True),), 3, (0,)),
    "a damaged seed on ext4 beside a drive": Row((EXT_SEED._replace(torn=True), YOURS), 3, (0,)),
    "a damaged seed on ext4 beside the own": Row(
        (EXT_SEED._replace(torn=True), MINE), "mine", (0,)
    ),
    "a seed beside a drive for another uuid": Row((SEED, YOURS), "yours", (0,)),
    "a seed after such a drive": Row((YOURS, SEED), "yours", (1,)),
    "a seed with the machine's uuid beside such a drive": Row((YOURS, OWN_SEED), "own", (0,)),
    "a seed and a drive with the machine's uuid": Row((OWN_SEED, MINE), "mine", (0,)),
    "two seeds that say the same": Row((SEED, SEED), "seed", (1,)),
    "two seeds that differ": Row((SEED, SEED._replace(name="x")), 6, (0, 1)),
    "two seeds that differ beside a drive": Row(
        (SEED, YOURS, SEED._replace(name="x")), "yours", (0, 2)
    ),
    "a broken seed": Row((SEED._replace(broken=True),), 3, (0,)),
    "a broken seed beside a drive": Row((SEED._replace(broken=True), YOURS), 3, (0,)),
    "a broken seed beside the own": Row((SEED._replace(broken=True), MINE), "mine", (0,)),
    "a seed beside a broken drive": Row((SEED, YOURS._replace(broken=True)), 3, (1,)),
    "a broken seed beside a broken drive": Row(
        (SEED._replace(broken=True), YOURS._replace(broken=True)), 3, (1,)
    ),
}
# The same on a machine that was configured from its own drive.
LATER_BOOT = {
    "none": Row((), "mine"),
    "the machine's own": Row((MINE,), "mine"),
    "the own says something else": Row((MINE._replace(name="new"),), "new"),
    "one for another uuid": Row((YOURS,), 6),
    "one for another uuid beside the own": Row((YOURS, MINE), "mine", (0,)),
    "one without a uuid": Row((NAMELESS,), 6),
    "two that say the same": Row((YOURS, YOURS), 6),
    "two that differ": Row((YOURS, THEIRS), 6, (0, 1)),
    "a USB stick": Row((YOURS._replace(node="sda1", bus="usb"),), 6),
    "ext4 with the label": Row((EXT4._replace(uuid=OWN),), "mine", (0,)),
    "a broken one": Row((MINE._replace(broken=True),), 3, (0,)),
    "a damaged one with the folder ec2": Row((DAMAGED,), 6),
    "a seed for another instance": Row((SEED,), 6),
    "a seed for another instance beside the own": Row((SEED, MINE), "mine", (0,)),
    "a seed without an id": Row((SEED._replace(uuid=""),), 6),
    "a seed with the machine's uuid": Row((OWN_SEED,), "own"),
    "a seed on ext4 for another instance": Row((EXT_SEED,), 6),
    "a seed on ext4 with the machine's uuid": Row((OWN_SEED._replace(kind="ext4"),), "own"),
}


class Scene:
    """A machine, and drives that are attached to it."""

    def __init__(self, lab: Lab, tree: Path, place: Path) -> None:
        lab.space.dmi(product_name="OpenStack Nova", product_uuid=OWN)
        self.machine = Machine(lab, tree, SETTINGS)
        self.lab, self.place = lab, place
        self.by_label, self.claims = place / "by-label", place / "claims"
        self.attached = 0

    def boot(self, drives: tuple[Drive, ...]) -> tuple[Run, list[str]]:
        """Attach drives and run; returns the run, and the drives' nodes."""
        folder = self.place / f"dev{self.attached}"
        self.attached += 1
        known = {}
        for number, drive in enumerate(drives):
            node = folder / (drive.node or f"vd{'bcd'[number]}")
            self._make(node, drive)
            udev = {"ID_FS_LABEL": drive.label, "ID_FS_TYPE": drive.told or drive.kind}
            known[str(node)] = udev | ({"ID_BUS": drive.bus} if drive.bus else {})
        limits = {"DRIVES": known, "READ_PAUSE": 0}
        limits["BY_LABEL_DIR"], limits["UDEV_LINKS_DIR"] = self._links(folder, known)
        return self.lab.guest.agent("apply", "--boot", limits=limits), list(known)

    def _make(self, node: Path, drive: Drive) -> None:
        """Make a device's marks, and the tree that is on it."""
        is_seed = drive.label.lower() == "cidata"
        path, name, uuid = "openstack/latest/meta_data.json", "hostname", "uuid"
        if is_seed:
            path, name, uuid = "meta-data", "local-hostname", "instance-id"
        document = Path(f"{node}.d") / path
        said = {name: drive.name, **({uuid: drive.uuid} if drive.uuid else {})}
        node.parent.mkdir(parents=True, exist_ok=True)
        if not drive.broken:
            document.parent.mkdir(parents=True)
            document.write_text("{" if drive.damaged else json.dumps(said))
        if drive.damaged:
            other = Path(f"{node}.d") / "ec2/latest/meta-data.json"
            other.parent.mkdir(parents=True)
            said = {"instance-id": "i-00000001", "local-hostname": drive.name}
            other.write_text(json.dumps(said))
        if is_seed and drive.kind == "ext4":  # this one is read, not mounted
            rig.make_ext(Path(f"{node}.d"), node)
            if drive.torn:
                os.truncate(node, 9000)
            return
        at, mark = MARKS[drive.kind]
        content = bytearray(70_000)
        content[at : at + len(mark)] = mark
        content[510:512] = b"\x55\xaa"
        node.write_bytes(content)

    def _links(self, folder: Path, known: dict[str, dict[str, str]]) -> tuple[str, str]:
        """Make udev's links by label, of which the device that came last has each; and claims."""
        links, claims = folder / "by-label", folder / "links"
        links.mkdir(parents=True)
        for number, (node, udev) in enumerate(known.items()):
            if udev["ID_FS_LABEL"]:
                link = links / udev["ID_FS_LABEL"]
                link.unlink(missing_ok=True)
                link.symlink_to(node)
                claim = claims / f"by-label\\x2f{udev['ID_FS_LABEL']}"
                claim.mkdir(parents=True, exist_ok=True)
                (claim / f"b254:{number}").touch()
        return str(links), str(claims)

    def mounted(self) -> list[str]:
        """What the kernel was asked to mount by the last run: node and type."""
        path = self.place / f"dev{self.attached - 1}/mounts"
        return path.read_text().splitlines() if path.exists() else []

    def name(self) -> str:
        """The guest's host name, in its file and in its kernel."""
        written = self.machine.path(defs.HOSTNAME_FILE).read_text().strip()
        assert self.lab.space.run("hostname").strip() == written or written == "image"
        return "" if written == "image" else written

    def files(self) -> dict[str, rig.Entry]:
        """The guest's files, without those of the agent itself."""
        return rig.snapshot_of_others(self.machine.tree)


@pytest.fixture
def scene(lab: Lab, tmp_path: Path) -> Scene:
    tree = rig.copy_root(rig.SAMPLES / "nova" / "root", tmp_path / "tree")
    (tree / "etc/hostname").write_text("image\n")
    return Scene(lab, tree, tmp_path / "drives")


def check(scene: Scene, row: Row, before: str) -> None:
    """Boot with a row's drives, and check all that the row says."""
    files = scene.files()
    run, nodes = scene.boot(row.drives)
    named = {place for place, node in enumerate(nodes) if node in run.err}
    if isinstance(row.wanted, int):
        assert (run.status, scene.name()) == (row.wanted, before), run.err
        assert rig.differences(files, scene.files()) == set()
        assert named >= set(row.told)
    else:
        used = {place for place, drive in enumerate(row.drives) if drive.name == row.wanted}
        # A missing uuid is an error of the drive, which is applied all the same.
        status = 0 if all(row.drives[place].uuid for place in used) else defs.EXIT_ERRORS
        assert (run.status, scene.name()) == (status, row.wanted), run.err
        # The one that is used is named with its changes.
        assert named - used == set(row.told) - used
    # Bar A2: whatever a label says, no other driver of the kernel is asked.
    safe = {
        Path(node).name
        for node, drive in zip(nodes, row.drives, strict=True)
        if drive.kind in ("iso9660", "vfat") and drive.label.lower() in defs.LABELS
    }
    assert {line.split()[0] for line in scene.mounted()} <= safe
    assert {line.split()[1] for line in scene.mounted()} <= {"iso9660", "vfat"}


@pytest.mark.parametrize("title", FIRST_BOOT)
def test_A1_A2_drives_at_a_first_boot(scene: Scene, title: str) -> None:
    check(scene, FIRST_BOOT[title], before="")


@pytest.mark.parametrize("title", LATER_BOOT)
def test_A1_A2_drives_at_a_later_boot(scene: Scene, title: str) -> None:
    check(scene, Row((MINE,), "mine"), before="")
    check(scene, LATER_BOOT[title], before="mine")


def test_A1_a_copy_of_the_disk_takes_the_drive_of_its_own_machine(scene: Scene) -> None:
    check(scene, Row((MINE,), "mine"), before="")
    scene.lab.space.dmi(product_uuid=OTHER)
    check(scene, Row((YOURS,), "yours"), before="mine")


def test_the_tables_have_the_twenty_scenarios_of_the_bar() -> None:
    assert len(FIRST_BOOT) + len(LATER_BOOT) >= 20
