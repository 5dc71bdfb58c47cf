"""``disk_setup``, ``fs_setup`` and ``device_aliases``: partition tables and file systems.

A script makes them, before file systems are mounted: once per instance, and the rest of it after an
interruption.  cloud-init's documentation ("Disk Setup") says what the fields mean.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.devices import device_path, partition_path, split_partition
from guestagent.desired.shell_quoting import quote, quote_command
from guestagent.errors import FieldError
from guestagent.plan.commands import Command, join
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

_MBR, _GPT = "dos", "gpt"  # as sfdisk(8) calls them
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
# Codes of MBR that people give for GPT too, and of sgdisk(8), whose last two digits are 00.
_GPT_TYPES = {
    "83": _LINUX,
    "82": _SWAP,
    "8E": "E6D6D379-F507-44C2-A23C-238F2A3DF928",
    "FD": "A19D880F-05FC-4D3B-A006-743F0F84911E",
    "EF": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
}
_HEX = frozenset("0123456789ABCDEFabcdef")
_MOST_PARTITIONS = {_MBR: 4, _GPT: 128}
# Command, and its options for a label and an ID, by which a later run knows what this one made.
_MAKERS = {
    "ext2": ("mkfs.ext2 -q -F", "-L", '-U "$id"'),
    "ext3": ("mkfs.ext3 -q -F", "-L", '-U "$id"'),
    "ext4": ("mkfs.ext4 -q -F", "-L", '-U "$id"'),
    "xfs": ("mkfs.xfs -q -f", "-L", '-m "uuid=$id"'),
    "btrfs": ("mkfs.btrfs -q -f", "-L", '-U "$id"'),
    "vfat": ("mkfs.vfat -I", "-n", '-i "$(echo "$id" | cut -c 1-8)"'),
    "swap": ("mkswap -f", "-L", '-U "$id"'),
}


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan a script that makes what the keys ask for, tables first."""
    tables, systems = ask.data.setting("disk_setup"), ask.data.setting("fs_setup")
    steps: list[Command] = []
    if tables:
        for name, value in tables.value.items():
            try:
                line = _table_call(device_path(name, ask), value, len(steps))
            except FieldError as error:
                wanted.error(tables.at(name), str(error))
                continue
            if line:
                steps.append(_step(line, tables, name))
    if systems:
        for index, value in enumerate(systems.value):
            try:
                line = _format_call(value, ask, len(steps))
            except FieldError as error:
                wanted.error(systems.at(index), str(error))
                continue
            steps.append(_step(line, systems, index))
    source = tables or systems
    if not steps or source is None:
        return
    place = _place(source)
    content = join([Command(_SCRIPT, place, 0), *steps, Command("exit $failed", place, 0)])
    # "resumed": its steps are noted, and what is noted as done is not done again.
    wanted.want(
        Script("script", "early", 35, "resumed", name="disks", content=content, why=source.at())
    )


def _step(text: str, setting: Setting, entry: str | int) -> Command:
    """Return a command that fails where a device is left alone, which is a warning at its place."""
    line, _ = setting.marks.get((entry,), (0, 0))
    return Command(f"left=0\n{text}\n[ $left -eq 0 ]", _place(setting, entry), line)


def _place(setting: Setting, *path: str | int) -> str:
    origin = setting.at(*path)
    return f"{origin.document}: {origin.key}"


def makes_partitions(value: dict[str, Any]) -> bool:
    """Tell whether an entry of ``disk_setup`` asks for partitions."""
    return value.get("layout", False) not in (False, "remove", [])


def _table_call(disk: str, value: dict[str, Any], step: int) -> str:
    """Return the line for one disk, empty if nothing is asked.  Raise FieldError."""
    layout = value.get("layout", False)
    label = _GPT if value.get("table_type") == "gpt" else _MBR
    consent = "overwrite" if value.get("overwrite") else "keep"
    words = ["table", str(step), disk, consent, label]
    if layout == "remove":
        return quote_command([*words[:4], "remove"])
    if layout in (False, []):
        return ""
    parts = [100] if layout in (True, "auto") else layout
    if len(parts) > _MOST_PARTITIONS[label]:
        raise FieldError(f"has more than {_MOST_PARTITIONS[label]} partitions")
    total = 0
    for number, part in enumerate(parts, 1):
        size, code = part if isinstance(part, list) else (part, "83")
        percent = _percent(size)
        total += percent
        if total > 100:
            raise FieldError("its partitions are more than 100 percent of the disk")
        # As with cloud-init, the last one takes all that is left.
        words.append(f"{percent if number < len(parts) else 'rest'}:{_type(str(code), label)}")
    return quote_command(words)


def _percent(size: object) -> int:
    text = str(size)
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 0 < int(text) <= 100):
        raise FieldError("the size of a partition must be a percentage, from 1 to 100")
    return int(text)


