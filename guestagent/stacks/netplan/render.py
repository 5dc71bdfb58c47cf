"""All interfaces as one file of netplan, netplan(5), for version 0.106 and later.

The file says what both of netplan's back ends, systemd-networkd and NetworkManager, understand
alike, and leaves the choice to the guest.  No NIC is renamed.  NICs are known by labels, bonds
and VLANs by their names.

Wherever routers are heeded there is ``dhcp6: true``: it does what their M and O flags say.
Without it NetworkManager would not ask for IPv6 at all, and ``route-metric`` would not be
had for the routes that they advertise.  Netplan cannot insist on DHCPv6, nor do without.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.network.address import KERNEL_METRICS, family
from guestagent.stacks.check import check
from guestagent.stacks.rendered import RULE_PRIORITY, UNKNOWN_TO_SYSTEMD, Rendered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Origin
    from guestagent.model import Bond, Interface, Route

    Mapping = dict[str, object]

MODE = 0o600
_HEADER = "# Written by guestagent; settings of your own belong in a file whose name sorts later.\n"
_PARAMETERS = {
    "ad_select": "ad-select",
    "all_slaves_active": "all-slaves-active",
    "arp_all_targets": "arp-all-targets",
    "arp_interval": "arp-interval",
    "arp_ip_target": "arp-ip-targets",
    "arp_validate": "arp-validate",
    "downdelay": "down-delay",
    "fail_over_mac": "fail-over-mac-policy",
    "lacp_rate": "lacp-rate",
    "lp_interval": "learn-packet-interval",
    "miimon": "mii-monitor-interval",
    "min_links": "min-links",
    "num_grat_arp": "gratuitous-arp",
    "packets_per_slave": "packets-per-slave",
    "primary": "primary",
    "primary_reselect": "primary-reselect-policy",
    "resend_igmp": "resend-igmp",
    "updelay": "up-delay",
    "xmit_hash_policy": "transmit-hash-policy",
}
# Options whose value 0 netplan takes for "not given", which to the driver means 1.
_NEVER_ZERO = ("num_grat_arp", "packets_per_slave", "resend_igmp")
# Netplan writes higher ones as negative numbers, and takes the highest for none.
_HIGHEST_METRIC = 2**31 - 1
_NO_FAMILY = (
    "netplan takes DNS servers only of a family in which it gives the interface addresses;"
    " the others are left out"
)
# What netplan takes for a setting where an interface should be named.
_NO_NAME = "renderer"


def render(interfaces: Sequence[Interface]) -> Rendered:
    """The file.  FieldError: a value does not fit."""
    kinds: dict[str, Mapping] = {}
    lost: list[tuple[Origin, str]] = []
    for interface in interfaces:
        if check(interface).id == _NO_NAME:
            raise FieldError("the interface has a name that netplan keeps for itself")
        kind = "bonds" if interface.bond else "vlans" if interface.vlan else "ethernets"
        kinds.setdefault(kind, {})[_quoted(interface.id)] = _interface(interface)
        lost += _lost(interface)
    if not interfaces:
        return Rendered(())
    lines = _lines({"network": {"version": 2, **kinds}})
    text = _HEADER + "\n".join(lines) + "\n"
    return Rendered(((defs.NETPLAN_FILE, text, interfaces[0].origin),), tuple(lost))


def _lines(mapping: Mapping, indent: str = "") -> list[str]:
    """A mapping as YAML in block style, sequences of scalars in flow style."""
    lines = []
    for key, value in mapping.items():
        inner = f"{indent}  "
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, inner)]
        elif not isinstance(value, list):
            lines.append(f"{indent}{key}: {_scalar(value)}")
        elif all(isinstance(item, str) for item in value):
            lines.append(f"{indent}{key}: [{', '.join(_scalar(item) for item in value)}]")
        else:
            lines.append(f"{indent}{key}:")
            for item in value:
                first, *rest = _lines(item, f"{inner}  ")
                lines += [f"{inner}- {first.strip()}", *rest]
    return lines


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quoted(str(value))


def _quoted(text: str) -> str:
    """A double-quoted scalar, of text that needs no escapes in it."""
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        raise FieldError("the interface has a value that cannot stand in the file")
    return f'"{text}"'


def _interface(interface: Interface) -> Mapping:
    described = {**_kind(interface), **_link(interface), **_protocols(interface)}
    if interface.addresses:
        described["addresses"] = list(interface.addresses)
    if interface.routes:
        described["routes"] = [_route(route) for route in interface.routes]
    if interface.rules:
        described["routing-policy"] = [
            {"from": rule.source, "table": rule.table, "priority": RULE_PRIORITY}
            for rule in interface.rules
        ]
    servers: Mapping = {}
    if addresses := [server for server in interface.dns if _takes(interface, server)]:
        servers["addresses"] = addresses
    if interface.search:
        servers["search"] = list(interface.search)
    if servers:
        described["nameservers"] = servers
    return described


def _kind(interface: Interface) -> Mapping:
    """What the interface is, or which one."""
    if interface.bond:
        members = list(interface.bond.members)
        return {"interfaces": members, "parameters": _parameters(interface.bond)}
    if interface.vlan:
        return {"id": interface.vlan.tag, "link": interface.vlan.parent}
    return {"match": {"macaddress": interface.mac} if interface.mac else {"name": interface.name}}


def _link(interface: Interface) -> Mapping:
    described: Mapping = {}
    if interface.stacked and interface.mac:
        described["macaddress"] = interface.mac
    if interface.mtu is not None:
        described["mtu"] = interface.mtu
    if not interface.required or not (interface.addresses or _dynamic(interface)):
        described["optional"] = True
    return described


def _takes(interface: Interface, server: str) -> bool:
    """Whether a DNS server is of a family of the interface.

    NetworkManager refuses the whole profile that netplan writes for it otherwise.
    """
    version = family(server)
    dynamic = interface.dhcp4 if version == 4 else interface.accept_ra
    return bool(dynamic) or any(family(address) == version for address in interface.addresses)


def _dynamic(interface: Interface) -> bool:
    return interface.dhcp4 or bool(interface.accept_ra)


def _protocols(interface: Interface) -> Mapping:
    described: Mapping = {}
    if interface.dhcp4:
        described["dhcp4"] = True
    if interface.link_local:
        described["link-local"] = ["ipv4", "ipv6"]
    if interface.accept_ra:
        # The address that a cloud expects; networkd makes no other.
        described.update({"dhcp6": True, "ipv6-address-generation": "eui64"})
    if interface.accept_ra is not None:
        described["accept-ra"] = interface.accept_ra
    if interface.metric is not None:
        # Both or none: networkd's side of netplan insists on it.
        for protocol in ("dhcp4", "dhcp6"):
            if protocol in described:
                described[f"{protocol}-overrides"] = {"route-metric": interface.metric}
    return described


def _route(route: Route) -> Mapping:
    described: Mapping = {"to": route.destination}
    if route.gateway:
        described["via"] = route.gateway
    else:
        described["scope"] = "link"
    if route.on_link:
        described["on-link"] = True
    # Said in any case: NetworkManager would choose one of its own.
    default = KERNEL_METRICS[family(route.destination)]
    described["metric"] = default if route.metric is None else min(route.metric, _HIGHEST_METRIC)
    if route.table is not None:
        described["table"] = route.table
    return described


def _parameters(bond: Bond) -> Mapping:
    """Options of a bond; times without a unit are in that of the driver."""
    described: Mapping = {"mode": bond.mode}
    for name, value in bond.options:
        if _known(name, value):
            several = name == "arp_ip_target"
            switch = name == "all_slaves_active"
            described[_PARAMETERS[name]] = (
                value.split(",") if several else value == "1" if switch else value
            )
    return described


def _known(name: str, value: str) -> bool:
    zero = name in _NEVER_ZERO and value == "0"
    return name in _PARAMETERS and value not in UNKNOWN_TO_SYSTEMD and not zero


def _lost(interface: Interface) -> list[tuple[Origin, str]]:
    options = interface.bond.options if interface.bond else ()
    reason = "netplan cannot set the bonding option {}, or not to this value; it is left out"
    lost = [reason.format(name) for name, value in options if not _known(name, value)]
    if not all(_takes(interface, server) for server in interface.dns):
        lost.append(_NO_FAMILY)
    return [(interface.origin, reason) for reason in lost]
