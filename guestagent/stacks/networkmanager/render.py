"""Render interfaces as profiles, nm-settings-keyfile(5), for NetworkManager 1.40 and later.

A NIC is found by its permanent address, a bond's members and a VLAN's parent by the UUID of
their profiles.  Newer versions still read the old keys ``master`` and ``slave-type``.

What NetworkManager does differently, and how it is made to do what the other stacks do:

* It gives up on DHCP and routers, and removes static addresses then: it is told never to.
* It has metrics of its own for static routes: each route has its metric written out.
* IPv6 of which the source says nothing has method ``ignore``, the only one that leaves the
  interface to the kernel and its defaults.
* ``auto`` asks for an address by DHCPv6 where a router's M flag says so, for other information
  where its O flag does.  The method ``dhcp`` would ask without a router, and then have no route.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.parse.network.address import KERNEL_METRICS, family
from guestagent.stacks.check import check
from guestagent.stacks.rendered import LOWEST_PRIORITY, RULE_PRIORITY, RenderedFile, section
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from guestagent.errors import Problems
    from guestagent.model import Bond, Interface, Route, Vlan

    Pairs = list[tuple[str, str]]
    Version = Literal[4, 6]

_MODE = 0o600
_HEADER = "# Written by guestagent; settings of your own belong in a profile of higher priority.\n"
# Higher than that of profiles by NetworkManager itself (-999), people (0) and cloud-init (120).
_PRIORITY = "200"
_NEVER = str(2**31 - 1)
_LINK_LOCAL = "3"  # NM_SETTING_IP4_LL_ENABLED
_EUI64 = [("addr-gen-mode", "eui64"), ("ip6-privacy", "0")]
_VERSIONS: tuple[Version, ...] = (4, 6)
# Methods under which NetworkManager takes addresses, routes and DNS servers of a family.
_CONFIGURED = ("auto", "manual")

_WAITED_FOR = "NetworkManager cannot be told not to wait for an interface; the boot may take longer"
_NO_PRIMARY = (
    "NetworkManager needs the name of the bond's primary member, which is not known for an offline"
    " tree; ignored"
)
_NO_FAMILY = (
    "NetworkManager accepts {} only of an address family that the interface has addresses of;"
    " the others are ignored"
)


def render(interfaces: Sequence[Interface], problems: Problems) -> list[RenderedFile]:
    """Return a profile for each interface; note what NetworkManager cannot do as problems.

    Raises FieldError for a value that does not fit.
    """
    files = []
    for interface in interfaces:
        stem = defs.NETWORK_STACK_FILES["networkmanager"] + check(interface).id
        text = _keyfile(interface, interfaces)
        files.append(RenderedFile(f"{stem}.nmconnection", text, _MODE, interface.origin))
        _report_losses(interface, interfaces, problems)
    return files


def _profile_id(label: str) -> str:
    return f"guestagent-{label}"


def _uuid(label: str) -> str:
    """Return the same UUID for the same label, of version 8 (RFC 9562)."""
    octets = bytearray.fromhex(digest(label.encode(), person=b"guestagent"))
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    text = octets.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _keyfile(interface: Interface, interfaces: Sequence[Interface]) -> str:
    bond = _bond_of(interface, interfaces)
    text = _HEADER
    text += section("connection", _connection(interface, bond))
    if interface.infiniband:
        text += section("infiniband", _infiniband(interface))
    else:
        text += section("ethernet", _ethernet(interface))
    if interface.bond:
        text += section("bond", _bond(interface.bond, interfaces))
    if interface.vlan:
        text += section("vlan", _vlan(interface.vlan))
    if bond is None:  # a member of a bond has no addresses of its own
        text += section("ipv4", _ipv4(interface))
        text += section("ipv6", _ipv6(interface))
    return text


def _bond_of(interface: Interface, interfaces: Sequence[Interface]) -> Interface | None:
    """Return the bond that an interface is a member of."""
    for other in interfaces:
        if other.bond and interface.id in other.bond.members:
            return other
    return None


def _connection(interface: Interface, bond: Interface | None) -> Pairs:
    pairs = [("id", _profile_id(interface.id)), ("uuid", _uuid(interface.id))]
    pairs.append(("type", _type(interface)))
    if interface.stacked or interface.infiniband or not interface.mac:
        pairs.append(("interface-name", interface.name))
    priority = LOWEST_PRIORITY if interface.unnamed else _PRIORITY
    pairs.append(("autoconnect-priority", priority))
    if interface.bond:
        pairs.append(("autoconnect-slaves", "1"))
    if bond is not None:
        pairs += [("master", _uuid(bond.id)), ("slave-type", "bond")]
    return pairs


def _type(interface: Interface) -> str:
    if interface.bond:
        return "bond"
    if interface.infiniband:
        return "infiniband"
    return "vlan" if interface.vlan else "ethernet"


def _ethernet(interface: Interface) -> Pairs:
    pairs = []
    if interface.mac:
        key = "cloned-mac-address" if interface.stacked else "mac-address"
        pairs.append((key, interface.mac))
    if interface.mtu is not None:
        pairs.append(("mtu", str(interface.mtu)))
    return pairs


def _infiniband(interface: Interface) -> Pairs:
    pairs = [("transport-mode", "datagram")]  # the mode that the kernel begins with
    if interface.mtu is not None:
        pairs.append(("mtu", str(interface.mtu)))
    return pairs


def _bond(bond: Bond, interfaces: Sequence[Interface]) -> Pairs:
    pairs = [("mode", bond.mode)]
    for name, value in bond.options:
        if name == "primary":
            value = _name(value, interfaces)
        if value:
            pairs.append((name, value))
    return pairs


def _name(label: str, interfaces: Sequence[Interface]) -> str:
    """Return the kernel's name of an interface, "" for a NIC of an offline tree."""
    return next((other.name for other in interfaces if other.id == label), "")


