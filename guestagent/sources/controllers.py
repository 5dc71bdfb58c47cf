"""Controllers of storage, and whether they have looked for their devices.

Imported only where a boot can go on without a drive.  docs/boot.md says what was looked at, and
why it counts.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.system.machine import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PCI_STORAGE = "0x01"  # how the class of a PCI device begins that is a mass storage controller
_VIRTIO_STORAGE = ("0x0002", "0x0008")  # the device IDs of virtio for a disk and for SCSI
_SCSI_DRIVES = ("0", "5")  # SCSI's peripheral device types of disks and of CD and DVD drives
_USB_STORAGE = "08"  # the interface class of USB for mass storage
# Buses whose disks are found in their own time, without a sign of when that is over: those of Xen,
# of Hyper-V, and of IBM Z.
_SILENT_BUSES = ("xen", "vmbus", "ccw")


def have_all_looked() -> bool:
    """Tell whether each controller of storage has found what drives it has.

    False where nothing tells: on a bus that gives no sign, and where no controller is known.  Of
    USB only what has been seen on it counts: a hub gives no sign that it has seen to all its ports.
    """
    if is_usb_looking() or any(_devices(bus) for bus in _SILENT_BUSES):
        return False
    found = False
    for place in _list_controllers():
        if not _has_looked(place):
            return False
        found = True
    return found


def is_usb_looking() -> bool:
    """Tell whether a mass storage device on USB has not been looked at yet: that takes a second.

    It never is where the kernel has no driver for it.
    """
    for place in _devices("usb"):
        if read_text(f"{place}/bInterfaceClass") == _USB_STORAGE and not _has_target(place):
            return True
    return False


def _has_target(place: str) -> bool:
    """Tell whether a device with a host of SCSI has found what is behind that."""
    hosts = [name for name in _listing(place) if name.startswith("host")]
    found = [name for host in hosts for name in _listing(f"{place}/{host}")]
    return any(name.startswith("target") for name in found)


def _list_controllers() -> Iterator[str]:
    """Yield the folder in /sys of each device whose driver may bring a drive, or is one of it.

    What the first ones bring is listed when these have been looked at, so that nothing comes
    between.
    """
    for place in _devices("pci"):
        if read_text(f"{place}/class").startswith(_PCI_STORAGE):
            yield place
    for place in _devices("virtio"):
        if read_text(f"{place}/device") in _VIRTIO_STORAGE:
            yield place
    for place in _devices("scsi"):
        if read_text(f"{place}/type") in _SCSI_DRIVES:
            yield place


def _has_looked(place: str) -> bool:
    """Tell whether a device has a driver that has looked at all it found when it was loaded.

    A driver's folder has the file ``uevent`` when it has been offered all devices, and the link to
    its module not before.  A module's start is over when its ``initsize`` is 0; since Linux 5.17
    that waits for all that the start began, the look at a controller's ports included.
    """
    if not os.path.exists(f"{place}/driver/uevent"):
        return False
    # A driver that is part of the kernel has none; it has looked before the first process began.
    return read_text(f"{place}/driver/module/initsize") in ("", "0")


def _devices(bus: str) -> list[str]:
    """Return the folders in /sys of the devices on a bus."""
    folder = f"{defs.BUS_DIR}/{bus}/devices"
    return [f"{folder}/{name}" for name in _listing(folder)]


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
