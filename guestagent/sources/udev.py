"""Block devices as udev knows them; imported only to search or to wait."""

from __future__ import annotations

import time
from select import POLLIN, poll

from guestagent import defs
from guestagent.sources.find import Drive, is_loop, rank
from guestagent.system.udev_monitor import Missed, Monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.system.udev_monitor import Database

_LOOK = 0.5  # seconds, after which ``wait_for_drives`` looks again without an event


def wait_for_drives(
    labels: tuple[str, ...], seconds: Callable[[list[Drive]], float]
) -> list[Drive]:
    """Return the drives that udev knows when the wait for them is over, as ``list_drives`` does.

    ``seconds`` tells, again at each look and by what is known then, how many seconds to wait in
    all.  Raises OSError.
    """
    # The monitor listens before the first look, so that no drive is missed between the two.
    monitor = Monitor("block")
    poller = poll()
    poller.register(monitor.fd, POLLIN)
    start = time.monotonic()
    while True:
        drives = list_drives(monitor, labels)
        left = start + seconds(drives) - time.monotonic()
        if left <= 0:
            return drives
        if poller.poll(min(left, _LOOK) * 1000):
            _drain(monitor)


def list_drives(database: Database, labels: tuple[str, ...]) -> list[Drive]:
    """Return the drives whose file systems have one of the labels, those preferred first."""
    found = []
    for device in database.block_devices():
        if is_loop(device.node):
            continue
        place = rank(device.label, labels)
        if place is not None and device.file_system in defs.FILE_SYSTEMS:
            found.append(Drive(place, device.node))
    return sorted(found)


def _drain(monitor: Monitor) -> None:
    """Take all events that have come: what they are about is looked at in udev's database."""
    try:
        while monitor.receive() is not None:
            pass
    except Missed:
        pass
