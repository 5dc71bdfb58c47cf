"""What the tests of the network share: models, facts, hostile strings, grammars of outputs."""

from __future__ import annotations

import re
from typing import Any

from guestagent.model import Facts, Interface, Network, Nic, Origin, Route

ORIGIN = Origin("test", "network_data.json", "")
MAC = "52:54:00:aa:bb:cc"
MAC2 = "52:54:00:aa:bb:cd"
NICS = (Nic("eth0", MAC), Nic("eth1", MAC2))

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
    """An interface with one static IPv4 address, changed as told."""
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
    )
    return base._replace(**changes)


def route(**changes: Any) -> Route:
    """A default route over 192.0.2.1, changed as told."""
    return Route("0.0.0.0/0", "192.0.2.1", None, False)._replace(**changes)


def network(*interfaces: Interface) -> Network:
    return Network(interfaces, ORIGIN)


def facts(**changes: Any) -> Facts:
    """A running networkd guest with two NICs and systemd-resolved, changed as told."""
    base = Facts(
        live=True,
        os_id="debian",
        hostname=None,
        accounts=(),
        groups=(),
        nics=NICS,
        backend="networkd",
        resolver="resolved",
        sshd_dropins=True,
        programs=frozenset(),
    )
    return base._replace(**changes)


_BAD_DHCP6: tuple[object, ...] = (*HOSTILE, None, [])

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
    *((f"mtu {bad!r:.20}", interface(mtu=bad)) for bad in ("1500\n", 67, 65536, True, 1500.0)),
    *((f"dhcp6 {bad!r:.20}", interface(dhcp6=bad)) for bad in _BAD_DHCP6),
    *((f"accept_ra {bad!r:.20}", interface(accept_ra=bad)) for bad in HOSTILE),
    *((f"on_link {b!r:.20}", interface(routes=(route(on_link=b),))) for b in HOSTILE),
    ("no mac, no name", interface(mac="", name="")),
    ("upper-case mac", interface(mac=MAC.upper())),
    ("multicast mac", interface(mac="01:00:5e:00:00:01")),
    ("families of a route", interface(routes=(route(gateway="2001:db8::1"),))),
    ("host bits in a destination", interface(routes=(route(destination="10.1.2.3/8"),))),
    ("address without length", interface(addresses=("192.0.2.5",))),
    ("address not canonical", interface(addresses=("2001:DB8::5/64",))),
    ("address of another type", interface(addresses=(5,))),
]

_WORD = r"[0-9A-Za-z.:/_-]+"
_IP = r"[0-9a-f.:]+"
NETWORKD_LINE = re.compile(
    rf"""|\#\ Written\ by\ guestagent;\ settings\ of\ your\ own\ belong\ in
     \ a\ drop-in\ of\ this\ file\.
    |\[(Match|Link|Network|Route|DHCPv4|IPv6AcceptRA)\]
    |PermanentMACAddress=([0-9a-f]{{2}}:){{5}}[0-9a-f]{{2}}|Kind=!\*|Name={_WORD}
    |MTUBytes=\d+|RequiredForOnline=no|DHCP=(no|yes|ipv4|ipv6)|IPv6AcceptRA=(yes|no)
    |(Address|Destination)={_IP}/\d+|(DNS|Gateway)={_IP}|Domains={_WORD}(\ {_WORD})*
    |GatewayOnLink=yes|(Metric|RouteMetric)=\d+|DHCPv6Client=(no|yes|always)""",
    re.VERBOSE,
)
IFUPDOWN_LINE = re.compile(
    rf"""|\#\ Written\ by\ guestagent;\ settings\ of\ your\ own\ belong\ in\ another\ file\.
    |auto\ {_WORD}|auto\ mac/[0-9a-f:]{{17}}/1=guestagent\d+
    |iface\ {_WORD}\ inet\ (static|dhcp|manual)|iface\ {_WORD}\ inet6\ (static|dhcp|auto|manual)
    |\ {{4}}address\ {_IP}/\d+|\ {{4}}(accept_ra|autoconf|dhcp)\ [012]
    |\ {{4}}pre-up\ ip\ link\ set\ dev\ "\$IFACE"\ mtu\ \d+\ \|\|\ true
    |\ {{4}}up\ ip\ -[46]\ route\ replace\ {_IP}/\d+(\ via\ {_IP})?\ dev\ "\$IFACE"(\ onlink)?
     (\ metric\ \d+)?\ \|\|\ true
    |\ {{4}}dns-(nameservers|search)(\ {_WORD})+""",
    re.VERBOSE,
)
RESOLV_LINE = re.compile(rf"|\# Written by guestagent\.|nameserver {_IP}|search {_WORD}( {_WORD})*")


def strange_lines(text: str, grammar: re.Pattern[str]) -> list[str]:
    """The lines of an output that are none of those which guestagent writes."""
    return [line for line in text.split("\n") if not grammar.fullmatch(line)]
