"""Interfaces as NetworkManager's profiles, nm-settings-keyfile(5)."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from network_samples import (
    LABEL,
    LABEL2,
    LABEL3,
    MAC,
    MAC2,
    MAC3,
    ORIGIN,
    bond,
    interface,
    member,
    rendered,
    route,
    vlan,
)

from guestagent.model import Interface, Rule
from guestagent.parse.network import bonding

STEM = "/etc/NetworkManager/system-connections/guestagent-"
HEADER = "# Written by guestagent; settings of your own belong in a profile of higher priority.\n"
UUIDS = {
    LABEL: "6c2e819d-0d5f-8432-b76f-97533c610839",
    LABEL2: "630c48cb-0026-8f5f-bae0-2d19c34c9ac6",
    "bond0": "4e58433c-38dd-8463-9f03-e7d51f3f6bf3",
}


def files(*interfaces: Interface) -> dict[str, str]:
    """Label → the text of its profile below the header."""
    found = {}
    for path, text, mode, _ in rendered("networkmanager", *interfaces)[0]:
        assert mode == 0o600  # NetworkManager ignores what others may read
        assert (path[: len(STEM)], text[: len(HEADER)]) == (STEM, HEADER)
        assert path.endswith(".nmconnection")
        found[path[len(STEM) :].removesuffix(".nmconnection")] = text[len(HEADER) :]
    return found


def body(given: Interface, *others: Interface) -> dict[str, list[str]]:
    """Section name → its lines, of the profile of the first interface."""
    blocks = files(given, *others)[given.id].strip().split("\n\n")
    sections = (block.split("\n") for block in blocks)
    return {name.strip("[]"): lines for name, *lines in sections}


def lost(*interfaces: Interface) -> list[str]:
    """What NetworkManager cannot express."""
    return [problem.reason for problem in rendered("networkmanager", *interfaces)[1]]


FULL = """
[connection]
id=guestagent-nic525400000101
uuid=6c2e819d-0d5f-8432-b76f-97533c610839
type=ethernet
autoconnect-priority=200

[ethernet]
mac-address=52:54:00:00:01:01
mtu=1450

[ipv4]
method=manual
address1=192.0.2.5/32
address2=192.0.2.6/32
dns=192.0.2.53;
dns-search=example.org;lan;
route1=0.0.0.0/0,198.51.100.1,0
route1_options=onlink=true
route2=10.0.0.0/8,,0

