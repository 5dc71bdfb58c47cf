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
# What the kernel's documentation recommends; by default the driver does not monitor links at all.
_MII_MONITOR = ("miimon", "100")
_KEY_LIMIT = 32
# What the kernel has below /proc/sys/net and /sys/class/net, and what netplan takes for a setting.
_RESERVED_NAMES = ("all", "default", "lo", "bonding_masters", "renderer")


def read_links(document: Item) -> dict[str, Draft]:
    """Return a draft for each usable link, by its id, in the document's order."""
    links = _Links(document.problems)
    document.read_each("links", defs.MAX_INTERFACES, links.read)
    links.resolve_bonds()
    links.drop_repeated_tags()
    links.drop_vlans_without_link()
    links.drop_circles()
    return links.drafts


class _Links:
    """The links, while what they say of each other is not checked yet."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.drafts: dict[str, Draft] = {}
        self.items: dict[str, Item] = {}
        # Where a bond names a member, by the ids of both.
        self.member_origins: dict[tuple[str, str], Origin] = {}

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
        name = item.require("name", _check_name, item.require_text("name"))
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
        members: dict[str, Origin] = {}
        for origin, member in item.entries("bond_links", defs.MAX_INTERFACES):
            if isinstance(member, str) and member:
                members.setdefault(member, origin)
            else:
                self.problems.error(origin, "must be the id of a link")
        for member, origin in members.items():
            self.member_origins[bond, member] = origin
        draft.bond = Bond(tuple(members), mode, self._read_bond_options(item, mode))
        return draft

    def _read_bond_options(self, item: Item, mode: str) -> tuple[tuple[str, str], ...]:
        """Return the usable options of a bond, in the order of their names."""
        from guestagent.parse.network import bonding

        options: dict[str, str] = {}
        for name, value in item.fields.items():
            if not name.startswith("bond_") or name in ("bond_mode", "bond_links"):
                continue
            if value is not None:
                options.update(self._read_bond_option(item, name, value, mode))
        # A bond that is not monitored keeps on using a link that is down.
        monitored_by_arp = options.get("arp_interval", "0") != "0" and "arp_ip_target" in options
        if not monitored_by_arp:
            options.setdefault(*_MII_MONITOR)
        for name in bonding.conflicts(options):
            del options[name]
            item.error(f"bond_{name}", "conflicts with other options of the bond")
        return tuple(sorted(options.items()))

    def _read_bond_option(self, item: Item, name: str, value: object, mode: str) -> dict[str, str]:
        """Return one option as a mapping: empty if it cannot be used, which is reported."""
        from guestagent.parse.network import bonding

        def check(value: object) -> tuple[str, str]:
            return bonding.option(name.removeprefix("bond_"), value, mode)

        # The source may make up a key that is long or unprintable: the message names the link then.
        readable = name.isprintable() and len(name) <= _KEY_LIMIT
        origin = item.origin.under(name) if readable else item.origin
        option = self.problems.take(origin, check, value)
        return {} if option is None else dict([option])

    def resolve_bonds(self) -> None:
        """Leave each bond the members that exist and are free; drop a bond without members."""
        for name, draft in list(self.drafts.items()):
            if draft.bond is None:
                continue
            members = tuple(member for member in draft.bond.members if self._join(name, member))
            if not members:
                self._drop(name, "bond_links", "names no link that can be used")
                continue
            options = dict(draft.bond.options)
            # Only now it is known which members are left.
            if options.get("primary", members[0]) not in members:
                self.items[name].error("bond_primary", "is not a member of the bond")
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

    def drop_repeated_tags(self) -> None:
        """Drop each VLAN whose tag an earlier one has on the same link."""
        seen: set[Vlan] = set()
        for name, draft in list(self.drafts.items()):
            if draft.vlan is None:
                continue
            if draft.vlan in seen:
                self._drop(name, "vlan_id", "is the tag of an earlier VLAN of that link")
            seen.add(draft.vlan)

    def drop_vlans_without_link(self) -> None:
        """Drop each VLAN whose link is missing or a member of a bond."""
        # To drop one may leave another, which is on top of it, without a link: until all have one.
        while broken := [name for name, draft in self.drafts.items() if self._lacks_link(draft)]:
            for name in broken:
                self._drop(name, "vlan_link", "names a link that is missing or cannot be used")

    def _lacks_link(self, draft: Draft) -> bool:
        if draft.vlan is None:
            return False
        parent = self.drafts.get(draft.vlan.parent)
        return parent is None or bool(parent.master)

    def drop_circles(self) -> None:
        """Drop each VLAN that is, over other VLANs, on top of itself."""
        # All of them are found before the first is dropped: it would open the circle.
        for name in [name for name, draft in self.drafts.items() if self._in_circle(draft)]:
            self._drop(name, "vlan_link", "leads back to the VLAN itself")

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


def _read_stacked(item: Item, mac_field: str) -> Draft:
    """Return a draft of a bond or VLAN.  A bad MAC address or name is left out alone."""
    mac = item.take_text(mac_field, address.mac)
    name = item.take_text("name", _check_name)
    return Draft(mac or "", item.origin, name or "")


def _read_vlan(item: Item) -> Draft:
    tag = item.require("vlan_id", _check_tag, item.get("vlan_id"))
    parent = item.require_text("vlan_link")
    draft = _read_stacked(item, "vlan_mac_address")
    draft.vlan = Vlan(parent, tag)
    return draft


def _check_name(text: str) -> str:
    """Return a name that a NIC, a bond or a VLAN may have."""
    name = address.interface_name(text)
    if name in _RESERVED_NAMES or name.isdigit():
        raise FieldError("is not a name for an interface: the system uses it otherwise")
    return name


def _check_tag(value: object) -> int:
    return address.vlan_tag(address.whole_number(value))
