"""Render interfaces as systemd.network(5) and systemd.netdev(5) files, from systemd 252 on."""

from __future__ import annotations

from guestagent import defs
from guestagent.stacks.check import check
from guestagent.stacks.rendered import RULE_PRIORITY, UNKNOWN_TO_SYSTEMD, RenderedFile, section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Problems
    from guestagent.model import Bond, Interface, Route, Rule

    Pairs = list[tuple[str, str]]

_MODE = 0o644
_HEADER = "# Written by guestagent; settings of your own belong in a drop-in of this file.\n"
# DHCPv6Client=: "always" asks for an address as soon as a router is found, whether or not its
# M flag says so; "yes" does what the flags say; "no" does without DHCPv6.
_DHCP6_CLIENT = {"slaac": "no", "stateless": "yes", "stateful": "always"}
# Search domains of a lease or a router are not taken unless this is said; DNS servers, routes, time
# servers and the host name are.
_TAKE_DOMAINS = ("UseDomains", "yes")
_BOND_KEYS = {
    "ad_actor_sys_prio": "AdActorSystemPriority",
    "ad_actor_system": "AdActorSystem",
    "ad_select": "AdSelect",
    "ad_user_port_key": "AdUserPortKey",
    "all_slaves_active": "AllSlavesActive",
    "arp_all_targets": "ARPAllTargets",
    "arp_interval": "ARPIntervalSec",
    "arp_ip_target": "ARPIPTargets",
    "arp_validate": "ARPValidate",
    "downdelay": "DownDelaySec",
    "fail_over_mac": "FailOverMACPolicy",
    "lacp_rate": "LACPTransmitRate",
    "lp_interval": "LearnPacketIntervalSec",
    "miimon": "MIIMonitorSec",
    "min_links": "MinLinks",
    "num_grat_arp": "GratuitousARP",
    "packets_per_slave": "PacketsPerSlave",
    "primary_reselect": "PrimaryReselectPolicy",
    "resend_igmp": "ResendIGMP",
    "tlb_dynamic_lb": "DynamicTransmitLoadBalancing",
    "updelay": "UpDelaySec",
    "xmit_hash_policy": "TransmitHashPolicy",
}
_MILLISECONDS = ("arp_interval", "downdelay", "miimon", "updelay")
_SWITCHES = ("all_slaves_active", "tlb_dynamic_lb")


def render(interfaces: Sequence[Interface], problems: Problems) -> list[RenderedFile]:
    """Return a .network file for each interface, and a .netdev file for each bond and VLAN.

    Note what networkd cannot do as problems.  Raises FieldError for a value that does not fit.
    """
    files = []
    stacked = [interface for interface in interfaces if interface.stacked]
    for interface in interfaces:
        start = defs.NETWORK_STACK_FILES["networkd"]
        if interface.unnamed:
            start = defs.NETWORKD_LAST_FILES
        stem = start + check(interface).id
        if interface.stacked:
            text = _netdev_file(interface, problems)
            files.append(RenderedFile(f"{stem}.netdev", text, _MODE, interface.origin))
        text = _network_file(interface, stacked)
        files.append(RenderedFile(f"{stem}.network", text, _MODE, interface.origin))
    return files


def _netdev_file(interface: Interface, problems: Problems) -> str:
    pairs = [("Name", interface.name), ("Kind", "bond" if interface.bond else "vlan")]
    if interface.mac:
        pairs.append(("MACAddress", interface.mac))
    text = _HEADER + section("NetDev", pairs)
    if interface.bond:
        text += section("Bond", _bond(interface, interface.bond, problems))
    if interface.vlan:
        text += section("VLAN", [("Id", str(interface.vlan.tag))])
    return text


def _bond(interface: Interface, bond: Bond, problems: Problems) -> Pairs:
    pairs = [("Mode", bond.mode)]
    for name, value in bond.options:
        if value in UNKNOWN_TO_SYSTEMD:
            reason = f"networkd does not support this value of bonding option {name}; ignored"
            problems.warn(interface.origin, reason)
        elif name in _BOND_KEYS:  # the primary member is named in its own file
            pairs.append((_BOND_KEYS[name], _bond_value(name, value)))
    return pairs


def _bond_value(name: str, value: str) -> str:
    if name in _MILLISECONDS:
        return f"{value}ms"
    if name in _SWITCHES:
        return "yes" if value == "1" else "no"
    return value.replace(",", " ")


