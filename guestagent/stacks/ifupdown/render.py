"""All interfaces as one interfaces(5) file, for Debian's ifupdown and for ifupdown-ng.

Each interface is one block with one ``manual`` stanza, which ip(8) and the DHCP client fill: the
methods ``static`` and ``dhcp`` stop at the first command that fails (an address that is there
already), know one client for IPv6, and may wait for a DHCPv6 server without end.  So ifup(8) can
run again at any time (``--force``), and a line that fails spoils only itself.

A line that sets something is followed by those that undo it: ``down`` at once, ``post-down`` what
can wait until new settings are in place.  ``guestagent.stacks.ifupdown.reload`` goes by that.

The file is read only where /etc/network/interfaces sources its directory, as Debian's does.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.network.address import KERNEL_METRICS, family
from guestagent.stacks.check import check
from guestagent.stacks.rendered import RULE_PRIORITY, Rendered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.model import Bond, Interface, Route, Rule

MODE = 0o644
PATH = f"{defs.IFUPDOWN_DIR}/50-guestagent"

_HEADER = "# Written by guestagent; settings of your own belong in another file.\n"
_SELF = '"$IFACE"'
# Where the clients keep their process ids: dhclient as ifupdown would start it, dhcpcd, udhcpc.
_PIDS = {
    4: "/run/dhclient.$IFACE.pid /run/dhcpcd/$IFACE-4.pid /run/udhcpc.$IFACE.pid",
    6: "/run/dhclient6.$IFACE.pid /run/dhcpcd/$IFACE-6.pid",
}
_LEASES = {
    4: f"{defs.DHCLIENT_DIR}/dhclient.$IFACE.leases",
    6: f"{defs.DHCLIENT_DIR}/dhclient6.$IFACE.leases",
}
_NO_LINK_LOCAL = "ifupdown chooses no 169.254/16 address; DHCP and IPv6 have to do"
# Values of bonding options that ip(8) does not know; the driver's own files take them.
_UNKNOWN_VALUES = ("filter", "filter_active", "filter_backup")
# Neither services nor DHCPv6 can use an address while it is tentative: 2 s by RFC 4862.
_SETTLE = (
    "up for second in 1 2 3 4 5 6; do"
    f" ip -6 -o addr show dev {_SELF} tentative | grep -q . || break; sleep 1; done || true"
)


def render(interfaces: Sequence[Interface]) -> Rendered:
    """The one file, if there is an interface.  FieldError: a value does not fit.

    A NIC with a name gets its stanza under it.  One with a MAC address only (an offline tree) is
    found by a pattern, which ifupdown-ng does not have, and its label is a logical name.
    """
    text = "".join(_block(check(interface), interfaces) for interface in interfaces)
    files = tuple((PATH, _HEADER + text, first.origin) for first in interfaces[:1])
    alone = (interface.origin for interface in interfaces if interface.link_local)
    return Rendered(files, tuple((origin, _NO_LINK_LOCAL) for origin in alone))


def _block(interface: Interface, others: Sequence[Interface]) -> str:
    name = auto = interface.name
    if not name:
        name = interface.id
        # The first NIC with that address: what is stacked on it later has the same.
        auto = f"mac/{interface.mac}/1={name}"
    lines = [f"auto {auto}", f"iface {name} inet manual"]
    lines += [f"    {option}" for option in _options(interface, others)]
    for line in lines:
        if not (line.isascii() and line.isprintable()) or line.endswith("\\"):
            raise FieldError("a line holds a character that cannot stand in the file")
    return "\n" + "\n".join(lines) + "\n"


def _options(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """The lines of the stanza; what waits for a server comes last."""
    fixed6, dhcp6 = _fixed(interface, 6), _dhcp6(interface)
    if fixed6 or dhcp6:
        # dhclient begins with removing the permanent addresses.
        fixed6 = [*dhcp6, *fixed6, _SETTLE]
    last = [*_dhcp4(interface), *fixed6] if dhcp6 else [*fixed6, *_dhcp4(interface)]
    return [
        *_made(interface, others),
        *_joined(interface, others),
        *_mtu(interface),
        *_advertisements(interface),
        *_vlans(interface, others),
        *_fixed(interface, 4),
        *last,
        *_dns(interface),
    ]


def _made(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """What makes a bond or a VLAN, unless it is there, and removes it."""
    name, bond, vlan = interface.name, interface.bond, interface.vlan
    if bond:
        return [
            _make_bond(interface, bond),
            f"down ip link del dev {name} || true",
            *(
                f"pre-up echo {value} >{defs.NET_DIR}/{name}/bonding/{option} || true"
                for option, value in bond.options
                if value in _UNKNOWN_VALUES
            ),
        ]
    parent = next((other.name for other in others if vlan and other.id == vlan.parent), "")
    if not parent:
        return []
    return [
        f"pre-up ip link set dev {parent} up || true",
        f"pre-up {_make_vlan(interface, parent)}",
        f"down ip link del dev {name} || true",
    ]


def _make_bond(interface: Interface, bond: Bond) -> str:
    """The line for the bond and for each member: whichever comes first makes the bond.

    The driver may make one of that name, in another mode, by itself: that one is changed.
    """
    options = [("mode", bond.mode), *bond.options]
    words = [f"address {interface.mac} type bond" if interface.mac else "type bond"]
    words += [
        f"{option} {value}"
        for option, value in options
        if option != "primary" and value not in _UNKNOWN_VALUES
    ]
    name, rest = interface.name, " ".join(words)
    return (
        f"pre-up grep -qs '^{bond.mode} ' {defs.NET_DIR}/{name}/bonding/mode"
        f" || ip link add name {name} {rest} || ip link set dev {name} {rest} || true"
    )


def _make_vlan(interface: Interface, parent: str) -> str:
    assert interface.vlan is not None
    address = f" address {interface.mac}" if interface.mac else ""
    return (
        f"[ -e {defs.NET_DIR}/{interface.name} ] || ip link add link {parent}"
        f" name {interface.name}{address} type vlan id {interface.vlan.tag} || true"
    )


def _vlans(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """What makes the VLANs on a NIC whose name only ifup will know."""
    if interface.name:
        return []
    stacked = [other for other in others if other.vlan and other.vlan.parent == interface.id]
    return [f"up {_make_vlan(vlan, _SELF)}" for vlan in stacked]


def _joined(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """What makes a NIC a member of its bond; the driver takes none that is up."""
    lines = []
    for other in others:
        if other.bond is None or interface.id not in other.bond.members:
            continue
        name = other.name
        lines += [
            _make_bond(other, other.bond),
            f"pre-up [ -e {defs.NET_DIR}/{name}/lower_$IFACE ] || {{ ip link set dev {_SELF} down;"
            f" ip link set dev {_SELF} master {name}; }} || true",
            f"down ip link set dev {_SELF} nomaster || true",
        ]
        if ("primary", interface.id) in other.bond.options:
            lines.append(f"pre-up ip link set dev {name} type bond primary {_SELF} || true")
            lines.append(f"down echo >{defs.NET_DIR}/{name}/bonding/primary || true")
    return lines


def _mtu(interface: Interface) -> list[str]:
    if interface.mtu is None:
        return []
    return [f"pre-up ip link set dev {_SELF} mtu {interface.mtu} || true"]


def _advertisements(interface: Interface) -> list[str]:
    """How the kernel takes router advertisements: 2 is also where it forwards."""
    if interface.accept_ra is None:
        return []
    if not interface.accept_ra:
        return [
            *_sysctl("accept_ra", 0),
            f"up ip -6 addr flush dev {_SELF} mngtmpaddr || true",
            f"up ip -6 route flush dev {_SELF} proto ra || true",
        ]
    lines = [*_sysctl("accept_ra", 2), *_sysctl("autoconf", 1)]
    if interface.metric is not None:
        lines += _sysctl("ra_defrtr_metric", interface.metric)
    return lines


def _sysctl(name: str, value: int) -> list[str]:
    every, own = f"{defs.IPV6_SETTINGS}/default/{name}", f"{defs.IPV6_SETTINGS}/{_SELF}/{name}"
    return [
        f"pre-up echo {value} >{own} || true",
        f"down cat {every} >{own} || true",
    ]


def _fixed(interface: Interface, version: int) -> list[str]:
    """The static addresses, routes and rules of an IP version."""
    lines = []
    for address in interface.addresses:
        if family(address) == version:
            broadcast = " brd +" if version == 4 and int(address.partition("/")[2]) < 31 else ""
            lines += [
                f"up ip -{version} addr replace {address}{broadcast} dev {_SELF} || true",
                f"down ip -{version} addr del {address} dev {_SELF} 2>/dev/null || true",
            ]
    for route in interface.routes:
        if family(route.destination) == version:
            lines += _route(route, version)
    for rule in interface.rules:
        if family(rule.source) == version:
            lines += _rule(rule, version)
    return lines


def _route(route: Route, version: int) -> list[str]:
    """``proto static`` tells the routes from those of a DHCP client."""
    words = [route.destination]
    if route.gateway:
        words.append(f"via {route.gateway}")
    words.append(f"dev {_SELF} proto static")
    # Without a metric the wrong one of two routes may be removed.
    words.append(f"metric {KERNEL_METRICS[version] if route.metric is None else route.metric}")
    if route.table is not None:
        words.append(f"table {route.table}")
    rest = " ".join(words)
    on_link = " onlink" if route.on_link else ""
    return [
        f"up ip -{version} route replace {rest}{on_link} || true",
        f"down ip -{version} route del {rest} 2>/dev/null || true",
    ]


def _rule(rule: Rule, version: int) -> list[str]:
    """The kernel refuses a rule that is there; nothing need be said of that."""
    rest = f"from {rule.source} lookup {rule.table} priority {RULE_PRIORITY}"
    return [
        f"up ip -{version} rule add {rest} 2>/dev/null || true",
        f"down ip -{version} rule del {rest} 2>/dev/null || true",
    ]


def _dhcp4(interface: Interface) -> list[str]:
    """DHCPv4 by the first client that is installed and works.

    A client that is not waited for, or waited for in vain, goes on in the background.
    """
    if not interface.dhcp4:
        return []
    environment = metric = ""
    if interface.metric is not None:
        environment, metric = f"IF_METRIC={interface.metric}", f" -m {interface.metric}"
    dhclient = f"dhclient -4 -i {_dhclient_files(4)}"
    if environment:
        dhclient += f" -e {environment}"
    clients = [
        f"{dhclient} $IFACE" if interface.required else f"{dhclient} -nw $IFACE",
        *([f"dhcpcd -4 -L{metric} $IFACE"] if interface.required else []),
        f"dhcpcd -4 -L -b{metric} $IFACE",
        f"{environment} udhcpc -b -p /run/udhcpc.$IFACE.pid -i $IFACE >/dev/null 2>&1".lstrip(),
    ]
    # A route without scope global is that of a subnet, which goes with its address.
    flush = f"ip -4 route flush dev {_SELF} scope global proto"
    return [
        _client(4, clients),
        f"{_stop(4)} {flush} boot; {flush} dhcp || true",
        f"post-down ip -4 addr flush dev {_SELF} dynamic || true",
    ]


def _dhcp6(interface: Interface) -> list[str]:
    """DHCPv6 as wanted by dhclient, by dhcpcd as the router's flags want it."""
    if interface.dhcp6 not in ("stateless", "stateful"):
        return []
    dhclient = f"dhclient -6 {_dhclient_files(6)}"
    if interface.dhcp6 == "stateless":
        dhclient += " -S"
    # To wait for a server is to wait without end, but for -1: a minute, and then no more.
    waiting = [f"{dhclient} -1 $IFACE"] if interface.required else []
    clients = [*waiting, f"{dhclient} -nw $IFACE"]
    clients += [f"dhcpcd -6{option} $IFACE" for option in (["", " -b"] if waiting else [" -b"])]
    lines = [_SETTLE, _client(6, clients), f"{_stop(6)} true"]
    if interface.dhcp6 == "stateful":
        flush = f"ip -6 addr flush dev {_SELF} dynamic -mngtmpaddr -temporary"
        lines.append(f"post-down {flush} || true")
    return lines


def _dhclient_files(version: int) -> str:
    """Where dhclient's files are when ifupdown starts it; -df is for the same DUID in both."""
    pid = _PIDS[version].partition(" ")[0]
    return f"-pf {pid} -lf {_LEASES[version]} -I -df {_LEASES[10 - version]}"


def _client(version: int, clients: Sequence[str]) -> str:
    running = f"kill -0 $(cat {_PIDS[version]} 2>/dev/null) 2>/dev/null"
    return f"up {' || '.join((running, *clients))} || true"


def _stop(version: int) -> str:
    """End a client at once: asked to, it would take addresses away that are to stay."""
    pids = _PIDS[version]
    return f"down kill -9 $(cat {pids} 2>/dev/null) 2>/dev/null; rm -f {pids};"


def _dns(interface: Interface) -> list[str]:
    """Options that resolvconf(8) and the hook of systemd-resolved read."""
    lines = [f"dns-nameservers {' '.join(interface.dns)}"] if interface.dns else []
    return lines + ([f"dns-search {' '.join(interface.search)}"] if interface.search else [])
