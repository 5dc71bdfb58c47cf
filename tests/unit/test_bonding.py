"""Bonding options: the kernel's names, canonical values, and which go together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_samples import HOSTILE, MAC, spoiled

from guestagent.errors import FieldError
from guestagent.parse.network import bonding

MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
    *("balance-tlb", "balance-alb"),
)
LACP = {"802.3ad"}
ONE_ACTIVE = {"active-backup", "balance-tlb", "balance-alb"}
BALANCED = {"balance-tlb", "balance-alb"}
WITH_ARP = {"balance-rr", "active-backup", "balance-xor", "broadcast"}
HASHED = {"balance-xor", "802.3ad", "balance-tlb"}
POLICIES = ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")
VALIDATE = ("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")
LARGE = 2**31 - 1


@pytest.mark.parametrize(("number", "name"), list(enumerate(MODES)))
def test_a_mode_is_given_by_name_or_number(number: int, name: str) -> None:
    assert [bonding.mode(value) for value in (name, number, str(number))] == [name] * 3


@pytest.mark.parametrize(
    "value",
    [
        *(7, -1, "7", "", "-1", "Active-Backup", "active_backup", "lacp", "4.0", "004", 1.0, True),
        *(None, [], {}, ["802.3ad"], *spoiled("802.3ad")),
    ],
)
def test_E5_anything_else_is_no_mode(value: object) -> None:
    with pytest.raises(FieldError):
        bonding.mode(value)


# Options whose values are words, which the driver counts from 0.
CHOICES: list[tuple[str, tuple[str, ...], set[str]]] = [
    ("ad_select", ("stable", "bandwidth", "count"), LACP),
    ("arp_all_targets", ("any", "all"), WITH_ARP),
    ("arp_validate", VALIDATE, WITH_ARP),
    ("fail_over_mac", ("none", "active", "follow"), {"active-backup"}),
    ("lacp_rate", ("slow", "fast"), LACP),
    ("primary_reselect", ("always", "better", "failure"), ONE_ACTIVE),
    ("xmit_hash_policy", POLICIES, HASHED),
]
# Options whose values are numbers, with the least and the largest.
NUMBERS: list[tuple[str, int, int, set[str]]] = [
    ("ad_actor_sys_prio", 1, 65535, LACP),
    ("ad_user_port_key", 0, 1023, LACP),
    ("all_slaves_active", 0, 1, set(MODES)),
    ("arp_interval", 0, LARGE, WITH_ARP),
    ("downdelay", 0, LARGE, set(MODES)),
    ("lp_interval", 1, LARGE, BALANCED),
    ("miimon", 0, LARGE, set(MODES)),
    ("min_links", 0, LARGE, LACP),
    ("num_grat_arp", 0, 255, {"active-backup"}),
    ("packets_per_slave", 0, 65535, {"balance-rr"}),
    ("resend_igmp", 0, 255, set(MODES)),
    ("tlb_dynamic_lb", 0, 1, BALANCED),
    ("updelay", 0, LARGE, set(MODES)),
]
OTHERS: list[tuple[str, object, set[str]]] = [
    ("ad_actor_system", MAC, LACP),
    ("arp_ip_target", "192.0.2.1", WITH_ARP),
    ("primary", "a", ONE_ACTIVE),
]


def some_mode(modes: set[str]) -> str:
    return next(mode for mode in MODES if mode in modes)


@pytest.mark.parametrize(("name", "words", "modes"), CHOICES)
def test_a_choice_is_given_by_word_or_number(
    name: str, words: tuple[str, ...], modes: set[str]
) -> None:
    mode = some_mode(modes)
    for number, word in enumerate(words):
        for value in (word, number, str(number)):
            assert bonding.option(name, value, mode) == (name, word)
    for bad in (len(words), -1, True, None, "", words[0].upper(), f"{words[0]}\n", [words[0]], 0.0):
        with pytest.raises(FieldError):
            bonding.option(name, bad, mode)


@pytest.mark.parametrize(("name", "low", "high", "modes"), NUMBERS)
def test_a_number_lies_between_bounds_and_has_no_leading_zero(
    name: str, low: int, high: int, modes: set[str]
) -> None:
    mode = some_mode(modes)
    for value in (low, str(low), f"0{low}"):
        assert bonding.option(name, value, mode) == (name, str(low))
    for value in (high, str(high)):
        assert bonding.option(name, value, mode) == (name, str(high))
    for bad in (low - 1, high + 1, f"{high + 1}", f"{low} ", "", "x", 1.0, None, [1], "١", "+1"):
        with pytest.raises(FieldError):
            bonding.option(name, bad, mode)


@pytest.mark.parametrize("name", ["all_slaves_active", "tlb_dynamic_lb"])
def test_a_switch_may_be_a_boolean_and_other_numbers_may_not(name: str) -> None:
    values = [bonding.option(name, value, "balance-tlb")[1] for value in (True, False)]
    assert values == ["1", "0"]
    with pytest.raises(FieldError):
        bonding.option("miimon", True, "balance-tlb")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1,192.0.2.2", "192.0.2.1,192.0.2.2"),
        (" 192.0.2.1, 192.0.2.2 ", "192.0.2.1,192.0.2.2"),
        ("192.0.2.1 192.0.2.2", "192.0.2.1,192.0.2.2"),
        (["192.0.2.1", "192.0.2.2"], "192.0.2.1,192.0.2.2"),
        (["192.0.2.2", "192.0.2.1", "192.0.2.2"], "192.0.2.2,192.0.2.1"),
        ([f"10.0.0.{n}" for n in range(1, 17)], ",".join(f"10.0.0.{n}" for n in range(1, 17))),
    ],
)
def test_arp_targets_are_addresses_each_once(given: object, expected: str) -> None:
    assert bonding.option("arp_ip_target", given, "active-backup") == ("arp_ip_target", expected)


@pytest.mark.parametrize(
    "value",
    [
        *("", ",", "192.0.2.256", "2001:db8::1", "192.0.2.1/24", "0.0.0.0", "127.0.0.1", 5, None),
        *([], [5], ["192.0.2.1", None], {"a": 1}, [f"10.0.0.{n}" for n in range(1, 18)], [[]]),
        *spoiled("x192.0.2.1"),
    ],
)
def test_E5_other_arp_targets_are_refused(value: object) -> None:
    with pytest.raises(FieldError):
        bonding.option("arp_ip_target", value, "active-backup")


def test_the_address_of_the_lacp_actor_is_a_mac_address() -> None:
    name = "ad_actor_system"
    assert bonding.option(name, "52-54-00-AA-BB-CC", "802.3ad") == (name, "52:54:00:aa:bb:cc")
    for bad in (5, None, True, "", "01:00:5e:00:00:01", "00:00:00:00:00:00", *spoiled(MAC)):
        with pytest.raises(FieldError):
            bonding.option(name, bad, "802.3ad")


def test_the_primary_is_the_id_of_a_link_whatever_that_is() -> None:
    assert bonding.option("primary", "any id\n", "active-backup") == ("primary", "any id\n")
    for bad in ("", None, 5, ["a"]):
        with pytest.raises(FieldError):
            bonding.option("primary", bad, "active-backup")


def test_these_are_all_options() -> None:
    assert {entry[0] for entry in (*CHOICES, *NUMBERS, *OTHERS)} == set(bonding.OPTIONS)


@pytest.mark.parametrize(
    ("name", "value", "modes"),
    [
        *((name, words[0], modes) for name, words, modes in CHOICES),
        *((name, low, modes) for name, low, _, modes in NUMBERS),
        *OTHERS,
    ],
)
def test_an_option_belongs_to_the_modes_that_use_it(
    name: str, value: object, modes: set[str]
) -> None:
    for mode in modes:
        assert bonding.option(name, value, mode)[0] == name
    for mode in set(MODES) - modes:
        with pytest.raises(FieldError, match=f"is not supported in mode {mode}"):
            bonding.option(name, value, mode)


def test_the_kernels_other_name_of_an_option_is_known() -> None:
    assert bonding.option("num_unsol_na", 3, "active-backup") == ("num_grat_arp", "3")


@pytest.mark.parametrize("name", ["mode", "links", "slaves", "", "MIIMON", "mii_mon", *HOSTILE])
def test_E5_other_options_are_unknown(name: str) -> None:
    with pytest.raises(FieldError, match="is not a bonding option"):
        bonding.option(name, "1", "active-backup")


ARP = {"arp_interval": "100", "arp_ip_target": "192.0.2.1"}


@pytest.mark.parametrize(
    ("options", "ruled_out"),
    [
        ({}, []),
        ({"miimon": "100", "updelay": "200", "downdelay": "200"}, []),
        (ARP, []),
        (ARP | {"arp_validate": "all", "arp_all_targets": "any"}, []),
        (ARP | {"miimon": "0"}, []),
        ({"miimon": "100", "arp_interval": "0"}, []),
        ({"miimon": "100", "arp_validate": "none"}, ["arp_validate"]),
        # Two ways to watch links at once: that by MII stays.
        (ARP | {"miimon": "100"}, ["arp_interval", "arp_ip_target"]),
        ({"arp_interval": "100"}, ["arp_interval"]),
        ({"arp_interval": "100", "arp_validate": "all"}, ["arp_interval", "arp_validate"]),
        ({"arp_ip_target": "192.0.2.1"}, ["arp_ip_target"]),
        ({"arp_validate": "all", "miimon": "100"}, ["arp_validate"]),
        ({"updelay": "200"}, ["updelay"]),
        ({"miimon": "0", "downdelay": "200"}, ["downdelay"]),
        ({"downdelay": "0"}, []),
        (ARP | {"updelay": "200"}, ["updelay"]),
    ],
)
def test_which_options_rule_each_other_out(options: dict[str, str], ruled_out: list[str]) -> None:
    assert bonding.conflicts(options) == ruled_out


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.text(max_size=8) | st.integers(), max_size=3),
    st.sampled_from([*HOSTILE, *MODES, *POLICIES, MAC, "192.0.2.1", "0", "100"]),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from([*bonding.OPTIONS, "num_unsol_na"]), VALUES, st.sampled_from(MODES))
def test_E5_what_passes_is_canonical(name: str, value: Any, mode: str) -> None:
    try:
        found = bonding.option(name, value, mode)
    except FieldError:
        return
    assert bonding.option(*found, mode) == found
    if found[0] != "primary":
        assert found[1].isascii()
        assert found[1].isprintable()
