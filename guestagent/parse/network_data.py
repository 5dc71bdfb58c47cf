"""network_data.json of OpenStack (Nova's ``virt/netutils.py``) to the network model.

Every network of a link is added to the one interface of that link.  A bad item spoils only
itself: an address its network, a route or a DNS entry only that entry.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import Network
from guestagent.parse import address
from guestagent.parse.interfaces import Draft, Notes, route, settle
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeVar

    from guestagent.errors import Problem
    from guestagent.model import Origin, Route

    T = TypeVar("T")
    Object = dict[str, object]

# All of them are plain NICs to the guest, "bridge" too: they name what the host plugs it into.
_NIC_TYPES = frozenset(
    (
        *("bgpovs", "bridge", "cascading", "dvs", "ethernet", "hw_veb", "hyperv"),
        *("ovs", "phy", "physical", "tap", "vhostuser", "vif"),
    )
)
_STACKED_TYPES = ("bond", "vlan")
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
    reader = _Reader(origin_of)
    if isinstance(document, dict):
        reader.read(document)
    else:
        reader.error("", "must be an object")
    interfaces = settle(draft.freeze() for draft in reader.drafts.values())
    return Network(interfaces, origin_of("")), reader.notes.problems


class _BadItem(Exception):
    """The item being read cannot be used, because of what stands at ``key``."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


class _Reader:
    """One pass over the document, collecting drafts by link id, and problems."""

    def __init__(self, origin_of: Callable[[str], Origin]) -> None:
        self.origin_of = origin_of
        self.notes = Notes()
        self.drafts: dict[str, Draft] = {}
        self.route_count = 0

    def error(self, key: str, reason: str) -> None:
        self.notes.add("error", self.origin_of(key), reason)

    def read(self, document: Object) -> None:
        """Read links, then the networks on them, then the DNS servers for all of them."""
        self._each(document, "links", defs.MAX_INTERFACES, self._link)
        self._each(document, "networks", _NETWORK_LIMIT, self._network)
        servers = self._dns(document, "")
        for draft in self.drafts.values():
            if draft.networks:
                draft.dns += servers

    def _each(
        self, parent: Object, path: str, limit: int, read: Callable[[str, Object], None]
    ) -> None:
        """Read each item of the list at the path's last key; a bad one is noted, not raised."""
        for key, item in self._items(parent, path, limit):
            try:
                read(key, _object(key, item))
            except _BadItem as bad:
                self.error(bad.key, bad.reason)

    def _items(self, parent: Object, path: str, limit: int) -> Iterator[tuple[str, object]]:
        items = parent.get(path.rpartition(".")[2])
        if items is None:
            return
        if not isinstance(items, list):
            self.error(path, "must be a list")
            return
        if len(items) > limit:
            self.error(path, f"has more than {limit} items; the rest is left out")
        for index, item in enumerate(items[:limit]):
            yield f"{path}[{index}]", item

    def _link(self, key: str, entry: Object) -> None:
        name = _text(key, entry, "id")
        kind = entry.get("type")
        if kind in _STACKED_TYPES:
            raise _BadItem(f"{key}.type", "is not supported yet; only plain interfaces are")
        if kind is not None and not (isinstance(kind, str) and kind in _NIC_TYPES):
            raise _BadItem(f"{key}.type", "is not a known type of link")
        mac_key = f"{key}.ethernet_mac_address"
        mac = _at(mac_key, address.mac, _text(key, entry, "ethernet_mac_address"))
        if name in self.drafts:
            raise _BadItem(f"{key}.id", "is the id of an earlier link")
        if any(draft.mac == mac for draft in self.drafts.values()):
            raise _BadItem(mac_key, "is the MAC address of an earlier link")
        draft = self.drafts[name] = Draft(mac, self.origin_of(key))
        if entry.get("mtu") is not None:
            draft.mtu = _at(f"{key}.mtu", address.mtu, entry["mtu"])

    def _network(self, key: str, entry: Object) -> None:
        method = _METHODS.get(_text(key, entry, "type"))
        if method is None:
            raise _BadItem(f"{key}.type", "is not a known type of network")
        draft = self.drafts.get(_text(key, entry, "link"))
        if draft is None:
            raise _BadItem(f"{key}.link", "names a link that is missing or cannot be used")
        if method.static:
            draft.addresses.append(_static_address(key, entry, method.version))
        draft.add(method.dhcp4, method.dhcp6, method.accept_ra)
        draft.dns += self._dns(entry, key)
        self._routes(key, entry, method, draft)

    def _routes(self, key: str, entry: Object, method: _Method, draft: Draft) -> None:
        """Read the routes; where router advertisements bring them, only their DNS servers."""

        def read(key: str, item: Object) -> None:
            draft.dns += self._dns(item, key)
            if not method.accept_ra:
                self._add_route(draft, _route(key, item))

        if entry.get("gateway") is not None and not method.accept_ra:
            everything = "0.0.0.0/0" if method.version == 4 else "::/0"
            gateway = _text(key, entry, "gateway")
            try:
                default = _at(f"{key}.gateway", route, everything, gateway, None)
                self._add_route(draft, default)
            except _BadItem as bad:
                self.error(bad.key, bad.reason)
        self._each(entry, f"{key}.routes", defs.MAX_ROUTES, read)

    def _add_route(self, draft: Draft, entry: Route) -> None:
        self.route_count += 1
        if self.route_count <= defs.MAX_ROUTES:
            draft.routes.append(entry)
        elif self.route_count == defs.MAX_ROUTES + 1:
            self.error("networks", f"more than {defs.MAX_ROUTES} routes; the rest is left out")

    def _dns(self, parent: Object, path: str) -> list[str]:
        """The DNS servers among an object's services, in their order."""
        servers: list[str] = []

        def read(key: str, item: Object) -> None:
            if item.get("type") == "dns":
                servers.append(_at(f"{key}.address", address.address, _text(key, item, "address")))

        self._each(parent, f"{path}.services".removeprefix("."), defs.MAX_ROUTES, read)
        # Neutron's way to say that a subnet shall have no DNS server.
        return [server for server in servers if server not in address.UNSPECIFIED]


