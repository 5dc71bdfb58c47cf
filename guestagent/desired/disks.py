"""Disks: ``growpart``, ``resize_rootfs``, ``mounts``, ``swap``.

Lines of fstab(5) stand in a block of guestagent's own; what has to happen at once is done by
scripts, with the tools of util-linux and of the file system: early, but for file systems of the
network, which need it and often a package.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problem
from guestagent.parse import fields
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

# A guest without the disk boots all the same.
_DEFAULTS = ("", "", "auto", "defaults,nofail", "0", "2")
_WORD = frozenset('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-,+:=/@%~"')
_UNITS = {"B": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_LONG_UNITS = ("KB", "MB", "GB", "TB")
_SWAP_FILE = "/swap.img"
_REPLACED = "is of no effect: another item mounts at the same place after it"
_NO_MAPPING = "names a disk of a block device mapping, which no source of guestagent tells"
# Documentation has such options in its default fields; systemd would not mount at the next boot.
_OF_CLOUD_INIT = "waits for a unit of cloud-init, which there is not: this option is left out"
_REMOTE = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.ceph", "fuse.glusterfs")
)
_API_TREES = ("/dev/", "/proc/", "/run/", "/sys/")


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """Growing, lines of /etc/fstab, and the scripts that mount and swap at once."""
    problems: list[Problem] = []
    resources: list[Resource] = []
    growth = data.setting("growpart"), data.setting("resize_rootfs")
    if any(growth) or (facts.room != 0 and settings.disk_grow):
        from guestagent.desired.grow import step

        resources += step(*growth, facts.room, problems)
    lines: list[str] = []
    why: Origin | None = None
    mounts, swap = data.setting("mounts"), data.setting("swap")
    if mounts is not None:
        why = mounts.at()
        lines = _lines(mounts, data.setting("mount_default_fields"), facts, problems)
        local = [line for line in lines if not _remote(line)]
        resources += _mount_step(local, "early", 40, "mounts", why)
        remote = [line for line in lines if _remote(line)]
        resources += _mount_step(remote, "late", 20, "mounts-network", why)
    if swap is not None:
        made = _swap(swap, problems)
        if made is not None:
            why = why or swap.at()
            lines.append(made[0])
            resources.append(made[1])
    if lines and why is not None:
        block = Block("block", defs.FSTAB, tuple(lines), "block", "root", 0o644, why)
        resources.insert(0, block)
    return resources, problems


def _lines(
    mounts: Setting, defaults: Setting | None, facts: Facts, problems: list[Problem]
) -> list[str]:
    """The lines of fstab(5) for the rows that are sound."""
    fallback = _defaults(defaults, problems)
    taken = _present(facts.texts.get(defs.FSTAB, ""))
    lines: dict[str, str] = {}
    numbers: dict[str, int] = {}
    for number, row in enumerate(mounts.value):
        try:
            line = _row(row, fallback)
            if line is None:
                continue  # it would take a mount away, and guestagent adds none
            if len(row) > 3 and row[3] and row[3] != _kept(row[3]):
                _tell_once(mounts.at(number), problems)
            point = line.split()[1]
            if point in taken and point != "none":
                raise FieldError(f"is in {defs.FSTAB} already, which stays as it is")
            place = line.split()[0] if point == "none" else point
            if place in lines:
                problems.append(Problem("warning", *mounts.at(numbers[place]), _REPLACED))
            lines[place], numbers[place] = line, number
        except FieldError as error:
            problems.append(Problem("error", *mounts.at(number), str(error)))
    return list(lines.values())


def _present(text: str) -> set[str]:
    """The mount points of the lines that are not guestagent's."""
    from guestagent.plan.kinds.block import owned

    mine = owned(text.encode(), "block").decode()
    rows = (line.split() for line in text.replace(mine, "").splitlines())
    return {row[1] for row in rows if len(row) > 1 and not row[0].startswith("#")}


def _defaults(setting: Setting | None, problems: list[Problem]) -> tuple[str, ...]:
    if setting is None:
        return _DEFAULTS
    given = zip(setting.value, _DEFAULTS, strict=True)  # cloud-init's examples write None
    fallback = tuple(str(default if value in (None, "None") else value) for value, default in given)
    if fallback[3] != _kept(fallback[3]):
        _tell_once(setting.at(), problems)
    try:
        _checked_fields(("none", "none", *fallback[2:]))
    except FieldError as error:
        problems.append(Problem("error", *setting.at(), str(error)))
        return _DEFAULTS
    return fallback


def _row(row: list[str | None], fallback: tuple[str, ...]) -> str | None:
    """One line; None for a row that only names a disk.  Raises FieldError."""
    full = [*row, *[None] * (6 - len(row))]
    if full[1] is None:
        return None
    values = [
        str(default if value is None else value)
        for value, default in zip(full, fallback, strict=True)
    ]
    values[0] = _device(values[0])
    values[3] = _kept(values[3])
    if values[2] == "swap":
        values[1] = "none"
    named = values[0].startswith("//") or ":/" in values[0].lstrip("/")
    if (values[2] in _REMOTE or named) and "_netdev" not in values[3].split(","):
        values[3] += ",_netdev"
    return " ".join(_checked_fields(tuple(values)))


def _remote(line: str) -> bool:
    """True for a line of a file system that needs the network."""
    return "_netdev" in line.split()[3].split(",")


def _kept(options: str) -> str:
    """The options, but for those that order a mount by a unit of cloud-init; systemd.mount(5)."""
    parts = [option.partition("=") for option in options.split(",")]
    kept = [
        "".join(part)
        for part in parts
        if not (part[0].startswith("x-systemd.") and part[2].startswith("cloud-"))
    ]
    return ",".join(kept) if kept or not options else "defaults"


