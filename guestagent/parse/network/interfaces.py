"""What the two parsers of network descriptions share: drafts, routes, a bounded list of problems.

``settle`` is where routes of all interfaces become consistent with each other.
"""

from __future__ import annotations

from guestagent.errors import FieldError, Problem
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
from guestagent.parse.network.address import metric as checked_metric

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal

    from guestagent.errors import Origin
    from guestagent.model import Bond, Vlan

PROBLEM_LIMIT = 100
DNS_LIMIT = 16

_DHCP6_RANK = ("no", "slaac", "stateless", "stateful")


class Notes:
    """Problems found in one document; after PROBLEM_LIMIT only that there are more."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, severity: Literal["error", "warning"], at: Origin, reason: str) -> None:
        """Note a problem with the value at an origin."""
        if len(self.problems) > PROBLEM_LIMIT:
            return
        if len(self.problems) == PROBLEM_LIMIT:
            severity, reason = "error", "there are more problems than can be listed"
        self.problems.append(Problem(severity, at.source, at.document, at.key, reason))


class Draft:
    """An interface while the networks on it are still being added up.

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
        self.addresses: list[str] = []
        self.routes: list[Route] = []
        self.dns: list[str] = []
        self.search: list[str] = []
        self._dhcp4 = False
        self._dhcp6: Literal["no", "slaac", "stateless", "stateful"] = "no"
        self._accept_ra: bool | None = None

    @property
    def stacked(self) -> bool:
        """True for a bond or a VLAN."""
        return self.bond is not None or self.vlan is not None

    def add(
        self,
        dhcp4: bool = False,
        dhcp6: Literal["no", "slaac", "stateless", "stateful"] = "no",
        accept_ra: bool | None = None,
    ) -> None:
        """Add one network's way of getting addresses; of two ways the one that does more wins."""
        self.networks += 1
        self._dhcp4 |= dhcp4
        self._dhcp6 = max(self._dhcp6, dhcp6, key=_DHCP6_RANK.index)
        if accept_ra is not None:
            self._accept_ra = accept_ra or bool(self._accept_ra)

    def freeze(self) -> Interface:
        """The finished interface, without duplicates, its order kept."""
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
        )


def route(destination: str, gateway: str | None, metric: object) -> Route:
    """A route to a canonical prefix; an unspecified gateway is none.  ``settle`` finishes it.

    Raises FieldError about the gateway or the metric.
    """
    if gateway in UNSPECIFIED:
        gateway = None
    if gateway is not None:
        gateway = _without_zone(gateway)
        if family(gateway) != family(destination):
            raise FieldError("is not of the family of the destination")
    elif destination.endswith("/0"):
        raise FieldError("is missing, for a default route")
    return Route(destination, gateway, None if metric is None else checked_metric(metric), False)


def _without_zone(gateway: str) -> str:
    """A gateway's address; a link-local one may say its link, which is the interface's own."""
    bare, _, zone = gateway.partition("%")
    found = host(bare)
    if zone and not (family(found) == 6 and link_local(found)):
        raise FieldError("is not an IP address")
    return found


def settle(interfaces: Iterable[Interface]) -> tuple[Interface, ...]:
    """Finish the routes: which gateways lie outside every subnet, which default route comes first.

    Of several default routes of a family without a metric the first in the document keeps the
    kernel's own (0 for IPv4, 1024 for IPv6); each further one gets 100 more, skipping
    metrics that the document gives to another default route.
    """
    listed = tuple(interfaces)
    taken: set[tuple[int, int]] = {
        (family(entry.destination), entry.metric)
        for interface in listed
        for entry in interface.routes
        if entry.default and entry.metric is not None
    }
    return tuple(
        interface._replace(
            routes=tuple(
                entry._replace(
                    metric=_default_metric(entry, taken),
                    on_link=_on_link(entry, interface.addresses),
                )
                for entry in interface.routes
            )
        )
        for interface in listed
    )


def _default_metric(entry: Route, taken: set[tuple[int, int]]) -> int | None:
    if not entry.default or entry.metric is not None:
        return entry.metric
    version = family(entry.destination)
    metric = KERNEL_METRICS[version]
    while (version, metric) in taken:
        metric += METRIC_STEP
    taken.add((version, metric))
    return None if metric == KERNEL_METRICS[version] else metric


def _on_link(entry: Route, addresses: tuple[str, ...]) -> bool:
    gateway = entry.gateway
    if gateway is None or (family(gateway) == 6 and link_local(gateway)):
        return False
    return not any(contains(cidr, gateway) for cidr in addresses)
