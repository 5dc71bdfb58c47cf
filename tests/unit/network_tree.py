"""A guest's tree for tests of what is found there of its network."""

from __future__ import annotations

from pathlib import Path

from network_samples import MAC

from guestagent import defs, stacks
from guestagent.facts.network import find_nics
from guestagent.model import Nic
from guestagent.system.root import Root

UNITS = "/usr/lib/systemd/system"
WANTS = "/etc/systemd/system/multi-user.target.wants"
NETWORKD, MANAGER = "systemd-networkd.service", "NetworkManager.service"
IFUPDOWN, RESOLVED = "networking.service", "systemd-resolved.service"
GENERATOR = "/usr/lib/systemd/system-generators/netplan"
SOURCE_LINE = "source /etc/network/interfaces.d/*\n"


class Tree:
    """A guest's tree in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, path: str, text: str = "") -> Tree:
        where = self.path / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        return self

    def link(self, path: str, target: str) -> Tree:
        where = self.path / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.symlink_to(target)
        return self

    def installed(self, *units: str) -> Tree:
        for unit in units:
            self.put(f"{UNITS}/{unit}")
        return self

    def enabled(self, *units: str, wants: str = WANTS) -> Tree:
        self.installed(*units)
        for unit in units:
            self.link(f"{wants}/{unit}", f"{UNITS}/{unit}")
        return self

    def ifupdown(self, text: str = SOURCE_LINE) -> Tree:
        """All of ifupdown but what starts it at boot."""
        self.put(defs.IFUPDOWN_MAIN, text).put("/usr/sbin/ifup")
        return self.installed(IFUPDOWN)

    def netplan(self) -> Tree:
        return self.put(GENERATOR)

    def nic(self, name: str, mac: str = MAC, kind: str = "0", device: bool = True) -> Tree:
        """Make a NIC of /sys; ``kind`` is its addr_assign_type."""
        where = f"/sys/devices/{name}"
        self.put(f"{where}/address", f"{mac}\n").put(f"{where}/addr_assign_type", f"{kind}\n")
        if device:
            self.link(f"{where}/device", "../..")
        return self.link(f"{defs.NET_DIR}/{name}", f"../../devices/{name}")

    @property
    def root(self) -> Root:
        return Root(str(self.path))

    @property
    def stack(self) -> str:
        return stacks.in_use(self.root)

    @property
    def nics(self) -> list[Nic]:
        return list(find_nics(self.root))
