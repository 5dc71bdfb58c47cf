"""Legacy interfaces(5) text, read for its addresses and never run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_samples import (
    HOSTILE,
    MAC,
    MAC2,
    NETWORKD_LINE,
    RESOLV_LINE,
    WAIT_ONLINE_LINE,
    facts,
    planned,
    spoiled,
    strange_lines,
)
from rig import collected

from guestagent import defs
from guestagent.errors import Origin
from guestagent.model import Network, Nic, Route
from guestagent.parse.network.interfaces_text import parse_interfaces_text
from guestagent.plan.kinds.file import File
from guestagent.settings import Settings

ORIGIN = Origin("test", "content/0000", "")

NOVA = f"""
# Injected by Nova on instance boot
#
# The loopback network interface
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    hwaddress ether 52-54-00-00-01-01
    address 192.0.2.5
    netmask 255.255.255.0
    broadcast 192.0.2.255
    gateway 192.0.2.1
    dns-nameservers 192.0.2.53 192.0.2.54
    dns-search Example.org
    mtu 1450
iface eth0 inet6 static
    hwaddress ether 52-54-00-00-01-01
    address 2001:db8::5
    netmask 64
    gateway fe80::1
    dns-nameservers 2001:db8::53

auto eth1
iface eth1 inet dhcp
    hwaddress {MAC2}
