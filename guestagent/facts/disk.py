"""Find out from sysfs whether the file system of / can grow on its disk; starts no program."""

from __future__ import annotations

import os

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

_SECTOR = 512
# What growpart(1) leaves at a disk's end, for the second GPT and for alignment.
_SLACK = 2 << 20
# ext4 keeps up to a tenth of a small file system for itself.
_TENTH = 10


def room(root: Root) -> int:
    """Return the size in MiB of the disk of /, if the disk has room that / does not use; else 0.

    The room may be behind the partition of /, or in that partition and not in the file system.
    A file system that is smaller than its device by less than a tenth counts as whole.
    """
    device = os.stat("/").st_dev
    where = f"{defs.BLOCK_NUMBERS_DIR}/{os.major(device)}:{os.minor(device)}"
    size = _number(root, f"{where}/size")
    if not size:
        return 0  # / is on no block device, or on several
    found = os.statvfs("/")
    is_whole = found.f_blocks * found.f_frsize >= size - size // _TENTH
    if is_whole and _room_behind(root, where, size) <= _SLACK:
        return 0
    is_partition = _number(root, f"{where}/start") != 0
    disk = _number(root, f"{where}/../size") if is_partition else size
    return disk >> 20


def _room_behind(root: Root, where: str, size: int) -> int:
    """Return the bytes between a partition's end and that of the disk; 0 before another one."""
    start = _number(root, f"{where}/start")
    disk = _number(root, f"{where}/../size")
    if not start or not disk:
        return 0
    for name in root.listdir(f"{where}/.."):
        other = f"{where}/../{name}"
        if root.exists(f"{other}/partition") and _number(root, f"{other}/start") > start:
            return 0
    return disk - start - size


def _number(root: Root, path: str) -> int:
    """Return a number of sectors in bytes; 0 where there is none."""
    text = root.text(path).strip()
    return int(text) * _SECTOR if text.isdecimal() and len(text) < 20 else 0
