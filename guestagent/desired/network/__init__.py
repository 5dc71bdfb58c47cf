"""Plan the guest's network: interfaces matched with its NICs, rendered for the stack in use."""

from __future__ import annotations

from guestagent import defs, stacks
from guestagent.desired.network.match import match
from guestagent.desired.network.routing import with_metrics, with_policy
from guestagent.errors import Origin
from guestagent.model import Interface
from guestagent.parse.network.address import METRIC_STEP
from guestagent.plan.kinds.file import File
from guestagent.stacks.rendered import LOWEST_PRIORITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guestagent.model import Nic
    from guestagent.plan.kinds import Resource
    from guestagent.plan.wanted import Ask, Wanted

_NO_ADDRESS = "gives no interface an address"
# What tells that a file is of a NIC that the source does not name: its path, or a line in it.
_FILES_OF_NEW_NICS = (
    defs.NETWORKD_LAST_FILES,
    *(path.partition("{")[0] for path in defs.ONE_NETWORK_FILE.values()),
)
_IS_LAST = f"autoconnect-priority={LOWEST_PRIORITY}"
_RESOLV_MODE = 0o644
# Of the default routes of NICs that the source does not name: they come last.
_OTHERS_METRIC = 20_000
_NO_SOURCE = Origin("guestagent", "", "network")
_RESOLV_HEADER = "# Written by guestagent.\n"
_WAIT_ONLINE_MODE = 0o644
_HOOK_MODE = 0o644
# dhclient-script(8) sources it, and calls that function for each lease.
_HOOK = """\
# Written by guestagent: a client that is started so leaves resolv.conf to others.
if [ "$GUESTAGENT_DNS" = no ]; then
    make_resolv_conf() { :; }
fi
"""
_WAIT_ONLINE_HEADER = (
    "# Written by guestagent: network-online.target is reached with one of these.\n"
)


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the files of the network, for the stack of the settings or else the one in use.

    An interface that the guest does not have is a problem and is left out.  If nothing that
    gives an address remains, every NIC gets DHCPv4 and router advertisements, so that the guest
    can be reached; in an offline tree, whose NICs are not known, nothing is written then.
    """
    network = ask.data.network
    if network is None and ask.facts.nics is None:
        return
    origin = network.origin if network else _NO_SOURCE
    stack = ask.settings.network_backend or ask.facts.stack
    if not ask.facts.stack:
        stack = _without_stack(ask, wanted, stack, origin)
    if not stack:
        return
    interfaces = _all_interfaces(ask, wanted, origin)
    if stack == "ifupdown" and ask.facts.resolver == "file":
        interfaces = _without_lease_dns(interfaces, wanted, origin)
    if interfaces:
        for path, text, mode, why in _renderer(stack, ask)(interfaces, wanted):
            wanted.want(File("file", path, text.encode(), mode, why))
        _want_resolv_conf(interfaces, stack, ask, wanted, origin=origin)
        _want_wait_online(interfaces, stack, wanted, origin)


def plan_new_nics(ask: Ask, present: Mapping[str, str], wanted: Wanted) -> None:
    """Plan files for NICs that have none, where there is no source to say what they need.

    ``present`` has the texts of the network's files that were applied, by their paths.  A stack
    with one file for all NICs gets another one, until a run that has the source writes the first.
    """
    stack = ask.settings.network_backend or ask.facts.stack
    if not stack or not ask.settings.network_manage or not ask.settings.network_other_nics:
        return
    new = _others(ask, (), wanted, _NO_SOURCE)
    new = [interface for interface in new if not _has_file(present, interface)]
    if stack == "ifupdown" and ask.facts.resolver == "file":
        # What the source said of DNS servers matters more, and is not known here.
        new = [interface._replace(lease_dns=False) for interface in new]
        _want_hook(new, wanted, _NO_SOURCE)
    for interface in new:
        for path, text, mode, why in _renderer(stack, ask)([interface], wanted):
            own = defs.ONE_NETWORK_FILE.get(path, path).replace("{id}", interface.id)
            wanted.want(File("file", own, text.encode(), mode, why))


def macs_of_nics(ask: Ask, resources: Iterable[Resource]) -> tuple[str, ...]:
    """Return the MAC addresses of the NICs, if it makes no difference what these are named.

    ``resources`` are those that the source wants.  The source must say by MAC addresses which NICs
    it means, and no file of the network may have the name of one in it.
    """
    nics = ask.facts.nics or ()
    macs = tuple(nic.mac.lower() for nic in nics)
    stack = ask.settings.network_backend or ask.facts.stack
    # ifupdown's files go by names.
    if not ask.complete or stack == "ifupdown" or not all(macs):
        return ()
    interfaces = ask.data.network.interfaces if ask.data.network else ()
    if any(not interface.stacked and not interface.mac for interface in interfaces):
        return ()
    files = [item for item in resources if item.kind == "file"]
    texts = [item.content for item in files if item.path.startswith(defs.NETWORK_FILES)]
    for nic in nics:
        if any(nic.name.encode() in text for text in texts):
            return ()
    return macs


def files_of_gone_nics(ask: Ask, present: Mapping[str, str], wanted: Wanted) -> set[str]:
    """Return the paths of the files of ``plan_new_nics`` whose NIC is not there any more.

    Files of NICs that the source names stay: only the source can tell that it no longer does.
    """
    if not ask.settings.network_manage:
        return set()
    nics = ask.facts.nics or ()
    interfaces = [_dynamic(nic, _NO_SOURCE) for nic in nics]
    ids = {interface.id for interface in match(interfaces, nics, wanted)}
    found = set()
    for path, text in present.items():
        of_new_nic = path.startswith(_FILES_OF_NEW_NICS) or _IS_LAST in text.splitlines()
        if of_new_nic and _id_in(path) not in ids:
            found.add(path)
    return found


def _renderer(stack: str, ask: Ask) -> stacks.Render:
    """Return the function that renders interfaces for a stack of this guest."""
    return stacks.renderer(stack, for_networkmanager=ask.facts.netplan_for_networkmanager)


def _id_in(path: str) -> str:
    """Return the id of the interface whose own file has this path."""
    return path.rpartition("guestagent-")[2].partition(".")[0]


def _has_file(present: Mapping[str, str], interface: Interface) -> bool:
    """Tell whether a NIC has a file of its own, or the file of all NICs names it."""
    if any(_id_in(path) == interface.id for path in present):
        return True
    text = "".join(present.get(path, "") for path in defs.ONE_NETWORK_FILE)
    words = text.replace('"', " ").replace("'", " ").split()
    return interface.name in words or interface.mac in words


def _all_interfaces(ask: Ask, wanted: Wanted, origin: Origin) -> list[Interface]:
    """Return the interfaces of the source or of the fallback, and of NICs that neither names."""
    network = ask.data.network
    interfaces = match(network.interfaces if network else (), ask.facts.nics, wanted)
    if not any(_gives_address(interface) for interface in interfaces):
        interfaces = _fallback(ask, wanted, origin)
    _warn_of_shared_addresses(interfaces, wanted)
    interfaces = with_metrics(interfaces)
    if ask.settings.network_other_nics and network is not None and not network.partial:
        interfaces += _others(ask, interfaces, wanted, origin)
    if ask.settings.network_policy_routing:
        interfaces = with_policy(interfaces)
    return interfaces


def _without_stack(ask: Ask, wanted: Wanted, stack: str, origin: Origin) -> str:
    """Plan what a guest needs in which no network stack starts at boot; return its stack."""
    from guestagent.desired.network import without_stack

    if without_stack.is_enabled(ask, stack):
        without_stack.enable(ask, wanted, origin)
        return "networkd"
    if not stack:
        wanted.error(origin, without_stack.remedy(ask))
    return stack


def _fallback(ask: Ask, wanted: Wanted, origin: Origin) -> list[Interface]:
    """Return interfaces by which a guest can be reached that the source gives no address."""
    if ask.facts.nics is None:
        wanted.warn(origin, f"{_NO_ADDRESS}; the network is left unchanged")
        return []
    wanted.warn(origin, f"{_NO_ADDRESS}; every NIC gets DHCP and router advertisements")
    # Only where no source was read, the address may be what it takes to ask for one.
    link_local = ask.data.network is None and ask.settings.metadata_link_local_ipv4
    interfaces = []
    for nic in _distinct(ask.facts.nics):
        interface = _dynamic(nic, origin)
        interfaces.append(interface._replace(link_local=link_local))
    return match(interfaces, ask.facts.nics, wanted)


def _others(
    ask: Ask, interfaces: Sequence[Interface], wanted: Wanted, origin: Origin
) -> list[Interface]:
    """Return interfaces for the NICs that the source does not name, such as one that was added.

    Not those with the MAC address of another (a virtual function of it), members of a bond or
    bridge, and what interfaces(5) of the image names: the other stacks tell that by themselves.
    """
    nics = ask.facts.nics or ()
    names = {interface.name for interface in interfaces}
    taken = {nic.mac.lower() for nic in nics if nic.name in names}
    found: list[Interface] = []
    for nic in _distinct(nics):
        named = nic.name in names or nic.mac.lower() in taken
        if named or nic.member or _is_in_interfaces(nic.name, ask.facts.interfaces_words):
            continue
        metric = _OTHERS_METRIC + METRIC_STEP * len(found)
        found.append(_dynamic(nic, origin)._replace(metric=metric, unnamed=True))
    return match(found, nics, wanted)


def _is_in_interfaces(name: str, words: Iterable[str]) -> bool:
    """Tell whether words of interfaces(5) name a NIC, also by a pattern such as /en*."""
    if name in words:
        return True
    patterns = [word.split("=")[0].strip("/") for word in words if word.startswith("/")]
    if not patterns:
        return False
    from fnmatch import fnmatchcase

    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _warn_of_shared_addresses(interfaces: Sequence[Interface], wanted: Wanted) -> None:
    """Warn of an address that two interfaces have: which of them answers is not certain."""
    owners: dict[str, Interface] = {}
    for interface in interfaces:
        for address in interface.addresses:
            host = address.partition("/")[0]
            if host.startswith("fe80:"):
                continue  # a link-local address is one of its link alone
            first = owners.setdefault(host, interface)
            if first is interface:
                continue
            names = f"{first.name or first.id} and {interface.name or interface.id}"
            reason = f"{host} is the address of both {names}; packets may take the wrong one"
            wanted.warn(interface.origin, f"{reason}; give each an address of its own")


def _want_resolv_conf(
    interfaces: Sequence[Interface], stack: str, ask: Ask, wanted: Wanted, *, origin: Origin
) -> None:
    """Plan resolv.conf(5), where neither the stack nor another program writes it."""
    servers = dict.fromkeys(server for interface in interfaces for server in interface.dns)
    # NetworkManager passes the servers of its profiles on by itself.
    if stack == "networkmanager" or not servers:
        return
    if ask.facts.resolver == "file":
        text = _resolv_conf(interfaces, servers)
        wanted.want(File("file", defs.RESOLV_CONF, text.encode(), _RESOLV_MODE, origin))
    if ask.facts.resolver == "resolvconf" and stack != "ifupdown":
        reason = "has DNS servers, but systemd-networkd does not pass them on to resolvconf"
        wanted.warn(origin, reason)


def _without_lease_dns(
    interfaces: Sequence[Interface], wanted: Wanted, origin: Origin
) -> list[Interface]:
    """Return the interfaces so that no lease replaces DNS servers that matter more.

    Each DHCP client of ifupdown writes all of resolv.conf(5) anew.  What the source says matters
    most, and a NIC that it does not name least.
    """
    given = any(interface.dns for interface in interfaces)
    leased = any(_has_client(interface) and not interface.unnamed for interface in interfaces)
    found = []
    for interface in interfaces:
        less = given or (leased and interface.unnamed)
        found.append(interface._replace(lease_dns=not (less and _has_client(interface))))
    _want_hook(found, wanted, origin)
    return found


def _want_hook(interfaces: Iterable[Interface], wanted: Wanted, origin: Origin) -> None:
    """Plan what keeps dhclient(8) from writing resolv.conf(5), where it must not."""
    if not all(interface.lease_dns for interface in interfaces):
        wanted.want(File("file", defs.DHCLIENT_HOOK, _HOOK.encode(), _HOOK_MODE, origin))


def _has_client(interface: Interface) -> bool:
    return interface.dhcp4 or interface.dhcp6 in ("stateless", "stateful")


def _want_wait_online(
    interfaces: Sequence[Interface], stack: str, wanted: Wanted, origin: Origin
) -> None:
    """Plan what network-online.target waits for where the boot waits for no interface.

    systemd-networkd-wait-online(8) ignores interfaces that are not required, and waits for two
    minutes where there are no others, unless it is given their names.
    """
    if stack not in ("networkd", "netplan"):
        return
    if any(interface.required and _gives_address(interface) for interface in interfaces):
        return
    names = [interface.name for interface in interfaces if _gives_address(interface)]
    words = ["--any", "--operational-state=routable", *(f"--interface={name}" for name in names)]
    text = f"{_WAIT_ONLINE_HEADER}GUESTAGENT_WAIT_ONLINE={' '.join(words)}\n"
    path = defs.WAIT_ONLINE_FILE
    wanted.want(File("file", path, text.encode(), _WAIT_ONLINE_MODE, origin))


def _gives_address(interface: Interface) -> bool:
    return bool(
        interface.addresses or interface.dhcp4 or interface.dhcp6 != "no" or interface.accept_ra
    )


def _distinct(nics: Sequence[Nic]) -> list[Nic]:
    """Return the NICs, but only the first of those with the same MAC address.

    A virtual function has the address of the NIC that it speeds up.
    """
    found: dict[str, Nic] = {}
    for nic in nics:
        found.setdefault(nic.mac.lower() or nic.name, nic)
    return list(found.values())


def _dynamic(nic: Nic, origin: Origin) -> Interface:
    """Return an interface with DHCPv4 and what routers advertise, DHCPv6 if their flags say so."""
    return Interface(
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
    )


def _resolv_conf(interfaces: Sequence[Interface], servers: Iterable[str]) -> str:
    """Return a resolv.conf(5) with the servers and all search domains."""
    domains = dict.fromkeys(domain for interface in interfaces for domain in interface.search)
    text = _RESOLV_HEADER
    if domains:
        text += f"search {' '.join(domains)}\n"
    for server in servers:
        text += f"nameserver {server}\n"
    return text
