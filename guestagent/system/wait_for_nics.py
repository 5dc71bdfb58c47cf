"""Wait for NICs: until their drivers are loaded and udev(7) has named them.

The local unit runs while udev is still at work.  A NIC counts as ready when udev's database has
an entry for it that does not say that it is being renamed, as systemd-networkd(8) decides too.

Every boot comes here, most have nothing to plan: so this is not among the facts, whose room imports
what planning needs.
"""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.system.machine import has_udev, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

PERMANENT = "0"  # /sys/class/net/NAME/addr_assign_type
_PAUSE = 0.02  # seconds
_RENAMING = "E:ID_RENAMING=1\n"  # a line of an entry of udev's database


def nics_of_last_run(watched: Collection[str]) -> set[str]:
    """Return the NICs whose MAC addresses are among the paths that the last run looked at."""
    names = set()
    for path in watched:
        if path.startswith(f"{defs.NET_DIR}/") and path.endswith("/address"):
            names.add(path.split("/")[-2])
    return names


def present_nics() -> set[str]:
    """Return the NICs of this machine by their names; none where that is not known."""
    try:
        names = os.listdir(defs.NET_DIR)
    except OSError:  # a container without sysfs
        return set()
    return {name for name in names if os.path.exists(f"{defs.NET_DIR}/{name}/device")}


def present_macs(again: int = 3) -> set[str]:
    """Return the MAC addresses of the NICs that are there, named or not.

    ``again`` is how often to look again where one is gone while it is looked at.
    """
    found = {_mac(name) for name in present_nics()}
    if "" in found and again:  # one was named just now
        return present_macs(again - 1)
    return found


def has_only(macs: Collection[str]) -> bool:
    """Tell whether each NIC that is there, named or not, has one of these MAC addresses."""
    return present_macs().issubset(macs)


def _mac(name: str) -> str:
    """Return the MAC address that a NIC was made with, as ``facts.network`` finds it."""
    where = f"{defs.NET_DIR}/{name}"
    if read_text(f"{where}/addr_assign_type") == PERMANENT:
        return read_text(f"{where}/address").lower()
    from guestagent.system.libc import permanent_mac

    return permanent_mac(name) or read_text(f"{where}/address").lower()


def wait_for_nics(wanted: Collection[str], limit: float = defs.UDEV_WAIT) -> bool:
    """Wait until all wanted NICs are ready, or any NIC if ``wanted`` is empty.

    NICs are named by their names or MAC addresses.  Returns whether they are ready.  Waits for
    ``limit`` seconds, or longer while udev is at work, and not at all where it does not run.
    """
    wanted = {_without_queue(name) for name in wanted}
    start = time.monotonic()
    while has_udev():
        # In this order: what udev does last before it is idle is seen.
        is_busy = os.path.exists(defs.UDEV_QUEUE)
        found = _ready()
        if found and found.issuperset(wanted):
            return True
        if time.monotonic() >= start + (defs.UDEV_BUSY_WAIT if is_busy else limit):
            break
        time.sleep(_PAUSE)
    return False


def _ready() -> set[str]:
    """Return names and MAC addresses of the NICs that udev has in its database."""
    found: set[str] = set()
    for name in present_nics():
        where = f"{defs.NET_DIR}/{name}"
        index = read_text(f"{where}/ifindex")
        if _has_its_name(index):
            found.add(name)
            mac = read_text(f"{where}/address").lower()
            found.add(_without_queue(mac))
            if mac.count(":") == defs.INFINIBAND_OCTETS - 1:
                from guestagent.model import short_infiniband_mac

                found.add(short_infiniband_mac(mac))
    return found


def _has_its_name(index: str) -> bool:
    """Tell whether udev has done with the NIC of an index: it has an entry before it is renamed."""
    try:
        with open(f"{defs.UDEV_DATA_DIR}/n{index}", encoding="utf-8", errors="replace") as entry:
            return _RENAMING not in entry
    except OSError:
        return False


def _without_queue(name: str) -> str:
    """Return the part of an InfiniBand MAC address that stays; names and others as they are."""
    if name.count(":") != defs.INFINIBAND_OCTETS - 1:
        return name
    from guestagent.model import infiniband_guid  # few guests have it

    return infiniband_guid(name)
