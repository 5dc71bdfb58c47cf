"""The stack ifupdown, Debian's or ifupdown-ng, with one interfaces(5) file."""

from __future__ import annotations

from guestagent import defs
from guestagent.stacks import starts_at_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root


def in_use(root: Root) -> bool:
    """Tell whether ifup runs at boot, and reads the directory of guestagent's file."""
    # By systemd or by OpenRC.
    starts = starts_at_boot(root, "networking.service") or root.exists(defs.OPENRC_NETWORKING)
    return starts and root.program("ifup") and "interfaces.d" in root.text(defs.IFUPDOWN_MAIN)
