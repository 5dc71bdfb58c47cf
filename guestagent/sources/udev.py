"""Block devices as udev knows them, through pyudev; imported only to search or to wait."""

from __future__ import annotations

import time

import pyudev

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def wait_for_drive(seconds: Callable[[], float]) -> list[str]:
    """Return the device nodes of config drives, as soon as udev knows one.

    ``seconds`` tells, again at each look, how many seconds to wait in all.  Returns an empty list
    when they are over.
    """
    context = pyudev.Context()
    # The monitor listens before the first look, so that no drive is missed between the two.
    monitor = pyudev.Monitor.from_netlink(context)
    monitor.filter_by("block")
    monitor.start()
    start = time.monotonic()
    while not (drives := list_drives(context)):
        left = start + seconds() - time.monotonic()
        if left <= 0:
            break
        monitor.poll(timeout=min(left, 0.5))
    return drives


def list_drives(context: pyudev.Context) -> list[str]:
    """Return the device nodes whose file system has a config drive's label, sorted."""
    devices = context.list_devices(subsystem="block")
    return sorted(device.device_node for device in devices if _is_drive(device))


def _is_drive(device: pyudev.Device) -> bool:
    label = str(device.get("ID_FS_LABEL", ""))
    return label.lower() == defs.LABEL and device.get("ID_FS_TYPE") in defs.FILE_SYSTEMS
