"""The guest's network: interfaces matched to its NICs, rendered for the stack it uses."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.network.routing import with_metrics, with_policy
from guestagent.desired.network.select import select
from guestagent.errors import Origin, Problem
from guestagent.model import Interface, Network
from guestagent.plan.kinds.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guestagent.model import Facts, Nic
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings
    from guestagent.stacks.rendered import Rendered

_RESOLV_MODE = 0o644
_NOWHERE = Origin("guestagent", "", "network")
_RESOLV_HEADER = "# Written by guestagent.\n"


def plan(
    network: Network | None, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The files of the network, for the back end of the settings, else the one in use.

    An interface that the guest does not have is a problem and is left out.  If nothing that
    gives an address remains, every NIC gets DHCPv4 and router advertisements, so that the guest
    can be reached; in an offline tree, whose NICs are not known, nothing is written then.
    """
    origin = network.origin if network else _NOWHERE
    backend = settings.network_backend or facts.backend
    if network is None and facts.nics is None:
        return [], []
    if not backend:
        return [], [_problem("error", origin, "no network stack that guestagent knows is in use")]
    interfaces, problems = select(network.interfaces if network else (), facts.nics)
    fallback = not any(_gives_address(interface) for interface in interfaces)
    if fallback and facts.nics is None:
        reason = "gives no interface an address; the network is left as it is"
        return [], [*problems, *([_problem("warning", origin, reason)] if network else [])]
    if fallback:
        reason = "gives no interface an address; all of them get DHCP and router advertisements"
        problems.append(_problem("warning", origin, reason))
        link_local = network is None and settings.metadata_link_local_ipv4
        interfaces, more = select(_fallback(facts.nics or (), origin, link_local), facts.nics)
        problems += more
    interfaces = with_metrics(interfaces)
    if settings.network_policy_routing:
        interfaces = with_policy(interfaces)
    return _written(interfaces, backend, facts, origin, problems)


def _written(
    interfaces: list[Interface],
    backend: str,
    facts: Facts,
    origin: Origin,
    problems: list[Problem],
) -> tuple[list[Resource], list[Problem]]:
    if not interfaces:
        return [], problems
    render, mode = renderer(backend)
    rendered = render(interfaces)
    problems += [Problem("warning", *where, reason) for where, reason in rendered.lost]
    files: list[Resource] = [
        File("file", path, text.encode(), mode, why) for path, text, why in rendered.files
    ]
    if backend != "networkmanager":
        files += _resolv_conf(interfaces, facts, origin)
        if facts.resolver == "resolvconf" and backend != "ifupdown" and _servers(interfaces):
            reason = "has DNS servers, but systemd-networkd does not pass them on to resolvconf"
            problems.append(_problem("warning", origin, reason))
    return files, problems


def renderer(backend: str) -> tuple[Callable[[Sequence[Interface]], Rendered], int]:
    """The function that renders for a back end, and the mode of its files.

    Each is imported only where it is used.
    """
    match backend:
        case "networkd":
            from guestagent.stacks.networkd import render as networkd

            return networkd.render, networkd.MODE
        case "networkmanager":
            from guestagent.stacks.networkmanager import render as networkmanager

            return networkmanager.render, networkmanager.MODE
        case "ifupdown":
            from guestagent.stacks.ifupdown import render as ifupdown

            return ifupdown.render, ifupdown.MODE
        case "netplan":
            from guestagent.stacks.netplan import render as netplan

            return netplan.render, netplan.MODE
    raise AssertionError(backend)


def _problem(severity: str, origin: Origin, reason: str) -> Problem:
    return Problem(severity, *origin, reason)  # type: ignore[arg-type]


def _gives_address(interface: Interface) -> bool:
    return bool(
        interface.addresses or interface.dhcp4 or interface.dhcp6 != "no" or interface.accept_ra
    )


def _fallback(nics: Sequence[Nic], origin: Origin, link_local: bool) -> list[Interface]:
    """DHCPv4 and what routers advertise, DHCPv6 if their flags ask for it, on every NIC.

    Of two with one address, as a virtual function and the NIC that it speeds up, only the first.
    """
    wanted: dict[str, Nic] = {}
    for nic in nics:
        wanted.setdefault(nic.mac.lower() or nic.name, nic)
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
            id=nic.name,
            required=False,
            link_local=link_local,
        )
        for nic in wanted.values()
    ]


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
    return [File("file", defs.RESOLV_CONF, text.encode(), _RESOLV_MODE, origin)]
