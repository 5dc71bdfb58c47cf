"""The networks of network_data.json, as OpenStack writes it (Nova's ``virt/netutils.py``).

Each network of a link is added to the one interface of that link.  A bad value spoils as little as
it can: an address its network, a route or a DNS server only itself.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Problems
from guestagent.model import Network
from guestagent.parse.items import BadItem, Item, quote_type
from guestagent.parse.network import address
from guestagent.parse.network.drafts import make_route, settle_routes
from guestagent.parse.network.links import read_links
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from guestagent.errors import Origin
    from guestagent.model import Route
    from guestagent.parse.network.drafts import Draft

# An interface may well have a network of each family, and more than one.
_NETWORK_LIMIT = 4 * defs.MAX_INTERFACES


class _Method(NamedTuple):
    """How a type of network gives an address: ``static`` in the document, else by protocol."""

    version: Literal[4, 6]
    static: bool = False
    dhcp4: bool = False
    dhcp6: Literal["no", "slaac", "stateless", "stateful"] = "no"
    accept_ra: bool | None = None


# By the types that Nova gives; those of IPv6 are made of Neutron's ipv6_address_mode.
_METHODS = {
    "ipv4": _Method(4, static=True),
    "ipv4_dhcp": _Method(4, dhcp4=True),
    "ipv6": _Method(6, static=True, accept_ra=False),
    "ipv6_dhcp": _Method(6, dhcp6="stateful", accept_ra=True),
    "ipv6_slaac": _Method(6, dhcp6="slaac", accept_ra=True),
    "ipv6_dhcpv6-stateful": _Method(6, dhcp6="stateful", accept_ra=True),
    "ipv6_dhcpv6-stateless": _Method(6, dhcp6="stateless", accept_ra=True),
}


def parse_network_data(document: object, origin: Origin, problems: Problems) -> Network:
    """Return the network that the decoded document at ``origin`` describes.

    Values that cannot be used are reported.  Raises nothing.
    """
    drafts: dict[str, Draft] = {}
    partial = False
    if isinstance(document, dict):
        reader = _Document(Item(document, origin, problems))
        drafts = reader.read()
        partial = reader.partial
    else:
        problems.error(origin, "must be an object")
    interfaces = settle_routes(draft.freeze() for draft in drafts.values())
    return Network(interfaces, origin, partial)


def read_texts(item: Item, name: str, check: Callable[[str], str]) -> list[str]:
    """Return the usable strings of a list, in canonical form."""
    found = []
    for origin, entry in item.entries(name, defs.MAX_ROUTES):
        text = item.problems.take_text(origin, check, entry)
        if text is not None:
            found.append(text)
    return found


def _read_mask(item: Item) -> str | None:
    """Return ``netmask``, which may be a number of bits, as text; None where it is not given."""
    value = item.get("netmask")
    if isinstance(value, float):
        value = address.whole_number(value)
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 128:
        raise item.bad("netmask", "must be a netmask or a prefix length")
    return str(value)


def read_prefixed(item: Item, name: str, function: Callable[[str, str | None], str]) -> str:
    """Return the address of a field with its prefix length, made by a function of ``address``.

    The length is in the field itself, or in ``netmask``.
    """
    text = item.require_text(name)
    mask = _read_mask(item)
    # A length in the field itself wins; a netmask beside it may be of the other form.
    if mask is not None and "/" not in text:
        family = address.family(text)
        mask = str(item.require("netmask", address.prefix_length, mask, family))
    return item.require(name, function, text, mask)


def read_route(item: Item) -> Route:
    """Return a route: its destination with a prefix length or ``netmask``, gateway and metric.

    Raises BadItem.
    """
    # Nova writes "network"; "destination" is the word of others.
    name = "network" if item.get("destination") is None else "destination"
    destination = read_prefixed(item, name, address.network)
    gateway = None if item.get("gateway") is None else item.require_text("gateway")
    metric = None
    if item.get("metric") is not None:
        metric = item.require("metric", address.metric, address.whole_number(item.get("metric")))
    return item.require("gateway", make_route, destination, gateway, metric)


class _Document:
    """The document while its networks are read into the drafts of its links."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.drafts = read_links(item)
        self.route_count = 0
        self.partial = not _are_objects(item, "links") or not _are_objects(item, "networks")
        if not self.partial:
            self.partial = len(self.drafts) < len(item.get("links") or ())

    def read(self) -> dict[str, Draft]:
        """Return the drafts of the usable links by the links' ids, with all their networks."""
        self.item.read_each("networks", _NETWORK_LIMIT, self._read_whole_network)
        # DNS servers of the document itself are for all interfaces, after their own.
        servers, search = _read_dns(self.item)
        for draft in self.drafts.values():
            if draft.networks:
                draft.dns += servers
                draft.search += search
        return self.drafts

    def _read_whole_network(self, network: Item) -> None:
        """Read a network, and note whose it is if a part of it cannot be used."""
        # Its problems are collected apart: the document's own are limited in number.
        found = Problems()
        try:
            self._read_network(network._replace(problems=found))
        except BadItem as bad:
            found.add(bad.problem)
        if any(problem.severity == "error" for problem in found.problems):
            link = network.get("link")
            draft = self.drafts.get(link) if isinstance(link, str) else None
            if draft is None:
                self.partial = True
            else:
                draft.partial = True
        network.problems.add_all(found)

    def _read_network(self, network: Item) -> None:
        method = _read_method(network)
        draft = self.drafts.get(network.require_text("link"))
        if draft is None:
            raise network.bad("link", "names a link that is missing or cannot be used")
        if draft.master:
            raise network.bad("link", "names a member of a bond, which has no address of its own")
        if method.static:
            draft.addresses.append(_read_static_address(network, method.version))
        draft.add_network(dhcp4=method.dhcp4, dhcp6=method.dhcp6, accept_ra=method.accept_ra)
        _add_dns(draft, network)
        if not method.accept_ra:
            self._read_gateway(network, method.version, draft)
        self._read_routes(network, method, draft)

    def _read_gateway(self, network: Item, version: int, draft: Draft) -> None:
        """Read the gateway of a network that has one outside of its routes."""
        everything = "0.0.0.0/0" if version == 4 else "::/0"

        def default_route(gateway: str) -> Route:
            return make_route(everything, gateway, None)

        route = network.take_text("gateway", default_route)
        if route is not None:
            self._add_route(draft, route)

    def _read_routes(self, network: Item, method: _Method, draft: Draft) -> None:
        def read(item: Item) -> None:
            _add_dns(draft, item)
            # Where routers advertise themselves they give the routes, and the document need not.
            if not method.accept_ra:
                self._add_route(draft, read_route(item))

        network.read_each("routes", defs.MAX_ROUTES, read)

    def _add_route(self, draft: Draft, route: Route) -> None:
        self.route_count += 1
        if self.route_count <= defs.MAX_ROUTES:
            draft.routes.append(route)
        elif self.route_count == defs.MAX_ROUTES + 1:
            reason = f"has more than {defs.MAX_ROUTES} routes; the rest is left out"
            self.item.error("networks", reason)


