"""An interface as a systemd.network(5) file, for systemd 252 and later."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.network.check import check
from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Interface, Route

    Pairs = list[tuple[str, str]]

# Between the metrics of static default routes (``parse.interfaces.settle``): two IPv6 routes with
# the same one, a static and an advertised one too, would become one route over both NICs.
_DYNAMIC_METRIC = 1024 - 50
_METRIC_STEP = 100
_HEADER = "# Written by guestagent; settings of your own belong in a drop-in of this file.\n"
_DHCP6_CLIENT = {"slaac": "no", "stateless": "yes", "stateful": "always"}


def path(interface: Interface, index: int) -> str:
    """The file's path, made of the MAC address or, for lack of one, of the interface's index."""
    part = interface.mac.replace(":", "") if interface.mac else f"if{index}"
    return f"{defs.NETWORKD_DIR}/10-guestagent-{part}.network"


def render(interface: Interface, required: bool = True, rank: int = 0) -> str:
    """The file's text.

    ``required`` False lets systemd-networkd-wait-online(8) pass without this interface.
    ``rank`` orders default routes by protocol: 0 leaves them at networkd's metric of 1024, 1, 2
    and so on give 1074, 1174….  FieldError: a value does not fit.
    """
    check(interface)
    sections = [
        _section("Match", _match(interface)),
        _section("Link", _link(interface, required)),
        _section("Network", _network(interface)),
        *(_section("Route", _route(route)) for route in interface.routes),
        *_protocols(interface, rank),
    ]
    return _HEADER + "".join(section for section in sections if section)


def _section(name: str, pairs: Pairs) -> str:
    if not pairs:
        return ""
    for key, value in pairs:
        if not (value.isascii() and value.isprintable()):
            raise FieldError(f"{key} holds a character that cannot stand in the file")
    return "\n".join(["", f"[{name}]", *(f"{key}={value}" for key, value in pairs), ""])


def _match(interface: Interface) -> Pairs:
    """The NIC itself, not what is stacked on it under the same address.

    The permanent address stays when a bond or an administrator sets another; emulated,
    virtio and SR-IOV devices all report it.  Only stacked devices have a kind.
    """
    if interface.mac:
        return [("PermanentMACAddress", interface.mac), ("Kind", "!*")]
    return [("Name", interface.name)]


def _link(interface: Interface, required: bool) -> Pairs:
    pairs = [] if interface.mtu is None else [("MTUBytes", str(interface.mtu))]
    dynamic = interface.dhcp4 or interface.dhcp6 != "no" or interface.accept_ra
    if not required or not (interface.addresses or dynamic):
        pairs.append(("RequiredForOnline", "no"))
    return pairs


def _network(interface: Interface) -> Pairs:
    dhcp6 = interface.dhcp6 == "stateful"
    dhcp = ("ipv4" if interface.dhcp4 else "no", "yes" if interface.dhcp4 else "ipv6")[dhcp6]
    pairs = [("DHCP", dhcp)]
    if interface.accept_ra is not None:
        pairs.append(("IPv6AcceptRA", _yes_no(interface.accept_ra)))
    pairs += [("Address", address) for address in interface.addresses]
    pairs += [("DNS", server) for server in interface.dns]
    if interface.search:
        pairs.append(("Domains", " ".join(interface.search)))
    return pairs


def _route(route: Route) -> Pairs:
    pairs = [("Destination", route.destination)]
    if route.gateway:
        pairs.append(("Gateway", route.gateway))
    if route.on_link:
        pairs.append(("GatewayOnLink", "yes"))
    if route.metric is not None:
        pairs.append(("Metric", str(route.metric)))
    return pairs


def _protocols(interface: Interface, rank: int) -> list[str]:
    """The sections of the protocols in use.

    ``always`` asks for an address by DHCPv6 as soon as there is a router, whether or not its
    M flag says so; ``yes`` does what the flags say; ``no`` stays with the router alone.
    """
    metric = [("RouteMetric", str(_DYNAMIC_METRIC + _METRIC_STEP * rank))] if rank else []
    advertised = list(metric) if interface.accept_ra else []
    if interface.dhcp6 in _DHCP6_CLIENT:
        advertised.insert(0, ("DHCPv6Client", _DHCP6_CLIENT[interface.dhcp6]))
    return [
        _section("DHCPv4", metric if interface.dhcp4 else []),
        _section("IPv6AcceptRA", advertised),
    ]


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"
