"""Interfaces as one interfaces(5) file."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from network_samples import (
    LABEL,
    LABEL2,
    MAC,
    MAC2,
    MAC3,
    bond,
    interface,
    member,
    rendered,
    route,
    vlan,
)

from guestagent.model import Interface, Rule

NAME, NAME2 = "enp0s3", "enp0s4"
FULL = """\
# Written by guestagent; settings of your own belong in another file.

auto enp0s3
iface enp0s3 inet manual
    pre-up ip link set dev "$IFACE" mtu 1450 || true
    up ip -4 addr replace 192.0.2.5/24 brd + dev "$IFACE" || true
    down ip -4 addr del 192.0.2.5/24 dev "$IFACE" 2>/dev/null || true
    up ip -4 addr replace 192.0.2.6/32 dev "$IFACE" || true
    down ip -4 addr del 192.0.2.6/32 dev "$IFACE" 2>/dev/null || true
    up ip -4 route replace 0.0.0.0/0 via 198.51.100.1 dev "$IFACE" proto static metric 0 onlink || true
    down ip -4 route del 0.0.0.0/0 via 198.51.100.1 dev "$IFACE" proto static metric 0 2>/dev/null || true
    up ip -4 route replace 10.0.0.0/8 dev "$IFACE" proto static metric 7 table 101 || true
    down ip -4 route del 10.0.0.0/8 dev "$IFACE" proto static metric 7 table 101 2>/dev/null || true
    up ip -4 rule add from 192.0.2.5/32 lookup 101 priority 30000 2>/dev/null || true
    down ip -4 rule del from 192.0.2.5/32 lookup 101 priority 30000 2>/dev/null || true
    dns-nameservers 192.0.2.53 2001:db8::53
    dns-search example.org lan

auto enp0s4
iface enp0s4 inet manual
"""  # noqa: E501


def nic(**changes: object) -> Interface:
    """A NIC of a running guest, without an address unless told otherwise."""
    return interface(**({"name": NAME, "addresses": ()} | changes))


def text(*interfaces: Interface) -> str:
    ((path, content, mode, origin),) = rendered("ifupdown", *interfaces)[0]
    assert (path, mode) == ("/etc/network/interfaces.d/50-guestagent", 0o644)
    assert origin == interfaces[0].origin
    return content


def blocks(*interfaces: Interface) -> list[list[str]]:
    """The stanza's options of each interface."""
    found = (block.rstrip("\n").split("\n") for block in text(*interfaces).split("\n\n")[1:])
    return [[line.strip() for line in block[2:]] for block in found]


def lines(given: Interface, *others: Interface) -> list[str]:
    return blocks(given, *others)[0]


def client(found: list[str], program: str) -> list[str]:
    """How the lines start a DHCP client, each in order."""
    (line,) = (line for line in found if f"|| {program} " in line or f" {program} -b" in line)
    return [part for part in line.removeprefix("up ").split(" || ") if program in part.split()[:2]]


def full() -> list[Interface]:
    first = nic(
        mtu=1450,
        addresses=("192.0.2.5/24", "192.0.2.6/32"),
        routes=(
            route(gateway="198.51.100.1", on_link=True),
            route(destination="10.0.0.0/8", gateway=None, metric=7, table=101),
        ),
        rules=(Rule("192.0.2.5/32", 101),),
        dns=("192.0.2.53", "2001:db8::53"),
        search=("example.org", "lan"),
    )
    return [first, nic(mac=MAC2, name=NAME2)]


def stacked() -> list[Interface]:
    """Two NICs, a bond of them with every kind of option, a VLAN on it and one on a third NIC."""
    options = (
        *(("arp_interval", "100"), ("arp_ip_target", "192.0.2.1,192.0.2.2")),
        *(("arp_validate", "filter"), ("primary", LABEL2)),
    )
    return [
        nic(),
        nic(mac=MAC2, name=NAME2),
        nic(mac=MAC3, name="enp0s5"),
        bond(options=options, mac="52:54:00:00:02:01"),
        vlan("bond0", 10, mac="52:54:00:00:02:02"),
        vlan("nic525400000103", 7),
    ]


