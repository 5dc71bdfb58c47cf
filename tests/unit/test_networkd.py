"""Interfaces as systemd.network(5) files."""

from __future__ import annotations

import pytest
from network_samples import (
    LABEL,
    MAC,
    NETWORKD_LINE,
    interface,
    route,
    strange_lines,
)
from network_samples import networkd_files as files

from guestagent.model import Interface, Rule


def body(given: Interface) -> dict[str, list[str]]:
    """Section name → its lines, as networkd merges them, of the interface's .network file."""
    (text,) = (text for name, text in files(given).items() if name.endswith(".network"))
    sections: dict[str, list[str]] = {}
    for block in text.strip().split("\n\n"):
        name, *lines = block.split("\n")
        sections.setdefault(name.strip("[]"), []).extend(lines)
    return sections


FULL = """
[Match]
PermanentMACAddress=52:54:00:00:01:01
Kind=!*

[Link]
MTUBytes=1450

[Network]
DHCP=no
IPv6AcceptRA=no
Address=192.0.2.5/32
Address=2001:db8::5/64
DNS=192.0.2.53
DNS=2001:db8::53
Domains=example.org lan

[Route]
Destination=0.0.0.0/0
Gateway=198.51.100.1
GatewayOnLink=yes

[Route]
Destination=10.0.0.0/8

[Route]
Destination=::/0
Gateway=fe80::1
Metric=1124
"""


def test_a_static_interface_in_full() -> None:
    given = interface(
        mtu=1450,
        accept_ra=False,
        addresses=("192.0.2.5/32", "2001:db8::5/64"),
        routes=(
            route(gateway="198.51.100.1", on_link=True),
            route(destination="10.0.0.0/8", gateway=None),
            route(destination="::/0", gateway="fe80::1", metric=1124),
        ),
        dns=("192.0.2.53", "2001:db8::53"),
        search=("example.org", "lan"),
    )
    assert files(given) == {f"{LABEL}.network": FULL}


@pytest.mark.parametrize(
    ("changes", "network", "advertised"),
    [
        ({"dhcp4": True}, ["DHCP=ipv4"], None),
        ({"dhcp6": "slaac", "accept_ra": True}, ["DHCP=no", "IPv6AcceptRA=yes"], "no"),
        ({"dhcp6": "stateless", "accept_ra": True}, ["DHCP=no", "IPv6AcceptRA=yes"], "yes"),
        ({"dhcp6": "stateful", "accept_ra": True}, ["DHCP=ipv6", "IPv6AcceptRA=yes"], "always"),
        (
            {"dhcp4": True, "dhcp6": "stateful", "accept_ra": True},
            ["DHCP=yes", "IPv6AcceptRA=yes"],
            "always",
        ),
        ({"dhcp4": True, "accept_ra": True}, ["DHCP=ipv4", "IPv6AcceptRA=yes"], None),
        ({"accept_ra": False}, ["DHCP=no", "IPv6AcceptRA=no"], None),
        ({}, ["DHCP=no"], None),
        ({"dhcp4": True, "link_local": True}, ["DHCP=ipv4", "LinkLocalAddressing=yes"], None),
    ],
)
def test_how_an_address_is_given(
    changes: dict[str, object], network: list[str], advertised: str | None
) -> None:
    sections = body(interface(addresses=(), **changes))
    assert sections["Network"] == network
    lines = [] if advertised is None else [f"DHCPv6Client={advertised}"]
    lines += ["UseDomains=yes"] if changes.get("accept_ra") else []
    assert sections.get("IPv6AcceptRA", []) == lines


def test_the_mtu_of_a_lease_is_taken_where_the_source_gives_none() -> None:
    dynamic = interface(addresses=(), dhcp4=True)
    assert body(dynamic)["DHCPv4"] == ["UseMTU=yes", "UseDomains=yes"]
    given = body(dynamic._replace(mtu=1400))
    assert given["Link"] == ["MTUBytes=1400"]
    assert given["DHCPv4"] == ["UseDomains=yes"]


def test_search_domains_are_taken_of_every_protocol_in_use() -> None:
    def takers(**changes: object) -> set[str]:
        sections = body(interface(**changes))
        return {name for name, lines in sections.items() if "UseDomains=yes" in lines}

    assert takers() == takers(accept_ra=False) == set()
    assert takers(dhcp4=True) == {"DHCPv4"}
    assert takers(accept_ra=True) == {"DHCPv6", "IPv6AcceptRA"}
    assert takers(dhcp6="slaac", accept_ra=True) == {"IPv6AcceptRA"}


def test_the_interface_is_matched_by_its_permanent_address_or_by_its_name() -> None:
    by_mac = body(interface(name="enp0s3"))
    assert by_mac["Match"] == [f"PermanentMACAddress={MAC}", "Kind=!*"]
    by_name = body(interface(mac="", name="enp0s3", id="enp0s3"))
    assert by_name["Match"] == ["Name=enp0s3"]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (interface(), None),
        (interface(required=False), ["RequiredForOnline=no"]),
        (interface(addresses=()), ["RequiredForOnline=no"]),
        (interface(addresses=(), mtu=9000), ["MTUBytes=9000", "RequiredForOnline=no"]),
        (interface(addresses=(), dhcp4=True), None),
        (interface(addresses=(), dhcp6="slaac", accept_ra=True), None),
        (interface(addresses=(), accept_ra=True), None),
        (interface(addresses=(), accept_ra=False), ["RequiredForOnline=no"]),
        (interface(dhcp4=True, required=False), ["RequiredForOnline=no"]),
    ],
)
def test_only_interfaces_that_will_be_online_are_waited_for(
    given: Interface, lines: list[str] | None
) -> None:
    assert body(given).get("Link") == lines


def test_the_metric_is_that_of_routes_by_protocol() -> None:
    given = interface(addresses=(), dhcp4=True, dhcp6="slaac", accept_ra=True, metric=1074)
    sections = body(given)
    assert sections["DHCPv4"][0] == "RouteMetric=1074"
    assert sections["IPv6AcceptRA"][:2] == ["DHCPv6Client=no", "RouteMetric=1074"]
    assert body(given._replace(dhcp4=False)).keys() & {"DHCPv4"} == set()
    assert body(interface(metric=1074, routes=(route(),)))["Route"] == [
        *("Destination=0.0.0.0/0", "Gateway=192.0.2.1"),
    ]


def test_policy_routing_is_routes_of_a_table_and_rules() -> None:
    given = interface(
        routes=(
            route(metric=100),
            route(destination="192.0.2.0/24", gateway=None, table=101),
            route(table=101),
        ),
        rules=(Rule("192.0.2.5/32", 101), Rule("192.0.2.6/32", 101)),
    )
    assert files(given)[f"{LABEL}.network"].partition("\n[Route]")[2] == (
        """
Destination=0.0.0.0/0
Gateway=192.0.2.1
Metric=100

[Route]
Destination=192.0.2.0/24
Table=101

[Route]
Destination=0.0.0.0/0
Gateway=192.0.2.1
Table=101

[RoutingPolicyRule]
From=192.0.2.5/32
Table=101
Priority=30000

[RoutingPolicyRule]
From=192.0.2.6/32
Table=101
Priority=30000
"""
    )


def test_every_line_is_one_that_guestagent_writes() -> None:
    assert strange_lines(FULL, NETWORKD_LINE) == []
