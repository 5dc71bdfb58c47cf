"""Bonds and VLANs as systemd.netdev(5) files, and the systemd.network(5) files around them."""

from __future__ import annotations

import pytest
from network_samples import (
    LABEL,
    LABEL2,
    MAC,
    MAC2,
    MAC3,
    NETWORKD_LINE,
    NETWORKD_STEM,
    ORIGIN,
    bond,
    interface,
    member,
    rendered,
    strange_lines,
    vlan,
)
from network_samples import networkd_files as files

from guestagent.parse.network import bonding

STACK = {
    f"{LABEL}.network": """
[Match]
PermanentMACAddress=52:54:00:00:01:01
Kind=!*

[Link]
RequiredForOnline=no

[Network]
DHCP=no
Bond=bond0
""",
    f"{LABEL2}.network": """
[Match]
PermanentMACAddress=52:54:00:00:01:02
Kind=!*

[Link]
RequiredForOnline=no

[Network]
DHCP=no
Bond=bond0
PrimarySlave=yes
""",
    "bond0.netdev": """
[NetDev]
Name=bond0
Kind=bond
MACAddress=52:54:00:00:01:03

[Bond]
Mode=active-backup
MIIMonitorSec=100ms
""",
    "bond0.network": """
[Match]
Name=bond0

[Link]
MTUBytes=9000

[Network]
DHCP=no
Address=192.0.2.5/24
VLAN=vlan7
VLAN=vlan8
""",
    "vlan7.netdev": """
[NetDev]
Name=vlan7
Kind=vlan

[VLAN]
Id=7
""",
    "vlan7.network": """
[Match]
Name=vlan7

[Network]
DHCP=ipv4
VLAN=vlan9

[DHCPv4]
UseMTU=yes
UseDomains=yes
""",
    "vlan8.netdev": """
[NetDev]
Name=vlan8
Kind=vlan
MACAddress=52:54:00:00:01:04

[VLAN]
Id=8
""",
    "vlan8.network": """
[Match]
Name=vlan8

[Network]
DHCP=no
Address=198.51.100.5/24
""",
    "vlan9.netdev": """
[NetDev]
Name=vlan9
Kind=vlan

[VLAN]
Id=9
""",
    "vlan9.network": """
[Match]
Name=vlan9

[Link]
RequiredForOnline=no

[Network]
DHCP=no
""",
}


def test_a_bond_with_vlans_and_a_vlan_in_a_vlan_in_full() -> None:
    options = (("miimon", "100"), ("primary", LABEL2))
    stack = (
        member(MAC),
        member(MAC2),
        bond(options=options, mac=MAC3, mtu=9000),
        vlan("bond0", 7, addresses=(), dhcp4=True),
        vlan("bond0", 8, mac="52:54:00:00:01:04", addresses=("198.51.100.5/24",)),
        vlan("vlan7", 9, addresses=()),
    )
    assert files(*stack) == STACK


def test_every_file_has_the_origin_of_its_interface() -> None:
    origins = [ORIGIN._replace(key=f"links[{n}]") for n in range(3)]
    stack = (
        interface(origin=origins[0]),
        bond(LABEL, origin=origins[1]),
        vlan("bond0", origin=origins[2]),
    )
    files, _ = rendered("networkd", *stack)
    found = [(file.path[len(NETWORKD_STEM) :], file.origin) for file in files]
    assert found == [
        (f"{LABEL}.network", origins[0]),
        ("bond0.netdev", origins[1]),
        ("bond0.network", origins[1]),
        ("vlan7.netdev", origins[2]),
        ("vlan7.network", origins[2]),
    ]


def netdev(mode: str, *options: tuple[str, str]) -> list[str]:
    """What stands in [Bond] below the mode."""
    text = files(bond(LABEL, mode=mode, options=options))["bond0.netdev"]
    first, *lines = text.partition("[Bond]\n")[2].splitlines()
    assert first == f"Mode={mode}"
    return lines


