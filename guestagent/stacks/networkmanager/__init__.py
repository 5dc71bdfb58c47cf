"""The stack NetworkManager, with connection profiles as nm-settings-keyfile(5) describes them."""

from __future__ import annotations

from guestagent.stacks import starts_at_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root


def in_use(root: Root) -> bool:
    """Tell whether NetworkManager starts at boot."""
    return starts_at_boot(root, "NetworkManager.service")
