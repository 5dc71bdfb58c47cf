"""A machine of vSphere with a CD-ROM that has no label to be known by: what is believed, and when.

What is made up is the mounting; the device's content has the true mark.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import rig

from guestagent import defs

from .lab import Lab, Machine, Run

SETTINGS = "[drive]\nwait = 0\n[network]\nmanage = false\n[ssh]\nhost_keys = false\n"
UUID = "4210a3c1-0000-4000-8000-000000000001"
MARK_AT, MARK = 32769, b"CD001"


class Guest:
    """A machine with one CD-ROM drive."""

    def __init__(self, lab: Lab, top: Path) -> None:
        lab.space.dmi(product_name="VMware7,1", product_uuid=UUID)
        tree = rig.copy_root(rig.SAMPLES / "nova" / "root", top / "tree")
        (tree / "etc/hostname").write_text("image\n")
        self.machine = Machine(lab, tree, SETTINGS)
        self.block, self.devices = top / "block", top / "devices"
        for folder in (self.block, self.devices):
            folder.mkdir()

    def insert(self, name: str, text: str) -> None:
        """Put a CD with this document alone into the drive."""
        (self.block / "sr0").touch()
        (self.devices / "sr0").write_bytes(bytes(MARK_AT) + MARK + bytes(4096))
        place = self.devices / "sr0.d"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        (place / name).write_text(text)

    def eject(self) -> None:
        """Take the drive away."""
        (self.block / "sr0").unlink()

    def boot(self) -> Run:
        limits = {"BLOCK_DIR": str(self.block), "DEVICES_DIR": str(self.devices)}
        return self.machine.boot(DRIVES={}, PROGRAM_DIRS=["/usr/sbin", "/usr/bin"], **limits)[0]

    def name(self) -> str:
        return self.machine.path(defs.HOSTNAME_FILE).read_text().strip()


@pytest.fixture
def guest(lab: Lab, tmp_path: Path) -> Guest:
    return Guest(lab, tmp_path)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("user-data.txt", "#cloud-config\nhostname: one\n", "#cloud-config\nhostname: two\n"),
        ("ovf-env.xml", rig.ovf({"hostname": "one"}), rig.ovf({"hostname": "two"})),
        (
            "ovf-env.xml",
            rig.ovf({"hostname": "one", "instance-id": "i-1"}),
            rig.ovf({"hostname": "two", "instance-id": "i-2"}),
        ),
    ],
    ids=["Alt Cloud", "OVF without an id", "OVF"],
)
def test_A1_another_cd_changes_nothing_of_a_configured_machine(
    guest: Guest, name: str, first: str, second: str
) -> None:
    guest.insert(name, first)
    for _ in range(2):
        assert guest.boot().status == 0
        assert guest.name() == "one"
    assert guest.machine.report()["unchanged"]
    guest.insert(name, second)
    assert guest.boot().status == defs.EXIT_WRONG_SOURCE
    assert guest.name() == "one"
    # It is not waited for, as a drive with a label is, and what was applied stays.
    guest.eject()
    assert guest.boot().status == 0
    assert guest.name() == "one"


def test_A1_an_ovf_environment_of_the_instance_may_change(guest: Guest) -> None:
    guest.insert("ovf-env.xml", rig.ovf({"hostname": "one", "instance-id": "i-1"}))
    assert guest.boot().status == 0
    guest.insert("ovf-env.xml", rig.ovf({"hostname": "renamed", "instance-id": "i-1"}))
    assert guest.boot().status == 0
    assert guest.name() == "renamed"
