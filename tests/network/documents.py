"""Random documents of network_data.json with the facts that they mean, and spoiled documents.

The facts are put together beside the document, by rules of their own: nothing here asks the agent.
"""

from __future__ import annotations

import copy
import ipaddress
from typing import Any

from hypothesis import strategies as st

from .case import MACS, NAMES, bonded, document, net, nic, services, vlan
from .cases import CASES
from .facts import Bond, Link, Route, Vlan, gets_address, route

_DYNAMIC = {
    "ipv4_dhcp": ("", "no"),
    "ipv6_slaac": ("ra", "slaac"),
    "ipv6_dhcpv6-stateless": ("ra", "stateless"),
    "ipv6_dhcp": ("ra", "stateful"),
    "ipv6_dhcpv6-stateful": ("ra", "stateful"),
}
_RANK = ("no", "slaac", "stateless", "stateful")
# A mode, by name and number, with options that it takes: as written, as meant.
_BONDS: tuple[tuple[str, int, dict[str, Any], dict[str, str]], ...] = (
    ("balance-rr", 0, {"packets_per_slave": 8}, {"packets_per_slave": "8"}),
    ("active-backup", 1, {"fail_over_mac": 2}, {"fail_over_mac": "follow"}),
    ("active-backup", 1, {"miimon": 0}, {"miimon": "0"}),
    ("balance-xor", 2, {"xmit_hash_policy": "encap3+4"}, {"xmit_hash_policy": "encap3+4"}),
    ("broadcast", 3, {"resend_igmp": "200"}, {"resend_igmp": "200"}),
    ("802.3ad", 4, {"lacp_rate": 1, "min_links": 1}, {"lacp_rate": "fast", "min_links": "1"}),
    ("balance-tlb", 5, {"updelay": 300}, {"updelay": "300"}),
    ("balance-alb", 6, {"all_slaves_active": False}, {"all_slaves_active": "0"}),
    ("balance-rr", 0, {"packets_per_slave": 0}, {"packets_per_slave": "0"}),
    ("balance-rr", 0, {"resend_igmp": 0}, {"resend_igmp": "0"}),
    ("active-backup", 1, {"num_grat_arp": 0}, {"num_grat_arp": "0"}),
    ("active-backup", 1, {"num_unsol_na": 255}, {"num_grat_arp": "255"}),
    ("active-backup", 1, {"primary_reselect": 0}, {"primary_reselect": "always"}),
    ("active-backup", 1, {"miimon": 1, "downdelay": 0}, {"miimon": "1", "downdelay": "0"}),
    ("balance-xor", 2, {"xmit_hash_policy": 5}, {"xmit_hash_policy": "vlan+srcmac"}),
    ("802.3ad", 4, {"min_links": 0, "ad_select": 2}, {"min_links": "0", "ad_select": "count"}),
    ("802.3ad", 4, {"ad_actor_sys_prio": 65535}, {"ad_actor_sys_prio": "65535"}),
    ("balance-tlb", 5, {"tlb_dynamic_lb": 1}, {"tlb_dynamic_lb": "1"}),
    ("balance-tlb", 5, {"lp_interval": "2147483647"}, {"lp_interval": "2147483647"}),
)
_DOMAINS = st.lists(st.sampled_from(("example.org", "lan", "a-b.example")), max_size=2)
_V4 = st.ip_addresses(network="198.18.0.0/15")
_V6 = st.ip_addresses(network="2001:db8::/32")
_ANY_V4 = st.ip_addresses(network="100.64.0.0/10")
_MTUS = st.sampled_from((None, 1280, 1500, 9000, 65535))


class _Draft:
    """What one link is to have so far."""

    def __init__(self, name: str) -> None:
        self.link = Link(name)
        self.subnets: list[Any] = []
        self.routes: list[tuple[str, str, int | None]] = []
        self.dns: list[str] = []
        self.search: list[str] = []

    def finish(self, dns: list[str], search: list[str], used: bool) -> Link:
        """Return the link, with the servers of the whole document if it has a network."""
        link = self.link._replace(
            routes=frozenset(self._route(*found) for found in self.routes),
            dns=tuple(dict.fromkeys(self.dns + (dns if used else [])))[:16],
            search=tuple(dict.fromkeys(self.search + (search if used else []))),
        )
        return link._replace(required=gets_address(link))

    def _route(self, destination: str, gateway: str, metric: int | None) -> Route:
        via = ipaddress.ip_address(gateway) if gateway else None
        near = via is None or (via.version == 6 and via.is_link_local)
        on_link = not near and not any(via in subnet for subnet in self.subnets)
        return route(destination, gateway, metric, on_link=on_link)


