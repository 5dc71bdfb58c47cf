"""Waiting for a drive by udev's events and database; what libudev itself says comes in a guest."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from guestagent import defs
from guestagent.sources import udev
from guestagent.sources.find import Drive
from guestagent.system.udev_monitor import Database, Event, Missed

ROOT_DISK = Event("block", "", "", "", "ext4", "/dev/vda")
DRIVE = Event("block", "", "", "CONFIG-2", "iso9660", "/dev/vdb")
OTHERS = [
    DRIVE._replace(file_system="ext4"),
    DRIVE._replace(file_system=""),
    DRIVE._replace(label="config-22"),
    DRIVE._replace(node="/dev/loop3"),
]


class FakeMonitor:
    """A machine whose drive comes with an event."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.devices = [ROOT_DISK]
        self.coming: list[Event] = []
        self.missed = False

    def __call__(self, subsystem: str) -> FakeMonitor:
        assert subsystem == "block"
        return self

    def come(self, device: Event) -> None:
        self.coming.append(device)
        os.eventfd_write(self.fd, 1)

    def block_devices(self) -> Iterator[Event]:
        yield from self.devices

    def receive(self) -> Event | None:
        if not self.coming:
            return None
        os.eventfd_read(self.fd)
        self.devices += self.coming
        found = self.coming.pop()
        if self.missed:
            raise Missed
        return found


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> FakeMonitor:
    made = FakeMonitor()
    monkeypatch.setattr(udev, "Monitor", made)
    monkeypatch.setattr(udev, "_LOOK", 60.0)
    return made


@pytest.mark.parametrize("missed", [False, True])
def test_a_drive_that_comes_ends_the_wait(monitor: FakeMonitor, missed: bool) -> None:
    monitor.missed = missed

    def seconds(drives: list[Drive]) -> float:
        if not drives and not monitor.coming:
            monitor.come(DRIVE)
        return 0.0 if drives else 30.0

    start = time.monotonic()
    assert udev.wait_for_drives(("config-2",), seconds) == [Drive(0, "/dev/vdb")]
    assert time.monotonic() - start < 10


def test_without_one_the_wait_is_as_long_as_told(monitor: FakeMonitor) -> None:
    start = time.monotonic()
    assert udev.wait_for_drives(("config-2",), lambda _: 0.2) == []
    assert 0.2 <= time.monotonic() - start < 10


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_drive_is_passed_over(monitor: FakeMonitor, other: Event) -> None:
    second = DRIVE._replace(label="cidata", node="/dev/vdc")
    monitor.devices = [ROOT_DISK, other, second]
    found = udev.list_drives(monitor, ("config-2", "cidata"))  # type: ignore[arg-type]
    assert found == [Drive(1, "/dev/vdc")]


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
@pytest.mark.parametrize("label", ["cidata", "CIDATA"])
def test_a_seed_may_have_ext4(monitor: FakeMonitor, label: str, kind: str) -> None:
    monitor.devices = [DRIVE._replace(label=label, file_system=kind)]
    found = udev.list_drives(monitor, ("config-2", "cidata"))  # type: ignore[arg-type]
    assert found == [Drive(1, "/dev/vdb")]


def test_A2_what_is_not_read_is_known(
    monitor: FakeMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udev, "Database", lambda: monitor)
    other = DRIVE._replace(label="cidata", file_system="btrfs", node="/dev/vdc")
    seed = other._replace(file_system="ext4")
    monitor.devices = [ROOT_DISK, DRIVE, seed, other, *OTHERS]
    assert udev.list_unread(("config-2", "cidata")) == [other, *OTHERS[:2]]
    assert udev.list_unread(("cidata",)) == [other]


def test_the_preferred_label_comes_first(monitor: FakeMonitor) -> None:
    monitor.devices = [DRIVE._replace(label="cidata", node="/dev/sr0"), DRIVE]
    found = udev.list_drives(monitor, ("config-2", "cidata"))  # type: ignore[arg-type]
    assert found == [Drive(0, "/dev/vdb"), Drive(1, "/dev/sr0")]


def test_libudev_knows_the_block_devices_that_are_there() -> None:
    found = {device.node for device in Database().block_devices()}
    names = os.listdir(defs.BLOCK_DIR)
    assert found == {f"/dev/{name.replace('!', '/')}" for name in names}


def test_a_block_device_that_has_gone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestagent.system.udev_monitor.listdir", lambda _: ["gone", "\udcff"])
    assert list(Database().block_devices()) == []


def test_without_sysfs_there_is_no_block_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defs, "BLOCK_DIR", "/nowhere")
    assert list(Database().block_devices()) == []
