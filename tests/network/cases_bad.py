"""Conformance cases: what cannot be used is named and left out, everything else is kept."""

from __future__ import annotations

from .case import (
    Case,
    bonded,
    default4,
    document,
    net,
    nic,
    services,
    static4,
    static6,
    via,
    vlan,
)
from .facts import Vlan, bond, link, route

V4 = "192.0.2.10/24"
KEPT = (link("enp0s3", V4),)

CASES = (
    Case(
        "unknown-link-type",
        "a link of an unknown type is a plain NIC",
        document([nic(1), nic(2, type="macvtap")], [static4(), static4("port2", "198.51.100.10")]),
        (*KEPT, link("enp0s4", "198.51.100.10/24")),
        warnings=("links[1].type",),
    ),
    Case(
        "static-type",
        "a network of an unknown type that has an address is static",
        document([nic(1)], [static4(type="static")]),
        KEPT,
        warnings=("networks[0].type",),
    ),
    Case(
        "unknown-network-type",
        "a network of an unknown type is left out, the link's other network stays",
        document([nic(1)], [net("ipv5"), static4()]),
        KEPT,
        errors=("networks[0].type",),
    ),
    Case(
        "bad-characters",
        "what is not UTF-8 costs the value that has it; ids that have it are compared",
        document(
            [
                nic(1, id="port\ud800", mtu="1450"),
                nic(2, ethernet_mac_address="52:54:00:00:01:0\ud800"),
            ],
            [static4("port\ud800", id="\udfff", services=services("192.0.2.53", "192.0.2.\ud800"))],
        ),
        (link("enp0s3", V4, mtu=1450, dns=("192.0.2.53",)),),
        errors=("links[1].ethernet_mac_address", "networks[0].services[1].address"),
    ),
    Case(
        "unknown-mac",
        "a link whose NIC the guest lacks is left out",
        document(
            [nic(1), nic(2, ethernet_mac_address="52:54:00:00:09:09")],
            [static4(), static4("port2", "198.51.100.10")],
        ),
        KEPT,
        errors=("links[1]",),
    ),
    Case(
        "bad-macs",
        "MAC addresses that are none, multicast or not text",
        document(
            [
                nic(1),
                nic(2, ethernet_mac_address="52:54:00:00:01"),
                nic(2, ethernet_mac_address="01:00:5e:00:00:01"),
                nic(2, ethernet_mac_address=5254),
                nic(2, ethernet_mac_address=None),
            ],
            [static4()],
        ),
        KEPT,
        errors=tuple(f"links[{index}].ethernet_mac_address" for index in (1, 2, 3, 4)),
    ),
    Case(
        "same-mac-twice",
        "of two links with one MAC address the first counts",
        document([nic(1), nic(1, id="other")], [static4(), static4("other", "198.51.100.10")]),
        KEPT,
        errors=("links[1].ethernet_mac_address", "networks[1].link"),
    ),
    Case(
        "same-id-twice",
        "of two links with one id the first counts, and has both networks",
        document([nic(1), nic(2, id="port1")], [static4(), static4("port1", "198.51.100.10")]),
        (link("enp0s3", V4, "198.51.100.10/24"),),
        errors=("links[1].id",),
    ),
    Case(
        "bad-masks",
        "a mask with a hole, one too long, one of the other family, none",
        document(
            [nic(1)],
            [
                static4(address="198.51.100.1", netmask="255.0.255.0"),
                static4(address="198.51.100.2", netmask=33),
                static4(address="198.51.100.3", netmask="ffff::"),
                static4(address="198.51.100.4", netmask=None),
                static4(),
            ],
        ),
        KEPT,
        errors=(
            "networks[0].netmask",
            "networks[1].netmask",
            "networks[2].netmask",
            "networks[3].ip_address",
        ),
    ),
    Case(
        "bad-addresses",
        "addresses that are none, of the other family, multicast, loopback or missing",
        document(
            [nic(1)],
            [
                static4(address="192.0.2.256"),
                static4(address="2001:db8::1"),
                static4(address="224.0.0.1"),
                static6(address="::1"),
                static6(address="fe80::1%enp0s3"),
                net("ipv4", netmask="255.255.255.0"),
                static4(),
            ],
        ),
        KEPT,
        errors=tuple(f"networks[{index}].ip_address" for index in range(6)),
    ),
    Case(
        "no-such-link",
        "networks without a link, and of a link that is not there",
        document([nic(1)], [net("ipv4_dhcp", "port7"), net("ipv4_dhcp", None), static4()]),  # type: ignore[arg-type]
        KEPT,
        errors=("networks[0].link", "networks[1].link"),
    ),
    Case(
        "bad-routes",
        "routes that cannot be are left out, the address and the good route stay",
        document(
            [nic(1)],
            [
                static4(
                    routes=[
                        default4("2001:db8::1"),
                        via("10.0.0.0", "255.0.255.0", "192.0.2.1"),
                        via("10.0.0.0", "255.0.0.0", "nobody"),
                        via("10.0.0.0", "255.0.0.0", "192.0.2.1", metric=-1),
                        {"netmask": "255.0.0.0", "gateway": "192.0.2.1"},
                        {"network": "0.0.0.0", "netmask": "0.0.0.0"},
                        "10.0.0.0/8",
                        via("10.5.0.0", "255.255.0.0", "192.0.2.5"),
                    ]
                )
            ],
        ),
        (link("enp0s3", V4, routes=(route("10.5.0.0/16", "192.0.2.5"),)),),
        errors=(
            "networks[0].routes[0].gateway",
            "networks[0].routes[1].netmask",
            "networks[0].routes[2].gateway",
            "networks[0].routes[3].metric",
            "networks[0].routes[4].network",
            "networks[0].routes[5].gateway",
            "networks[0].routes[6]",
        ),
    ),
    Case(
        "bad-mtu-and-dns",
        "an MTU out of range and DNS servers that are no addresses are left out",
        document(
            [nic(1, mtu=10), nic(2, mtu="jumbo")],
            [
                static4(services=services("ns.example.org", "192.0.2.53"), dns_search=["a b"]),
                static4("port2", "198.51.100.10"),
            ],
        ),
        (
            link("enp0s3", V4, dns=("192.0.2.53",)),
            link("enp0s4", "198.51.100.10/24"),
        ),
        errors=(
            "links[0].mtu",
            "links[1].mtu",
            "networks[0].services[0].address",
            "networks[0].dns_search[0]",
        ),
    ),
    Case(
        "bad-bonds",
        "a bond of nothing, of a bond, of an unknown mode; NICs of them stay as they are",
        document(
            [
                nic(1),
                nic(2),
                bonded("port9", id="of-nothing"),
                bonded("good", id="of-a-bond"),
                bonded("port1", mode="802.11", id="of-no-mode"),
                bonded("port2", "port2", id="good"),
                bonded("port2", id="too-late"),
            ],
            [static4(), static4("good", "198.51.100.10")],
        ),
        (
            link("enp0s3", V4),
            link("enp0s4"),
            link("bond0", "198.51.100.10/24", bond=bond("active-backup", "enp0s4")),
        ),
        errors=(
            "links[4].bond_mode",
            "links[2].bond_links[0]",
            "links[2].bond_links",
            "links[3].bond_links[0]",
            "links[3].bond_links",
            "links[6].bond_links[0]",
            "links[6].bond_links",
        ),
    ),
    Case(
        "address-on-member",
        "a network on a member of a bond is left out",
        document(
            [nic(1), nic(2), bonded("port1", "port2")],
            [static4("port1", "198.51.100.10"), static4("bond")],
        ),
        (
            link("enp0s3"),
            link("enp0s4"),
            link("bond0", V4, bond=bond("active-backup", "enp0s3", "enp0s4")),
        ),
        errors=("networks[0].link",),
    ),
    Case(
        "bad-vlans",
        "bad tags, a missing link, a circle, one tag twice",
        document(
            [
                nic(1),
                vlan(0, "port1", id="zero"),
                vlan(4095, "port1", id="high"),
                vlan(True, "port1", id="boolean"),
                vlan(9, "nowhere"),
                vlan(11, "ring2", id="ring1"),
                vlan(12, "ring1", id="ring2"),
                vlan(5, "port1"),
                vlan(5, "port1", id="again"),
            ],
            [static4(), static4("vlan5", "198.51.100.10")],
        ),
        (
            link("enp0s3", V4),
            link("vlan5", "198.51.100.10/24", vlan=Vlan("enp0s3", 5)),
        ),
        errors=(
            "links[1].vlan_id",
            "links[2].vlan_id",
            "links[3].vlan_id",
            "links[8].vlan_id",
            "links[4].vlan_link",
            "links[5].vlan_link",
            "links[6].vlan_link",
        ),
    ),
)
