"""Links of network_data.json: NICs, bonds of them, VLANs on either; what they say of each other."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_documents import BOND_MAC, NICS, VLAN_MAC, Link, bond, nic, origin_of, read, vlan
from network_documents import parse_links as parse
from network_samples import HOSTILE, MAC, MACS, spoiled

from guestagent import defs
from guestagent.model import Bond, Vlan


def test_a_bond_and_a_vlan_as_ironic_passes_them() -> None:
    given = bond("a", "b", ethernet_mac_address=BOND_MAC.upper(), mtu=9000, bond_miimon=100)
    given |= {"bond_mode": "802.3ad", "bond_xmit_hash_policy": "layer3+4", "bond_lacp_rate": 1}
    tagged = vlan("bond", 101, vlan_mac_address=VLAN_MAC, mtu=1500)
    found, keys = parse(given, tagged)
    assert keys == []
    options = (("lacp_rate", "fast"), ("miimon", "100"), ("xmit_hash_policy", "layer3+4"))
    made = found["bond"]
    assert (made.mac, made.name, made.mtu) == (BOND_MAC, "", 9000)
    assert (made.bond, made.vlan) == (Bond(("a", "b"), "802.3ad", options), None)
    made = found["vlan"]
    assert (made.mac, made.name, made.mtu) == (VLAN_MAC, "", 1500)
    assert (made.bond, made.vlan) == (None, Vlan("bond", 101))
    assert [found[name].origin for name in ("bond", "vlan")] == [
        *(origin_of("links[3]"), origin_of("links[4]")),
    ]


def test_networks_may_be_on_nics_bonds_and_vlans() -> None:
    networks = [
        {"type": "ipv4", "link": link, "ip_address": f"192.0.2.{number}/24"}
        for number, link in enumerate(("c", "bond", "vlan"), 1)
    ]
    found, keys = parse(bond("a", "b"), vlan("bond"), networks=networks)
    assert keys == []
    addresses = [found[name].addresses for name in ("c", "bond", "vlan")]
    assert addresses == [(f"192.0.2.{number}/24",) for number in (1, 2, 3)]


def test_a_bond_may_come_before_its_links_and_a_vlan_before_its_own() -> None:
    document = {"links": [vlan("bond"), bond("a"), NICS[0]]}
    network, problems = read(document)
    assert [interface.id for interface in network.interfaces] == ["vlan", "bond", "a"]
    assert problems == []


@pytest.mark.parametrize("fields", [{}, {"vlan_mac_address": None}, {"ethernet_mac_address": MAC}])
def test_a_vlan_needs_no_mac_address(fields: Link) -> None:
    found, keys = parse(vlan("a", **fields))
    assert (found["vlan"].mac, keys) == ("", [])


@pytest.mark.parametrize("mac", ["", 5, [], "01:00:5e:00:00:01", *spoiled(VLAN_MAC)])
def test_E5_a_bad_mac_address_of_a_bond_or_vlan_is_left_out_alone(mac: Any) -> None:
    found, keys = parse(bond("a", ethernet_mac_address=mac), vlan("bond", vlan_mac_address=mac))
    assert keys == ["links[3].ethernet_mac_address", "links[4].vlan_mac_address"]
    assert (found["bond"].mac, found["vlan"].mac) == ("", "")


def test_a_bond_or_vlan_may_have_the_address_of_a_nic() -> None:
    found, keys = parse(
        bond("a", ethernet_mac_address=MAC), vlan("bond", vlan_mac_address=MAC), nic("d", VLAN_MAC)
    )
    assert (found["bond"].mac, found["vlan"].mac, keys) == (MAC, MAC, [])


@pytest.mark.parametrize(("tag", "expected"), [(1, 1), (4094, 4094), ("4094", 4094), ("007", 7)])
def test_a_tag_is_a_number_also_as_text(tag: Any, expected: int) -> None:
    found, keys = parse(vlan("a", tag))
    assert (found["vlan"].vlan, keys) == (Vlan("a", expected), [])


@pytest.mark.parametrize(
    "tag", [0, 4095, -1, 1.5, True, None, "", "0", "4095", "7" * 11, [], {}, *spoiled("7")]
)
def test_E5_a_vlan_without_a_tag_is_left_out(tag: Any) -> None:
    found, keys = parse(vlan("a", tag))
    assert (list(found), keys) == (["a", "b", "c"], ["links[3].vlan_id"])


@pytest.mark.parametrize("parent", [None, "", 5, [], {}, "nowhere", "A", *HOSTILE])
def test_a_vlan_without_its_link_is_left_out(parent: Any) -> None:
    network = {"type": "ipv4_dhcp", "link": "vlan"}
    found, keys = parse(vlan(parent), networks=[network])
    assert (list(found), keys) == (["a", "b", "c"], ["links[3].vlan_link", "networks[0].link"])


def test_vlans_may_be_nested_and_have_the_same_tag_on_different_links() -> None:
    links = [vlan("a", id="v"), vlan("v", id="w"), vlan("b", id="x")]
    found, keys = parse(*links)
    assert keys == []
    assert [found[name].vlan for name in "vwx"] == [Vlan("a", 7), Vlan("v", 7), Vlan("b", 7)]


def test_a_link_has_each_tag_once() -> None:
    links = [vlan("a", id="v"), vlan("a", "7", id="w"), vlan("a", 8, id="x"), vlan("w", id="y")]
    found, keys = parse(*links)
    assert list(found) == ["a", "b", "c", "v", "x"]
    assert keys == ["links[4].vlan_id", "links[6].vlan_link"]


def test_vlans_on_a_vlan_that_is_left_out_go_too_in_any_order() -> None:
    links = [vlan("v", id="u"), vlan("w", id="v"), vlan("nowhere", id="w"), vlan("a", id="x")]
    found, keys = parse(*links)
    assert list(found) == ["a", "b", "c", "x"]
    assert sorted(keys) == [f"links[{n}].vlan_link" for n in (3, 4, 5)]


@pytest.mark.parametrize(
    "links",
    [
        [vlan("v", id="v")],
        [vlan("w", id="v"), vlan("v", id="w")],
        [vlan("w", id="v"), vlan("x", 8, id="w"), vlan("v", 9, id="x")],
        [vlan("v", id="u"), vlan("w", id="v"), vlan("v", 8, id="w")],
        [vlan("w", id="v"), vlan("v", id="w"), vlan("w", 8, id="x"), vlan("x", id="y")],
    ],
)
def test_vlans_that_lead_back_to_themselves_are_left_out_each(links: list[Link]) -> None:
    found, keys = parse(*links, vlan("a", id="z"))
    assert list(found) == ["a", "b", "c", "z"]
    assert sorted(keys) == [f"links[{3 + n}].vlan_link" for n in range(len(links))]


@pytest.mark.parametrize("name", ["bond0", "lan", "data.100", "en-x_1", "a" * 15, "Lan", "7up"])
def test_a_bond_or_vlan_may_have_a_name_of_its_own(name: str) -> None:
    found, keys = parse(bond("a", name=name), vlan("b", name=f"v{name[:14]}"))
    assert (found["bond"].name, found["vlan"].name, keys) == (name, f"v{name[:14]}", [])


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "-x", "a/b", "../x", "a b", "a:1", "lan%d", "x" * 16, "7", "007"),
        *("all", "default", "lo", "bonding_masters", "renderer", 5, [], {}, True, *HOSTILE),
    ],
)
def test_E5_a_hostile_name_is_left_out_alone(name: Any) -> None:
    found, keys = parse(bond("a", name=name), vlan("b", name=name))
    assert (found["bond"].name, found["vlan"].name) == ("", "")
    assert keys == ["links[3].name", "links[4].name"]


@pytest.mark.parametrize("fields", [{"name": "eth9"}, {"name": "../x\n"}, {"name": 5}])
def test_the_name_of_a_nic_is_of_no_meaning(fields: Link) -> None:
    network, problems = read({"links": [nic("a", MAC) | fields]})
    assert [(entry.mac, entry.name) for entry in network.interfaces] == [(MAC, "")]
    assert problems == []


@pytest.mark.parametrize("name", [None, "", 5, [], {}])
def test_a_link_needs_an_id(name: Any) -> None:
    links = (nic(name, VLAN_MAC), bond("a", id=name), vlan("a", id=name))
    found, keys = parse(*links)
    assert list(found) == ["a", "b", "c"]
    assert keys == ["links[3].id", "links[4].id", "links[5].id"]


def test_a_later_link_with_the_id_of_an_earlier_one_changes_nothing() -> None:
    links = [bond("a", "nowhere"), vlan("b")]
    before, problems = parse(*links)
    links += [vlan("c", id="bond"), bond("c", id="vlan")]
    links += [bond("nowhere", name="x!", bond_x=1), nic("a", VLAN_MAC)]
    found, keys = parse(*links)
    assert found == before
    assert keys == [*(f"links[{number}].id" for number in (5, 6, 7, 8)), *problems]


@pytest.mark.parametrize("mtu", [0, 67, 65536, "1500 ", 1500.5, True, []])
def test_a_bad_mtu_of_a_bond_or_vlan_spoils_only_the_mtu(mtu: Any) -> None:
    found, keys = parse(bond("a", mtu=mtu), vlan("b", mtu=mtu))
    assert (found["bond"].mtu, found["vlan"].mtu) == (None, None)
    assert keys == ["links[3].mtu", "links[4].mtu"]


@pytest.mark.parametrize("links", [(bond("a", mtu=None), vlan("b", mtu=None))])
def test_an_mtu_of_null_is_left_alone(links: tuple[Link, ...]) -> None:
    found, keys = parse(*links)
    assert ([entry.mtu for entry in found.values()], keys) == ([None] * 5, [])


def test_problems_never_quote_a_value() -> None:
    canary = "CANARY!"
    links = [
        bond(canary, id="p", bond_mode=canary),
        bond("a", canary, id="q", name=canary, ethernet_mac_address=canary, bond_miimon=canary),
        bond(canary, id="r"),
        vlan(canary, id="s"),
        vlan("c", canary, id="t"),
        vlan("c", 5, id="u", name=canary, vlan_mac_address=canary),
        nic("v", canary),
    ]
    _, problems = read({"links": [*NICS, *links]})
    assert len(problems) >= len(links)
    assert canary not in repr(problems)


def test_the_number_of_links_is_bounded() -> None:
    links = [vlan("a", tag, id=f"v{tag}") for tag in range(1, defs.MAX_INTERFACES + 9)]
    found, keys = parse(*links)
    assert (len(found), keys) == (defs.MAX_INTERFACES, ["links"])


def test_many_links_on_each_other_are_read_in_any_order() -> None:
    count = defs.MAX_INTERFACES - 3
    chain = [vlan(f"v{n - 1}" if n else "a", id=f"v{n}") for n in range(count)]
    for links in (chain, chain[::-1]):
        found, keys = parse(*links)
        assert (len(found), keys) == (defs.MAX_INTERFACES, [])


IDS = st.sampled_from(["a", "b", "c", "d", "e", "", None, 5, *HOSTILE])
LINKS = st.fixed_dictionaries(
    {"id": IDS, "type": st.sampled_from(["phy", "bond", "vlan", None, "x"])},
    optional={
        "ethernet_mac_address": st.sampled_from([*MACS, VLAN_MAC, None, "x"]),
        "bond_links": st.lists(IDS, max_size=4) | IDS,
        "bond_mode": st.sampled_from(["802.3ad", 1, None, "x"]),
        "bond_primary": IDS,
        "bond_miimon": st.integers(-1, 200),
        "bond_arp_interval": st.integers(-1, 200),
        "vlan_id": st.integers(0, 9) | IDS,
        "vlan_link": IDS,
        "vlan_mac_address": IDS,
        "name": IDS,
        "mtu": st.integers(0, 9000),
    },
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(LINKS, max_size=8))
def test_E5_whatever_links_say_of_each_other_what_remains_is_sound(links: list[Link]) -> None:
    document = {"links": links}
    before = copy.deepcopy(document)
    network, problems = read(document)
    assert json.dumps(document, default=str) == json.dumps(before, default=str)
    found = {interface.id: interface for interface in network.interfaces}
    assert len(found) == len(network.interfaces) <= len(links)
    assert len(problems) >= len(links) - len(found)
    members = [member for entry in found.values() if entry.bond for member in entry.bond.members]
    assert len(members) == len(set(members))
    for member in members:
        assert not found[member].stacked
        assert found[member].mac
    for interface in found.values():
        assert interface.bond is None or interface.bond.members
        here, steps = interface, 0
        while here.vlan is not None:
            assert here.vlan.parent not in members
            here, steps = found[here.vlan.parent], steps + 1
            assert steps <= len(found)
