"""Interfaces as connection profiles, nm-settings-keyfile(5), for NetworkManager 1.40 and later.

A NIC is found by its permanent address, a bond's members and a VLAN's parent by the UUID of
their profiles. ``master`` and ``slave-type`` are what newer versions read as well.

What NetworkManager does differently, and how it is brought in line with the other stacks:

* It gives up on DHCP and routers, and takes static addresses away with them: it is told never to.
* It has metrics of its own for static routes: each route says its own.
* IPv6 that the source says nothing about has method ``ignore``, the only one that leaves the
  interface to the kernel and its defaults.
* ``auto`` asks for an address by DHCPv6 where a router's M flag says so, for other information
  where its O flag does. The method ``dhcp`` would ask without a router, and then have no route.
"""

from __future__ import annotations

from _blake2 import blake2b

from guestagent import defs
from guestagent.parse.network.address import KERNEL_METRICS, family
from guestagent.stacks.check import check
from guestagent.stacks.rendered import RULE_PRIORITY, Rendered, section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from guestagent.errors import Origin
    from guestagent.model import Bond, Interface, Route, Vlan

    Pairs = list[tuple[str, str]]
    Version = Literal[4, 6]

MODE = 0o600
_HEADER = "# Written by guestagent; settings of your own belong in a profile of higher priority.\n"
# Above profiles that NetworkManager makes up (-999), people make (0) and cloud-init made (120).
_PRIORITY = "200"
_NEVER = str(2**31 - 1)
_LINK_LOCAL = "3"  # NM_SETTING_IP4_LL_ENABLED
_EUI64 = [("addr-gen-mode", "eui64"), ("ip6-privacy", "0")]
# Methods under which a family takes addresses, routes and DNS servers.
_CONFIGURED = ("auto", "manual")

_WAITED_FOR = "NetworkManager has no way not to wait for an interface; the boot may take longer"
_NO_PRIMARY = (
    "NetworkManager needs the name of the bond's primary member, which an offline tree does not"
    " tell; it is left out"
)
_NO_FAMILY = (
    "NetworkManager takes {} only of a family in which it gives the interface addresses;"
    " the others are left out"
)


def render(interfaces: Sequence[Interface]) -> Rendered:
    """A profile for each interface.  FieldError: a value does not fit."""
    files = []
    lost: list[tuple[Origin, str]] = []
    for interface in interfaces:
        path = f"{defs.NETWORKMANAGER_DIR}/{_profile(check(interface).id)}.nmconnection"
        bond = next((o for o in interfaces if o.bond and interface.id in o.bond.members), None)
        files.append((path, _keyfile(interface, bond, interfaces), interface.origin))
        lost += [(interface.origin, reason) for reason in _lost(interface, interfaces)]
    return Rendered(tuple(files), tuple(lost))


def _profile(label: str) -> str:
    return f"guestagent-{label}"


