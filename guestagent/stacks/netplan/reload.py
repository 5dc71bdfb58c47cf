"""Have netplan, on a running guest, carry out a change of its files."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.stacks.netplan.read_back import made_devices
from guestagent.stacks.programs import is_active, reload_networkd, run_file, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.stacks.rendered import FileChange


def reload(changes: Sequence[FileChange]) -> list[str]:
    """Apply the changed files; return what failed."""
    # netplan-apply(8) would configure all interfaces of networkd again, and end the leases of
    # those that did not change: networkd is told of its new files instead.
    by_networkd = _is_carried_out_by_networkd()
    failures = generate() if by_networkd else []
    for change in changes:
        _delete_changed_devices(change)
    if failures:
        return failures
    return reload_networkd() if by_networkd else run_program("netplan", "apply")


def _is_carried_out_by_networkd() -> bool:
    return is_active("systemd-networkd.service") and not is_active("NetworkManager.service")


def _delete_changed_devices(change: FileChange) -> None:
    """Delete the bonds and VLANs that are gone or have to be made again.

    netplan does neither by itself.
    """
    after = made_devices(change.new or "")
    for name, settings in made_devices(change.old or "").items():
        if after.get(name) != settings:
            run_program("ip", "link", "delete", "dev", name)  # fails where it is gone already


def generate() -> list[str]:
    """Have netplan write the files of the service that it writes for; return what failed."""
    # With the mask of guestagent's units, systemd-networkd could not read those files.
    mask = os.umask(0o022)
    try:
        for path in defs.NETPLAN_GENERATORS:
            if os.access(path, os.X_OK):
                return run_file(path)
        return run_program("netplan", "generate")
    finally:
        os.umask(mask)
