"""NICs are ready only when their driver is loaded and udev(7) has named them: waiting for that.

The early unit runs while udev is still at work.  A NIC is taken for ready when udev's database
has an entry for it, as systemd-networkd(8) does.
"""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.system.machine import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_PAUSE = 0.02


def named(watched: Collection[str]) -> set[str]:
    """The NICs whose addresses are among the paths that a run looked at."""
    paths = (path.split("/") for path in watched if path.startswith(f"{defs.NET_DIR}/"))
    return {parts[-2] for parts in paths if parts[-1] == "address"}


def wait(wanted: Collection[str], limit: float = defs.UDEV_WAIT) -> bool:
    """Wait until all wanted NICs, by name or MAC address, are ready; if none are, for any one.

    True if they are.  Waits at most ``limit`` seconds, and not at all where no udev runs.
    """
    deadline = time.monotonic() + limit
    while os.path.isdir(defs.UDEV_DATA_DIR):
        found = _ready()
        if found and found.issuperset(wanted):
            return True
        if time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE)
    return False


def _ready() -> set[str]:
    """Names and addresses of the NICs that udev has seen to."""
    found: set[str] = set()
    for name in os.listdir(defs.NET_DIR):
        where = f"{defs.NET_DIR}/{name}"
        if os.path.exists(f"{where}/device"):
            index, address = read_text(f"{where}/ifindex"), read_text(f"{where}/address")
            if os.path.exists(f"{defs.UDEV_DATA_DIR}/n{index}"):
                found |= {name, address.lower()}
    return found
