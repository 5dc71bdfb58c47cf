"""Hostile and random network_data.json, through parser, plan and every renderer."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_documents import NOVA, parse, read
from network_samples import (
    HOSTILE,
    MAC,
    MAC2,
    MAC3,
    NETWORKD_LINE,
    NICS,
    RESOLV_LINE,
    WAIT_ONLINE_LINE,
    facts,
    planned,
    spoiled,
    strange_lines,
)

from guestagent import defs
from guestagent.model import Network
from guestagent.plan.kinds.file import File
from guestagent.settings import Settings

# All that the parser knows, for what hostile text may do to it.
ALL: dict[str, Any] = copy.deepcopy(NOVA)
ALL["links"] += [
    {"id": "tap2", "type": None, "ethernet_mac_address": MAC3},
    {
        "id": "bond",
        "type": "bond",
        "name": "uplink",
        "mtu": 9000,
        "ethernet_mac_address": "52:54:00:00:01:0a",
        "bond_links": ["tap2"],
        "bond_mode": "802.3ad",
        "bond_miimon": 50,
        "bond_xmit_hash_policy": "layer3+4",
        "bond_ad_actor_system": "52:54:00:00:01:0b",
    },
    {
        "id": "vlan",
        "type": "vlan",
        "name": "data",
        "vlan_id": 101,
        "vlan_link": "bond",
        "vlan_mac_address": "52:54:00:00:01:0c",
    },
]
ALL["networks"] += [
    {"id": "network3", "type": "ipv6_slaac", "link": "bond"},
    {"id": "network4", "type": "ipv6_dhcpv6-stateful", "link": "tap1"},
    {
        "id": "network5",
        "type": "ipv4",
        "link": "vlan",
        "ip_address": "198.51.100.5/32",
        "gateway": "198.51.100.1",
        "dns_search": ["example.org"],
        "dns_nameservers": ["198.51.100.53"],
    },
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Path and value of every leaf in a document."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _places(item, (*path, key))
    else:
        yield path, value


@cache
def _outputs(network: Network, backend: str) -> list[tuple[str, str]]:
    offered = facts(resolver="file", nics=NICS)
    resources, _ = planned(network, offered, Settings(network_backend=backend))
    files = [entry for entry in resources if isinstance(entry, File)]
    return [(entry.path, entry.content.decode("ascii")) for entry in files]


def _heads(text: str) -> set[str]:
    """Return how lines of a file begin, without numbers: sections, keys, the first word."""
    words = (re.split(r"[=: ]", line.strip(), maxsplit=1)[0] for line in text.split("\n"))
    return {re.sub(r"\d+", "0", word) for word in words}


def _paths(outputs: list[tuple[str, str]]) -> set[str]:
    """Return the paths, with one name for the good ones of interfaces."""
    good = r"(?<=guestagent-)(uplink|data|bond0|vlan101|nic52540000010[123])(?=\.)"
    return {re.sub(good, "good", path) for path, _ in outputs}


# Parts of hostile strings that do harm in one syntax or another.
MARKS = ("$(id)", "`", "reboot", "up id", "[X]", "%", "\\", "]]", "\nDHCP=yes", "\nup")


def _marks(outputs: list[tuple[str, str]]) -> set[str]:
    return {mark for mark in MARKS for _, text in outputs if mark in text}


BASES = {backend: _outputs(parse(ALL)[0], backend) for backend in defs.NETWORK_STACKS}
# The names that a bond and a VLAN get where theirs are refused, as netplan has them.
MADE = {'"bond0"', '"vlan0"'}


def _assert_plain(outputs: list[tuple[str, str]], backend: str) -> None:
    for path, text in outputs:
        assert path.startswith(defs.NETWORK_FILES)
        assert all(line.isprintable() for line in text.split("\n"))
        if path == defs.RESOLV_CONF:
            assert strange_lines(text, RESOLV_LINE) == []
        elif path == defs.WAIT_ONLINE_FILE:
            assert strange_lines(text, WAIT_ONLINE_LINE) == []
        elif backend == "networkd":
            assert strange_lines(text, NETWORKD_LINE) == []


def test_every_back_end_has_files_for_all_there_is() -> None:
    assert parse(ALL)[1] == []
    for backend in defs.NETWORK_STACKS:
        _assert_plain(BASES[backend], backend)
        text = "".join(text for _, text in BASES[backend])
        for word in ("192.0.2.5/24", "2001:db8::1", "198.51.100.53", "uplink", "101", "layer3+4"):
            assert word in text


@pytest.mark.parametrize(
    ("place", "value"),
    [pytest.param(*found, id=".".join(map(str, found[0]))) for found in _places(ALL)],
)
def test_E5_E7_no_field_carries_text_into_an_output(place: tuple[Any, ...], value: Any) -> None:
    """Each leaf of the document × each hostile string, through parser, plan and renderers."""
    for bad in spoiled("" if value is None else str(value)):
        document = copy.deepcopy(ALL)
        target = document
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = bad
        network = read(document)[0]
        for backend, usual in BASES.items():
            outputs = _outputs(network, backend)
            _assert_plain(outputs, backend)
            assert _paths(outputs) <= _paths(usual)
            assert _marks(outputs) <= _marks(usual)
            heads = _heads("".join(text for _, text in outputs))
            assert heads - _heads("".join(text for _, text in usual)) <= MADE


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2**33),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            *(*HOSTILE, MAC, MAC2, "a", "b", "dns", "ipv4", "ipv6", "ipv6_slaac", "ipv4_dhcp"),
            *("phy", "bond", "vlan", "192.0.2.5", "192.0.2.1", "255.255.255.0", "fe80::1", "::/0"),
            *("2001:db8::5/64", "0.0.0.0/0", "802.3ad", "100"),
        ]
    ),
)
KEYS = st.sampled_from(
    [
        *("links", "networks", "services", "id", "type", "mtu", "ethernet_mac_address", "link"),
        *("ip_address", "netmask", "gateway", "routes", "network", "destination", "metric"),
        *("address", "name", "bond_links", "bond_mode", "bond_miimon", "bond_primary", "vlan_id"),
        *("vlan_link", "vlan_mac_address", "dns_search", "dns_nameservers"),
    ]
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    links=st.lists(st.dictionaries(KEYS, LEAVES, max_size=5) | DOCUMENTS, max_size=3),
    networks=st.lists(st.dictionaries(KEYS, DOCUMENTS, max_size=8), max_size=4) | DOCUMENTS,
    services=DOCUMENTS,
)
def test_E5_any_document_is_parsed_without_raising(
    links: object, networks: object, services: object
) -> None:
    good = {"id": "a", "ethernet_mac_address": MAC}
    listed = [good, *links] if isinstance(links, list) else links
    document = {"links": listed, "networks": networks, "services": services}
    network, _ = read(document)
    for backend in defs.NETWORK_STACKS:
        _assert_plain(_outputs(network, backend), backend)
    read(services)
