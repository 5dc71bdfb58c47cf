"""The links of network_data.json: NICs, bonds of them, VLANs on either.

Sources: Nova's ``doc/api_schemas/network_data.json``; Ironic takes the same document from its
operators, with the options of the bonding driver as ``bond_*`` keys.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import Bond, Vlan
from guestagent.parse.network import address
from guestagent.parse.network.interfaces import Draft
from guestagent.parse.network.items import BadItem, at, text_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.parse.network.items import Object, Reader

# All of them are plain NICs to the guest, "bridge" too: they name what the host plugs it into.
_NIC_TYPES = frozenset(
    (
        *("bgpovs", "bridge", "cascading", "dvs", "ethernet", "hw_veb", "hyperv"),
        *("ovs", "phy", "physical", "tap", "vhostuser", "vif"),
    )
)
# What the kernel's documentation recommends; by default no link is watched at all.
_MII_MONITOR = ("miimon", "100")
_KEY_LIMIT = 32
# What the kernel has below /proc/sys/net and /sys/class/net, and what netplan takes for a setting.
_TAKEN_WORDS = ("all", "default", "lo", "bonding_masters", "renderer")


def read_links(reader: Reader, document: Object) -> dict[str, Draft]:
    """A draft for each usable link, by its id, in the document's order."""
    links = _Links(reader)
    reader.each(document, "links", defs.MAX_INTERFACES, links.add)
    links.resolve_bonds()
    links.resolve_vlans()
    return links.drafts


