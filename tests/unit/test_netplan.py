"""Interfaces as one file of netplan, netplan(5)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from network_samples import (
    LABEL,
    LABEL2,
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

from guestagent.errors import FieldError
from guestagent.model import Interface, Rule
from guestagent.parse.network import bonding
from guestagent.stacks.netplan.render import _quote

PATH = "/etc/netplan/90-guestagent.yaml"
HEADER = "# Written by guestagent; settings of your own belong in a file whose name sorts later.\n"


def text(*interfaces: Interface) -> str:
    """The file below its header."""
    ((path, found, mode, origin),) = rendered("netplan", *interfaces)[0]
    assert (path, found[: len(HEADER)], origin) == (PATH, HEADER, interfaces[0].origin)
    assert mode == 0o600
    return found[len(HEADER) :]


def body(given: Interface) -> dict[str, Any]:
    """What a YAML parser finds about an interface, but for what it is."""
    network = yaml.safe_load(text(given))["network"]
    assert network.pop("version") == 2
    ((described,),) = (kind.values() for kind in network.values())
    return {key: value for key, value in described.items() if key != "match"}


def lost(*interfaces: Interface) -> list[str]:
    """What netplan cannot express."""
    return [problem.reason for problem in rendered("netplan", *interfaces)[1]]


def test_no_interfaces_are_no_file() -> None:
    assert rendered("netplan") == ([], [])


FULL = """\
network:
  version: 2
  ethernets:
    "nic525400000101":
      match:
        macaddress: "52:54:00:00:01:01"
      mtu: 1450
      accept-ra: false
      addresses: ["192.0.2.5/32", "2001:db8::5/64"]
      routes:
        - to: "0.0.0.0/0"
          via: "198.51.100.1"
          on-link: true
          metric: 0
        - to: "10.0.0.0/8"
          scope: "link"
          metric: 0
        - to: "::/0"
          via: "fe80::1"
          metric: 1124
        - to: "2001:db8:1::/48"
          via: "2001:db8::1"
          metric: 1024
      nameservers:
        addresses: ["192.0.2.53", "2001:db8::53"]
        search: ["example.org", "lan"]
