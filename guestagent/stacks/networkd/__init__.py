"""The stack systemd-networkd, with systemd.network(5) and systemd.netdev(5) files."""

from __future__ import annotations

from guestagent.stacks import starts_at_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root


def in_use(root: Root) -> bool:
    """Tell whether systemd-networkd starts at boot."""
    return starts_at_boot(root, "systemd-networkd.service")
