"""Conformance cases: NICs of all types, their MTU, DNS."""

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
        "nova-full",
        "a document as Nova makes it: one port, IPv4 and IPv6, routes, two levels of services",
        document(
            [nic(1, id="tap1a81968a-79", type="ovs", mtu=1450)],
            [
                static4(
                    "tap1a81968a-79",
                    routes=[default4("192.0.2.1"), via("10.0.0.0", "255.0.0.0", "192.0.2.254")],
                    services=services("192.0.2.53"),
                ),
                static6(
                    "tap1a81968a-79",
                    routes=[default6("2001:db8:1::1")],
                    services=services("2001:db8:1::53"),
                ),
            ],
            "192.0.2.53",
            "2001:db8:1::53",
        ),
        (
            link(
                "enp0s3",
                V4,
                V6,
                routes=(
                    route("0.0.0.0/0", "192.0.2.1"),
                    route("10.0.0.0/8", "192.0.2.254"),
                    route("::/0", "2001:db8:1::1"),
                ),
                dns=("192.0.2.53", "2001:db8:1::53"),
                mtu=1450,
                accept_ra=False,
            ),
        ),
    ),
    Case(
        "nic-types-1",
        "link types bridge, dvs and hw_veb are plain NICs",
        document(
            [nic(1, type="bridge"), nic(2, type="dvs"), nic(3, type="hw_veb")],
            [static4("port1"), static4("port2", "198.51.100.10"), net("ipv4_dhcp", "port3")],
        ),
        (
            link("enp0s3", V4),
            link("enp0s4", "198.51.100.10/24"),
            link("enp0s5", dhcp4=True),
        ),
    ),
    Case(
        "nic-types-2",
        "link types hyperv, ovs and tap are plain NICs",
        document(
            [nic(1, type="hyperv"), nic(2, type="ovs"), nic(3, type="tap")],
            [static4("port1"), static4("port2", "198.51.100.10"), static6("port3")],
        ),
        (
            link("enp0s3", V4),
            link("enp0s4", "198.51.100.10/24"),
            link("enp0s5", V6, accept_ra=False),
        ),
    ),
    Case(
        "nic-types-3",
        "link types vhostuser, vif and phy are plain NICs",
        document(
            [nic(1, type="vhostuser"), nic(2, type="vif"), nic(3)],
            [static4("port1"), static4("port2", "198.51.100.10"), static6("port3")],
        ),
        (
            link("enp0s3", V4),
            link("enp0s4", "198.51.100.10/24"),
            link("enp0s5", V6, accept_ra=False),
        ),
    ),
    Case(
        "nic-types-4",
        "link types ethernet and cascading, and none, are plain NICs",
        document(
            [nic(1, type="ethernet"), nic(2, type="cascading"), nic(3, type=None)],
            [static4("port1"), static4("port2", "198.51.100.10"), static6("port3")],
        ),
        (
            link("enp0s3", V4),
            link("enp0s4", "198.51.100.10/24"),
            link("enp0s5", V6, accept_ra=False),
        ),
    ),
    Case(
        "mtu",
        "an MTU is set, null and absent leave it alone",
        document(
            [nic(1, mtu=9000), nic(2, mtu=None), nic(3)],
            [static4(), static4("port2", "198.51.100.10"), static6("port3")],
        ),
        (
            link("enp0s3", V4, mtu=9000),
            link("enp0s4", "198.51.100.10/24"),
            link("enp0s5", V6, accept_ra=False),
        ),
    ),
    Case(
        "mac-spelling",
        "MAC addresses in upper case and with dashes find their NICs",
        document(
            [
                nic(1, ethernet_mac_address="52:54:00:00:01:01".upper()),
                nic(2, ethernet_mac_address="52-54-00-00-01-02"),
            ],
            [static4(), static4("port2", "198.51.100.10")],
        ),
        (link("enp0s3", V4), link("enp0s4", "198.51.100.10/24")),
    ),
    Case(
        "unused-nic",
        "a link without a network is configured without any address, and not waited for",
        document([nic(1), nic(2, mtu=1400)], [static4()], "192.0.2.53"),
        (link("enp0s3", V4, dns=("192.0.2.53",)), link("enp0s4", mtu=1400)),
    ),
    Case(
        "dns-everywhere",
        "DNS servers of networks, routes and the document: in this order, none twice",
        document(
            [nic(1), nic(2)],
            [
                static4(
                    services=services("192.0.2.53", "192.0.2.54"),
                    routes=[default4("192.0.2.1", services=services("192.0.2.55", "192.0.2.53"))],
                ),
                static6("port2", services=services("2001:DB8::53")),
            ],
            "192.0.2.54",
            "198.51.100.53",
        ),
        (
            link(
                "enp0s3",
                V4,
                routes=(route("0.0.0.0/0", "192.0.2.1"),),
                dns=("192.0.2.53", "192.0.2.54", "192.0.2.55", "198.51.100.53"),
            ),
            link(
                "enp0s4",
                V6,
                accept_ra=False,
                dns=("2001:db8::53", "192.0.2.54", "198.51.100.53"),
            ),
        ),
    ),
    Case(
        "dns-of-other-family",
        "DNS servers of the document that are of a family which a link has no address of",
        document(
            [nic(1), nic(2), nic(3)],
            [static4(), static6("port2", dns_search=["lan"]), net("ipv4_dhcp", "port3")],
            "192.0.2.53",
            "2001:db8:1::53",
        ),
        (
            link("enp0s3", V4, dns=("192.0.2.53", "2001:db8:1::53")),
            link(
                "enp0s4", V6, accept_ra=False, dns=("192.0.2.53", "2001:db8:1::53"), search=("lan",)
            ),
            link("enp0s5", dhcp4=True, dns=("192.0.2.53", "2001:db8:1::53")),
        ),
    ),
    Case(
        "services-not-dns",
        "services other than DNS are no name servers, nor is 0.0.0.0, Neutron's word for none",
        document(
            [nic(1)],
            [
                static4(
                    services=[
                        {"type": "ntp", "address": "192.0.2.123"},
                        *services("0.0.0.0", "192.0.2.53"),
                    ]
                )
            ],
        ),
        (link("enp0s3", V4, dns=("192.0.2.53",)),),
    ),
    Case(
        "search-domains",
        "search domains of a network and of the document, in small letters",
        {
            **document([nic(1)], [static4(dns_search=["Example.ORG", "lan"])], "192.0.2.53"),
            "dns_search": ["corp.example"],
        },
        (
            link(
                "enp0s3",
                V4,
                dns=("192.0.2.53",),
                search=("example.org", "lan", "corp.example"),
            ),
        ),
    ),
    Case(
        "search-on-dhcp",
        "DNS server and search domain of the document on a link with DHCP",
        document(
            [nic(1)],
            [net("ipv4_dhcp", dns_nameservers=["192.0.2.53"], dns_search=["example.org"])],
        ),
        (link("enp0s3", dhcp4=True, dns=("192.0.2.53",), search=("example.org",)),),
    ),
    Case(
        "nulls",
        "null lists and keys are as good as absent ones",
        {
            "links": [nic(1)],
            "networks": [static4(routes=None, services=None, gateway=None)],
            "services": None,
        },
        (link("enp0s3", V4),),
    ),
)
