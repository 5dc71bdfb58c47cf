"""Render all interfaces as one interfaces(5) file, for Debian's ifupdown and for ifupdown-ng.

Each interface has one block with one ``manual`` stanza, filled by commands for ip(8) and for the
DHCP client.  The methods ``static`` and ``dhcp`` will not do: they stop at the first command that
fails (for an address that exists already), know one client for IPv6, and may wait for a DHCPv6
server without end.  With ``manual``, ifup(8) can run again at any time (``--force``), and a line
that fails spoils only itself.

A line that sets something is followed by those that undo it: by ``down`` lines what is undone at
once, by ``post-down`` lines what can wait until new settings are in place.  ``read_back`` and
``reload`` rely on that.

The file is read only where /etc/network/interfaces sources its directory, as Debian's does.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.network.address import KERNEL_METRICS, family
from guestagent.stacks.check import check
from guestagent.stacks.rendered import RULE_PRIORITY, RenderedFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Problems
    from guestagent.model import Bond, Interface, Route, Rule, Vlan

# The line that starts a DHCP client begins so: it does nothing while a client runs.
CLIENT_RUNS = "up kill -0 "

_MODE = 0o644
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
_NO_LINK_LOCAL = "ifupdown cannot choose a link-local IPv4 address; only DHCP and IPv6 are used"
# They leave resolv.conf(5) to others: the first by our hook of dhclient-script(8).
_DHCLIENT_NO_DNS = " -e GUESTAGENT_DNS=no"
_DHCPCD_NO_DNS = " -C resolv.conf"
# Values of bonding options that ip(8) does not know; the files of the driver in sysfs take them.
_UNKNOWN_VALUES = ("filter", "filter_active", "filter_backup")
# Neither services nor DHCPv6 can use an address while it is tentative, about 2 s, RFC 4862.
_SETTLE = (
    "up for second in 1 2 3 4 5 6; do"
    f" ip -6 -o addr show dev {_SELF} tentative | grep -q . || break; sleep 1; done || true"
)


def render(interfaces: Sequence[Interface], problems: Problems) -> list[RenderedFile]:
    """Return the file, if there is an interface; note what ifupdown cannot do as problems.

    The stanza of a NIC has its name.  A NIC of which only the MAC address is known (in an offline
    tree) is found by a pattern, which ifupdown-ng does not support, and its label is a logical
    name.  Raises FieldError for a value that does not fit.
    """
    if not interfaces:
        return []
    text = _HEADER
    for interface in interfaces:
        text += _block(check(interface), interfaces)
        if interface.link_local:
            problems.warn(interface.origin, _NO_LINK_LOCAL)
    path = defs.NETWORK_STACK_FILES["ifupdown"]
    return [RenderedFile(path, text, _MODE, interfaces[0].origin)]


def _block(interface: Interface, others: Sequence[Interface]) -> str:
    name = auto = interface.name
    if not name:
        name = interface.id
        # The first NIC with that address: what is stacked on it later has the same.
        auto = f"mac/{interface.mac}/1={name}"
    lines = [f"auto {auto}", f"iface {name} inet manual"]
    lines += [f"    {option}" for option in _options(interface, others)]
    for line in lines:
        # A backslash at the end would make the next line a part of this one.
        if not (line.isascii() and line.isprintable()) or line.endswith("\\"):
            raise FieldError("a line has a character that the file cannot hold")
    return "\n" + "\n".join(lines) + "\n"


def _options(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """Return the lines of the stanza; those that wait for a server come last."""
    return [
        *_device(interface, others),
        *_membership(interface, others),
        *_mtu(interface),
        *_advertisements(interface),
        *_vlans(interface, others),
        *_fixed(interface, 4),
        *_dhcp_and_ipv6(interface),
        *_dns(interface),
    ]


def _dhcp_and_ipv6(interface: Interface) -> list[str]:
    """Return the lines of DHCP and of static IPv6, in the order in which they do no harm."""
    dhcp4, dhcp6 = _dhcp4(interface), _dhcp6(interface)
    fixed6 = _fixed(interface, 6)
    if dhcp6:
        # dhclient for IPv6 begins with removing the permanent addresses.
        return [*dhcp4, *dhcp6, *fixed6, _SETTLE]
    if fixed6:
        return [*fixed6, _SETTLE, *dhcp4]
    return dhcp4


def _device(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """Return the lines that make a bond or a VLAN where it does not exist, and delete it."""
    if interface.bond:
        return _bond_device(interface, interface.bond)
    if interface.vlan:
        return _vlan_device(interface, interface.vlan, others)
    return []


def _bond_device(interface: Interface, bond: Bond) -> list[str]:
    name = interface.name
    lines = [_make_bond(interface, bond), f"down ip link del dev {name} || true"]
    for option, value in bond.options:
        if value in _UNKNOWN_VALUES:
            path = f"{defs.NET_DIR}/{name}/bonding/{option}"
            lines.append(f"pre-up echo {value} >{path} || true")
    return lines


def _vlan_device(interface: Interface, vlan: Vlan, others: Sequence[Interface]) -> list[str]:
    parent = next((other.name for other in others if other.id == vlan.parent), "")
    if not parent:
        return []  # only ifup will know its name: see _vlans
    return [
        f"pre-up ip link set dev {parent} up || true",
        f"pre-up {_make_vlan(interface, vlan, parent)}",
        f"down ip link del dev {interface.name} || true",
    ]


def _make_bond(interface: Interface, bond: Bond) -> str:
    """Return the line that makes a bond: in its own block and in those of its members.

    Whichever comes first makes it.  The driver may have made one of that name by itself, in
    another mode, which is changed.
    """
    words = ["type bond"]
    if interface.mac:
        words.insert(0, f"address {interface.mac}")
    for option, value in [("mode", bond.mode), *bond.options]:
        if option != "primary" and value not in _UNKNOWN_VALUES:
            words.append(f"{option} {value}")
    name, rest = interface.name, " ".join(words)
    return (
        f"pre-up grep -qs '^{bond.mode} ' {defs.NET_DIR}/{name}/bonding/mode"
        f" || ip link add name {name} {rest} || ip link set dev {name} {rest} || true"
    )


def _make_vlan(interface: Interface, vlan: Vlan, parent: str) -> str:
    address = f" address {interface.mac}" if interface.mac else ""
    return (
        f"[ -e {defs.NET_DIR}/{interface.name} ] || ip link add link {parent}"
        f" name {interface.name}{address} type vlan id {vlan.tag} || true"
    )


def _vlans(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """Return the lines that make the VLANs on a NIC whose name only ifup will know."""
    if interface.name:
        return []
    return [
        f"up {_make_vlan(other, other.vlan, _SELF)}"
        for other in others
        if other.vlan and other.vlan.parent == interface.id
    ]


def _membership(interface: Interface, others: Sequence[Interface]) -> list[str]:
    """Return the lines that make a NIC a member of its bond, while it is down.

    The bonding driver takes no NIC that is up.
    """
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
    """Return the lines for how the kernel treats router advertisements."""
    if interface.accept_ra is None:
        return []
    if not interface.accept_ra:
        return [
            *_sysctl("accept_ra", 0),
            f"up ip -6 addr flush dev {_SELF} mngtmpaddr || true",
            f"up ip -6 route flush dev {_SELF} proto ra || true",
        ]
    # 2: also where the guest forwards packets.
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
    """Return the lines for the static addresses, routes and rules of an IP version."""
    lines = []
    for address in interface.addresses:
        if family(address) == version:
            lines += _address(address, version)
    for route in interface.routes:
        if family(route.destination) == version:
            lines += _route(route, version)
    for rule in interface.rules:
        if family(rule.source) == version:
            lines += _rule(rule, version)
    return lines


def _address(address: str, version: int) -> list[str]:
    length = int(address.partition("/")[2])
    # Subnets of two addresses or one have no broadcast address, RFC 3021.
    broadcast = " brd +" if version == 4 and length < 31 else ""
    return [
        f"up ip -{version} addr replace {address}{broadcast} dev {_SELF} || true",
        f"down ip -{version} addr del {address} dev {_SELF} 2>/dev/null || true",
    ]


def _route(route: Route, version: int) -> list[str]:
    words = [route.destination]
    if route.gateway:
        words.append(f"via {route.gateway}")
    # ``proto static`` tells the route from those of a DHCP client.
    words.append(f"dev {_SELF} proto static")
    # Without a metric, the command might remove another route to the same destination.
    metric = KERNEL_METRICS[version] if route.metric is None else route.metric
    words.append(f"metric {metric}")
    if route.table is not None:
        words.append(f"table {route.table}")
    rest = " ".join(words)
    on_link = " onlink" if route.on_link else ""
    return [
        f"up ip -{version} route replace {rest}{on_link} || true",
        f"down ip -{version} route del {rest} 2>/dev/null || true",
    ]


def _rule(rule: Rule, version: int) -> list[str]:
    # The kernel refuses a rule that exists; such messages are thrown away.
    rest = f"from {rule.source} lookup {rule.table} priority {RULE_PRIORITY}"
    return [
        f"up ip -{version} rule add {rest} 2>/dev/null || true",
        f"down ip -{version} rule del {rest} 2>/dev/null || true",
    ]


def _dhcp4(interface: Interface) -> list[str]:
    """Return the lines for DHCPv4 by the first client that is installed and works.

    A client that need not be waited for, and one that was waited for in vain, goes on in the
    background.
    """
    if not interface.dhcp4:
        return []
    dhclient = f"dhclient -4 -i {_dhclient_files(4)}"
    dhcpcd = "dhcpcd -4 -L"
    dhcpcd_later = "dhcpcd -4 -L -b"
    settings = []
    if interface.mtu is not None:
        # These two would give the NIC, or the routes, the MTU of the lease; udhcpc asks for none.
        # With the MTU in the file's name, a client starts again where another MTU is given.
        path = f"{defs.DHCLIENT_DIR}/dhclient.$IFACE.mtu{interface.mtu}.conf"
        settings = _dhclient_mtu(interface.mtu, path)
        dhclient += f" -cf {path}"
        dhcpcd += " -O interface_mtu"
        dhcpcd_later += " -O interface_mtu"
    udhcpc = "udhcpc -b -p /run/udhcpc.$IFACE.pid -i $IFACE >/dev/null 2>&1"
    if not interface.lease_dns:
        dhclient += _DHCLIENT_NO_DNS
        dhcpcd += _DHCPCD_NO_DNS
        dhcpcd_later += _DHCPCD_NO_DNS
        udhcpc = f"IF_PEER_DNS=no {udhcpc}"
    if interface.metric is not None:
        dhclient += f" -e IF_METRIC={interface.metric}"
        dhcpcd += f" -m {interface.metric}"
        dhcpcd_later += f" -m {interface.metric}"
        udhcpc = f"IF_METRIC={interface.metric} {udhcpc}"
    if interface.required:
        clients = [f"{dhclient} $IFACE", f"{dhcpcd} $IFACE"]
    else:
        clients = [f"{dhclient} -nw $IFACE"]
    clients += [f"{dhcpcd_later} $IFACE", udhcpc]
    # A route without scope global is that of a subnet, which goes with its address.
    flush = f"ip -4 route flush dev {_SELF} scope global proto"
    return [
        *settings,
        _start_client(4, clients),
        f"{_stop_client(4)} {flush} boot; {flush} dhcp || true",
        f"post-down ip -4 addr flush dev {_SELF} dynamic || true",
    ]


def _dhclient_mtu(mtu: int, path: str) -> list[str]:
    """Return the lines for a dhclient.conf(5) with an MTU that wins over that of a lease.

    Everything else in it is what the guest's own file says.
    """
    own = f"""interface "'$IFACE'" {{ supersede interface-mtu {mtu}; }}"""
    text = f'include "{defs.DHCLIENT_CONF}"; {own}'
    return [
        f"up [ ! -d {defs.DHCLIENT_DIR} ] || echo '{text}' >{path} || true",
        f"down rm -f {path}",
    ]


def _dhcp6(interface: Interface) -> list[str]:
    """Return the lines for DHCPv6: dhclient does what is asked for, dhcpcd what routers say."""
    if interface.dhcp6 not in ("stateless", "stateful"):
        return []
    dhclient, dhcpcd = f"dhclient -6 {_dhclient_files(6)}", "dhcpcd -6"
    if interface.dhcp6 == "stateless":
        dhclient += " -S"
    if not interface.lease_dns:
        dhclient += _DHCLIENT_NO_DNS
        dhcpcd += _DHCPCD_NO_DNS
    clients = [f"{dhclient} -nw $IFACE", f"{dhcpcd} -b $IFACE"]
    if interface.required:
        # dhclient would wait for a server without end, with -1 it waits for a minute.
        clients = [f"{dhclient} -1 $IFACE", clients[0], f"{dhcpcd} $IFACE", clients[1]]
    lines = [_SETTLE, _start_client(6, clients), f"{_stop_client(6)} true"]
    if interface.dhcp6 == "stateful":
        flush = f"ip -6 addr flush dev {_SELF} dynamic -mngtmpaddr -temporary"
        lines.append(f"post-down {flush} || true")
    return lines


def _dhclient_files(version: int) -> str:
    """Return the options for dhclient's files, which are those that ifupdown itself would use.

    ``-df`` has the clients of both IP versions use the same DUID.
    """
    pid = _PIDS[version].partition(" ")[0]
    other = _LEASES[6] if version == 4 else _LEASES[4]
    return f"-pf {pid} -lf {_LEASES[version]} -I -df {other}"


def _start_client(version: int, clients: Sequence[str]) -> str:
    running = f"{CLIENT_RUNS}$(cat {_PIDS[version]} 2>/dev/null) 2>/dev/null"
    return f"{' || '.join((running, *clients))} || true"


def _stop_client(version: int) -> str:
    """Return the line that ends a client at once.

    A client that is asked to end would remove addresses that have to stay.
    """
    pids = _PIDS[version]
    return f"down kill -9 $(cat {pids} 2>/dev/null) 2>/dev/null; rm -f {pids};"


def _dns(interface: Interface) -> list[str]:
    """Return the options that resolvconf(8) and the hook of systemd-resolved read."""
    lines = []
    if interface.dns:
        lines.append(f"dns-nameservers {' '.join(interface.dns)}")
    if interface.search:
        lines.append(f"dns-search {' '.join(interface.search)}")
    return lines
