"""Find the config drive of this machine.

The first way that is certain is taken: udev's by-label link, udev's database, and waiting: for a
drive where there is evidence that one will come, and for udev where it has not seen to all devices.
"""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.errors import NoPermission, Origin, SourceBroken, WrongSource
from guestagent.record import NamedTuple
from guestagent.system.machine import dmi, has_udev, product_uuid, read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guestagent.errors import Problems
    from guestagent.sources.bundle import Bundle

    Identify = Callable[[Bundle], str | None]
    Read = Callable[[Bundle], object]

_PAUSE = 0.1  # seconds
_UNREAD = (
    "has the label {label}, and a file system of the type {kind}, which is not read; nothing of it "
    "is applied: make it as {kinds}, or give it another label if it is no config drive"
)
_CDROM_NAME = "sr"  # how the name of a block device begins that is a CD-ROM drive
_CDROM = "5"  # the peripheral device type of CD and DVD drives in SCSI
_DIFFER = "two config drives differ, and the machine's UUID does not tell which one is its own"
_DIFFER_DO = "not applied; detach one, or name one on the kernel command line: guestagent.source="
# Block devices that never are a drive of the hypervisor.
_LOOP = "loop"
_VIRTUAL = (_LOOP, "ram", "zram", "dm-", "md")


class Drive(NamedTuple):
    """A block device with the label of a drive.

    ``rank`` is the place of the label among those looked for.  ``is_read``: its file system is one
    that is read with this label.
    """

    rank: int
    device: str
    is_read: bool = True


class Search(NamedTuple):
    """What a search starts from: ``wait`` is how many seconds it may wait for a drive.

    ``expected`` says that the instance configured last had a drive, or that the settings or the
    kernel command line say that one will come.  ``keeps`` tells whether this is that instance,
    which keeps what its drive said, and nothing else expects one.  ``has_service`` tells whether a
    metadata service or a seed is used if there is no drive.  ``labels`` are those looked for, in
    small letters, the one that is preferred first.  ``idle`` tells how many seconds udev must be
    idle where a boot can do without a drive: ``UDEV_IDLE``; ``UDEV_BRIEFLY_IDLE`` where a drive is
    looked for again by ``came_late``; none where it is enough that udev has seen to the block
    devices that are there.
    """

    wait: float
    expected: bool
    has_service: Callable[[], bool] = lambda: False
    labels: tuple[str, ...] = defs.LABELS
    idle: Callable[[], float] = lambda: defs.UDEV_IDLE
    keeps: Callable[[], bool] = lambda: False


def find_drive(search: Search, identify: Identify, read: Read, problems: Problems) -> Bundle | None:
    """Find the config drive and open it; return None if there is none.

    If there are several, ``identify`` returns the instance ID of one, and ``read`` has a bundle
    read all that a run would.  Devices with a label and a file system that is not read are named in
    warnings.  Raises SourceBroken, NoPermission, WrongSource.
    """
    drives = _find_drives(search, problems)
    if not drives:
        return None
    if len(drives) == 1:
        from guestagent.sources.path import open_device

        return open_device(drives[0].device)
    return _choose(drives, search.labels, identify, read, problems=problems)


def rank(label: str, labels: tuple[str, ...]) -> int | None:
    """Return the place of a label among those looked for, in whatever case; None if it is none."""
    small = label.lower()
    return labels.index(small) if small in labels else None


def is_read(label: str, file_system: str) -> bool:
    """Tell whether a drive with a label, in whatever case, is read if it has this file system."""
    return file_system in defs.DRIVE_FILE_SYSTEMS.get(label.lower(), ())


def is_loop(device: str) -> bool:
    """Tell whether a device is a file by losetup(8), and so no drive of the hypervisor.

    In some systems whoever sits at the console may make one (udisks2).
    """
    return os.path.basename(device).startswith(_LOOP)


def linked_drives(labels: tuple[str, ...]) -> list[Drive]:
    """Return the drives that udev's links name for the labels."""
    return [drive for drive in _links(labels) if drive.is_read and not is_loop(drive.device)]


def _links(labels: tuple[str, ...]) -> list[Drive]:
    """Return the devices that udev's links name for the labels."""
    try:
        names = os.listdir(defs.BY_LABEL_DIR)
    except OSError:
        return []
    found = set()
    for name in names:
        place = rank(name, labels)
        if place is not None:
            device = os.path.realpath(f"{defs.BY_LABEL_DIR}/{name}")
            if os.path.exists(device):
                found.add(Drive(place, device, _is_read(name, device)))
    return sorted(found)


