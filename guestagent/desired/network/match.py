"""Match the interfaces that the source describes with the NICs of this guest, and name them.

A NIC is found by its permanent MAC address.  No NIC is renamed, and no text of the source
becomes a name unchecked.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.model import infiniband_guid, short_infiniband_mac
from guestagent.stacks.check import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Problems
    from guestagent.model import Bond, Interface, Nic, Vlan

_NOT_RENAMED = "the NIC keeps its name {name}: NICs are not renamed"
# So many NICs a message lists.
_SHOWN = 8


def match(
    interfaces: Sequence[Interface], nics: Sequence[Nic] | None, problems: Problems
) -> list[Interface]:
    """Return the interfaces that the guest can have: NICs, then bonds, then VLANs.

    A VLAN comes after the interface that it is on.  Each interface has a safe label as its id, by
    which bonds and VLANs refer to it; a NIC of a running guest has the name of that NIC too.  An
    interface that the guest lacks, and one that only such interfaces carry, become problems.
    ``nics`` is None where the NICs are not known.
    """
    matching = _Matching(nics, problems)
    for interface in interfaces:
        if not interface.stacked:
            matching.add_nic(interface)
    matching.choose_names([interface for interface in interfaces if interface.stacked])
    for interface in interfaces:
        if interface.bond is not None:
            matching.add_bond(interface, interface.bond)
    matching.add_vlans([interface for interface in interfaces if interface.vlan is not None])
    return list(matching.matched.values())


class _Matching:
    """The interfaces that are matched so far."""

    def __init__(self, nics: Sequence[Nic] | None, problems: Problems) -> None:
        self.nics = nics
        self.problems = problems
        self.matched: dict[str, Interface] = {}  # by label
        self.labels: dict[str, str] = {}  # by the source's id
        self.names: dict[str, str] = {}  # of bonds and VLANs, by the source's id

    def _accept(self, interface: Interface, label: str) -> None:
        """Keep an interface under a label, unless something is wrong with it."""
        try:
            found = check(interface._replace(id=label))
            if label in self.matched:
                raise FieldError("is the same NIC as an earlier interface; ignored")
        except FieldError as error:
            self.problems.error(interface.origin, str(error))
            return
        self.matched[label] = found
        self.labels[interface.id] = label

    def add_nic(self, interface: Interface) -> None:
        """Match an interface with a NIC."""
        if self.nics is not None:
            nic = _find(self.nics, interface)
            if nic is None:
                self.problems.error(interface.origin, _absent(interface, self.nics))
                return
            if interface.name not in ("", nic.name):
                self.problems.warn(interface.origin, _NOT_RENAMED.format(name=nic.name))
            interface = interface._replace(mac=nic.mac.lower(), name=nic.name)
        elif interface.infiniband:
            reason = "a NIC of InfiniBand is found in a running guest only; ignored"
            self.problems.error(interface.origin, reason)
            return
        elif interface.mac:
            interface = interface._replace(name="")
        mac = interface.mac.replace(":", "")
        by_name = interface.infiniband or not mac
        self._accept(interface, interface.name if by_name else f"nic{mac}")

    def choose_names(self, stacked: Sequence[Interface]) -> None:
        """Choose the names of bonds and VLANs: what the source wants where that is free."""
        taken = {nic.name for nic in self.nics or ()}
        taken |= {found.name for found in self.matched.values()}
        taken |= set(self.matched)
        # Names that the source wants come first: none of them may go to another interface.
        for interface in stacked:
            if interface.name and interface.name not in taken:
                taken.add(interface.name)
                self.names[interface.id] = interface.name
        for interface in stacked:
            if interface.id not in self.names:
                name = _free_name(interface, taken)
                taken.add(name)
                self.names[interface.id] = name

    def add_bond(self, interface: Interface, bond: Bond) -> None:
        """Accept a bond with those of its members that the guest has."""
        members = tuple(self.labels[member] for member in bond.members if member in self.labels)
        if not members:
            reason = "this guest has none of the bond's links; ignored"
            self.problems.error(interface.origin, reason)
            return
        options = []
        for name, value in bond.options:
            if name != "primary":
                options.append((name, value))
            elif value in self.labels:
                options.append((name, self.labels[value]))
        name = self.names[interface.id]
        bond = bond._replace(members=members, options=tuple(options))
        self._accept(interface._replace(name=name, bond=bond), name)

    def add_vlans(self, vlans: Sequence[Interface]) -> None:
        """Accept VLANs, each after the interface that it is on, which may be a later VLAN."""
        waiting = list(vlans)
        while waiting:
            ids = {vlan.id for vlan in waiting}
            later = []
            for interface in waiting:
                assert interface.vlan is not None
                if interface.vlan.parent in ids - self.labels.keys():
                    later.append(interface)
                else:
                    self._add_vlan(interface, interface.vlan)
            if later == waiting:
                # They are on each other, in a circle.  No parser gives such VLANs.
                for interface in waiting:
                    self._reject_vlan(interface)
                return
            waiting = later

    def _add_vlan(self, interface: Interface, vlan: Vlan) -> None:
        if vlan.parent not in self.labels:
            self._reject_vlan(interface)
            return
        name = self.names[interface.id]
        vlan = vlan._replace(parent=self.labels[vlan.parent])
        self._accept(interface._replace(name=name, vlan=vlan), name)

    def _reject_vlan(self, interface: Interface) -> None:
        self.problems.error(interface.origin, "this guest does not have the VLAN's link; ignored")


def _find(nics: Sequence[Nic], interface: Interface) -> Nic | None:
    """Return the NIC with the MAC address of an interface or, if it has none, with its name."""
    mac = interface.mac.lower()
    for nic in nics:
        if mac and (nic.mac.lower() == mac or _is_infiniband(nic, mac)):
            return nic
        if not mac and nic.name == interface.name:
            return nic
    return None


def _is_infiniband(nic: Nic, mac: str) -> bool:
    """Tell whether a NIC is the port of InfiniBand that a MAC address, of 20 or 6 octets, names."""
    own = nic.mac.lower()
    if own.count(":") != defs.INFINIBAND_OCTETS - 1:
        return False
    if mac.count(":") == own.count(":"):
        return infiniband_guid(mac) == infiniband_guid(own)
    return mac == short_infiniband_mac(own)


def _absent(interface: Interface, nics: Sequence[Nic]) -> str:
    """Say which NIC the source means that the guest lacks, and which NICs there are."""
    wanted = f"MAC address {interface.mac}" if interface.mac else f"name {interface.name}"
    shown = [f"{nic.name} {nic.mac}".strip() for nic in nics[:_SHOWN]]
    if len(nics) > _SHOWN:
        shown.append(f"{len(nics) - _SHOWN} more")
    present = ", ".join(shown) or "none"
    return f"no NIC of this guest has the {wanted} (NICs present: {present}); ignored"


def _free_name(interface: Interface, taken: set[str]) -> str:
    """Return the first name that is free of bond0, bond1, … or vlan7, vlan7-1, …"""
    number = 0
    while True:
        if interface.vlan is None:
            name = f"bond{number}"
        elif number == 0:
            name = f"vlan{interface.vlan.tag}"
        else:
            name = f"vlan{interface.vlan.tag}-{number}"
        if name not in taken:
            return name
        number += 1