def _are_objects(item: Item, name: str) -> bool:
    """Tell whether a field is a list of objects, or is not given."""
    value = item.get(name)
    if value is None:
        return True
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _read_method(network: Item) -> _Method:
    """Return how a network gives an address.

    One of an unknown type that has an address is static.  Raises BadItem.
    """
    kind = network.get("type")
    if isinstance(kind, str) and kind in _METHODS:
        return _METHODS[kind]
    text = network.get("ip_address")
    if not isinstance(text, str) or not text:
        reason = "is not a known type of network, and without ip_address it is not static either"
        raise network.bad("type", reason)
    reason = f"{quote_type(kind)} is not a known type of network; its ip_address is static"
    network.warn("type", reason)
    return _METHODS[f"ipv{address.family(text)}"]


def _add_dns(draft: Draft, item: Item) -> None:
    servers, search = _read_dns(item)
    draft.dns += servers
    draft.search += search


def _read_dns(item: Item) -> tuple[list[str], list[str]]:
    """Return the DNS servers and the search domains of an object, in their order.

    Nova writes ``services``; cloud-init also reads the two lists.
    """
    servers: list[str] = []
    for service in item.objects("services", defs.MAX_ROUTES):
        if service.get("type") == "dns":
            server = service.take_needed_text("address", address.address)
            servers += [] if server is None else [server]
    servers += read_texts(item, "dns_nameservers", address.address)
    search = read_texts(item, "dns_search", address.domain)
    # Neutron gives the unspecified address for a subnet that is to have no DNS server.
    return [server for server in servers if server not in address.UNSPECIFIED], search


def _read_static_address(network: Item, version: int) -> str:
    if address.family(network.require_text("ip_address")) != version:
        raise network.bad("ip_address", f"is not an IPv{version} address")
    return read_prefixed(network, "ip_address", address.interface_address)
