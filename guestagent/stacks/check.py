"""The one door to the renderers: interfaces whose every value is proven to fit.

The parsers give valid values already.  The files written here are read by a shell and by
services of root, so nothing depends on that: each value must equal its own canonical form.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.model import Bond, Interface, Route, Rule, Vlan

_DHCP6 = ("no", "slaac", "stateless", "stateful")


def check(interface: Interface) -> Interface:
    """The interface itself; FieldError names the first field that is not canonical."""
    if not interface.mac and not interface.name:
        raise FieldError("the interface has neither a MAC address nor a name")
    if interface.stacked and not interface.name:
        raise FieldError("the interface is to be made, and has no name")
    _same("mac", address.mac, *filter(None, (interface.mac,)))
    _same("name", address.interface_name, *filter(None, (interface.name,)))
    _same("id", address.interface_name, *filter(None, (interface.id,)))
    _same("addresses", address.interface_address, *interface.addresses)
    _same("dns", address.address, *interface.dns)
    _same("search", address.domain, *interface.search)
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
    flags = (interface.dhcp4, interface.accept_ra, interface.required, interface.link_local)
    if interface.dhcp6 not in _DHCP6 or not _are_flags(*flags):
        raise FieldError("the interface has a setting that is not known")
    return interface


def _are_flags(*values: object) -> bool:
    return all(value is True or value is False or value is None for value in values)


def _check_route(route: Route) -> None:
    _same("destination", address.network, route.destination)
    if route.gateway is not None:
        _same("gateway", address.host, route.gateway)
        if address.family(route.gateway) != address.family(route.destination):
            raise FieldError("gateway is not of the family of the destination")
    if route.metric is not None:
        address.metric(route.metric)
    if route.table is not None:
        address.table(route.table)
    if not _are_flags(route.on_link):
        raise FieldError("the interface has a setting that is not known")


def _check_rule(rule: Rule) -> None:
    _same("source", address.network, rule.source)
    address.table(rule.table)


def _check_bond(bond: Bond) -> None:
    from guestagent.parse.network import bonding

    _same("members", address.interface_name, *bond.members)
    if not bond.members or bonding.mode(bond.mode) != bond.mode:
        raise FieldError("the bond has no members or an unknown mode")
    for name, value in bond.options:
        if bonding.option(name, value, bond.mode) != (name, value):
            raise FieldError("an option of the bond is not in canonical form")
        if name == "primary":
            _same("primary", address.interface_name, value)


def _check_vlan(vlan: Vlan) -> None:
    _same("parent", address.interface_name, vlan.parent)
    address.vlan_tag(vlan.tag)


def _same(field: str, canonical: Callable[[str], str], *values: str) -> None:
    for value in values:
        if not isinstance(value, str) or canonical(value) != value:
            raise FieldError(f"{field} is not in canonical form")