def offline() -> list[Interface]:
    return [given._replace(name=given.name if given.stacked else "") for given in stacked()]


SAMPLES = {
    "static": full(),
    "dhcp": [
        nic(dhcp4=True, dhcp6="stateful", accept_ra=True),
        nic(mac=MAC2, name=NAME2, dhcp4=True, metric=1074, accept_ra=True, required=False),
        nic(mac=MAC3, name="enp0s5", dhcp6="stateless", accept_ra=True, required=False),
    ],
    "IPv6": [
        nic(
            addresses=("2001:db8::5/64",),
            accept_ra=False,
            routes=(route(destination="::/0", gateway="fe80::1"),),
            rules=(Rule("2001:db8::5/128", 101),),
        )
    ],
    "stacked": stacked(),
    "offline": offline(),
}


def test_two_interfaces_in_full() -> None:
    assert text(*full()) == FULL


@pytest.mark.parametrize("given", SAMPLES.values(), ids=SAMPLES.keys())
def test_every_command_is_one_for_a_shell(given: list[Interface]) -> None:
    commands = [line for block in blocks(*given) for line in block if not line.startswith("dns-")]
    script = "\n".join(command.partition(" ")[2] for command in commands)
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("given", SAMPLES.values(), ids=SAMPLES.keys())
def test_no_command_keeps_those_after_it_from_running(given: list[Interface]) -> None:
    commands = [line for block in blocks(*given) for line in block if not line.startswith("dns-")]
    assert [line for line in commands if not line.endswith((" || true", "; true"))] == []


@pytest.mark.parametrize("given", SAMPLES.values(), ids=SAMPLES.keys())
def test_an_address_a_route_and_a_rule_are_followed_by_what_undoes_them(
    given: list[Interface],
) -> None:
    for block in blocks(*given):
        for line, after in pairwise([*block, ""]):
            done, word = re.subn(r" (replace|add) ", " del ", line, count=1)
            if word and line.startswith("up ip -"):
                undone = (
                    done.replace("up ", "down ", 1).replace(" brd +", "").replace(" onlink", "")
                )
                assert after == undone.replace(" 2>/dev/null", "").replace(" ||", " 2>/dev/null ||")


@pytest.mark.parametrize(
    ("given", "accept_ra"), [(None, []), (True, ["echo 2"]), (False, ["echo 0"])]
)
def test_router_advertisements_are_taken_as_told_before_the_link_is_up(
    given: bool | None, accept_ra: list[str]
) -> None:
    where = '>/proc/sys/net/ipv6/conf/"$IFACE"/accept_ra || true'
    found = [line for line in lines(nic(accept_ra=given)) if line.startswith("pre-up")]
    assert [line for line in found if where in line] == [f"pre-up {e} {where}" for e in accept_ra]


def test_without_router_advertisements_what_they_brought_goes() -> None:
    found = lines(nic(accept_ra=False))
    assert found[2:] == [
        'up ip -6 addr flush dev "$IFACE" mngtmpaddr || true',
        'up ip -6 route flush dev "$IFACE" proto ra || true',
    ]


def test_the_metric_is_that_of_routes_by_advertisements_and_dhcp() -> None:
    found = lines(nic(accept_ra=True, dhcp4=True, metric=1074))
    assert 'pre-up echo 1074 >/proc/sys/net/ipv6/conf/"$IFACE"/ra_defrtr_metric || true' in found
    assert " -e IF_METRIC=1074 " in client(found, "dhclient")[0]
    assert " -m 1074 " in client(found, "dhcpcd")[0]
    assert client(found, "udhcpc")[0].startswith("IF_METRIC=1074 udhcpc ")
    assert "METRIC" not in "".join(lines(nic(accept_ra=True, dhcp4=True)))


def test_dhcp_is_waited_for_and_then_goes_on_in_the_background() -> None:
    found = lines(nic(dhcp4=True))
    (dhclient,) = client(found, "dhclient")
    assert " -nw " not in dhclient
    assert client(found, "dhcpcd") == ["dhcpcd -4 -L $IFACE", "dhcpcd -4 -L -b $IFACE"]


