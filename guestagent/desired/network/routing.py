"""Decide which default route is used, and for which packets."""

from __future__ import annotations

from guestagent.model import Route, Rule
from guestagent.parse.network.address import KERNEL_METRICS, METRIC_STEP, family, network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.model import Interface

# Between the metrics of static default routes (``parse.network.interfaces.settle``): two IPv6
# routes with the same metric, static or advertised, would become one route over both NICs.
_DYNAMIC_METRIC = KERNEL_METRICS[6] - METRIC_STEP // 2
_FIRST_TABLE = 101
# The length of a prefix that is one address.
_HOST_LENGTH = {4: 32, 6: 128}


def with_metrics(interfaces: Iterable[Interface]) -> list[Interface]:
    """Give a metric to the default routes that interfaces learn by DHCP and from routers.

    They come after static default routes, and one after the other in the order of the interfaces,
    unless the source gives a metric.  Without a static default route, the first keeps the metric of
    the network stack.
    """
    found = list(interfaces)
    taken = {route.metric for interface in found for route in interface.routes if route.default}
    metric = _DYNAMIC_METRIC
    if taken:
        metric += METRIC_STEP
    for index, interface in enumerate(found):
        learns_routes = interface.dhcp4 or interface.accept_ra
        if not learns_routes or interface.metric is not None:
            continue
        while metric in taken:
            metric += METRIC_STEP
        if metric > _DYNAMIC_METRIC:
            found[index] = interface._replace(metric=metric)
        metric += METRIC_STEP
    return found


def with_policy(interfaces: Iterable[Interface]) -> list[Interface]:
    """Have answers leave by the interface that has their source address.

    From the second interface with a static default route on, each has a routing table of its own
    with that route and its subnets, and a rule for each of its static addresses.
    """
    found = []
    table = _FIRST_TABLE - 1  # the first interface uses the main table
    for interface in interfaces:
        if any(route.default for route in interface.routes):
            if table >= _FIRST_TABLE:
                interface = _with_own_table(interface, table)
            table += 1
        found.append(interface)
    return found


def _with_own_table(interface: Interface, table: int) -> Interface:
    defaults = [route for route in interface.routes if route.default]
    families = {family(route.destination) for route in defaults}
    addresses = [address for address in interface.addresses if family(address) in families]

    subnets = dict.fromkeys(network(address) for address in addresses)
    routes = list(interface.routes)
    for subnet in subnets:
        routes.append(Route(subnet, gateway=None, metric=None, on_link=False, table=table))
    for route in defaults:
        routes.append(route._replace(metric=None, table=table))

    rules = []
    for address in addresses:
        host = address.partition("/")[0]
        rules.append(Rule(f"{host}/{_HOST_LENGTH[family(address)]}", table))
    return interface._replace(routes=tuple(routes), rules=tuple(rules))
