"""A boot without a config drive is not slowed by the agent; where one may come, it is awaited."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import GuestMaker
from .drives import make_ext4
from .guest import Guest
from .image import GuestImage
from .machine import Drive
from .metadata import UNITS
from .scenario import NIC, PLAIN_MACHINE, UNIT, journal, new_instance, report, settings_argument

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def without_drive(guest_image: GuestImage) -> Iterator[Guest]:
    """A guest with nothing to find, at its second boot: the first one makes SSH host keys."""
    with Guest(guest_image, nics=[NIC], smbios=PLAIN_MACHINE) as guest:
        guest.boot().check("ssh-keygen -A")
        guest.reboot()
        yield guest


class TestOrdinaryMachine:
    def test_unit_ends_well_and_at_once(self, without_drive: Guest) -> None:
        found = report(without_drive)
        assert (found["exit_status"], found["source"], found["problems"]) == (0, "", [])
        assert without_drive.check(f"systemctl show -P Result {UNIT}") == "success\n"
        assert without_drive.settle() == "running"

    def test_nothing_is_waited_for(self, without_drive: Guest) -> None:
        # Where a drive is expected, the wait is 30 s.
        assert report(without_drive)["steps_ms"]["find"] < 20000

    def test_nothing_is_remembered_or_changed(self, without_drive: Guest) -> None:
        assert not without_drive.exists("/var/lib/guestagent/state.json")
        assert without_drive.check("cat /etc/hostname") == "unnamed\n"
        assert not without_drive.run("find /etc -name '*guestagent*.network'").out

    def test_C1_later_units_do_not_start_and_nothing_is_sent(self, without_drive: Guest) -> None:
        states = without_drive.check(f"systemctl show -P ConditionResult {' '.join(UNITS)}")
        assert states.split() == ["no"] * len(UNITS)
        assert set(without_drive.boot_times(*UNITS).units.values()) == {(0.0, 0.0)}
        assert not without_drive.exists("/run/guestagent/request.json")
        assert without_drive.check("cat /sys/class/net/enp0s3/statistics/tx_packets") == "0\n"


# Where nothing else is to be asked, the wait is as long as it is set.
WAITING = '[drive]\nwait = 3\n[metadata]\nservice = "none"\n'


class TestMissingDrive:
    def test_A3_a_cloud_s_machine_waits_as_long_as_it_is_told(self, new_guest: GuestMaker) -> None:
        guest = new_guest(cmdline_extra=settings_argument(WAITING)).boot()
        found = report(guest)
        assert (found["exit_status"], found["source"]) == (0, "")
        assert 3000 <= found["steps_ms"]["find"] < 30000
        targets = "network-pre.target sysinit.target multi-user.target"
        assert guest.check(f"systemctl is-active {targets}").split() == ["active"] * 3

    def test_A3_a_late_drive_is_picked_up(self, new_guest: GuestMaker, tmp_path: Path) -> None:
        instance = new_instance(tmp_path)
        none = settings_argument('[metadata]\nservice = "none"\n')
        extra = f"systemd.show_status=1 {none}"
        guest = new_guest(smbios=instance.smbios, cmdline_extra=extra)
        drive = instance.drive(tmp_path)
        guest.start()
        self.wait_for_the_agent(guest)
        time.sleep(5)
        guest.hot_plug(drive)
        guest.wait_rebooted("")
        found = report(guest)
        print(f"hot-plugged: {found['steps_ms']}")
        assert (found["exit_status"], found["instance_id"]) == (0, instance.uuid)
        assert found["steps_ms"]["find"] < 30000
        assert guest.ssh("debian", key=instance.key).check()

    def wait_for_the_agent(self, guest: Guest) -> None:
        deadline = time.monotonic() + 120
        while "Starting guestagent-local" not in guest.console and time.monotonic() < deadline:
            time.sleep(0.1)


def ext4_drive(where: Path) -> Drive:
    """A file system with the label, of a type that no config drive has."""
    tree = where / "empty"
    tree.mkdir()
    return Drive(make_ext4(tree, where / "ext4", "config-2"), readonly=False)


class TestSeveralDrives:
    def test_A1_the_machine_s_own_drive_wins(self, new_guest: GuestMaker, tmp_path: Path) -> None:
        other = new_instance(tmp_path / "other", hostname="other")
        mine = new_instance(tmp_path / "mine", hostname="mine")
        drives = [
            other.drive(tmp_path / "other"),
            mine.drive(tmp_path / "mine", kind="vfat"),
            ext4_drive(tmp_path),
        ]
        guest = new_guest(drives=drives, smbios=mine.smbios).boot()
        found = report(guest)
        assert (found["exit_status"], found["instance_id"]) == (0, mine.uuid)
        assert found["source"] == "config drive /dev/vdc"
        told = [(problem["severity"], problem["source"]) for problem in found["problems"]]
        unread = ("warning", "config drive /dev/vdd")
        assert told == [unread, ("warning", "config drive /dev/vdb")]
        assert "/dev/vdb" in journal(guest)
        assert guest.check("hostname") == "mine\n"
        assert guest.ssh("debian", key=mine.key).check()
        assert guest.ssh("debian", key=other.key).status == 255
        assert "EXT4-fs (vdd)" not in guest.check("dmesg")

    def test_A2_ext4_is_never_mounted(self, new_guest: GuestMaker, tmp_path: Path) -> None:
        extra = settings_argument('[drive]\nwait = 1\n[metadata]\nservice = "none"\n')
        guest = new_guest(drives=[ext4_drive(tmp_path)], cmdline_extra=extra).boot()
        assert guest.check("readlink -e /dev/disk/by-label/config-2") == "/dev/vdb\n"
        assert "EXT4-fs (vdb)" not in guest.check("dmesg")
        found = report(guest)
        assert (found["exit_status"], found["source"], found["changes"]) == (0, "", [])
        (problem,) = found["problems"]
        assert (problem["severity"], problem["source"]) == ("warning", "config drive /dev/vdb")
        assert "the label config-2, and a file system of the type ext4" in problem["reason"]
