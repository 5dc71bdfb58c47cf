"""``network-config`` of NoCloud: version 2 as real netplan reads it, version 1 as its page says."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from rig import need

from guestagent.errors import Origin, Problem, Problems
from guestagent.model import Network
from guestagent.parse.network.config import parse_network_config

from . import netplan_generator, networkd_reader
from .facts import Link, Vlan, bond, differences, gets_address, link, route
from .produce import produce_network

MAC = "52:54:00:00:01:01"
# Documents of version 2 that are read as a whole.
SAME = {
    "DHCP by name": "ethernets: {enp0s3: {dhcp4: true}}",
    "DHCP by address": """
        ethernets:
          any.id:
            match: {macaddress: "52:54:00:00:01:02"}
            dhcp4: yes
    """,
    "by the name in match": "ethernets: {a: {match: {name: enp0s4}, dhcp4: true}}",
    "both protocols": "ethernets: {enp0s3: {dhcp4: true, dhcp6: true, accept-ra: true}}",
    "no router advertisements": """
        ethernets: {enp0s3: {addresses: ["2001:db8:1::10/64"], accept-ra: false}}
    """,
    "static": """
        renderer: networkd
        ethernets:
          enp0s3:
            addresses: [192.0.2.10/24, "2001:db8:1::10/64"]
            gateway4: 192.0.2.1
            gateway6: "2001:db8:1::1"
            nameservers: {addresses: [192.0.2.53, "2001:db8::53"], search: [example.org, b.test]}
            mtu: 1400
    """,
    "routes": """
        ethernets:
          enp0s3:
            addresses: [192.0.2.10/24]
            routes:
            - {to: default, via: 192.0.2.1}
            - {to: 198.51.100.0/24, via: 192.0.2.2, metric: 50}
            - {to: 203.0.113.7, via: 192.0.2.3}
            - {to: 10.0.0.0/8, via: 10.255.0.1, on-link: true}
            - {to: 10.1.0.0/16, scope: link}
            - {to: 0.0.0.0/0, via: 192.0.2.9, table: 100}
    """,
    "IPv6 routes": """
        ethernets:
          enp0s3:
            addresses: ["2001:db8:1::10/64"]
            routes: [{to: default, via: "fe80::1"}, {to: "2001:db8:2::/48", via: "2001:db8:1::2"}]
    """,
    "not waited for": "ethernets: {enp0s3: {dhcp4: true, optional: true}}",
    "metric of DHCP": """
        ethernets: {enp0s3: {dhcp4: true, dhcp4-overrides: {route-metric: 300, use-dns: true}}}
    """,
    "a bond": """
        ethernets: {enp0s3: {}, b: {match: {macaddress: "52:54:00:00:01:02"}}}
        bonds:
          bond7:
            interfaces: [enp0s3, b]
            macaddress: "52:54:00:00:07:07"
            parameters:
              {mode: 802.3ad, lacp-rate: fast, mii-monitor-interval: 200ms, min-links: 1,
               transmit-hash-policy: layer3+4, up-delay: 1s, down-delay: 400, ad-select: count}
            addresses: [192.0.2.10/24]
    """,
    "a bond that asks": """
        ethernets: {enp0s3: {}, enp0s4: {}}
        bonds:
          bond0:
            interfaces: [enp0s3, enp0s4]
            parameters:
              {mode: active-backup, arp-interval: 100, arp-ip-targets: [192.0.2.1, 192.0.2.2],
               arp-validate: all, arp-all-targets: any, primary: enp0s3, gratuitous-arp: 2,
               primary-reselect-policy: better, fail-over-mac-policy: active}
            dhcp4: true
    """,
    "VLANs on a NIC and on a bond": """
        ethernets: {enp0s3: {}, enp0s4: {dhcp4: true}}
        bonds:
          bond0:
            {interfaces: [enp0s3], parameters: {mode: balance-rr, mii-monitor-interval: 100}}
        vlans:
          vlan5: {id: 5, link: enp0s4, addresses: [192.0.2.10/24]}
          storage: {id: 6, link: bond0, mtu: 1300, addresses: [192.0.3.10/24]}
    """,
}


def parse(text: str) -> tuple[Network, list[Problem]]:
    problems = Problems()
    origin = Origin("seed", "network-config", "")
    found = parse_network_config(dedent(text).encode(), origin, problems)
    return found, problems.problems


def facts(text: str) -> tuple[dict[str, Link], list[Problem]]:
    """What networkd gets of a document, and all problems."""
    network, problems = parse(text)
    collected = Problems()
    collected.add(*problems)
    produced = produce_network(network, collected, "networkd")
    return networkd_reader.links(produced.files), list(produced.problems)


def keys(problems: list[Problem], severity: str = "error") -> list[str]:
    return [problem.key for problem in problems if problem.severity == severity]


def version_2(text: str) -> str:
    return f"version: 2\n{dedent(text).strip()}\n"


def comparable(links: dict[str, Link]) -> dict[str, Link]:
    """Links without what is only said of those that get no address.

    Netplan cannot require DHCPv6, which its ``dhcp6`` leaves to the flags of routers.
    """
    return {
        name: found._replace(
            required=found.required and gets_address(found),
            dhcp6="stateful" if found.dhcp6 == "slaac" else found.dhcp6,
        )
        for name, found in links.items()
    }


@pytest.mark.parametrize("title", SAME)
def test_version_2_says_what_netplan_makes_of_it(title: str, tmp_path: Path) -> None:
    need(not netplan_generator.missing(), netplan_generator.missing())
    text = version_2(SAME[title])
    path = tmp_path / "etc/netplan/50.yaml"
    path.parent.mkdir(parents=True)
    body = "".join(f"  {line}\n" for line in text.splitlines())
    path.write_text(f"network:\n{body}")
    path.chmod(0o600)
    theirs = netplan_generator.links(tmp_path, quiet="gateway" not in text)
    ours, problems = facts(text)
    assert keys(problems) == []
    assert differences(comparable(theirs), comparable(ours)) == []
    within, more = facts(path.read_text())
    assert (within, keys(more)) == (ours, [])


# What is left out of a document of version 2, by the key that is named; all else of it is used.
REFUSED_2 = {
    "bridges": "bridges: {br0: {interfaces: [enp0s3]}}\nethernets: {enp0s3: {dhcp4: true}}",
    "wifis": "wifis: {w: {}}",
    "ethernets.a.match": "ethernets: {a: {match: {driver: virtio_net}, dhcp4: true}}",
    "ethernets.b.match": "ethernets: {b: {match: {}, dhcp4: true}}",
    "ethernets.c.match.name": "ethernets: {c: {match: {name: 'en*'}, dhcp4: true}}",
    "ethernets[0]": "ethernets: {'a b': {dhcp4: true}}",
    "ethernets.all": "ethernets: {all: {dhcp4: true}}",
    "ethernets.d.match.macaddress": "ethernets: {d: {match: {macaddress: 12:34:56:12:34:56}}}",
    "ethernets.enp0s3": "ethernets: {enp0s3: [dhcp4]}",
    "ethernets.enp0s3.dhcp4": "ethernets: {enp0s3: {dhcp4: maybe}}",
    "ethernets.enp0s3.macaddress": "ethernets: {enp0s3: {macaddress: '52:54:00:00:09:09'}}",
    "ethernets.enp0s3.accept-ra": "ethernets: {enp0s3: {dhcp6: true, accept-ra: false}}",
    "ethernets.enp0s3.link-local": "ethernets: {enp0s3: {link-local: [ipv4]}}",
    "ethernets.enp0s3.routing-policy": """
        ethernets: {enp0s3: {routing-policy: [{from: 192.0.2.0/24, table: 100}]}}
    """,
    "ethernets.enp0s3.auth": "ethernets: {enp0s3: {auth: {key-management: 802.1x}}}",
    "ethernets.enp0s3.dhcp4-overrides.use-dns": """
        ethernets: {enp0s3: {dhcp4: true, dhcp4-overrides: {use-dns: false}}}
    """,
    "ethernets.enp0s3.dhcp4-overrides.hostname": """
        ethernets: {enp0s3: {dhcp4: true, dhcp4-overrides: {hostname: x}}}
    """,
    "ethernets.enp0s3.dhcp6-overrides.route-metric": """
        ethernets:
          enp0s3:
            {dhcp4: true, dhcp6: true, dhcp4-overrides: {route-metric: 1},
             dhcp6-overrides: {route-metric: 2}}
    """,
    "ethernets.enp0s3.addresses[1]": "ethernets: {enp0s3: {addresses: [192.0.2.1/24, 192.0.2.3]}}",
    "ethernets.enp0s3.addresses[0]": """
        ethernets: {enp0s3: {addresses: [192.0.2.1/24: {lifetime: 0}]}}
    """,
    "ethernets.enp0s3.gateway4": "ethernets: {enp0s3: {gateway4: nowhere}}",
    "ethernets.enp0s3.mtu": "ethernets: {enp0s3: {mtu: 5}}",
    "ethernets.enp0s3.nameservers.addresses[0]": """
        ethernets: {enp0s3: {nameservers: {addresses: [dns.example.org]}}}
    """,
    "ethernets.enp0s3.routes[0].type": """
        ethernets: {enp0s3: {routes: [{to: 10.0.0.0/8, via: 192.0.2.1, type: blackhole}]}}
    """,
    "ethernets.enp0s3.routes[0].from": """
        ethernets: {enp0s3: {routes: [{to: 10.0.0.0/8, via: 192.0.2.1, from: 192.0.2.9}]}}
    """,
    "ethernets.enp0s3.routes[0].via": "ethernets: {enp0s3: {routes: [{to: 10.0.0.0/8}]}}",
    "ethernets.enp0s4": """
        ethernets: {enp0s3: {dhcp4: true}, enp0s4: {dhcp4: true}}
        bonds: {bond0: {interfaces: [enp0s4]}}
    """,
    "bonds.bond0.parameters.nonsense": """
        ethernets: {enp0s3: {}}
        bonds: {bond0: {interfaces: [enp0s3], parameters: {nonsense: 1}}}
    """,
    "bonds.bond0.interfaces": "bonds: {bond0: {interfaces: []}}",
    "bonds.bond0.parameters.primary": """
        ethernets: {enp0s3: {}}
        bonds:
          bond0: {interfaces: [enp0s3], parameters: {mode: active-backup, primary: enp0s4}}
    """,
    "vlans.v.link": "vlans: {v: {id: 5, link: eth7}}",
    "vlans.v.id": "ethernets: {enp0s3: {}}\nvlans: {v: {id: 5000, link: enp0s3}}",
}


@pytest.mark.parametrize("key", REFUSED_2)
def test_version_2_names_what_is_left_out(key: str) -> None:
    network, problems = parse(version_2(REFUSED_2[key]))
    assert keys(problems) == [key]
    assert network.partial


def test_what_has_no_effect_is_a_warning() -> None:
    text = """
        renderer: networkd
        ethernets:
          lan:
            {match: {macaddress: "52:54:00:00:01:01"}, set-name: lan0, dhcp4: true, wakeonlan: true}
    """
    found, problems = facts(version_2(text))
    assert (list(found), keys(problems)) == (["enp0s3"], [])
    warned = ["renderer", "ethernets.lan.wakeonlan", "ethernets.lan"]
    assert keys(problems, "warning") == warned
    assert problems[-1].reason == "the NIC keeps its name enp0s3: NICs are not renamed"


def version_1(text: str) -> str:
    lines = "".join(f"  {line}\n" for line in dedent(text).strip().splitlines())
    return f"version: 1\nconfig:\n{lines}"


V4, V6 = "192.0.2.10/24", "2001:db8:1::10/64"
# Documents of version 1, and by hand what they say.
READ_1: dict[str, tuple[str, tuple[Link, ...]]] = {
    "DHCP": (
        f"- {{type: physical, name: eth0, mac_address: '{MAC}', subnets: [{{type: dhcp}}]}}",
        (link("enp0s3", dhcp4=True),),
    ),
    "DHCP by name": (
        "- {type: physical, name: enp0s4, mtu: 1400, subnets: [{type: dhcp4, control: auto}]}",
        (link("enp0s4", dhcp4=True, mtu=1400),),
    ),
    "IPv6": (
        """
        - {type: physical, name: enp0s3, subnets: [{type: dhcp6}]}
        - {type: physical, name: enp0s4, subnets: [{type: ipv6_dhcpv6-stateless}]}
        - {type: physical, name: enp0s5, subnets: [{type: ipv6_slaac}]}
        """,
        (
            link("enp0s3", dhcp6="stateful", accept_ra=True),
            link("enp0s4", dhcp6="stateless", accept_ra=True, metric=1074),
            link("enp0s5", dhcp6="slaac", accept_ra=True, metric=1174),
        ),
    ),
    "static": (
        """
        - type: physical
          name: enp0s3
          accept-ra: false
          subnets:
          - type: static
            address: 192.0.2.10
            netmask: 255.255.255.0
            broadcast: 192.0.2.255
            gateway: 192.0.2.1
            dns_nameservers: [192.0.2.53, 192.0.2.54]
            dns_search: example.org b.test
            routes:
            - {destination: 198.51.100.0, netmask: 255.255.255.0, gateway: 192.0.2.2, metric: 3}
            - {network: 10.0.0.0/8, gateway: 192.0.2.3}
          - {type: static6, address: "2001:db8:1::10/64", gateway: "2001:db8:1::1"}
        """,
        (
            link(
                "enp0s3",
                *(V4, V6),
                routes=(
                    route("0.0.0.0/0", "192.0.2.1"),
                    route("198.51.100.0/24", "192.0.2.2", 3),
                    route("10.0.0.0/8", "192.0.2.3"),
                    route("::/0", "2001:db8:1::1"),
                ),
                dns=("192.0.2.53", "192.0.2.54"),
                search=("example.org", "b.test"),
                accept_ra=False,
            ),
        ),
    ),
    "servers and routes of their own": (
        """
        - {type: nameserver, address: 192.0.2.53, search: [example.org]}
        - {type: nameserver, address: ["192.0.3.53"], interface: enp0s4}
        - {type: route, destination: 198.51.100.0/24, gateway: 192.0.3.1, metric: 7}
        - {type: physical, name: enp0s3, subnets: [{type: static, address: 192.0.2.10/24}]}
        - {type: physical, name: enp0s4, subnets: [{type: static, address: 192.0.3.10/24}]}
        """,
        (
            link("enp0s3", V4, dns=("192.0.2.53",), search=("example.org",)),
            link(
                "enp0s4",
                "192.0.3.10/24",
                routes=(route("198.51.100.0/24", "192.0.3.1", 7),),
                dns=("192.0.3.53", "192.0.2.53"),
                search=("example.org",),
            ),
        ),
    ),
    "a bond with a VLAN": (
        f"""
        - {{type: physical, name: eth0, mac_address: "{MAC}", subnets: [{{type: manual}}]}}
        - {{type: physical, name: enp0s4}}
        - type: bond
          name: bond7
          bond_interfaces: [eth0, enp0s4]
          mac_address: "52:54:00:00:07:07"
          params: {{bond-mode: 802.3ad, bond_miimon: 200, lacp_rate: fast}}
          subnets: [{{type: static, address: 192.0.2.10/24}}]
        - {{type: vlan, name: bond7.5, vlan_link: bond7, vlan_id: 5, subnets: [{{type: dhcp}}]}}
        - {{type: nameserver, address: 192.0.2.53}}
        """,
        (
            link("enp0s3"),
            link("enp0s4"),
            link(
                "bond7",
                V4,
                dns=("192.0.2.53",),
                mac="52:54:00:00:07:07",
                bond=bond("802.3ad", "enp0s3", "enp0s4", miimon=200, lacp_rate="fast"),
            ),
            link("bond7.5", dhcp4=True, vlan=Vlan("bond7", 5), dns=("192.0.2.53",)),
        ),
    ),
    "the loopback's servers": (
        """
        - {type: loopback, name: lo, subnets: [{type: loopback, dns_nameservers: 192.0.2.53}]}
        - {type: physical, name: enp0s3, subnets: [{type: static, address: 192.0.2.10/24}]}
        """,
        (link("enp0s3", V4, dns=("192.0.2.53",)),),
    ),
}


@pytest.mark.parametrize("title", READ_1)
def test_version_1_is_read(title: str) -> None:
    text, expected = READ_1[title]
    found, problems = facts(version_1(text))
    assert keys(problems) == []
    assert differences({item.name: item for item in expected}, found) == []
    indented = "".join(f"  {line}\n" for line in version_1(text).splitlines())
    assert facts(f"network:\n{indented}")[0] == found


ETH = "- {type: physical, name: enp0s3, subnets: [{type: dhcp}]}\n"
REFUSED_1 = {
    "config[1].type": ETH + "- {type: [physical], name: enp0s4}",
    "config[0].type": "- {type: bridge, name: br0, bridge_interfaces: [enp0s3]}",
    "config[0].name": "- {type: physical}",
    "config[0].mac_address": "- {type: physical, name: a, mac_address: 12:34:56:12:34:56}",
    "config[1].name": ETH + ETH,
    "config[0].wakeonlan": "- {type: physical, name: enp0s3, wakeonlan: true}",
    "config[0].subnets[0].type": "- {type: physical, name: enp0s3, subnets: [{type: magic}]}",
    "config[0].subnets[0].control": """
        - {type: physical, name: enp0s3, subnets: [{type: dhcp, control: manual}]}
    """,
    "config[0].subnets[0].address": """
        - {type: physical, name: enp0s3, subnets: [{type: static, address: 192.0.2.10}]}
    """,
    "config[0].subnets[0].gateway": """
        - type: physical
          name: enp0s3
          subnets: [{type: static, address: 192.0.2.10/24, gateway: "x; reboot"}]
    """,
    "config[0].subnets[0].pointopoint": """
        - {type: physical, name: enp0s3, subnets: [{type: dhcp, pointopoint: 192.0.2.1}]}
    """,
    "config[0].subnets[0].dns_nameservers[1]": """
        - type: physical
          name: enp0s3
          subnets: [{type: dhcp, dns_nameservers: [192.0.2.53, "192.0.2.300"]}]
    """,
    "config[0].subnets[0].routes[0].gateway": """
        - type: physical
          name: enp0s3
          subnets: [{type: dhcp, routes: [{destination: 10.0.0.0/8, gateway: x}]}]
    """,
    "config[1].params.mode": """
        - {type: physical, name: enp0s3}
        - {type: bond, name: bond0, bond_interfaces: [enp0s3], params: {mode: best}}
    """,
    "config[0].subnets": """
        - {type: physical, name: enp0s3, subnets: [{type: dhcp}]}
        - {type: bond, name: bond0, bond_interfaces: [enp0s3], subnets: [{type: dhcp}]}
    """,
    "config[1].vlan_link": ETH + "- {type: vlan, name: v, vlan_id: 5, vlan_link: other}",
    "config[1].gateway": ETH + "- {type: route, destination: 10.0.0.0/8, gateway: 192.0.2.1}",
    "config[1].interface": ETH + "- {type: nameserver, address: 192.0.2.53, interface: other}",
    "config[0]": "- physical",
}


@pytest.mark.parametrize("key", REFUSED_1)
def test_version_1_names_what_is_left_out(key: str) -> None:
    network, problems = parse(version_1(REFUSED_1[key]))
    assert keys(problems) == [key]
    assert network.partial


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", ""),
        ("- a list", ""),
        ("{", ""),
        ("version: 3\nethernets: {enp0s3: {dhcp4: true}}", "version"),
        ("ethernets: {enp0s3: {dhcp4: true}}", "version"),
        ("version: 1\nconfig: disabled", "config"),
        ("version: 1\nconfig: {type: physical}", "config"),
        ("network: []", "network"),
        ("version: 2\nethernets: []", "ethernets"),
        (f"a: &a [{'x, ' * 99}x]\nb: [{'*a, ' * 99}*a]\nc: 1", ""),
        ("{" * 50 + "}" * 50, ""),
    ],
)
def test_a_document_that_says_nothing_is_an_error(text: str, key: str) -> None:
    network, problems = parse(text)
    assert (network.interfaces, keys(problems)) == ((), [key])
    assert network.partial


def test_interfaces_without_end_are_bounded() -> None:
    many = "".join(
        f"- {{type: physical, name: e{n}, subnets: [{{type: dhcp}}]}}\n" for n in range(99)
    )
    network, problems = parse(version_1(many))
    assert len(network.interfaces) == 64
    assert set(keys(problems)) == {f"config[{n}].name" for n in range(64, 99)}
    group = ", ".join(f"e{n}: {{dhcp4: true}}" for n in range(99))
    network, problems = parse(version_2(f"ethernets: {{{group}}}"))
    assert len(network.interfaces) == 64
    assert len(keys(problems)) == 99 - 64
