"""Names of disks in cloud-config, and the paths of devices that they mean.

A name is one of ``device_aliases``, one of the source's block device mapping ("ephemeral0"), a
path, or a kernel name such as vdb; ``NAME.2`` is its second partition.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask

_MAPPED_NAMES = ("ephemeral", "ebs", "ami", "root")
_NO_MAPPING = "names a disk that no block device mapping of the source has"
_KERNEL_NAMES = ("sd", "vd", "xvd", "hd", "nvme", "mmcblk", "md", "dm-", "loop")


def find_alias(name: str, ask: Ask) -> str | None:
    """Return the device that the name of an alias means; None if there is no such alias."""
    aliases = ask.data.setting("device_aliases")
    return aliases.value.get(name) if aliases else None


def is_disk(name: str) -> bool:
    """Tell whether a name is one of a disk, whether there is such a disk or not."""
    is_mapped = name.startswith(_MAPPED_NAMES) or name == "swap"
    return is_mapped or name.startswith(("/dev/", *_KERNEL_NAMES))


def device_path(name: str, ask: Ask) -> str:
    """Return the path of a disk.  Raise FieldError if the name means none."""
    path = find_alias(name, ask) or name
    if path.startswith(_MAPPED_NAMES) or path == "swap":
        path = _mapped_path(path, ask)
    if path.startswith(_KERNEL_NAMES):
        path = f"/dev/{path}"
    if not path.startswith("/dev/") or ".." in path.split("/"):
        raise FieldError("must be a path below /dev, a kernel name such as vdb, or an alias")
    return fields.plain(path)


def _mapped_path(name: str, ask: Ask) -> str:
    """Return the disk of a block device mapping.  Raise FieldError if the source names none."""
    full_name = f"{name}0" if name == "ephemeral" else name
    for known, path in ask.data.disks:
        if known == full_name:
            return path.value
    raise FieldError(_NO_MAPPING)


def split_partition(name: str) -> tuple[str, int | None]:
    """Return the name of a disk, and the number of the partition if the name has one."""
    disk, dot, number = name.rpartition(".")
    if dot and disk and number.isascii() and number.isdigit() and 0 < int(number[:4]) <= 128:
        return disk, int(number)
    return name, None


def partition_path(disk: str, number: int) -> str:
    """Return the path of a partition, as the kernel and udev name it."""
    if disk.startswith("/dev/disk/"):
        return f"{disk}-part{number}"
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"