@pytest.mark.parametrize("required", [True, False])
def test_no_client_takes_an_mtu_where_the_source_gives_one(*, required: bool) -> None:
    found = lines(nic(dhcp4=True, mtu=1400, required=required))
    path = "/var/lib/dhcp/dhclient.$IFACE.mtu1400.conf"
    assert all(f" -cf {path} " in command for command in client(found, "dhclient"))
    assert all(" -O interface_mtu " in command for command in client(found, "dhcpcd"))
    assert f"down rm -f {path}" in found
    given = "\n".join(lines(nic(dhcp4=True, required=required)))
    assert not any(word in given for word in ("-cf", "interface_mtu", "interface-mtu"))


@pytest.mark.parametrize("required", [True, False])
def test_clients_are_told_where_their_dns_servers_are_not_wanted(*, required: bool) -> None:
    wanted = nic(dhcp4=True, dhcp6="stateful", accept_ra=True, required=required)
    quiet = wanted._replace(lease_dns=False)
    for word, option in (
        ("dhclient -", " -e GUESTAGENT_DNS=no "),
        ("dhcpcd -", " -C resolv.conf "),
        ("udhcpc -b", "IF_PEER_DNS=no "),
    ):
        assert text(quiet).count(option) == text(quiet).count(word) > 0
        assert option not in text(wanted)


def test_dhcp_that_the_boot_must_not_wait_for_starts_in_the_background() -> None:
    found = lines(nic(dhcp4=True, dhcp6="stateful", accept_ra=True, required=False))
    four, six = (line for line in found if "dhclient" in line and line.startswith("up"))
    for line in (four, six):
        assert line.count("dhclient -") == line.count(" -nw ") == 1
        assert line.count("dhcpcd -") == line.count(" -b ") - line.count("udhcpc -b")
    assert text(nic(required=False)) == text(nic())


@pytest.mark.parametrize(
    ("kind", "options"), [("stateful", "-6 "), ("stateless", "-6 -S "), ("slaac", ""), ("no", "")]
)
def test_dhcpv6_has_a_client_where_one_is_wanted(kind: str, options: str) -> None:
    found = "\n".join(lines(nic(dhcp6=kind, accept_ra=True)))
    assert ("dhclient -6" in found) == bool(options)
    assert ("-S" in found) == ("-S" in options)


def test_a_dhcpv6_server_is_not_waited_for_without_end() -> None:
    clients = client(lines(nic(dhcp6="stateful", accept_ra=True)), "dhclient")
    assert [" -1 " in clients[0], " -nw " in clients[1], len(clients)] == [True, True, 2]


def test_static_addresses_come_before_dhcp_but_after_the_client_that_removes_them() -> None:
    given = nic(addresses=("192.0.2.5/24", "2001:db8::5/64"), dhcp4=True, accept_ra=True)

    def order(found: list[str]) -> list[str]:
        signs = {"192.0.2.5": "v4", "2001:db8": "v6", "-4 -i": "dhcp4", "dhclient -6": "dhcp6"}
        ups = [line for line in found if line.startswith("up")]
        return [word for line in ups for sign, word in signs.items() if sign in line]

    assert order(lines(given)) == ["v4", "v6", "dhcp4"]
    both = given._replace(dhcp6="stateful")
    assert order(lines(both)) == ["v4", "dhcp4", "dhcp6", "v6"]


def test_without_a_metric_an_ipv6_route_has_the_kernels() -> None:
    found = lines(nic(routes=(route(destination="::/0", gateway="fe80::1"),)))
    assert found[0] == (
        'up ip -6 route replace ::/0 via fe80::1 dev "$IFACE" proto static metric 1024 || true'
    )


BOND = (
    "pre-up grep -qs '^active-backup ' /sys/class/net/bond0/bonding/mode"
    " || ip link add name bond0 type bond mode active-backup miimon 100"
    " || ip link set dev bond0 type bond mode active-backup miimon 100 || true"
)
JOIN = [
    BOND,
    'pre-up [ -e /sys/class/net/bond0/lower_$IFACE ] || { ip link set dev "$IFACE" down;'
    ' ip link set dev "$IFACE" master bond0; } || true',
    'down ip link set dev "$IFACE" nomaster || true',
]


