"""Facts from systemd.network(5) and systemd.netdev(5) files: ours, and those of netplan.

It knows only what these two write, and refuses everything else.  That networkd itself agrees with
the words is for ``networkd_daemon`` to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .case import MACS, NAMES
from .facts import MAIN_TABLE, Bond, Dhcp6, Link, Route, Rule, Vlan, family, route

Section = tuple[str, tuple[tuple[str, str], ...]]

_KNOWN = {
    "Match": {"PermanentMACAddress", "Kind", "Name"},
    "Link": {"MTUBytes", "RequiredForOnline", "MACAddress"},
    "Network": {
        *("DHCP", "IPv6AcceptRA", "Address", "DNS", "Domains", "Bond", "VLAN", "PrimarySlave"),
        *("LinkLocalAddressing", "ConfigureWithoutCarrier", "Gateway"),
    },
    "Route": {"Destination", "Gateway", "GatewayOnLink", "Metric", "Table", "Scope"},
    "RoutingPolicyRule": {"From", "Table", "Priority"},
    "DHCPv4": {"RouteMetric", "UseMTU", "UseDomains"},
    "DHCP": {"RouteMetric", "UseMTU", "UseDomains"},
    "DHCPv6": {"UseDomains"},
    "IPv6AcceptRA": {"DHCPv6Client", "RouteMetric", "UseMTU", "UseDomains"},
    "NetDev": {"Name", "Kind", "MACAddress", "MTUBytes"},
    "VLAN": {"Id"},
}
# systemd.netdev(5), section [Bond], against the kernel's bonding.rst.
_BOND = {
    "AdActorSystem": "ad_actor_system",
    "AdActorSystemPriority": "ad_actor_sys_prio",
    "AdSelect": "ad_select",
    "AdUserPortKey": "ad_user_port_key",
    "AllSlavesActive": "all_slaves_active",
    "ARPAllTargets": "arp_all_targets",
    "ARPIntervalSec": "arp_interval",
    "ARPIPTargets": "arp_ip_target",
    "ARPValidate": "arp_validate",
    "DownDelaySec": "downdelay",
    "DynamicTransmitLoadBalancing": "tlb_dynamic_lb",
    "FailOverMACPolicy": "fail_over_mac",
    "GratuitousARP": "num_grat_arp",
    "LACPTransmitRate": "lacp_rate",
    "LearnPacketIntervalSec": "lp_interval",
    "MIIMonitorSec": "miimon",
    "MinLinks": "min_links",
    "PacketsPerSlave": "packets_per_slave",
    "PrimaryReselectPolicy": "primary_reselect",
    "ResendIGMP": "resend_igmp",
    "TransmitHashPolicy": "xmit_hash_policy",
    "UpDelaySec": "updelay",
}
_MILLISECONDS = {"ARPIntervalSec", "DownDelaySec", "MIIMonitorSec", "UpDelaySec"}
_SWITCHES = {"AllSlavesActive", "DynamicTransmitLoadBalancing"}
_YES_NO = {
    **dict.fromkeys(("yes", "true", "1", "on"), True),
    **dict.fromkeys(("no", "false", "0", "off"), False),
}


class Unread(AssertionError):
    """A file says something that the reader does not know."""


class Unit(NamedTuple):
    """One file: its sections in their order."""

    path: str
    sections: tuple[Section, ...]

    def all(self, section: str, key: str) -> list[str]:
        """Every value of a key."""
        return [v for name, pairs in self.sections if name == section for k, v in pairs if k == key]

    def one(self, section: str, key: str) -> str | None:
        """Return the value of a key that may be given once."""
        values = self.all(section, key)
        if len(values) > 1:
            raise Unread(f"{self.path}: {key} is given more than once")
        return values[0] if values else None


def links(files: dict[str, str]) -> dict[str, Link]:
    """Return the links that files of networkd describe, by path."""
    # .link files are udev's; netplan repeats the MTU there.
    units = [_unit(path, text) for path, text in sorted(files.items()) if path[-5:] != ".link"]
    devices = {_must(unit.one("NetDev", "Name")): unit for unit in units if _is(unit, ".netdev")}
    networks: dict[str, Unit] = {}
    for unit in units:
        if _is(unit, ".network") and networks.setdefault(_target(unit), unit) is not unit:
            raise Unread(f"{unit.path}: another file is for the same interface")
    if missing := devices.keys() - networks.keys():
        raise Unread(f"no .network file for {missing}")
    return {name: _link(name, unit, devices, networks) for name, unit in networks.items()}


def _is(unit: Unit, suffix: str) -> bool:
    return unit.path.endswith(suffix)


def _unit(path: str, text: str) -> Unit:
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            sections.append((line.strip("[]"), []))
            continue
        key, equals, value = line.partition("=")
        name = sections[-1][0]
        known = _BOND.keys() | {"Mode"} if name == "Bond" else _KNOWN.get(name, set())
        if not equals or key not in known:
            raise Unread(f"{path}: unknown in [{name}]: {line}")
        sections[-1][1].append((key, value))
    return Unit(path, tuple((name, tuple(pairs)) for name, pairs in sections))


def _must(value: str | None) -> str:
    if value is None:
        raise Unread("a key is missing")
    return value


def _target(unit: Unit) -> str:
    """Return the one interface that a .network file is for."""
    mac = unit.one("Match", "PermanentMACAddress")
    name = unit.one("Match", "Name")
    if mac is not None:
        return NAMES[MACS.index(mac)]
    if name is None or "*" in name:
        raise Unread(f"{unit.path}: matches more than one interface")
    return name


def _link(name: str, unit: Unit, devices: dict[str, Unit], networks: dict[str, Unit]) -> Link:
    device = devices.get(name)
    mtu = unit.one("Link", "MTUBytes") or (device and device.one("NetDev", "MTUBytes"))
    dhcp = unit.one("Network", "DHCP") or "no"
    accept_ra = unit.one("Network", "IPv6AcceptRA")
    dhcp4 = dhcp in ("ipv4", "yes", "true")
    return Link(
        name=name,
        addresses=frozenset(unit.all("Network", "Address")),
        routes=frozenset(_routes(unit)),
        rules=frozenset(_rules(unit)),
        dns=tuple(word for value in unit.all("Network", "DNS") for word in value.split()),
        search=tuple(word for value in unit.all("Network", "Domains") for word in value.split()),
        mtu=int(mtu) if mtu else None,
        dhcp4=dhcp4,
        dhcp6=_dhcp6(unit, dhcp, accept_ra),
        accept_ra=None if accept_ra is None else _YES_NO[accept_ra],
        metric=_metric(unit, dhcp4, accept_ra is not None and _YES_NO[accept_ra]),
        bond=_bond(name, device, networks),
        vlan=_vlan(name, device, networks),
        mac=(device.one("NetDev", "MACAddress") if device else None) or "",
        required=_YES_NO[unit.one("Link", "RequiredForOnline") or "yes"],
    )


def _dhcp6(unit: Unit, dhcp: str, accept_ra: str | None) -> Dhcp6:
    """Return how DHCPv6 is used; ``always`` does not wait for the flags of a router."""
    client = unit.one("IPv6AcceptRA", "DHCPv6Client")
    wanted = dhcp in ("ipv6", "yes", "true")
    if accept_ra is None or not _YES_NO[accept_ra]:
        if wanted or client:
            raise Unread(f"{unit.path}: DHCPv6 without routers")
        return "no"
    if wanted:
        return "stateful" if client == "always" else "slaac"
    return {None: "no", "no": "slaac", "yes": "stateless"}[client]  # type: ignore[return-value]


def _metric(unit: Unit, dhcp4: bool, advertised: bool) -> int | None:
    """Return the metric of dynamic routes: one number however they are learnt.

    The old section [DHCP] is used where the others have no value.
    """
    both = unit.one("DHCP", "RouteMetric")
    found = set()
    if dhcp4:
        found.add(unit.one("DHCPv4", "RouteMetric") or both)
    if advertised:
        found.add(unit.one("IPv6AcceptRA", "RouteMetric") or both)
    if len(found) > 1:
        raise Unread(f"{unit.path}: metrics of dynamic routes differ")
    value = found.pop() if found else None
    return None if value is None else int(value)


def _routes(unit: Unit) -> Iterator[Route]:
    for gateway in unit.all("Network", "Gateway"):
        yield route("::/0" if family(gateway) == 6 else "0.0.0.0/0", gateway)
    for section, pairs in unit.sections:
        if section != "Route":
            continue
        values = dict(pairs)
        metric = values.get("Metric")
        destination = values["Destination"]
        if "/" not in destination:  # an address alone
            destination += "/128" if family(destination) == 6 else "/32"
        yield route(
            destination,
            values.get("Gateway", ""),
            None if metric is None else int(metric),
            on_link=_YES_NO[values.get("GatewayOnLink", "no")],
            table=int(values.get("Table", MAIN_TABLE)),
        )


def _rules(unit: Unit) -> Iterator[Rule]:
    for section, pairs in unit.sections:
        if section == "RoutingPolicyRule":
            values = dict(pairs)
            # Between the kernel's rules for its local and its main table.
            assert 0 < int(values["Priority"]) < 32766
            yield Rule(values["From"], int(values["Table"]))


def _bond(name: str, device: Unit | None, networks: dict[str, Unit]) -> Bond | None:
    if device is None or device.one("NetDev", "Kind") != "bond":
        return None
    members = {m: unit for m, unit in networks.items() if unit.one("Network", "Bond") == name}
    pairs = [pair for section, found in device.sections if section == "Bond" for pair in found]
    options = {_BOND[key]: _value(key, value) for key, value in pairs if key != "Mode"}
    for member, unit in members.items():
        if _YES_NO[unit.one("Network", "PrimarySlave") or "no"]:
            options["primary"] = member
    mode = _must(device.one("Bond", "Mode"))
    return Bond(mode, frozenset(members), frozenset(options.items()))


def _value(key: str, value: str) -> str:
    if key in _MILLISECONDS:
        number, unit = value.removesuffix("ms"), "ms" if value.endswith("ms") else "s"
        return number if unit == "ms" else str(1000 * int(number.removesuffix("s")))
    if key in _SWITCHES:
        return str(int(_YES_NO[value]))
    return value.replace(" ", ",")


def _vlan(name: str, device: Unit | None, networks: dict[str, Unit]) -> Vlan | None:
    if device is None or device.one("NetDev", "Kind") != "vlan":
        return None
    parents = [p for p, unit in networks.items() if name in unit.all("Network", "VLAN")]
    if len(parents) != 1:
        raise Unread(f"{device.path}: is on {parents}")
    return Vlan(parents[0], int(_must(device.one("VLAN", "Id"))))
