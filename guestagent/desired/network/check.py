"""The one door to the renderers: an interface whose every value is proven to fit.

The parsers give valid values already.  The files written here are read by a shell and by
services of root, so nothing depends on that: each value must equal its own canonical form.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.model import Interface, Route

_DHCP6 = ("no", "slaac", "stateless", "stateful")


def check(interface: Interface) -> Interface:
    """The interface itself; FieldError names the first field that is not canonical."""
    if not interface.mac and not interface.name:
        raise FieldError("the interface has neither a MAC address nor a name")
    _same("mac", address.mac, *filter(None, (interface.mac,)))
    _same("name", address.interface_name, *filter(None, (interface.name,)))
    _same("addresses", address.interface_address, *interface.addresses)
    _same("dns", address.address, *interface.dns)
    _same("search", address.domain, *interface.search)
    if interface.mtu is not None:
        address.mtu(interface.mtu)
    for route in interface.routes:
        _check_route(route)
    flags = (interface.dhcp4, interface.accept_ra, *(route.on_link for route in interface.routes))
    if interface.dhcp6 not in _DHCP6 or any(flag not in (True, False, None) for flag in flags):
        raise FieldError("the interface has a setting that is not known")
    return interface


def _check_route(route: Route) -> None:
    _same("destination", address.network, route.destination)
    if route.gateway is not None:
        _same("gateway", address.host, route.gateway)
        if address.family(route.gateway) != address.family(route.destination):
            raise FieldError("gateway is not of the family of the destination")
    if route.metric is not None:
        address.metric(route.metric)


def _same(field: str, canonical: Callable[[str], str], *values: str) -> None:
    for value in values:
        if not isinstance(value, str) or canonical(value) != value:
            raise FieldError(f"{field} is not in canonical form")
