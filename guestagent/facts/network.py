"""The network of the guest as it is: its NICs, and the stack that will configure them."""

from __future__ import annotations

from guestagent import defs
from guestagent.model import Nic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.system.root import Root

_PERMANENT = "0"  # /sys/class/net/NAME/addr_assign_type


def nics(root: Root) -> tuple[Nic, ...]:
    """The NICs that are devices of their own: no bridges, bonds, tunnels, loopback.

    Those that belong to a bond or the like come last: of two with one address (a virtual function
    and the NIC that it speeds up) the other is the one to configure.
    """
    found = []
    for name in root.listdir(defs.NET_DIR):
        where = f"{defs.NET_DIR}/{name}"
        if root.exists(f"{where}/device"):
            found.append((root.exists(f"{where}/master"), Nic(name, _permanent_mac(root, name))))
    return tuple(nic for _, nic in sorted(found, key=lambda pair: pair[0]))


def _permanent_mac(root: Root, name: str) -> str:
    """The address the NIC was made with; a bond or an administrator may have set another."""
    where = f"{defs.NET_DIR}/{name}"
    mac = root.text(f"{where}/address").strip().lower()
    if root.text(f"{where}/addr_assign_type").strip() == _PERMANENT:
        return mac
    from guestagent.system.libc import permanent_mac

    return permanent_mac(name) or mac


def backend(root: Root) -> Literal["networkd", "networkmanager", "ifupdown", "netplan", ""]:
    """The stack that will run at boot, which is more than being installed; empty for none.

    netplan stands before the two it writes for.  NetworkManager stands before networkd because
    it takes every NIC, networkd only those it has a file for.
    """
    networkd = _enabled(root, "systemd-networkd.service")
    manager = _enabled(root, "NetworkManager.service")
    if _netplan(root, networkd or manager):
        return "netplan"
    if manager:
        return "networkmanager"
    if networkd:
        return "networkd"
    return "ifupdown" if _ifupdown(root) else ""


def _netplan(root: Root, has_renderer: bool) -> bool:
    """True where netplan's generator runs and has something to say, or somebody to say it to."""
    generator = f"{defs.GENERATORS_DIR}/netplan"
    mask = root.stat(f"{defs.GENERATORS_MASK_DIR}/netplan")
    if mask is not None or not root.exists(generator):
        return False
    files = (name for where in defs.NETPLAN_DIRS for name in root.listdir(where))
    return has_renderer or any(name.endswith(".yaml") for name in files)


def _ifupdown(root: Root) -> bool:
    """True where ifup runs at boot, under systemd or OpenRC, and reads the directory of ours."""
    starts = _enabled(root, "networking.service") or root.exists(defs.OPENRC_NETWORKING)
    return starts and root.program("ifup") and "interfaces.d" in root.text(defs.IFUPDOWN_MAIN)


def _enabled(root: Root, unit: str) -> bool:
    """True if a target wants the unit: what will run at boot, not merely what is installed."""
    targets = ("sysinit", "multi-user", "network", "network-online")
    wants = (f"{where}/{target}.target.wants" for where in defs.UNIT_DIRS for target in targets)
    wanted = any(root.exists(f"{directory}/{unit}") for directory in wants)
    links = (root.readlink(f"{where}/{unit}") for where in defs.UNIT_DIRS) if wanted else ()
    return wanted and "/dev/null" not in links


def resolver(root: Root) -> Literal["resolved", "networkmanager", "resolvconf", "file"]:
    """Who writes resolv.conf(5)."""
    target = root.readlink(defs.RESOLV_CONF) or ""
    if "systemd/resolv" in target or _enabled(root, "systemd-resolved.service"):
        return "resolved"
    if _enabled(root, "NetworkManager.service"):
        return "networkmanager"
    if "resolvconf" in target or root.program("resolvconf"):
        return "resolvconf"
    return "file"