def _type(code: str, label: str) -> str:
    """Return the type of a partition as sfdisk(8) reads it.  Raise FieldError for others."""
    text = code.upper()
    is_hex = bool(text) and _HEX.issuperset(text)
    if label == _MBR and is_hex and len(text) <= 2:
        return text
    if label == _GPT and is_hex:
        short = text[:2] if len(text) == 4 and text.endswith("00") else text
        if short in _GPT_TYPES:
            return _GPT_TYPES[short]
    digits = text.replace("-", "")
    if label == _GPT and text.count("-") == 4 and len(digits) == 32 and _HEX.issuperset(digits):
        return text
    known = "a GUID, or 82, 83, 8e, ef or fd" if label == _GPT else "two hexadecimal digits"
    raise FieldError(f"the type of a partition must be {known}")


def _format_call(value: dict[str, Any], ask: Ask, step: int) -> str:
    """Return the lines that make one file system.  Raise FieldError."""
    name, number = split_partition(value["device"])
    device = device_path(name, ask)
    given = str(value.get("partition", number or "none"))
    where = "whole"
    if given.isascii() and given.isdigit() and 0 < int(given) <= 128:
        device = partition_path(device, int(given))
    elif given in ("auto", "any"):
        where = given
    elif given != "none":
        raise FieldError("partition must be a number, auto, any or none")
    kind, label = value.get("filesystem", "ext4"), str(value.get("label") or "")
    consent = "overwrite" if value.get("overwrite") else f"keep:{value.get('replace_fs') or ''}"
    made = _make_command(value, kind, label)
    call = quote_command(["format", str(step), device, where, consent, kind, label])
    return f"make() {{\n    {made}\n}}\n{call}"


def _make_command(value: dict[str, Any], kind: str, label: str) -> str:
    """Return the command that makes a file system on ``$device``.  Raise FieldError."""
    extra = value.get("extra_opts") or []
    options = quote_command(extra.split() if isinstance(extra, str) else extra)
    command = value.get("cmd")
    if command:
        words = command.split() if isinstance(command, str) else command
        values = {"%(filesystem)s": kind, "%(label)s": label}
        quoted = []
        for word in words:
            for name, text in values.items():
                word = word.replace(name, text)
            parts = word.split("%(device)s")
            quoted.append('"$device"'.join(quote(part) if part else "" for part in parts) or "''")
        return " ".join(quoted)
    if kind not in _MAKERS:
        raise FieldError(f"its filesystem must be one of {', '.join(_MAKERS)}, or give cmd")
    program, label_option, id_option = _MAKERS[kind]
    words = [program, id_option, f"{label_option} {quote(label)}" if label else "", options]
    return " ".join(word for word in (*words, '"$device"') if word)


