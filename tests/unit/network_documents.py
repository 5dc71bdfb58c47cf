"""Documents of OpenStack's network_data.json that several tests start from, and their links."""

from __future__ import annotations

from typing import Any

from network_samples import MAC, MAC2, MACS
from rig import collected

from guestagent.errors import Origin, Problem
from guestagent.model import Interface, Network
from guestagent.parse.network.network_data import parse_network_data

NOVA: dict[str, Any] = {
    "links": [
        {
            "id": "tap0",
            "vif_id": "8b1d3f0c",
            "type": "ovs",
            "mtu": 1450,
            "ethernet_mac_address": "52-54-00-00-01-01",
        },
        {"id": "tap1", "type": "bridge", "mtu": None, "ethernet_mac_address": MAC2},
    ],
    "networks": [
        {
            "id": "network0",
            "type": "ipv4",
            "link": "tap0",
            "ip_address": "192.0.2.5",
            "netmask": "255.255.255.0",
            "network_id": "8b1d",
            "routes": [
                {
                    "network": "0.0.0.0",
                    "netmask": "0.0.0.0",
                    "gateway": "192.0.2.1",
                    "services": [{"type": "dns", "address": "192.0.2.54"}],
                },
                {
                    "network": "169.254.169.254",
                    "netmask": "255.255.255.255",
                    "gateway": "192.0.2.2",
                    "metric": 7,
                },
            ],
            "services": [
                {"type": "dns", "address": "192.0.2.53"},
                {"type": "ntp", "address": "192.0.2.99"},
            ],
        },
        {
            "id": "network1",
            "type": "ipv6",
            "link": "tap0",
            "ip_address": "2001:db8::5",
            "netmask": "ffff:ffff:ffff:ffff::",
            "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8::1"}],
            "services": [],
        },
        {"id": "network2", "type": "ipv4_dhcp", "link": "tap1"},
    ],
    "services": [{"type": "dns", "address": "198.51.100.1"}],
}


def origin_of(key: str) -> Origin:
    return Origin("test", "network_data.json", key)


def read(document: object) -> tuple[Network, list[Problem]]:
    return collected(parse_network_data, document, origin_of(""))


def parse(document: object) -> tuple[Network, list[str]]:
    network, problems = read(document)
    assert all(problem.severity == "error" for problem in problems)
    return network, [problem.key for problem in problems]


def with_network(**fields: Any) -> dict[str, Any]:
    """One link and one network of it, for a single question."""
    link = {"id": "a", "type": "phy", "mtu": None, "ethernet_mac_address": MAC}
    return {"links": [link], "networks": [{"id": "n", "link": "a", **fields}], "services": []}


def static(**fields: Any) -> dict[str, Any]:
    given = {"type": "ipv4", "ip_address": "192.0.2.5", "netmask": "255.255.255.0"}
    return with_network(**(given | fields))


Link = dict[str, Any]
BOND_MAC, VLAN_MAC = "52:54:00:00:01:0a", "52:54:00:00:01:0b"


def nic(id_: Any, mac: str) -> Link:
    return {"id": id_, "type": "phy", "ethernet_mac_address": mac}


def bond(*members: Any, **fields: Any) -> Link:
    given = {"id": "bond", "type": "bond", "bond_mode": "active-backup"}
    return given | {"bond_links": list(members)} | fields


def vlan(parent: Any, tag: Any = 7, **fields: Any) -> Link:
    return {"id": "vlan", "type": "vlan", "vlan_link": parent, "vlan_id": tag} | fields


NICS = [nic(name, mac) for name, mac in zip("abc", MACS, strict=True)]


def parse_links(*links: Any, networks: Any = ()) -> tuple[dict[str, Interface], list[str]]:
    """Id → interface of the links after the three NICs, and the keys of the errors."""
    document = {"links": [*NICS, *links], "networks": list(networks)}
    network, problems = read(document)
    assert all(problem.severity == "error" for problem in problems)
    found = {interface.id: interface for interface in network.interfaces}
    assert len(found) == len(network.interfaces)
    return found, [problem.key for problem in problems]
