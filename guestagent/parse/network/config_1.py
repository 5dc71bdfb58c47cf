"""Version 1 of ``network-config``: a list of interfaces, each with its subnets."""

from __future__ import annotations

from guestagent import defs
from guestagent.model import Bond, Vlan
from guestagent.parse.items import BadItem, Item, quote_type
from guestagent.parse.network import address
from guestagent.parse.network.config import read_gateway, read_mac, refuse_others, switch
from guestagent.parse.network.drafts import Draft
from guestagent.parse.network.links import Links, Words, check_name
from guestagent.parse.network.network_data import read_prefixed, read_route, read_texts
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

_WORDS = Words("bond_interfaces", "params.primary", "vlan_id", "vlan_link")
_NICS = ("physical", "infiniband")
_COMMON = frozenset(("type", "name", "mac_address", "mtu", "accept-ra", "subnets"))
_KEYS = {
    **dict.fromkeys(_NICS, _COMMON),
    "bond": _COMMON | {"bond_interfaces", "params"},
    "vlan": _COMMON | {"vlan_id", "vlan_link"},
    "loopback": frozenset(("type", "name", "subnets")),
    "nameserver": frozenset(("type", "address", "search", "interface")),
    "route": frozenset(("type", "destination", "netmask", "gateway", "metric")),
}
_UNKNOWN = f"is not supported, and the entry is left out; supported are {', '.join(sorted(_KEYS))}"
# "broadcast" follows from the address.
_SUBNET = frozenset(
    (
        *("type", "control", "address", "netmask", "broadcast", "gateway", "metric"),
        *("dns_nameservers", "dns_search", "routes"),
    )
)
_ROUTE = frozenset(("destination", "network", "netmask", "gateway", "metric"))
_CONTROL = ("auto", "hotplug")
_METHOD = "is not a known type of subnet, which is left out"
_NOT_AT_BOOT = "must be auto or hotplug: the interface is configured at boot all the same"
_MEMBER = "are left out: a member of a bond has no address of its own"


class _Way(NamedTuple):
    """How a type of subnet gives an address: ``static`` in the document, else by protocol."""

    static: bool = False
    dhcp4: bool = False
    dhcp6: Literal["no", "slaac", "stateless", "stateful"] = "no"
    accept_ra: bool | None = None


_STATEFUL = _Way(dhcp6="stateful", accept_ra=True)
_WAYS = {
    "dhcp": _Way(dhcp4=True),
    "dhcp4": _Way(dhcp4=True),
    "dhcp6": _STATEFUL,
    "ipv6_dhcpv6-stateful": _STATEFUL,
    "ipv6_dhcpv6-stateless": _Way(dhcp6="stateless", accept_ra=True),
    "ipv6_slaac": _Way(dhcp6="slaac", accept_ra=True),
    "static": _Way(static=True),
    "static6": _Way(static=True),
    "manual": _Way(),
}


def read(item: Item) -> list[Draft]:
    """Return the interfaces of a document, in its order."""
    reader = _Reader(item)
    refuse_others(item, frozenset(("version", "config")))
    item.read_each("config", 2 * defs.MAX_INTERFACES, reader.read)
    reader.links.resolve()
    return reader.finish()