def _network_file(interface: Interface, stacked: Sequence[Interface]) -> str:
    sections = [
        section("Match", _match(interface)),
        section("Link", _link(interface)),
        section("Network", [*_network(interface), *_stacking(interface, stacked)]),
    ]
    for route in interface.routes:
        sections.append(section("Route", _route(route)))
    for rule in interface.rules:
        sections.append(section("RoutingPolicyRule", _rule(rule)))
    sections.append(section("DHCPv4", _dhcpv4(interface)))
    sections.append(section("DHCPv6", _dhcpv6(interface)))
    sections.append(section("IPv6AcceptRA", _ipv6_accept_ra(interface)))
    return _HEADER + "".join(sections)


def _match(interface: Interface) -> Pairs:
    if interface.mac and not interface.stacked and not interface.infiniband:
        # The permanent address stays when a bond or an administrator sets another.  Emulated,
        # virtio and SR-IOV devices all report it.  What is stacked on a NIC may show the same
        # address, but has a kind, which NICs do not have.
        return [("PermanentMACAddress", interface.mac), ("Kind", "!*")]
    return [("Name", interface.name)]


def _link(interface: Interface) -> Pairs:
    pairs = []
    if interface.mtu is not None:
        pairs.append(("MTUBytes", str(interface.mtu)))
    dynamic = interface.dhcp4 or interface.dhcp6 != "no" or interface.accept_ra
    gets_address = interface.addresses or dynamic
    if not interface.required or not gets_address:
        pairs.append(("RequiredForOnline", "no"))
    return pairs


def _network(interface: Interface) -> Pairs:
    pairs = [("DHCP", _dhcp(interface))]
    if interface.link_local:
        pairs.append(("LinkLocalAddressing", "yes"))
    if interface.accept_ra is not None:
        pairs.append(("IPv6AcceptRA", _yes_no(interface.accept_ra)))
    for address in interface.addresses:
        pairs.append(("Address", address))
    for server in interface.dns:
        pairs.append(("DNS", server))
    if interface.search:
        pairs.append(("Domains", " ".join(interface.search)))
    return pairs


def _dhcp(interface: Interface) -> str:
    if interface.dhcp6 == "stateful":
        return "yes" if interface.dhcp4 else "ipv6"
    return "ipv4" if interface.dhcp4 else "no"


def _stacking(interface: Interface, stacked: Sequence[Interface]) -> Pairs:
    """Name the bond that the interface is a member of, and the VLANs on it."""
    pairs = []
    for other in stacked:
        if other.bond and interface.id in other.bond.members:
            pairs.append(("Bond", other.name))
            if ("primary", interface.id) in other.bond.options:
                pairs.append(("PrimarySlave", "yes"))
        if other.vlan and other.vlan.parent == interface.id:
            pairs.append(("VLAN", other.name))
    return pairs


def _route(route: Route) -> Pairs:
    pairs = [("Destination", route.destination)]
    if route.gateway:
        pairs.append(("Gateway", route.gateway))
    if route.on_link:
        pairs.append(("GatewayOnLink", "yes"))
    if route.metric is not None:
        pairs.append(("Metric", str(route.metric)))
    if route.table is not None:
        pairs.append(("Table", str(route.table)))
    return pairs


def _rule(rule: Rule) -> Pairs:
    return [
        ("From", rule.source),
        ("Table", str(rule.table)),
        ("Priority", str(RULE_PRIORITY)),
    ]


def _dhcpv4(interface: Interface) -> Pairs:
    if not interface.dhcp4:
        return []
    pairs = _route_metric(interface)
    if interface.mtu is None:
        # The MTU of a tunnel is told by DHCP alone.  The other stacks take it without a word.
        pairs.append(("UseMTU", "yes"))
    pairs.append(_TAKE_DOMAINS)
    return pairs


def _dhcpv6(interface: Interface) -> Pairs:
    may_ask = interface.accept_ra and interface.dhcp6 != "slaac"
    return [_TAKE_DOMAINS] if may_ask else []


def _ipv6_accept_ra(interface: Interface) -> Pairs:
    pairs = []
    if interface.dhcp6 in _DHCP6_CLIENT:
        pairs.append(("DHCPv6Client", _DHCP6_CLIENT[interface.dhcp6]))
    if interface.accept_ra:
        pairs += _route_metric(interface)
        pairs.append(_TAKE_DOMAINS)
    return pairs


def _route_metric(interface: Interface) -> Pairs:
    return [] if interface.metric is None else [("RouteMetric", str(interface.metric))]


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
