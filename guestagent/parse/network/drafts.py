"""Interfaces while a description of the network is read: drafts, and how they are finished.

Both parsers use them, that of network_data.json and that of interfaces(5) text.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.model import Interface, Route
from guestagent.parse.network.address import (
    KERNEL_METRICS,
    METRIC_STEP,
    UNSPECIFIED,
    contains,
    family,
    host,
    link_local,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from guestagent.errors import Origin
    from guestagent.model import Bond, Vlan

# How many DNS servers an interface gets; glibc asks three of them (resolv.conf(5)).
DNS_LIMIT = 16

# From the one that configures least to the one that configures most.
_DHCP6_RANK = ("no", "slaac", "stateless", "stateful")


class Draft:
    """An interface to which networks are still added.

    ``master`` is the id of the bond that a NIC belongs to.
    """

    def __init__(self, mac: str, origin: Origin, name: str = "") -> None:
        self.mac = mac
        self.name = name
        self.origin = origin
        self.id = ""
        self.bond: Bond | None = None
        self.vlan: Vlan | None = None
        self.master = ""
        self.mtu: int | None = None
        self.networks = 0
        self.partial = False
        self.required = True
        self.metric: int | None = None
        self.addresses: list[str] = []
        self.routes: list[Route] = []
        self.dns: list[str] = []
        self.search: list[str] = []
        self._dhcp4 = False
        self._dhcp6: Literal["no", "slaac", "stateless", "stateful"] = "no"
        self._accept_ra: bool | None = None

    @property
    def stacked(self) -> bool:
        """Tell whether it is a bond or a VLAN."""
        return self.bond is not None or self.vlan is not None

    def add_network(
        self,
        *,
        dhcp4: bool = False,
        dhcp6: Literal["no", "slaac", "stateless", "stateful"] = "no",
        accept_ra: bool | None = None,
    ) -> None:
        """Add how one network gives addresses; of two ways the one that configures more wins."""
        self.networks += 1
        self._dhcp4 |= dhcp4
        self._dhcp6 = max(self._dhcp6, dhcp6, key=_DHCP6_RANK.index)
        # A network that needs router advertisements wins over one that does without.
        if accept_ra is not None:
            self._accept_ra = accept_ra or bool(self._accept_ra)

    def drop_networks(self) -> bool:
        """Take back what gives an address, and tell whether there was anything."""
        had_any = bool(self.addresses or self._dhcp4 or self._dhcp6 != "no" or self._accept_ra)
        self.addresses, self.routes, self.dns, self.search = [], [], [], []
        self._dhcp4, self._dhcp6, self._accept_ra = False, "no", None
        return had_any

    def freeze(self) -> Interface:
        """Return the interface, without duplicates, its order kept."""
        return Interface(
            mac=self.mac,
            mtu=self.mtu,
            dhcp4=self._dhcp4,
            dhcp6=self._dhcp6,
            accept_ra=self._accept_ra,
            addresses=tuple(dict.fromkeys(self.addresses)),
            routes=tuple(dict.fromkeys(self.routes)),
            dns=tuple(dict.fromkeys(self.dns))[:DNS_LIMIT],
            search=tuple(dict.fromkeys(self.search)),
            origin=self.origin,
            name=self.name,
            id=self.id,
            bond=self.bond,
            vlan=self.vlan,
            metric=self.metric,
            required=self.required,
            partial=self.partial,
        )


def make_route(destination: str, gateway: str | None, metric: int | None) -> Route:
    """Return a route to a canonical prefix, which ``settle_routes`` has to finish.

    An unspecified address as the gateway means that there is none.  Raises FieldError about the
    gateway.
    """
    if gateway in UNSPECIFIED:
        gateway = None
    if gateway is not None:
        gateway = _strip_zone(gateway)
        if family(gateway) != family(destination):
            raise FieldError("is not of the address family of the destination")
    elif destination.endswith("/0"):
        raise FieldError("is missing; a default route needs one")
    return Route(destination, gateway, metric, on_link=False)


def _strip_zone(gateway: str) -> str:
    """Return the address of a gateway without its zone, which only a link-local one may have.

    The zone names the interface of the route, which is known without it.
    """
    bare, _, zone = gateway.partition("%")
    found = host(bare)
    if zone and not (family(found) == 6 and link_local(found)):
        raise FieldError("is not an IP address")
    return found


def settle_routes(interfaces: Iterable[Interface]) -> tuple[Interface, ...]:
    """Return the interfaces with routes that are consistent with each other.

    A gateway outside of every subnet of its interface is on-link.  Of the default routes of a
    family that have no metric, the first in the document keeps the kernel's own (0 for IPv4, 1024
    for IPv6); each further one gets 100 more, without the metrics that the document gives to
    another default route.
    """
    listed = tuple(interfaces)
    taken: set[tuple[int, int]] = set()
    for interface in listed:
        for route in interface.routes:
            if route.default and route.metric is not None and route.table is None:
                taken.add((family(route.destination), route.metric))
    return tuple(_settle_routes_of(interface, taken) for interface in listed)


def _settle_routes_of(interface: Interface, taken: set[tuple[int, int]]) -> Interface:
    routes = []
    for route in interface.routes:
        metric = _choose_metric(route, taken)
        on_link = _is_on_link(route, interface.addresses)
        routes.append(route._replace(metric=metric, on_link=on_link))
    return interface._replace(routes=tuple(routes))


def _choose_metric(route: Route, taken: set[tuple[int, int]]) -> int | None:
    """Return the metric that a route gets, and note in ``taken`` the one that is chosen here."""
    if not route.default or route.metric is not None or route.table is not None:
        return route.metric
    version = family(route.destination)
    metric = KERNEL_METRICS[version]
    while (version, metric) in taken:
        metric += METRIC_STEP
    taken.add((version, metric))
    return None if metric == KERNEL_METRICS[version] else metric


def _is_on_link(route: Route, addresses: tuple[str, ...]) -> bool:
    gateway = route.gateway
    # A link-local gateway is on the link without being in one of the subnets.
    if gateway is None or (family(gateway) == 6 and link_local(gateway)):
        return False
    return not any(contains(cidr, gateway) for cidr in addresses)