def test_a_bond_is_made_by_whichever_comes_first_and_its_members_join() -> None:
    nics = [member(MAC, name=NAME), member(MAC2, name=NAME2), member(MAC3, name="enp0s5")]
    found = blocks(*nics, bond(addresses=()))
    assert found == [JOIN, JOIN, [], [BOND, "down ip link del dev bond0 || true"]]


def test_the_primary_member_says_so_once_it_has_joined() -> None:
    options = (("miimon", "100"), ("primary", LABEL2))
    nics = [member(MAC, name=NAME), member(MAC2, name=NAME2)]
    first, second, made = blocks(*nics, bond(options=options))
    assert first == JOIN
    assert second[len(JOIN)] == 'pre-up ip link set dev bond0 type bond primary "$IFACE" || true'
    assert "primary" not in "".join(made)


def test_a_bond_has_its_address_from_the_start() -> None:
    made = lines(bond(mac=MAC3), member(MAC, name=NAME))[0]
    assert f"ip link add name bond0 address {MAC3} type bond " in made


def test_a_bonding_option_that_ip_does_not_know_goes_to_the_driver() -> None:
    found = blocks(*stacked())[3]
    assert "pre-up echo filter >/sys/class/net/bond0/bonding/arp_validate || true" in found
    assert "arp_validate" not in found[0]


def test_a_member_sets_its_mtu_after_joining_for_the_bond_sets_one_then() -> None:
    found = lines(member(MAC, name=NAME, mtu=9000), bond())
    assert found[-1] == 'pre-up ip link set dev "$IFACE" mtu 9000 || true'


def test_a_vlan_is_made_on_its_link_which_is_up_by_then() -> None:
    _, found = blocks(nic(), vlan(mac=MAC3, addresses=()))
    assert found == [
        "pre-up ip link set dev enp0s3 up || true",
        "pre-up [ -e /sys/class/net/vlan7 ] || ip link add link enp0s3 name vlan7"
        f" address {MAC3} type vlan id 7 || true",
        "down ip link del dev vlan7 || true",
    ]


def test_without_a_name_the_nic_is_found_by_its_mac_address() -> None:
    content = text(interface(), interface(mac=MAC2))
    assert f"\nauto mac/{MAC}/1={LABEL}\niface {LABEL} inet manual\n" in content
    assert f"\nauto mac/{MAC2}/1={LABEL2}\niface {LABEL2} inet manual\n" in content


def test_a_nic_without_a_name_makes_the_vlans_on_it() -> None:
    first, second = blocks(interface(addresses=()), vlan(addresses=()))
    assert first == [
        'up [ -e /sys/class/net/vlan7 ] || ip link add link "$IFACE" name vlan7'
        " type vlan id 7 || true"
    ]
    assert second == []


def test_a_member_without_a_name_joins_in_the_same_way() -> None:
    assert blocks(member(MAC), member(MAC2), bond())[:2] == [JOIN, JOIN]


@pytest.mark.parametrize("given", SAMPLES.values(), ids=SAMPLES.keys())
def test_nothing_is_lost_and_no_trace_left_for_the_next_time(given: list[Interface]) -> None:
    first = rendered("ifupdown", *given)
    assert (first[1], rendered("ifupdown", *given)) == ([], first)


def test_without_an_interface_there_is_no_file() -> None:
    assert rendered("ifupdown") == ([], [])


@pytest.mark.skipif(not shutil.which("ifquery"), reason="ifupdown is not installed")
@pytest.mark.parametrize("sample", SAMPLES)
def test_E7_ifquery_reads_the_file(tmp_path: Path, sample: str) -> None:
    file = tmp_path / "interfaces"
    file.write_text(text(*SAMPLES[sample]))
    command = ["ifquery", "--list", "-i", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    names = [given.name for given in SAMPLES[sample] if given.name]
    assert (done.stdout.split(), done.stderr) == (["lo", *names], "")
