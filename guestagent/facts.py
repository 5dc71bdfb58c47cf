"""What the guest is like, read once from its tree before anything is planned."""

from __future__ import annotations

from guestagent import defs
from guestagent.model import Account, Facts, Nic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.root import Root

_WANTED_PROGRAMS = ("sshd", "ssh-keygen", "sudo")


def gather(root: Root) -> Facts:
    """Read the facts of a tree.  Raises Refused and OSError where the tree is unsound."""
    return Facts(
        live=root.live,
        os_id=_os_id(root.text(defs.OS_RELEASE)),
        hostname=_kernel_name() if root.live else None,
        accounts=tuple(_accounts(root.text(defs.ACCOUNTS_FILE))),
        groups=tuple(line.split(":")[0] for line in root.text(defs.GROUP_FILE).splitlines()),
        nics=nics(root) if root.live else None,
        backend=_backend(root),
        resolver=_resolver(root),
        sshd_dropins=_includes_dropins(root.text(defs.SSHD_CONFIG)),
        programs=frozenset(name for name in _WANTED_PROGRAMS if _installed(root, name)),
    )


def _kernel_name() -> str:
    from os import uname

    return uname().nodename


def _os_id(text: str) -> str:
    """``ID=`` of os-release(5)."""
    for line in text.splitlines():
        if line.startswith("ID="):
            return line[3:].strip("\"'")
    return ""


def _accounts(text: str) -> list[Account]:
    """The lines of passwd(5) that are whole."""
    found = []
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) == 7 and parts[2].isdecimal() and parts[3].isdecimal():
            found.append(Account(parts[0], int(parts[2]), int(parts[3]), parts[5]))
    return found


def accounts(root: Root) -> list[Account]:
    """The accounts as they are now, after some may have been made."""
    return _accounts(root.text(defs.ACCOUNTS_FILE))


def nics(root: Root) -> tuple[Nic, ...]:
    """The NICs that are devices of their own: no bridges, bonds, tunnels, loopback."""
    found = []
    for name in root.listdir(defs.NET_DIR):
        if root.exists(f"{defs.NET_DIR}/{name}/device"):
            mac = root.text(f"{defs.NET_DIR}/{name}/address").strip()
            found.append(Nic(name, mac.lower()))
    return tuple(found)


def _installed(root: Root, name: str) -> bool:
    return any(root.exists(f"{directory}/{name}") for directory in defs.PROGRAM_DIRS)


def _enabled(root: Root, unit: str) -> bool:
    """True if a target wants the unit: what will run at boot, not merely what is installed."""
    targets = ("sysinit", "multi-user", "network", "network-online")
    wants = (f"{where}/{target}.target.wants" for where in defs.UNIT_DIRS for target in targets)
    return any(root.exists(f"{directory}/{unit}") for directory in wants)


def _backend(root: Root) -> Literal["networkd", "ifupdown", ""]:
    if _enabled(root, "systemd-networkd.service"):
        return "networkd"
    if _installed(root, "ifup") and "interfaces.d" in root.text(defs.IFUPDOWN_MAIN):
        return "ifupdown"
    return ""


def _resolver(root: Root) -> Literal["resolved", "resolvconf", "file"]:
    target = root.readlink(defs.RESOLV_CONF) or ""
    if "systemd/resolve" in target or _enabled(root, "systemd-resolved.service"):
        return "resolved"
    if "resolvconf" in target or _installed(root, "resolvconf"):
        return "resolvconf"
    return "file"


def _includes_dropins(text: str) -> bool:
    """True if sshd_config(5) includes its drop-in directory."""
    lines = (line.split() for line in text.splitlines())
    return any(
        words[0].lower() == "include" and any("sshd_config.d/" in word for word in words[1:])
        for words in lines
        if words
    )
