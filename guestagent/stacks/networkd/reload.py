"""Have systemd-networkd, on a running guest, carry out changes of its files."""

from __future__ import annotations

from guestagent.stacks.networkd.read_back import made_device
from guestagent.stacks.programs import is_active, reload_networkd, report_not_running, run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.stacks.rendered import FileChange


def reload(changes: Sequence[FileChange]) -> list[str]:
    """Apply changed files with networkctl(1); return what failed.

    networkd configures the interfaces whose files changed and leaves the others alone.
    """
    if not is_active("systemd-networkd.service"):
        return report_not_running("systemd-networkd", changes)
    for change in changes:
        # networkd never changes a bond or VLAN that exists: it has to make it again.
        device = made_device(change.path, change.old or "")
        if device:
            run_program("networkctl", "delete", device)  # fails where it is gone already
    return reload_networkd()
