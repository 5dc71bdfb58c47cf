"""Interfaces as systemd.network(5) and systemd.netdev(5) files, for systemd 252 and later."""

from __future__ import annotations

from guestagent import defs
from guestagent.stacks.check import check
from guestagent.stacks.rendered import RULE_PRIORITY, UNKNOWN_TO_SYSTEMD, Rendered, section

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Origin
    from guestagent.model import Bond, Interface, Route

    Pairs = list[tuple[str, str]]

MODE = 0o644
_HEADER = "# Written by guestagent; settings of your own belong in a drop-in of this file.\n"
_DHCP6_CLIENT = {"slaac": "no", "stateless": "yes", "stateful": "always"}
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


def render(interfaces: Sequence[Interface]) -> Rendered:
    """A .network file for each interface, a .netdev file too for each bond and VLAN.

    FieldError: a value does not fit.
    """
    files = []
    lost: list[tuple[Origin, str]] = []
    for interface in interfaces:
        stem = f"{defs.NETWORKD_DIR}/10-guestagent-{check(interface).id}"
        if interface.stacked:
            files.append((f"{stem}.netdev", _netdev(interface), interface.origin))
            lost += _lost(interface)
        files.append((f"{stem}.network", _network_file(interface, interfaces), interface.origin))
    return Rendered(tuple(files), tuple(lost))


def _netdev(interface: Interface) -> str:
    kind = "bond" if interface.bond else "vlan"
    pairs = [("Name", interface.name), ("Kind", kind)]
    if interface.mac:
        pairs.append(("MACAddress", interface.mac))
    if interface.bond:
        inner = section("Bond", _bond(interface.bond))
    else:
        assert interface.vlan is not None
        inner = section("VLAN", [("Id", str(interface.vlan.tag))])
    return _HEADER + section("NetDev", pairs) + inner


def _bond(bond: Bond) -> Pairs:
    pairs = [("Mode", bond.mode)]
    for name, value in bond.options:
        if name not in _BOND_KEYS or value in UNKNOWN_TO_SYSTEMD:
            continue
        if name in _MILLISECONDS:
            value += "ms"
        elif name in _SWITCHES:
            value = "yes" if value == "1" else "no"
        pairs.append((_BOND_KEYS[name], value.replace(",", " ")))
    return pairs


def _lost(interface: Interface) -> list[tuple[Origin, str]]:
    options = interface.bond.options if interface.bond else ()
    reason = "systemd-networkd cannot set the bonding option {} to this value; it is left out"
    return [
        (interface.origin, reason.format(name))
        for name, value in options
        if value in UNKNOWN_TO_SYSTEMD
    ]


def _network_file(interface: Interface, others: Sequence[Interface]) -> str:
    sections = [
        section("Match", _match(interface)),
        section("Link", _link(interface)),
        section("Network", [*_network(interface), *_joined(interface, others)]),
        *(section("Route", _route(route)) for route in interface.routes),
        *(
            section(
                "RoutingPolicyRule",
                [
                    ("From", rule.source),
                    ("Table", str(rule.table)),
                    ("Priority", str(RULE_PRIORITY)),
                ],
            )
            for rule in interface.rules
        ),
        *_protocols(interface),
    ]
    return _HEADER + "".join(sections)


def _match(interface: Interface) -> Pairs:
    """The NIC itself, not what is stacked on it under the same address.

    The permanent address stays when a bond or an administrator sets another; emulated,
    virtio and SR-IOV devices all report it.  Only stacked devices have a kind.
    """
    if interface.mac and not interface.stacked:
        return [("PermanentMACAddress", interface.mac), ("Kind", "!*")]
    return [("Name", interface.name)]


def _link(interface: Interface) -> Pairs:
    pairs = [] if interface.mtu is None else [("MTUBytes", str(interface.mtu))]
    dynamic = interface.dhcp4 or interface.dhcp6 != "no" or interface.accept_ra
    if not interface.required or not (interface.addresses or dynamic):
        pairs.append(("RequiredForOnline", "no"))
    return pairs


def _network(interface: Interface) -> Pairs:
    dhcp6 = interface.dhcp6 == "stateful"
    dhcp = ("ipv4" if interface.dhcp4 else "no", "yes" if interface.dhcp4 else "ipv6")[dhcp6]
    pairs = [("DHCP", dhcp)]
    if interface.link_local:
        pairs.append(("LinkLocalAddressing", "yes"))
    if interface.accept_ra is not None:
        pairs.append(("IPv6AcceptRA", _yes_no(interface.accept_ra)))
    pairs += [("Address", address) for address in interface.addresses]
    pairs += [("DNS", server) for server in interface.dns]
    if interface.search:
        pairs.append(("Domains", " ".join(interface.search)))
    return pairs


def _joined(interface: Interface, others: Sequence[Interface]) -> Pairs:
    """The bond that the interface belongs to, and the VLANs on it."""
    pairs = []
    for other in others:
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


def _protocols(interface: Interface) -> list[str]:
    """The sections of the protocols in use.

    ``always`` asks for an address by DHCPv6 as soon as there is a router, whether or not its
    M flag says so; ``yes`` does what the flags say; ``no`` stays with the router alone.
    """
    metric = [] if interface.metric is None else [("RouteMetric", str(interface.metric))]
    advertised = list(metric) if interface.accept_ra else []
    if interface.dhcp6 in _DHCP6_CLIENT:
        advertised.insert(0, ("DHCPv6Client", _DHCP6_CLIENT[interface.dhcp6]))
    return [
        section("DHCPv4", metric if interface.dhcp4 else []),
        section("IPv6AcceptRA", advertised),
    ]


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
