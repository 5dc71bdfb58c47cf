"""All interfaces as one interfaces(5) file of Debian's ifupdown.

The file is read only where /etc/network/interfaces sources its directory, as Debian's does.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.network.check import check
from guestagent.errors import FieldError
from guestagent.parse.address import family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.model import Interface, Route

PATH = f"{defs.IFUPDOWN_DIR}/50-guestagent"

_HEADER = "# Written by guestagent; settings of your own belong in another file.\n"
_ACCEPT_RA = {True: ["accept_ra 2", "autoconf 1"], False: ["accept_ra 0"], None: []}
_DHCP6_METHOD = {
    "slaac": ("auto", []),
    "stateless": ("auto", ["dhcp 1"]),
    "stateful": ("dhcp", ["accept_ra 2"]),
}

if TYPE_CHECKING:
    Stanza = tuple[str, list[str]]


def render(interfaces: Sequence[Interface]) -> str:
    """The file's text.  FieldError: a value does not fit.

    An interface with a name gets stanzas under it.  One with a MAC address only (an offline tree)
    is found by ifup's own pattern for it and gets a logical name made of its index.
    """
    return _HEADER + "".join(
        _interface(check(interface), index) for index, interface in enumerate(interfaces)
    )


def _interface(interface: Interface, index: int) -> str:
    name = interface.name or f"guestagent{index}"
    # The first NIC with that address: what is stacked on it later has the same.
    auto = interface.name or f"mac/{interface.mac}/1={name}"
    stanzas = _stanzas(interface)
    lines = [f"auto {auto}"]
    for head, options in stanzas:
        lines += [f"iface {name} {head}", *(f"    {option}" for option in options)]
    for line in lines:
        if not (line.isascii() and line.isprintable()) or line.endswith("\\"):
            raise FieldError("a line holds a character that cannot stand in the file")
    return "\n" + "\n".join(lines) + "\n"


def _stanzas(interface: Interface) -> list[Stanza]:
    """The stanzas, options of the interface in the first, of a family in the family's first."""
    stanzas = []
    dns_family = ""
    for inet, found in (("inet", _inet(interface)), ("inet6", _inet6(interface))):
        routes = [_route(route) for route in interface.routes if _inet_of(route) == inet]
        if not found and routes:
            found = [("manual", [])]
        for position, (method, options) in enumerate(found):
            dns_family = dns_family or inet
            # Hooks run for each stanza: one without DNS would take back what another gave.
            dns = _dns(interface) if inet == dns_family else []
            up = routes if position == 0 else []
            stanzas.append((f"{inet} {method}", [*options, *up, *dns]))
    stanzas = stanzas or [("inet manual", [])]
    if interface.mtu is not None:
        # An option of its own would not do: inet dhcp knows none.
        stanzas[0][1].insert(0, f'pre-up ip link set dev "$IFACE" mtu {interface.mtu} || true')
    return stanzas


def _inet(interface: Interface) -> list[Stanza]:
    static = [a for a in interface.addresses if family(a) == 4]
    dynamic = [("dhcp", list[str]())] if interface.dhcp4 else []
    return [*(("static", [f"address {address}"]) for address in static), *dynamic]


def _inet6(interface: Interface) -> list[Stanza]:
    """IPv6 stanzas; router advertisements alone need none, the kernel takes them by itself."""
    static = [a for a in interface.addresses if family(a) == 6]
    options = _ACCEPT_RA[interface.accept_ra]
    stanzas = [("static", [f"address {address}", *options]) for address in static]
    if interface.dhcp6 in _DHCP6_METHOD:
        method, options = _DHCP6_METHOD[interface.dhcp6]
        stanzas.append((method, list(options)))
    return stanzas


def _inet_of(route: Route) -> str:
    return "inet" if family(route.destination) == 4 else "inet6"


def _route(route: Route) -> str:
    """A command for the route; ``replace`` because it may be there, ``true`` to go on without."""
    words = [f"up ip -{family(route.destination)} route replace {route.destination}"]
    if route.gateway:
        words.append(f"via {route.gateway}")
    words.append('dev "$IFACE"')
    if route.on_link:
        words.append("onlink")
    if route.metric is not None:
        words.append(f"metric {route.metric}")
    return " ".join([*words, "|| true"])


def _dns(interface: Interface) -> list[str]:
    """Options that resolvconf(8) and the hook of systemd-resolved read."""
    lines = [f"dns-nameservers {' '.join(interface.dns)}"] if interface.dns else []
    return lines + ([f"dns-search {' '.join(interface.search)}"] if interface.search else [])
