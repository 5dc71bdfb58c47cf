"""The stack netplan, with one file as netplan(5) describes it."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Refused
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


def writes_for_networkmanager(root: Root) -> bool:
    """Tell whether the guest has netplan write for NetworkManager, netplan(5): ``renderer``.

    That counts where it is written for all interfaces, in the usual form: anything else counts as
    netplan's own choice, networkd.  The last file counts.
    """
    paths = {
        name: f"{folder}/{name}" for folder in defs.NETPLAN_DIRS for name in _names(root, folder)
    }
    chosen = ""
    for name in sorted(paths):
        if paths[name].startswith(defs.NETWORK_STACK_FILES["netplan"]):
            continue
        chosen = _renderer_in(_text(root, paths[name])) or chosen
    return chosen == "NetworkManager"


def _renderer_in(text: str) -> str:
    """Return what a file says of the renderer directly below ``network``; empty if nothing."""
    inside, indent = False, 0
    for line in text.splitlines():
        words = line.partition("#")[0].rstrip()
        depth = len(words) - len(words.lstrip())
        if not words:
            continue
        if depth == 0:
            inside, indent = words == "network:", 0
            continue
        indent = indent or depth
        key, _, value = words.strip().partition(":")
        if inside and depth == indent and key == "renderer":
            return value.strip().strip("\"'")
    return ""


def _text(root: Root, path: str) -> str:
    try:
        return root.text(path)
    except (Refused, OSError):
        return ""


def _generator_runs(root: Root) -> bool:
    """Tell whether the generator is installed and not masked, systemd.generator(7)."""
    mask = root.stat(f"{defs.GENERATORS_MASK_DIR}/netplan")
    return mask is None and root.exists(f"{defs.GENERATORS_DIR}/netplan")


def _has_files(root: Root) -> bool:
    return any(_names(root, directory) for directory in defs.NETPLAN_DIRS)


def _names(root: Root, directory: str) -> list[str]:
    return [name for name in root.listdir(directory) if name.endswith(".yaml")]
