"""Routes and DNS servers of network_data.json: gateways, metrics, order, duplicates."""

from __future__ import annotations

from typing import Any

import pytest
from network_documents import parse, static, with_network
from network_samples import HOSTILE, MAC2

from guestagent.model import Route


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"network": "10.0.0.0", "netmask": "255.0.0.0"}, ("10.0.0.0/8", None, False)),
        ({"destination": "10.1.2.3/8"}, ("10.0.0.0/8", None, False)),
        ({"network": "10.0.0.0/8", "metric": 0}, ("10.0.0.0/8", 0, False)),
        ({"network": "10.0.0.0/8", "gateway": "198.51.100.1"}, ("10.0.0.0/8", None, True)),
        ({"network": "2001:db8:9::/48", "gateway": "fe80::1"}, ("2001:db8:9::/48", None, False)),
        ({"network": "2001:db8:9::/48", "gateway": "2001::1"}, ("2001:db8:9::/48", None, True)),
    ],
)
def test_routes(given: dict[str, Any], expected: tuple[str, int | None, bool]) -> None:
    network, keys = parse(static(routes=[{"gateway": "192.0.2.1"} | given]))
    (found,) = network.interfaces[0].routes
    assert ((found.destination, found.metric, found.on_link), keys) == (expected, [])


@pytest.mark.parametrize(("address", "gateway"), [("192.0.2.5/32", "192.0.2.1")])
def test_a_gateway_beside_a_host_prefix_is_on_link(address: str, gateway: str) -> None:
    network, _ = parse(static(ip_address=address, gateway=gateway))
    assert network.interfaces[0].routes == (Route("0.0.0.0/0", gateway, None, True),)


@pytest.mark.parametrize("gateway", [None, "0.0.0.0"])
def test_a_route_without_gateway_is_direct(gateway: str | None) -> None:
    network, keys = parse(static(routes=[{"network": "10.0.0.0/8", "gateway": gateway}]))
    assert (network.interfaces[0].routes[0].gateway, keys) == (None, [])


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, "network"),
        ({"network": "10.0.0.0"}, "network"),
        ({"network": 10, "netmask": 8}, "network"),
        ({"network": "10.0.0.0", "netmask": "255.0.255.0"}, "netmask"),
        ({"destination": "x/8"}, "destination"),
        ({"network": "10.0.0.0/8", "gateway": "2001:db8::1"}, "gateway"),
        ({"network": "10.0.0.0/8", "gateway": "127.0.0.1"}, "gateway"),
        ({"network": "10.0.0.0/8", "gateway": 5}, "gateway"),
        ({"network": "0.0.0.0/0", "gateway": None}, "gateway"),
        ({"network": "10.0.0.0/8", "metric": -1}, "metric"),
        ({"network": "10.0.0.0/8", "metric": 2**32}, "metric"),
        ({"network": "10.0.0.0/8", "metric": "seven"}, "metric"),
    ],
)
def test_a_bad_route_spoils_only_itself(given: dict[str, Any], key: str) -> None:
    good = {"network": "10.9.0.0/16", "gateway": "192.0.2.1"}
    bad = {"gateway": "192.0.2.1"} | given
    network, keys = parse(static(routes=[bad, good, bad]))
    assert keys == [f"networks[0].routes[0].{key}", f"networks[0].routes[2].{key}"]
    assert [found.destination for found in network.interfaces[0].routes] == ["10.9.0.0/16"]


def test_a_bad_gateway_of_a_network_leaves_its_address() -> None:
    network, keys = parse(static(gateway="192.0.2.1\n"))
    assert keys == ["networks[0].gateway"]
    assert (network.interfaces[0].addresses, network.interfaces[0].routes) == (
        ("192.0.2.5/24",),
        (),
    )


