"""Have NetworkManager, on a running guest, carry out changes of its profiles."""

from __future__ import annotations

from guestagent.stacks.networkmanager.read_back import is_member, uuid
from guestagent.stacks.programs import is_active, output_of, report_not_running, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.stacks.rendered import FileChange

_ACTIVATION_WAIT = "10"  # seconds
_TIMED_OUT = 3  # exit status of nmcli(1)


def reload(changes: Sequence[FileChange]) -> list[str]:
    """Have profiles read again with nmcli(1) and activate those that changed; return what failed.

    A profile that is gone takes its device down by itself.
    """
    if not is_active("NetworkManager.service"):
        return report_not_running("NetworkManager", changes)
    failures = run_program("nmcli", "connection", "reload")
    # Bonds come before their members, which can only join a bond that exists.
    members = []
    for change in changes:
        if change.new is None:
            continue
        if is_member(change.new):
            members.append(change)
        else:
            failures += _activate(change)
    for change in members:
        failures += _activate(change)
    return failures


def _activate(change: FileChange) -> list[str]:
    """Have a device take over a new or changed profile; return why it does not, if so."""
    profile = uuid(change.new or "")
    if change.old and _reapply(profile):
        return []
    # A profile whose time is over goes on asking for an address: that is no failure.
    return run_program(
        *("nmcli", "--wait", _ACTIVATION_WAIT, "connection", "up", "uuid", profile),
        success=(0, _TIMED_OUT),
    )


def _reapply(profile: str) -> bool:
    """Apply a changed profile to its active device, which stays up; tell whether that worked."""
    fields = ("-g", "GENERAL.DEVICES")
    device = output_of("nmcli", *fields, "connection", "show", "uuid", profile)
    return bool(device) and not run_program("nmcli", "device", "reapply", device)
