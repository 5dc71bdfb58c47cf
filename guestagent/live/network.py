"""A running guest takes over changed network files: only what changed, and no more than that.

At boot this runs before the network stack has started, and there is next to nothing to do.
"""

from __future__ import annotations

import os
from binascii import a2b_base64, b2a_base64

from guestagent import defs
from guestagent.errors import FieldError, Origin
from guestagent.plan.changes import RemoveFile, WriteFile
from guestagent.system import ownfiles
from guestagent.system.jsontext import loads
from guestagent.system.tools import program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from guestagent.plan.changes import Change
    from guestagent.system.root import Root

    FileChange = WriteFile | RemoveFile

_MISSING = "is not installed"
_PATIENCE = "10"  # seconds
_NOT_YET = 3  # nmcli(1): the time is over
# Keys of netplan's bonds and VLANs that count only when these are made.
_MADE_WITH = ("id", "link", "macaddress", "parameters")
_WHY = Origin("guestagent", defs.RELOAD_FILE, "")


def network_changes(changes: Sequence[Change]) -> list[FileChange]:
    """Those of the changes that are files of a network stack, or resolv.conf."""
    files = [change for change in changes if change.kind in ("write", "remove")]
    return [change for change in files if change.path.startswith(defs.NETWORK_FILES)]


def at_boot(changes: Sequence[Change]) -> list[str]:
    """What a stack needs that reads its files before this boot's agent; returns failures.

    netplan's files become those of its renderer by a generator, which ran already.
    """
    if not any(change.path == defs.NETPLAN_FILE for change in network_changes(changes)):
        return []
    return _generate()


def reload(changes: Sequence[Change]) -> list[str]:
    """Have the stack of a running guest carry out the changes; returns what failed."""
    found = network_changes(changes)
    failures = []
    networkd = _below(found, defs.NETWORKD_DIR)
    if networkd:
        failures += _networkd(networkd)
    manager = _below(found, defs.NETWORKMANAGER_DIR)
    if manager:
        failures += _networkmanager(manager)
    for change in _below(found, defs.NETPLAN_FILE):
        failures += _netplan(change)
    for change in _below(found, defs.IFUPDOWN_DIR):
        from guestagent.stacks.ifupdown.reload import reload as ifupdown

        failures += ifupdown(_old(change), _new(change))
    return failures


def postpone(root: Root, changes: Sequence[Change]) -> None:
    """Leave the changes for ``reload_postponed``.  Raises OSError, Refused."""
    kept = [packed(item) for item in network_changes(changes)]
    ownfiles.write(root, defs.RELOAD_FILE, kept, 0o600)


def packed(change: FileChange) -> dict[str, str | None]:
    """A file's path and what it held before, as JSON can say it."""
    old = change.old
    text = None if old is None else b2a_base64(old, newline=False).decode()
    return {"path": change.path, "old": text}


def old_content(item: dict[str, Any]) -> bytes | None:
    """What a file held that was ``packed``; None where it was not there."""
    return None if item["old"] is None else a2b_base64(item["old"])


def reload_postponed(root: Root) -> list[str]:
    """Carry out what was left, once; returns failures.  Raises GuestagentError, OSError."""
    content = root.read(defs.RELOAD_FILE)
    if content is None:
        return []
    ownfiles.remove(root, defs.RELOAD_FILE)
    try:
        kept = loads(content)
    except FieldError as error:
        return [f"{defs.RELOAD_FILE}: {error}"]
    changes: list[Change] = []
    for item in kept:
        path, now = item["path"], root.read(item["path"], follow=False)
        old = old_content(item)
        if now is not None:
            changes.append(WriteFile("write", path, old, now, None, 0, "", _WHY, False))
        elif old is not None:
            changes.append(RemoveFile("remove", path, old, 0, _WHY))
    return reload(changes)


def _below(changes: Sequence[FileChange], where: str) -> list[FileChange]:
    return [change for change in changes if change.path.startswith(where)]


def _old(change: FileChange) -> str:
    return (change.old or b"").decode("utf-8", "replace")


def _new(change: FileChange) -> str:
    return change.new.decode("utf-8", "replace") if change.kind == "write" else ""


def _failures(name: str, *arguments: str, fine: int = 0) -> list[str]:
    """Run a tool; why it failed, or nothing.  ``fine`` is a status that is no failure either."""
    tool = program(name)
    if tool is None:
        return [f"{name} {_MISSING}"]
    return _run(tool, *arguments, fine=fine)


