"""Whether the file system of / can have more of its disk: read from sysfs, no program started."""

from __future__ import annotations

import os

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

_SECTOR = 512
# What growpart(1) leaves at a disk's end, for the second GPT and for alignment.
_SLACK = 2 << 20
_TENTH = 10  # ext4 keeps up to this part of a small file system for itself


def room(root: Root) -> int:
    """The size in MiB of the disk of /, if it has room that / does not use; else 0.

    The room may lie behind its partition, or in that and not in the file system.  A file system
    that is smaller than its device by less than a tenth counts as whole.
    """
    device = os.stat("/").st_dev
    where = f"{defs.BLOCK_NUMBERS_DIR}/{os.major(device)}:{os.minor(device)}"
    size = _number(root, f"{where}/size")
    if not size:
        return 0  # no block device, or one of several
    disk = _number(root, f"{where}/../size") if _number(root, f"{where}/start") else size
    found = os.statvfs("/")
    whole = found.f_blocks * found.f_frsize >= size - size // _TENTH
    return 0 if whole and _room_behind(root, where, size) <= _SLACK else disk >> 20


def _room_behind(root: Root, where: str, size: int) -> int:
    """Bytes between a partition's end and that of the disk; 0 if another lies there."""
    start = _number(root, f"{where}/start")
    disk = _number(root, f"{where}/../size")
    if not start or not disk:
        return 0
    others = (
        _number(root, f"{where}/../{name}/start")
        for name in root.listdir(f"{where}/..")
        if root.exists(f"{where}/../{name}/partition")
    )
    return 0 if any(other > start for other in others) else disk - start - size


def _number(root: Root, path: str) -> int:
    """A number of sectors, as bytes; 0 where there is none."""
    text = root.text(path).strip()
    return int(text) * _SECTOR if text.isdecimal() else 0
