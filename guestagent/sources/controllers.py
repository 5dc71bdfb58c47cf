"""Controllers of storage, and whether they have looked for their devices.

Imported only where a boot can go on without a drive.  docs/boot.md says what was looked at, and
why it counts.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.system.machine import read_text

# How the class of a PCI device begins that is a mass storage controller, and one of USB.
_PCI_STORAGE, _PCI_USB = "0x01", "0x0c03"
_VIRTIO_DISK, _VIRTIO_SCSI = "0x0002", "0x0008"  # device IDs of virtio
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
    # One after the other, each kind listed only when those before have looked: what they bring
    # belongs to the next kind.
    found = False
    for place in _devices("pci"):
        kind = read_text(f"{place}/class")
        if kind.startswith(_PCI_STORAGE):
            found = True
            if not _has_started(place):
                return False
        # One of USB may stay without a driver: when udev is idle, it never has a drive.
        elif (
            kind.startswith(_PCI_USB)
            and os.path.exists(defs.UDEV_QUEUE)
            and not _has_started(place)
        ):
            return False
    for place in _devices("virtio"):
        kind = read_text(f"{place}/device")
        found |= kind in (_VIRTIO_DISK, _VIRTIO_SCSI)
        if kind == _VIRTIO_DISK and not _has_disk(place):
            return False
        if kind == _VIRTIO_SCSI and not _has_started(place):
            return False
    for place in _devices("scsi"):
        if read_text(f"{place}/type") in _SCSI_DRIVES:
            found = True
            if not _has_disk(place):
                return False
    return found


def is_usb_looking() -> bool:
    """Tell whether a mass storage device on USB has not been looked at: that takes a second.

    Without a driver for it that stays so.
    """
    for place in _devices("usb"):
        if read_text(f"{place}/bInterfaceClass") == _USB_STORAGE and not _has_unit(place):
            return True
    return False


def _has_unit(place: str) -> bool:
    """Tell whether a device with a host of SCSI has found a disk or a CD-ROM drive.

    It has a folder of that then, such as ``host3/target3:0:0/3:0:0:0``.
    """
    for host in _listing(place):
        for target in _listing(f"{place}/{host}") if host.startswith("host") else ():
            if any(":" in unit for unit in _listing(f"{place}/{host}/{target}")):
                return True
    return False


def _has_started(place: str) -> bool:
    """Tell whether a device has a driver, and the driver's module has ended its start.

    A driver's folder has the file ``uevent`` when it has been offered all devices, and the link to
    its module not before.  A module's start is over when its ``initsize`` is 0; since Linux 5.17
    that waits for all that the start began, the look at a controller's ports included.
    """
    if not os.path.exists(f"{place}/driver/uevent"):
        return False
    # A driver that is part of the kernel has no module; it started before the first process did.
    return read_text(f"{place}/driver/module/initsize") in ("", "0")


def _has_disk(place: str) -> bool:
    """Tell whether a drive has its block device, which its driver makes last."""
    return bool(_listing(f"{place}/block"))


def _devices(bus: str) -> list[str]:
    """Return the folders in /sys of the devices on a bus."""
    folder = f"{defs.BUS_DIR}/{bus}/devices"
    return [f"{folder}/{name}" for name in _listing(folder)]


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