def _tell_once(why: Origin, problems: list[Problem]) -> None:
    if not any(problem.reason == _OF_CLOUD_INIT for problem in problems):
        problems.append(Problem("warning", *why, _OF_CLOUD_INIT))


def _device(name: str) -> str:
    """What fstab(5) calls a device that cloud-config may give by its short name."""
    if name.startswith("/") or "=" in name or ":" in name or "/" in name:
        return name
    if name.startswith(("ephemeral", "ebs", "ami", "root")) or name == "swap":
        raise FieldError(_NO_MAPPING)
    if name.startswith(("sd", "vd", "xvd", "hd", "nvme", "mmcblk", "md", "dm-", "loop")):
        return f"/dev/{name}"
    return name  # tmpfs, proc…


def _checked_fields(values: tuple[str, ...]) -> tuple[str, ...]:
    """The six fields in the writing of fstab(5).  Raises FieldError."""
    device, point, kind, options, dump, order = values
    if point != "none":
        point = _mount_point(point)
    for name, text in (("type", kind), ("options", options)):
        if not text or not _WORD.issuperset(text):
            raise FieldError(f"its {name} must be one word of fstab(5)")
    if not all(text.isascii() and text.isdigit() and len(text) < 3 for text in (dump, order)):
        raise FieldError("its last two fields must be small numbers")
    if not device or device.startswith("#"):
        raise FieldError("its device must be one of fstab(5)")
    return (_escaped(device), _escaped(point), kind, options, dump, order)


def _mount_point(text: str) -> str:
    """An absolute path without ``..``, normalised; /dev/shm and the like, too."""
    fields.plain(text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not text.startswith("/") or ".." in parts:
        raise FieldError("its mount point must begin with / and be without ..")
    return "/" + "/".join(parts)


def _escaped(text: str) -> str:
    """A field of fstab(5): white space and backslashes as octal numbers."""
    fields.plain(text)
    return text.replace("\\", "\\134").replace(" ", "\\040")


def _mount_step(
    lines: list[str], stage: Literal["early", "late"], order: int, name: str, why: Origin
) -> list[Script]:
    """Mounts at once what the lines name, as the next boot does by itself."""
    from guestagent.desired.shell import quoted

    if not lines:
        return []
    script = ["#!/bin/sh", "failed=0", "systemctl daemon-reload"]
    for line in lines:
        device, point, kind, options, *_ = (
            field.replace("\\040", " ").replace("\\134", "\\") for field in line.split()
        )
        if "noauto" in options.split(","):
            continue
        if kind == "swap":
            script.append(f"swapon -- {quoted(device)} || failed=1")
            continue
        place = quoted(point)
        script.append(f"mkdir -p {place}")
        mount = f"mount {place}"
        if point.startswith(_API_TREES):  # systemd has mounted some of it already, its own way
            mount = f"mount -o remount {place} 2>/dev/null || {mount}"
            script.append(f"{mount} || failed=1")
        else:
            script.append(f"mountpoint -q {place} || {mount} || failed=1")
    text = "\n".join([*script, "exit $failed", ""])
    return [Script("script", stage, order, "instance", name, text.encode(), why)]


def _bytes(value: int | str) -> int:
    """A size in bytes.  Raises FieldError."""
    text = str(value).strip().upper()
    if text[-2:] in _LONG_UNITS:
        text = text[:-1]
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "B")
    whole, _, part = number.partition(".")
    digits = f"{whole}{part}"
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise FieldError("must be a size, as 512M or 2G")
    return int((int(digits) << _UNITS[unit]) // 10 ** len(part))


def _swap(swap: Setting, problems: list[Problem]) -> tuple[str, Script] | None:
    """The line and the script of a swap file; None where none is asked for or it is unsound."""
    from guestagent.desired.shell import quoted

    value, key = swap.value, "filename"
    try:
        path = fields.guest_path(value.get("filename") or _SWAP_FILE)
        line = " ".join(_checked_fields((path, "none", "swap", "sw,nofail", "0", "0")))
        key = "size"
        size = value.get("size", 0)
        wanted = "auto" if size == "auto" else str(_bytes(size))
        key = "maxsize"
        most = _bytes(value.get("maxsize") or 0)
    except FieldError as error:
        problems.append(Problem("error", *swap.at(key), str(error)))
        return None
    if wanted == "0":
        return None
    head = f"#!/bin/sh\nfile={quoted(path)}\nsize={wanted}\nmost={most}\n"
    content = (head + _SWAP_SCRIPT).encode()
    return line, Script("script", "early", 50, "instance", "swap", content, swap.at())


# "auto": as much as there is memory, but 4 GiB from 4 GiB of memory on; at most a quarter of what
# is free on the disk.  The file gets its name only when it is whole.
_SWAP_SCRIPT = """\
set -eu
umask 077
[ ! -e "$file" ] || { echo "$file is there already; left alone"; exit 0; }
folder=${file%/*}/
mkdir -p "$folder"
free=$(($(df --output=avail -k "$folder" | tail -n 1) * 1024))
if [ "$size" = auto ]; then
    size=$(($(sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) * 1024))
    [ "$size" -le 4294967296 ] || size=4294967296
    [ "$size" -le $((free / 4)) ] || size=$((free / 4))
    [ "$most" -eq 0 ] || [ "$size" -le "$most" ] || size=$most
fi
[ "$size" -lt "$free" ] || { echo "the disk has no room for $size bytes of swap" >&2; exit 1; }
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
