"""Media that have no label to be known by: a floppy disk of RHEV, a CD-ROM of vSphere.

Source: the pages "AltCloud" and "OVF" of cloud-init's documentation.  They are looked for only
where DMI, or a file that the image's builder left, says that the machine is in such a cloud.
"""

from __future__ import annotations

import os
import time
from errno import ENODEV, ENOENT, ENOMEDIUM, ENXIO

from guestagent import defs
from guestagent.errors import NoPermission, Origin, SourceBroken
from guestagent.sources.find import is_udev_busy
from guestagent.sources.path import marked_file_system, open_device
from guestagent.system.machine import dmi, read_text
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problems
    from guestagent.sources.bundle import Bundle

_EMPTY = (ENODEV, ENOENT, ENOMEDIUM, ENXIO)
_PAUSE = 0.1
_IMAGE_SAYS_VSPHERE = "VSPHERE"
_NAMES = defs.OVF_NAMES.union(defs.ALT_CLOUD_NAMES)


def open_source(problems: Problems) -> Bundle | None:
    """Open the first medium that has one of the documents; return None if there is none.

    The others are named in warnings.  Raises SourceBroken, NoPermission.
    """
    chosen: Bundle | None = None
    for device in _devices():
        bundle = _open(device)
        if bundle is None:
            continue
        if chosen is None:
            chosen = bundle
            continue
        problems.warn(Origin(bundle.label, "", ""), f"is not used, because {chosen.label} is")
        bundle.close()
    return chosen


def _devices() -> list[str]:
    """Return the devices that may hold a medium, by what the cloud is."""
    said = read_text(defs.CLOUD_INFO).upper() or dmi("product_name").upper()
    if defs.RHEV in said:
        _load_floppy_driver()
        return [defs.FLOPPY]
    if not said.startswith(defs.VSPHERE) and _IMAGE_SAYS_VSPHERE not in said:
        return []
    _wait_for_cdroms()
    return _cdroms()


def _cdroms() -> list[str]:
    """Return the CD-ROM drives that have a driver."""
    try:
        names = os.listdir(defs.BLOCK_DIR)
    except OSError:
        return []
    return [f"{defs.DEVICES_DIR}/{name}" for name in sorted(names) if name.startswith("sr")]


def _load_floppy_driver() -> None:
    """Have systemd load the driver, which no hardware asks for.

    That ends once the drive is there, or the driver has found none.
    """
    systemctl = find_program("systemctl")
    if os.path.exists(defs.FLOPPY) or not systemctl:
        return
    start = [systemctl, "--no-ask-password", "start", "modprobe@floppy.service"]
    run(start, timeout=defs.DRIVE_WAIT)


def _wait_for_cdroms() -> None:
    """Wait until there is a CD-ROM drive, as long as udev is at work."""
    end = time.monotonic() + defs.DRIVE_WAIT
    while not _cdroms() and is_udev_busy() and time.monotonic() < end:
        time.sleep(_PAUSE)


def _open(device: str) -> Bundle | None:
    """Open a medium; None if there is none in the drive, or none with one of the documents.

    Raises SourceBroken, NoPermission.
    """
    try:
        with open(device, "rb", buffering=0):
            pass
    except PermissionError:
        raise NoPermission(f"{device}: no permission to read it") from None
    except OSError as error:
        if error.errno in _EMPTY:
            return None
        raise SourceBroken(f"{device}: {error.strerror}") from None
    if marked_file_system(device) not in defs.FILE_SYSTEMS:
        return None
    bundle = open_device(device)
    if _NAMES.isdisjoint(bundle.names("")):
        bundle.close()
        return None
    return bundle
