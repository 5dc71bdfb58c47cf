"""Conformance cases: how a NIC gets its addresses."""

from __future__ import annotations

from .case import (
    Case,
    default4,
    default6,
    document,
    net,
    nic,
    services,
    static4,
    static6,
    via,
)
from .facts import link, route

V4 = "192.0.2.10/24"
V6 = "2001:db8:1::10/64"

CASES = (
    Case(
        "ipv4-dhcp",
        "DHCPv4, as Nova describes a port whose subnet has it",
        document([nic(1)], [net("ipv4_dhcp")]),
        (link("enp0s3", dhcp4=True),),
    ),
    Case(
        "ipv4-dhcp-mtu-route",
        "DHCPv4 with an MTU, a route and a DNS server from the document",
        document(
            [nic(1, mtu=1450)],
            [net("ipv4_dhcp", routes=[via("10.9.0.0", "255.255.0.0", "192.0.2.9")])],
            "192.0.2.53",
        ),
        (
            link(
                "enp0s3",
                dhcp4=True,
                mtu=1450,
                routes=(route("10.9.0.0/16", "192.0.2.9", on_link=True),),
                dns=("192.0.2.53",),
            ),
        ),
    ),
    Case(
        "ipv6-slaac",
        "ipv6_slaac: the router gives address and routes, the document's are not set again",
        document(
            [nic(1)],
            [
                net(
                    "ipv6_slaac",
                    ip_address="2001:db8:1::10",
                    netmask="ffff:ffff:ffff:ffff::",
                    routes=[default6("fe80::1")],
                    services=services("2001:db8:1::53"),
                )
            ],
        ),
        (link("enp0s3", dhcp6="slaac", accept_ra=True, dns=("2001:db8:1::53",)),),
    ),
    Case(
        "ipv6-dhcp",
        "ipv6_dhcp: an address by DHCPv6, routes from the router",
        document([nic(1)], [net("ipv6_dhcp")]),
        (link("enp0s3", dhcp6="stateful", accept_ra=True),),
    ),
    Case(
        "ipv6-stateful",
        "ipv6_dhcpv6-stateful: an address by DHCPv6, routes from the router",
        document([nic(1)], [net("ipv6_dhcpv6-stateful")]),
        (link("enp0s3", dhcp6="stateful", accept_ra=True),),
    ),
    Case(
        "ipv6-stateless",
        "ipv6_dhcpv6-stateless: an address from the router, other things by DHCPv6",
        document([nic(1)], [net("ipv6_dhcpv6-stateless")]),
        (link("enp0s3", dhcp6="stateless", accept_ra=True),),
    ),
    Case(
        "ipv6-static",
        "ipv6: an address of the document, router advertisements are ignored",
        document([nic(1)], [static6(routes=[default6("2001:db8:1::1")])]),
        (
            link(
                "enp0s3",
                V6,
                routes=(route("::/0", "2001:db8:1::1"),),
                accept_ra=False,
            ),
        ),
    ),
    Case(
        "ipv6-before-ipv4",
        "a static IPv6 network listed before an IPv4 one: advertisements stay ignored",
        document([nic(1)], [static6(), static4(), net("ipv4_dhcp")]),
        (link("enp0s3", V4, V6, accept_ra=False, dhcp4=True),),
    ),
    Case(
        "dual-dynamic",
        "DHCPv4 and SLAAC on one link",
        document([nic(1)], [net("ipv4_dhcp"), net("ipv6_slaac")]),
        (link("enp0s3", dhcp4=True, dhcp6="slaac", accept_ra=True),),
    ),
    Case(
        "dual-dhcp",
        "DHCPv4 and stateful DHCPv6 on one link",
        document([nic(1)], [net("ipv4_dhcp"), net("ipv6_dhcpv6-stateful")]),
        (link("enp0s3", dhcp4=True, dhcp6="stateful", accept_ra=True),),
    ),
    Case(
        "static4-slaac6",
        "a static IPv4 address and SLAAC on one link",
        document([nic(1)], [static4(gateway="192.0.2.1"), net("ipv6_slaac")]),
        (
            link(
                "enp0s3",
                V4,
                routes=(route("0.0.0.0/0", "192.0.2.1"),),
                dhcp6="slaac",
                accept_ra=True,
                metric=1074,
            ),
        ),
    ),
    Case(
        "static6-and-slaac",
        "a static IPv6 address next to SLAAC: advertisements are taken",
        document([nic(1)], [static6(), net("ipv6_slaac")]),
        (link("enp0s3", V6, dhcp6="slaac", accept_ra=True),),
    ),
    Case(
        "stateless-and-stateful",
        "of two ways of IPv6 on one link the one that asks for more is used",
        document([nic(1)], [net("ipv6_dhcpv6-stateless"), net("ipv6_dhcpv6-stateful")]),
        (link("enp0s3", dhcp6="stateful", accept_ra=True),),
    ),
    Case(
        "static4-and-dhcp4",
        "a static IPv4 address next to DHCPv4",
        document([nic(1)], [static4(), net("ipv4_dhcp")]),
        (link("enp0s3", V4, dhcp4=True),),
    ),
    Case(
        "several-per-link",
        "five networks on one link are five addresses on it",
        document(
            [nic(1)],
            [
                static4(routes=[default4("192.0.2.1")]),
                static4(address="192.0.2.11"),
                static4(address="198.51.100.11"),
                static6(routes=[default6("fe80::1")]),
                static6(address="2001:db8:2::11"),
            ],
        ),
        (
            link(
                "enp0s3",
                V4,
                "192.0.2.11/24",
                "198.51.100.11/24",
                V6,
                "2001:db8:2::11/64",
                routes=(route("0.0.0.0/0", "192.0.2.1"), route("::/0", "fe80::1")),
                accept_ra=False,
            ),
        ),
    ),
    Case(
        "same-network-twice",
        "a network that is listed twice is one address, one route, one DNS server",
        document(
            [nic(1)],
            2 * [static4(routes=[via("10.0.0.0", "255.0.0.0", "192.0.2.1")])],
            "192.0.2.53",
            "192.0.2.53",
        ),
        (
            link(
                "enp0s3",
                V4,
                routes=(route("10.0.0.0/8", "192.0.2.1"),),
                dns=("192.0.2.53",),
            ),
        ),
    ),
    Case(
        "netmask-forms",
        "netmasks as a dotted quad, a number, in the address and as digits in text",
        document(
            [nic(1), nic(2), nic(3)],
            [
                static4(netmask="255.255.252.0"),
                static4("port2", "198.51.100.10", netmask=26),
                static4("port2", "203.0.113.10/28", netmask=None),
                static4("port3", "203.0.113.100", netmask="30"),
            ],
        ),
        (
            link("enp0s3", "192.0.2.10/22"),
            link("enp0s4", "198.51.100.10/26", "203.0.113.10/28"),
            link("enp0s5", "203.0.113.100/30"),
        ),
    ),
    Case(
        "netmask-forms-v6",
        "IPv6 masks written out, shortened, as a number and in the address",
        document(
            [nic(1), nic(2)],
            [
                static6(netmask="ffff:ffff:ffff:ffff:0000:0000:0000:0000"),
                static6(address="2001:DB8:2:0::A", netmask="ffff:ffff:ffff::"),
                static6("port2", "2001:db8:3::10", netmask=60),
                static6("port2", "2001:db8:4::10/127", netmask=None),
            ],
        ),
        (
            link("enp0s3", V6, "2001:db8:2::a/48", accept_ra=False),
            link("enp0s4", "2001:db8:3::10/60", "2001:db8:4::10/127", accept_ra=False),
        ),
    ),
)