# systemd.netdev(5): every option has a word there, but "primary", which its member has.
WORDS = [
    ("802.3ad", "ad_actor_sys_prio", "100", "AdActorSystemPriority=100"),
    ("802.3ad", "ad_actor_system", MAC3, f"AdActorSystem={MAC3}"),
    ("802.3ad", "ad_select", "bandwidth", "AdSelect=bandwidth"),
    ("802.3ad", "ad_user_port_key", "5", "AdUserPortKey=5"),
    ("802.3ad", "all_slaves_active", "1", "AllSlavesActive=yes"),
    ("802.3ad", "all_slaves_active", "0", "AllSlavesActive=no"),
    ("active-backup", "arp_all_targets", "all", "ARPAllTargets=all"),
    ("active-backup", "arp_interval", "250", "ARPIntervalSec=250ms"),
    ("active-backup", "arp_ip_target", "192.0.2.1,192.0.2.2", "ARPIPTargets=192.0.2.1 192.0.2.2"),
    ("active-backup", "arp_validate", "backup", "ARPValidate=backup"),
    ("active-backup", "downdelay", "200", "DownDelaySec=200ms"),
    ("active-backup", "fail_over_mac", "active", "FailOverMACPolicy=active"),
    ("802.3ad", "lacp_rate", "fast", "LACPTransmitRate=fast"),
    ("balance-tlb", "lp_interval", "3", "LearnPacketIntervalSec=3"),
    ("active-backup", "miimon", "100", "MIIMonitorSec=100ms"),
    ("802.3ad", "min_links", "1", "MinLinks=1"),
    ("active-backup", "num_grat_arp", "3", "GratuitousARP=3"),
    ("balance-rr", "packets_per_slave", "2", "PacketsPerSlave=2"),
    ("active-backup", "primary", LABEL, None),
    ("active-backup", "primary_reselect", "better", "PrimaryReselectPolicy=better"),
    ("active-backup", "resend_igmp", "2", "ResendIGMP=2"),
    ("balance-tlb", "tlb_dynamic_lb", "0", "DynamicTransmitLoadBalancing=no"),
    ("active-backup", "updelay", "200", "UpDelaySec=200ms"),
    ("802.3ad", "xmit_hash_policy", "layer3+4", "TransmitHashPolicy=layer3+4"),
]


@pytest.mark.parametrize(("mode", "name", "value", "line"), WORDS)
def test_the_options_of_a_bond_are_networkds_words(
    mode: str, name: str, value: str, line: str | None
) -> None:
    assert netdev(mode, (name, value)) == ([line] if line else [])


def test_every_option_of_the_driver_has_a_word() -> None:
    assert {name for _, name, _, _ in WORDS} == set(bonding.OPTIONS)


@pytest.mark.parametrize("mode", bonding.MODES)
def test_the_modes_are_those_of_the_driver(mode: str) -> None:
    assert netdev(mode) == []


@pytest.mark.parametrize(
    ("mode", "name", "value"),
    [
        ("active-backup", "arp_validate", "filter"),
        ("active-backup", "arp_validate", "filter_active"),
        ("active-backup", "arp_validate", "filter_backup"),
        ("802.3ad", "xmit_hash_policy", "vlan+srcmac"),
    ],
)
def test_what_networkd_has_no_word_for_is_told_and_left_out(
    mode: str, name: str, value: str
) -> None:
    origin = ORIGIN._replace(key="links[2]")
    options = (("miimon", "100"), (name, value))
    given = bond(LABEL, mode=mode, options=options, origin=origin)
    (problem,) = rendered("networkd", given)[1]
    assert (problem, name in problem.reason) == (origin.warning(problem.reason), True)
    assert netdev(mode, *options) == ["MIIMonitorSec=100ms"]


def test_nothing_is_lost_otherwise() -> None:
    given = [bond(LABEL, mode=mode, options=((name, value),)) for mode, name, value, _ in WORDS]
    assert all(rendered("networkd", entry)[1] == [] for entry in given)


def test_every_line_is_one_that_guestagent_writes() -> None:
    texts = [*STACK.values(), *(f"[Bond]\n{line}" for _, _, _, line in WORDS if line)]
    assert [line for text in texts for line in strange_lines(text, NETWORKD_LINE)] == []
