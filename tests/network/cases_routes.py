"""Conformance cases: static routes, their metrics, gateways outside the subnet, policy routing."""

from __future__ import annotations

from .case import (
    Case,
    default4,
    default6,
    document,
    net,
    nic,
    static4,
    static6,
    via,
)
from .facts import Rule, link, route

V4 = "192.0.2.10/24"
V6 = "2001:db8:1::10/64"

CASES = (
    Case(
        "routes",
        "routes with and without a metric, masks as a dotted quad, digits and in the address",
        document(
            [nic(1)],
            [
                static4(
                    routes=[
                        via("10.1.0.0", "255.255.0.0", "192.0.2.1"),
                        via("10.2.0.0", "16", "192.0.2.1", metric=50),
                        via("10.3.0.0/16", None, "192.0.2.2", metric=0),
                        {"destination": "10.4.0.0/16", "gateway": "192.0.2.2"},
                    ]
                )
            ],
        ),
        (
            link(
                "enp0s3",
                V4,
                routes=(
                    route("10.1.0.0/16", "192.0.2.1"),
                    route("10.2.0.0/16", "192.0.2.1", 50),
                    route("10.3.0.0/16", "192.0.2.2", 0),
                    route("10.4.0.0/16", "192.0.2.2"),
                ),
            ),
        ),
    ),
    Case(
        "routes-v6",
        "IPv6 routes with and without a metric; without one it is the kernel's 1024",
        document(
            [nic(1)],
            [
                static6(
                    routes=[
                        via("2001:db8:a::", "ffff:ffff:ffff::", "2001:db8:1::1"),
                        via("2001:db8:b::", 48, "2001:db8:1::1", metric=50),
                        {"network": "2001:db8:c::/48", "gateway": "fe80::1"},
                    ]
                )
            ],
        ),
        (
            link(
                "enp0s3",
                V6,
                routes=(
                    route("2001:db8:a::/48", "2001:db8:1::1", 1024),
                    route("2001:db8:b::/48", "2001:db8:1::1", 50),
                    route("2001:db8:c::/48", "fe80::1", 1024),
                ),
                accept_ra=False,
            ),
        ),
    ),
    Case(
        "host-bits",
        "host bits of a route's destination do not count",
        document([nic(1)], [static4(routes=[via("10.1.2.3", "255.255.0.0", "192.0.2.1")])]),
        (link("enp0s3", V4, routes=(route("10.1.0.0/16", "192.0.2.1"),)),),
    ),
    Case(
        "host-route",
        "a route to one address, as Neutron has for the metadata service",
        document([nic(1)], [static4(routes=[via("169.254.169.254", 32, "192.0.2.2")])]),
        (link("enp0s3", V4, routes=(route("169.254.169.254/32", "192.0.2.2"),)),),
    ),
    Case(
        "no-gateway",
        "a route without a gateway, or over 0.0.0.0, goes to the link itself",
        document(
            [nic(1)],
            [
                static4(
                    routes=[
                        {"network": "10.1.0.0", "netmask": "255.255.0.0"},
                        via("10.2.0.0", "255.255.0.0", "0.0.0.0"),
                    ]
                )
            ],
        ),
        (link("enp0s3", V4, routes=(route("10.1.0.0/16"), route("10.2.0.0/16"))),),
    ),
    Case(
        "gateway-key",
        "a gateway next to the address is a default route",
        document(
            [nic(1)],
            [static4(gateway="192.0.2.1"), static6(gateway="fe80::1")],
        ),
        (
            link(
                "enp0s3",
                V4,
                V6,
                routes=(route("0.0.0.0/0", "192.0.2.1"), route("::/0", "fe80::1")),
                accept_ra=False,
            ),
        ),
    ),
    Case(
        "on-link-v4",
        "a /32 address whose gateway is in no subnet",
        document(
            [nic(1)],
            [static4(netmask="255.255.255.255", routes=[default4("198.51.100.1")])],
        ),
        (
            link(
                "enp0s3",
                "192.0.2.10/32",
                routes=(route("0.0.0.0/0", "198.51.100.1", on_link=True),),
            ),
        ),
    ),
    Case(
        "on-link-v6",
        "a /128 address whose gateway is in no subnet",
        document([nic(1)], [static6(netmask=128, gateway="2001:db8:ffff::1")]),
        (
            link(
                "enp0s3",
                "2001:db8:1::10/128",
                routes=(route("::/0", "2001:db8:ffff::1", on_link=True),),
                accept_ra=False,
            ),
        ),
    ),
    Case(
        "link-local-gateway-v4",
        "a gateway of 169.254.0.0/16 next to a public /32 address",
        document(
            [nic(1)],
            [static4(netmask=32, routes=[default4("169.254.0.1")])],
        ),
        (
            link(
                "enp0s3",
                "192.0.2.10/32",
                routes=(route("0.0.0.0/0", "169.254.0.1", on_link=True),),
            ),
        ),
    ),
    Case(
        "two-defaults",
        "two NICs with a default route each: the first in the document is preferred",
        document(
            [nic(1), nic(2)],
            [
                static4(routes=[default4("192.0.2.1")]),
                static6(routes=[default6("2001:db8:1::1")]),
                static4("port2", "198.51.100.10", routes=[default4("198.51.100.1")]),
                static6("port2", "2001:db8:2::10", routes=[default6("2001:db8:2::1")]),
            ],
        ),
        (
            link(
                "enp0s3",
                V4,
                V6,
                routes=(route("0.0.0.0/0", "192.0.2.1"), route("::/0", "2001:db8:1::1", 1024)),
                accept_ra=False,
            ),
            link(
                "enp0s4",
                "198.51.100.10/24",
                "2001:db8:2::10/64",
                routes=(
                    route("0.0.0.0/0", "198.51.100.1", 100),
                    route("::/0", "2001:db8:2::1", 1124),
                ),
                accept_ra=False,
            ),
        ),
    ),
    Case(
        "given-metrics",
        "metrics of default routes that the document gives are kept, the others avoid them",
        document(
            [nic(1), nic(2), nic(3)],
            [
                static4(routes=[default4("192.0.2.1", metric=100)]),
                static4("port2", "198.51.100.10", routes=[default4("198.51.100.1")]),
                static4("port3", "203.0.113.10", routes=[default4("203.0.113.1")]),
            ],
        ),
        (
            link("enp0s3", V4, routes=(route("0.0.0.0/0", "192.0.2.1", 100),)),
            link("enp0s4", "198.51.100.10/24", routes=(route("0.0.0.0/0", "198.51.100.1", 0),)),
            link("enp0s5", "203.0.113.10/24", routes=(route("0.0.0.0/0", "203.0.113.1", 200),)),
        ),
    ),
    Case(
        "two-gateways-one-link",
        "two default routes of one NIC get metrics one after the other",
        document(
            [nic(1)],
            [static4(routes=[default4("192.0.2.1"), default4("192.0.2.2")])],
        ),
        (
            link(
                "enp0s3",
                V4,
                routes=(route("0.0.0.0/0", "192.0.2.1", 0), route("0.0.0.0/0", "192.0.2.2", 100)),
            ),
        ),
    ),
    Case(
        "three-dhcp",
        "DHCP on three NICs: their default routes are ranked in the document's order",
        document(
            [nic(2), nic(1), nic(3)],
            [
                net("ipv4_dhcp", "port2"),
                net("ipv4_dhcp", "port1"),
                net("ipv6_slaac", "port1"),
                net("ipv6_dhcpv6-stateful", "port3"),
            ],
        ),
        (
            link("enp0s4", dhcp4=True),
            link("enp0s3", dhcp4=True, dhcp6="slaac", accept_ra=True, metric=1074),
            link("enp0s5", dhcp6="stateful", accept_ra=True, metric=1174),
        ),
    ),
    Case(
        "static-and-dhcp",
        "a static default route comes before the one by DHCP on another NIC",
        document(
            [nic(1), nic(2)],
            [net("ipv4_dhcp"), static4("port2", "198.51.100.10", gateway="198.51.100.1")],
        ),
        (
            link("enp0s3", dhcp4=True, metric=1074),
            link("enp0s4", "198.51.100.10/24", routes=(route("0.0.0.0/0", "198.51.100.1"),)),
        ),
    ),
    Case(
        "policy-routing",
        "by setting: answers of the second NIC leave by the second NIC",
        document(
            [nic(1), nic(2)],
            [
                static4(routes=[default4("192.0.2.1")]),
                static4(
                    "port2",
                    "198.51.100.10",
                    routes=[default4("198.51.100.1"), via("10.0.0.0", 8, "198.51.100.2")],
                ),
                static6("port2", "2001:db8:2::10", routes=[default6("2001:db8:2::1")]),
            ],
        ),
        (
            link("enp0s3", V4, routes=(route("0.0.0.0/0", "192.0.2.1"),)),
            link(
                "enp0s4",
                "198.51.100.10/24",
                "2001:db8:2::10/64",
                routes=(
                    route("0.0.0.0/0", "198.51.100.1", 100),
                    route("10.0.0.0/8", "198.51.100.2"),
                    route("::/0", "2001:db8:2::1"),
                    route("198.51.100.0/24", table=101),
                    route("0.0.0.0/0", "198.51.100.1", table=101),
                    route("2001:db8:2::/64", table=101),
                    route("::/0", "2001:db8:2::1", table=101),
                ),
                rules=(Rule("198.51.100.10/32", 101), Rule("2001:db8:2::10/128", 101)),
                accept_ra=False,
            ),
        ),
        policy_routing=True,
    ),
    Case(
        "policy-routing-on-link",
        "by setting, with a /32 address and a gateway outside of it, on three NICs",
        document(
            [nic(1), nic(2), nic(3)],
            [
                static4(routes=[default4("192.0.2.1")]),
                static4("port2", "203.0.113.7", netmask=32, routes=[default4("198.51.100.1")]),
                static4("port3", "203.0.113.9", netmask=29, gateway="203.0.113.14"),
            ],
        ),
        (
            link("enp0s3", V4, routes=(route("0.0.0.0/0", "192.0.2.1"),)),
            link(
                "enp0s4",
                "203.0.113.7/32",
                routes=(
                    route("0.0.0.0/0", "198.51.100.1", 100, on_link=True),
                    route("203.0.113.7/32", table=101),
                    route("0.0.0.0/0", "198.51.100.1", on_link=True, table=101),
                ),
                rules=(Rule("203.0.113.7/32", 101),),
            ),
            link(
                "enp0s5",
                "203.0.113.9/29",
                routes=(
                    route("0.0.0.0/0", "203.0.113.14", 200),
                    route("203.0.113.8/29", table=102),
                    route("0.0.0.0/0", "203.0.113.14", table=102),
                ),
                rules=(Rule("203.0.113.9/32", 102),),
            ),
        ),
        policy_routing=True,
    ),
    Case(
        "policy-routing-one-nic",
        "by setting, where only one NIC has a default route: nothing to decide",
        document(
            [nic(1), nic(2)],
            [static4(gateway="192.0.2.1"), static4("port2", "198.51.100.10")],
        ),
        (
            link("enp0s3", V4, routes=(route("0.0.0.0/0", "192.0.2.1"),)),
            link("enp0s4", "198.51.100.10/24"),
        ),
        policy_routing=True,
    ),
)