def test_duplicates_are_dropped() -> None:
    default = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}
    dns = [{"type": "dns", "address": "192.0.2.53"}] * 2
    document = static(routes=[default, default], gateway="192.0.2.1", services=dns)
    document["networks"] *= 2
    (found,) = parse(document | {"services": dns})[0].interfaces
    assert found.addresses == ("192.0.2.5/24",)
    assert (found.routes, found.dns) == (
        (Route("0.0.0.0/0", "192.0.2.1", None, False),),
        ("192.0.2.53",),
    )


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ([None], [None]),
        ([None, None, None], [None, 100, 200]),
        ([None, 100, None], [None, 100, 200]),
        ([7, None, None], [7, None, 100]),
        ([0, None], [0, 100]),
    ],
)
def test_default_routes_get_metrics_in_the_order_of_the_document(
    metrics: list[int | None], expected: list[int | None]
) -> None:
    links = [
        {"id": str(index), "ethernet_mac_address": f"52:54:00:00:00:0{index}"}
        for index in range(len(metrics))
    ]
    networks = [
        static(link=str(index), routes=[{"network": "0.0.0.0/0", "metric": metric}])["networks"][0]
        for index, metric in enumerate(metrics)
    ]
    for index, network in enumerate(networks):
        network["routes"][0]["gateway"] = f"192.0.2.{index + 1}"
    found = parse({"links": links, "networks": networks})[0].interfaces
    assert [interface.routes[0].metric for interface in found] == expected


def test_ipv6_default_routes_count_from_the_kernels_own_metric() -> None:
    document = with_network(
        type="ipv6",
        ip_address="2001:db8::5/64",
        routes=[{"network": "::/0", "gateway": f"fe80::{n}"} for n in (1, 2, 3)],
    )
    found = parse(document)[0].interfaces[0].routes
    assert [entry.metric for entry in found] == [None, 1124, 1224]


@pytest.mark.parametrize(
    "entry", [{"type": "dns"}, {"type": "dns", "address": 5}, {"type": "dns", "address": "x"}]
)
def test_a_bad_dns_entry_spoils_only_itself(entry: dict[str, Any]) -> None:
    services = [entry, {"type": "dns", "address": "2001:DB8::53"}]
    network, keys = parse(static(services=services) | {"services": services})
    assert sorted(keys) == ["networks[0].services[0].address", "services[0].address"]
    assert network.interfaces[0].dns == ("2001:db8::53",)


def test_only_dns_services_are_dns_and_unspecified_means_none() -> None:
    services = [{"type": "ntp", "address": "192.0.2.1"}, {"address": "192.0.2.2"}]
    services += [{"type": "dns", "address": "0.0.0.0"}, {"type": "dns", "address": "::"}]
    network, keys = parse(static(services=services))
    assert (network.interfaces[0].dns, keys) == ((), [])


def test_dns_is_of_networks_routes_and_all_each_once_in_this_order() -> None:
    def dns(*addresses: str) -> dict[str, Any]:
        return {"services": [{"type": "dns", "address": address} for address in addresses]}

    default = {"network": "0.0.0.0/0", "gateway": "192.0.2.1"}
    routes = [default | dns("192.0.2.52", "192.0.2.51")]
    document = static(**dns("192.0.2.51"), routes=routes, dns_nameservers=["192.0.2.53"])
    document |= dns("192.0.2.54", "192.0.2.53") | {"dns_nameservers": ["2001:DB8::53"]}
    network, keys = parse(document)
    servers = ("192.0.2.51", "192.0.2.53", "192.0.2.52", "192.0.2.54", "2001:db8::53")
    assert (network.interfaces[0].dns, keys) == (servers, [])


def test_search_domains_are_of_the_network_then_of_all_each_once() -> None:
    document = static(dns_search=["Example.org", "lan"]) | {"dns_search": ["lan", "example.net"]}
    network, keys = parse(document)
    assert network.interfaces[0].search == ("example.org", "lan", "example.net")
    assert keys == []


@pytest.mark.parametrize("key", ["dns_search", "dns_nameservers"])
def test_a_bad_entry_of_a_dns_list_spoils_only_itself(key: str) -> None:
    good = "example.org" if key == "dns_search" else "192.0.2.53"
    values = [None, 5, "", "a b", good, *HOSTILE]
    network, keys = parse(static(**{key: values}))
    found = network.interfaces[0].search + network.interfaces[0].dns
    bad = [number for number, value in enumerate(values) if value != good]
    assert (found, keys) == ((good,), [f"networks[0].{key}[{number}]" for number in bad])
    assert parse(static(**{key: "lan"}))[1] == [f"networks[0].{key}"]


def test_what_is_for_all_links_is_not_for_those_without_a_network() -> None:
    document = static() | {"services": [{"type": "dns", "address": "192.0.2.53"}]}
    document["links"].append({"id": "b", "ethernet_mac_address": MAC2})
    found = parse(document)[0].interfaces
    assert [interface.dns for interface in found] == [("192.0.2.53",), ()]
