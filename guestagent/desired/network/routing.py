"""Which default route is used, and for which packets."""

from __future__ import annotations

from guestagent.model import Route, Rule
from guestagent.parse.network.address import KERNEL_METRICS, METRIC_STEP, family, network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.model import Interface

# Between the metrics of static default routes (``parse.interfaces.settle``): two IPv6 routes with
# the same one, a static and an advertised one too, would become one route over both NICs.
_DYNAMIC_METRIC = KERNEL_METRICS[6] - METRIC_STEP // 2
_FIRST_TABLE = 101
_HOST = {4: 32, 6: 128}


def with_metrics(interfaces: Iterable[Interface]) -> list[Interface]:
    """Rank default routes learnt by DHCP and from routers, behind each other and static ones.

    The first keeps the network stack's own metric where no static default route is there.
    """
    found = list(interfaces)
    taken = {route.metric for interface in found for route in interface.routes if route.default}
    metric = _DYNAMIC_METRIC + (METRIC_STEP if taken else 0)
    for index, interface in enumerate(found):
        if not interface.dhcp4 and not interface.accept_ra:
            continue
        while metric in taken:
            metric += METRIC_STEP
        if metric > _DYNAMIC_METRIC:
            found[index] = interface._replace(metric=metric)
        metric += METRIC_STEP
    return found


def with_policy(interfaces: Iterable[Interface]) -> list[Interface]:
    """Let answers leave by the interface whose address they come from.

    From the second interface with a static default route on, each has a routing table of its own
    with that route and its subnets, and a rule for each of its static addresses.
    """
    found = []
    table = _FIRST_TABLE - 1
    for interface in interfaces:
        routed = any(route.default for route in interface.routes)
        if routed and table >= _FIRST_TABLE:
            interface = _own_table(interface, table)
        table += routed
        found.append(interface)
    return found


def _own_table(interface: Interface, table: int) -> Interface:
    defaults = [route for route in interface.routes if route.default]
    families = {family(route.destination) for route in defaults}
    addresses = [address for address in interface.addresses if family(address) in families]
    subnets = dict.fromkeys(network(address) for address in addresses)
    routes = [Route(subnet, None, None, False, table) for subnet in subnets]
    routes += [route._replace(metric=None, table=table) for route in defaults]
    rules = tuple(
        Rule(f"{address.partition('/')[0]}/{_HOST[family(address)]}", table)
        for address in addresses
    )
    return interface._replace(routes=(*interface.routes, *routes), rules=rules)
