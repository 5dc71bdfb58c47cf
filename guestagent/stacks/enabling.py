"""What a guest is like in which no network stack starts at boot, and what would change that.

Images of debootstrap's small variants, mmdebstrap and diskimage-builder are such guests: systemd
brings systemd-networkd with it, and nothing enables it.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.stacks import is_masked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

# Units by which a program that configures networks is known; guestagent supports the first two.
_UNITS = {
    "networkd": defs.NETWORKD_UNITS[0],
    "networkmanager": "NetworkManager.service",
    "connman": "connman.service",
    "dhcpcd": "dhcpcd.service",
    "wicked": "wicked.service",
}
_SUFFIXES = {"WantedBy": "wants", "RequiredBy": "requires"}


def installed(root: Root) -> tuple[str, ...]:
    """Return the network stacks that the tree has, without those whose unit is masked."""
    found = []
    for name, unit in _UNITS.items():
        if _unit_file(root, unit) and not is_masked(root, unit):
            found.append(name)
    if root.exists(f"{defs.GENERATORS_DIR}/netplan"):
        found.append("netplan")
    if root.program("ifup"):
        found.append("ifupdown")
    return tuple(found)


def links(root: Root) -> tuple[tuple[str, str], ...]:
    """Return path and target of each symbolic link that ``systemctl enable`` makes for networkd.

    They are those of ``[Install]`` in its unit file and in the units that are enabled with it,
    systemd.unit(5), which are not the same in each version of systemd.
    """
    found: dict[str, str] = {}
    waiting, seen = [defs.NETWORKD_UNITS[0]], set()
    while waiting:
        unit = waiting.pop(0)
        path = _unit_file(root, unit)
        if unit in seen or not path or is_masked(root, unit):
            continue
        seen.add(unit)
        for key, value in _install_section(root.text(path)):
            if key == "Also":
                waiting.append(value)
            elif key == "Alias":
                found[f"{defs.UNIT_DIRS[0]}/{value}"] = path
            elif key in _SUFFIXES:
                found[f"{defs.UNIT_DIRS[0]}/{value}.{_SUFFIXES[key]}/{unit}"] = path
    return tuple(found.items())


def _unit_file(root: Root, unit: str) -> str:
    """Return the path of a unit's file as its package installs it; "" if there is none."""
    path = f"{defs.UNIT_DIRS[-1]}/{unit}"
    return path if root.exists(path) else ""


def _install_section(text: str) -> list[tuple[str, str]]:
    """Return the settings of ``[Install]``, one for each word of their values."""
    found = []
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line
        elif section == "[Install]" and not line.startswith(("#", ";")):
            key, _, words = line.partition("=")
            found += [(key.strip(), word) for word in words.split() if "/" not in word]
    return found
