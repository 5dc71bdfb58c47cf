"""What the tests of the network share: models, facts, hostile strings, grammars of outputs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from guestagent import stacks
from guestagent.desired.network import plan
from guestagent.errors import Origin, Problem, Problems
from guestagent.model import (
    Bond,
    Facts,
    InstanceData,
    Interface,
    Network,
    Nic,
    Route,
    Rule,
    Vlan,
)
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import Settings
from guestagent.stacks.rendered import RenderedFile

if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

ORIGIN = Origin("test", "network_data.json", "")
MAC, MAC2, MAC3 = MACS = tuple(f"52:54:00:00:01:0{number}" for number in (1, 2, 3))
LABEL, LABEL2, LABEL3 = LABELS = tuple(f"nic{mac.replace(':', '')}" for mac in MACS)
NICS = (Nic("enp0s3", MAC), Nic("enp0s4", MAC2), Nic("enp0s5", MAC3))

# security.md, section E.
HOSTILE = (
    *("\n", "\r", "\0", "]", "[X]", "#", ";", "=", "\\", "%", "$(id)", "`id`", " ", "'", '"'),
    *("\u2028", "x" * 300, "\ud800", "\t", "|| reboot", "%eth0", "١"),
)


def spoiled(good: str) -> list[str]:
    """Hostile variants of a good value: alone, before, after, and as a line of its own."""
    variants = [text for bad in HOSTILE for text in (bad, good + bad, bad + good)]
    return [*variants, f"{good}\n[Network]\nDHCP=yes", f"{good}\n    up id", f"{good}\\\nup id"]


def interface(**changes: Any) -> Interface:
    """Return an interface with one static IPv4 address; its id is the NIC's label."""
    base = Interface(
        mac=MAC,
        mtu=None,
        dhcp4=False,
        dhcp6="no",
        accept_ra=None,
        addresses=("192.0.2.5/24",),
        routes=(),
        dns=(),
        search=(),
        origin=ORIGIN,
        id=dict(zip(MACS, LABELS, strict=True)).get(changes.get("mac", MAC), LABEL),
    )
    return base._replace(**changes)


def member(mac: str, **changes: Any) -> Interface:
    """Return a NIC without a network, as the members of bonds are."""
    return interface(**({"mac": mac, "addresses": ()} | changes))


def bond(
    *members: str, mode: str = "active-backup", options: Any = (("miimon", "100"),), **changes: Any
) -> Interface:
    """Return a bond, by default bond0 of the first two NICs."""
    made = Bond(members or (LABEL, LABEL2), mode, tuple(options))
    return interface(**({"mac": "", "id": "bond0", "name": "bond0", "bond": made} | changes))


def vlan(parent: str = LABEL, tag: Any = 7, **changes: Any) -> Interface:
    """Return a VLAN, by default vlan7 on the first NIC."""
    name = f"vlan{tag}"
    given = {"mac": "", "id": name, "name": name, "vlan": Vlan(parent, tag)}
    return interface(**(given | changes))


def route(**changes: Any) -> Route:
    """Return a default route over 192.0.2.1, with other fields as given."""
    return Route("0.0.0.0/0", "192.0.2.1", None, False)._replace(**changes)


def network(*interfaces: Interface) -> Network:
    """Return a network of the interfaces."""
    return Network(interfaces, ORIGIN)


def rendered(stack: str, *interfaces: Interface) -> tuple[list[RenderedFile], list[Problem]]:
    """Return the files of a network stack, and what it cannot do."""
    problems = Problems()
    return stacks.renderer(stack)(interfaces, problems), problems.problems


