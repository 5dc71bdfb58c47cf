"""Keys of partitions, file systems, mounts and swap, and the form of their values after check().

=====================  ==============================================================
growpart               {"mode": "auto" | "growpart" | "gpart" | "off", "devices": list of str,
                       "ignore_growroot_disabled": bool}
resize_rootfs          True | False | "noblock"
mounts                 list of rows: 1 to 6 of str | None
mount_default_fields   6 of str | None
swap                   {"filename": str, "size": int | str, "maxsize": int | str}
=====================  ==============================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, ListOf, Mapping
from guestagent.parse.userdata.scalars import FLAG_WORDS, Choice, Integer, String, flag
from guestagent.parse.userdata.shape import Field

_FSTAB_FIELD = String(numbers=True)
_SIZE = AnyOf(Integer(least=0, text=False), String())

_GROWPART = Mapping(
    {
        "mode": Field(
            Choice("auto", "growpart", "gpart", "off", old=((False, "off"),)),
            "The tool that grows partitions; off leaves them alone.  Default: auto.",
        ),
        "devices": Field(
            ListOf(String(), single=True),
            "Mount points or devices that grow.  Default: the root.",
        ),
        "ignore_growroot_disabled": Field(flag(), "Grow even if the image says not to."),
    },
    example="{mode: auto}",
)

_SWAP = Mapping(
    {
        "filename": Field(String(), "The swap file."),
        "size": Field(_SIZE, "Bytes; or a number with B, K, M, G or T; or auto."),
        "maxsize": Field(_SIZE, "The most that auto may take."),
    },
    example="{filename: /swap, size: 1G}",
)

KEYS = {
    "growpart": Field(_GROWPART, "How partitions grow to the size of their disk."),
    "resize_rootfs": Field(
        Choice(True, False, "noblock", old=FLAG_WORDS),
        "Grow the file system of the root; noblock does it in the background.  Default: true.",
    ),
    "mounts": Field(
        ListOf(ListOf(_FSTAB_FIELD, whole=True, nulls="keep", length=(1, 6))),
        "Lines of fstab(5), as lists of their fields.",
    ),
    "mount_default_fields": Field(
        ListOf(_FSTAB_FIELD, whole=True, nulls="keep", length=(6, 6)),
        "Fields for lines of mounts that have less than six.",
    ),
    "swap": Field(_SWAP, "A swap file."),
}
