"""From what the source describes to what this guest has: matched, named and in order.

A NIC is found by its permanent MAC address.  No NIC is renamed, and no word of the source
becomes a name unchecked.
"""

from __future__ import annotations

from guestagent.errors import FieldError, Problem
from guestagent.stacks.check import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.model import Interface, Nic


def problem(severity: str, interface: Interface, reason: str) -> Problem:
    """A problem with an interface, at the place that describes it."""
    return Problem(severity, *interface.origin, reason)  # type: ignore[arg-type]


def select(
    interfaces: Sequence[Interface], nics: Sequence[Nic] | None
) -> tuple[list[Interface], list[Problem]]:
    """The interfaces that the guest can have: NICs, then bonds, then VLANs after their parents.

    Each has a safe label as its id, by which bonds and VLANs refer to it, a NIC of a running
    guest also the name of its NIC.  What the guest lacks, and what only that carries, is a problem.
    """
    selection = _Selection(nics)
    for interface in interfaces:
        if not interface.stacked:
            selection.add_nic(interface)
    selection.name([interface for interface in interfaces if interface.stacked])
    for interface in interfaces:
        if interface.bond is not None:
            selection.add_bond(interface)
    vlans = [interface for interface in interfaces if interface.vlan is not None]
    while vlans:
        later = [vlan for vlan in vlans if not selection.add_vlan(vlan, vlans)]
        # None of those in a circle ever has its link: no parser gives one, and this would not end.
        vlans = later if later != vlans else [v for v in later if not selection.add_vlan(v, ())]
    return list(selection.chosen.values()), selection.problems


class _Selection:
    def __init__(self, nics: Sequence[Nic] | None) -> None:
        self.nics = nics
        self.chosen: dict[str, Interface] = {}  # by label
        self.labels: dict[str, str] = {}  # by the source's id
        self.names: dict[str, str] = {}  # of bonds and VLANs, by the source's id
        self.problems: list[Problem] = []

    def _take(self, interface: Interface, label: str) -> None:
        """Accept an interface under a label, or note what is wrong with it."""
        try:
            found = check(interface._replace(id=label))
            if label in self.chosen:
                raise FieldError("is the same NIC as an earlier interface; it is left out")
        except FieldError as error:
            self.problems.append(problem("error", interface, str(error)))
            return
        self.chosen[label] = found
        self.labels[interface.id] = label

    def add_nic(self, interface: Interface) -> None:
        """Match a NIC."""
        if self.nics is not None:
            mac = interface.mac.lower()
            found = [nic for nic in self.nics if _is(nic, mac, interface.name)]
            if not found:
                wanted = "MAC address" if mac else "name"
                reason = f"no NIC of this guest has its {wanted}; it is left out"
                self.problems.append(problem("error", interface, reason))
                return
            interface = interface._replace(mac=found[0].mac.lower(), name=found[0].name)
        mac = interface.mac.replace(":", "")
        self._take(interface, f"nic{mac}" if mac else interface.name)

    def name(self, stacked: Sequence[Interface]) -> None:
        """Choose names: what the source wants where that is free, else by kind and number."""
        taken = {nic.name for nic in self.nics or ()}
        taken |= {found.name for found in self.chosen.values()} | set(self.chosen)
        for interface in stacked:
            if interface.name and interface.name not in taken:
                taken.add(interface.name)
                self.names[interface.id] = interface.name
        for interface in stacked:
            if interface.id not in self.names:
                self.names[interface.id] = name = _free_name(interface, taken)
                taken.add(name)

    def add_bond(self, interface: Interface) -> None:
        """Accept a bond with those of its members that the guest has."""
        assert interface.bond is not None
        bond = interface.bond
        members = tuple(self.labels[m] for m in bond.members if m in self.labels)
        if not members:
            reason = "none of its links is in this guest; it is left out"
            self.problems.append(problem("error", interface, reason))
            return
        options = tuple(
            (name, self.labels.get(value, "") if name == "primary" else value)
            for name, value in bond.options
            if name != "primary" or value in self.labels
        )
        name = self.names[interface.id]
        bond = bond._replace(members=members, options=options)
        self._take(interface._replace(name=name, bond=bond), name)

    def add_vlan(self, interface: Interface, waiting: Sequence[Interface]) -> bool:
        """Accept a VLAN whose link is accepted; False while that is still to be decided."""
        assert interface.vlan is not None
        parent = interface.vlan.parent
        if parent not in self.labels and any(other.id == parent for other in waiting):
            return False
        if parent not in self.labels:
            reason = "its link is not in this guest; it is left out"
            self.problems.append(problem("error", interface, reason))
            return True
        name = self.names[interface.id]
        vlan = interface.vlan._replace(parent=self.labels[parent])
        self._take(interface._replace(name=name, vlan=vlan), name)
        return True


def _is(nic: Nic, mac: str, name: str) -> bool:
    return nic.mac.lower() == mac if mac else nic.name == name


def _free_name(interface: Interface, taken: set[str]) -> str:
    tag = interface.vlan.tag if interface.vlan else None
    number = 0
    while True:
        name = f"bond{number}" if tag is None else f"vlan{tag}" + (f"-{number}" if number else "")
        if name not in taken:
            return name
        number += 1