@st.composite
def described(draw: st.DrawFn) -> tuple[Any, dict[str, Link]]:
    """Draw a valid document, and its links by their names; at least one has an address."""
    numbers = draw(st.permutations((1, 2, 3)))[: draw(st.integers(1, 3))]
    drafts = {f"port{number}": _Draft(NAMES[number - 1]) for number in numbers}
    nics = [_spelled(draw, number) for number in numbers]
    bonds, members = _bonds(draw, drafts)
    vlans = _vlans(draw, drafts, members)
    for entry in (*nics, *bonds, *vlans):
        link = drafts[entry["id"]]
        entry["mtu"] = draw(_MTUS)
        link.link = link.link._replace(mtu=entry["mtu"])
    carriers = [name for name in drafts if name not in members]
    metrics = iter(draw(st.permutations(range(1, 60))))
    chosen = draw(st.lists(st.sampled_from(carriers), min_size=1, max_size=6))
    networks = [_network(draw, name, drafts[name], metrics) for name in chosen]
    dns = [str(draw(_ANY_V4)) for _ in range(draw(st.integers(0, 2)))]
    search = draw(_DOMAINS)
    links = [d.finish(dns, search, name in chosen) for name, d in drafts.items()]
    groups = draw(st.permutations((nics, bonds, vlans)))
    text = document([entry for group in groups for entry in group], networks, *dns)
    return {**text, "dns_search": search}, {link.name: link for link in _ranked(links)}


def _spelled(draw: st.DrawFn, number: int) -> Any:
    mac = MACS[number - 1]
    spelling = draw(st.sampled_from((mac, mac.upper(), mac.replace(":", "-"))))
    kind = draw(st.sampled_from(("phy", "ovs", "bridge", "tap", "vif", None)))
    return nic(number, ethernet_mac_address=spelling, type=kind)


def _bonds(draw: st.DrawFn, drafts: dict[str, _Draft]) -> tuple[list[Any], list[str]]:
    if not draw(st.booleans()):
        return [], []
    members = list(drafts)[: draw(st.integers(1, len(drafts)))]
    mode, number, given, meant = draw(st.sampled_from(_BONDS))
    spelling = draw(st.sampled_from((mode, number, str(number))))
    options = {f"bond_{name}": value for name, value in given.items()}
    meant = {"miimon": "100", **meant}
    names = frozenset(drafts[member].link.name for member in members)
    drafts["bond"] = _Draft("bond0")
    found = Bond(mode, names, frozenset(meant.items()))
    drafts["bond"].link = drafts["bond"].link._replace(bond=found)
    return [bonded(*members, mode=spelling, **options)], members


def _vlans(draw: st.DrawFn, drafts: dict[str, _Draft], members: list[str]) -> list[Any]:
    entries = []
    for tag in draw(st.lists(st.integers(1, 4094), max_size=2, unique=True)):
        parent = draw(st.sampled_from([name for name in drafts if name not in members]))
        found = _Draft(f"vlan{tag}")
        mac = draw(st.sampled_from((None, "52:54:00:00:03:03")))
        meant = Vlan(drafts[parent].link.name, tag)
        found.link = found.link._replace(vlan=meant, mac=mac or "")
        entries.append(vlan(tag, parent, vlan_mac_address=mac))
        drafts[f"vlan{tag}"] = found
    return entries


def _network(draw: st.DrawFn, name: str, found: _Draft, metrics: Any) -> Any:
    kind = draw(st.sampled_from(("ipv4", "ipv6", *_DYNAMIC)))
    servers = [str(draw(_ANY_V4 | _V6)) for _ in range(draw(st.integers(0, 2)))]
    search = draw(_DOMAINS)
    found.dns += servers
    found.search += search
    entry = net(kind, name, services=services(*servers), dns_search=search)
    if kind in ("ipv4", "ipv6"):
        entry |= _static(draw, kind, found)
    else:
        way, dhcp6 = _DYNAMIC[kind]
        found.link = found.link._replace(
            dhcp4=found.link.dhcp4 or kind == "ipv4_dhcp",
            accept_ra=True if way else found.link.accept_ra,
            dhcp6=max(found.link.dhcp6, dhcp6, key=_RANK.index),  # type: ignore[arg-type]
        )
    if kind in ("ipv4", "ipv6", "ipv4_dhcp"):
        count = draw(st.integers(0, 2))
        entry["routes"] = [
            _routed(draw, 6 if kind == "ipv6" else 4, found, metrics) for _ in range(count)
        ]
    return entry