class _Links:
    """The links while what they say of each other is still unproven."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.drafts: dict[str, Draft] = {}
        self.keys: dict[str, str] = {}
        self.member_keys: dict[tuple[str, str], str] = {}

    def add(self, key: str, entry: Object) -> None:
        """Read one link.  Raises BadItem."""
        name = text_at(key, entry, "id")
        if name in self.drafts:
            raise BadItem(f"{key}.id", "is the id of an earlier link")
        kind = entry.get("type")
        if kind == "bond":
            draft = self._bond(key, entry, name)
        elif kind == "vlan":
            draft = self._vlan(key, entry)
        elif kind is None or (isinstance(kind, str) and kind in _NIC_TYPES):
            draft = self._nic(key, entry)
        else:
            raise BadItem(f"{key}.type", "is not a known type of link")
        draft.id = name
        self.drafts[name], self.keys[name] = draft, key
        if entry.get("mtu") is not None:
            draft.mtu = self.reader.tried(f"{key}.mtu", address.mtu, entry["mtu"])

    def _nic(self, key: str, entry: Object) -> Draft:
        where = f"{key}.ethernet_mac_address"
        mac = at(where, address.mac, text_at(key, entry, "ethernet_mac_address"))
        if any(draft.mac == mac for draft in self.drafts.values() if not draft.stacked):
            raise BadItem(where, "is the MAC address of an earlier link")
        return Draft(mac, self.reader.origin_of(key))

    def _stacked(self, key: str, entry: Object, mac_key: str) -> Draft:
        """A draft of what the guest makes; a bad address or name of it is only left out."""
        mac = name = None
        if entry.get(mac_key) is not None:
            mac = self.reader.tried(f"{key}.{mac_key}", _mac, entry[mac_key])
        if entry.get("name") is not None:
            name = self.reader.tried(f"{key}.name", _new_name, entry["name"])
        return Draft(mac or "", self.reader.origin_of(key), name or "")

    def _bond(self, key: str, entry: Object, bond: str) -> Draft:
        from guestagent.parse.network import bonding  # few guests have any

        given = entry.get("bond_mode")
        mode = bonding.MODES[0] if given is None else at(f"{key}.bond_mode", bonding.mode, given)
        draft = self._stacked(key, entry, "ethernet_mac_address")
        members: dict[str, str] = {}
        for where, item in self.reader.items(entry, f"{key}.bond_links", defs.MAX_INTERFACES):
            if isinstance(item, str) and item:
                members.setdefault(item, where)
            else:
                self.reader.error(where, "must be the id of a link")
        self.member_keys |= {(bond, member): where for member, where in members.items()}
        draft.bond = Bond(tuple(members), mode, self._options(key, entry, mode))
        return draft

    def _options(self, key: str, entry: Object, mode: str) -> tuple[tuple[str, str], ...]:
        from guestagent.parse.network import bonding

        options = {}
        for name, value in entry.items():
            option = name.removeprefix("bond_")
            if option == name or option in ("mode", "links") or value is None:
                continue
            # A key of the source's own making is not repeated where it could not be read.
            where = f"{key}.{name}" if name.isprintable() and len(name) <= _KEY_LIMIT else key
            if found := self.reader.tried(where, bonding.option, option, value, mode):
                options[found[0]] = found[1]
        if options.get("arp_interval", "0") == "0" or "arp_ip_target" not in options:
            options.setdefault(*_MII_MONITOR)
        for name in bonding.conflicts(options):
            del options[name]
            self.reader.error(f"{key}.bond_{name}", "does not go with the bond's other options")
        return tuple(sorted(options.items()))

    def _vlan(self, key: str, entry: Object) -> Draft:
        tag = at(f"{key}.vlan_id", _tag, entry.get("vlan_id"))
        parent = text_at(key, entry, "vlan_link")
        draft = self._stacked(key, entry, "vlan_mac_address")
        draft.vlan = Vlan(parent, tag)
        return draft

    def resolve_bonds(self) -> None:
        """Leave each bond the members that are there and free; drop a bond without any."""
        for name, draft in list(self.drafts.items()):
            if draft.bond is None:
                continue
            key = self.keys[name]
            members = [member for member in draft.bond.members if self._joins(name, member)]
            if not members:
                self.reader.error(f"{key}.bond_links", "names no link that can be used")
                del self.drafts[name]
                continue
            options = dict(draft.bond.options)
            if options.get("primary", members[0]) not in members:
                self.reader.error(f"{key}.bond_primary", "is not a member of the bond")
                del options["primary"]
            draft.bond = Bond(tuple(members), draft.bond.mode, tuple(options.items()))

    def _joins(self, bond: str, member: str) -> bool:
        draft = self.drafts.get(member)
        where = self.member_keys[bond, member]
        if draft is None or draft.stacked:
            self.reader.error(where, "names no NIC that can be used")
            return False
        if draft.master:
            self.reader.error(where, "names a member of another bond")
            return False
        draft.master = bond
        return True

    def resolve_vlans(self) -> None:
        """Drop each VLAN whose link is missing, in a bond, or in the end itself."""
        seen: set[Vlan] = set()
        for name, draft in list(self.drafts.items()):
            if draft.vlan is None:
                continue
            if draft.vlan in seen:
                self._drop(name, "vlan_id", "is the tag of an earlier VLAN of that link")
            seen.add(draft.vlan)
        while broken := [name for name, draft in self.drafts.items() if self._hangs(draft)]:
            for name in broken:
                self._drop(name, "vlan_link", "names a link that is missing or cannot be used")
        for name in [name for name, draft in self.drafts.items() if self._in_circle(draft)]:
            self._drop(name, "vlan_link", "leads back to the VLAN itself")

    def _hangs(self, draft: Draft) -> bool:
        parent = self.drafts.get(draft.vlan.parent) if draft.vlan else draft
        return parent is None or (draft.vlan is not None and bool(parent.master))

    def _in_circle(self, draft: Draft) -> bool:
        here: Draft | None = draft
        for _ in self.drafts:
            if here is None or here.vlan is None:
                return False
            here = self.drafts.get(here.vlan.parent)
        return True

    def _drop(self, name: str, key: str, reason: str) -> None:
        self.reader.error(f"{self.keys[name]}.{key}", reason)
        del self.drafts[name]


def _mac(value: object) -> str:
    if not isinstance(value, str):
        raise FieldError("must be text")
    return address.mac(value)


def _new_name(value: object) -> str:
    """A name for an interface that does not exist yet."""
    if not isinstance(value, str):
        raise FieldError("must be text")
    name = address.interface_name(value)
    if name in _TAKEN_WORDS or name.isdigit():
        raise FieldError("is not a name for an interface")
    return name


def _tag(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 4:
        value = int(value)
    return address.vlan_tag(value)
