"""Keys of partitions, file systems, mounts and swap, and the form of their values after check().

=====================  ==============================================================
growpart               {"mode": "auto" | "growpart" | "gpart" | "off", "devices": list of str,
                       "ignore_growroot_disabled": bool}
resize_rootfs          True | False | "noblock"
mounts                 list of rows: 1 to 6 of str | None
mount_default_fields   6 of str | None
device_aliases         {name: path of a device}
disk_setup             {name: {"table_type": "mbr" | "gpt", "layout": bool | "auto" | "remove" |
                       list of percent | [percent, type], "overwrite": bool}}
fs_setup               list of {"device": str, "filesystem": str, "partition": int | str,
                       "label": str, "overwrite": bool, "replace_fs": str,
                       "extra_opts": str | list of str, "cmd": str | list of str}
swap                   {"filename": str, "size": int | str, "maxsize": int | str}
=====================  ==============================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, ListOf, MapOf, Mapping
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

_PERCENT = AnyOf(Integer(least=1, text=False), String())
# Size and type of a partition.
_PART = AnyOf(Integer(least=0, text=False), String())
_DISK = Mapping(
    {
        "table_type": Field(
            Choice("mbr", "gpt", old=(("dos", "mbr"),)), "The kind of the table.  Default: mbr."
        ),
        "layout": Field(
            AnyOf(
                Choice(True, False, "auto", "remove", old=FLAG_WORDS),
                ListOf(
                    AnyOf(ListOf(_PART, whole=True, length=(2, 2)), _PERCENT),
                    whole=True,
                ),
            ),
            "One partition (true); their sizes in percent, or lists of size and type; remove.",
        ),
        "overwrite": Field(flag(), "Replace what the disk holds.  Default: false."),
    },
    example="{table_type: gpt, layout: true}",
)

_FILE_SYSTEM = Mapping(
    {
        "device": Field(
            String(), "A disk, a partition or an alias; alias.1 is a partition.", required=True
        ),
        "filesystem": Field(String(), "Its type.  Default: ext4."),
        "partition": Field(
            AnyOf(Integer(least=1, text=False), String()),
            "Number of the partition; auto and any look for the file system; none: the disk.",
        ),
        "label": Field(String(numbers=True), "Its label.", null=True),
        "overwrite": Field(flag(), "Replace what the device holds.  Default: false."),
        "replace_fs": Field(String(), "A type of file system that may be replaced."),
        "extra_opts": Field(AnyOf(ListOf(String(numbers=True)), String()), "Options of mkfs."),
        "cmd": Field(
            AnyOf(ListOf(String(numbers=True), whole=True), String()),
            "A command in place of mkfs, with %(device)s, %(label)s and %(filesystem)s in it.",
        ),
    },
    example="{device: /dev/vdb, filesystem: ext4, label: data}",
)

KEYS = {
    "device_aliases": Field(MapOf(String()), "Names for devices, by their paths."),
    "disk_setup": Field(MapOf(_DISK), "Partition tables, by the names of the disks."),
    "fs_setup": Field(ListOf(_FILE_SYSTEM), "File systems to make."),
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