"""


def parse(text: str) -> tuple[Network, list[tuple[str, str]]]:
    network, problems = collected(parse_interfaces_text, text, ORIGIN)
    return network, [(problem.severity, problem.key) for problem in problems]


def test_what_nova_writes_is_understood() -> None:
    network, problems = parse(NOVA)
    assert problems == []
    first, second = network.interfaces
    assert (first.mac, first.name, first.mtu, first.accept_ra) == (MAC, "", 1450, False)
    assert first.addresses == ("192.0.2.5/24", "2001:db8::5/64")
    assert first.routes == (
        Route("0.0.0.0/0", "192.0.2.1", None, False),
        Route("::/0", "fe80::1", None, False),
    )
    assert first.dns == ("192.0.2.53", "192.0.2.54", "2001:db8::53")
    assert first.search == ("example.org",)
    assert (second.mac, second.dhcp4, second.dhcp6, second.accept_ra) == (MAC2, True, "no", None)
    assert first.origin == ORIGIN._replace(key="line 9")


def test_dns_of_the_loopback_is_for_all_interfaces_in_either_spelling() -> None:
    network, problems = parse(
        "iface lo inet loopback\n dns_nameservers 192.0.2.53\n dns-search example.org\n mtu 9000\n"
        "iface eth0 inet dhcp\n dns_nameservers 192.0.2.54\niface eth1 inet dhcp\n"
    )
    assert problems == [("warning", "line 4")]
    assert [found.dns for found in network.interfaces] == [
        ("192.0.2.54", "192.0.2.53"),
        ("192.0.2.53",),
    ]
    assert [found.search for found in network.interfaces] == [("example.org",)] * 2


@pytest.mark.parametrize(
    ("method", "dhcp6", "accept_ra"),
    [("auto", "slaac", True), ("dhcp", "stateful", True), ("manual", "no", None)],
)
def test_methods_of_ipv6(method: str, dhcp6: str, accept_ra: bool | None) -> None:
    network, problems = parse(f"iface eth0 inet6 {method}")
    (found,) = network.interfaces
    assert (found.mac, found.name, problems) == ("", "eth0", [])
    assert (found.dhcp4, found.dhcp6, found.accept_ra) == (False, dhcp6, accept_ra)


def test_a_prefix_in_the_address_continued_lines_and_comments() -> None:
    text = "iface eth0 inet static\n  # comment\n\n  address \\\n  192.0.2.5/25\n  metric 7\n"
    network, problems = parse(text + "  gateway 192.0.2.1\n")
    assert (network.interfaces[0].addresses, problems) == (("192.0.2.5/25",), [])
    assert network.interfaces[0].routes == (Route("0.0.0.0/0", "192.0.2.1", 7, False),)


def test_several_gateways_get_metrics_and_those_outside_are_on_link() -> None:
    text = "".join(
        f"iface eth{n} inet static\n address 192.0.{n}.5/24\n gateway 192.0.2.1\n" for n in (2, 3)
    )
    found = parse(text)[0].interfaces
    assert found[0].routes == (Route("0.0.0.0/0", "192.0.2.1", None, False),)
    assert found[1].routes == (Route("0.0.0.0/0", "192.0.2.1", 100, True),)


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("post-up route add -net 10.0.0.0 netmask 255.0.0.0 gw 192.0.2.2 || true", 3),
        ("up ip route add 10.0.0.0/8 via 192.0.2.2", 3),
        ("pre-down reboot", 3),
        ("pointopoint 192.0.2.9", 3),
        ("address", 3),
        ("mapping eth*", 3),
        ("source /etc/network/interfaces.d/*", 3),
        ("no-auto-down eth0", 3),
    ],
)
def test_other_lines_are_ignored_with_a_warning(line: str, number: int) -> None:
    network, problems = parse(f"iface eth0 inet static\n address 192.0.2.5/24\n {line}\n")
    assert problems == [("warning", f"line {number}")]
    assert network.interfaces[0].addresses == ("192.0.2.5/24",)
    assert network.interfaces[0].routes == ()


def test_lines_outside_of_a_stanza_are_ignored_with_a_warning() -> None:
    text = "address 192.0.2.5\nmapping eth0\n script /bin/id\niface eth0 inet dhcp\nallow-x eth0\n"
    network, problems = parse(text)
    assert [key for _, key in problems] == ["line 1", "line 2", "line 3", "line 5"]
    assert network.interfaces[0].dhcp4


@pytest.mark.parametrize(
    "stanza",
    [
        "iface eth0 inet static",
        "iface eth0 inet static\n address 192.0.2.5",
        "iface eth0 inet static\n address 192.0.2.5\n netmask 255.0.255.0",
        "iface eth0 inet static\n address 2001:db8::5/64",
        "iface eth0 inet6 static\n address 192.0.2.5/24",
        "iface eth0 inet dhcp\n mtu 1500x",
        "iface eth0 inet dhcp\n mtu 1",
        "iface eth0 inet dhcp\n hwaddress 01:00:5e:00:00:01",
        "iface eth0 inet dhcp\n hwaddress random",
        "iface eth0:0 inet dhcp",
        "iface ../x inet dhcp",
        "iface eth0 inet ppp",
        "iface eth0 inet auto",
        "iface eth0 ipx static",
        "iface eth0 inet",
        "iface",
        "iface eth0 inet dhcp inherits x",
    ],
)
def test_a_bad_stanza_is_left_out_alone(stanza: str) -> None:
    network, problems = parse(stanza + "\niface eth9 inet dhcp\n")
    assert problems == [("error", "line 1")]
    assert [found.name for found in network.interfaces] == ["eth9"]


@pytest.mark.parametrize("gateway", ["x", "2001:db8::1", "127.0.0.1", "0.0.0.0"])
def test_a_bad_gateway_spoils_only_the_route(gateway: str) -> None:
    text = f"iface eth0 inet static\n address 192.0.2.5/24\n gateway {gateway}\n"
    network, problems = parse(text)
    assert problems == [("error", "line 1")]
    assert (network.interfaces[0].addresses, network.interfaces[0].routes) == (
        ("192.0.2.5/24",),
        (),
    )


def test_a_bad_dns_entry_spoils_only_itself() -> None:
    text = "iface eth0 inet dhcp\n dns-nameservers x 192.0.2.53\n dns-search -x example.org\n"
    network, problems = parse(text)
    assert problems == [("error", "line 2"), ("error", "line 3")]
    assert network.interfaces[0].dns == ("192.0.2.53",)
    assert network.interfaces[0].search == ("example.org",)


@pytest.mark.parametrize(
    "second",
    [
        f"iface eth1 inet dhcp\n hwaddress {MAC}",
        f"iface eth0 inet6 auto\n hwaddress {MAC2}",
    ],
)
def test_one_mac_address_belongs_to_one_interface(second: str) -> None:
    network, problems = parse(f"iface eth0 inet dhcp\n hwaddress {MAC}\n{second}\n")
    assert problems == [("error", "line 3")]
    assert [(found.mac, found.dhcp6) for found in network.interfaces] == [(MAC, "no")]


def test_limits_are_kept() -> None:
    text = "".join(f"iface eth{n} inet dhcp\n" for n in range(defs.MAX_INTERFACES + 3))
    network, problems = parse(text)
    assert (len(network.interfaces), len(problems)) == (defs.MAX_INTERFACES, 3)
    assert len(parse("x\n" * 100_000)[1]) < 200


def test_problems_never_quote_a_value() -> None:
    text = NOVA.replace("192.0.2", "CANARY").replace("mtu", "CANARY") + "CANARY\niface CANARY!"
    _, problems = collected(parse_interfaces_text, text, ORIGIN)
    assert len(problems) >= 3
    assert "CANARY" not in repr(problems)


def _assert_plain(network: Network) -> None:
    """Check that each line of the files is one that guestagent writes."""
    for backend in defs.NETWORK_STACKS:
        for nics in (None, (Nic("eth0", MAC), Nic("eth1", MAC2))):
            given = facts(nics=nics, resolver="file")
            for resource in planned(network, given, Settings(network_backend=backend))[0]:
                assert isinstance(resource, File)
                text = resource.content.decode("ascii")
                assert all(line.isprintable() for line in text.split("\n"))
                if resource.path == defs.RESOLV_CONF:
                    assert strange_lines(text, RESOLV_LINE) == []
                elif resource.path == defs.WAIT_ONLINE_FILE:
                    assert strange_lines(text, WAIT_ONLINE_LINE) == []
                elif backend == "networkd":
                    assert strange_lines(text, NETWORKD_LINE) == []


VALUES = ("eth0", "192.0.2.5", "255.255.255.0", "192.0.2.1", "192.0.2.53", "1450", MAC2)


@pytest.mark.parametrize("value", [*VALUES, "Example.org", "2001:db8::5", "fe80::1", "static"])
def test_E5_E7_no_value_carries_text_into_an_output(value: str) -> None:
    for bad in spoiled(value):
        _assert_plain(collected(parse_interfaces_text, NOVA.replace(value, bad), ORIGIN)[0])


WORDS = st.sampled_from(
    [
        *(
            *HOSTILE,
            *VALUES,
            "iface",
            "eth1",
            "inet",
            "inet6",
            "static",
            "dhcp",
            "auto",
            "\n",
            "\\",
        ),
        *("address", "netmask", "gateway", "hwaddress", "ether", "mtu", "metric", "dns-search"),
    ]
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(WORDS, max_size=40).map(" ".join) | st.text())
def test_E7_any_text_is_parsed_without_raising(text: str) -> None:
    for candidate in (text, f"iface eth0 inet static\n{text}", NOVA + text):
        _assert_plain(collected(parse_interfaces_text, candidate, ORIGIN)[0])
