"""Block devices as udev knows them, through pyudev; imported only to search or to wait."""

from __future__ import annotations

import time

import pyudev

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def labelled(context: pyudev.Context) -> list[str]:
    """The device nodes whose file system has the label, sorted."""
    devices = context.list_devices(subsystem="block")
    return sorted(device.device_node for device in devices if _wanted(device))


def _wanted(device: pyudev.Device) -> bool:
    label = str(device.get("ID_FS_LABEL", ""))
    return label.lower() == defs.LABEL and device.get("ID_FS_TYPE") in defs.FILE_SYSTEMS


def wait(seconds: Callable[[], float]) -> list[str]:
    """The labelled device nodes, as soon as there is one.

    ``seconds`` tells, again at each look, how many seconds of waiting are left in all.  The
    monitor listens before the first look, so that no drive can slip through between them.
    """
    context = pyudev.Context()
    monitor = pyudev.Monitor.from_netlink(context)
    monitor.filter_by("block")
    monitor.start()
    start = time.monotonic()
    while not (found := labelled(context)):
        left = start + seconds() - time.monotonic()
        if left <= 0:
            break
        monitor.poll(timeout=min(left, 0.5))
    return found