def _find_drives(search: Search, problems: Problems) -> list[Drive]:
    """Return the drives with a label, preferred ones first, by the cheapest way that is certain."""
    if not search.labels:
        return []
    named = _links(search.labels)
    linked = [drive for drive in named if drive.is_read and not is_loop(drive.device)]
    # Where several devices claim a link, udev gives it to one, not always the same; and one that it
    # has still to see to may be another drive, or this machine's own.
    if len(linked) == 1 and _has_one_claim(search.labels) and not _is_udev_behind():
        return linked
    # A link that another device has may hide one that is read.
    if not named and not _is_expected(search) and not _is_udev_behind():
        return []
    # Only now: on most boots none of that is needed.
    from guestagent.sources.udev import wait_for_drives

    if _lacks_cdrom_driver():
        _load_cdrom_driver()
    drives = wait_for_drives(search.labels, _patience(search)) or linked
    if _links(search.labels):
        _warn_of_unread(search.labels, problems, used=drives)
    return drives


def _is_read(label: str, device: str) -> bool:
    """Tell whether a device with a label has a file system that is read.

    One that cannot be read may be the drive.
    """
    from guestagent.sources.path import marked_file_system

    try:
        return is_read(label, marked_file_system(device))
    except (NoPermission, SourceBroken):
        return True


def _warn_of_unread(
    labels: tuple[str, ...], problems: Problems, used: Sequence[Drive] = ()
) -> None:
    """Warn of each device with a label that is passed over because of its file system.

    Raises OSError.
    """
    from guestagent.sources.path import EXT
    from guestagent.sources.udev import list_unread

    known = [drive.device for drive in used]
    for device in list_unread(labels):
        if device.node not in known:
            label, kind = device.label.lower(), device.file_system or "unknown"
            kinds = "ISO 9660, VFAT or ext4" if is_read(label, EXT) else "ISO 9660 or VFAT"
            reason = _UNREAD.format(label=label, kind=kind, kinds=kinds)
            problems.warn(Origin(f"config drive {device.node}", "", ""), reason)


def _has_one_claim(labels: tuple[str, ...]) -> bool:
    """Tell whether udev knows only one device that claims a link by one of the labels.

    Its directory of links has a folder for each link, with an entry for each claim.
    """
    endings = tuple(f"by-label\\x2f{label}" for label in labels)
    claims = 0
    try:
        for name in os.listdir(defs.UDEV_LINKS_DIR):
            if name.lower().endswith(endings):
                claims += len(os.listdir(f"{defs.UDEV_LINKS_DIR}/{name}"))
    except OSError:
        return False
    return claims == 1


def _is_expected(search: Search) -> bool:
    """Tell whether there is evidence of a drive: ``search`` expects one, or DMI says OpenStack."""
    if search.expected or dmi("product_name") in defs.OPENSTACK_PRODUCTS:
        return True
    return dmi("chassis_asset_tag") in defs.OPENSTACK_ASSET_TAGS


def _is_udev_behind() -> bool:
    """Tell whether udev has not seen yet to a device that may be the drive.

    That is a block device, or a CD-ROM drive, which is none until udev has loaded its driver.
    """
    if not has_udev():
        return False
    if not all(os.path.exists(entry) for _, entry in _udev_entries()):
        return True
    # Where udev is idle, what is missing never comes.
    return os.path.exists(defs.UDEV_QUEUE) and (_is_medium_unknown() or _lacks_cdrom_driver())


def _is_medium_unknown() -> bool:
    """Tell whether udev has not seen yet to what is in a CD-ROM drive.

    The kernel reports a medium when udev first opens the drive: udev sees to that a second time,
    and only then to the file system.  In an initial RAM disk it may have seen to the drive alone.
    """
    for name, path in _udev_entries():
        if name.startswith(_CDROM_NAME):
            entry = read_text(path)
            if "E:ID_CDROM=1" not in entry:
                return True
            if "E:ID_CDROM_MEDIA=1" in entry and "E:ID_FS_TYPE=" not in entry:
                return True
    return False


def _udev_entries() -> Iterator[tuple[str, str]]:
    """Yield each block device that may be a drive, and where udev's database has its entry.

    One that the kernel hides, such as a path of several to an NVMe disk, has no number, and never
    has an entry.
    """
    try:
        names = os.listdir(defs.BLOCK_DIR)
    except OSError:
        return
    for name in names:
        if not name.startswith(_VIRTUAL):
            number = read_text(f"{defs.BLOCK_DIR}/{name}/dev")
            if number:
                yield name, f"{defs.UDEV_DATA_DIR}/b{number}"


def _patience_with_udev() -> float:
    """Return how many seconds to wait in all for udev: none where it is not behind."""
    if not _is_udev_behind():
        return 0.0
    return defs.UDEV_BUSY_WAIT if os.path.exists(defs.UDEV_QUEUE) else defs.UDEV_WAIT


def _patience(search: Search) -> Callable[[list[Drive]], float]:
    """Return a function that tells how many seconds to wait in all, by the drives that are known.

    A drive that is known ends the wait, but for those that udev has still to see to: which one is
    used must not depend on which one comes first.
    """
    without_any = _patience_without_any(search)

    def seconds(drives: list[Drive]) -> float:
        if drives:
            return _patience_with_udev()
        return without_any()

    return seconds


