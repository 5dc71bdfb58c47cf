"""Find the config drive of this machine.

The first way that is certain is taken: udev's by-label link, udev's database, and, where there is
evidence that a drive will come, waiting for it.
"""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.errors import NoPermission, Origin, SourceBroken, WrongSource
from guestagent.record import NamedTuple
from guestagent.sources.path import marked_file_system, open_device
from guestagent.system.machine import dmi, product_uuid, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.errors import Problems
    from guestagent.sources.bundle import Bundle

    Identify = Callable[[Bundle], str | None]
    Read = Callable[[Bundle], object]

_CDROM = "5"  # the peripheral device type of CD and DVD drives in SCSI
_DIFFER = "two config drives differ, and the machine's UUID does not tell which one is its own"
_DIFFER_DO = "not applied; detach one, or name one on the kernel command line: guestagent.source="
# Block devices that never are a drive of the hypervisor.
_VIRTUAL = ("loop", "ram", "zram", "dm-", "md")


class Search(NamedTuple):
    """What a search starts from: ``wait`` is how many seconds it may wait for a drive.

    ``expected`` says that the instance configured last had a drive.  ``has_service`` tells whether
    a metadata service will be asked if there is no drive.
    """

    wait: float
    expected: bool
    has_service: Callable[[], bool] = lambda: False


def find_drive(search: Search, identify: Identify, read: Read, problems: Problems) -> Bundle | None:
    """Find the config drive and open it; return None if there is none.

    If there are several, ``identify`` returns the instance ID of one, and ``read`` has a bundle
    read all that a run would.  Raises SourceBroken, NoPermission, WrongSource.
    """
    devices = _find_devices(search)
    if not devices:
        return None
    if len(devices) == 1:
        return open_device(devices[0])
    return _choose(devices, identify, read, problems=problems)


def _find_devices(search: Search) -> list[str]:
    """Return the block devices with the label, by the cheapest way that is certain."""
    linked = _linked_devices()
    # Where several devices claim the link, udev gives it to one, not always the same.
    if len(linked) == 1 and _has_one_claim():
        return linked
    if not linked and not _is_expected(search) and not _is_udev_behind():
        return []
    # Only now, because importing pyudev costs as much CPU time as 3 starts of the interpreter.
    from guestagent.sources.udev import wait_for_drive

    _load_cdrom_driver()
    return wait_for_drive(_patience(search)) or linked


def _linked_devices() -> list[str]:
    """Return the devices that udev's links name for the label, in lower or upper case."""
    found = set()
    for label in (defs.LABEL, defs.LABEL.upper()):
        link = f"{defs.BY_LABEL_DIR}/{label}"
        if os.path.exists(link):
            device = os.path.realpath(link)
            if not _has_other_file_system(device):
                found.add(device)
    return sorted(found)


def _has_other_file_system(device: str) -> bool:
    """Tell whether a device holds another file system than a config drive's.

    One that cannot be read may be the drive.
    """
    try:
        return not marked_file_system(device)
    except (NoPermission, SourceBroken):
        return False


def _has_one_claim() -> bool:
    """Tell whether udev knows only one device that claims the link.

    Its directory of links has a folder for each link, with an entry for each claim.
    """
    suffix = f"by-label\\x2f{defs.LABEL}"
    claims = 0
    try:
        for name in os.listdir(defs.UDEV_LINKS_DIR):
            if name.lower().endswith(suffix):
                claims += len(os.listdir(f"{defs.UDEV_LINKS_DIR}/{name}"))
    except OSError:
        return False
    return claims == 1


def _is_expected(search: Search) -> bool:
    """Tell whether there is evidence of a drive: this guest had one, or DMI says OpenStack."""
    if search.expected or dmi("product_name") in defs.OPENSTACK_PRODUCTS:
        return True
    return dmi("chassis_asset_tag") in defs.OPENSTACK_ASSET_TAGS


def _is_udev_behind() -> bool:
    """Tell whether udev has not processed a block device yet, which may be the drive."""
    if not os.path.isdir(defs.UDEV_DATA_DIR):
        return False
    try:
        names = os.listdir(defs.BLOCK_DIR)
    except OSError:
        return False
    for name in names:
        if not name.startswith(_VIRTUAL):
            number = read_text(f"{defs.BLOCK_DIR}/{name}/dev")
            if not os.path.exists(f"{defs.UDEV_DATA_DIR}/b{number}"):
                return True
    return False


def _patience(search: Search) -> Callable[[], float]:
    """Return a function that tells, whenever it is called, how many seconds to wait in all."""
    if not _is_expected(search):
        return lambda: defs.UDEV_WAIT if _is_udev_behind() else 0.0
    if search.expected or not search.has_service():
        return lambda: search.wait
    # A service can be asked instead, and this machine never had a drive.  So it is enough that udev
    # has been idle for a while: it knows every drive that exists by then.
    start = last_busy = time.monotonic()

    def until_idle() -> float:
        nonlocal last_busy
        if os.path.exists(defs.UDEV_QUEUE) or _is_udev_behind():
            last_busy = time.monotonic()
        return min(search.wait, last_busy - start + defs.UDEV_IDLE)

    return until_idle


def _load_cdrom_driver() -> None:
    """Have systemd load the driver sr_mod if a CD-ROM has none."""
    try:
        devices = os.listdir(defs.SCSI_DEVICES)
    except OSError:
        return
    for device in devices:
        place = f"{defs.SCSI_DEVICES}/{device}"
        if read_text(f"{place}/type") == _CDROM and not os.path.exists(f"{place}/driver"):
            from guestagent.system.tools import find_program, run

            systemctl = find_program("systemctl")
            if systemctl:
                run([systemctl, "--no-block", "start", "modprobe@sr_mod.service"])
            return


def _choose(devices: list[str], identify: Identify, read: Read, problems: Problems) -> Bundle:
    """Return the drive of this machine, and name the others in warnings.

    The one with the machine's UUID is it, in whatever state the others are.  Where the UUID tells
    none apart, they must all say the same.  Raises WrongSource if they do not, and SourceBroken if
    one that may be the machine's own cannot be read.
    """
    bundles: list[Bundle] = []
    mine: list[Bundle] = []
    broken: list[tuple[str, SourceBroken]] = []
    own = product_uuid()
    for device in devices:
        try:
            bundle = open_device(device)
            bundles.append(bundle)
            if own and identify(bundle) == own:
                mine.append(bundle)
        except SourceBroken as error:
            broken.append((device, error))
    if broken and not mine:
        raise broken[0][1]
    chosen = _only_one(mine or bundles, read)
    for device, problem in broken:
        reason = f"{problem}; not used, because {chosen.label} has the machine's UUID"
        problems.warn(Origin(f"config drive {device}", "", ""), reason)
    for bundle in bundles:
        if bundle is not chosen:
            reason = f"also has the label of a config drive; not used, because {chosen.label} is"
            problems.warn(Origin(bundle.label, "", ""), reason)
            bundle.close()
    return chosen


def _only_one(bundles: list[Bundle], read: Read) -> Bundle:
    """Return the first of several drives, if all of them say the same: one may have two devices.

    Raises WrongSource, SourceBroken.
    """
    first, *others = bundles
    if others:
        read(first)
    for other in others:
        read(other)
        if other.seen != first.seen:
            both = f"{first.label} and {other.label}"
            raise WrongSource(f"{_DIFFER}: {both}; {_DIFFER_DO}")
    return first
