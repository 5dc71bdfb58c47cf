"""Conformance cases: hostile documents, and those of which nothing can be used."""

from __future__ import annotations

from .case import (
    Case,
    bonded,
    default4,
    document,
    nic,
    static4,
    vlan,
)
from .facts import Vlan, bond, link

V4 = "192.0.2.10/24"
KEPT = (link("enp0s3", V4),)
# DHCPv4 and what routers say on every NIC; the boot does not wait.
FALLBACK = tuple(
    link(name, dhcp4=True, accept_ra=True, metric=metric)._replace(required=False)
    for name, metric in (("enp0s3", None), ("enp0s4", 1074), ("enp0s5", 1174))
)
LINES = "x\n[Network]\nDHCP=yes\nup touch /tmp/owned"
WORDS = '"; touch /tmp/owned; $(reboot) `reboot` %i {a: b} # \\'

CASES = (
    Case(
        "hostile-ids",
        "ids of links are words of the source: they may be anything and name nothing",
        document(
            [
                nic(1, id=f"{LINES} {WORDS}"),
                nic(2, id="../../etc/passwd"),
                nic(3, id="-rf / \u202e\u0000"),
                bonded("../../etc/passwd", id="%s%n$(id)", bond_primary="../../etc/passwd"),
            ],
            [
                static4(f"{LINES} {WORDS}"),
                static4("%s%n$(id)", "198.51.100.10"),
                static4("-rf / \u202e\u0000", "203.0.113.10"),
            ],
        ),
        (
            link("enp0s3", V4),
            link("enp0s4"),
            link("enp0s5", "203.0.113.10/24"),
            link(
                "bond0",
                "198.51.100.10/24",
                bond=bond("active-backup", "enp0s4", primary="enp0s4"),
            ),
        ),
    ),
    Case(
        "hostile-values",
        "every value that reaches a file, with a line, a word of shell or a path added",
        document(
            [
                nic(1),
                nic(2, ethernet_mac_address=f"52:54:00:00:01:02{LINES}"),
                bonded("port1", name="../bond", id="named", bond_miimon=f"100{LINES}"),
                vlan(f"5{WORDS}", "port1", id="tagged"),
                vlan(6, "named", name=LINES, vlan_mac_address=WORDS),
            ],
            [
                static4("named", routes=[default4(f"192.0.2.1{LINES}")]),
                static4("vlan6", f"198.51.100.10{WORDS}"),
                static4("vlan6", "198.51.100.11", netmask=f"24{LINES}"),
                static4("vlan6", "198.51.100.12", dns_search=[LINES, WORDS]),
            ],
            f"192.0.2.53{LINES}",
        ),
        (
            link("enp0s3"),
            link("bond0", V4, bond=bond("active-backup", "enp0s3")),
            link("vlan6", "198.51.100.12/24", vlan=Vlan("bond0", 6)),
        ),
        errors=(
            "links[1].ethernet_mac_address",
            "links[2].name",
            "links[2].bond_miimon",
            "links[3].vlan_id",
            "links[4].vlan_mac_address",
            "links[4].name",
            "networks[0].routes[0].gateway",
            "networks[1].ip_address",
            "networks[2].netmask",
            "networks[3].dns_search[0]",
            "networks[3].dns_search[1]",
            "services[0].address",
        ),
    ),
    Case(
        "wrong-shapes",
        "numbers, text and lists where objects belong",
        {
            "links": [nic(1), 5, "port2", [nic(2)], None],
            "networks": [static4(routes="none", services={"type": "dns"}), 7],
            "services": "192.0.2.53",
        },
        KEPT,
        errors=(
            *(f"links[{index}]" for index in (1, 2, 3, 4)),
            "networks[0].services",
            "networks[0].routes",
            "networks[1]",
            "services",
        ),
    ),
    Case(
        "fallback-empty",
        "a document without anything: all NICs get DHCPv4 and listen to routers",
        document([], []),
        FALLBACK,
        warnings=("",),
    ),
    Case(
        "fallback-nothing-usable",
        "only an address that cannot be used: the guest can still be reached",
        document([nic(1)], [static4(address="0.0.0.0")]),
        FALLBACK,
        errors=("networks[0].ip_address",),
        warnings=("",),
    ),
    Case(
        "fallback-other-guest",
        "a document for other NICs altogether",
        document([nic(1, ethernet_mac_address="52:54:00:00:09:09")], [static4()]),
        FALLBACK,
        errors=("links[0]",),
        warnings=("",),
    ),
    Case(
        "fallback-not-an-object",
        "a document that is a list",
        [{"links": []}],
        FALLBACK,
        errors=("",),
        warnings=("",),
    ),
)
