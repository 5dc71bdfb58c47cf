"""Render all interfaces as one file of netplan, netplan(5), for version 0.106 and later.

The file says what both of netplan's back ends, systemd-networkd and NetworkManager, understand
alike, but for one setting, and leaves the choice to the guest.  No NIC is renamed.  NICs are known
by labels, bonds and VLANs by their names.

Wherever router advertisements are accepted the file says ``dhcp6: true``, which does what their
M and O flags say.  Without it NetworkManager would not configure IPv6 at all, and
``route-metric`` would not apply to the routes that routers advertise.  Netplan can neither
require DHCPv6 nor do without it.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.network.address import KERNEL_METRICS, family
from guestagent.stacks.check import check
from guestagent.stacks.rendered import (
    LOWEST_PRIORITY,
    RULE_PRIORITY,
    UNKNOWN_TO_SYSTEMD,
    RenderedFile,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Problems
    from guestagent.model import Bond, Interface, Route, Rule

    Mapping = dict[str, object]

_MODE = 0o600
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
# Options for which netplan treats 0 as "not given"; the driver's default is 1.
_NEVER_ZERO = ("num_grat_arp", "packets_per_slave", "resend_igmp")
# Netplan writes higher metrics as negative numbers, and treats the highest of all as none.
_HIGHEST_METRIC = 2**31 - 1
_NO_FAMILY = (
    "netplan accepts DNS servers only of an address family that the interface has addresses of;"
    " the others are ignored"
)
# How labels of NICs begin that the source does not name: any definition of the image's wins.
_LAST = "zz-"
# The same where netplan writes for NetworkManager, which does not go by names of files; see there.
_BEHIND_OTHERS: Mapping = {
    "passthrough": {"connection.autoconnect-priority": LOWEST_PRIORITY},
}
# Where an interface should be named, netplan takes this word for a setting.
_RESERVED_NAME = "renderer"


def render(interfaces: Sequence[Interface], problems: Problems) -> list[RenderedFile]:
    """Return the file, if there is an interface; note what netplan cannot do as problems.

    Raises FieldError for a value that does not fit.
    """
    return _render(interfaces, problems, more={})


def render_for_networkmanager(
    interfaces: Sequence[Interface], problems: Problems
) -> list[RenderedFile]:
    """Do the same where netplan writes for NetworkManager.

    Where it writes for networkd, it would refuse the whole file.
    """
    return _render(interfaces, problems, more={"networkmanager": _BEHIND_OTHERS})


def _render(
    interfaces: Sequence[Interface], problems: Problems, *, more: Mapping
) -> list[RenderedFile]:
    """Return the file; NICs that the source does not name have ``more`` settings."""
    if not interfaces:
        return []
    kinds: dict[str, Mapping] = {}
    for interface in interfaces:
        if check(interface).id == _RESERVED_NAME:
            raise FieldError("the interface has a name that netplan reserves for itself")
        of_kind = kinds.setdefault(_kind(interface), {})
        # The first file that matches wins, also of those that netplan makes, by their names.
        label = f"{_LAST}{interface.id}" if interface.unnamed else interface.id
        of_kind[_quote(label)] = _interface(interface) | (more if interface.unnamed else {})
        _report_losses(interface, problems)
    lines = _lines({"network": {"version": 2, **kinds}})
    text = _HEADER + "\n".join(lines) + "\n"
    return [RenderedFile(defs.NETPLAN_FILE, text, _MODE, interfaces[0].origin)]


def _kind(interface: Interface) -> str:
    if interface.bond:
        return "bonds"
    return "vlans" if interface.vlan else "ethernets"


def _lines(mapping: Mapping, indent: str = "") -> list[str]:
    """Return a mapping as lines of YAML: in block style, but sequences of strings in flow style."""
    lines = []
    for key, value in mapping.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, f"{indent}  ")]
        elif not isinstance(value, list):
            lines.append(f"{indent}{key}: {_scalar(value)}")
        elif all(isinstance(item, str) for item in value):
            items = ", ".join(_scalar(item) for item in value)
            lines.append(f"{indent}{key}: [{items}]")
        else:
            lines.append(f"{indent}{key}:")
            for item in value:
                lines += _list_item(item, f"{indent}  ")
    return lines


def _list_item(mapping: Mapping, indent: str) -> list[str]:
    first, *rest = _lines(mapping, f"{indent}  ")
    return [f"{indent}- {first.strip()}", *rest]


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quote(str(value))


def _quote(text: str) -> str:
    """Return a double-quoted scalar.  Raises FieldError for text that would need escapes in it."""
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        raise FieldError("the interface has a value that the file cannot hold")
    return f'"{text}"'


def _interface(interface: Interface) -> Mapping:
    described = {**_device(interface), **_link(interface), **_protocols(interface)}
    if interface.addresses:
        described["addresses"] = list(interface.addresses)
    if interface.routes:
        described["routes"] = [_route(route) for route in interface.routes]
    if interface.rules:
        described["routing-policy"] = [_rule(rule) for rule in interface.rules]
    nameservers = _nameservers(interface)
    if nameservers:
        described["nameservers"] = nameservers
    return described


def _device(interface: Interface) -> Mapping:
    """Return which NIC the interface is, or what the bond or VLAN is made of."""
    if interface.bond:
        members = list(interface.bond.members)
        return {"interfaces": members, "parameters": _parameters(interface.bond)}
    if interface.vlan:
        return {"id": interface.vlan.tag, "link": interface.vlan.parent}
    if interface.mac and not interface.infiniband:
        return {"match": {"macaddress": interface.mac}}
    return {"match": {"name": interface.name}}


def _link(interface: Interface) -> Mapping:
    described: Mapping = {}
    if interface.stacked and interface.mac:
        described["macaddress"] = interface.mac
    if interface.mtu is not None:
        described["mtu"] = interface.mtu
    gets_address = interface.addresses or interface.dhcp4 or interface.accept_ra
    if not interface.required or not gets_address:
        described["optional"] = True
    return described


def _protocols(interface: Interface) -> Mapping:
    described: Mapping = {}
    if interface.dhcp4:
        described["dhcp4"] = True
    if interface.link_local:
        described["link-local"] = ["ipv4", "ipv6"]
    if interface.accept_ra:
        described["dhcp6"] = True
        # The address that clouds expect, and the only one that networkd makes.
        described["ipv6-address-generation"] = "eui64"
    if interface.accept_ra is not None:
        described["accept-ra"] = interface.accept_ra
    # networkd would not take the search domains by itself, as NetworkManager does.  Netplan has
    # networkd take the MTU, where none is given.
    overrides: Mapping = {"use-domains": True}
    if interface.metric is not None:
        overrides["route-metric"] = interface.metric
    # netplan refuses different values for the two protocols where it writes for networkd.
    for protocol in ("dhcp4", "dhcp6"):
        if protocol in described:
            described[f"{protocol}-overrides"] = dict(overrides)
    return described


def _route(route: Route) -> Mapping:
    described: Mapping = {"to": route.destination}
    if route.gateway:
        described["via"] = route.gateway
    else:
        described["scope"] = "link"
    if route.on_link:
        described["on-link"] = True
    # Always written out: NetworkManager would choose another default.
    if route.metric is None:
        described["metric"] = KERNEL_METRICS[family(route.destination)]
    else:
        described["metric"] = min(route.metric, _HIGHEST_METRIC)
    if route.table is not None:
        described["table"] = route.table
    return described


def _rule(rule: Rule) -> Mapping:
    return {"from": rule.source, "table": rule.table, "priority": RULE_PRIORITY}


def _nameservers(interface: Interface) -> Mapping:
    nameservers: Mapping = {}
    addresses = [server for server in interface.dns if _accepts_server(interface, server)]
    if addresses:
        nameservers["addresses"] = addresses
    if interface.search:
        nameservers["search"] = list(interface.search)
    return nameservers


def _accepts_server(interface: Interface, server: str) -> bool:
    """Tell whether a DNS server is of an address family that the interface has addresses of.

    NetworkManager refuses the whole profile that netplan writes for it otherwise.
    """
    version = family(server)
    is_dynamic = interface.dhcp4 if version == 4 else interface.accept_ra
    return bool(is_dynamic) or any(family(address) == version for address in interface.addresses)


def _parameters(bond: Bond) -> Mapping:
    """Return the options of a bond; times have no unit, which means that of the driver."""
    parameters: Mapping = {"mode": bond.mode}
    for name, value in bond.options:
        if not _can_set(name, value):
            continue
        if name == "arp_ip_target":
            parameters[_PARAMETERS[name]] = value.split(",")
        elif name == "all_slaves_active":
            parameters[_PARAMETERS[name]] = value == "1"
        else:
            parameters[_PARAMETERS[name]] = value
    return parameters


def _can_set(name: str, value: str) -> bool:
    if name in _NEVER_ZERO and value == "0":
        return False
    return name in _PARAMETERS and value not in UNKNOWN_TO_SYSTEMD


def _report_losses(interface: Interface, problems: Problems) -> None:
    """Note what the source asks for and netplan cannot do."""
    for name, value in interface.bond.options if interface.bond else ():
        if not _can_set(name, value):
            reason = f"netplan does not support bonding option {name}, or not this value; ignored"
            problems.warn(interface.origin, reason)
    if not all(_accepts_server(interface, server) for server in interface.dns):
        problems.warn(interface.origin, _NO_FAMILY)
