"""Wait for NICs: until their drivers are loaded and udev(7) has named them.

The local unit runs while udev is still at work.  A NIC counts as ready when udev's database has
an entry for it, as systemd-networkd(8) decides too.

Every boot comes here, most have nothing to plan: so this is not among the facts, whose room imports
what planning needs.
"""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.system.machine import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_PAUSE = 0.02  # seconds


def nics_of_last_run(watched: Collection[str]) -> set[str]:
    """Return the NICs whose MAC addresses are among the paths that the last run looked at."""
    names = set()
    for path in watched:
        if path.startswith(f"{defs.NET_DIR}/") and path.endswith("/address"):
            names.add(path.split("/")[-2])
    return names


def wait_for_nics(wanted: Collection[str], limit: float = defs.UDEV_WAIT) -> bool:
    """Wait until all wanted NICs are ready, or any NIC if ``wanted`` is empty.

    NICs are named by their names or MAC addresses.  Returns whether they are ready.  Waits for
    at most ``limit`` seconds, and not at all where udev does not run.
    """
    wanted = {_without_queue(name) for name in wanted}
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
    """Return names and MAC addresses of the NICs that udev has in its database."""
    found: set[str] = set()
    try:
        names = os.listdir(defs.NET_DIR)
    except OSError:  # a container without sysfs
        return found
    for name in names:
        where = f"{defs.NET_DIR}/{name}"
        if not os.path.exists(f"{where}/device"):
            continue
        index = read_text(f"{where}/ifindex")
        if os.path.exists(f"{defs.UDEV_DATA_DIR}/n{index}"):
            found.add(name)
            mac = read_text(f"{where}/address").lower()
            found.add(_without_queue(mac))
            if mac.count(":") == defs.INFINIBAND_OCTETS - 1:
                from guestagent.model import short_infiniband_mac

                found.add(short_infiniband_mac(mac))
    return found


def _without_queue(name: str) -> str:
    """Return the part of an InfiniBand MAC address that stays; names and others as they are."""
    if name.count(":") != defs.INFINIBAND_OCTETS - 1:
        return name
    from guestagent.model import infiniband_guid  # few guests have it

    return infiniband_guid(name)
