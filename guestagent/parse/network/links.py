"""The links of network_data.json: NICs, bonds of them, VLANs on either.

Sources: Nova's ``doc/api_schemas/network_data.json``; Ironic takes the same document from its
operators, with the options of the bonding driver as ``bond_*`` keys.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import Bond, Vlan
from guestagent.parse.items import quote_type
from guestagent.parse.network import address
from guestagent.parse.network.drafts import Draft
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Origin, Problems
    from guestagent.parse.items import Item

# All of them are plain NICs to the guest, "bridge" too: they name what the host plugs it into.
# One that is not listed is a plain NIC as well, with a warning.
_NIC_TYPES = frozenset(
    (
        *("bgpovs", "bridge", "cascading", "dvs", "ethernet", "hw_veb", "hyperv"),
        *("ovs", "phy", "physical", "tap", "vhostuser", "vif"),
    )
)
# What the kernel has below /proc/sys/net and /sys/class/net, and what netplan takes for a setting.
_RESERVED_NAMES = ("all", "default", "lo", "bonding_masters", "renderer")


class Words(NamedTuple):
    """What a document calls the members and the primary of a bond, tag and link of a VLAN."""

    members: str
    primary: str
    tag: str
    link: str


class Links:
    """Drafts by the ids of their interfaces, while what they say of each other is not checked.

    ``items`` are the objects they are read from.  ``member_origins`` has where a bond names a
    member, by the ids of both.
    """

    def __init__(self, problems: Problems, words: Words) -> None:
        self.problems = problems
        self.words = words
        self.drafts: dict[str, Draft] = {}
        self.items: dict[str, Item] = {}
        self.member_origins: dict[tuple[str, str], Origin] = {}

    def resolve(self) -> None:
        """Drop what cannot be; which is reported."""
        self._resolve_bonds()
        self._drop_repeated_tags()
        self._drop_vlans_without_link()
        self._drop_circles()

    def read_members(self, item: Item, bond: str, limit: int) -> tuple[str, ...]:
        """Return the ids of a bond's members, each once; note where they are named."""
        found: dict[str, Origin] = {}
        for origin, member in item.entries(self.words.members, limit):
            if isinstance(member, str) and member:
                found.setdefault(member, origin)
            else:
                self.problems.error(origin, "must be the id of a link")
        for member, origin in found.items():
            self.member_origins[bond, member] = origin
        return tuple(found)

    def _resolve_bonds(self) -> None:
        """Leave each bond the members that exist and are free; drop a bond without members."""
        for name, draft in list(self.drafts.items()):
            if draft.bond is None:
                continue
            members = tuple(member for member in draft.bond.members if self._join(name, member))
            if not members:
                self._drop(name, self.words.members, "names no link that can be used")
                continue
            options = dict(draft.bond.options)
            # Only now it is known which members are left.
            if options.get("primary", members[0]) not in members:
                self.items[name].error(self.words.primary, "is not a member of the bond")
                del options["primary"]
            draft.bond = Bond(members, draft.bond.mode, tuple(options.items()))

    def _join(self, bond: str, member: str) -> bool:
        """Make a link a member of a bond; return whether it can be one."""
        draft = self.drafts.get(member)
        origin = self.member_origins[bond, member]
        if draft is None or draft.stacked:
            self.problems.error(origin, "names no NIC that can be used")
            return False
        if draft.master:
            self.problems.error(origin, "names a member of another bond")
            return False
        draft.master = bond
        return True

    def _drop_repeated_tags(self) -> None:
        """Drop each VLAN whose tag an earlier one has on the same link."""
        seen: set[Vlan] = set()
        for name, draft in list(self.drafts.items()):
            if draft.vlan is None:
                continue
            if draft.vlan in seen:
                self._drop(name, self.words.tag, "is the tag of an earlier VLAN of that link")
            seen.add(draft.vlan)

    def _drop_vlans_without_link(self) -> None:
        """Drop each VLAN whose link is missing or a member of a bond."""
        # To drop one may leave another, which is on top of it, without a link: until all have one.
        while broken := [name for name, draft in self.drafts.items() if self._lacks_link(draft)]:
            for name in broken:
                self._drop(name, self.words.link, "names a link that is missing or cannot be used")

    def _lacks_link(self, draft: Draft) -> bool:
        if draft.vlan is None:
            return False
        parent = self.drafts.get(draft.vlan.parent)
        return parent is None or bool(parent.master)

    def _drop_circles(self) -> None:
        """Drop each VLAN that is, over other VLANs, on top of itself."""
        # All of them are found before the first is dropped: it would open the circle.
        for name in [name for name, draft in self.drafts.items() if self._in_circle(draft)]:
            self._drop(name, self.words.link, "leads back to the VLAN itself")

    def _in_circle(self, draft: Draft) -> bool:
        here: Draft | None = draft
        for _ in self.drafts:
            if here is None or here.vlan is None:
                return False
            here = self.drafts.get(here.vlan.parent)
        return True

    def _drop(self, name: str, field: str, reason: str) -> None:
        self.items[name].error(field, reason)
        del self.drafts[name]