[ipv6]
method=manual
addr-gen-mode=eui64
ip6-privacy=0
address1=2001:db8::5/64
dns=2001:db8::53;2001:db8::54;
route1=::/0,fe80::1,1124
route2=2001:db8:1::/48,2001:db8::1,1024
"""


def test_a_static_interface_in_full() -> None:
    given = interface(
        name="enp0s3",
        mtu=1450,
        accept_ra=False,
        addresses=("192.0.2.5/32", "2001:db8::5/64", "192.0.2.6/32"),
        routes=(
            route(gateway="198.51.100.1", on_link=True),
            route(destination="::/0", gateway="fe80::1", metric=1124),
            route(destination="10.0.0.0/8", gateway=None),
            route(destination="2001:db8:1::/48", gateway="2001:db8::1"),
        ),
        dns=("192.0.2.53", "2001:db8::53", "2001:db8::54"),
        search=("example.org", "lan"),
    )
    assert files(given) == {LABEL: FULL}
    assert lost(given) == []


NEVER4 = ["dhcp-timeout=2147483647"]
NEVER6 = ["dhcp-timeout=2147483647", "ra-timeout=2147483647"]
EUI64 = ["addr-gen-mode=eui64", "ip6-privacy=0"]
AUTO4 = ["method=auto", *NEVER4]
AUTO6 = ["method=auto", *NEVER6, *EUI64]


@pytest.mark.parametrize(
    ("changes", "ipv4", "ipv6"),
    [
        ({"dhcp4": True}, AUTO4, ["method=ignore"]),
        ({"dhcp6": "slaac", "accept_ra": True}, ["method=disabled"], AUTO6),
        ({"dhcp6": "stateless", "accept_ra": True}, ["method=disabled"], AUTO6),
        ({"dhcp6": "stateful", "accept_ra": True}, ["method=disabled"], AUTO6),
        ({"dhcp4": True, "dhcp6": "stateful", "accept_ra": True}, AUTO4, AUTO6),
        ({"dhcp4": True, "accept_ra": True}, AUTO4, AUTO6),
        ({"accept_ra": False}, ["method=disabled"], ["method=link-local", *EUI64]),
        ({}, ["method=disabled"], ["method=ignore"]),
    ],
)
def test_how_an_address_is_given(
    changes: dict[str, object], ipv4: list[str], ipv6: list[str]
) -> None:
    sections = body(interface(addresses=(), **changes))
    assert (sections["ipv4"], sections["ipv6"]) == (ipv4, ipv6)


def test_static_addresses_stand_beside_those_by_protocol() -> None:
    addresses = ("192.0.2.5/24", "2001:db8::5/64")
    sections = body(interface(dhcp4=True, dhcp6="slaac", accept_ra=True, addresses=addresses))
    assert sections["ipv4"] == [*AUTO4, "address1=192.0.2.5/24"]
    assert sections["ipv6"] == [*AUTO6, "address1=2001:db8::5/64"]


def test_static_ipv6_does_without_routers_unless_they_are_asked_for() -> None:
    given = interface(addresses=("2001:db8::5/64",), accept_ra=None)
    assert body(given)["ipv6"] == ["method=manual", *EUI64, "address1=2001:db8::5/64"]


def test_a_nic_is_matched_by_its_permanent_address_or_by_its_name() -> None:
    by_mac = body(interface(name="enp0s3"))
    assert by_mac["ethernet"] == [f"mac-address={MAC}"]
    assert "interface-name=enp0s3" not in by_mac["connection"]
    by_name = body(interface(mac="", name="enp0s3", id="enp0s3"))
    assert "interface-name=enp0s3" in by_name["connection"]
    assert "ethernet" not in by_name


def test_the_metric_is_that_of_routes_by_protocol() -> None:
    given = interface(addresses=(), dhcp4=True, dhcp6="slaac", accept_ra=True, metric=1074)
    sections = body(given)
    assert sections["ipv4"] == [*AUTO4, "route-metric=1074"]
    assert sections["ipv6"] == ["method=auto", *NEVER6, "route-metric=1074", *EUI64]
    static = body(interface(metric=1074, routes=(route(),)))["ipv4"]
    assert static[2:] == ["route1=0.0.0.0/0,192.0.2.1,0"]


def test_policy_routing_is_routes_of_a_table_and_rules() -> None:
    sections = body(
        interface(
            addresses=("192.0.2.5/24", "2001:db8::5/64"),
            accept_ra=False,
            routes=(
                route(metric=100),
                route(destination="192.0.2.0/24", gateway=None, table=101),
                route(table=101, on_link=True),
                route(destination="::/0", gateway="2001:db8::1", table=101),
            ),
            rules=(
                Rule("192.0.2.5/32", 101),
                Rule("2001:db8::5/128", 101),
                Rule("192.0.2.6/32", 101),
            ),
        )
    )
    assert sections["ipv4"][2:] == [
        "route1=0.0.0.0/0,192.0.2.1,100",
        "route2=192.0.2.0/24,,0",
        "route2_options=table=101",
        "route3=0.0.0.0/0,192.0.2.1,0",
        "route3_options=onlink=true,table=101",
        "routing-rule1=priority 30000 from 192.0.2.5/32 table 101",
        "routing-rule2=priority 30000 from 192.0.2.6/32 table 101",
    ]
    assert sections["ipv6"][4:] == [
        "route1=::/0,2001:db8::1,1024",
        "route1_options=table=101",
        "routing-rule1=priority 30000 from 2001:db8::5/128 table 101",
    ]


def nic(mtu: int, label: str, mac: str) -> str:
    """The profile of a member of bond0."""
    return f"""
[connection]
id=guestagent-{label}
uuid={UUIDS[label]}
type=ethernet
autoconnect-priority=200
master={UUIDS["bond0"]}
slave-type=bond

[ethernet]
mac-address={mac}
mtu={mtu}
"""


STACK = {
    LABEL: nic(9000, LABEL, MAC),
    LABEL2: nic(9001, LABEL2, MAC2),
    "bond0": """
[connection]
id=guestagent-bond0
uuid=4e58433c-38dd-8463-9f03-e7d51f3f6bf3
type=bond
interface-name=bond0
autoconnect-priority=200
autoconnect-slaves=1

[ethernet]
cloned-mac-address=52:54:00:00:01:03
mtu=9000

[bond]
mode=active-backup
miimon=100
primary=enp0s4

[ipv4]
method=manual
address1=192.0.2.5/24

[ipv6]
method=ignore
""",
    "vlan7": """
[connection]
id=guestagent-vlan7
uuid=e277c2f1-2be0-821f-87ec-17363938a811
type=vlan
interface-name=vlan7
autoconnect-priority=200

[vlan]
id=7
parent=4e58433c-38dd-8463-9f03-e7d51f3f6bf3

[ipv4]
method=auto
dhcp-timeout=2147483647

