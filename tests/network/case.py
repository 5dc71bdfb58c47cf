"""The form of a conformance case, and short ways to write its document."""

from __future__ import annotations

from typing import Any, NamedTuple

from .facts import Link

MACS = ("52:54:00:00:01:01", "52:54:00:00:01:02", "52:54:00:00:01:03")
NAMES = ("enp0s3", "enp0s4", "enp0s5")
Object = dict[str, Any]


class Case(NamedTuple):
    """A document, and by hand what it has to become in a guest with the three NICs.

    ``errors`` and ``warnings`` are the keys of all problems that the document itself has, in
    order; what one network stack cannot express comes on top of them.
    """

    id: str
    about: str
    document: Any
    links: tuple[Link, ...]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    policy_routing: bool = False

    @property
    def expected(self) -> dict[str, Link]:
        """The links by their names."""
        return {link.name: link for link in self.links}


def document(links: list[Any], networks: list[Any], *dns: str) -> Object:
    """Return a document with DNS servers for all networks."""
    return {"links": links, "networks": networks, "services": services(*dns)}


def services(*dns: str) -> list[Object]:
    return [{"type": "dns", "address": address} for address in dns]


def nic(number: int, **more: Any) -> Object:
    """Return a link "port1", "port2" or "port3" to that NIC of the guest."""
    plain = {"type": "phy", "ethernet_mac_address": MACS[number - 1], "mtu": None}
    return {"id": f"port{number}", "vif_id": f"vif-{number}", **plain, **more}


def bonded(*links: str, mode: Any = "active-backup", **more: Any) -> Object:
    """Return a link "bond" of other links."""
    return {"id": "bond", "type": "bond", "bond_links": list(links), "bond_mode": mode, **more}


def vlan(tag: Any, link: str, **more: Any) -> Object:
    """Return a link "vlan101" or the like."""
    return {"id": f"vlan{tag}", "type": "vlan", "vlan_id": tag, "vlan_link": link, **more}


def net(kind: str, link: str = "port1", **more: Any) -> Object:
    """Return a network of a link."""
    return {"id": "network0", "network_id": "da5bb487", "type": kind, "link": link, **more}


def static4(link: str = "port1", address: str = "192.0.2.10", **more: Any) -> Object:
    """Return an IPv4 network, by default of 24 bits."""
    return net("ipv4", link, **{"ip_address": address, "netmask": "255.255.255.0", **more})


def static6(link: str = "port1", address: str = "2001:db8:1::10", **more: Any) -> Object:
    """Return an IPv6 network, by default of 64 bits."""
    return net("ipv6", link, **{"ip_address": address, "netmask": "ffff:ffff:ffff:ffff::", **more})


def via(network: str, netmask: Any, gateway: str, **more: Any) -> Object:
    """Return a route as Nova writes one."""
    return {"network": network, "netmask": netmask, "gateway": gateway, **more}


def default4(gateway: str, **more: Any) -> Object:
    return via("0.0.0.0", "0.0.0.0", gateway, **more)


def default6(gateway: str, **more: Any) -> Object:
    return via("::", "::", gateway, **more)