"""


def test_a_static_interface_in_full() -> None:
    given = interface(
        name="enp0s3",
        mtu=1450,
        accept_ra=False,
        addresses=("192.0.2.5/32", "2001:db8::5/64"),
        routes=(
            route(gateway="198.51.100.1", on_link=True),
            route(destination="10.0.0.0/8", gateway=None),
            route(destination="::/0", gateway="fe80::1", metric=1124),
            route(destination="2001:db8:1::/48", gateway="2001:db8::1"),
        ),
        dns=("192.0.2.53", "2001:db8::53"),
        search=("example.org", "lan"),
    )
    assert text(given) == FULL
    assert lost(given) == []


ROUTERS = {"dhcp6": True, "ipv6-address-generation": "eui64", "accept-ra": True}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dhcp4": True}, {"dhcp4": True}),
        ({"dhcp6": "slaac", "accept_ra": True}, ROUTERS),
        ({"dhcp6": "stateless", "accept_ra": True}, ROUTERS),
        ({"dhcp6": "stateful", "accept_ra": True}, ROUTERS),
        ({"dhcp4": True, "dhcp6": "stateful", "accept_ra": True}, {"dhcp4": True, **ROUTERS}),
        ({"dhcp4": True, "accept_ra": True}, {"dhcp4": True, **ROUTERS}),
        ({"accept_ra": False}, {"accept-ra": False, "optional": True}),
        ({}, {"optional": True}),
    ],
)
def test_how_an_address_is_given(changes: dict[str, object], expected: dict[str, object]) -> None:
    described = body(interface(addresses=(), **changes))
    overrides = {key: described.pop(key) for key in list(described) if key.endswith("-overrides")}
    assert described == expected
    # As networkd takes the MTU with netplan's own words, and the domains with these.
    wanted = {"use-domains": True}
    assert overrides == {
        f"{name}-overrides": wanted for name in ("dhcp4", "dhcp6") if name in expected
    }


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (interface(name="enp0s3"), {"macaddress": MAC}),
        (interface(mac="", name="enp0s3", id="enp0s3"), {"name": "enp0s3"}),
    ],
)
def test_a_nic_is_matched_by_its_permanent_address_or_by_its_name(
    given: Interface, match: dict[str, str]
) -> None:
    described = yaml.safe_load(text(given))["network"]["ethernets"][given.id]
    assert described["match"] == match
    assert "set-name" not in described


@pytest.mark.parametrize(
    ("given", "optional"),
    [
        (interface(), False),
        (interface(required=False), True),
        (interface(addresses=()), True),
        (interface(addresses=(), dhcp4=True), False),
        (interface(addresses=(), accept_ra=True), False),
        (interface(addresses=(), accept_ra=False), True),
        (interface(dhcp4=True, required=False), True),
    ],
)
def test_only_interfaces_that_will_be_online_are_waited_for(
    given: Interface, optional: bool
) -> None:
    assert body(given).get("optional", False) is optional


@pytest.mark.parametrize(
    ("changes", "protocols"),
    [
        ({"dhcp4": True}, ["dhcp4"]),
        ({"accept_ra": True}, ["dhcp6"]),
        ({"dhcp4": True, "accept_ra": True}, ["dhcp4", "dhcp6"]),
        ({}, []),
    ],
)
def test_the_metric_is_that_of_routes_by_protocol(
    changes: dict[str, object], protocols: list[str]
) -> None:
    described = body(interface(metric=1074, **changes))
    found = {
        key: value["route-metric"] for key, value in described.items() if key.endswith("-overrides")
    }
    assert found == {f"{name}-overrides": 1074 for name in protocols}


def test_policy_routing_is_routes_of_a_table_and_rules() -> None:
    given = interface(
        routes=(
            route(metric=100),
            route(destination="192.0.2.0/24", gateway=None, table=101),
            route(table=101),
        ),
        rules=(Rule("192.0.2.5/32", 101), Rule("2001:db8::5/128", 101)),
    )
    assert text(given).partition("routes:\n")[2] == (
        """\
        - to: "0.0.0.0/0"
          via: "192.0.2.1"
          metric: 100
        - to: "192.0.2.0/24"
          scope: "link"
          metric: 0
          table: 101
        - to: "0.0.0.0/0"
          via: "192.0.2.1"
          metric: 0
          table: 101
      routing-policy:
        - from: "192.0.2.5/32"
          table: 101
          priority: 30000
        - from: "2001:db8::5/128"
          table: 101
          priority: 30000
"""
    )


STACK = """\
network:
  version: 2
  ethernets:
    "nic525400000101":
      match:
        macaddress: "52:54:00:00:01:01"
      mtu: 9000
      optional: true
    "nic525400000102":
      match:
        macaddress: "52:54:00:00:01:02"
      optional: true
  bonds:
    "bond0":
      interfaces: ["nic525400000101", "nic525400000102"]
      parameters:
        mode: "active-backup"
        mii-monitor-interval: "100"
        primary: "nic525400000102"
      macaddress: "52:54:00:00:01:03"
      mtu: 9000
      addresses: ["192.0.2.5/24"]
  vlans:
    "vlan7":
      id: 7
      link: "bond0"
      dhcp4: true
      dhcp4-overrides:
        use-domains: true
    "vlan8":
      id: 8
      link: "vlan7"
      macaddress: "52:54:00:00:01:02"
      addresses: ["198.51.100.5/24"]
