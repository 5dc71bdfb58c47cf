"""Open the source at a path: a directory, an image file or a block device."""

from __future__ import annotations

import os
from stat import S_ISBLK, S_ISDIR, S_ISREG

from guestagent.errors import NoPermission, SourceBroken, UsageError
from guestagent.sources.bundle import DRIVE, Bundle
from guestagent.sources.directory import Directory, open_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.sources.ext import Ext

EXT = "ext4"
_SECTOR = 2048


def open_path(path: str) -> Bundle:
    """Open a directory, an image file or a block device as a source.

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
    kind = file_system(path)
    if kind == EXT:
        return Bundle(path, _open_ext(path))
    from guestagent.sources.image import Image

    return Bundle(path, Image(path, kind))


def _open_ext(path: str) -> Ext:
    from guestagent.sources.ext import Ext

    return Ext(path)


def open_device(device: str) -> Bundle:
    """Open a block device where it is mounted already, else mount it for this process alone.

    One with ext4 is read without that.  For a caller who may read the device but not mount it, it
    is read like an image.  Raises SourceBroken, NoPermission.
    """
    from guestagent.sources.mount import mount, mounted_at

    label = f"{DRIVE}{device}"
    try:
        # Where it is mounted read-write, the kernel refuses to mount it read-only a second time.
        point = mounted_at(device)
        if point is not None:
            bundle = Bundle(label, open_directory(point))
        elif (kind := file_system(device)) == EXT:
            bundle = Bundle(label, _open_ext(device))
        else:
            bundle = Bundle(label, Directory(mount(device, kind), device))
    except NoPermission:
        bundle = _open_image(device)
    except OSError as error:
        raise SourceBroken(f"{device}: {error.strerror}") from None
    bundle.kind = "drive"
    return bundle


def file_system(path: str) -> str:
    """Return the file system type of a device or image.

    Raises SourceBroken for another type and for a device that cannot be read, NoPermission.
    """
    kind = marked_file_system(path)
    if not kind:
        raise SourceBroken(f"{path}: holds neither an ISO 9660 nor a VFAT nor an ext4 file system")
    return kind


def marked_file_system(path: str) -> str:
    """Return "iso9660", "vfat" or "ext4" for a device or image marked as such, else an empty text.

    The marks are those of ECMA-119, of Microsoft's FAT specification, and of ext2, ext3 and ext4,
    which are one for this purpose.  Raises SourceBroken, NoPermission.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            # FAT's boot sector, ext4's superblock; ECMA-119 leaves the first 16 sectors free.
            boot = file.read(_SECTOR)
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
    return EXT if boot[1080:1082] == b"\x53\xef" else ""
