"""The one ordered policy of finding a source.

First that applies: a path that was given, config drives by udev's by-label link, by udev's
database, and, where there is evidence that one will come, by waiting.
"""

from __future__ import annotations

import os
import time
from stat import S_ISBLK, S_ISDIR, S_ISREG

from guestagent import defs
from guestagent.errors import NoPermission, Problem, SourceBroken, UsageError
from guestagent.record import NamedTuple
from guestagent.sources.bundle import Bundle
from guestagent.sources.directory import Directory, open_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Identify = Callable[[Bundle], str | None]

_SECTOR = 2048


class Search(NamedTuple):
    """What a search starts from: a path given by hand or "", seconds to wait for a drive.

    ``known`` is the instance configured last, ``expected`` says that it had a drive.  ``other``
    tells whether a metadata service will be asked if there is none.
    """

    path: str
    wait: float
    known: str | None
    expected: bool
    other: Callable[[], bool] = lambda: False


def find(search: Search, identify: Identify) -> tuple[Bundle | None, list[Problem]]:
    """Open the source; None where there is none.

    Raises SourceBroken, NoPermission, and UsageError for a path that is not a source.
    """
    if search.path:
        return open_path(search.path), []
    devices = _devices(search)
    if not devices:
        return None, []
    if len(devices) == 1:
        return open_device(devices[0]), []
    return _choose(devices, search, identify)


def switched_off() -> str:
    """Why guestagent shall do nothing at boot; empty where it shall work."""
    if defs.OFF_ARGUMENT in read_text(defs.KERNEL_COMMAND_LINE).split():
        return f"the kernel command line says {defs.OFF_ARGUMENT}"
    return f"{defs.OFF_SWITCH} is there" if os.path.exists(defs.OFF_SWITCH) else ""


def machine_id() -> str:
    """The uuid the hypervisor gave the machine, in small letters; empty where none is told."""
    return read_text(f"{defs.DMI_DIR}/product_uuid").lower()


def read_text(path: str) -> str:
    """A small file of the kernel, stripped; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(defs.PATH_LIMIT).strip()
    except OSError:
        return ""


def from_command_line() -> str:
    """The source that the kernel command line names; empty where it names none."""
    words = read_text(defs.KERNEL_COMMAND_LINE).split()
    found = [word for word in words if word.startswith(defs.SOURCE_ARGUMENT)]
    return found[-1].removeprefix(defs.SOURCE_ARGUMENT) if found else ""


def open_path(path: str) -> Bundle:
    """A directory, an image file or a block device as a source.

    Raises UsageError for anything else, SourceBroken, NoPermission.
    """
    try:
        mode = os.stat(path).st_mode
        if S_ISDIR(mode):
            return Bundle(path, open_directory(path))
    except OSError as error:
        raise UsageError(f"source {path}: {error.strerror}") from None
    if S_ISBLK(mode):
        return open_device(path)
    if S_ISREG(mode):
        return _open_image(path)
    raise UsageError(f"source {path}: neither a directory nor an image nor a block device")


def _open_image(path: str) -> Bundle:
    from guestagent.sources.image import Image

    return Bundle(path, Image(path, file_system(path)))


def open_device(device: str) -> Bundle:
    """A block device, read where it is mounted already, or mounted for this process alone.

    A caller who may read the device but not mount it reads it like an image.
    """
    from guestagent.sources.mount import mount, mounted_at

    label = f"config drive {device}"
    try:
        point = mounted_at(device)
        if point is not None:
            return Bundle(label, open_directory(point))
        kind = file_system(device)
        return Bundle(label, Directory(mount(device, kind)))
    except NoPermission:
        return _open_image(device)
    except OSError as error:
        raise SourceBroken(f"{device}: {error.strerror}") from None


def file_system(path: str) -> str:
    """The file system type, by the marks of ECMA-119 and of Microsoft's FAT specification.

    Raises SourceBroken for another type and for a device that cannot be read.
    """
    kind = _marked(path)
    if not kind:
        raise SourceBroken(f"{path}: holds neither an ISO 9660 nor a VFAT file system")
    return kind


def _marked(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            boot = file.read(512)
            file.seek(16 * _SECTOR)
            volume = file.read(_SECTOR)
    except PermissionError:
        raise NoPermission(f"{path}: no permission to read it") from None
    except OSError as error:
        raise SourceBroken(f"{path}: {error.strerror}") from None
    if volume[1:6] == b"CD001":
        return "iso9660"
    if boot[510:512] == b"\x55\xaa" and b"FAT" in (boot[54:57], boot[82:85]):
        return "vfat"
    return ""


def _foreign(device: str) -> bool:
    """True where a device holds another file system; one that cannot be read may be the drive."""
    try:
        return not _marked(device)
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
    product = read_text(f"{defs.DMI_DIR}/product_name")
    tag = read_text(f"{defs.DMI_DIR}/chassis_asset_tag")
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
    wanted = [name for name in (machine_id(), search.known) if name in ids and name]
    number = ids.index(wanted[0]) if wanted else 0
    chosen = bundles.pop(number)
    problems = []
    for bundle in bundles:
        reason = f"has the label of a config drive too; {chosen.label} is used"
        problems.append(Problem("warning", bundle.label, "", "", reason))
        bundle.close()
    return chosen, problems
