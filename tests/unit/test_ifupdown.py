"""Interfaces as one interfaces(5) file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from network_samples import BAD_FIELDS, IFUPDOWN_LINE, MAC, interface, route, strange_lines

from guestagent.desired.network import ifupdown
from guestagent.errors import FieldError
from guestagent.model import Interface

FULL = """\
# Written by guestagent; settings of your own belong in another file.

auto eth0
iface eth0 inet static
    pre-up ip link set dev "$IFACE" mtu 1450 || true
    address 192.0.2.5/32
    up ip -4 route replace 0.0.0.0/0 via 198.51.100.1 dev "$IFACE" onlink || true
    up ip -4 route replace 10.0.0.0/8 dev "$IFACE" metric 7 || true
    dns-nameservers 192.0.2.53 2001:db8::53
    dns-search example.org lan
iface eth0 inet static
    address 192.0.2.6/32
    dns-nameservers 192.0.2.53 2001:db8::53
    dns-search example.org lan
iface eth0 inet6 static
    address 2001:db8::5/64
    accept_ra 0
    up ip -6 route replace ::/0 via fe80::1 dev "$IFACE" || true

auto eth1
iface eth1 inet dhcp
"""


def full() -> list[Interface]:
    first = interface(
        name="eth0",
        mtu=1450,
        accept_ra=False,
        addresses=("192.0.2.5/32", "192.0.2.6/32", "2001:db8::5/64"),
        routes=(
            route(gateway="198.51.100.1", on_link=True),
            route(destination="10.0.0.0/8", gateway=None, metric=7),
            route(destination="::/0", gateway="fe80::1"),
        ),
        dns=("192.0.2.53", "2001:db8::53"),
        search=("example.org", "lan"),
    )
    return [first, interface(name="eth1", addresses=(), dhcp4=True)]


def lines(*interfaces: Interface) -> list[str]:
    return [line.strip() for line in ifupdown.render(interfaces).split("\n")[2:-1]]


def test_two_interfaces_in_full() -> None:
    assert ifupdown.render(full()) == FULL


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dhcp4": True}, ["iface eth0 inet dhcp"]),
        ({"dhcp6": "slaac", "accept_ra": True}, ["iface eth0 inet6 auto"]),
        ({"dhcp6": "stateless", "accept_ra": True}, ["iface eth0 inet6 auto", "dhcp 1"]),
        ({"dhcp6": "stateful", "accept_ra": True}, ["iface eth0 inet6 dhcp", "accept_ra 2"]),
        ({"dhcp4": True, "accept_ra": True}, ["iface eth0 inet dhcp"]),
        ({}, ["iface eth0 inet manual"]),
        (
            {"addresses": ("2001:db8::5/64",), "accept_ra": True, "dhcp6": "slaac"},
            [
                "iface eth0 inet6 static",
                "address 2001:db8::5/64",
                "accept_ra 2",
                "autoconf 1",
                "iface eth0 inet6 auto",
            ],
        ),
        (
            {"addresses": ("2001:db8::5/64",)},
            ["iface eth0 inet6 static", "address 2001:db8::5/64"],
        ),
    ],
)
def test_how_an_address_is_given(changes: dict[str, object], expected: list[str]) -> None:
    given = interface(name="eth0", **({"addresses": ()} | changes))
    assert lines(given) == ["auto eth0", *expected]


def test_an_mtu_is_set_before_any_method() -> None:
    found = lines(interface(name="eth0", addresses=(), dhcp4=True, mtu=9000))
    assert found[2] == 'pre-up ip link set dev "$IFACE" mtu 9000 || true'


def test_routes_of_a_family_without_address_get_a_stanza() -> None:
    to = route(destination="2001:db8::/32", gateway="fe80::1")
    found = lines(interface(name="eth0", routes=(to,)))
    assert found[-2:] == [
        "iface eth0 inet6 manual",
        'up ip -6 route replace 2001:db8::/32 via fe80::1 dev "$IFACE" || true',
    ]


def test_without_a_name_the_interface_is_found_by_its_mac_address() -> None:
    found = lines(interface(), interface(mac="52:54:00:aa:bb:cd"))
    assert found[:2] == [f"auto mac/{MAC}/1=guestagent0", "iface guestagent0 inet static"]
    assert "auto mac/52:54:00:aa:bb:cd/1=guestagent1" in found


def test_rendering_leaves_no_trace_for_the_next_one() -> None:
    given = [interface(name="eth0", dhcp6="stateful", mtu=9000, dns=("192.0.2.53",)), *full()]
    assert ifupdown.render(given) == ifupdown.render(given)


def test_every_line_is_one_that_guestagent_writes() -> None:
    assert strange_lines(FULL, IFUPDOWN_LINE) == []


@pytest.mark.parametrize(
    "bad", [bad for _, bad in BAD_FIELDS], ids=[name for name, _ in BAD_FIELDS]
)
def test_E7_a_model_with_a_bad_field_is_not_rendered(bad: Interface) -> None:
    with pytest.raises(FieldError) as caught:
        ifupdown.render([bad])
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not shutil.which("ifquery"), reason="ifupdown is not installed")
def test_E7_ifquery_reads_the_file(tmp_path: Path) -> None:
    file = tmp_path / "interfaces"
    file.write_text(FULL)
    command = ["ifquery", "--list", "-i", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["lo", "eth0", "eth1"], "")
