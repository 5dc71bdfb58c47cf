"""Version 2 of ``network-config``, which is netplan's format: netplan(5)."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import Bond, Vlan
from guestagent.parse.items import BadItem, Item
from guestagent.parse.network import address
from guestagent.parse.network.config import read_gateway, read_mac, refuse_others, switch
from guestagent.parse.network.drafts import Draft, make_route
from guestagent.parse.network.links import Links, Words, check_name
from guestagent.parse.network.network_data import read_texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Route

_WORDS = Words("interfaces", "parameters.primary", "id", "link")
_KINDS = ("ethernets", "bonds", "vlans")
_TOP = frozenset(("version", "renderer", *_KINDS))
# They say nothing of what the interface is to have.
_WITHOUT_EFFECT = frozenset(
    (
        *("renderer", "wakeonlan", "critical", "dhcp-identifier", "emit-lldp"),
        *("optional-addresses", "ignore-carrier"),
    )
)
_NOT_NEEDED = "has no effect: it is left to the guest"
_COMMON = _WITHOUT_EFFECT | {
    *("dhcp4", "dhcp6", "dhcp4-overrides", "dhcp6-overrides", "accept-ra", "addresses"),
    *("gateway4", "gateway6", "link-local", "mtu", "nameservers", "optional", "routes"),
}
_KEYS = {
    "ethernets": _COMMON | {"match", "set-name"},
    "bonds": _COMMON | {"interfaces", "parameters", "macaddress"},
    "vlans": _COMMON | {"id", "link", "macaddress"},
}
_NAMESERVERS = frozenset(("addresses", "search"))
_ROUTE = frozenset(("to", "via", "metric", "on-link", "table", "type", "scope"))
_ONE_MATCH = (
    "must be one macaddress, or one name without wildcards; an interface is not configured by "
    "another match"
)
_GLOBS = frozenset("*?[]")
_FLAGS = frozenset(
    (
        *("use-dns", "use-domains", "use-hostname", "use-mtu", "use-ntp", "use-routes"),
        "send-hostname",
    )
)
_OVERRIDES = _FLAGS | {"route-metric"}
_ONLY_TRUE = "is not supported but as true; it is ignored"
_NO_DHCP6 = "cannot be false with dhcp6: true; it is ignored"
_NO_GATEWAY = "is missing, and scope is not link"
_ONLY_UNICAST = "must be unicast: other types are not supported"
_LINK_LOCAL = "is not supported but as [ipv6]; it is ignored"
# Names of parameters that are not those of the driver with hyphens.
_PARAMETERS = {
    "all-members-active": "all_slaves_active",
    "arp-ip-targets": "arp_ip_target",
    "down-delay": "downdelay",
    "fail-over-mac-policy": "fail_over_mac",
    "gratuitious-arp": "num_grat_arp",
    "gratuitous-arp": "num_grat_arp",
    "learn-packet-interval": "lp_interval",
    "mii-monitor-interval": "miimon",
    "packets-per-member": "packets_per_slave",
    "primary-reselect-policy": "primary_reselect",
    "transmit-hash-policy": "xmit_hash_policy",
    "up-delay": "updelay",
}
_TIMES = frozenset(("mii-monitor-interval", "arp-interval", "up-delay", "down-delay"))


def read(item: Item) -> list[Draft]:
    """Return the interfaces of a document: NICs, then bonds, then VLANs."""
    reader = _Reader(item)
    refuse_others(item, _TOP)
    if item.get("renderer") is not None:
        item.warn("renderer", _NOT_NEEDED)
    for kind in _KINDS:
        group = item.child(kind)
        if group is not None:
            reader.read_group(kind, group)
    reader.links.resolve()
    return reader.finish()


class _Reader:
    """Reads the definitions of interfaces, by their ids."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.links = Links(item.problems, _WORDS)

    def read_group(self, kind: str, group: Item) -> None:
        """Read all definitions of a kind."""
        for number, (name, value) in enumerate(group.fields.items()):
            # An id may be any text: in messages its number stands for one that is no name.
            step = name if _is_name(name) else number
            origin = group.origin.under(step)
            fields = {} if value is None else value
            if not isinstance(fields, dict):
                group.problems.error(origin, "must be a mapping")
                continue
            try:
                self._read(kind, name, Item(fields, origin, group.problems))
            except BadItem as bad:
                group.problems.add(bad.problem)

    def _read(self, kind: str, name: str, item: Item) -> None:
        """Read one definition.  Raises BadItem."""
        refuse_others(item, _KEYS[kind])
        for field in sorted(_WITHOUT_EFFECT & item.fields.keys()):
            item.warn(field, _NOT_NEEDED)
        if name in self.links.drafts:
            raise BadItem(item.origin.error("is the id of an earlier interface"))
        if len(self.links.drafts) >= defs.MAX_INTERFACES:
            reason = f"there are more than {defs.MAX_INTERFACES} interfaces"
            raise BadItem(item.origin.error(reason))
        draft = (
            self._read_nic(item, name) if kind == "ethernets" else self._read_stacked(item, name)
        )
        draft.id = name
        self.links.drafts[name] = draft
        self.links.items[name] = item
        _read_protocols(item, draft)
        _read_fixed(item, draft)

    def _read_nic(self, item: Item, name: str) -> Draft:
        mac, name = _read_match(item, name)
        for draft in self.links.drafts.values():
            if (draft.mac, draft.name) == (mac, name) or (mac and draft.mac == mac):
                raise BadItem(item.origin.error("is the same NIC as an earlier interface"))
        if item.get("set-name") is not None:
            name = item.take_text("set-name", address.interface_name) or name
        return Draft(mac, item.origin, name)

    def _read_stacked(self, item: Item, name: str) -> Draft:
        mac = ""
        if item.get("macaddress") is not None:
            mac = read_mac(item, "macaddress", address.mac)
        draft = Draft(mac, item.origin, _check_id(item, name))
        if "id" in item.fields:
            tag = item.require("id", address.vlan_tag, address.whole_number(item.get("id")))
            draft.vlan = Vlan(item.require_text("link"), tag)
        else:
            draft.bond = self._read_bond(item, name)
        return draft

    def _read_bond(self, item: Item, name: str) -> Bond:
        from guestagent.parse.network import bonding

        parameters = item.child("parameters") or Item({}, item.origin, item.problems)
        values = dict(parameters.fields)
        for field in _TIMES & values.keys():
            values[field] = _milliseconds(values[field])
        parameters = parameters._replace(fields=values)
        mode = bonding.MODES[0]
        if values.get("mode") is not None:
            mode = parameters.require("mode", bonding.mode, values["mode"])
        given = {
            _PARAMETERS.get(field, field.replace("-", "_")): field
            for field in values
            if field != "mode"
        }
        members = self.links.read_members(item, name, defs.MAX_INTERFACES)
        return Bond(members, mode, bonding.read_options(parameters, given, mode))

    def finish(self) -> list[Draft]:
        """Return the interfaces; members of a bond have no addresses."""
        drafts = list(self.links.drafts.values())
        for draft in drafts:
            if draft.master and draft.drop_networks():
                reason = "has addresses, which are left out: it is a member of a bond"
                self.item.problems.error(draft.origin, reason)
        return drafts


