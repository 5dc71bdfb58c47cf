"""``mounts``, ``mount_default_fields`` and ``swap``: lines of fstab(5), and what they name at once.

The lines are a block of guestagent's own.  Scripts mount what they name, as the next boot does by
itself: early, except for file systems of the network, which need it and often a package.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired import fstab
from guestagent.desired.devices import (
    device_path,
    find_alias,
    is_disk,
    partition_path,
    split_partition,
)
from guestagent.desired.disks import makes_partitions
from guestagent.desired.fstab import NO_MOUNT_POINT, Entry
from guestagent.desired.shell_quoting import quote
from guestagent.desired.swap import plan_swap
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Origin
    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

    Row = list[str | None]

# With nofail, a guest whose disk is missing boots all the same.
_DEFAULTS = Entry("", "", "auto", "defaults,nofail", "0", "2")
_WORD = frozenset('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-,+:=/@%~"')
_NETWORK_KINDS = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.ceph", "fuse.glusterfs")
)
# systemd mounts these trees itself, with options of its own.
_API_TREES = ("/dev/", "/proc/", "/run/", "/sys/")
_EPHEMERAL_PLACE = "/mnt"
_REPLACED = "has no effect: a later item has the same mount point"
_TAKEN = f"is in {defs.FSTAB} already; the line there stays as it is"
_CLOUD_INIT_OPTION = (
    "has an option that waits for a unit of cloud-init, which does not run here: it is left out"
)


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the lines of fstab(5), and the scripts that mount and swap at once."""
    mounts = ask.data.setting("mounts")
    swap = ask.data.setting("swap")
    entries: list[Entry] = []
    why = mounts.at() if mounts else None
    if mounts is not None:
        entries = _read_rows(mounts, ask, wanted)
    if ask.data.disks:
        entries += _flavor_entries(ask, entries)
        why = why or ask.data.disks[0][1].origin
    if why is not None:
        _plan_scripts(entries, why, wanted)
    if swap is not None:
        swap_entry = plan_swap(swap, wanted)
        if swap_entry is not None:
            entries.append(swap_entry)
    why = why or (swap.at() if swap else None)
    if entries and why is not None:
        lines = tuple(entry.text() for entry in entries)
        wanted.want(
            Block("block", defs.FSTAB, lines, style="block", user="root", mode=0o644, why=why)
        )


def _flavor_entries(ask: Ask, given: list[Entry]) -> list[Entry]:
    """Return what cloud-init mounts by default: ``ephemeral0`` at /mnt, and the swap disk.

    A row of ``mounts`` with the disk, also one without a mount point, is in place of it, and so is
    a line of the image for /mnt.
    """
    mounts = ask.data.setting("mounts")
    named = {row[0] for row in mounts.value} if mounts else set()
    named |= {"ephemeral0"} if "ephemeral" in named else set()
    devices = {entry.device for entry in given}
    places = {entry.mount_point for entry in given}
    places |= fstab.foreign_mount_points(ask.facts.texts.get(defs.FSTAB, ""))
    found = []
    for name, path in ask.data.disks:
        device = _full_device(name, ask)
        names = {name, path.value, path.value.removeprefix("/dev/")}
        if names & named or {device, path.value} & devices:
            continue
        if name == "swap":
            found.append(Entry(device, NO_MOUNT_POINT, "swap", "sw,nofail", "0", "0"))
        elif name == "ephemeral0" and _EPHEMERAL_PLACE not in places:
            found.append(_DEFAULTS._replace(device=device, mount_point=_EPHEMERAL_PLACE))
    return found


def _read_rows(mounts: Setting, ask: Ask, wanted: Wanted) -> list[Entry]:
    """Return the entries of the rows that can be used."""
    defaults = _read_defaults(ask.data.setting("mount_default_fields"), wanted)
    taken = fstab.foreign_mount_points(ask.facts.texts.get(defs.FSTAB, ""))
    entries: dict[str, Entry] = {}
    origins: dict[str, Origin] = {}
    for index, row in enumerate(mounts.value):
        why = mounts.at(index)
        try:
            entry = _read_row(row, defaults, ask)
        except FieldError as error:
            wanted.error(why, str(error))
            continue
        if entry is None:
            continue
        if len(row) > 3 and row[3]:
            _warn_of_cloud_init(row[3], why, wanted)
        place = entry.mount_point
        if place == NO_MOUNT_POINT:
            # The device of a swap space is what may not be there twice.
            place = entry.device
        elif fstab.escape(place) in taken:
            wanted.error(why, _TAKEN)
            continue
        if place in entries:
            wanted.warn(origins[place], _REPLACED)
        entries[place] = entry
        origins[place] = why
    return list(entries.values())


def _read_defaults(setting: Setting | None, wanted: Wanted) -> Entry:
    """Return the values for fields that a row does not give."""
    if setting is None:
        return _DEFAULTS
    values = []
    for given, default in zip(setting.value, _DEFAULTS, strict=True):
        # cloud-init's examples write None, which is a text in YAML.
        values.append(str(default if given in (None, "None") else given))
    defaults = Entry(*values)
    _warn_of_cloud_init(defaults.options, setting.at(), wanted)
    try:
        # A row has its own device and mount point.
        _check(defaults._replace(device="none", mount_point=NO_MOUNT_POINT))
    except FieldError as error:
        wanted.error(setting.at(), str(error))
        return _DEFAULTS
    return defaults


