"""Find the config drive of this machine.

The first way that is certain is taken: udev's by-label link, udev's database, and, where there is
evidence that a drive will come, waiting for it.
"""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.errors import NoPermission, Problem, SourceBroken
from guestagent.record import NamedTuple
from guestagent.sources.path import marked, open_device
from guestagent.system.machine import dmi, product_uuid, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.sources.bundle import Bundle

    Identify = Callable[[Bundle], str | None]


class Search(NamedTuple):
    """What a search starts from: ``wait`` is how many seconds it may wait for a drive.

    ``known`` is the instance configured last, ``expected`` says that it had a drive.  ``other``
    tells whether a metadata service will be asked if there is none.
    """

    wait: float
    known: str | None
    expected: bool
    other: Callable[[], bool] = lambda: False


def find(search: Search, identify: Identify) -> tuple[Bundle | None, list[Problem]]:
    """Find the config drive and open it; None if there is none.

    Raises SourceBroken, NoPermission.
    """
    devices = _devices(search)
    if not devices:
        return None, []
    if len(devices) == 1:
        return open_device(devices[0]), []
    return _choose(devices, search, identify)


def _foreign(device: str) -> bool:
    """True where a device holds another file system; one that cannot be read may be the drive."""
    try:
        return not marked(device)
    except (NoPermission, SourceBroken):
        return False


def _devices(search: Search) -> list[str]:
    """The block devices with the label, by the cheapest way that is certain."""
    links = [f"{defs.BY_LABEL_DIR}/{name}" for name in (defs.LABEL, defs.LABEL.upper())]
    found = sorted({os.path.realpath(link) for link in links if os.path.exists(link)})
    linked = [device for device in found if not _foreign(device)]
    if len(linked) == 1 and _sole_claim():
        return linked
    if not linked and not _expected(search) and not _unsettled():
        return []
    from guestagent.sources.udev import wait

    _load_cdrom_driver()
    return wait(_patience(search)) or linked


def _patience(search: Search) -> Callable[[], float]:
    """Tells, as often as it is asked, how many seconds to wait for a drive in all.

    Where a metadata service will be asked if there is none, and this machine never had one, it is
    enough that udev has been idle for a while: every drive that is there is known by then.
    """
    if not _expected(search):
        return _short_wait
    if search.expected or not search.other():
        return lambda: search.wait
    start = time.monotonic()
    busy = start

    def until_idle() -> float:
        nonlocal busy
        if os.path.exists(defs.UDEV_QUEUE) or _unsettled():
            busy = time.monotonic()
        return min(search.wait, busy - start + defs.UDEV_IDLE)

    return until_idle


def _sole_claim() -> bool:
    """True where udev knows one device only that claims the link; its links directory tells."""
    try:
        entries = os.listdir(defs.UDEV_LINKS_DIR)
        mine = [name for name in entries if name.lower().endswith("by-label\\x2f" + defs.LABEL)]
        claims = [os.listdir(f"{defs.UDEV_LINKS_DIR}/{name}") for name in mine]
    except OSError:
        return False
    return sum(map(len, claims)) == 1


def _expected(search: Search) -> bool:
    """Evidence of a drive: DMI says OpenStack, or this guest had one before."""
    product = dmi("product_name")
    tag = dmi("chassis_asset_tag")
    return search.expected or product in defs.OPENSTACK_PRODUCTS or tag in defs.OPENSTACK_ASSET_TAGS


def _unsettled() -> bool:
    """True while udev has not seen to a block device that is there: it may be the drive."""
    if not os.path.isdir(defs.UDEV_DATA_DIR):
        return False
    try:
        names = os.listdir(defs.BLOCK_DIR)
    except OSError:
        return False
    numbers = (read_text(f"{defs.BLOCK_DIR}/{name}/dev") for name in names if _medium(name))
    return not all(os.path.exists(f"{defs.UDEV_DATA_DIR}/b{number}") for number in numbers)


def _medium(name: str) -> bool:
    return not name.startswith(("loop", "ram", "zram", "dm-", "md"))


def _short_wait() -> float:
    return defs.UDEV_WAIT if _unsettled() else 0.0


def _load_cdrom_driver() -> None:
    """Have systemd load sr_mod where a CD-ROM is there without its driver."""
    try:
        devices = os.listdir(defs.SCSI_DEVICES)
    except OSError:
        return
    for device in devices:
        where = f"{defs.SCSI_DEVICES}/{device}"
        if read_text(f"{where}/type") == "5" and not os.path.exists(f"{where}/driver"):
            from guestagent.system.tools import program, run

            tool = program("systemctl")
            if tool:
                run([tool, "--no-block", "start", "modprobe@sr_mod.service"])
            return


def _choose(
    devices: list[str], search: Search, identify: Identify
) -> tuple[Bundle | None, list[Problem]]:
    """The drive that this machine's uuid names, else the known instance's, else the first."""
    bundles = [open_device(device) for device in devices]
    ids = [identify(bundle) for bundle in bundles]
    wanted = [name for name in (product_uuid(), search.known) if name in ids and name]
    number = ids.index(wanted[0]) if wanted else 0
    chosen = bundles.pop(number)
    problems = []
    for bundle in bundles:
        reason = f"has the label of a config drive too; {chosen.label} is used"
        problems.append(Problem("warning", bundle.label, "", "", reason))
        bundle.close()
    return chosen, problems