def _at(key: str, function: Callable[..., T], *arguments: object) -> T:
    """Call a validator; what it raises becomes the problem of the item at ``key``."""
    try:
        return function(*arguments)
    except FieldError as error:
        raise _BadItem(key, str(error)) from None


def _object(key: str, item: object) -> Object:
    if not isinstance(item, dict):
        raise _BadItem(key, "must be an object")
    return item


def _text(key: str, entry: Object, name: str) -> str:
    value = entry.get(name)
    if value is None or value == "":
        raise _BadItem(f"{key}.{name}", "is missing")
    if not isinstance(value, str):
        raise _BadItem(f"{key}.{name}", "must be text")
    return value


def _mask(key: str, entry: Object) -> str | None:
    value = entry.get("netmask")
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 128:
        raise _BadItem(f"{key}.netmask", "must be a netmask or a prefix length")
    return str(value)


def _prefixed(key: str, entry: Object, name: str, function: Callable[..., str]) -> str:
    """An address at ``name`` with its length, from the text itself or ``netmask``."""
    text = _text(key, entry, name)
    mask = _mask(key, entry)
    if mask is not None and "/" not in text:
        length = _at(f"{key}.netmask", address.prefix_length, mask, address.family(text))
        mask = str(length)
    return _at(f"{key}.{name}", function, text, mask)


def _static_address(key: str, entry: Object, version: int) -> str:
    if address.family(_text(key, entry, "ip_address")) != version:
        raise _BadItem(f"{key}.ip_address", f"is not an IPv{version} address")
    return _prefixed(key, entry, "ip_address", address.interface_address)


def _route(key: str, entry: Object) -> Route:
    name = "destination" if entry.get("destination") is not None else "network"
    destination = _prefixed(key, entry, name, address.network)
    gateway = None if entry.get("gateway") is None else _text(key, entry, "gateway")
    if entry.get("metric") is not None:
        _at(f"{key}.metric", address.metric, entry["metric"])
    return _at(f"{key}.gateway", route, destination, gateway, entry.get("metric"))
