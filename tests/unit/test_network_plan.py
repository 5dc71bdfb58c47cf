"""Which files the network becomes, for which NICs, and what is said about the rest."""

from __future__ import annotations

import pytest
from network_samples import (
    BAD_FIELDS,
    MAC,
    MAC2,
    ORIGIN,
    RESOLV_LINE,
    facts,
    interface,
    network,
    route,
    strange_lines,
)

from guestagent import defs
from guestagent.desired.network import plan
from guestagent.model import Facts, Interface, Network, Nic
from guestagent.resources import File

PATH = "/etc/systemd/network/10-guestagent-525400aabbcc.network"
PATH2 = "/etc/systemd/network/10-guestagent-525400aabbcd.network"
OTHER = "52:54:00:00:00:99"


def files(
    data: Network | None, given: Facts, backend: str = ""
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Path → text of what is planned, and severity and origin key of the problems."""
    resources, problems = plan(data, given, backend)
    found = {}
    for resource in resources:
        assert isinstance(resource, File)
        assert (resource.kind, resource.mode, resource.secret) == ("file", 0o644, False)
        found[resource.path] = resource.content.decode()
    return found, [(problem.severity, problem.key) for problem in problems]


def test_each_interface_is_a_networkd_file_with_its_origin() -> None:
    origin = ORIGIN._replace(key="links[0]")
    data = network(interface(origin=origin), interface(mac=MAC2))
    assert list(files(data, facts())[0]) == [PATH, PATH2]
    assert files(data, facts())[1] == []
    assert plan(data, facts(), "")[0][0].why == origin


def test_ifupdown_has_one_file_with_the_guests_names() -> None:
    data = network(interface(), interface(mac=MAC2, addresses=(), dhcp4=True))
    found, problems = files(data, facts(backend="ifupdown", resolver="resolvconf"))
    assert (list(found), problems) == (["/etc/network/interfaces.d/50-guestagent"], [])
    (text,) = found.values()
    assert "iface eth0 inet static" in text
    assert "iface eth1 inet dhcp" in text


def test_a_backend_that_is_asked_for_wins_over_the_facts() -> None:
    found, _ = files(network(interface()), facts(), "ifupdown")
    assert list(found) == [f"{defs.IFUPDOWN_DIR}/50-guestagent"]


@pytest.mark.parametrize("data", [None, network(interface())])
@pytest.mark.parametrize("backend", ["", "netplan"])
def test_without_a_known_backend_nothing_is_written(data: Network | None, backend: str) -> None:
    found, problems = files(data, facts(backend=""), backend)
    assert (found, [severity for severity, _ in problems]) == ({}, ["error"])


def test_mac_addresses_match_in_any_case() -> None:
    nics = (Nic("eth0", MAC.upper()),)
    assert list(files(network(interface()), facts(nics=nics))[0]) == [PATH]


def test_a_nic_known_by_name_gets_its_mac_address() -> None:
    found, problems = files(network(interface(mac="", name="eth1")), facts())
    assert (list(found), problems) == ([PATH2], [])


@pytest.mark.parametrize("absent", [{"mac": OTHER}, {"mac": "", "name": "eth9"}])
def test_an_interface_that_the_guest_lacks_is_an_error_and_the_rest_goes_on(
    absent: dict[str, str],
) -> None:
    lost = interface(origin=ORIGIN._replace(key="links[1]"), **absent)
    found, problems = files(network(lost, interface()), facts())
    assert (list(found), problems) == ([PATH], [("error", "links[1]")])


def test_two_interfaces_for_one_nic_are_an_error() -> None:
    twice = interface(mac="", name="eth0", origin=ORIGIN._replace(key="line 9"))
    found, problems = files(network(interface(), twice), facts())
    assert (list(found), problems) == ([PATH], [("error", "line 9")])


@pytest.mark.parametrize("backend", ["networkd", "ifupdown"])
def test_in_an_offline_tree_all_interfaces_are_rendered(backend: str) -> None:
    data = network(interface(), interface(mac=OTHER), interface(mac="", name="eth7"))
    found, problems = files(data, facts(live=False, nics=None), backend)
    text = "".join(found.values())
    assert problems == []
    assert all(name in text for name in (MAC, OTHER, "eth7"))


@pytest.mark.parametrize(
    "data",
    [None, network(), network(interface(mac=OTHER)), network(interface(addresses=(), mtu=9000))],
)
@pytest.mark.parametrize("backend", ["networkd", "ifupdown"])
def test_fallback_is_dhcp_on_every_nic_not_waited_for(data: Network | None, backend: str) -> None:
    found, problems = files(data, facts(), backend)
    assert problems[-1] == ("warning", "network" if data is None else "")
    if backend == "networkd":
        assert list(found) == [PATH, PATH2]
        for text in found.values():
            assert "[Link]\nRequiredForOnline=no\n" in text
            assert "DHCP=ipv4\nIPv6AcceptRA=yes\n" in text
            assert "DHCPv6Client" not in text
    else:
        (text,) = found.values()
        assert text.count("inet dhcp") == 2


def test_no_fallback_where_the_nics_are_not_known() -> None:
    assert files(None, facts(nics=None)) == ({}, [])
    assert files(network(), facts(nics=None)) == ({}, [("warning", "")])
    assert files(None, facts(nics=()))[0] == {}


def test_default_routes_by_protocol_are_ordered() -> None:
    dynamic = {"addresses": (), "dhcp4": True}
    found, _ = files(network(interface(**dynamic), interface(mac=MAC2, **dynamic)), facts())
    assert "RouteMetric" not in found[PATH]
    assert "[DHCPv4]\nRouteMetric=1074\n" in found[PATH2]


def test_a_static_default_route_never_shares_its_metric_with_an_advertised_one() -> None:
    static = interface(
        accept_ra=False,
        addresses=("2001:db8::5/64",),
        routes=(route(destination="::/0", gateway="fe80::1"),),
    )
    slaac = interface(mac=MAC2, addresses=(), dhcp6="slaac", accept_ra=True)
    for order in ((static, slaac), (slaac, static)):
        found, _ = files(network(*order), facts())
        assert "RouteMetric=1074\n" in found[PATH2]


@pytest.mark.parametrize(
    ("resolver", "backend", "written", "warned"),
    [
        ("resolved", "networkd", False, False),
        ("resolved", "ifupdown", False, False),
        ("resolvconf", "ifupdown", False, False),
        ("resolvconf", "networkd", False, True),
        ("file", "networkd", True, False),
        ("file", "ifupdown", True, False),
    ],
)
def test_resolv_conf_is_written_only_where_nothing_else_does(
    resolver: str, backend: str, written: bool, warned: bool
) -> None:
    data = network(interface(dns=("192.0.2.53",)))
    found, problems = files(data, facts(resolver=resolver), backend)
    assert (defs.RESOLV_CONF in found, bool(problems)) == (written, warned)


def test_resolv_conf_lists_every_server_and_domain_once() -> None:
    data = network(
        interface(dns=("192.0.2.53", "2001:db8::53"), search=("lan",)),
        interface(mac=MAC2, dns=("192.0.2.53", "192.0.2.54"), search=("lan", "example.org")),
    )
    found, _ = files(data, facts(resolver="file"))
    assert found[defs.RESOLV_CONF] == (
        "# Written by guestagent.\nsearch lan example.org\nnameserver 192.0.2.53\n"
        "nameserver 2001:db8::53\nnameserver 192.0.2.54\n"
    )
    assert strange_lines(found[defs.RESOLV_CONF], RESOLV_LINE) == []


@pytest.mark.parametrize("search", [(), ("lan",)])
def test_without_a_server_resolv_conf_is_left_alone(search: tuple[str, ...]) -> None:
    assert list(files(network(interface(search=search)), facts(resolver="file"))[0]) == [PATH]


@pytest.mark.parametrize("backend", ["networkd", "ifupdown"])
@pytest.mark.parametrize(
    "bad", [bad for _, bad in BAD_FIELDS], ids=[name for name, _ in BAD_FIELDS]
)
def test_E5_E7_an_invalid_interface_is_left_out_and_the_rest_goes_on(
    bad: Interface, backend: str
) -> None:
    good = interface(mac=MAC2)
    alone = files(network(good), facts(nics=None, resolver="file"), backend)[0]
    found, problems = files(network(good, bad), facts(nics=None, resolver="file"), backend)
    assert (found, [severity for severity, _ in problems]) == (alone, ["error"])
