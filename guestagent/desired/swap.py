"""``swap``: a swap file."""

from __future__ import annotations

from guestagent.desired.fstab import NO_MOUNT_POINT, Entry
from guestagent.desired.shell_quoting import quote
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Setting
    from guestagent.plan.wanted import Wanted

_DEFAULT_FILE = "/swap.img"
_UNITS = {"B": 0, "K": 10, "M": 20, "G": 30, "T": 40}  # as powers of 2
_LONG_UNITS = ("KB", "MB", "GB", "TB")
_MOST_DIGITS = 15


def plan_swap(setting: Setting, wanted: Wanted) -> Entry | None:
    """Plan a script that makes the swap file, and return the file's line of fstab(5).

    Return None if no swap is asked for, or a field is wrong.
    """
    value = setting.value
    path = wanted.take(
        setting.at("filename"), fields.guest_path, value.get("filename") or _DEFAULT_FILE
    )
    if path is None:
        return None
    size = wanted.take(setting.at("size"), _read_size, value.get("size", 0))
    if size is None:
        return None
    most = wanted.take(setting.at("maxsize"), _read_bytes, value.get("maxsize") or 0)
    if most is None or size == "0":
        return None
    content = _SCRIPT.format(file=quote(path), size=size, most=most).encode()
    wanted.want(
        Script("script", "early", 50, "instance", name="swap", content=content, why=setting.at())
    )
    # With nofail, a guest whose swap file is missing boots all the same.
    return Entry(path, NO_MOUNT_POINT, "swap", options="sw,nofail", dump="0", check_order="0")


def _read_size(value: int | str) -> str:
    """Return "auto", or a size in bytes.  Raise FieldError for anything else."""
    if value == "auto":
        return "auto"
    return str(_read_bytes(value))


def _read_bytes(value: int | str) -> int:
    """Return a size in bytes from a number with a unit or without, such as 512M, 1.5 GB or 1024.

    Raise FieldError for anything else.
    """
    number = str(value).strip().upper()
    if number.endswith(_LONG_UNITS):
        number = number[:-1]
    unit = "B"
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1]
    whole, _, fraction = number.partition(".")
    digits = whole + fraction
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise FieldError("must be a size, such as 512M or 2G")
    scale: int = 10 ** len(fraction)
    return (int(digits) << _UNITS[unit]) // scale


# "auto" is as much swap as there is memory, at most 4 GiB, a quarter of the free space of the disk,
# and ``maxsize``.
_SCRIPT = """\
#!/bin/sh
file={file}
size={size}
most={most}
set -eu
umask 077
[ ! -e "$file" ] || {{ echo "$file exists; left as it is"; exit 0; }}
folder=${{file%/*}}/
mkdir -p "$folder"
free=$(($(df --output=avail -k "$folder" | tail -n 1) * 1024))
if [ "$size" = auto ]; then
    size=$(($(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) * 1024))
    [ "$size" -le 4294967296 ] || size=4294967296
    [ "$size" -le $((free / 4)) ] || size=$((free / 4))
    [ "$most" -eq 0 ] || [ "$size" -le "$most" ] || size=$most
fi
[ "$size" -lt "$free" ] || {{ echo "the disk has no room for $size bytes of swap" >&2; exit 1; }}
# The file gets its name only when it is whole.
new=$folder.guestagent.swap
rm -f "$new"
trap 'rm -f "$new"' EXIT
: >"$new"
chattr +C "$new" 2>/dev/null || :  # btrfs swaps only to files without copy-on-write
fallocate -l "$size" "$new" 2>/dev/null ||
    dd if=/dev/zero of="$new" bs=1M count=$((size / 1048576)) status=none
mkswap "$new"
mv "$new" "$file"
swapon "$file"
"""
