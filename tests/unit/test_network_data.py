"""network_data.json as Nova and other vendors write it, and with every kind of bad value."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from network_documents import NOVA, origin_of, parse, read, static, with_network
from network_samples import HOSTILE, MAC, MAC2

from guestagent import defs
from guestagent.model import Network, Route
from guestagent.parse.network.drafts import DNS_LIMIT


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


@pytest.mark.parametrize("kind", ["macvtap", "token-ring", "", 5, [], {}, *HOSTILE])
def test_a_link_of_another_type_is_a_plain_nic_with_a_warning(kind: object) -> None:
    document = static()
    document["links"][0]["type"] = kind
    network, problems = read(document)
    assert [found.addresses for found in network.interfaces] == [("192.0.2.5/24",)]
    assert [(found.severity, found.key) for found in problems] == [("warning", "links[0].type")]
    assert ("macvtap" in problems[0].reason) == (kind == "macvtap")


def test_a_link_without_mac_address_is_known_by_its_name() -> None:
    document = static()
    document["links"][0] |= {"ethernet_mac_address": None, "name": "enp0s4"}
    document["links"].append({"id": "b", "name": "enp0s4"})
    document["links"].append({"id": "c", "name": "../x"})
    network, keys = parse(document)
    assert [(found.mac, found.name) for found in network.interfaces] == [("", "enp0s4")]
    assert keys == ["links[1].name", "links[2].name"]


def test_a_mac_address_wins_over_a_name() -> None:
    document = static()
    document["links"][0]["name"] = "renamed by nobody"
    network, keys = parse(document)
    assert [(found.mac, found.name, keys) for found in network.interfaces] == [(MAC, "", [])]


def test_a_mac_address_of_infiniband_has_20_octets() -> None:
    document = static()
    document["links"][0]["ethernet_mac_address"] = (
        "80-00-02-08-FE-80-00-00-00-00-00-00-F4-52-14-03-00-7B-CB-A1"
    )
    network, keys = parse(document)
    octets = "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"
    assert [(found.mac, keys) for found in network.interfaces] == [(octets, [])]


@pytest.mark.parametrize(("text", "accept_ra"), [("192.0.2.7/24", None), ("2001:db8::7/64", False)])
@pytest.mark.parametrize("kind", ["static", "ipv5", "", 5, [], None, *HOSTILE])
def test_a_network_of_an_unknown_type_with_an_address_is_static(
    kind: object, text: str, accept_ra: bool | None
) -> None:
    document = static(type=kind, ip_address=text, netmask=None)
    network, problems = read(document)
    found = network.interfaces[0]
    assert (found.addresses, found.accept_ra, found.dhcp4) == ((text,), accept_ra, False)
    assert [(found.severity, found.key) for found in problems] == [("warning", "networks[0].type")]
    assert ("'static'" in problems[0].reason) == (kind == "static")


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
    assert network.partial == (key != "services")
    assert network._replace(partial=False) == parse(NOVA)[0]


@pytest.mark.parametrize("field", ["mtu", "routes", "services", "gateway"])
def test_nulls_and_omissions_are_tolerated(field: str) -> None:
    document = static()
    document["links"][0][field] = None
    document["networks"][0][field] = None
    network, keys = parse(document)
    assert (network.interfaces[0].addresses, keys) == (("192.0.2.5/24",), [])


@pytest.mark.parametrize("number", [1450, "1450", 1450.0])
def test_numbers_are_numbers_as_text_too(number: object) -> None:
    route = {"network": "10.0.0.0/8", "gateway": "192.0.2.1", "metric": number}
    document = static(routes=[route])
    document["links"][0]["mtu"] = number
    document["links"].append({"id": "v", "type": "vlan", "vlan_link": "a", "vlan_id": number})
    network, keys = parse(document)
    assert keys == []
    assert (network.interfaces[0].mtu, network.interfaces[0].routes[0].metric) == (1450, 1450)
    assert network.interfaces[1].vlan is not None
    assert network.interfaces[1].vlan.tag == 1450


def test_D8_what_cannot_be_used_is_noted_where_it_belongs() -> None:
    def noted(document: dict[str, Any]) -> tuple[bool, list[bool]]:
        network, _ = read(document)
        return network.partial, [found.partial for found in network.interfaces]

    assert noted(static()) == (False, [False])
    assert noted(static(ip_address="x")) == (False, [True])
    assert noted(static(gateway="x")) == (False, [True])
    assert noted(static(routes=[{"network": "x"}])) == (False, [True])
    assert noted(static(link="nowhere")) == (True, [False])
    assert noted(static() | {"networks": {}}) == (True, [False])
    document = static()
    document["links"].append({"id": "b"})
    assert noted(document) == (True, [False])


@pytest.mark.parametrize("mtu", [0, 67, 65536, "1500x", "١٥٠٠", 1500.5, True, [], float("inf")])
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
        ({"type": None, "ip_address": None}, "type"),
        ({"type": "ipv5", "ip_address": ""}, "type"),
        ({"type": [], "ip_address": 5}, "type"),
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


@pytest.mark.parametrize("gateway", ["", 5, True, [], "x", "2001:db8::1", "127.0.0.1"])
def test_a_bad_gateway_of_a_network_spoils_only_itself(gateway: object) -> None:
    other = {"network": "10.0.0.0/8", "gateway": "192.0.2.9"}
    network, keys = parse(static(gateway=gateway, routes=[other]))
    assert keys == ["networks[0].gateway"]
    assert [route.destination for route in network.interfaces[0].routes] == ["10.0.0.0/8"]


def test_a_second_link_with_the_same_mac_address_or_id_is_an_error() -> None:
    document = static()
    document["links"].append({"id": "b", "ethernet_mac_address": MAC.replace(":", "-")})
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


@pytest.mark.parametrize(
    ("gateway", "kept"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%", "fe80::1"),
        ("2001:db8::1%eth0", None),
        ("fe80::1%a\nb", "fe80::1"),
    ],
)
def test_the_zone_of_a_link_local_gateway_is_dropped(gateway: str, kept: str | None) -> None:
    everything = {"network": "::", "netmask": "::", "gateway": gateway}
    network, keys = parse(static(routes=[everything]))
    assert [route.gateway for route in network.interfaces[0].routes] == ([kept] if kept else [])
    assert keys == ([] if kept else ["networks[0].routes[0].gateway"])


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
    routes_kept = read(document)[0].interfaces[0].routes
    assert len(routes_kept) <= defs.MAX_ROUTES
    assert "networks" in parse(document)[1]


def test_very_many_entries_stay_few() -> None:
    dns = [{"type": "dns", "address": f"10.0.{n >> 8}.{n & 255}"} for n in range(900)]
    assert len(parse(static(services=dns))[0].interfaces[0].dns) == DNS_LIMIT
    network, problems = read(static(routes=[1] * 1000))
    assert len(problems) == defs.MAX_PROBLEMS + 1
    assert network.interfaces[0].addresses == ("192.0.2.5/24",)


def test_problems_never_quote_a_value() -> None:
    canary = "CANARY"
    document = static(ip_address=canary, link="a", routes=[{"network": canary}])
    document["links"].append({"id": canary, "type": canary})
    document["links"].append({"id": canary, "ethernet_mac_address": canary})
    document["networks"].append({"type": canary, "link": "a"})
    document["networks"].append({"type": "ipv4_dhcp", "link": canary})
    document["services"] = [{"type": "dns", "address": canary}]
    _, problems = read(document)
    assert len(problems) >= 6
    assert canary not in repr(problems)
