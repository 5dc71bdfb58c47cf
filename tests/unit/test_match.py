"""Which of the source's interfaces this guest has, what they are called, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_samples import (
    HOSTILE,
    LABEL,
    LABEL2,
    LABEL3,
    MAC,
    MAC2,
    MAC3,
    NICS,
    ORIGIN,
    bond,
    interface,
    member,
    vlan,
)

from guestagent.desired.network.match import match
from guestagent.errors import Problems
from guestagent.model import Interface, Nic
from guestagent.stacks.check import check

LETTERS = "52:54:00:aa:bb:cc"
OTHER = "52:54:00:00:00:99"


def nic(id_: str, mac: str = MAC) -> Interface:
    """A NIC under an id of the source."""
    return interface(mac=mac, id=id_)


def chosen(
    *interfaces: Interface, nics: Sequence[Nic] | None = NICS
) -> tuple[list[Interface], list[str]]:
    """The selection, and the ids of the interfaces that problems name."""
    named = [entry._replace(origin=ORIGIN._replace(key=entry.id)) for entry in interfaces]
    problems = Problems()
    found = match(named, nics, problems)
    assert [check(entry) for entry in found] == found
    assert all(problem.severity == "error" for problem in problems.problems)
    return found, [problem.key for problem in problems.problems]


def names(*interfaces: Interface, nics: Sequence[Nic] | None = NICS) -> list[str]:
    """The names that bonds and VLANs get."""
    found, problems = chosen(*interfaces, nics=nics)
    assert problems == []
    return [entry.name for entry in found if entry.stacked]


def test_a_nic_is_found_by_its_mac_address_and_gets_the_guests_name_and_a_label() -> None:
    found, problems = chosen(nic("tap0", MAC2), nic("tap1", MAC))
    assert problems == []
    assert [(entry.id, entry.name, entry.mac) for entry in found] == [
        (LABEL2, "enp0s4", MAC2),
        (LABEL, "enp0s3", MAC),
    ]


@pytest.mark.parametrize("here", [LETTERS, LETTERS.upper()])
@pytest.mark.parametrize("there", [LETTERS, LETTERS.upper()])
def test_mac_addresses_match_in_any_case(here: str, there: str) -> None:
    found, problems = chosen(nic("a", there), nics=[Nic("enp0s3", here)])
    assert (problems, [(entry.mac, entry.id) for entry in found]) == (
        [],
        [(LETTERS, "nic525400aabbcc")],
    )


def test_a_name_never_matches_where_there_is_a_mac_address() -> None:
    found, problems = chosen(interface(mac=OTHER, name="enp0s3", id="a"))
    assert (found, problems) == ([], ["a"])


INFINIBAND = "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"


@pytest.mark.parametrize(
    "mac", [INFINIBAND, INFINIBAND.replace("80:00:02:08", "00:00:11:22"), "f4:52:14:7b:cb:a1"]
)
def test_infiniband_is_found_by_its_guid_and_known_by_its_name(mac: str) -> None:
    other = Nic("ib1", INFINIBAND.replace("a1", "a2"))
    found, problems = chosen(nic("a", mac), nics=[other, Nic("ib0", INFINIBAND.upper())])
    assert problems == []
    assert [(entry.id, entry.name, entry.mac) for entry in found] == [("ib0", "ib0", INFINIBAND)]


def test_infiniband_is_not_found_in_a_tree_whose_nics_are_not_known() -> None:
    found, problems = chosen(nic("a", INFINIBAND), nics=None)
    assert (found, problems) == ([], ["a"])


def test_legacy_text_without_a_mac_address_matches_by_name() -> None:
    by_name = interface(mac="", name="enp0s4", id="")
    found, problems = chosen(by_name)
    assert [(entry.id, entry.name, entry.mac) for entry in found] == [(LABEL2, "enp0s4", MAC2)]
    found, problems = chosen(by_name._replace(name="eth0", id="eth0"))
    assert (found, problems) == ([], ["eth0"])


def test_a_nic_whose_address_is_not_known_has_its_name_as_label() -> None:
    found, problems = chosen(interface(mac="", name="ib0", id="ib0"), nics=[Nic("ib0", "")])
    assert (problems, [(entry.id, entry.mac) for entry in found]) == ([], [("ib0", "")])


def test_what_the_guest_lacks_is_left_out_and_the_rest_goes_on() -> None:
    found, problems = chosen(nic("lost", OTHER), nic("a"), nic("b", MAC3), nics=NICS[:1])
    assert ([entry.id for entry in found], problems) == ([LABEL], ["lost", "b"])


def test_the_reason_says_what_was_looked_for() -> None:
    found = Problems()
    match([interface(mac=OTHER), interface(mac="", name="eth0")], NICS, found)
    reasons = [problem.reason for problem in found.problems]
    assert [f"the MAC address {OTHER}" in reason for reason in reasons] == [True, False]
    assert ["the name eth0" in reason for reason in reasons] == [False, True]
    for reason in reasons:
        assert all(f"{nic.name} {nic.mac}" in reason for nic in NICS)


def test_two_interfaces_for_one_nic_are_an_error() -> None:
    found, problems = chosen(nic("a"), interface(mac="", name="enp0s3", id="again"))
    assert ([entry.id for entry in found], problems) == ([LABEL], ["again"])


def test_of_two_nics_with_one_address_the_first_is_the_one() -> None:
    found, problems = chosen(nic("a"), nics=[Nic("eth0", MAC), Nic("enP1s2", MAC)])
    assert ([entry.name for entry in found], problems) == (["eth0"], [])


def test_in_an_offline_tree_nics_have_a_label_and_no_name() -> None:
    found, problems = chosen(nic("tap0"), nic("tap1", OTHER), nics=None)
    assert problems == []
    assert [(entry.id, entry.name, entry.mac) for entry in found] == [
        (LABEL, "", MAC),
        ("nic525400000099", "", OTHER),
    ]


def test_nics_come_first_then_bonds_then_vlans_after_their_parents() -> None:
    given = [
        vlan("inner", 3, id="outer"),
        vlan("b0", 2, id="inner"),
        bond("a", "b", id="b0", name=""),
        vlan("c", 4, id="plain"),
        nic("c", MAC3),
        nic("b", MAC2),
        nic("a"),
    ]
    found, problems = chosen(*(entry._replace(name="") if entry.vlan else entry for entry in given))
    assert problems == []
    assert [entry.id for entry in found] == [
        *(LABEL3, LABEL2, LABEL, "bond0", "vlan2", "vlan4", "vlan3"),
    ]
    by_label = {entry.id: entry for entry in found}
    assert by_label["bond0"].bond == bond(LABEL, LABEL2).bond
    parents = [entry.vlan.parent for entry in found if entry.vlan]
    assert parents == ["bond0", LABEL3, "vlan2"]


def test_a_bond_or_vlan_gets_the_name_that_is_wanted_where_it_is_free() -> None:
    stack = (bond("a", id="x", name="uplink"), vlan("x", 7, id="y", name="data.7"))
    found, problems = chosen(nic("a"), *stack)
    assert problems == []
    assert [(entry.id, entry.name) for entry in found[1:]] == [
        ("uplink", "uplink"),
        ("data.7", "data.7"),
    ]


@pytest.mark.parametrize("taken", ["enp0s4", LABEL, "ib0"])
def test_a_name_that_the_guest_has_already_is_not_taken(taken: str) -> None:
    nics = [*NICS, Nic("ib0", "")]
    assert names(nic("a"), bond("a", id="x", name=taken), nics=nics) == ["bond0"]
    assert names(nic("a"), vlan("a", 7, id="x", name=taken), nics=nics) == ["vlan7"]


def test_the_first_of_two_that_want_a_name_gets_it() -> None:
    stack = [bond(m, id=f"x{m}", name="uplink") for m in ("a", "b", "c")]
    nics = (nic("a"), nic("b", MAC2), nic("c", MAC3))
    assert names(*nics, *stack) == ["uplink", "bond0", "bond1"]


def test_names_are_made_by_kind_and_number() -> None:
    nics = (nic("a"), nic("b", MAC2), nic("c", MAC3))
    bonds = [bond(m, id=f"x{m}", name="") for m in ("a", "b")]
    vlans = [
        vlan("xa", 7, id="1", name=""),
        vlan("xb", 7, id="2", name=""),
        vlan("c", 7, id="3", name=""),
        vlan("c", 8, id="4", name=""),
    ]
    assert names(*nics, *vlans, *bonds) == [
        *("bond0", "bond1", "vlan7", "vlan7-1", "vlan7-2", "vlan8"),
    ]


def test_a_made_name_never_takes_one_that_a_later_interface_wants() -> None:
    nics = (nic("a"), nic("b", MAC2))
    stack = (bond("a", id="x", name=""), bond("b", id="y", name="bond0"))
    assert names(*nics, *stack) == ["bond1", "bond0"]
    stack = (vlan("a", 7, id="x", name=""), vlan("b", 7, id="y", name="vlan7"))
    assert names(*nics, *stack) == ["vlan7-1", "vlan7"]


def test_a_made_name_is_not_that_of_a_nic() -> None:
    nics = [Nic("bond0", MAC), Nic("vlan7", MAC2)]
    stack = (bond("a", id="x", name=""), vlan("b", 7, id="y", name=""))
    assert names(nic("a"), nic("b", MAC2), *stack, nics=nics) == ["bond1", "vlan7-1"]


@pytest.mark.parametrize("id_", ["../../x", "a b", "x" * 300, *HOSTILE])
def test_E5_an_id_of_the_source_becomes_no_name(id_: str) -> None:
    given = [
        nic(id_),
        bond(id_, id=f"b{id_}", name="", options=(("primary", id_),)),
        vlan(f"b{id_}", 7, id=f"v{id_}", name=""),
    ]
    for nics in (NICS, None):
        found, problems = chosen(*given, nics=nics)
        assert problems == []
        assert [entry.id for entry in found] == [LABEL, "bond0", "vlan7"]
        assert found[1].bond == bond(LABEL, options=(("primary", LABEL),)).bond
        assert found[2].vlan == vlan("bond0").vlan


@pytest.mark.parametrize("name", [name for name in HOSTILE if name] + ["../x", "-x"])
def test_E5_a_hostile_name_that_the_parser_let_through_is_an_error(name: str) -> None:
    found, problems = chosen(nic("a"), bond("a", id="x", name=name))
    assert ([entry.id for entry in found], problems) == ([LABEL], ["x"])


def test_a_bond_has_those_of_its_members_that_the_guest_has() -> None:
    options = (("miimon", "100"), ("primary", "lost"))
    given = (member(OTHER, id="lost"), nic("b", MAC2), bond("lost", "b", options=options))
    found, problems = chosen(*given)
    assert problems == ["lost"]
    assert found[1].bond == bond(LABEL2, options=(("miimon", "100"),)).bond


def test_what_only_a_missing_nic_carries_goes_with_it() -> None:
    given = [
        member(OTHER, id="lost"),
        bond("lost", id="x"),
        vlan("x", 7, id="y"),
        vlan("y", 8, id="z"),
        nic("a"),
        vlan("a", 9, id="ok"),
    ]
    found, problems = chosen(*given)
    assert [entry.id for entry in found] == [LABEL, "vlan9"]
    assert problems == ["lost", "x", "y", "z"]


def test_what_is_left_out_does_not_change_the_names_of_the_rest() -> None:
    given = [member(OTHER, id="lost"), nic("a"), bond("lost", id="x", name="")]
    given += [bond("a", id="y", name="")]
    found, problems = chosen(*given)
    assert ([entry.name for entry in found if entry.bond], problems) == (["bond1"], ["lost", "x"])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_vlans_in_a_circle_are_left_out(count: int) -> None:
    circle = [vlan(f"v{(n + 1) % count}", n + 1, id=f"v{n}") for n in range(count)]
    found, problems = chosen(nic("a"), *circle, vlan("a", 9, id="ok"))
    assert [entry.id for entry in found] == [LABEL, "vlan9"]
    assert sorted(problems) == [entry.id for entry in circle]


def test_nothing_given_is_nothing() -> None:
    assert chosen() == ([], [])
    assert chosen(nics=None) == ([], [])


SOME_ID = st.sampled_from([*"abcdef", "", "\n"])
INTERFACES = st.one_of(
    st.builds(nic, SOME_ID, st.sampled_from([MAC, MAC2, MAC3, OTHER])),
    st.builds(
        lambda id_, one, two, name: bond(one, two, id=id_, name=name),
        *(SOME_ID, SOME_ID, SOME_ID),
        st.sampled_from(["", "lan", "bond0", "vlan7", "enp0s3", "a b"]),
    ),
    st.builds(
        lambda id_, parent, tag, name: vlan(parent, tag, id=id_, name=name),
        *(SOME_ID, SOME_ID, st.integers(7, 8)),
        st.sampled_from(["", "lan", "bond0", "vlan7", LABEL, "a b"]),
    ),
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.lists(INTERFACES, max_size=8, unique_by=lambda entry: entry.id),
    st.sampled_from([NICS, NICS[:1], (), None]),
)
def test_E5_whatever_was_given_the_selection_is_sound(
    given: list[Interface], nics: Sequence[Nic] | None
) -> None:
    found, problems = chosen(*given, nics=nics)
    assert len(found) + len(problems) == len(given)
    labels = [entry.id for entry in found]
    made = [entry.name for entry in found if entry.name]
    assert len(set(labels)) == len(labels)
    assert len(set(made)) == len(made)
    for index, entry in enumerate(found):
        before = set(labels[:index])
        assert entry.bond is None or set(entry.bond.members) <= before
        assert entry.vlan is None or entry.vlan.parent in before
        assert not entry.stacked or entry.name == entry.id