def planned(
    data: Network | None, given: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """Return what is planned for a network, and what cannot be."""
    wanted = Wanted()
    plan(Ask(InstanceData(network=data), given, settings), wanted)
    return wanted.resources, wanted.problems


def facts(**changes: Any) -> Facts:
    """Return facts of a networkd guest with three NICs, with other fields as given."""
    base = Facts(
        live=True,
        os_id="debian",
        hostname=None,
        accounts=(),
        groups=(),
        nics=NICS,
        stack="networkd",
        resolver="resolved",
        sshd_dropins=True,
        programs=frozenset(),
    )
    return base._replace(**changes)


_BAD_DHCP6: tuple[object, ...] = (*HOSTILE, None, [])
_BAD_TABLES: tuple[Any, ...] = (0, 253, "101", True, 1.5)
_BAD_TAGS: tuple[Any, ...] = (0, 4095, "7", True, 7.0, None, *HOSTILE)
_BAD_OPTIONS: tuple[tuple[Any, Any], ...] = (
    *((name, "100") for name in HOSTILE),
    *(("miimon", value) for value in spoiled("100")),
    *(("arp_ip_target", value) for value in spoiled("192.0.2.1")),
    *(("miimon", 100), ("miimon", "0100"), ("xmit_hash_policy", "1"), ("lacp_rate", "fast")),
    *(("mode", "802.3ad"), ("arp_ip_target", "192.0.2.1, 192.0.2.2")),
)

# Every field of the model that holds text or a number, with values that must not pass.
BAD_FIELDS: list[tuple[str, Interface]] = [
    *((f"mac {bad!r:.20}", interface(mac=bad)) for bad in spoiled(MAC)),
    *((f"name {bad!r:.20}", interface(mac="", name=bad)) for bad in HOSTILE),
    *((f"address {b!r:.20}", interface(addresses=(b,))) for b in spoiled("192.0.2.5/24")),
    *((f"dns {bad!r:.20}", interface(dns=(bad,))) for bad in spoiled("192.0.2.53")),
    *((f"search {b!r:.20}", interface(search=(b,))) for b in HOSTILE),
    *((f"to {b!r:.20}", interface(routes=(route(destination=b),))) for b in spoiled("::/0")),
    *((f"via {b!r:.20}", interface(routes=(route(gateway=b),))) for b in spoiled("192.0.2.1")),
    *((f"metric {b!r:.20}", interface(routes=(route(metric=b),))) for b in ("1\n", -1, 2**32)),
    *((f"table {b!r:.20}", interface(routes=(route(table=b),))) for b in _BAD_TABLES),
    *((f"rule {b!r:.20}", interface(rules=(Rule(b, 101),))) for b in spoiled("192.0.2.5/32")),
    *((f"rule's {b!r}", interface(rules=(Rule("192.0.2.5/32", b),))) for b in _BAD_TABLES),
    *((f"own metric {b!r:.20}", interface(metric=b)) for b in ("1\n", -1, 2**32, True)),
    *((f"mtu {bad!r:.20}", interface(mtu=bad)) for bad in ("1500\n", 67, 65536, True, 1500.0)),
    *((f"dhcp4 {bad!r:.20}", interface(dhcp4=bad)) for bad in HOSTILE),
    *((f"dhcp6 {bad!r:.20}", interface(dhcp6=bad)) for bad in _BAD_DHCP6),
    *((f"accept_ra {bad!r:.20}", interface(accept_ra=bad)) for bad in HOSTILE),
    *((f"required {bad!r:.20}", interface(required=bad)) for bad in HOSTILE),
    *((f"link_local {bad!r:.20}", interface(link_local=bad)) for bad in HOSTILE),
    *((f"on_link {b!r:.20}", interface(routes=(route(on_link=b),))) for b in HOSTILE),
    ("no mac, no name", interface(mac="", name="")),
    ("upper-case mac", interface(mac="52:54:00:AA:BB:CC")),
    ("multicast mac", interface(mac="01:00:5e:00:00:01")),
    ("families of a route", interface(routes=(route(gateway="2001:db8::1"),))),
    ("host bits in a destination", interface(routes=(route(destination="10.1.2.3/8"),))),
    ("address without length", interface(addresses=("192.0.2.5",))),
    ("address not canonical", interface(addresses=("2001:DB8::5/64",))),
    ("address of another type", interface(addresses=(5,))),
    *((f"bond's mac {b!r:.20}", bond(LABEL2, mac=b)) for b in spoiled(MAC3)),
    *((f"bond's name {b!r:.20}", bond(LABEL2, name=b)) for b in HOSTILE),
    *((f"mode {bad!r:.20}", bond(LABEL2, mode=bad)) for bad in (*HOSTILE, "", "4", "bonded")),
    *((f"option {o!r:.40}", bond(LABEL2, options=(o,))) for o in _BAD_OPTIONS),
    *((f"tag {bad!r:.20}", vlan(LABEL2, bad, name="vlan7")) for bad in _BAD_TAGS),
    *((f"vlan's mac {b!r:.20}", vlan(LABEL2, mac=b)) for b in spoiled(MAC3)),
]

# The same for fields that planning fills with labels of its own.
BAD_LABELS: list[tuple[str, Interface]] = [
    *((f"id {bad!r:.20}", interface(id=bad)) for bad in HOSTILE),
    *((f"member {bad!r:.20}", bond(LABEL, bad)) for bad in HOSTILE),
    *((f"parent {bad!r:.20}", vlan(bad)) for bad in HOSTILE),
    *((f"primary {b!r:.20}", bond(options=(("primary", b),))) for b in HOSTILE),
    ("no members", bond()._replace(bond=Bond((), "active-backup", ()))),
    ("no name for a bond", bond(name="", mac=MAC3)),
    ("no name for a VLAN", vlan(name="", mac=MAC3)),
]

_WORD = r"[0-9A-Za-z.:/_-]+"
_IP = r"[0-9a-f.:]+"
_MAC = r"([0-9a-f]{2}:){5}[0-9a-f]{2}"
NETWORKD_LINE = re.compile(
    rf"""|\#\ Written\ by\ guestagent;\ settings\ of\ your\ own\ belong\ in
     \ a\ drop-in\ of\ this\ file\.
    |\[(Match|Link|Network|Route|RoutingPolicyRule|DHCPv4|DHCPv6|IPv6AcceptRA|NetDev|Bond|VLAN)\]
    |PermanentMACAddress={_MAC}|MACAddress={_MAC}|Kind=(!\*|bond|vlan)|(Name|Bond|VLAN)={_WORD}
    |MTUBytes=\d+|UseMTU=yes|UseDomains=yes|RequiredForOnline=no|DHCP=(no|yes|ipv4|ipv6)
    |(IPv6AcceptRA|LinkLocalAddressing)=(yes|no)
    |(Address|Destination|From)={_IP}/\d+|(DNS|Gateway)={_IP}|Domains={_WORD}(\ {_WORD})*
    |GatewayOnLink=yes|(Metric|RouteMetric|Table|Priority|Id)=\d+|DHCPv6Client=(no|yes|always)
    |PrimarySlave=yes|Mode={_WORD}|(ARPInterval|DownDelay|MIIMonitor|UpDelay)Sec=\d+ms
    |(AdActorSystemPriority|AdUserPortKey|GratuitousARP|LearnPacketIntervalSec)=\d+
    |(MinLinks|PacketsPerSlave|ResendIGMP)=\d+|ARPIPTargets={_IP}(\ {_IP})*
    |(AllSlavesActive|DynamicTransmitLoadBalancing)=(yes|no)|AdActorSystem={_MAC}
    |(AdSelect|ARPAllTargets|ARPValidate|FailOverMACPolicy|LACPTransmitRate)=[a-z]+
    |PrimaryReselectPolicy=[a-z]+|TransmitHashPolicy=[a-z0-9+]+""",
    re.VERBOSE,
)
RESOLV_LINE = re.compile(rf"|\# Written by guestagent\.|nameserver {_IP}|search {_WORD}( {_WORD})*")

WAIT_ONLINE_LINE = re.compile(
    rf"""|\#\ Written\ by\ guestagent:\ network-online\.target\ is\ reached\ with\ one\ of\ these\.
    |GUESTAGENT_WAIT_ONLINE=--any\ --operational-state=routable(\ --interface={_WORD})+""",
    re.VERBOSE,
)


def strange_lines(text: str, grammar: re.Pattern[str]) -> list[str]:
    """Return the lines of an output that are none of those which guestagent writes."""
    return [line for line in text.split("\n") if not grammar.fullmatch(line)]


NETWORKD_STEM = "/etc/systemd/network/10-guestagent-"
NETWORKD_HEADER = (
    "# Written by guestagent; settings of your own belong in a drop-in of this file.\n"
)


def networkd_files(*interfaces: Interface) -> dict[str, str]:
    """File name → text below the header."""
    found = {}
    for path, text, _, _ in rendered("networkd", *interfaces)[0]:
        assert (path[: len(NETWORKD_STEM)], text[: len(NETWORKD_HEADER)]) == (
            NETWORKD_STEM,
            NETWORKD_HEADER,
        )
        found[path[len(NETWORKD_STEM) :]] = text[len(NETWORKD_HEADER) :]
    return found
