"""What a network stack has no word for: the only differences that the tests let pass.

Each entry says which stack, why, and what becomes of a link.  Where the agent has to tell the
user about it, ``told`` is true, and the conformance test insists on the warning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .facts import Link, family, gets_address
from .produce import Backend


class Allowance(NamedTuple):
    """One shortcoming of a stack."""

    backend: Backend
    reason: str
    change: Callable[[Link], Link]
    told: bool


def _without_options(*lost: tuple[str, str]) -> Callable[[Link], Link]:
    """Leave bonding options out; a value "*" means all of them."""

    def change(link: Link) -> Link:
        if link.bond is None:
            return link
        kept = {
            (name, value)
            for name, value in link.bond.options
            if (name, value) not in lost and (name, "*") not in lost
        }
        return link._replace(bond=link.bond._replace(options=frozenset(kept)))

    return change


def _what_routers_say(link: Link) -> Link:
    return link._replace(dhcp6="slaac") if link.accept_ra else link


def _routers_alone(link: Link) -> Link:
    return link._replace(dhcp6="slaac") if link.accept_ra and link.dhcp6 == "no" else link


def _ipv4_first(link: Link) -> Link:
    return link._replace(dns=tuple(sorted(link.dns, key=family)))


def _always_waited_for(link: Link) -> Link:
    return link._replace(required=gets_address(link))


def _only_families_with_addresses(link: Link) -> Link:
    dynamic = [*([4] if link.dhcp4 else []), *([6] if link.accept_ra else [])]
    families = {*dynamic, *(family(address) for address in link.addresses)}
    return link._replace(
        dns=tuple(server for server in link.dns if family(server) in families),
        search=link.search if families else (),
        routes=frozenset(r for r in link.routes if family(r.destination) in families),
    )


def _signed_metrics(link: Link) -> Link:
    routes = (route._replace(metric=min(route.metric, 2**31 - 1)) for route in link.routes)
    return link._replace(routes=frozenset(routes))


def _servers_of_families_with_addresses(link: Link) -> Link:
    return link._replace(dns=_only_families_with_addresses(link).dns)


def _without_rules_and_primary(link: Link) -> Link:
    return _without_options(("primary", "*"))(link)._replace(rules=frozenset())


_SYSTEMD_LACKS = (
    ("arp_validate", "filter"),
    ("arp_validate", "filter_active"),
    ("arp_validate", "filter_backup"),
    ("xmit_hash_policy", "vlan+srcmac"),
)
_NETPLAN_LACKS = (
    ("ad_actor_sys_prio", "*"),
    ("ad_actor_system", "*"),
    ("ad_user_port_key", "*"),
    ("tlb_dynamic_lb", "*"),
    ("num_grat_arp", "0"),
    ("packets_per_slave", "0"),
    ("resend_igmp", "0"),
)

ALLOWANCES = (
    Allowance(
        "networkd",
        "systemd.netdev(5) has neither the filters of arp_validate nor vlan+srcmac",
        _without_options(*_SYSTEMD_LACKS),
        told=True,
    ),
    Allowance(
        "ifupdown",
        "the kernel heeds routers, but nothing asks for DHCPv6 where their flags say so",
        _routers_alone,
        told=False,
    ),
    Allowance(
        "netplan",
        "netplan has no word for some bonding options, and takes 0 of others for not given",
        _without_options(*_SYSTEMD_LACKS, *_NETPLAN_LACKS),
        told=True,
    ),
    Allowance(
        "netplan",
        "it leaves out options whose value, 0, the driver has anyway",
        _without_options(("all_slaves_active", "0"), ("min_links", "0")),
        told=False,
    ),
    Allowance(
        "netplan",
        "it can only heed routers and do what their M and O flags say",
        _what_routers_say,
        told=False,
    ),
    Allowance(
        "netplan",
        "where NetworkManager is behind it, a DNS server of a family without addresses would cost"
        " the whole interface",
        _servers_of_families_with_addresses,
        told=True,
    ),
    Allowance(
        "netplan",
        "it lists DNS servers of IPv4 before those of IPv6",
        _ipv4_first,
        told=False,
    ),
    Allowance(
        "netplan",
        "it writes metrics above 2147483647 as negative numbers; they become this one",
        _signed_metrics,
        told=False,
    ),
    Allowance(
        "networkmanager",
        "it can only heed routers and do what their M and O flags say",
        _what_routers_say,
        told=False,
    ),
    Allowance(
        "networkmanager",
        "it lists DNS servers of IPv4 before those of IPv6",
        _ipv4_first,
        told=False,
    ),
    Allowance(
        "networkmanager",
        "NetworkManager-wait-online waits for every profile that is to connect by itself",
        _always_waited_for,
        told=True,
    ),
    Allowance(
        "networkmanager",
        "a family without a method of getting addresses takes no routes, servers or domains",
        _only_families_with_addresses,
        told=True,
    ),
)


# Netplan does not tell which of its two back ends will read a file, so there is no warning.
NETPLAN_FOR_NETWORKMANAGER = (
    "netplan for NetworkManager: rules of policy routing are dropped, and the primary member of a"
    " bond is passed on under its label"
)


def through_networkmanager(links: dict[str, Link]) -> dict[str, Link]:
    """Return what remains if netplan writes for NetworkManager."""
    found, _ = allowed("networkmanager", allowed("netplan", links)[0])
    return {name: _without_rules_and_primary(link) for name, link in found.items()}


def allowed(backend: Backend, links: dict[str, Link]) -> tuple[dict[str, Link], set[str]]:
    """Return the links as a stack can have them, and the names of those with a warning."""
    found, told = dict(links), set()
    for allowance in ALLOWANCES:
        if allowance.backend != backend:
            continue
        for name, link in found.items():
            found[name] = allowance.change(link)
            if allowance.told and found[name] != link:
                told.add(name)
    return found, told
