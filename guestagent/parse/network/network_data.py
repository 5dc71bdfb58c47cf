"""network_data.json of OpenStack (Nova's ``virt/netutils.py``) to the network model.

Every network of a link is added to the one interface of that link.  A bad item spoils only
itself: an address its network, a route or a DNS entry only that entry.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.model import Network
from guestagent.parse.network import address
from guestagent.parse.network.interfaces import route, settle
from guestagent.parse.network.items import BadItem, Reader, at, text_at
from guestagent.parse.network.links import read_links
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from guestagent.errors import Origin, Problem
    from guestagent.model import Route
    from guestagent.parse.network.interfaces import Draft
    from guestagent.parse.network.items import Object

_NETWORK_LIMIT = 4 * defs.MAX_INTERFACES


class _Method(NamedTuple):
    """How a network type gives an address: ``static`` in the document, else by protocol."""

    version: Literal[4, 6]
    static: bool = False
    dhcp4: bool = False
    dhcp6: Literal["no", "slaac", "stateless", "stateful"] = "no"
    accept_ra: bool | None = None


_METHODS = {
    "ipv4": _Method(4, static=True),
    "ipv4_dhcp": _Method(4, dhcp4=True),
    "ipv6": _Method(6, static=True, accept_ra=False),
    "ipv6_dhcp": _Method(6, dhcp6="stateful", accept_ra=True),
    "ipv6_slaac": _Method(6, dhcp6="slaac", accept_ra=True),
    "ipv6_dhcpv6-stateful": _Method(6, dhcp6="stateful", accept_ra=True),
    "ipv6_dhcpv6-stateless": _Method(6, dhcp6="stateless", accept_ra=True),
}


def parse_network(
    document: object, origin_of: Callable[[str], Origin]
) -> tuple[Network, list[Problem]]:
    """Parse the decoded document; ``origin_of`` makes the origin of a key path.  Never raises."""
    reader = _Networks(origin_of)
    if isinstance(document, dict):
        reader.read(document)
    else:
        reader.error("", "must be an object")
    interfaces = settle(draft.freeze() for draft in reader.drafts.values())
    return Network(interfaces, origin_of("")), reader.notes.problems


class _Networks(Reader):
    """One pass over the document: links, the networks on them, the DNS servers for all."""

    def __init__(self, origin_of: Callable[[str], Origin]) -> None:
        super().__init__(origin_of)
        self.drafts: dict[str, Draft] = {}
        self.route_count = 0

    def read(self, document: Object) -> None:
        """Fill the drafts."""
        self.drafts = read_links(self, document)
        self.each(document, "networks", _NETWORK_LIMIT, self._network)
        servers, search = self._dns(document, "")
        for draft in self.drafts.values():
            if draft.networks:
                draft.dns += servers
                draft.search += search

    def _network(self, key: str, entry: Object) -> None:
        method = _METHODS.get(text_at(key, entry, "type"))
        if method is None:
            raise BadItem(f"{key}.type", "is not a known type of network")
        draft = self.drafts.get(text_at(key, entry, "link"))
        if draft is None:
            raise BadItem(f"{key}.link", "names a link that is missing or cannot be used")
        if draft.master:
            raise BadItem(f"{key}.link", "names a member of a bond, which has no address itself")
        if method.static:
            draft.addresses.append(_static_address(key, entry, method.version))
        draft.add(method.dhcp4, method.dhcp6, method.accept_ra)
        self._add_dns(draft, entry, key)
        self._routes(key, entry, method, draft)

    def _routes(self, key: str, entry: Object, method: _Method, draft: Draft) -> None:
        """Read the routes; where router advertisements bring them, only their DNS servers."""

        def read(key: str, item: Object) -> None:
            self._add_dns(draft, item, key)
            if not method.accept_ra:
                self._add_route(draft, _route(key, item))

        if entry.get("gateway") is not None and not method.accept_ra:
            everything = "0.0.0.0/0" if method.version == 4 else "::/0"
            gateway = text_at(key, entry, "gateway")
            try:
                default = at(f"{key}.gateway", route, everything, gateway, None)
                self._add_route(draft, default)
            except BadItem as bad:
                self.error(bad.key, bad.reason)
        self.each(entry, f"{key}.routes", defs.MAX_ROUTES, read)

    def _add_route(self, draft: Draft, entry: Route) -> None:
        self.route_count += 1
        if self.route_count <= defs.MAX_ROUTES:
            draft.routes.append(entry)
        elif self.route_count == defs.MAX_ROUTES + 1:
            self.error("networks", f"more than {defs.MAX_ROUTES} routes; the rest is left out")

    def _add_dns(self, draft: Draft, parent: Object, path: str) -> None:
        servers, search = self._dns(parent, path)
        draft.dns += servers
        draft.search += search

    def _dns(self, parent: Object, path: str) -> tuple[list[str], list[str]]:
        """DNS servers and search domains of an object, in their order.

        Nova gives services; the two lists are what cloud-init reads besides.
        """
        servers: list[str] = []

        def read(key: str, item: Object) -> None:
            if item.get("type") == "dns":
                servers.append(at(f"{key}.address", address.address, text_at(key, item, "address")))

        self.each(parent, f"{path}.services".removeprefix("."), defs.MAX_ROUTES, read)
        servers += self._list(parent, f"{path}.dns_nameservers", address.address)
        search = self._list(parent, f"{path}.dns_search", address.domain)
        # Neutron's way to say that a subnet shall have no DNS server.
        return [server for server in servers if server not in address.UNSPECIFIED], search

    def _list(self, parent: Object, path: str, check: Callable[[str], str]) -> list[str]:
        found = []
        for key, item in self.items(parent, path.removeprefix("."), defs.MAX_ROUTES):
            value = self.tried(key, check, item) if isinstance(item, str) else None
            if value:
                found.append(value)
            elif not isinstance(item, str):
                self.error(key, "must be text")
        return found


def _mask(key: str, entry: Object) -> str | None:
    value = entry.get("netmask")
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 128:
        raise BadItem(f"{key}.netmask", "must be a netmask or a prefix length")
    return str(value)


def _prefixed(key: str, entry: Object, name: str, function: Callable[..., str]) -> str:
    """An address at ``name`` with its length, from the text itself or ``netmask``."""
    text = text_at(key, entry, name)
    mask = _mask(key, entry)
    if mask is not None and "/" not in text:
        length = at(f"{key}.netmask", address.prefix_length, mask, address.family(text))
        mask = str(length)
    return at(f"{key}.{name}", function, text, mask)


def _static_address(key: str, entry: Object, version: int) -> str:
    if address.family(text_at(key, entry, "ip_address")) != version:
        raise BadItem(f"{key}.ip_address", f"is not an IPv{version} address")
    return _prefixed(key, entry, "ip_address", address.interface_address)


def _route(key: str, entry: Object) -> Route:
    name = "destination" if entry.get("destination") is not None else "network"
    destination = _prefixed(key, entry, name, address.network)
    gateway = None if entry.get("gateway") is None else text_at(key, entry, "gateway")
    if entry.get("metric") is not None:
        at(f"{key}.metric", address.metric, entry["metric"])
    return at(f"{key}.gateway", route, destination, gateway, entry.get("metric"))