def _uuid(label: str) -> str:
    """The same UUID for the same label, of version 8 (RFC 9562)."""
    digest = bytearray(blake2b(label.encode(), digest_size=16, person=b"guestagent").digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _keyfile(interface: Interface, bond: Interface | None, interfaces: Sequence[Interface]) -> str:
    sections = [
        section("connection", _connection(interface, bond)),
        section("ethernet", _ethernet(interface)),
    ]
    if interface.bond:
        sections.append(section("bond", _bond(interface.bond, interfaces)))
    if interface.vlan:
        sections.append(section("vlan", _vlan(interface.vlan)))
    if bond is None:
        sections += [section("ipv4", _ip(interface, 4)), section("ipv6", _ip(interface, 6))]
    return _HEADER + "".join(sections)


def _connection(interface: Interface, bond: Interface | None) -> Pairs:
    kind = "bond" if interface.bond else "vlan" if interface.vlan else "ethernet"
    pairs = [("id", _profile(interface.id)), ("uuid", _uuid(interface.id)), ("type", kind)]
    if interface.stacked or not interface.mac:
        pairs.append(("interface-name", interface.name))
    pairs.append(("autoconnect-priority", _PRIORITY))
    if interface.bond:
        pairs.append(("autoconnect-slaves", "1"))
    if bond is not None:
        pairs += [("master", _uuid(bond.id)), ("slave-type", "bond")]
    return pairs


def _ethernet(interface: Interface) -> Pairs:
    key = "cloned-mac-address" if interface.stacked else "mac-address"
    pairs = [(key, interface.mac)] if interface.mac else []
    return pairs + ([] if interface.mtu is None else [("mtu", str(interface.mtu))])


def _bond(bond: Bond, interfaces: Sequence[Interface]) -> Pairs:
    pairs = [("mode", bond.mode)]
    for name, value in bond.options:
        known = _name(value, interfaces) if name == "primary" else value
        pairs += [(name, known)] if known else []
    return pairs


def _name(label: str, interfaces: Sequence[Interface]) -> str:
    """The kernel's name of an interface; empty for a NIC of an offline tree."""
    return next((other.name for other in interfaces if other.id == label), "")


def _vlan(vlan: Vlan) -> Pairs:
    return [("id", str(vlan.tag)), ("parent", _uuid(vlan.parent))]


def _method(interface: Interface, version: Version) -> str:
    static = any(family(address) == version for address in interface.addresses)
    if interface.dhcp4 if version == 4 else interface.accept_ra:
        return "auto"
    if static:
        return "manual"
    if version == 4:
        return "disabled"
    return "ignore" if interface.accept_ra is None else "link-local"


def _ip(interface: Interface, version: Version) -> Pairs:
    """The settings of one address family."""
    method = _method(interface, version)
    pairs = [("method", method)]
    if method == "auto":
        pairs += [("dhcp-timeout", _NEVER), *([("ra-timeout", _NEVER)] if version == 6 else [])]
        if interface.metric is not None:
            pairs.append(("route-metric", str(interface.metric)))
    if version == 6 and method != "ignore":
        pairs += _EUI64
    if version == 4 and interface.link_local:
        pairs.append(("link-local", _LINK_LOCAL))
    if method not in _CONFIGURED:
        return pairs
    addresses = [address for address in interface.addresses if family(address) == version]
    pairs += [(f"address{number}", text) for number, text in enumerate(addresses, 1)]
    servers = [server for server in interface.dns if family(server) == version]
    pairs += [("dns", _listed(servers))] if servers else []
    if interface.search and version == _search_family(interface):
        pairs.append(("dns-search", _listed(interface.search)))
    return [*pairs, *_routes(interface, version), *_rules(interface, version)]


def _listed(values: Sequence[str]) -> str:
    return "".join(f"{value};" for value in values)


def _search_family(interface: Interface) -> Version | None:
    """Search domains are of no family; they stand under the first that takes any."""
    versions: tuple[Version, ...] = (4, 6)
    return next((v for v in versions if _method(interface, v) in _CONFIGURED), None)


def _routes(interface: Interface, version: Version) -> Pairs:
    routes = [route for route in interface.routes if family(route.destination) == version]
    pairs = []
    for number, route in enumerate(routes, 1):
        metric = KERNEL_METRICS[version] if route.metric is None else route.metric
        pairs.append((f"route{number}", f"{route.destination},{route.gateway or ''},{metric}"))
        options = _route_options(route)
        pairs += [(f"route{number}_options", options)] if options else []
    return pairs


def _route_options(route: Route) -> str:
    on_link = ["onlink=true"] if route.on_link else []
    return ",".join([*on_link, *([] if route.table is None else [f"table={route.table}"])])


def _rules(interface: Interface, version: Version) -> Pairs:
    rules = [rule for rule in interface.rules if family(rule.source) == version]
    return [
        (
            f"routing-rule{number}",
            f"priority {RULE_PRIORITY} from {rule.source} table {rule.table}",
        )
        for number, rule in enumerate(rules, 1)
    ]


def _lost(interface: Interface, interfaces: Sequence[Interface]) -> list[str]:
    """What is asked for and cannot be said."""
    methods = {4: _method(interface, 4), 6: _method(interface, 6)}
    left_out = {version for version, method in methods.items() if method not in _CONFIGURED}
    reasons = []
    if not interface.required and "auto" in methods.values():
        reasons.append(_WAITED_FOR)
    for name, value in interface.bond.options if interface.bond else ():
        if name == "primary" and not _name(value, interfaces):
            reasons.append(_NO_PRIMARY)
    if any(family(server) in left_out for server in interface.dns):
        reasons.append(_NO_FAMILY.format("DNS servers"))
    if interface.search and len(left_out) == len(methods):
        reasons.append(_NO_FAMILY.format("search domains"))
    if any(family(route.destination) in left_out for route in interface.routes):
        reasons.append(_NO_FAMILY.format("routes"))
    return reasons
