"""Block devices as udev knows them; imported only to search or to wait."""

from __future__ import annotations

import time
from select import POLLIN, poll

from guestagent.sources.find import Drive, is_loop, is_read, rank
from guestagent.system.udev_monitor import Database, Missed, Monitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guestagent.system.udev_monitor import Event

_LOOK = 0.1  # seconds, after which ``wait_for_drives`` looks again without an event


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
            return list_drives(monitor, labels)  # one may have come since the look before
        if poller.poll(min(left, _LOOK) * 1000):
            _drain(monitor)


def list_drives(database: Database, labels: tuple[str, ...]) -> list[Drive]:
    """Return the drives whose file systems have one of the labels, those preferred first."""
    found = _list_labelled(database, labels)
    return sorted(Drive(place, node.node) for place, node in found if _is_read(node))


def list_unread(labels: tuple[str, ...]) -> list[Event]:
    """Return the devices with one of the labels whose file systems are not read.

    Raises OSError.
    """
    return [device for _, device in _list_labelled(Database(), labels) if not _is_read(device)]


def _is_read(device: Event) -> bool:
    return is_read(device.label, device.file_system)


def _list_labelled(database: Database, labels: tuple[str, ...]) -> Iterator[tuple[int, Event]]:
    """Yield each device that has one of the labels, after the place of its label among them."""
    for device in database.block_devices():
        place = rank(device.label, labels)
        if place is not None and not is_loop(device.node):
            yield place, device


def _drain(monitor: Monitor) -> None:
    """Take all events that have come: what they are about is looked at in udev's database."""
    try:
        while monitor.receive() is not None:
            pass
    except Missed:
        pass