def _is_name(text: str) -> bool:
    try:
        return bool(address.interface_name(text))
    except FieldError:
        return False


def _check_id(item: Item, name: str) -> str:
    """Return an id that is the name of an interface.  Raises BadItem for one that cannot be."""
    try:
        return check_name(name)
    except FieldError as error:
        raise BadItem(item.origin.error(f"as the name of an interface, its id {error}")) from None


def _read_match(item: Item, name: str) -> tuple[str, str]:
    """Return the MAC address and the name of the NIC that is meant, one of them empty.

    Without ``match`` the id is the name.  Raises BadItem.
    """
    if "match" not in item.fields:
        return "", _check_id(item, name)
    match = item.child("match")
    if match is None or len(match.fields) != 1 or not match.fields.keys() <= {"macaddress", "name"}:
        raise item.bad("match", _ONE_MATCH)
    if "macaddress" in match.fields:
        return read_mac(match, "macaddress", address.nic_mac), ""
    text = match.require_text("name")
    if _GLOBS & set(text):
        raise match.bad("name", _ONE_MATCH)
    return "", match.require("name", check_name, text)


def _read_protocols(item: Item, draft: Draft) -> None:
    """Read how addresses are got."""
    dhcp4 = bool(item.take("dhcp4", switch))
    dhcp6 = bool(item.take("dhcp6", switch))
    accept_ra = item.take("accept-ra", switch)
    if dhcp6 and accept_ra is False:
        item.error("accept-ra", _NO_DHCP6)
    if dhcp6:
        accept_ra = True
    draft.add_network(dhcp4=dhcp4, dhcp6="stateful" if dhcp6 else "no", accept_ra=accept_ra)
    if item.get("link-local") not in (None, ["ipv6"]):
        item.error("link-local", _LINK_LOCAL)
    for name, is_on in (("dhcp4-overrides", dhcp4), ("dhcp6-overrides", dhcp6)):
        overrides = item.child(name)
        if overrides is not None and is_on:
            _read_overrides(overrides, draft)