"""


def test_a_bond_with_vlans_in_full() -> None:
    stack = (
        member(MAC, mtu=9000),
        member(MAC2),
        bond(options=(("miimon", "100"), ("primary", LABEL2)), mac=MAC3, mtu=9000),
        vlan("bond0", 7, addresses=(), dhcp4=True),
        vlan("vlan7", 8, mac=MAC2, addresses=("198.51.100.5/24",)),
    )
    assert text(*stack) == STACK
    assert lost(*stack) == []


# netplan(5): the words for those options of the driver that it has one for.
WORDS: list[tuple[str, str, str, str, object]] = [
    ("802.3ad", "ad_select", "bandwidth", "ad-select", "bandwidth"),
    ("802.3ad", "all_slaves_active", "1", "all-slaves-active", True),
    ("802.3ad", "all_slaves_active", "0", "all-slaves-active", False),
    ("active-backup", "arp_all_targets", "all", "arp-all-targets", "all"),
    ("active-backup", "arp_interval", "250", "arp-interval", "250"),
    (
        *("active-backup", "arp_ip_target", "192.0.2.1,192.0.2.2", "arp-ip-targets"),
        ["192.0.2.1", "192.0.2.2"],
    ),
    ("active-backup", "arp_validate", "backup", "arp-validate", "backup"),
    ("active-backup", "downdelay", "200", "down-delay", "200"),
    ("active-backup", "fail_over_mac", "active", "fail-over-mac-policy", "active"),
    ("802.3ad", "lacp_rate", "fast", "lacp-rate", "fast"),
    ("balance-tlb", "lp_interval", "3", "learn-packet-interval", "3"),
    ("active-backup", "miimon", "100", "mii-monitor-interval", "100"),
    ("802.3ad", "min_links", "1", "min-links", "1"),
    ("active-backup", "num_grat_arp", "3", "gratuitous-arp", "3"),
    ("balance-rr", "packets_per_slave", "2", "packets-per-slave", "2"),
    ("active-backup", "primary", LABEL, "primary", LABEL),
    ("active-backup", "primary_reselect", "better", "primary-reselect-policy", "better"),
    ("active-backup", "resend_igmp", "2", "resend-igmp", "2"),
    ("active-backup", "updelay", "200", "up-delay", "200"),
    ("802.3ad", "xmit_hash_policy", "layer3+4", "transmit-hash-policy", "layer3+4"),
]
LOST = [
    ("802.3ad", "ad_actor_sys_prio", "100"),
    ("802.3ad", "ad_actor_system", MAC3),
    ("802.3ad", "ad_user_port_key", "5"),
    ("balance-tlb", "tlb_dynamic_lb", "0"),
    ("active-backup", "arp_validate", "filter"),
    ("active-backup", "arp_validate", "filter_active"),
    ("active-backup", "arp_validate", "filter_backup"),
    ("802.3ad", "xmit_hash_policy", "vlan+srcmac"),
    ("active-backup", "num_grat_arp", "0"),
    ("balance-rr", "packets_per_slave", "0"),
    ("active-backup", "resend_igmp", "0"),
]


@pytest.mark.parametrize(("mode", "name", "value", "key", "expected"), WORDS)
def test_the_options_of_a_bond_are_netplans_words(
    mode: str, name: str, value: str, key: str, expected: object
) -> None:
    given = bond(LABEL, mode=mode, options=((name, value),))
    assert body(given)["parameters"] == {"mode": mode, key: expected}
    assert lost(given) == []


@pytest.mark.parametrize(("mode", "name", "value"), LOST)
def test_what_netplan_has_no_word_for_is_told_and_left_out(
    mode: str, name: str, value: str
) -> None:
    origin = ORIGIN._replace(key="links[2]")
    given = bond(LABEL, mode=mode, options=((name, value),), origin=origin)
    assert body(given)["parameters"] == {"mode": mode}
    (problem,) = rendered("netplan", given)[1]
    assert problem == origin.warning(problem.reason)
    assert name in problem.reason


def test_every_option_of_the_driver_is_written_or_told() -> None:
    assert {name for _, name, *_ in WORDS + LOST} == set(bonding.OPTIONS)


def test_E9_every_text_is_quoted() -> None:
    given = interface(search=("null", "1e3", "no"), id="on", name="0x1", mac="")
    described = yaml.safe_load(text(given))["network"]["ethernets"]["on"]
    assert described["match"] == {"name": "0x1"}
    assert described["nameservers"]["search"] == ["null", "1e3", "no"]


def test_a_name_that_netplan_keeps_for_itself_is_refused() -> None:
    with pytest.raises(FieldError):
        rendered("netplan", vlan(name="renderer", id="renderer"))


@pytest.mark.parametrize("bad", ['"', "\\", "\n", "\0", "\x1b", "\u2028", "ü", "a: b\tc"])
def test_E9_what_would_need_escapes_is_not_quoted(bad: str) -> None:
    """A second line behind the checks of the model, which let none of them through."""
    assert _quote("a: b, [c] #d '%e") == '"a: b, [c] #d \'%e"'
    with pytest.raises(FieldError, match="cannot hold"):
        _quote(f"a{bad}")
