"""Interfaces as systemd.network(5) files."""

from __future__ import annotations

import pytest
from network_samples import BAD_FIELDS, MAC, NETWORKD_LINE, interface, route, strange_lines

from guestagent.desired.network import networkd
from guestagent.errors import FieldError
from guestagent.model import Interface


def body(text: str) -> dict[str, list[str]]:
    """Section name → its lines, as networkd merges them; sections of a name separated by ''."""
    sections: dict[str, list[str]] = {}
    for block in text.split("\n\n")[1:]:
        name, *lines = block.strip().split("\n")
        sections.setdefault(name.strip("[]"), []).extend(lines)
    return sections


FULL = """\
# Written by guestagent; settings of your own belong in a drop-in of this file.

[Match]
PermanentMACAddress=52:54:00:aa:bb:cc
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
    assert networkd.render(given) == FULL


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
    ],
)
def test_how_an_address_is_given(
    changes: dict[str, object], network: list[str], advertised: str | None
) -> None:
    sections = body(networkd.render(interface(addresses=(), **changes)))
    assert sections["Network"] == network
    expected = None if advertised is None else [f"DHCPv6Client={advertised}"]
    assert sections.get("IPv6AcceptRA") == expected


def test_the_interface_is_matched_by_its_permanent_address_or_by_its_name() -> None:
    by_mac = body(networkd.render(interface(name="eth0")))
    assert by_mac["Match"] == [f"PermanentMACAddress={MAC}", "Kind=!*"]
    by_name = body(networkd.render(interface(mac="", name="eth0")))
    assert by_name["Match"] == ["Name=eth0"]


@pytest.mark.parametrize(
    ("given", "required", "lines"),
    [
        (interface(), True, None),
        (interface(), False, ["RequiredForOnline=no"]),
        (interface(addresses=()), True, ["RequiredForOnline=no"]),
        (interface(addresses=(), mtu=9000), True, ["MTUBytes=9000", "RequiredForOnline=no"]),
        (interface(addresses=(), dhcp4=True), True, None),
        (interface(addresses=(), accept_ra=True), True, None),
    ],
)
def test_only_interfaces_that_will_be_online_are_waited_for(
    given: Interface, required: bool, lines: list[str] | None
) -> None:
    assert body(networkd.render(given, required)).get("Link") == lines


@pytest.mark.parametrize(("rank", "metric"), [(1, "1074"), (2, "1174")])
def test_a_later_interface_prefers_its_routes_by_protocol_less(rank: int, metric: str) -> None:
    given = interface(addresses=(), dhcp4=True, dhcp6="slaac", accept_ra=True)
    sections = body(networkd.render(given, rank=rank))
    assert sections["DHCPv4"] == [f"RouteMetric={metric}"]
    assert sections["IPv6AcceptRA"] == ["DHCPv6Client=no", f"RouteMetric={metric}"]
    assert "RouteMetric" not in networkd.render(interface(), rank=rank)


def test_the_file_name_is_made_of_the_mac_address_or_the_index() -> None:
    expected = "/etc/systemd/network/10-guestagent-525400aabbcc.network"
    assert networkd.path(interface(name="eth0"), 3) == expected
    assert networkd.path(interface(mac="", name="eth0"), 3) == (
        "/etc/systemd/network/10-guestagent-if3.network"
    )


def test_every_line_is_one_that_guestagent_writes() -> None:
    assert strange_lines(FULL, NETWORKD_LINE) == []


@pytest.mark.parametrize(
    "bad", [bad for _, bad in BAD_FIELDS], ids=[name for name, _ in BAD_FIELDS]
)
def test_E5_a_model_with_a_bad_field_is_not_rendered(bad: Interface) -> None:
    with pytest.raises(FieldError) as caught:
        networkd.render(bad)
    assert "\n" not in str(caught.value)
