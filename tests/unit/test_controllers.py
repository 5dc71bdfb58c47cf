"""Which controllers of storage have looked for their devices, by a made-up /sys/bus."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.sources import controllers
from guestagent.system.machine import read_text

AHCI = "pci/devices/0000:00:1f.2"
DISK = "virtio/devices/virtio2"
CD = "scsi/devices/2:0:0:0"
STICK = "usb/devices/1-1:1.0"
# Driver's module, its initsize: none for a driver that is part of the kernel.
READY, STARTING, BUILT_IN = ("module", "0\n"), ("module", "8192\n"), ("", "")


class Buses:
    """The folder /sys/bus."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def put(self, place: str, text: str = "") -> None:
        path = self.top / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def bind(self, place: str, module: tuple[str, str] = READY) -> None:
        """Give a device a driver that has been offered all devices."""
        name, size = module
        self.put(f"{place}/driver/uevent")
        if name:
            self.put(f"{place}/driver/{name}/initsize", size)


@pytest.fixture
def buses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Buses:
    """A machine with a controller for SATA, a virtio disk, and what is not about storage."""
    monkeypatch.setattr(defs, "BUS_DIR", str(tmp_path))
    monkeypatch.setattr(defs, "UDEV_QUEUE", str(tmp_path / "queue"))
    made = Buses(tmp_path)
    made.put("queue")
    made.put("pci/devices/0000:00:01.0/class", "0x030000\n")  # a display, without a driver
    made.put("virtio/devices/virtio0/device", "0x0001\n")  # a NIC, without one
    made.put("scsi/devices/host0/uevent")
    made.put(f"{AHCI}/class", "0x010601\n")
    made.put(f"{DISK}/device", "0x0002\n")
    for place in (AHCI, DISK):
        made.bind(place)
    made.put(f"{DISK}/block/vda/dev", "254:0\n")
    return made


@pytest.mark.parametrize("module", [READY, BUILT_IN])
def test_all_have_looked_when_their_drivers_have_started(
    buses: Buses, module: tuple[str, str]
) -> None:
    buses.put(f"{CD}/type", "5\n")
    buses.put(f"{CD}/block/sr0/dev", "11:0\n")
    buses.bind(CD, module)
    assert controllers.have_all_looked()


@pytest.mark.parametrize("place", [CD, DISK])
def test_A1_a_drive_whose_block_device_is_still_made_has_not_been_looked_at(
    buses: Buses, place: str
) -> None:
    """Its driver was there before it, for another drive."""
    if place == CD:
        buses.put(f"{CD}/type", "5\n")
        buses.bind(CD)
    else:
        shutil.rmtree(buses.top / DISK / "block")
    assert not controllers.have_all_looked()


@pytest.mark.parametrize(
    ("place", "file", "text"),
    [
        (AHCI, "class", "0x010601\n"),
        ("virtio/devices/virtio3", "device", "0x0008\n"),
        (CD, "type", "5\n"),
    ],
)
def test_A1_one_without_a_driver_has_not_looked(
    buses: Buses, place: str, file: str, text: str
) -> None:
    shutil.rmtree(buses.top / place / "driver", ignore_errors=True)
    buses.put(f"{place}/{file}", text)
    assert not controllers.have_all_looked()


def test_A1_one_whose_driver_is_still_starting_has_not_looked(buses: Buses) -> None:
    buses.bind(AHCI, STARTING)
    assert not controllers.have_all_looked()


def test_A1_a_driver_that_is_still_offered_devices_does_not_count_as_part_of_the_kernel(
    buses: Buses,
) -> None:
    """A device has the link to its driver before that looks at it; the module's link comes last."""
    shutil.rmtree(buses.top / AHCI / "driver")
    (buses.top / AHCI / "driver").mkdir()
    assert not controllers.have_all_looked()


def test_A1_what_a_controller_finds_while_it_is_looked_at_counts(
    buses: Buses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_a_disk(path: str) -> str:
        if path.endswith("/driver/module/initsize"):
            buses.put("scsi/devices/2:0:0:0/type", "0\n")
        return read_text(path)

    monkeypatch.setattr(f"{controllers.__name__}.read_text", find_a_disk)
    assert not controllers.have_all_looked()


@pytest.mark.parametrize("is_udev_busy", [True, False])
def test_A1_a_controller_of_usb_without_a_driver_counts_while_udev_may_load_one(
    buses: Buses, is_udev_busy: bool
) -> None:
    usb = "pci/devices/0000:00:1d.0"
    buses.put(f"{usb}/class", "0x0c0330\n")
    if not is_udev_busy:
        (buses.top / "queue").unlink()
    assert controllers.have_all_looked() != is_udev_busy
    buses.bind(usb)
    assert controllers.have_all_looked()


@pytest.mark.parametrize("bus", ["xen", "vmbus", "ccw"])
def test_A1_what_no_bus_tells_is_not_known(buses: Buses, bus: str) -> None:
    buses.put(f"{bus}/devices/vbd-51712/uevent")
    assert not controllers.have_all_looked()


def test_without_any_controller_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defs, "BUS_DIR", str(tmp_path / "nowhere"))
    assert not controllers.have_all_looked()
    assert not controllers.is_usb_looking()


@pytest.mark.parametrize(
    ("interface", "children", "looking"),
    [
        ("08", (), True),
        ("08", ("host3/scsi_host",), True),  # there at once, a second before the look
        ("08", ("host3/target3:0:0/power",), True),
        ("08", ("host3/target3:0:0/3:0:0:0",), False),
        ("03", (), False),  # a tablet
    ],
)
def test_A1_a_stick_on_usb_is_looked_at_when_it_has_a_unit_of_scsi(
    buses: Buses, interface: str, children: tuple[str, ...], looking: bool
) -> None:
    buses.put(f"{STICK}/bInterfaceClass", f"{interface}\n")
    buses.put("usb/devices/1-1/bDeviceClass", "00\n")
    for child in children:
        buses.put(f"{STICK}/{child}/uevent")
    assert controllers.is_usb_looking() == looking
    assert controllers.have_all_looked() != looking