def _vlan(vlan: Vlan) -> Pairs:
    return [("id", str(vlan.tag)), ("parent", _uuid(vlan.parent))]


def _method(interface: Interface, version: Version) -> str:
    is_static = any(family(address) == version for address in interface.addresses)
    if version == 4:
        if interface.dhcp4:
            return "auto"
        return "manual" if is_static else "disabled"
    if interface.accept_ra:
        return "auto"
    if is_static:
        return "manual"
    return "ignore" if interface.accept_ra is None else "link-local"


def _ipv4(interface: Interface) -> Pairs:
    method = _method(interface, 4)
    pairs = [("method", method)]
    if method == "auto":
        pairs.append(("dhcp-timeout", _NEVER))
        pairs += _route_metric(interface)
    if interface.link_local:
        pairs.append(("link-local", _LINK_LOCAL))
    return pairs + _static(interface, 4)


def _ipv6(interface: Interface) -> Pairs:
    method = _method(interface, 6)
    pairs = [("method", method)]
    if method == "auto":
        pairs += [("dhcp-timeout", _NEVER), ("ra-timeout", _NEVER)]
        pairs += _route_metric(interface)
    if method != "ignore":
        pairs += _EUI64
    return pairs + _static(interface, 6)


def _route_metric(interface: Interface) -> Pairs:
    return [] if interface.metric is None else [("route-metric", str(interface.metric))]


def _static(interface: Interface, version: Version) -> Pairs:
    """Return addresses, DNS, routes and rules of an address family, where its method takes them."""
    if _method(interface, version) not in _CONFIGURED:
        return []
    pairs = []
    addresses = [address for address in interface.addresses if family(address) == version]
    for number, address in enumerate(addresses, 1):
        pairs.append((f"address{number}", address))
    servers = [server for server in interface.dns if family(server) == version]
    if servers:
        pairs.append(("dns", _list(servers)))
    if interface.search and version == _search_family(interface):
        pairs.append(("dns-search", _list(interface.search)))
    return pairs + _routes(interface, version) + _rules(interface, version)


def _list(values: Sequence[str]) -> str:
    return "".join(f"{value};" for value in values)


def _search_family(interface: Interface) -> Version | None:
    """Return the family whose section has the search domains: the first that takes any."""
    for version in _VERSIONS:
        if _method(interface, version) in _CONFIGURED:
            return version
    return None


def _routes(interface: Interface, version: Version) -> Pairs:
    routes = [route for route in interface.routes if family(route.destination) == version]
    pairs = []
    for number, route in enumerate(routes, 1):
        metric = KERNEL_METRICS[version] if route.metric is None else route.metric
        pairs.append((f"route{number}", f"{route.destination},{route.gateway or ''},{metric}"))
        options = _route_options(route)
        if options:
            pairs.append((f"route{number}_options", options))
    return pairs


def _route_options(route: Route) -> str:
    options = []
    if route.on_link:
        options.append("onlink=true")
    if route.table is not None:
        options.append(f"table={route.table}")
    return ",".join(options)


def _rules(interface: Interface, version: Version) -> Pairs:
    rules = [rule for rule in interface.rules if family(rule.source) == version]
    pairs = []
    for number, rule in enumerate(rules, 1):
        text = f"priority {RULE_PRIORITY} from {rule.source} table {rule.table}"
        pairs.append((f"routing-rule{number}", text))
    return pairs


def _report_losses(
    interface: Interface, interfaces: Sequence[Interface], problems: Problems
) -> None:
    """Note what the source asks for and NetworkManager cannot do."""
    origin = interface.origin
    methods = [_method(interface, version) for version in _VERSIONS]
    # NetworkManager waits for a NIC that nobody names, too, if it is left to itself.
    if "auto" in methods and not interface.required and not interface.unnamed:
        problems.warn(origin, _WAITED_FOR)
    if interface.bond:
        primary = dict(interface.bond.options).get("primary")
        if primary is not None and not _name(primary, interfaces):
            problems.warn(origin, _NO_PRIMARY)
    if not _takes_all(interface, interface.dns):
        problems.warn(origin, _NO_FAMILY.format("DNS servers"))
    if interface.search and _search_family(interface) is None:
        problems.warn(origin, _NO_FAMILY.format("search domains"))
    if not _takes_all(interface, [route.destination for route in interface.routes]):
        problems.warn(origin, _NO_FAMILY.format("routes"))


def _takes_all(interface: Interface, addresses: Sequence[str]) -> bool:
    """Tell whether NetworkManager takes settings of the families of all addresses."""
    return all(_method(interface, family(address)) in _CONFIGURED for address in addresses)
