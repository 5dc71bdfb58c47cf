"""What one interface is to have, in a form that no network stack owns.

Expectations of the conformance cases are written in it by hand; each oracle turns what a real
tool says into it, and tests in booted guests what the kernel says.  What a stack cannot say
is in ``allowances`` only.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

MAIN_TABLE = 254
KERNEL_METRICS = {4: 0, 6: 1024}
Dhcp6 = Literal["no", "slaac", "stateless", "stateful"]


class Route(NamedTuple):
    """A static route; ``metric`` is the number in effect, ``gateway`` "" for none."""

    destination: str
    gateway: str
    metric: int
    on_link: bool = False
    table: int = MAIN_TABLE


class Rule(NamedTuple):
    """Policy routing: packets from ``source`` use ``table``."""

    source: str
    table: int


class Bond(NamedTuple):
    """Kernel names of the members, and the options by the kernel's names, the mode apart."""

    mode: str
    members: frozenset[str]
    options: frozenset[tuple[str, str]]


class Vlan(NamedTuple):
    """Kernel name of the interface below, and the tag."""

    parent: str
    tag: int


class Link(NamedTuple):
    """One interface.  ``name`` is the kernel's.

    ``mac`` is the address that a bond or VLAN is given, "" where the kernel chooses, and always
    "" for a NIC.  ``metric`` is that of dynamic default routes, None the stack's own.
    ``required`` says that the boot waits for it: never for one without any address to get.
    DNS servers and search domains keep their order, everything else has none.
    """

    name: str
    addresses: frozenset[str] = frozenset()
    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()
    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    mtu: int | None = None
    dhcp4: bool = False
    dhcp6: Dhcp6 = "no"
    accept_ra: bool | None = None
    metric: int | None = None
    bond: Bond | None = None
    vlan: Vlan | None = None
    mac: str = ""
    required: bool = True

    @property
    def nic(self) -> bool:
        """True for what the guest has by itself."""
        return self.bond is None and self.vlan is None


def family(text: str) -> Literal[4, 6]:
    """4 or 6, for an address or a prefix."""
    return 6 if ":" in text else 4


def route(
    destination: str,
    gateway: str = "",
    metric: int | None = None,
    *,
    on_link: bool = False,
    table: int = MAIN_TABLE,
) -> Route:
    """Return a route; without a metric it has the kernel's, 0 or 1024 by family."""
    if metric is None:
        metric = KERNEL_METRICS[family(destination)]
    return Route(destination, gateway, metric, on_link, table)


def link(
    name: str,
    *addresses: str,
    routes: tuple[Route, ...] = (),
    rules: tuple[Rule, ...] = (),
    **others: object,
) -> Link:
    """Return a link; one that gets no address in any way is not required."""
    found = Link(name, frozenset(addresses), frozenset(routes), frozenset(rules))
    found = found._replace(**others)  # type: ignore[arg-type]
    return found if gets_address(found) else found._replace(required=False)


def bond(mode: str, *members: str, **options: str | int) -> Bond:
    """Return a bond; ``miimon`` is 100 unless links are watched in a way that is given."""
    if not {"miimon", "arp_interval"} & options.keys():
        options["miimon"] = 100
    return Bond(mode, frozenset(members), frozenset((k, str(v)) for k, v in options.items()))


def gets_address(found: Link) -> bool:
    """Tell whether the link has any known way to get an address."""
    dynamic = found.dhcp4 or found.dhcp6 != "no" or bool(found.accept_ra)
    return bool(found.addresses) or dynamic


def differences(expected: dict[str, Link], found: dict[str, Link]) -> list[str]:
    """One line for each fact that is not as expected: link, fact, both values."""
    lines = [f"{name}: is not there" for name in expected.keys() - found.keys()]
    lines += [f"{name}: should not be there" for name in found.keys() - expected.keys()]
    for name in sorted(expected.keys() & found.keys()):
        pairs = zip(Link._fields, expected[name], found[name], strict=True)
        lines += [
            f"{name}: {field} should be {_shown(wanted)}, is {_shown(got)}"
            for field, wanted, got in pairs
            if wanted != got
        ]
    return lines


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(_shown(item) for item in value)) + "}"
    if isinstance(value, Bond):
        return f"{value.mode} of {_shown(value.members)} with {_shown(value.options)}"
    return repr(value)
