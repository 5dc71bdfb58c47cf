"""Find the NICs of the guest, and what writes its resolv.conf(5)."""

from __future__ import annotations

from guestagent import defs
from guestagent.model import Nic
from guestagent.stacks import starts_at_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.system.root import Root

_PERMANENT = "0"  # /sys/class/net/NAME/addr_assign_type


def find_nics(root: Root) -> tuple[Nic, ...]:
    """Return the NICs: devices of their own, not bridges, bonds, tunnels and the loopback.

    Members of a bond or the like come last.  Where a virtual function has the MAC address of the
    NIC that it speeds up, it is such a member, and the NIC is the one to configure.
    """
    free, members = [], []
    for name in root.listdir(defs.NET_DIR):
        where = f"{defs.NET_DIR}/{name}"
        if not root.exists(f"{where}/device"):
            continue
        mac = _permanent_mac(root, name)
        if root.exists(f"{where}/master"):
            members.append(Nic(name, mac, member=True))
        else:
            free.append(Nic(name, mac))
    return (*free, *members)


def _permanent_mac(root: Root, name: str) -> str:
    """Return the MAC address that a NIC was made with.

    A bond or an administrator may have set another one, which sysfs shows.
    """
    where = f"{defs.NET_DIR}/{name}"
    mac = root.text(f"{where}/address").strip().lower()
    if root.text(f"{where}/addr_assign_type").strip() == _PERMANENT:
        return mac
    from guestagent.system.libc import permanent_mac

    return permanent_mac(name) or mac


def find_resolver(root: Root) -> Literal["resolved", "networkmanager", "resolvconf", "file"]:
    """Return what writes resolv.conf(5); "file" means that no program does."""
    target = root.readlink(defs.RESOLV_CONF) or ""
    if "systemd/resolv" in target or starts_at_boot(root, "systemd-resolved.service"):
        return "resolved"
    if starts_at_boot(root, "NetworkManager.service"):
        return "networkmanager"
    if "resolvconf" in target or root.program("resolvconf"):
        return "resolvconf"
    return "file"