class _Reader:
    """Reads the entries.  Those of DNS and of routes are for interfaces that may come later."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.links = Links(item.problems, _WORDS)
        self.later: list[Item] = []
        self.common = Draft("", item.origin)  # what is said for all interfaces

    def read(self, entry: Item) -> None:
        """Read one entry.  Raises BadItem."""
        kind = entry.get("type")
        if not isinstance(kind, str) or kind not in _KEYS:
            raise entry.bad("type", f"{quote_type(kind)} {_UNKNOWN}")
        refuse_others(entry, _KEYS[kind])
        if kind in ("nameserver", "route"):
            self.later.append(entry)
            return
        if kind == "loopback":
            for subnet in entry.objects("subnets", defs.MAX_INTERFACES):
                _read_dns(subnet, "dns_nameservers", "dns_search", self.common)
            return
        name = entry.require_text("name")
        if name in self.links.drafts:
            raise entry.bad("name", "is the name of an earlier entry")
        if len(self.links.drafts) >= defs.MAX_INTERFACES:
            raise entry.bad("name", f"there are more than {defs.MAX_INTERFACES} interfaces")
        draft = self._read_nic(entry, name) if kind in _NICS else self._read_stacked(entry, name)
        draft.id = name
        draft.mtu = entry.take("mtu", lambda value: address.mtu(address.whole_number(value)))
        self.links.drafts[name] = draft
        self.links.items[name] = entry
        if entry.get("accept-ra") is not None:
            draft.add_network(accept_ra=entry.take("accept-ra", switch))
        entry.read_each("subnets", defs.MAX_INTERFACES, lambda subnet: _read_subnet(subnet, draft))

    def _read_nic(self, entry: Item, name: str) -> Draft:
        if entry.get("mac_address") is None:
            return Draft("", entry.origin, entry.require("name", check_name, name))
        mac = read_mac(entry, "mac_address", address.nic_mac)
        if any(draft.mac == mac for draft in self.links.drafts.values() if not draft.stacked):
            raise entry.bad("mac_address", "is the MAC address of an earlier entry")
        return Draft(mac, entry.origin, name)

    def _read_stacked(self, entry: Item, name: str) -> Draft:
        mac = ""
        if entry.get("mac_address") is not None:
            mac = read_mac(entry, "mac_address", address.mac)
        draft = Draft(mac, entry.origin, entry.require("name", check_name, name))
        if entry.get("type") == "bond":
            draft.bond = self._read_bond(entry, name)
        else:
            tag = entry.require(
                "vlan_id", address.vlan_tag, address.whole_number(entry.get("vlan_id"))
            )
            draft.vlan = Vlan(entry.require_text("vlan_link"), tag)
        return draft

    def _read_bond(self, entry: Item, name: str) -> Bond:
        from guestagent.parse.network import bonding

        params = entry.child("params") or Item({}, entry.origin, entry.problems)
        given = {_option_name(field): field for field in params.fields}
        mode = bonding.MODES[0]
        field = given.pop("mode", "mode")
        if params.get(field) is not None:
            mode = params.require(field, bonding.mode, params.get(field))
        members = self.links.read_members(entry, name, defs.MAX_INTERFACES)
        return Bond(members, mode, bonding.read_options(params, given, mode))

    def finish(self) -> list[Draft]:
        """Read what is for interfaces that came before or after; return the interfaces."""
        drafts = list(self.links.drafts.values())
        for draft in drafts:
            if draft.master and draft.drop_networks():
                self.item.problems.error(draft.origin.under("subnets"), _MEMBER)
        for entry in self.later:
            try:
                if entry.get("type") == "route":
                    self._add_route(entry, drafts)
                else:
                    self._add_nameserver(entry)
            except BadItem as bad:
                self.item.problems.add(bad.problem)
        for draft in drafts:
            if draft.networks and not draft.master:
                draft.dns += self.common.dns
                draft.search += self.common.search
        return drafts

    def _add_nameserver(self, entry: Item) -> None:
        draft = self.common
        if entry.get("interface") is not None:
            name = entry.require_text("interface")
            if name not in self.links.drafts:
                raise entry.bad("interface", "names an interface that is missing or cannot be used")
            draft = self.links.drafts[name]
        _read_dns(entry, "address", "search", draft)

    def _add_route(self, entry: Item, drafts: list[Draft]) -> None:
        """Add a route to the interface that has its gateway in a subnet."""
        route = read_route(entry)
        for draft in drafts:
            if route.gateway and any(
                address.contains(cidr, route.gateway) for cidr in draft.addresses
            ):
                draft.routes.append(route)
                return
        raise entry.bad("gateway", "is in no subnet of an interface; give the route in a subnet")


def _option_name(field: str) -> str:
    """Return the driver's name of an option: the document may write bond-lacp-rate."""
    return field.replace("-", "_").removeprefix("bond_")


def _read_subnet(subnet: Item, draft: Draft) -> None:
    """Add a subnet to an interface.  Raises BadItem."""
    refuse_others(subnet, _SUBNET)
    kind = subnet.get("type")
    if not isinstance(kind, str) or kind not in _WAYS:
        raise subnet.bad("type", f"{quote_type(kind)} {_METHOD}")
    if subnet.get("control") not in (None, "auto", "hotplug"):
        subnet.error("control", _NOT_AT_BOOT)
    way = _WAYS[kind]
    if way.static:
        draft.addresses.append(read_prefixed(subnet, "address", address.interface_address))
    draft.add_network(dhcp4=way.dhcp4, dhcp6=way.dhcp6, accept_ra=way.accept_ra)
    _read_dns(subnet, "dns_nameservers", "dns_search", draft)
    if subnet.get("gateway") is not None:
        draft.routes.append(read_gateway(subnet, "gateway"))
    subnet.read_each("routes", defs.MAX_ROUTES, lambda route: _add_route(route, draft))


def _add_route(route: Item, draft: Draft) -> None:
    refuse_others(route, _ROUTE)
    draft.routes.append(read_route(route))


def _read_dns(item: Item, servers: str, search: str, draft: Draft) -> None:
    """Read servers and search domains; each may be a list, or a text with spaces."""
    fields = {
        name: value.split() if isinstance(value, str) else value
        for name, value in item.fields.items()
    }
    listed = item._replace(fields=fields)
    draft.dns += read_texts(listed, servers, address.address)
    draft.search += read_texts(listed, search, address.domain)
