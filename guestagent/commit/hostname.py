"""Set the running kernel's host name."""

from __future__ import annotations

from guestagent.system.machine import set_hostname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.hostname import SetHostname
    from guestagent.system.root import Root


def carry_out(change: SetHostname, root: Root) -> None:
    """Set the name; such a change is planned for the running system only.  Raises OSError."""
    set_hostname(change.new)
