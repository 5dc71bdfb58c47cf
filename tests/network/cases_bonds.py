"""Conformance cases: bonds, in every mode."""

from __future__ import annotations

from .case import (
    Case,
    bonded,
    default4,
    document,
    net,
    nic,
    static4,
    static6,
)
from .facts import bond, link, route

V4 = "192.0.2.10/24"
V6 = "2001:db8:1::10/64"
TWO = [nic(1), nic(2)]
BOTH = ("port1", "port2")
MEMBERS = (link("enp0s3"), link("enp0s4"))

CASES = (
    Case(
        "bond-nova",
        "a bond as Nova and Ironic describe a port group: its options, MAC and MTU",
        document(
            [
                *TWO,
                bonded(
                    *BOTH,
                    mode="802.3ad",
                    bond_miimon=100,
                    bond_xmit_hash_policy="layer3+4",
                    ethernet_mac_address="52:54:00:00:01:01",
                    mtu=9000,
                ),
            ],
            [static4("bond", routes=[default4("192.0.2.1")])],
            "192.0.2.53",
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                V4,
                routes=(route("0.0.0.0/0", "192.0.2.1"),),
                dns=("192.0.2.53",),
                mtu=9000,
                mac="52:54:00:00:01:01",
                bond=bond("802.3ad", "enp0s3", "enp0s4", miimon=100, xmit_hash_policy="layer3+4"),
            ),
        ),
    ),
    Case(
        "bond-rr",
        "mode balance-rr, which is also what no mode means, with its option",
        document(
            [*TWO, bonded(*BOTH, mode=None, bond_packets_per_slave=4, bond_resend_igmp=3)],
            [static4("bond")],
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                V4,
                bond=bond("balance-rr", "enp0s3", "enp0s4", packets_per_slave=4, resend_igmp=3),
            ),
        ),
    ),
    Case(
        "bond-active-backup",
        "mode active-backup with a primary member and the options of that mode",
        document(
            [
                *TWO,
                bonded(
                    *BOTH,
                    mode="active-backup",
                    bond_primary="port2",
                    bond_primary_reselect="better",
                    bond_fail_over_mac="active",
                    bond_miimon="50",
                    bond_updelay=200,
                    bond_downdelay=100,
                    bond_num_unsol_na=2,
                ),
            ],
            [static4("bond"), net("ipv6_slaac", "bond")],
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                V4,
                dhcp6="slaac",
                accept_ra=True,
                bond=bond(
                    "active-backup",
                    "enp0s3",
                    "enp0s4",
                    primary="enp0s4",
                    primary_reselect="better",
                    fail_over_mac="active",
                    miimon=50,
                    updelay=200,
                    downdelay=100,
                    num_grat_arp=2,
                ),
            ),
        ),
    ),
    Case(
        "bond-xor",
        "mode balance-xor by its number, with a hash policy",
        document(
            [*TWO, bonded(*BOTH, mode=2, bond_xmit_hash_policy=1)], [net("ipv4_dhcp", "bond")]
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                dhcp4=True,
                bond=bond("balance-xor", "enp0s3", "enp0s4", xmit_hash_policy="layer3+4"),
            ),
        ),
    ),
    Case(
        "bond-broadcast",
        "mode broadcast by its number in text",
        document([*TWO, bonded(*BOTH, mode="3")], [static4("bond")]),
        (*MEMBERS, link("bond0", V4, bond=bond("broadcast", "enp0s3", "enp0s4"))),
    ),
    Case(
        "bond-lacp",
        "mode 802.3ad with everything that LACP has",
        document(
            [
                *TWO,
                bonded(
                    *BOTH,
                    mode=4,
                    bond_lacp_rate="fast",
                    bond_ad_select="bandwidth",
                    bond_ad_actor_sys_prio=1000,
                    bond_ad_actor_system="52:54:00:AA:00:01",
                    bond_ad_user_port_key=7,
                    bond_min_links=2,
                    bond_xmit_hash_policy="layer2+3",
                ),
            ],
            [static6("bond")],
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                V6,
                accept_ra=False,
                bond=bond(
                    "802.3ad",
                    "enp0s3",
                    "enp0s4",
                    lacp_rate="fast",
                    ad_select="bandwidth",
                    ad_actor_sys_prio=1000,
                    ad_actor_system="52:54:00:aa:00:01",
                    ad_user_port_key=7,
                    min_links=2,
                    xmit_hash_policy="layer2+3",
                ),
            ),
        ),
    ),
    Case(
        "bond-ironic-802.1ad",
        "Ironic's schema spells 802.3ad as 802.1ad",
        document([*TWO, bonded(*BOTH, mode="802.1ad")], [static4("bond")]),
        (*MEMBERS, link("bond0", V4, bond=bond("802.3ad", "enp0s3", "enp0s4"))),
    ),
    Case(
        "bond-tlb",
        "mode balance-tlb with its options",
        document(
            [
                *TWO,
                bonded(*BOTH, mode="balance-tlb", bond_tlb_dynamic_lb=0, bond_lp_interval=2),
            ],
            [static4("bond")],
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                V4,
                bond=bond("balance-tlb", "enp0s3", "enp0s4", tlb_dynamic_lb=0, lp_interval=2),
            ),
        ),
    ),
    Case(
        "bond-alb",
        "mode balance-alb, with all members taking packets",
        document(
            [*TWO, bonded(*BOTH, mode="balance-alb", bond_all_slaves_active=True)],
            [static4("bond")],
        ),
        (
            *MEMBERS,
            link("bond0", V4, bond=bond("balance-alb", "enp0s3", "enp0s4", all_slaves_active=1)),
        ),
    ),
    Case(
        "bond-arp",
        "links watched by ARP instead of MII",
        document(
            [
                *TWO,
                bonded(
                    *BOTH,
                    bond_arp_interval=1000,
                    bond_arp_ip_target="192.0.2.1,192.0.2.2",
                    bond_arp_validate="all",
                    bond_arp_all_targets="any",
                ),
            ],
            [static4("bond")],
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                V4,
                bond=bond(
                    "active-backup",
                    "enp0s3",
                    "enp0s4",
                    arp_interval=1000,
                    arp_ip_target="192.0.2.1,192.0.2.2",
                    arp_validate="all",
                    arp_all_targets="any",
                ),
            ),
        ),
    ),
    Case(
        "bond-rare-values",
        "values of the driver that not every stack knows",
        document(
            [
                *TWO,
                bonded(
                    *BOTH,
                    bond_arp_interval=500,
                    bond_arp_ip_target=["192.0.2.1"],
                    bond_arp_validate="filter_active",
                ),
            ],
            [static4("bond")],
        ),
        (
            *MEMBERS,
            link(
                "bond0",
                V4,
                bond=bond(
                    "active-backup",
                    "enp0s3",
                    "enp0s4",
                    arp_interval=500,
                    arp_ip_target="192.0.2.1",
                    arp_validate="filter_active",
                ),
            ),
        ),
    ),
    Case(
        "bond-named",
        "a bond gets the name that the document has for it",
        document([*TWO, bonded(*BOTH, name="uplink")], [static4("bond")]),
        (*MEMBERS, link("uplink", V4, bond=bond("active-backup", "enp0s3", "enp0s4"))),
    ),
    Case(
        "bond-missing-nic",
        "a bond with a member that the guest lacks has the other one",
        document(
            [nic(1), nic(2, ethernet_mac_address="52:54:00:00:09:09"), bonded(*BOTH)],
            [static4("bond")],
        ),
        (link("enp0s3"), link("bond0", V4, bond=bond("active-backup", "enp0s3"))),
        errors=("links[1]",),
    ),
    Case(
        "bond-bad-options",
        "unknown options, bad values and options of other modes are left out one by one",
        document(
            [
                *TWO,
                bonded(
                    *BOTH,
                    mode="balance-rr",
                    bond_miimon=-1,
                    bond_lacp_rate="fast",
                    bond_no_such_thing=1,
                    bond_primary="port1",
                    bond_resend_igmp=5,
                ),
            ],
            [static4("bond")],
        ),
        (*MEMBERS, link("bond0", V4, bond=bond("balance-rr", "enp0s3", "enp0s4", resend_igmp=5))),
        errors=(
            "links[2].bond_miimon",
            "links[2].bond_lacp_rate",
            "links[2].bond_no_such_thing",
            "links[2].bond_primary",
        ),
    ),
)
