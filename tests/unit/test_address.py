"""Addresses, masks and names have one canonical spelling each, and nothing else passes."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_samples import HOSTILE, MAC, spoiled

from guestagent.errors import FieldError
from guestagent.parse.network import address

PROFILE = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("2001:0DB8:0:0::0001", "2001:db8::1"),
        ("::", "::"),
        ("FE80::1", "fe80::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
    ],
)
def test_an_address_is_written_in_canonical_form(text: str, expected: str) -> None:
    assert address.address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "192.0.2", "192.0.2.256", "192.0.2.01", "192.0.2.1/24", " 192.0.2.1", "0x7f.1"),
        *("1", "3232235777", "fe80::1%eth0", "fe80::1%2", ":::", "1:2:3:4:5:6:7:8:9", "localhost"),
        *("192.0.2.1\n", "::ffff:192.0.2.010", "12345::"),
        *HOSTILE,
    ],
)
def test_other_text_is_no_address(text: str) -> None:
    with pytest.raises(FieldError):
        address.address(text)


@PROFILE
@given(st.ip_addresses())
def test_addresses_agree_with_the_standard_library(
    value: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert ipaddress.ip_address(address.address(str(value))) == value
    assert address.address(value.exploded) == address.address(str(value))
    assert address.family(str(value)) == value.version
    assert address.link_local(address.address(str(value))) == value.is_link_local


@PROFILE
@given(st.ip_addresses(), st.integers(0, 128), st.ip_addresses())
def test_networks_agree_with_the_standard_library(
    value: ipaddress.IPv4Address | ipaddress.IPv6Address,
    length: int,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    length = min(length, value.max_prefixlen)
    expected = ipaddress.ip_network(f"{value}/{length}", strict=False)
    made = address.network(str(value), str(length))
    assert ipaddress.ip_network(made) == expected
    assert address.network(str(value), str(expected.netmask)) == made
    assert address.prefix_length(str(expected.netmask), value.version) == length
    assert address.contains(made, address.address(str(other))) == (other in expected)


@PROFILE
@given(st.text())
def test_any_text_is_an_address_or_a_field_error(text: str) -> None:
    checks: list[Callable[[str], str]] = [
        *(address.address, address.host, address.interface_address, address.network),
        *(address.mac, address.domain, address.interface_name),
    ]
    for check in checks:
        with contextlib.suppress(FieldError):
            assert check(check(text)) == check(text)


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
        *("::", "::1", "ff02::1"),
    ],
)
def test_no_machine_has_a_special_address(text: str) -> None:
    with pytest.raises(FieldError):
        address.host(text)


@pytest.mark.parametrize(
    ("mask", "family", "length"),
    [
        ("255.255.255.0", 4, 24),
        ("255.255.255.255", 4, 32),
        ("0.0.0.0", 4, 0),
        ("24", 4, 24),
        ("/24", 4, 24),
        ("0", 4, 0),
        ("ffff:ffff:ffff:ffff::", 6, 64),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 6, 128),
        ("::", 6, 0),
        ("fffe::", 6, 15),
        ("/128", 6, 128),
    ],
)
def test_a_mask_has_a_prefix_length(mask: str, family: int, length: int) -> None:
    assert address.prefix_length(mask, family) == length


@pytest.mark.parametrize(
    ("mask", "family"),
    [
        ("255.0.255.0", 4),
        ("0.255.255.255", 4),
        ("33", 4),
        ("024", 4),
        ("٢٤", 4),
        ("-1", 4),
        ("//24", 4),
        ("", 4),
        ("255.255.255.0", 6),
        ("ffff::", 4),
        ("129", 6),
        ("ffff:0:ffff::", 6),
        ("1" * 400, 6),
        *((bad, 4) for bad in HOSTILE),
    ],
)
def test_other_text_is_no_mask(mask: str, family: int) -> None:
    with pytest.raises(FieldError):
        address.prefix_length(mask, family)


@pytest.mark.parametrize(
    ("text", "mask", "expected"),
    [
        ("192.0.2.5", "255.255.255.0", "192.0.2.5/24"),
        ("192.0.2.5/25", None, "192.0.2.5/25"),
        ("192.0.2.5/25", "255.255.255.0", "192.0.2.5/25"),
        ("2001:DB8::5", "ffff:ffff:ffff:ffff::", "2001:db8::5/64"),
    ],
)
def test_an_address_of_a_nic_keeps_its_host_bits(
    text: str, mask: str | None, expected: str
) -> None:
    assert address.interface_address(text, mask) == expected


@pytest.mark.parametrize(("text", "mask"), [("192.0.2.5", None), ("192.0.2.5/", None), ("::", "")])
def test_an_address_of_a_nic_needs_a_length(text: str, mask: str | None) -> None:
    with pytest.raises(FieldError):
        address.interface_address(text, mask)


def test_a_destination_loses_its_host_bits() -> None:
    assert address.network("10.1.2.3", "255.0.0.0") == "10.0.0.0/8"
    assert address.network("2001:db8::1/32") == "2001:db8::/32"


@pytest.mark.parametrize(
    "text", ["52:54:00:AA:BB:CC", "52-54-00-aa-bb-cc", "52-54-00-Aa-bB-CC", "52:54:00:aa:bb:cc"]
)
def test_a_mac_address_is_lower_case_with_colons(text: str) -> None:
    assert address.mac(text) == "52:54:00:aa:bb:cc"


@pytest.mark.parametrize(
    "text",
    [
        *("", "52:54:00:aa:bb", MAC + ":dd", "5254.00aa.bbcc", "525400aabbcc", "5:54:00:aa:bb:cc"),
        *("00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "gg:54:00:aa:bb:cc"),
        *("+1:54:00:aa:bb:cc", "52: 4:00:aa:bb:cc"),
        *spoiled(MAC),
    ],
)
def test_E5_other_text_is_no_mac_address(text: str) -> None:
    with pytest.raises(FieldError):
        address.mac(text)


@pytest.mark.parametrize("text", ["eth0", "enp0s3", "en-x_1.5", "a" * 15])
def test_an_interface_name_passes(text: str) -> None:
    assert address.interface_name(text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a" * 16, "eth0:1", "a/b", "-a", "ä", *spoiled("eth0")]
)
def test_E5_other_text_is_no_interface_name(text: str) -> None:
    if text != "eth0":
        with pytest.raises(FieldError):
            address.interface_name(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("Example.ORG.", "example.org"), ("a-b.c1", "a-b.c1"), ("lan", "lan")]
)
def test_a_search_domain_is_lower_case(text: str, expected: str) -> None:
    assert address.domain(text) == expected


@pytest.mark.parametrize("text", ["", ".", "-a", "a-", "a..b", "a_b", "~a", "a" * 64, *HOSTILE])
def test_E5_other_text_is_no_search_domain(text: str) -> None:
    with pytest.raises(FieldError):
        address.domain(text)


NUMBERS = [
    (address.mtu, 68, 65535),
    (address.metric, 0, 2**32 - 1),
    (address.vlan_tag, 1, 4094),
    (address.table, 1, 252),
]


@pytest.mark.parametrize(("check", "low", "high"), NUMBERS)
def test_E5_numbers_have_bounds_and_are_whole(
    check: Callable[[object], int], low: int, high: int
) -> None:
    assert [check(low), check(high)] == [low, high]
    bad: list[object] = [low - 1, high + 1, True, str(high), float(high), None, [], *HOSTILE]
    for value in bad:
        with pytest.raises(FieldError):
            check(value)