[ipv6]
method=ignore
""",
}


def test_a_bond_with_a_vlan_in_full() -> None:
    stack = (
        member(MAC, mtu=9000),
        member(MAC2, mtu=9001, name="enp0s4"),
        bond(options=(("miimon", "100"), ("primary", LABEL2)), mac=MAC3, mtu=9000),
        vlan("bond0", 7, addresses=(), dhcp4=True),
    )
    assert files(*stack) == STACK
    assert lost(*stack) == []


def test_the_parent_of_a_vlan_is_the_profile_of_the_interface_below() -> None:
    lower = vlan(LABEL, 7, mac=MAC2)
    upper = vlan("vlan7", 8)
    assert f"parent={UUIDS[LABEL]}" in body(lower)["vlan"]
    assert body(lower)["ethernet"] == [f"cloned-mac-address={MAC2}"]
    (below,) = (line for line in body(lower)["connection"] if line.startswith("uuid="))
    assert body(upper)["vlan"] == ["id=8", below.replace("uuid=", "parent=")]


def test_the_uuid_is_of_the_form_for_own_uses_and_that_of_the_label() -> None:
    found = {}
    for label in (LABEL, LABEL2, LABEL3, "bond0"):
        lines = body(interface(id=label))["connection"]
        (found[label],) = (uuid.UUID(line[5:]) for line in lines if line.startswith("uuid="))
    assert {each.version for each in found.values()} == {8}
    assert {each.variant for each in found.values()} == {uuid.RFC_4122}
    assert len(set(found.values())) == len(found)
    assert {label: str(found[label]) for label in UUIDS} == UUIDS


@pytest.mark.parametrize("mode", bonding.MODES)
def test_options_of_a_bond_are_the_drivers_own_words(mode: str) -> None:
    options = (("all_slaves_active", "1"), ("downdelay", "200"), ("miimon", "100"))
    assert body(bond(LABEL, mode=mode, options=options))["bond"] == [
        *(f"mode={mode}", "all_slaves_active=1", "downdelay=200", "miimon=100"),
    ]


def test_every_file_has_the_origin_of_its_interface() -> None:
    origins = [ORIGIN._replace(key=f"links[{n}]") for n in range(2)]
    given = (interface(origin=origins[0]), vlan(LABEL, 7, origin=origins[1]))
    assert [file.origin for file in rendered("networkmanager", *given)[0]] == origins


def test_a_primary_member_without_a_known_name_is_told_and_left_out() -> None:
    origin = ORIGIN._replace(key="links[2]")
    bonded = bond(options=(("miimon", "100"), ("primary", LABEL2)), origin=origin)
    stack = (bonded, member(MAC, name=""), member(MAC2, name=""))
    assert body(*stack)["bond"] == ["mode=active-backup", "miimon=100"]
    (problem,) = rendered("networkmanager", *stack)[1]
    assert problem == origin.warning(problem.reason)
    assert "primary" in problem.reason


def dns_lines(given: Interface) -> list[str]:
    """What both families say about DNS."""
    sections = body(given)
    return [line for name in ("ipv4", "ipv6") for line in sections[name] if "dns" in line]


@pytest.mark.parametrize(
    ("changes", "lines", "words"),
    [
        ({"dns": ("2001:db8::53",)}, [], ["DNS servers"]),
        ({"dns": ("192.0.2.53", "2001:db8::53")}, ["dns=192.0.2.53;"], ["DNS servers"]),
        ({"dns": ("192.0.2.53",), "dhcp4": True}, ["dns=192.0.2.53;"], []),
        ({"dns": ("192.0.2.53",), "addresses": ("2001:db8::5/64",)}, [], ["DNS servers"]),
        ({"search": ("lan",), "addresses": ("2001:db8::5/64",)}, ["dns-search=lan;"], []),
        ({"search": ("lan",), "accept_ra": True}, ["dns-search=lan;"], []),
        ({"search": ("lan",), "addresses": (), "accept_ra": True}, ["dns-search=lan;"], []),
        ({"search": ("lan",), "addresses": ()}, [], ["search domains"]),
    ],
)
def test_dns_goes_to_a_family_that_is_there_or_is_told(
    changes: dict[str, Any], lines: list[str], words: list[str]
) -> None:
    given = interface(**changes)
    assert dns_lines(given) == lines
    found = lost(given)
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))


def test_routes_of_a_family_that_is_not_there_are_told_and_left_out() -> None:
    given = interface(routes=(route(destination="::/0", gateway="fe80::1"),))
    assert body(given)["ipv6"] == ["method=ignore"]
    (reason,) = lost(given)
    assert "routes" in reason


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dhcp4": True, "accept_ra": True, "required": False}, True),
        ({"accept_ra": True, "required": False}, True),
        ({"dhcp4": True}, False),
        ({"required": False}, False),
    ],
)
def test_that_the_boot_may_wait_for_an_interface_is_told(
    changes: dict[str, Any], told: bool
) -> None:
    found = lost(interface(**changes))
    assert [("wait" in reason) for reason in found] == [True] * told
