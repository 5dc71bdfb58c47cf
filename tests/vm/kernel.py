"""What the kernel and the resolver of a guest have, and what they should have for a case.

Both are the same records, so that they can be compared fact by fact.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from network.facts import KERNEL_METRICS, MAIN_TABLE, Bond, Link, Rule, Vlan, family

# One round trip for all. With -N ip(8) prints tables and protocols as numbers.
LOOK = """
echo @links; ip -j -d address
echo @routes4; ip -j -4 -N route show table all
echo @routes6; ip -j -6 -N route show table all
echo @rules4; ip -j -4 -N rule
echo @rules6; ip -j -6 -N rule
echo @bonds; grep -s . /sys/class/net/*/bonding/*
echo @dns; resolvectl dns
echo @search; resolvectl domain
"""
_LOCAL_TABLE = 255
_OWN_PRIORITIES = (0, 32766, 32767)
_BOOT, _RA, _DHCP = 3, 9, 16  # rtnetlink(7), rt_protos
_DEFAULT = {4: "0.0.0.0/0", 6: "::/0"}


class Route(NamedTuple):
    """A route of the kernel; ``metric`` None is any."""

    destination: str
    gateway: str
    metric: int | None
    table: int = MAIN_TABLE


class Learnt(NamedTuple):
    """What DHCP and router advertisements bring.

    ``addresses`` are leases, and the prefixes of addresses that a router's prefix gave.  What
    a router said in an earlier case may be ``stale``: it is valid until its time is up.
    """

    addresses: frozenset[str] = frozenset()
    routes: frozenset[Route] = frozenset()
    dns: frozenset[str] = frozenset()
    stale: frozenset[str | Route] = frozenset()


class State(NamedTuple):
    """One interface.  ``subnets`` are the on-link routes that its static addresses bring."""

    up: bool = True
    addresses: frozenset[str] = frozenset()
    subnets: frozenset[str] = frozenset()
    routes: frozenset[Route] = frozenset()
    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    mtu: int | None = None
    mac: str = ""
    bond: Bond | None = None
    vlan: Vlan | None = None
    learnt: Learnt = Learnt()


class Kernel(NamedTuple):
    """All of a guest's network that is of interest here."""

    links: dict[str, State]
    rules: frozenset[Rule]


def expected(links: Mapping[str, Link], learnt: Mapping[str, Learnt]) -> Kernel:
    """The state that the links of a case lead to, given what each of them learns."""
    rules = frozenset(rule for link in links.values() for rule in link.rules)
    states = {name: _expected(link, learnt.get(name, Learnt())) for name, link in links.items()}
    return Kernel(states, rules)


def _expected(link: Link, learnt: Learnt) -> State:
    routes = (Route(r.destination, r.gateway, r.metric, r.table) for r in link.routes)
    return State(
        addresses=link.addresses,
        subnets=_subnets(link.addresses),
        routes=frozenset(routes),
        dns=link.dns,
        search=link.search,
        mtu=link.mtu,
        mac=link.mac,
        bond=link.bond,
        vlan=link.vlan,
        learnt=learnt,
    )


def _subnets(addresses: Iterable[str]) -> frozenset[str]:
    networks = (ipaddress.ip_interface(address).network for address in addresses)
    return frozenset(str(network) for network in networks if network.num_addresses > 1)


def observed(text: str, wanted: Kernel) -> Kernel:
    """The state by what ``LOOK`` printed, without facts of which `wanted` says nothing.

    Besides the links of `wanted` these are all bonds and VLANs.
    """
    return _Look(text, wanted).kernel()


class _Look:
    def __init__(self, text: str, wanted: Kernel) -> None:
        self.wanted = wanted
        self.parts: dict[str, str] = {}
        for line in text.splitlines(keepends=True):
            if line.startswith("@"):
                part = line[1:].strip()
                self.parts[part] = ""
            else:
                self.parts[part] += line
        links: list[dict[str, Any]] = [one for one in self.json("links") if one]
        self.links = {link["ifname"]: link for link in links}

    def json(self, part: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.parts[part] or "[]")
        return found

    def kernel(self) -> Kernel:
        states = {
            name: self.state(link, self.wanted.links.get(name, State()))
            for name, link in self.links.items()
            if name in self.wanted.links or _kind(link) in ("bond", "vlan")
        }
        rules = (
            Rule(f"{rule['src']}/{rule.get('srclen', 32 if number == 4 else 128)}", rule["table"])
            for number in (4, 6)
            for rule in self.json(f"rules{number}")
            if rule["priority"] not in _OWN_PRIORITIES
        )
        return Kernel(states, frozenset(Rule(rule.source, int(rule.table)) for rule in rules))

    def state(self, link: dict[str, Any], wanted: State) -> State:
        name = link["ifname"]
        addresses, leases = _addresses(link)
        routes = _Routes(self.routes(name), addresses, wanted)
        dns, search = self.resolver("dns", name), self.resolver("search", name)
        stale = wanted.learnt.stale
        learnt = Learnt(
            leases - (stale - wanted.learnt.addresses),
            routes.learnt,
            frozenset(dns) & wanted.learnt.dns,
            stale,
        )
        return State(
            up="UP" in link["flags"],
            addresses=addresses,
            subnets=routes.subnets,
            routes=routes.static,
            dns=tuple(server for server in dns if server not in learnt.dns | stale),
            search=tuple(search),
            mtu=None if wanted.mtu is None else link["mtu"],
            mac=link["address"] if wanted.mac else "",
            bond=self.bond(name, wanted.bond) if _kind(link) == "bond" else None,
            vlan=Vlan(link["link"], link["linkinfo"]["info_data"]["id"])
            if _kind(link) == "vlan"
            else None,
            learnt=learnt,
        )

    def routes(self, name: str) -> list[tuple[Route, int]]:
        """The unicast routes of an interface, each with its protocol's number."""
        found = []
        for number in (4, 6):
            for route in self.json(f"routes{number}"):
                for hop in route.get("nexthops", [route]):
                    if hop.get("dev") == name and _is_unicast(route):
                        found.append(
                            (_route(route | hop, number), int(route.get("protocol", _BOOT)))
                        )
        return found

    def bond(self, name: str, wanted: Bond | None) -> Bond:
        """The bond as sysfs has it, of its options those that are wanted."""
        values = {}
        for line in self.parts["bonds"].splitlines():
            path, _, value = line.partition(":")
            *_, device, _, option = path.split("/")
            if device == name:
                values[option] = value
        options = {}
        for option, _ in wanted.options if wanted else ():
            value = values.get(option, "")
            # A number follows each name: "fast 1".
            options[option] = ",".join(value.split()) if "ip" in option else value.split(" ")[0]
        members = frozenset(
            other for other, link in self.links.items() if link.get("master") == name
        )
        return Bond(values.get("mode", "").split(" ")[0], members, frozenset(options.items()))

    def resolver(self, part: str, name: str) -> list[str]:
        """What resolvectl(1) says of an interface: lines like ``Link 2 (enp0s3): a b``."""
        for line in self.parts[part].splitlines():
            head, _, rest = line.partition(":")
            if head.endswith(f"({name})"):
                return [word for word in rest.split() if word != "~."]
        return []


def _kind(link: dict[str, Any]) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", ""))


def _addresses(link: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """The static addresses, and what dynamic ones are reduced to."""
    static: set[str] = set()
    leases: set[str] = set()
    for found in link["addr_info"]:
        if found["scope"] == "link" or found.get("temporary"):
            continue
        address = f"{found['local']}/{found['prefixlen']}"
        if not found.get("dynamic"):
            static.add(address)
        elif found["family"] == "inet6" and found["prefixlen"] == 64:
            leases |= _subnets([address])
        else:
            leases.add(address)
    return frozenset(static), frozenset(leases)


def _is_unicast(route: dict[str, Any]) -> bool:
    kind = route.get("type", "unicast")
    local = int(route.get("table", MAIN_TABLE)) == _LOCAL_TABLE
    return kind in ("unicast", "1") and not local and route["dst"] not in ("fe80::/64", "ff00::/8")


def _route(route: dict[str, Any], number: int) -> Route:
    destination = route["dst"]
    if destination == "default":
        destination = _DEFAULT[number]
    elif "/" not in destination:
        destination += "/32" if number == 4 else "/128"
    gateway = route.get("gateway", "")
    table = int(route.get("table", MAIN_TABLE))
    metric = route.get("metric", KERNEL_METRICS[4])
    return Route(destination, gateway, metric, table)


class _Routes:
    """Routes, told apart by where they come from."""

    def __init__(
        self, routes: Iterable[tuple[Route, int]], addresses: frozenset[str], wanted: State
    ) -> None:
        static, learnt, subnets = set(), set(), set()
        own = _subnets(addresses)
        # The kernel's for a host address; another way to say that a gateway is on the link.
        hosts = (*(a.partition("/")[0] for a in addresses), *(r.gateway for r in wanted.routes))
        passed_over = {
            *(f"{host}/{32 if family(host) == 4 else 128}" for host in hosts),
            *_subnets(wanted.learnt.addresses),
            *wanted.learnt.stale,
        }
        to_learn = {(r.destination, r.gateway): r.metric for r in wanted.learnt.routes}
        for route, protocol in routes:
            key = (route.destination, route.gateway)
            main_link = not route.gateway and route.table == MAIN_TABLE
            if route in wanted.routes:
                static.add(route)
            elif key in to_learn and route.table == MAIN_TABLE:
                any_metric = to_learn[key] is None
                learnt.add(route._replace(metric=None) if any_metric else route)
            elif main_link and route.destination in own:
                subnets.add(route.destination)
            elif (main_link and route.destination in passed_over) or (
                route._replace(metric=None) in wanted.learnt.stale
            ):
                continue
            elif protocol not in (_RA, _DHCP) or route.destination.endswith("/0"):
                static.add(route)
        self.static, self.learnt = frozenset(static), frozenset(learnt)
        self.subnets = frozenset(subnets)


def differences(wanted: Kernel, found: Kernel) -> list[str]:
    """One line for each fact that is not as wanted."""
    lines = [f"{name}: is not there" for name in wanted.links.keys() - found.links.keys()]
    lines += [f"{name}: should not be there" for name in found.links.keys() - wanted.links.keys()]
    for name in sorted(wanted.links.keys() & found.links.keys()):
        lines += _compare(name, wanted.links[name], found.links[name])
    if wanted.rules != found.rules:
        lines.append(_line("rules", wanted.rules, found.rules))
    return lines


def _compare(name: str, wanted: Any, found: Any) -> list[str]:
    lines = []
    for field, want, got in zip(wanted._fields, wanted, found, strict=True):
        if isinstance(want, Learnt):
            lines += _compare(f"{name} learnt", want, got)
        elif want != got:
            lines.append(_line(f"{name} {field}", want, got))
    return lines


def _line(fact: str, wanted: object, found: object) -> str:
    if isinstance(wanted, frozenset) and isinstance(found, frozenset):
        missing, extra = (
            ", ".join(sorted(map(_shown, s))) for s in (wanted - found, found - wanted)
        )
        return f"{fact}: missing {{{missing}}}, not wanted {{{extra}}}"
    return f"{fact}: should be {_shown(wanted)}, is {_shown(found)}"


def _shown(value: object) -> str:
    if isinstance(value, Route):
        table = f" table {value.table}" if value.table != MAIN_TABLE else ""
        return f"{value.destination} via {value.gateway or 'link'} metric {value.metric}{table}"
    return repr(value)
