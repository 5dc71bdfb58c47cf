"""Check that every value of an interface fits the syntax of the files that it goes into.

Each renderer checks what it is given.  The parsers give valid values already, but the files are
read by a shell and by services of root: so each value must equal its own canonical form here.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guestagent.model import Bond, Interface, Route, Rule, Vlan

_DHCP6 = ("no", "slaac", "stateless", "stateful")


def check(interface: Interface) -> Interface:
    """Return the interface itself.

    Raises FieldError, which names the field, for the first value that is not canonical.
    """
    if not interface.mac and not interface.name:
        raise FieldError("the interface has neither a MAC address nor a name")
    if interface.stacked and not interface.name:
        raise FieldError("the bond or VLAN has no name")
    _check_names(interface)
    _check_canonical("addresses", address.interface_address, interface.addresses)
    _check_canonical("dns", address.address, interface.dns)
    _check_canonical("search", address.domain, interface.search)
    if interface.mtu is not None:
        address.mtu(interface.mtu)
    if interface.metric is not None:
        address.metric(interface.metric)
    for route in interface.routes:
        _check_route(route)
    for rule in interface.rules:
        _check_rule(rule)
    if interface.bond is not None:
        _check_bond(interface.bond)
    if interface.vlan is not None:
        _check_vlan(interface.vlan)
    if interface.dhcp6 not in _DHCP6:
        raise FieldError("dhcp6 has an unknown value")
    _check_flag("dhcp4", interface.dhcp4)
    _check_flag("accept_ra", interface.accept_ra)
    _check_flag("required", interface.required)
    _check_flag("link_local", interface.link_local)
    _check_flag("partial", interface.partial)
    _check_flag("unnamed", interface.unnamed)
    return interface


def _check_names(interface: Interface) -> None:
    """Check what the interface is known by; each of the three may be empty."""
    if interface.mac:
        is_mac = address.mac if interface.stacked else address.nic_mac
        _check_canonical("mac", is_mac, [interface.mac])
    if interface.infiniband and not interface.name:
        raise FieldError("the NIC of InfiniBand has no name")
    if interface.name:
        _check_canonical("name", address.interface_name, [interface.name])
    if interface.id:
        _check_canonical("id", address.interface_name, [interface.id])


def _check_flag(field: str, value: object) -> None:
    if value is not True and value is not False and value is not None:
        raise FieldError(f"{field} has an unknown value")


def _check_route(route: Route) -> None:
    _check_canonical("destination", address.network, [route.destination])
    if route.gateway is not None:
        _check_canonical("gateway", address.host, [route.gateway])
        if address.family(route.gateway) != address.family(route.destination):
            raise FieldError("gateway is not of the address family of the destination")
    if route.metric is not None:
        address.metric(route.metric)
    if route.table is not None:
        address.table(route.table)
    _check_flag("on_link", route.on_link)


def _check_rule(rule: Rule) -> None:
    _check_canonical("source", address.network, [rule.source])
    address.table(rule.table)


def _check_bond(bond: Bond) -> None:
    from guestagent.parse.network import bonding

    _check_canonical("members", address.interface_name, bond.members)
    if not bond.members or bonding.mode(bond.mode) != bond.mode:
        raise FieldError("the bond has no members or an unknown mode")
    for name, value in bond.options:
        if bonding.option(name, value, bond.mode) != (name, value):
            raise FieldError("an option of the bond is not in canonical form")
        if name == "primary":
            _check_canonical("primary", address.interface_name, [value])


def _check_vlan(vlan: Vlan) -> None:
    _check_canonical("parent", address.interface_name, [vlan.parent])
    address.vlan_tag(vlan.tag)


def _check_canonical(field: str, canonical: Callable[[str], str], values: Iterable[str]) -> None:
    for value in values:
        if not isinstance(value, str) or canonical(value) != value:
            raise FieldError(f"{field} is not in canonical form")
