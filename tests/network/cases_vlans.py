"""Conformance cases: VLANs on NICs, bonds and VLANs."""

from __future__ import annotations

from .case import (
    Case,
    bonded,
    default4,
    document,
    net,
    nic,
    static4,
    static6,
    vlan,
)
from .facts import Vlan, bond, link, route

V4 = "192.0.2.10/24"
V6 = "2001:db8:1::10/64"
TWO = [nic(1), nic(2)]
BOTH = ("port1", "port2")
MEMBERS = (link("enp0s3"), link("enp0s4"))

CASES = (
    Case(
        "vlan",
        "a VLAN on a NIC with an address of its own, the NIC without any",
        document(
            [nic(1), vlan(101, "port1", vlan_mac_address="52:54:00:00:02:01")],
            [static4("vlan101", routes=[default4("192.0.2.1")])],
        ),
        (
            link("enp0s3"),
            link(
                "vlan101",
                V4,
                routes=(route("0.0.0.0/0", "192.0.2.1"),),
                mac="52:54:00:00:02:01",
                vlan=Vlan("enp0s3", 101),
            ),
        ),
    ),
    Case(
        "vlan-plain",
        "a VLAN without a MAC address next to the untagged network, its tag given as text",
        document(
            [nic(1, mtu=1500), vlan("4094", "port1", mtu=1400)],
            [static4(), net("ipv4_dhcp", "vlan4094")],
        ),
        (
            link("enp0s3", V4, mtu=1500),
            link("vlan4094", dhcp4=True, mtu=1400, vlan=Vlan("enp0s3", 4094)),
        ),
    ),
    Case(
        "vlan-named",
        "VLANs are called as the document says",
        document(
            [nic(1), vlan(7, "port1", name="storage"), vlan(8, "port1", name="enp0s3.8")],
            [static4("vlan7"), static6("vlan8")],
        ),
        (
            link("enp0s3"),
            link("storage", V4, vlan=Vlan("enp0s3", 7)),
            link("enp0s3.8", V6, accept_ra=False, vlan=Vlan("enp0s3", 8)),
        ),
    ),
    Case(
        "vlan-same-tag",
        "the same tag on two NICs makes two VLANs of different names",
        document(
            [*TWO, vlan(5, "port1", id="left"), vlan(5, "port2", id="right")],
            [static4("left"), static4("right", "198.51.100.10")],
        ),
        (
            *MEMBERS,
            link("vlan5", V4, vlan=Vlan("enp0s3", 5)),
            link("vlan5-1", "198.51.100.10/24", vlan=Vlan("enp0s4", 5)),
        ),
    ),
    Case(
        "vlan-on-bond",
        "two VLANs on a bond, listed before it, and the bond with an address as well",
        document(
            [vlan(101, "bond"), vlan(102, "bond"), bonded(*BOTH, mode="802.3ad"), *TWO],
            [
                static4("bond"),
                static4("vlan101", "198.51.100.10", routes=[default4("198.51.100.1")]),
                static6("vlan102"),
            ],
        ),
        (
            *MEMBERS,
            link("bond0", V4, bond=bond("802.3ad", "enp0s3", "enp0s4")),
            link(
                "vlan101",
                "198.51.100.10/24",
                routes=(route("0.0.0.0/0", "198.51.100.1"),),
                vlan=Vlan("bond0", 101),
            ),
            link("vlan102", V6, accept_ra=False, vlan=Vlan("bond0", 102)),
        ),
    ),
    Case(
        "vlan-on-vlan",
        "a VLAN in a VLAN, the inner one listed first",
        document([vlan(20, "vlan10"), vlan(10, "port1"), nic(1)], [static4("vlan20")]),
        (
            link("enp0s3"),
            link("vlan10", vlan=Vlan("enp0s3", 10)),
            link("vlan20", V4, vlan=Vlan("vlan10", 20)),
        ),
    ),
    Case(
        "vlan-missing-nic",
        "a VLAN whose NIC the guest lacks is left out with it",
        document(
            [nic(1), nic(2, ethernet_mac_address="52:54:00:00:09:09"), vlan(5, "port2")],
            [static4(), static4("vlan5", "198.51.100.10")],
        ),
        (link("enp0s3", V4),),
        errors=("links[1]", "links[2]"),
    ),
    Case(
        "names-that-are-taken",
        "a bond cannot be called like a NIC, a VLAN not like the kernel's own files",
        document(
            [*TWO, bonded(*BOTH, name="enp0s5"), vlan(5, "bond", name="all")],
            [static4("bond"), static6("vlan5")],
        ),
        (
            *MEMBERS,
            link("bond0", V4, bond=bond("active-backup", "enp0s3", "enp0s4")),
            link("vlan5", V6, accept_ra=False, vlan=Vlan("bond0", 5)),
        ),
        errors=("links[3].name",),
    ),
)