_WORDS = Words("bond_links", "bond_primary", "vlan_id", "vlan_link")


def read_links(document: Item) -> dict[str, Draft]:
    """Return a draft for each usable link, by its id, in the document's order."""
    links = _Links(document.problems, _WORDS)
    document.read_each("links", defs.MAX_INTERFACES, links.read)
    links.resolve()
    return links.drafts


def check_name(text: str) -> str:
    """Return a name that a NIC, a bond or a VLAN may have."""
    name = address.interface_name(text)
    if name in _RESERVED_NAMES or name.isdigit():
        raise FieldError("is not a name for an interface: the system uses it otherwise")
    return name


class _Links(Links):
    """The links of the document."""

    def read(self, item: Item) -> None:
        """Read one link.  Raises BadItem."""
        name = item.require_text("id")
        if name in self.drafts:
            raise item.bad("id", "is the id of an earlier link")
        kind = item.get("type")
        if kind == "bond":
            draft = self._read_bond(item, name)
        elif kind == "vlan":
            draft = _read_vlan(item)
        else:
            if kind is not None and not (isinstance(kind, str) and kind in _NIC_TYPES):
                item.warn("type", f"{quote_type(kind)} is not a known type of link; used as a NIC")
            draft = self._read_nic(item)
        draft.id = name
        draft.mtu = item.take("mtu", lambda value: address.mtu(address.whole_number(value)))
        self.drafts[name] = draft
        self.items[name] = item

    def _read_nic(self, item: Item) -> Draft:
        name = "ethernet_mac_address"
        if item.get(name) in (None, "") and item.get("name") is not None:
            return self._read_named_nic(item)
        mac = item.require(name, address.nic_mac, item.require_text(name))
        # A bond or a VLAN may have the address of a NIC below it.
        if any(draft.mac == mac for draft in self.drafts.values() if not draft.stacked):
            raise item.bad(name, "is the MAC address of an earlier link")
        return Draft(mac, item.origin)

    def _read_named_nic(self, item: Item) -> Draft:
        """Read a NIC that is known by the kernel's name alone."""
        name = item.require("name", check_name, item.require_text("name"))
        for draft in self.drafts.values():
            if draft.name == name and not draft.stacked:
                raise item.bad("name", "is the name of an earlier link")
        return Draft("", item.origin, name)

    def _read_bond(self, item: Item, bond: str) -> Draft:
        from guestagent.parse.network import bonding  # few guests have bonds

        mode = bonding.MODES[0]
        if item.get("bond_mode") is not None:
            mode = item.require("bond_mode", bonding.mode, item.get("bond_mode"))
        draft = _read_stacked(item, "ethernet_mac_address")
        members = self.read_members(item, bond, defs.MAX_INTERFACES)
        draft.bond = Bond(members, mode, _read_bond_options(item, mode))
        return draft


def _read_bond_options(item: Item, mode: str) -> tuple[tuple[str, str], ...]:
    from guestagent.parse.network import bonding

    given = {
        name.removeprefix("bond_"): name
        for name in item.fields
        if name.startswith("bond_") and name not in ("bond_mode", "bond_links")
    }
    return bonding.read_options(item, given, mode)


def _read_stacked(item: Item, mac_field: str) -> Draft:
    """Return a draft of a bond or VLAN.  A bad MAC address or name is left out alone."""
    mac = item.take_text(mac_field, address.mac)
    name = item.take_text("name", check_name)
    return Draft(mac or "", item.origin, name or "")


def _read_vlan(item: Item) -> Draft:
    tag = item.require("vlan_id", _check_tag, item.get("vlan_id"))
    parent = item.require_text("vlan_link")
    draft = _read_stacked(item, "vlan_mac_address")
    draft.vlan = Vlan(parent, tag)
    return draft


def _check_tag(value: object) -> int:
    return address.vlan_tag(address.whole_number(value))
