"""Bonds of network_data.json: their modes, options and members."""

from __future__ import annotations

from typing import Any

import pytest
from network_documents import Link, bond, vlan
from network_documents import parse_links as parse


@pytest.mark.parametrize(
    ("given", "mode"),
    [("802.3ad", "802.3ad"), (4, "802.3ad"), ("4", "802.3ad"), (None, "balance-rr")],
)
def test_the_mode_is_a_name_or_a_number_and_the_kernels_own_without(given: Any, mode: str) -> None:
    made = parse(bond("a", bond_mode=given))[0]["bond"].bond
    assert made is not None
    assert made.mode == mode


@pytest.mark.parametrize("mode", ["bonded", 7, True, [], "802.3ad\n", ""])
def test_a_bond_of_an_unknown_mode_is_left_out_and_so_is_what_is_on_it(mode: Any) -> None:
    network = {"type": "ipv4_dhcp", "link": "bond"}
    found, keys = parse(bond("a", bond_mode=mode), vlan("bond"), networks=[network])
    assert keys == ["links[3].bond_mode", "links[4].vlan_link", "networks[0].link"]
    assert list(found) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("given", "options", "keys"),
    [
        ({}, {"miimon": "100"}, []),
        ({"bond_miimon": 50}, {"miimon": "50"}, []),
        ({"bond_miimon": 0}, {"miimon": "0"}, []),
        ({"bond_miimon": None}, {"miimon": "100"}, []),
        ({"bond_arp_interval": 0}, {"arp_interval": "0", "miimon": "100"}, []),
        ({"bond_updelay": 200}, {"miimon": "100", "updelay": "200"}, []),
        (
            {"bond_arp_interval": 250, "bond_arp_ip_target": ["192.0.2.1"]},
            {"arp_interval": "250", "arp_ip_target": "192.0.2.1"},
            [],
        ),
        ({"bond_arp_interval": 250}, {"miimon": "100"}, ["bond_arp_interval"]),
        (
            {"bond_arp_interval": 250, "bond_arp_ip_target": "192.0.2.1", "bond_miimon": 100},
            {"miimon": "100"},
            ["bond_arp_interval", "bond_arp_ip_target"],
        ),
        ({"bond_miimon": 0, "bond_downdelay": 100}, {"miimon": "0"}, ["bond_downdelay"]),
        ({"bond_miimon": -1}, {"miimon": "100"}, ["bond_miimon"]),
        ({"bond_lacp_rate": "fast"}, {"miimon": "100"}, ["bond_lacp_rate"]),
        ({"bond_": 1}, {"miimon": "100"}, ["bond_"]),
        ({"bond_color": "red"}, {"miimon": "100"}, ["bond_color"]),
        ({"primary": "b", "miimon": 7, "x": []}, {"miimon": "100"}, []),
    ],
)
def test_links_are_watched_by_mii_unless_told_otherwise(
    given: Link, options: dict[str, str], keys: list[str]
) -> None:
    found, problems = parse(bond("a", "b", **given))
    made = found["bond"].bond
    assert made is not None
    assert (dict(made.options), made.options) == (options, tuple(sorted(options.items())))
    assert problems == [f"links[3].{key}" for key in keys]


@pytest.mark.parametrize("name", ["x" * 33, "\n", "a\u2028", "\x1b[31m", "\ud800"])
def test_E5_an_unknown_option_is_not_repeated_where_nobody_could_read_it(name: str) -> None:
    found, keys = parse(bond("a", **{f"bond_{name}": 1}))
    made = found["bond"].bond
    assert made is not None
    assert (dict(made.options), keys) == ({"miimon": "100"}, ["links[3]"])


@pytest.mark.parametrize(
    ("members", "kept", "wrong"),
    [
        (["a", "b", "a"], ("a", "b"), []),
        (["b", "a"], ("b", "a"), []),
        (["a", "nowhere"], ("a",), [1]),
        (["bond", "a"], ("a",), [0]),
        (["vlan", "a"], ("a",), [0]),
        ([None, 5, "", [], "a"], ("a",), [0, 1, 2, 3]),
    ],
)
def test_the_members_of_a_bond_are_nics_each_once(
    members: list[Any], kept: tuple[str, ...], wrong: list[int]
) -> None:
    found, keys = parse(bond(*members), vlan("c"))
    made = found["bond"].bond
    assert made is not None
    assert (made.members, keys) == (kept, [f"links[3].bond_links[{n}]" for n in wrong])


@pytest.mark.parametrize("members", [None, [], {}, "a", 5, ["nowhere"], ["bond"], [None]])
def test_a_bond_without_a_usable_member_is_left_out(members: Any) -> None:
    network = {"type": "ipv4_dhcp", "link": "bond"}
    found, keys = parse(bond(bond_links=members), vlan("bond"), networks=[network])
    assert list(found) == ["a", "b", "c"]
    assert keys[-3:] == ["links[3].bond_links", "links[4].vlan_link", "networks[0].link"]


def test_a_nic_belongs_to_the_first_bond_that_names_it() -> None:
    found, keys = parse(bond("a", "b"), bond("b", "c", id="other"))
    members = [entry.bond.members for entry in found.values() if entry.bond]
    assert members == [("a", "b"), ("c",)]
    assert keys == ["links[4].bond_links[0]"]


@pytest.mark.parametrize("primary", ["c", "nowhere", "bond", "B"])
def test_the_primary_must_be_a_member(primary: str) -> None:
    found, keys = parse(bond("a", "b", bond_primary=primary))
    made = found["bond"].bond
    assert made is not None
    assert (dict(made.options), keys) == ({"miimon": "100"}, ["links[3].bond_primary"])
    found, keys = parse(bond("a", "b", bond_primary="b"))
    made = found["bond"].bond
    assert made is not None
    assert (dict(made.options)["primary"], keys) == ("b", [])


def test_a_member_of_a_bond_can_carry_nothing_else() -> None:
    networks = [{"type": "ipv4_dhcp", "link": "a"}, {"type": "ipv4_dhcp", "link": "c"}]
    found, keys = parse(bond("a"), vlan("a"), networks=networks)
    assert list(found) == ["a", "b", "c", "bond"]
    assert keys == ["links[4].vlan_link", "networks[0].link"]
    assert (found["a"].dhcp4, found["c"].dhcp4) == (False, True)
