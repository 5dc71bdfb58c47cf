"""Several default routes: which is used first, and policy routing for the answers of each."""

from __future__ import annotations

from typing import Any

import pytest
from network_samples import LABEL, MAC, MAC2, MAC3, bond, interface, member, route, vlan

from guestagent.desired.network.routing import with_metrics, with_policy
from guestagent.model import Interface, Route, Rule
from guestagent.parse.network.address import KERNEL_METRICS
from guestagent.parse.network.drafts import settle_routes
from guestagent.stacks.check import check

DEFAULT6 = route(destination="::/0", gateway="fe80::1")


def dynamic(mac: str = MAC, **changes: Any) -> Interface:
    """A NIC that gets its address by DHCPv4, unless told otherwise."""
    return interface(**({"mac": mac, "addresses": (), "dhcp4": True} | changes))


def advertised(mac: str = MAC, **changes: Any) -> Interface:
    return dynamic(mac, dhcp4=False, dhcp6="slaac", accept_ra=True, **changes)


def static(mac: str = MAC, *routes: Route) -> Interface:
    return interface(mac=mac, routes=routes or (route(),))


def metrics(*interfaces: Interface) -> list[int | None]:
    found = with_metrics(interfaces)
    assert [check(entry) for entry in found] == found
    assert [entry._replace(metric=None) for entry in found] == list(interfaces)
    return [entry.metric for entry in found]


def test_of_several_dynamic_interfaces_the_first_keeps_the_stacks_own_metric() -> None:
    for make in (dynamic, advertised):
        assert metrics(make(MAC), make(MAC2), make(MAC3)) == [None, 1074, 1174]


def test_by_dhcp_and_from_routers_is_one_rank() -> None:
    both = dynamic(dhcp6="stateful", accept_ra=True)
    assert metrics(both, advertised(MAC2), dynamic(MAC3)) == [None, 1074, 1174]


@pytest.mark.parametrize("default", [route(), DEFAULT6])
@pytest.mark.parametrize("first", [True, False])
def test_dynamic_routes_come_after_static_ones(default: Route, first: bool) -> None:
    order = [static(MAC, default), dynamic(MAC2), advertised(MAC3)]
    expected = [None, 1074, 1174]
    if not first:
        order, expected = order[::-1], [1074, 1174, None]
    assert metrics(*order) == expected


def test_a_dynamic_interface_with_a_static_default_route_prefers_that() -> None:
    assert metrics(dynamic(routes=(route(),))) == [1074]


def test_interfaces_without_routes_by_protocol_have_no_rank() -> None:
    quiet = (member(MAC, accept_ra=False), interface(mac=MAC2), dynamic(MAC3))
    assert metrics(*quiet) == [None, None, None]
    other = route(destination="10.0.0.0/8")
    assert metrics(static(MAC, other), dynamic(MAC2), dynamic(MAC3)) == [None, None, 1074]


def test_bonds_and_vlans_have_their_rank_too() -> None:
    upper: dict[str, Any] = {"addresses": (), "dhcp4": True}
    assert metrics(member(MAC), bond(LABEL, **upper), vlan("bond0", **upper)) == [None, None, 1074]


@pytest.mark.parametrize("explicit", [[], [1074], [1074, 1174], [1174, 2000]])
def test_no_two_default_routes_of_one_family_have_the_same_metric(explicit: list[int]) -> None:
    """With the same metric the kernel makes one route over both NICs of two IPv6 routes."""
    statics = [
        interface(mac=f"52:54:00:00:02:0{n}", addresses=(), routes=(entry,))
        for n, entry in enumerate(
            [
                *(DEFAULT6._replace(metric=metric) for metric in explicit),
                *(DEFAULT6._replace(gateway=f"fe80::{n}") for n in (2, 3, 4)),
            ]
        )
    ]
    learning = [advertised(mac) for mac in (MAC, MAC2, MAC3)]
    found = with_metrics(settle_routes([*learning, *statics]))
    used = [entry.metric for entry in found if entry.accept_ra]
    for entry in found:
        used += [KERNEL_METRICS[6] if r.metric is None else r.metric for r in entry.routes]
    assert None not in used
    assert len(set(used)) == len(used) == len(learning) + len(statics)


def test_the_order_is_the_same_every_time() -> None:
    given = [dynamic(MAC), static(MAC2), advertised(MAC3)]
    assert with_metrics(given) == with_metrics(iter(given))
    assert with_metrics(with_metrics(given)) == with_metrics(given)


# Policy routing.


def policy(*interfaces: Interface) -> list[Interface]:
    found = with_policy(interfaces)
    assert [check(entry) for entry in found] == found
    return found


def test_the_first_interface_with_a_default_route_uses_the_main_table() -> None:
    given = static(MAC)
    assert policy(given) == [given]
    assert policy(member(MAC2), given, dynamic(MAC3)) == [member(MAC2), given, dynamic(MAC3)]


def test_each_further_one_has_a_table_with_its_subnets_and_a_rule_for_each_address() -> None:
    second = interface(
        mac=MAC2,
        addresses=("198.51.100.5/24", "198.51.100.6/24", "203.0.113.9/32"),
        routes=(
            route(gateway="198.51.100.1", metric=100),
            route(destination="10.0.0.0/8", gateway="198.51.100.2"),
        ),
    )
    found = policy(static(MAC), second)[1]
    assert found.routes == (
        *second.routes,
        Route("198.51.100.0/24", None, None, False, 101),
        Route("203.0.113.9/32", None, None, False, 101),
        Route("0.0.0.0/0", "198.51.100.1", None, False, 101),
    )
    assert found.rules == (
        Rule("198.51.100.5/32", 101),
        Rule("198.51.100.6/32", 101),
        Rule("203.0.113.9/32", 101),
    )
    assert found._replace(routes=second.routes, rules=()) == second


def test_tables_count_up_and_interfaces_without_a_default_route_need_none() -> None:
    found = policy(static(MAC), interface(mac=MAC2), dynamic(MAC2), static(MAC3), static(MAC2))
    assert [{rule.table for rule in entry.rules} for entry in found] == [
        *(set(), set(), set(), {101}, {102}),
    ]
    assert [entry.routes for entry in found[1:3]] == [(), ()]


def test_only_addresses_of_a_family_with_a_default_route_have_a_rule() -> None:
    addresses = ("198.51.100.5/24", "2001:db8::5/64")
    given = interface(mac=MAC2, addresses=addresses, routes=(DEFAULT6,))
    found = policy(static(MAC), given)[1]
    assert found.rules == (Rule("2001:db8::5/128", 101),)
    assert found.routes[1:] == (
        Route("2001:db8::/64", None, None, False, 101),
        DEFAULT6._replace(table=101),
    )


def test_a_gateway_that_is_on_link_is_so_in_the_table_too() -> None:
    given = interface(mac=MAC2, addresses=("198.51.100.5/32",), routes=(route(on_link=True),))
    found = policy(static(MAC), given)[1]
    assert found.routes[-1] == route(on_link=True, table=101)


def test_an_interface_with_routes_by_protocol_only_is_left_alone() -> None:
    given = [dynamic(MAC), dynamic(MAC2), advertised(MAC3)]
    assert policy(*given) == given