def _read_row(row: Row, defaults: Entry, ask: Ask) -> Entry | None:
    """Return the entry of a row.  Raise FieldError if a field cannot be in fstab(5).

    Return None for a row without a mount point.  In cloud-init it takes a mount of its own away;
    guestagent adds none.
    """
    padded = [*row, *[None] * (6 - len(row))]
    if padded[1] is None:
        return None
    values = []
    for given, default in zip(padded, defaults, strict=True):
        values.append(str(default if given is None else given))
    entry = Entry(*values)
    device = _full_device(entry.device, ask)
    options = _without_cloud_init(entry.options)
    entry = entry._replace(device=device, options=options)
    if entry.kind == "swap":
        entry = entry._replace(mount_point=NO_MOUNT_POINT)
    if _needs_network(entry) and not entry.has_option("_netdev"):
        entry = entry._replace(options=f"{options},_netdev")
    return _check(entry)


def _full_device(name: str, ask: Ask) -> str:
    """Return the name in fstab(5) of a device that cloud-config may give by another name.

    A disk on which ``disk_setup`` makes partitions means the first of them.  Raise FieldError for
    the names of a block device mapping.
    """
    disk, number = split_partition(name)
    is_alias = find_alias(disk, ask) is not None
    # What is left is of the network, UUID=…, an image file, or tmpfs, proc…
    if not is_alias and ("=" in name or ":" in name or not is_disk(disk)):
        return name
    path = device_path(disk, ask)
    if number is not None:
        return partition_path(path, number)
    tables = ask.data.setting("disk_setup")
    for disk_name, value in (tables.value if tables else {}).items():
        try:
            is_same = device_path(disk_name, ask) == path
        except FieldError:  # an error that is reported there
            continue
        if is_same and makes_partitions(value):
            return partition_path(path, 1)
    return path


def _needs_network(entry: Entry) -> bool:
    """Tell whether a file system is mounted over the network, by its kind or ``HOST:/PATH``."""
    is_remote_path = entry.device.startswith("//") or ":/" in entry.device.lstrip("/")
    return entry.kind in _NETWORK_KINDS or is_remote_path


def _without_cloud_init(options: str) -> str:
    """Return the options without those of systemd.mount(5) that wait for a unit of cloud-init.

    With them, systemd would not mount at the next boot.  cloud-init's documentation has such an
    option in its default fields.
    """
    kept = []
    for option in options.split(","):
        name, _, unit = option.partition("=")
        if not (name.startswith("x-systemd.") and unit.startswith("cloud-")):
            kept.append(option)
    if options and not kept:
        return "defaults"
    return ",".join(kept)


def _warn_of_cloud_init(options: str, why: Origin, wanted: Wanted) -> None:
    """Warn, once only, that an option is left out because it waits for a unit of cloud-init."""
    told = any(problem.reason == _CLOUD_INIT_OPTION for problem in wanted.problems)
    if not told and _without_cloud_init(options) != options:
        wanted.warn(why, _CLOUD_INIT_OPTION)


def _check(entry: Entry) -> Entry:
    """Return the entry with a normalised mount point.

    Raise FieldError if one of its fields cannot be in fstab(5).
    """
    mount_point = entry.mount_point
    if mount_point != NO_MOUNT_POINT:
        mount_point = _normalise_mount_point(mount_point)
    for name, text in (("type", entry.kind), ("options", entry.options)):
        if not text or not _WORD.issuperset(text):
            raise FieldError(f"its {name} must be one word of fstab(5)")
    for number in (entry.dump, entry.check_order):
        if not (number.isascii() and number.isdigit() and len(number) < 3):
            raise FieldError("its last two fields must be small numbers")
    if not entry.device or entry.device.startswith("#"):
        raise FieldError("its device must be one of fstab(5)")
    fields.plain(entry.device)
    return entry._replace(mount_point=mount_point)


def _normalise_mount_point(text: str) -> str:
    """Return an absolute path, without ``..``.  Raise FieldError if it is not one.

    Unlike other paths of the source it may be below /dev or /run.
    """
    fields.plain(text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not text.startswith("/") or ".." in parts:
        raise FieldError("its mount point must begin with / and be without ..")
    return "/" + "/".join(parts)


def _plan_scripts(entries: list[Entry], why: Origin, wanted: Wanted) -> None:
    """Plan the scripts that mount the entries at once: early, or late for those of the network."""
    local = [entry for entry in entries if not entry.has_option("_netdev")]
    remote = [entry for entry in entries if entry.has_option("_netdev")]
    if local:
        content = _mount_script(local)
        wanted.want(
            Script("script", "early", 40, "instance", name="mounts", content=content, why=why)
        )
    if remote:
        content = _mount_script(remote)
        wanted.want(
            Script(
                "script", "late", 20, "instance", name="mounts-network", content=content, why=why
            )
        )


def _mount_script(entries: list[Entry]) -> bytes:
    """Return a script that mounts the entries, and uses the swap spaces among them."""
    lines = ["#!/bin/sh", "failed=0", "systemctl daemon-reload"]
    for entry in entries:
        place = quote(entry.mount_point)
        if entry.has_option("noauto"):
            continue
        if entry.kind == "swap":
            lines.append(f"swapon -- {quote(entry.device)} || failed=1")
        elif entry.mount_point.startswith(_API_TREES):
            lines.append(f"mkdir -p {place}")
            lines.append(f"mount -o remount {place} 2>/dev/null || mount {place} || failed=1")
        else:
            lines.append(f"mkdir -p {place}")
            lines.append(f"mountpoint -q {place} || mount {place} || failed=1")
    lines.append("exit $failed")
    return ("\n".join(lines) + "\n").encode()
