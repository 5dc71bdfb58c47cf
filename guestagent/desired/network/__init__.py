"""The guest's network: interfaces matched to its NICs, rendered for the stack it uses."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.network import ifupdown, networkd
from guestagent.desired.network.check import check
from guestagent.errors import FieldError, Problem
from guestagent.model import Interface, Network, Origin
from guestagent.resources import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.model import Facts, Nic
    from guestagent.resources import Resource

_MODE = 0o644
_NOWHERE = Origin("guestagent", "", "network")
_RESOLV_HEADER = "# Written by guestagent.\n"


def plan(
    network: Network | None, facts: Facts, backend: str
) -> tuple[list[Resource], list[Problem]]:
    """The files of the network, for ``backend`` or, if that is empty, the one of the facts.

    An interface that the guest does not have is a problem and is left out.  If nothing that
    gives an address remains, every NIC gets DHCPv4 and router advertisements, so that the guest
    can be reached; in an offline tree, whose NICs are not known, nothing is written then.
    """
    origin = network.origin if network else _NOWHERE
    backend = backend or facts.backend
    if network is None and facts.nics is None:
        return [], []
    if backend not in ("networkd", "ifupdown"):
        return [], [_problem("error", origin, "no network stack that guestagent knows is in use")]
    interfaces, problems = _select(network.interfaces if network else (), facts.nics)
    fallback = not any(_gives_address(interface) for interface in interfaces)
    if fallback and facts.nics is None:
        reason = "gives no interface an address; the network is left as it is"
        return [], [*problems, *([_problem("warning", origin, reason)] if network else [])]
    if fallback:
        reason = "gives no interface an address; all of them get DHCP and router advertisements"
        problems.append(_problem("warning", origin, reason))
        interfaces, more = _select(_fallback(facts.nics or (), origin), facts.nics)
        problems += more
    files = _files(interfaces, backend, origin, required=not fallback) if interfaces else []
    dns = _resolv_conf(interfaces, facts, origin)
    if facts.resolver == "resolvconf" and backend == "networkd" and _servers(interfaces):
        reason = "has DNS servers, but systemd-networkd does not pass them on to resolvconf"
        problems.append(_problem("warning", origin, reason))
    return [*files, *dns], problems


def _problem(severity: str, origin: Origin, reason: str) -> Problem:
    return Problem(severity, origin.source, origin.document, origin.key, reason)  # type: ignore[arg-type]


def _select(
    interfaces: Sequence[Interface], nics: Sequence[Nic] | None
) -> tuple[list[Interface], list[Problem]]:
    """The interfaces that the guest has, each with the MAC address and the name of its NIC."""
    chosen: list[Interface] = []
    problems: list[Problem] = []
    used: set[str] = set()
    for interface in interfaces:
        try:
            found = check(interface) if nics is None else check(_matched(interface, nics))
            identity = found.mac or found.name
            if identity in used:
                raise FieldError("is the same NIC as an earlier interface; it is left out")
        except FieldError as error:
            problems.append(_problem("error", interface.origin, str(error)))
            continue
        used.add(identity)
        chosen.append(found)
    return chosen, problems


def _matched(interface: Interface, nics: Sequence[Nic]) -> Interface:
    mac = interface.mac.lower()
    for nic in nics:
        if nic.mac.lower() == mac if mac else nic.name == interface.name:
            return interface._replace(mac=nic.mac.lower(), name=nic.name)
    wanted = "MAC address" if mac else "name"
    raise FieldError(f"no NIC of this guest has its {wanted}; it is left out")


def _gives_address(interface: Interface) -> bool:
    return bool(
        interface.addresses or interface.dhcp4 or interface.dhcp6 != "no" or interface.accept_ra
    )


def _fallback(nics: Sequence[Nic], origin: Origin) -> list[Interface]:
    """DHCPv4 and what routers advertise, DHCPv6 if their flags ask for it, on every NIC."""
    return [
        Interface(
            mac=nic.mac.lower(),
            mtu=None,
            dhcp4=True,
            dhcp6="no",
            accept_ra=True,
            addresses=(),
            routes=(),
            dns=(),
            search=(),
            origin=origin,
            name=nic.name,
        )
        for nic in nics
    ]


def _files(
    interfaces: Sequence[Interface], backend: str, origin: Origin, required: bool
) -> list[File]:
    if backend == "ifupdown":
        text = ifupdown.render(interfaces)
        return [File("file", ifupdown.PATH, text.encode(), _MODE, origin)]
    files = []
    rank = int(any(route.default for interface in interfaces for route in interface.routes))
    for index, interface in enumerate(interfaces):
        text = networkd.render(interface, required, rank)
        path = networkd.path(interface, index)
        files.append(File("file", path, text.encode(), _MODE, interface.origin))
        rank += interface.dhcp4 or bool(interface.accept_ra)
    return files


def _servers(interfaces: Sequence[Interface]) -> list[str]:
    return list(dict.fromkeys(server for interface in interfaces for server in interface.dns))


def _resolv_conf(interfaces: Sequence[Interface], facts: Facts, origin: Origin) -> list[File]:
    """resolv.conf(5), where nothing else takes the servers from the network's files."""
    servers = _servers(interfaces)
    if facts.resolver != "file" or not servers:
        return []
    search = dict.fromkeys(name for interface in interfaces for name in interface.search)
    lines = [f"search {' '.join(search)}"] if search else []
    lines += [f"nameserver {server}" for server in servers]
    text = _RESOLV_HEADER + "".join(f"{line}\n" for line in lines)
    return [File("file", defs.RESOLV_CONF, text.encode(), _MODE, origin)]