def _read_overrides(item: Item, draft: Draft) -> None:
    refuse_others(item, _OVERRIDES)
    for name in sorted(_FLAGS & item.fields.keys()):
        if item.get(name) is not True:
            item.error(name, _ONLY_TRUE)
    metric = item.take("route-metric", lambda value: address.metric(address.whole_number(value)))
    if metric is not None:
        if draft.metric not in (None, metric):
            item.error("route-metric", "differs from that of the other protocol; it is ignored")
        else:
            draft.metric = metric


def _read_fixed(item: Item, draft: Draft) -> None:
    """Read what does not come from the network."""
    for origin, entry in item.entries("addresses", defs.MAX_ROUTES):
        if isinstance(entry, dict) and len(entry) == 1:  # with options of the address
            item.problems.error(origin, "options of an address are not supported; left out")
            entry = next(iter(entry))
        text = item.problems.take_text(origin, address.interface_address, entry)
        draft.addresses += [] if text is None else [text]
    for name in ("gateway4", "gateway6"):
        if item.get(name) is not None:
            route = read_gateway(item._replace(fields={name: item.get(name)}), name)
            draft.routes.append(route)
    item.read_each("routes", defs.MAX_ROUTES, lambda route: draft.routes.append(_read_route(route)))
    servers = item.child("nameservers")
    if servers is not None:
        refuse_others(servers, _NAMESERVERS)
        draft.dns += read_texts(servers, "addresses", address.address)
        draft.search += read_texts(servers, "search", address.domain)
    draft.mtu = item.take("mtu", lambda value: address.mtu(address.whole_number(value)))
    draft.required = not item.take("optional", switch)


def _read_route(item: Item) -> Route:
    """Return a route.  Raises BadItem.

    ``on-link`` is not needed: it follows from the addresses of the interface.
    """
    others = item.fields.keys() - _ROUTE
    if others or item.get("type") not in (None, "unicast"):
        # A route that does something else is worse than none.
        name = min(others, default="type")
        raise item.bad(name if name.isprintable() else "(a key)", _ONLY_UNICAST)
    via = None if item.get("via") is None else item.require_text("via")
    if via is None and item.get("scope") != "link":
        raise item.bad("via", _NO_GATEWAY)
    destination = item.require("to", _destination, item.require_text("to"), via)
    metric = item.take("metric", lambda value: address.metric(address.whole_number(value)))
    route = item.require("via", make_route, destination, via, metric)
    if item.get("table") is not None:
        table = item.require("table", address.table, address.whole_number(item.get("table")))
        route = route._replace(table=table)
    return route


def _destination(text: str, via: str | None) -> str:
    """Return a prefix: "default" is everything of the gateway's family, an address itself."""
    if text == "default":
        return "::/0" if via and address.family(via) == 6 else "0.0.0.0/0"
    return address.network(text, "32" if address.family(text) == 4 else "128")


def _milliseconds(value: object) -> object:
    """Return a time in milliseconds, which may have a unit: ``100``, ``100ms``, ``1s``."""
    if not isinstance(value, str):
        return value
    if value.endswith("ms"):
        return value.removesuffix("ms")
    digits = value.removesuffix("s")
    return f"{digits}000" if digits != value and digits.isdigit() else value