def _static(draw: st.DrawFn, kind: str, found: _Draft) -> Any:
    address = draw(_V4 if kind == "ipv4" else _V6)
    length = draw(st.integers(1, address.max_prefixlen))
    interface = ipaddress.ip_interface(f"{address}/{length}")
    found.subnets.append(interface.network)
    accept_ra = found.link.accept_ra
    found.link = found.link._replace(
        addresses=found.link.addresses | {str(interface)},
        accept_ra=bool(accept_ra) if kind == "ipv6" else accept_ra,
    )
    text = draw(st.sampled_from((str(address), address.exploded, address.exploded.upper())))
    mask = interface.netmask
    return draw(
        st.sampled_from(
            (
                {"ip_address": text, "netmask": length},
                {"ip_address": text, "netmask": str(length)},
                {"ip_address": text, "netmask": str(mask)},
                {"ip_address": text, "netmask": mask.exploded},
                {"ip_address": f"{text}/{length}"},
            )
        )
    )


def _routed(draw: st.DrawFn, version: int, found: _Draft, metrics: Any) -> Any:
    """Draw a route; a default route has a gateway, and a metric that no other one has."""
    bits = 32 if version == 4 else 128
    length = draw(st.integers(0, bits))
    start = draw(_ANY_V4 if version == 4 else _V6)
    target = ipaddress.ip_network(f"{start}/{length}", strict=False)
    local = st.just(ipaddress.ip_address("fe80::1"))
    gateway = str(draw(_V4 if version == 4 else _V6 | local))
    if length and draw(st.booleans()):
        gateway = ""
    metric = draw(st.sampled_from((None, 0, 7, 2**32 - 1))) if length else next(metrics)
    # Metric 0 of an IPv6 route is the kernel's own, 1024.
    metric = None if version == 6 and metric == 0 else metric
    found.routes.append((str(target), gateway, metric))
    entry = {"network": str(target.network_address), "netmask": str(target.netmask)}
    return {**entry, "gateway": gateway or None, "metric": metric}


def _ranked(links: list[Link]) -> list[Link]:
    """With metrics of dynamic default routes: behind the static ones, one after the other."""
    taken = {r.metric for link in links for r in link.routes if r.destination.endswith("/0")}
    metric = 1074 if taken else 974
    found = []
    for link in links:
        dynamic = link.dhcp4 or bool(link.accept_ra)
        found.append(link._replace(metric=metric) if dynamic and metric > 974 else link)
        metric += 100 * dynamic
    return found


MARK = "touch /tmp/owned"
HOSTILE = (
    *("", " ", "\0", "\r", "\u2028", "\ud7ff", "١", "x" * 5000, "%", "${IFACE}", "..", "/", "-"),
    *(f"\n{MARK}", f"\r\n{MARK}", f"; {MARK}", f"$({MARK})", f"`{MARK}`", f"' {MARK} '"),
    *(f'"\n{MARK}: "', f"\\\n{MARK}", f" #{MARK}", f"\n[Network]\nDHCP={MARK}", f"\n    up {MARK}"),
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | st.sampled_from(HOSTILE)
)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """Draw the document of a case with up to four values changed, removed or doubled."""
    found = [copy.deepcopy(draw(st.sampled_from(CASES)).document)]
    for _ in range(draw(st.integers(1, 4))):
        places = [*_places(found)]
        holder, key = draw(st.sampled_from(places))
        _spoil(draw, holder, key)
    return found[0]


def _places(holder: Any) -> Any:
    """Every object and list with each of its keys."""
    keys = holder.keys() if isinstance(holder, dict) else range(len(holder))
    for key in keys:
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


def _spoil(draw: st.DrawFn, holder: Any, key: Any) -> None:
    old = holder[key]
    new = draw(VALUES)
    if isinstance(old, str) and draw(st.booleans()):
        bad = draw(st.sampled_from(HOSTILE))
        new = draw(st.sampled_from((old + bad, bad + old, bad)))
    way = draw(st.sampled_from(("change", "change", "change", "double", "add")))
    if way == "double" and isinstance(holder, list):
        holder.append(copy.deepcopy(old))
    elif way == "add" and isinstance(holder, dict):
        holder[draw(st.sampled_from(("bond_", "mtu", "name", "gateway", "mode"))) + str(key)] = new
    else:
        holder[key] = new
