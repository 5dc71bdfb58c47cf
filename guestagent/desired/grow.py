"""Growing: partitions to their disks' ends, and the root's file system to its device's."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problem
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Setting

_DEFAULT = Origin("settings", defs.SETTINGS_FILE, "disk.grow")


def step(
    growpart: Setting | None, resize: Setting | None, room: int | None, problems: list[Problem]
) -> list[Script]:
    """The script that grows: at each boot where user data ask for it, else once for each size.

    ``room`` is that size, of the disk of /, in MiB; None or 0 if it is not known.  growpart(1)
    is used where it is, else sfdisk(8); resize2fs(8), xfs_growfs(8), btrfs(8).
    """
    from guestagent.desired.shell import quoted

    value = growpart.value if growpart else {}
    resized = resize.value if resize else True
    places = []
    for number, place in enumerate(value.get("devices", ["/"])):
        try:
            places.append(place if place == "/" else fields.plain(_absolute(place)))
        except FieldError as error:
            assert growpart is not None
            problems.append(Problem("error", *growpart.at("devices", number), str(error)))
    if value.get("mode") == "gpart":
        assert growpart is not None
        reason = "gpart is FreeBSD's; growpart or sfdisk is used"
        problems.append(Problem("warning", *growpart.at("mode"), reason))
    if value.get("mode") == "off":
        places = []
    if not places and not resized:
        return []
    lines = [f"partition {quoted(place)}" for place in places]
    if not value.get("ignore_growroot_disabled") and lines:
        lines.insert(0, f"[ ! -e {defs.GROWROOT_DISABLED} ] || exit 0")
    if resized:
        lines.append("file_system" if resized is True else "file_system &")
    given = growpart or resize
    lines.insert(0, f"wanted={int(given is not None)}")
    text = _SCRIPT + "\n".join([*lines, "exit $failed", ""])
    why = given.at() if given else _DEFAULT
    if given:
        return [Script("script", "early", 30, "boot", "grow", text.encode(), why)]
    return [Script("script", "early", 30, "instance", f"grow-{room or 0}", text.encode(), why)]


def _absolute(text: str) -> str:
    if not text.startswith("/"):
        raise FieldError("must be a mount point or a device, with its full path")
    return text


_SCRIPT = """\
#!/bin/sh
failed=0

# An image without the program is in order, unless user data want it.
have() {
    command -v "$1" >/dev/null && return
    echo "$1 is not installed"
    [ $wanted -eq 0 ] || failed=1
    return 1
}

# The partition of a mount point or a device gets the room behind it.
partition() {
    device=$1
    [ -b "$device" ] || device=$(findmnt -nvo SOURCE "$1") || { failed=1; return; }
    name=$(basename "$(readlink -f "$device")")
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

file_system() {
    device=$(findmnt -nvo SOURCE /)
    case $(findmnt -no FSTYPE /) in
    ext[234]) set -- resize2fs "$device" ;;
    xfs) set -- xfs_growfs / ;;
    btrfs) set -- btrfs filesystem resize max / ;;
    *) echo "the file system of / is of a kind that is not grown"; return ;;
    esac
    have "$1" || return
    "$@" || failed=1
}

"""
