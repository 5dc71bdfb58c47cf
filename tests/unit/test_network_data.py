"""network_data.json as Nova writes it, as vendors write it, and as nobody should."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_samples import (
    HOSTILE,
    IFUPDOWN_LINE,
    MAC,
    MAC2,
    NETWORKD_LINE,
    RESOLV_LINE,
    facts,
    spoiled,
    strange_lines,
)

from guestagent import defs
from guestagent.desired.network import plan
from guestagent.model import Network, Origin, Route
from guestagent.parse.interfaces import DNS_LIMIT, PROBLEM_LIMIT
from guestagent.parse.network_data import parse_network
from guestagent.resources import File

NOVA: dict[str, Any] = {
    "links": [
        {
            "id": "tap0",
            "vif_id": "8b1d3f0c",
            "type": "ovs",
            "mtu": 1450,
            "ethernet_mac_address": "52:54:00:AA:BB:CC",
        },
        {"id": "tap1", "type": "bridge", "mtu": None, "ethernet_mac_address": MAC2},
    ],
    "networks": [
        {
            "id": "network0",
            "type": "ipv4",
            "link": "tap0",
            "ip_address": "192.0.2.5",
            "netmask": "255.255.255.0",
            "network_id": "8b1d",
            "routes": [
                {
                    "network": "0.0.0.0",
                    "netmask": "0.0.0.0",
                    "gateway": "192.0.2.1",
                    "services": [{"type": "dns", "address": "192.0.2.54"}],
                },
                {
                    "network": "169.254.169.254",
                    "netmask": "255.255.255.255",
                    "gateway": "192.0.2.2",
                    "metric": 7,
                },
            ],
            "services": [
                {"type": "dns", "address": "192.0.2.53"},
                {"type": "ntp", "address": "192.0.2.99"},
            ],
        },
        {
            "id": "network1",
            "type": "ipv6",
            "link": "tap0",
            "ip_address": "2001:db8::5",
            "netmask": "ffff:ffff:ffff:ffff::",
            "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8::1"}],
            "services": [],
        },
        {"id": "network2", "type": "ipv4_dhcp", "link": "tap1"},
    ],
    "services": [{"type": "dns", "address": "198.51.100.1"}],
}


def origin_of(key: str) -> Origin:
    return Origin("test", "network_data.json", key)


def parse(document: object) -> tuple[Network, list[str]]:
    network, problems = parse_network(document, origin_of)
    assert all(problem.severity == "error" for problem in problems)
    return network, [problem.key for problem in problems]


def with_network(**fields: Any) -> dict[str, Any]:
    """One link and one network of it, for a single question."""
    link = {"id": "a", "type": "phy", "mtu": None, "ethernet_mac_address": MAC}
    return {"links": [link], "networks": [{"id": "n", "link": "a", **fields}], "services": []}


def static(**fields: Any) -> dict[str, Any]:
    given = {"type": "ipv4", "ip_address": "192.0.2.5", "netmask": "255.255.255.0"}
    return with_network(**(given | fields))


def test_what_nova_writes_is_understood() -> None:
    network, keys = parse(NOVA)
    assert keys == []
    first, second = network.interfaces
    assert (first.mac, first.mtu, first.dhcp4, first.dhcp6) == (MAC, 1450, False, "no")
    assert first.accept_ra is False
    assert first.addresses == ("192.0.2.5/24", "2001:db8::5/64")
    assert first.routes == (
        Route("0.0.0.0/0", "192.0.2.1", None, False),
        Route("169.254.169.254/32", "192.0.2.2", 7, False),
        Route("::/0", "2001:db8::1", None, False),
    )
    assert first.dns == ("192.0.2.53", "192.0.2.54", "198.51.100.1")
    assert first.origin == origin_of("links[0]")
    assert (second.dhcp4, second.accept_ra, second.addresses) == (True, None, ())
    assert second.dns == ("198.51.100.1",)


@pytest.mark.parametrize(
    ("kind", "dhcp4", "dhcp6", "accept_ra"),
    [
        ("ipv4_dhcp", True, "no", None),
        ("ipv6_dhcp", False, "stateful", True),
        ("ipv6_slaac", False, "slaac", True),
        ("ipv6_dhcpv6-stateful", False, "stateful", True),
        ("ipv6_dhcpv6-stateless", False, "stateless", True),
    ],
)
def test_dynamic_networks_get_their_address_by_protocol(
    kind: str, dhcp4: bool, dhcp6: str, accept_ra: bool | None
) -> None:
    document = with_network(
        type=kind,
        ip_address="2001:db8::5",
        netmask="ffff:ffff:ffff:ffff::",
        services=[{"type": "dns", "address": "2001:db8::53"}],
    )
    network, keys = parse(document)
    assert keys == []
    (found,) = network.interfaces
    assert (found.dhcp4, found.dhcp6, found.accept_ra) == (dhcp4, dhcp6, accept_ra)
    assert (found.addresses, found.dns) == ((), ("2001:db8::53",))


@pytest.mark.parametrize("kind", ["ipv6_slaac", "ipv6_dhcpv6-stateful", "ipv6_dhcp"])
def test_routes_of_advertised_networks_are_left_to_the_router(kind: str) -> None:
    default = {"network": "::", "netmask": "::", "gateway": "fe80::1"}
    default["services"] = [{"type": "dns", "address": "2001:db8::53"}]  # type: ignore[assignment]
    network, keys = parse(with_network(type=kind, routes=[default], gateway="fe80::1"))
    assert (keys, network.interfaces[0].routes) == ([], ())
    assert network.interfaces[0].dns == ("2001:db8::53",)


@pytest.mark.parametrize(
    ("kinds", "dhcp6", "accept_ra"),
    [
        (["ipv6_slaac", "ipv6_dhcpv6-stateful"], "stateful", True),
        (["ipv6_dhcpv6-stateful", "ipv6_slaac"], "stateful", True),
        (["ipv6_dhcpv6-stateless", "ipv6_slaac"], "stateless", True),
        (["ipv6", "ipv6_slaac"], "slaac", True),
        (["ipv6_slaac", "ipv6"], "slaac", True),
        (["ipv4_dhcp", "ipv6"], "no", False),
    ],
)
def test_networks_of_one_link_add_up(kinds: list[str], dhcp6: str, accept_ra: bool) -> None:
    document = with_network(type="ipv4_dhcp")
    base = {"link": "a", "ip_address": "2001:db8::5/64"}
    document["networks"] = [base | {"type": kind} for kind in kinds]
    network, keys = parse(document)
    assert keys == []
    assert (network.interfaces[0].dhcp6, network.interfaces[0].accept_ra) == (dhcp6, accept_ra)


@pytest.mark.parametrize(
    "kind",
    [
        *(None, "bgpovs", "bridge", "cascading", "dvs", "ethernet", "hw_veb", "hyperv"),
        *("ovs", "phy", "physical", "tap", "vhostuser", "vif"),
    ],
)
def test_link_types_of_plain_nics(kind: str | None) -> None:
    document = static()
    document["links"][0]["type"] = kind
    network, keys = parse(document)
    assert (len(network.interfaces), keys) == (1, [])


@pytest.mark.parametrize("kind", ["bond", "vlan", "token-ring", "", 5, [], {}, *HOSTILE])
def test_other_link_types_are_errors_and_so_are_networks_on_them(kind: object) -> None:
    document = static()
    document["links"][0]["type"] = kind
    network, keys = parse(document)
    assert (network.interfaces, keys) == ((), ["links[0].type", "networks[0].link"])


def test_a_link_without_networks_is_there_without_addresses() -> None:
    document = static()
    document["networks"] = []
    document["services"] = [{"type": "dns", "address": "192.0.2.53"}]
    network, keys = parse(document)
    assert keys == []
    assert (network.interfaces[0].addresses, network.interfaces[0].dns) == ((), ())


@pytest.mark.parametrize("document", [{}, {"links": None, "networks": None, "services": None}])
def test_nothing_given_is_nothing(document: object) -> None:
    assert parse(document) == (Network((), origin_of("")), [])


@pytest.mark.parametrize("document", [None, [], "x", 5, True, [NOVA]])
def test_a_document_that_is_no_object_is_an_error(document: object) -> None:
    assert parse(document) == (Network((), origin_of("")), [""])


@pytest.mark.parametrize("key", ["links", "networks", "services"])
@pytest.mark.parametrize("value", [{}, "x", 5, False])
def test_a_wrong_type_is_an_error_that_names_the_key(key: str, value: object) -> None:
    assert key in parse(NOVA | {key: value})[1]


@pytest.mark.parametrize("value", [None, "x", 5, [], True])
@pytest.mark.parametrize("key", ["links", "networks", "services"])
def test_a_bad_item_of_a_list_spoils_only_itself(key: str, value: object) -> None:
    document = copy.deepcopy(NOVA)
    document[key].append(value)
    network, keys = parse(document)
    assert keys == [f"{key}[{len(NOVA[key])}]"]
    assert network == parse(NOVA)[0]


@pytest.mark.parametrize("field", ["mtu", "routes", "services", "gateway"])
def test_nulls_and_omissions_are_tolerated(field: str) -> None:
    document = static()
    document["links"][0][field] = None
    document["networks"][0][field] = None
    network, keys = parse(document)
    assert (network.interfaces[0].addresses, keys) == (("192.0.2.5/24",), [])


@pytest.mark.parametrize("mtu", [0, 67, 65536, "1500", 1500.5, True, [], float("inf")])
def test_a_bad_mtu_spoils_only_the_mtu(mtu: object) -> None:
    document = static()
    document["links"][0]["mtu"] = mtu
    network, keys = parse(document)
    assert (network.interfaces[0].mtu, keys) == (None, ["links[0].mtu"])
    assert network.interfaces[0].addresses == ("192.0.2.5/24",)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"ip_address": None}, "ip_address"),
        ({"ip_address": 5}, "ip_address"),
        ({"ip_address": "2001:db8::5"}, "ip_address"),
        ({"ip_address": "127.0.0.1"}, "ip_address"),
        ({"ip_address": "192.0.2.05"}, "ip_address"),
        ({"netmask": None}, "ip_address"),
        ({"netmask": "255.0.255.0"}, "netmask"),
        ({"netmask": "ffff::"}, "netmask"),
        ({"netmask": []}, "netmask"),
        ({"netmask": True}, "netmask"),
        ({"netmask": 33}, "netmask"),
        ({"link": None}, "link"),
        ({"link": "nowhere"}, "link"),
        ({"link": {}}, "link"),
        ({"type": None}, "type"),
        ({"type": "ipv5"}, "type"),
        ({"type": []}, "type"),
    ],
)
def test_a_bad_network_is_left_out_alone(fields: dict[str, Any], key: str) -> None:
    document = static(**fields)
    document["networks"].append({"type": "ipv4_dhcp", "link": "a"})
    network, keys = parse(document)
    assert keys == [f"networks[0].{key}"]
    assert (network.interfaces[0].addresses, network.interfaces[0].dhcp4) == ((), True)


@pytest.mark.parametrize(
    "fields",
    [
        {"ip_address": "192.0.2.5/24", "netmask": None},
        {"ip_address": "192.0.2.5/24"},
        {"netmask": "24"},
        {"netmask": "/24"},
        {"netmask": 24},
    ],
)
def test_the_spellings_of_a_prefix(fields: dict[str, Any]) -> None:
    assert parse(static(**fields))[0].interfaces[0].addresses == ("192.0.2.5/24",)


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
        ({"network": "10.0.0.0/8", "metric": "7"}, "metric"),
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


def test_a_second_link_with_the_same_mac_address_or_id_is_an_error() -> None:
    document = static()
    document["links"].append({"id": "b", "ethernet_mac_address": MAC.upper()})
    document["links"].append({"id": "a", "ethernet_mac_address": MAC2})
    network, keys = parse(document)
    assert [found.mac for found in network.interfaces] == [MAC]
    assert keys == ["links[1].ethernet_mac_address", "links[2].id"]


@pytest.mark.parametrize("mac", [None, "", 5, "00:00:00:00:00:00", "01:00:5e:00:00:01"])
def test_a_link_needs_a_mac_address(mac: object) -> None:
    document = static()
    document["links"][0]["ethernet_mac_address"] = mac
    network, keys = parse(document)
    assert network.interfaces == ()
    assert keys == ["links[0].ethernet_mac_address", "networks[0].link"]


def test_limits_are_kept_and_reported() -> None:
    links = [
        {"id": str(n), "ethernet_mac_address": f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}"}
        for n in range(1, defs.MAX_INTERFACES + 9)
    ]
    network, keys = parse({"links": links})
    assert (len(network.interfaces), keys) == (defs.MAX_INTERFACES, ["links"])

    routes = [
        {"network": f"10.{n >> 8}.{n & 255}.0/24", "gateway": "192.0.2.1"}
        for n in range(defs.MAX_ROUTES - 10)
    ]
    document = static(routes=routes)
    document["networks"].append(document["networks"][0] | {"ip_address": "192.0.2.6"})
    routes_kept = parse_network(document, origin_of)[0].interfaces[0].routes
    assert len(routes_kept) <= defs.MAX_ROUTES
    assert "networks" in parse(document)[1]


def test_very_many_entries_stay_few() -> None:
    dns = [{"type": "dns", "address": f"10.0.{n >> 8}.{n & 255}"} for n in range(900)]
    assert len(parse(static(services=dns))[0].interfaces[0].dns) == DNS_LIMIT
    network, problems = parse_network(static(routes=[1] * 1000), origin_of)
    assert len(problems) == PROBLEM_LIMIT + 1
    assert network.interfaces[0].addresses == ("192.0.2.5/24",)


def test_problems_never_quote_a_value() -> None:
    canary = "CANARY"
    document = static(ip_address=canary, link="a", routes=[{"network": canary}])
    document["links"].append({"id": canary, "type": canary})
    document["links"].append({"id": canary, "ethernet_mac_address": canary})
    document["networks"].append({"type": canary, "link": "a"})
    document["networks"].append({"type": "ipv4_dhcp", "link": canary})
    document["services"] = [{"type": "dns", "address": canary}]
    _, problems = parse_network(document, origin_of)
    assert len(problems) >= 6
    assert canary not in repr(problems)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every leaf in a document."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for key, item in items for place in _places(item, (*path, key))]
    return [path]


def _outputs(network: Network, backend: str) -> list[tuple[str, str]]:
    offered = facts(backend=backend, resolver="file")
    resources, _ = plan(network, offered, backend)
    files = [entry for entry in resources if isinstance(entry, File)]
    return [(entry.path, entry.content.decode()) for entry in files]


GRAMMARS = {"networkd": NETWORKD_LINE, "ifupdown": IFUPDOWN_LINE}


def _assert_plain(outputs: list[tuple[str, str]], backend: str) -> None:
    for path, text in outputs:
        grammar = RESOLV_LINE if path == defs.RESOLV_CONF else GRAMMARS[backend]
        assert strange_lines(text, grammar) == []


@pytest.mark.parametrize("backend", ["networkd", "ifupdown"])
@pytest.mark.parametrize("place", _places(NOVA), ids=lambda place: ".".join(map(str, place)))
def test_E5_E7_no_field_carries_text_into_an_output(place: tuple[Any, ...], backend: str) -> None:
    """Each leaf of the document × each hostile string, through parser, plan and renderer."""
    usual = _outputs(parse(NOVA)[0], backend)
    paths = {path for path, _ in usual}
    most = sum(text.count("\n") for _, text in usual)
    for bad in spoiled("192.0.2.5") + spoiled(MAC) + spoiled("ipv4"):
        document = copy.deepcopy(NOVA)
        target = document
        for step in place[:-1]:
            target = target[step]
        target[place[-1]] = bad
        outputs = _outputs(parse_network(document, origin_of)[0], backend)
        _assert_plain(outputs, backend)
        assert {path for path, _ in outputs} <= paths
        # A link that became unusable may turn the other default routes' metrics visible.
        assert sum(text.count("\n") for _, text in outputs) <= most + 2


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2**33),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            *(*HOSTILE, MAC, MAC2, "a", "b", "dns", "ipv4", "ipv6", "ipv6_slaac", "ipv4_dhcp"),
            *("phy", "192.0.2.5", "192.0.2.1", "255.255.255.0", "2001:db8::5/64", "fe80::1"),
            "0.0.0.0/0",
        ]
    ),
)
KEYS = st.sampled_from(
    [
        *("links", "networks", "services", "id", "type", "mtu", "ethernet_mac_address", "link"),
        *("ip_address", "netmask", "gateway", "routes", "network", "destination", "metric"),
        "address",
    ]
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    links=st.lists(st.dictionaries(KEYS, LEAVES, max_size=5) | DOCUMENTS, max_size=3),
    networks=st.lists(st.dictionaries(KEYS, DOCUMENTS, max_size=8), max_size=4) | DOCUMENTS,
    services=DOCUMENTS,
)
def test_E5_any_document_is_parsed_without_raising(
    links: object, networks: object, services: object
) -> None:
    good = {"id": "a", "ethernet_mac_address": MAC}
    listed = [good, *links] if isinstance(links, list) else links
    document = {"links": listed, "networks": networks, "services": services}
    network, _ = parse_network(document, origin_of)
    for backend in GRAMMARS:
        _assert_plain(_outputs(network, backend), backend)
    parse_network(services, origin_of)
