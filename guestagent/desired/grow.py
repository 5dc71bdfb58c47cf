"""``growpart`` and ``resize_rootfs``: use all of a disk that is larger than the image.

Partitions grow to the end of their disks, and the file system of / to the end of its device.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.shell_quoting import quote
from guestagent.errors import FieldError, Origin
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

_DEFAULT = Origin("settings", defs.SETTINGS_FILE, "disk.grow")


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan a script that grows partitions and the file system of /.

    It runs at each boot where user data ask for it, else once for each size of the disk.
    """
    growpart = ask.data.setting("growpart")
    resize = ask.data.setting("resize_rootfs")
    asked = growpart or resize
    # The size of the disk in MiB; 0 if nothing can grow, None for an offline tree.
    room = ask.facts.room
    if asked is None and (room == 0 or not ask.settings.disk_grow):
        return
    partitions = _partition_calls(growpart, wanted)
    file_system = _file_system_calls(resize)
    if not partitions and not file_system:
        return
    flags = f"wanted={int(asked is not None)} volumes={int(ask.settings.disk_grow_volumes)}"
    lines = [flags, *partitions, *file_system, "exit $failed"]
    content = (_SCRIPT + "\n".join(lines) + "\n").encode()
    if asked is not None:
        why = asked.at()
        script = Script("script", "early", 30, "boot", name="grow", content=content, why=why)
    else:
        name = f"grow-{room or 0}"
        script = Script("script", "early", 30, "instance", name=name, content=content, why=_DEFAULT)
    wanted.want(script)


def _partition_calls(growpart: Setting | None, wanted: Wanted) -> list[str]:
    """Return the lines that grow partitions: that of / unless others are given."""
    options: dict[str, Any] = growpart.value if growpart else {}
    places = ["/"]
    if growpart and "devices" in options:
        places = wanted.take_each(growpart, "devices", _check_place)
    if growpart and options.get("mode") == "gpart":
        wanted.warn(growpart.at("mode"), "gpart is a tool of FreeBSD; growpart or sfdisk is used")
    if not places or options.get("mode") == "off":
        return []
    calls = [f"partition {quote(place)}" for place in places]
    if not options.get("ignore_growroot_disabled"):
        calls.insert(0, f"[ ! -e {defs.GROWROOT_DISABLED} ] || exit 0")
    return calls


def _file_system_calls(resize: Setting | None) -> list[str]:
    """Return the line that grows the file system of /, which "noblock" does not wait for."""
    if resize is None or resize.value is True:
        return ["file_system"]
    if resize.value == "noblock":
        return ["file_system &"]
    return []


def _check_place(text: str) -> str:
    """Return the path of a mount point or a device.  Raise FieldError if it is not a full path."""
    if not text.startswith("/"):
        raise FieldError("must be a mount point or a device, with its full path")
    return fields.plain(text)


# A logical volume grows by setting only: who left room in its volume group may have plans for it.
# growpart(1) is used where it is installed, else sfdisk(8); resize2fs(8), xfs_growfs(8), btrfs(8).
_SCRIPT = """\
#!/bin/sh
failed=0

# A missing tool is an error only if user data ask to grow.
have() {
    command -v "$1" >/dev/null && return
    echo "$1 is not installed"
    [ $wanted -eq 0 ] || failed=1
    return 1
}

# Give the partition of a mount point or a device the free space behind it.
partition() {
    device=$1
    [ -b "$device" ] || device=$(findmnt -nvo SOURCE "$1") || { failed=1; return; }
    grow_device "$device"
}

# Give a partition the free space behind it, also the one below a volume.
grow_device() {
    name=$(basename "$(readlink -f "$1")")
    case $name in
    dm-*) grow_below "$name" "$1"; return ;;
    esac
    [ -e "/sys/class/block/$name/partition" ] || return 0
    number=$(cat "/sys/class/block/$name/partition")
    disk=/dev/$(basename "$(dirname "$(readlink -f "/sys/class/block/$name")")")
    if command -v growpart >/dev/null; then
        growpart "$disk" "$number"
        [ $? -le 1 ] || failed=1  # 1: nothing to grow
    elif have sfdisk; then
        echo ', +' | sfdisk --quiet --no-reread --no-tell-kernel -N "$number" "$disk" &&
            partx --update --nr "$number" "$disk" || failed=1
    fi
}

# grow_below NAME DEVICE: what is below LVM or LUKS grows, and what does not is said.
grow_below() {
    uuid=$(cat "/sys/class/block/$1/dm/uuid")
    count=$(ls "/sys/class/block/$1/slaves" | wc -l)
    if [ "$count" -ne 1 ]; then
        echo "$2 is on $count devices; nothing of it grows: use lvextend"
        return
    fi
    case $uuid in
    LVM-*)
        grow_device "/dev/$(ls "/sys/class/block/$1/slaves")"
        below=/dev/$(ls "/sys/class/block/$1/slaves")
        have pvresize || return
        pvresize "$below" || { failed=1; return; }
        if [ $volumes -eq 0 ]; then
            echo "$2 does not grow, its volume group has: use lvextend -r -l +100%FREE $2," \
                "or the setting disk.grow_volumes"
        elif [ "$(lvs --noheadings -o vg_free_count "$2" | tr -d ' ')" != 0 ]; then
            lvextend -l +100%FREE "$2" || failed=1
        fi
        ;;
    CRYPT-*)
        grow_device "/dev/$(ls "/sys/class/block/$1/slaves")"
        echo "$2 does not grow, only the partition below it has: use cryptsetup resize," \
            "which may ask for the key"
        ;;
    *) echo "$2 is a device of a kind that cannot grow" ;;
    esac
}

# Grow the file system of / to the size of its device.
file_system() {
    device=$(findmnt -nvo SOURCE /)
    case $(findmnt -no FSTYPE /) in
    ext[234]) set -- resize2fs "$device" ;;
    xfs) set -- xfs_growfs / ;;
    btrfs) set -- btrfs filesystem resize max / ;;
    *) echo "the file system of / is of a kind that cannot grow"; return ;;
    esac
    have "$1" || return
    "$@" || failed=1
}

"""