def _run(*argv: str, fine: int = 0) -> list[str]:
    result = run(argv, timeout=defs.NETWORK_TIMEOUT)
    return [] if result.status in (0, fine) else [f"{' '.join(argv)}: {result.reason()}"]


def _runs(unit: str) -> bool:
    return not _failures("systemctl", "--quiet", "is-active", unit)


def _waiting(name: str, changes: Sequence[FileChange]) -> list[str]:
    """A stack that does not run has no trace of files that are gone."""
    written = any(change.kind == "write" for change in changes)
    return [f"{name} does not run; its new files wait for that"] if written else []


def _value(text: str, key: str) -> str:
    """The first value of a key in an INI-like file; empty where it has none."""
    lines = (line.partition("=") for line in text.splitlines())
    return next((value for name, _, value in lines if name == key), "")


# systemd-networkd


def _networkd(changes: Sequence[FileChange]) -> list[str]:
    """networkctl(1): interfaces whose file changed are configured anew, others are left alone.

    A bond or VLAN that is there is never changed by networkd; it is made again.
    """
    if not _runs("systemd-networkd.service"):
        return _waiting("systemd-networkd", changes)
    netdevs = [change for change in changes if change.path.endswith(".netdev") and change.old]
    for change in netdevs:
        _failures("networkctl", "delete", _value(_old(change), "Name"))  # it may be gone already
    return _reload_networkd()


def _reload_networkd() -> list[str]:
    """Have networkd read its files; some versions crash as a bond goes, and are started anew."""
    if not _failures("networkctl", "reload"):
        return []
    return _failures("systemctl", "start", "systemd-networkd.service") or _failures(
        "networkctl", "reload"
    )


# NetworkManager


def _networkmanager(changes: Sequence[FileChange]) -> list[str]:
    """nmcli(1): profiles are read again, and those that are new or changed come up.

    A changed profile is applied to its device as it is; where NetworkManager cannot do that,
    the device goes down and up.  A profile that is gone takes its device down by itself.
    """
    if not _runs("NetworkManager.service"):
        return _waiting("NetworkManager", changes)
    failures = _failures("nmcli", "connection", "reload")
    written = [change for change in changes if change.kind == "write"]
    members = [change for change in written if _value(_new(change), "slave-type")]
    for change in [change for change in written if change not in members] + members:
        uuid = _value(_new(change), "uuid")
        device = _active_device(uuid) if change.old else ""
        if not device or _failures("nmcli", "device", "reapply", device):
            # That nobody answers yet is no failure: the profile goes on asking.
            failures += _failures(
                *("nmcli", "--wait", _PATIENCE, "connection", "up", "uuid", uuid), fine=_NOT_YET
            )
    return failures


def _active_device(uuid: str) -> str:
    tool = program("nmcli")
    if tool is None:
        return ""
    result = run([tool, "-g", "GENERAL.DEVICES", "connection", "show", "uuid", uuid])
    return result.output.decode("utf-8", "replace").strip() if not result.status else ""


# netplan


def _netplan(change: FileChange) -> list[str]:
    """netplan(8) neither removes a bond or VLAN that is there nor makes it anew: those go first.

    ``netplan apply`` would configure all interfaces anew, and end the leases of those that stay.
    """
    networkd = _runs("systemd-networkd.service") and not _runs("NetworkManager.service")
    failures = _generate() if networkd else []
    after = _made(_new(change))
    for name, how in _made(_old(change)).items():
        if after.get(name) != how:
            _failures("ip", "link", "delete", "dev", name)  # it may be gone already
    return failures or (_reload_networkd() if networkd else _failures("netplan", "apply"))


def _generate() -> list[str]:
    """Have netplan write the files of its renderer; returns why it failed, or nothing."""
    before = os.umask(0o022)  # with that of our units, systemd-networkd could not read them
    try:
        for path in defs.NETPLAN_GENERATORS:
            if os.access(path, os.X_OK):
                return _run(path)
        return _failures("netplan", "generate")
    finally:
        os.umask(before)


def _made(text: str) -> dict[str, list[str]]:
    """What each bond and VLAN is made with, of a file as ``desired.network.netplan`` writes it."""
    found: dict[str, list[str]] = {}
    kind = name = key = ""
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        word = line.strip().partition(":")[0].strip('"')
        if depth == 2:
            kind = word
        elif depth == 4:
            name = word
        elif depth == 6:
            key = word
        if kind in ("bonds", "vlans") and depth >= 4:
            lines = found.setdefault(name, [])
            if depth >= 6 and key in _MADE_WITH:
                lines.append(line)
    return found