def _patience_without_any(search: Search) -> Callable[[], float]:
    """Return a function that tells how many seconds to wait in all while no drive is known."""
    if not _is_expected(search):
        return _patience_with_udev
    can_do_without = search.keeps() if search.expected else search.has_service()
    if not can_do_without:
        return lambda: search.wait
    # A service can be asked instead, or the machine stays as it is: a seed on a CD is often taken
    # away when it has done its work.  So it is enough that udev has been idle for a while: as a
    # rule it knows every drive by then (docs/boot.md).
    idle = search.idle()
    if not idle:
        return _patience_with_udev
    from guestagent.sources.controllers import is_usb_looking

    looks_again = idle == defs.UDEV_BRIEFLY_IDLE
    start = last_busy = time.monotonic()

    def until_idle() -> float:
        nonlocal last_busy
        if looks_again and _is_all_known():
            return 0.0
        if is_udev_busy():
            last_busy = time.monotonic()
        # A device on USB is looked at for a second, in which udev is idle.
        needed = defs.UDEV_IDLE if is_usb_looking() else idle
        return min(search.wait, last_busy - start + needed)

    return until_idle


def _is_all_known() -> bool:
    """Tell whether each controller has found what drives it has, and udev has seen to them."""
    from guestagent.sources.controllers import have_all_looked

    # First the controllers: what they have found by then is there for udev to see to.
    return have_all_looked() and not (_is_udev_behind() or _is_medium_unknown())


def came_late(labels: tuple[str, ...], since: float, *, same_instance: bool = False) -> bool:
    """Tell whether a drive has come since the search ended without one.

    ``since`` is when that was, in seconds of the monotonic clock.  This waits until udev has been
    idle for ``UDEV_IDLE`` since then, as a search does after which nobody looks again, but for
    ``UDEV_WAIT`` at most.  ``same_instance``: what is believed if none has come is about the
    instance that a drive would be for.  Then it is enough that udev is idle and all drives are
    known.  Raises OSError.
    """
    from guestagent.sources.udev import list_drives
    from guestagent.system.udev_monitor import Database

    database = Database()
    end, last_busy = time.monotonic() + defs.UDEV_WAIT, since
    while not list_drives(database, labels):
        now = time.monotonic()
        if is_udev_busy():
            last_busy = now
        elif same_instance and _is_all_known():
            return bool(list_drives(database, labels))  # one may have come since the look before
        if now >= min(last_busy + defs.UDEV_IDLE, end):
            return False
        time.sleep(_PAUSE)
    return True


def is_udev_busy() -> bool:
    """Tell whether udev is at work, or has not seen to a device that may be the drive."""
    return os.path.exists(defs.UDEV_QUEUE) or _is_udev_behind()


def _lacks_cdrom_driver() -> bool:
    """Tell whether a CD-ROM drive has no driver yet."""
    try:
        devices = os.listdir(defs.SCSI_DEVICES)
    except OSError:
        return False
    places = [f"{defs.SCSI_DEVICES}/{device}" for device in devices]
    drives = [place for place in places if read_text(f"{place}/type") == _CDROM]
    return not all(os.path.exists(f"{place}/driver") for place in drives)


def _load_cdrom_driver() -> None:
    """Have systemd load the driver sr_mod."""
    from guestagent.system.tools import find_program, run

    systemctl = find_program("systemctl")
    if systemctl:
        run([systemctl, "--no-block", "start", "modprobe@sr_mod.service"])


def _choose(
    drives: list[Drive],
    labels: tuple[str, ...],
    identify: Identify,
    read: Read,
    *,
    problems: Problems,
) -> Bundle:
    """Return the drive of this machine, and name the others in warnings.

    The one with the machine's UUID is it, in whatever state the others are.  Where the UUID tells
    none apart, the preferred label does, and all that have it must say the same.  Raises
    WrongSource if they do not, and SourceBroken if one that may be the machine's own cannot be
    read.
    """
    from guestagent.sources.path import open_device

    opened: list[tuple[Drive, Bundle]] = []
    mine: list[tuple[Drive, Bundle]] = []
    broken: list[tuple[Drive, SourceBroken]] = []
    own = product_uuid()
    for drive in drives:
        try:
            bundle = open_device(drive.device)
            opened.append((drive, bundle))
            if own and identify(bundle) == own:
                mine.append((drive, bundle))
        except SourceBroken as error:
            broken.append((drive, error))
    if broken and not mine:
        raise broken[0][1]
    candidates = mine or opened
    best = candidates[0][0].rank
    equals = [bundle for drive, bundle in candidates if drive.rank == best]
    chosen = _only_one(equals, read)
    why = "has the machine's UUID" if mine else f"has the label {labels[best]}, which comes first"
    for drive, problem in broken:
        reason = f"{problem}; not used, because {chosen.label} has the machine's UUID"
        problems.warn(Origin(f"config drive {drive.device}", "", ""), reason)
    for drive, bundle in opened:
        if bundle is not chosen:
            because = "says the same" if bundle in equals else why
            reason = (
                f"has the label {labels[drive.rank]}; not used, because {chosen.label} {because}"
            )
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
