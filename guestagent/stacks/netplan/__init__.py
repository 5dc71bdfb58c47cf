"""The stack netplan, with one file as netplan(5) describes it."""

from __future__ import annotations

from guestagent import defs
from guestagent.stacks import starts_at_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

_WRITES_FOR = ("NetworkManager.service", "systemd-networkd.service")


def in_use(root: Root) -> bool:
    """Tell whether netplan's generator runs at boot, and what it makes has an effect.

    That is so where it has a file already (it starts the service that it writes for by itself),
    and where a service that it can write for starts anyway.
    """
    if not _generator_runs(root):
        return False
    return _has_files(root) or any(starts_at_boot(root, unit) for unit in _WRITES_FOR)


def _generator_runs(root: Root) -> bool:
    """Tell whether the generator is installed and not masked, systemd.generator(7)."""
    mask = root.stat(f"{defs.GENERATORS_MASK_DIR}/netplan")
    return mask is None and root.exists(f"{defs.GENERATORS_DIR}/netplan")


def _has_files(root: Root) -> bool:
    for directory in defs.NETPLAN_DIRS:
        if any(name.endswith(".yaml") for name in root.listdir(directory)):
            return True
    return False
