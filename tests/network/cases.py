"""The conformance table."""

from __future__ import annotations

from . import (
    cases_addresses,
    cases_bad,
    cases_bonds,
    cases_hostile,
    cases_links,
    cases_routes,
    cases_vlans,
)

CASES = (
    *cases_links.CASES,
    *cases_addresses.CASES,
    *cases_routes.CASES,
    *cases_bonds.CASES,
    *cases_vlans.CASES,
    *cases_bad.CASES,
    *cases_hostile.CASES,
)
BY_ID = {case.id: case for case in CASES}

# What booted guests go through, one after the other, on every stack: in an order in which every
# case has something of the one before to take back.
IN_GUESTS = (
    *("nova-full", "ipv4-dhcp", "ipv4-dhcp-mtu-route", "ipv6-slaac", "ipv6-stateful"),
    *("ipv6-stateless", "ipv6-static", "dual-dhcp", "several-per-link", "on-link-v4"),
    *("on-link-v6", "two-defaults", "three-dhcp", "policy-routing", "routes", "search-domains"),
    *("mtu", "vlan-plain", "bond-nova", "bond-active-backup", "bond-alb", "bond-arp"),
)
# The one that they boot with.
AT_BOOT = "vlan-on-bond"