# wipefs(8) lists all that libblkid knows of, also where blkid(8) cannot decide.
_SCRIPT = f"""\
failed=0
notes={defs.STATE_DIR}/disks

fail() {{
    echo "$device: $*" >&2
    failed=1
}}

# Note durably how far a step is. A line that was cut off ends at the next one's start.
note() {{
    printf '\\n%s\\n' "$INSTANCE_ID $step $*" >>"$notes" && sync "$notes"
}}

# What was noted last of a step in this instance: "begun ID SIGNATURES" or "done".
noted() {{
    state= id= before=
    [ -e "$notes" ] || return 0
    while read -r instance number a b c; do
        [ "$instance $number" = "$INSTANCE_ID $step" ] || continue
        state=$a id=$b before=$c
    done <"$notes"
}}

# All signatures on a device, one a line: tables, file systems, LVM, RAID, LUKS, swap.
signatures() {{
    wipefs --no-act --noheadings --output TYPE,OFFSET,UUID,LABEL "$device"
}}

fingerprint() {{
    printf %s "$found" | cksum | tr ' ' -
}}

# Look at a device: what is on it is in $found. Fails if it cannot be used, whatever is asked for.
look() {{
    tries=0
    while [ ! -b "$device" ] && [ $tries -lt 10 ]; do sleep 1; tries=$((tries + 1)); done
    [ -b "$device" ] || {{ fail "there is no such device"; return 1; }}
    used=$(lsblk -nro MOUNTPOINT "$device" | grep .) && {{ fail "is in use at" $used; return 1; }}
    # A volume or an array above it; the first line is the device itself.
    used=$(lsblk -nro NAME,TYPE "$device" | sed 1d | grep -v ' part$') &&
        {{ fail "is in use by" $used; return 1; }}
    found=$(signatures) || {{ fail "cannot be read"; return 1; }}
}}

# Tell whether the device may be written to: it is empty, or overwriting is asked for. In a step
# that was interrupted, only where there is nothing else than there was at its beginning.
may_write() {{
    [ -n "$found" ] || return 0
    kinds=$(echo "$found" | sed 's/ .*//' | tr '\\n' ' ')
    if [ "$state" = begun ] && [ "$before" != "$(fingerprint)" ]; then
        fail "this step was interrupted, and the device holds: $kinds- left as it is;" \\
            "look at it, and empty it with wipefs -a to have it made by hand"
        return 1
    fi
    [ "$1" != overwrite ] || return 0
    echo "$device: holds: $kinds- left as it is, as overwrite is not true" >&2
    left=1
    return 1
}}

begin() {{
    [ "$state" = begun ] || id=$(cat /proc/sys/kernel/random/uuid)
    note begun "$id" "$(fingerprint)" || {{ fail "cannot note what begins"; return 1; }}
}}

# table STEP DISK keep|overwrite dos|gpt|remove [PERCENT:TYPE...]
table() {{
    step=$1 device=$2 consent=$3 label=$4
    shift 4
    noted
    [ "$state" != done ] || return 0
    look || return 0
    if [ "$label" = remove ]; then
        [ -n "$found" ] || return 0
        may_write "$consent" || return 0
        begin && wipefs -q -a "$device" && note done || failed=1
        return 0
    fi
    has=$(blkid -p -s PTTYPE -o value "$device")
    count=$(sfdisk --dump "$device" 2>/dev/null | grep -c ' start=')
    if [ "$has" = "$label" ] && [ "$count" = $# ]; then
        if [ "$consent" = keep ] || [ "$(table_id)" = "$(short_id)" ]; then
            echo "$device: has such a table already; it is used as it is"
            note done
            return 0
        fi
    fi
    may_write "$consent" && begin || return 0
    # What an empty disk has where a partition begins may be a file system whose table was lost.
    [ "$consent" = overwrite ] && wipe=always || wipe=never
    size=$(($(blockdev --getsize64 "$device") / 1048576 - 2))
    {{
        echo "label: $label"
        echo "label-id: $(short_id)"
        for part; do
            percent=${{part%%:*}}
            [ "$percent" = rest ] || printf 'size=%dMiB, ' $((size * percent / 100))
            echo "type=${{part#*:}}"
        done
    }} | sfdisk -q --wipe always --wipe-partitions $wipe "$device" ||
        {{ fail "sfdisk failed"; return 0; }}
    settle
    note done
}}

table_id() {{
    sfdisk --disk-id "$device" | tr A-F a-f
}}

short_id() {{
    [ "$label" = dos ] && echo "0x$(echo "$id" | cut -c 1-8)" || echo "$id"
}}

settle() {{
    sync
    command -v udevadm >/dev/null && udevadm settle --timeout 10
}}

# format STEP DEVICE whole|auto|any keep[:TYPE]|overwrite TYPE LABEL; make() makes it on $device
format() {{
    step=$1 device=$2 where=$3 consent=$4 kind=$5 label=$6
    noted
    [ "$state" != done ] || return 0
    if [ "$where" != whole ]; then
        choose || return 0
    fi
    look || return 0
    has=$(blkid -p -s TYPE -o value "$device")
    if [ "$state" = begun ] && [ "$has" = "$kind" ] && is_ours; then
        if check; then
            note done
        else
            fail "the file system was being made when the system went down, and is not whole;" \\
                "left as it is: empty it with wipefs -a to make it by hand"
        fi
        return 0
    fi
    if [ "$consent" != overwrite ] && [ "$has" = "$kind" ] &&
        {{ [ "$where" = any ] || [ "$(blkid -p -s LABEL -o value "$device")" = "$label" ]; }}; then
        echo "$device: has such a file system already; it is used as it is"
        note done
        return 0
    fi
    [ -z "$has" ] || [ "$consent" != "keep:$has" ] || consent=overwrite
    may_write "$consent" && begin || return 0
    [ -z "$found" ] || wipefs -q -a "$device"
    make || {{ fail "the file system could not be made"; return 0; }}
    settle
    note done
}}

is_ours() {{
    ours=$(blkid -p -s UUID -o value "$device" | tr A-F a-f | tr -d -)
    case $kind in
    vfat) [ "$ours" = "$(echo "$id" | cut -c 1-8)" ] ;;
    *) [ "$ours" = "$(echo "$id" | tr -d -)" ] ;;
    esac
}}

# Tell whether a file system is whole; nothing is repaired.
check() {{
    case $kind in
    ext[234]) e2fsck -fn "$device" >/dev/null ;;
    xfs) xfs_repair -n "$device" >/dev/null 2>&1 ;;
    btrfs) btrfs check "$device" >/dev/null 2>&1 ;;
    vfat) fsck.vfat -n "$device" >/dev/null ;;
    swap) ;;
    *) false ;;
    esac
}}

# Set $device to the partition, or disk without partitions, that has the file system or is empty.
choose() {{
    disk=$device empty=
    [ -b "$disk" ] || {{ fail "there is no such device"; return 1; }}
    parts=$(lsblk -nrpo NAME,TYPE "$disk" | sed -n 's/ part$//p')
    for device in ${{parts:-$disk}}; do
        if [ "$(blkid -p -s TYPE -o value "$device")" = "$kind" ]; then
            [ "$where" = auto ] && [ "$(blkid -p -s LABEL -o value "$device")" != "$label" ] ||
                return 0
        fi
        [ -n "$empty" ] || [ -n "$(signatures)" ] || empty=$device
    done
    device=${{empty:-$disk}}
}}

"""
