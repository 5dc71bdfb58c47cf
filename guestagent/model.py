"""The nouns: what a source says about this instance, validated and source-independent.

Every value carries its origin, so that each change can say why it is made.  ``None``
means not given (leave alone); an empty tuple means given and empty.
"""

from __future__ import annotations

from guestagent.errors import Origin
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal


class Secret:
    """Text that no log, report, repr or command line may show."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


class Text(NamedTuple):
    """A string with its origin."""

    value: str
    origin: Origin


class Password(NamedTuple):
    """A plain-text password with its origin."""

    secret: Secret
    origin: Origin


class Blob(NamedTuple):
    """Bytes with their origin."""

    content: bytes
    origin: Origin


class InjectedFile(NamedTuple):
    """A file that the source wants at an absolute, normalised path in the guest."""

    path: str
    content: bytes
    origin: Origin


class Part(NamedTuple):
    """One part of user data or vendor data that is understood.

    ``name`` is a file name of letters, digits, ``.``, ``_`` and ``-``, unique in its document.
    The origin's key names the part for people, empty where the document is one part.
    ``merge_type`` is what a header of cloud-config asks for, as it was written.
    """

    kind: Literal["cloud-config", "script", "boothook", "per-boot", "per-instance", "per-once"]
    name: str
    content: bytes
    origin: Origin
    merge_type: str = ""


class Setting(NamedTuple):
    """The value of one key of cloud-config, of a shape that the key's schema allows.

    ``value`` is made of dict, list, str, bytes, int, float, bool and None.  ``marks`` tells where
    in the text its parts stand: (line, column), from 1 on, by the path of keys and indices.
    ``written`` has the paths, as they were written, of what stood behind something left out.
    """

    key: str
    value: Any
    origin: Origin
    marks: Mapping[tuple[str | int, ...], tuple[int, int]]
    written: Mapping[tuple[str | int, ...], tuple[str | int, ...]] = {}

    def at(self, *path: str | int) -> Origin:
        """The origin of a part of the value, as ``users[1].name (line 4, column 5)``."""
        known = [path[:length] for length in range(len(path), -1, -1)]
        mark = next((self.marks[place] for place in known if place in self.marks), None)
        moved = next((place for place in known if place in self.written), ())
        text = self.key
        for step in (*self.written.get(moved, moved), *path[len(moved) :]):
            text += f"[{step}]" if isinstance(step, int) else f".{step}"
        where = f" (line {mark[0]}, column {mark[1]})" if mark else ""
        part = f"{self.origin.key}: " if self.origin.key else ""
        return Origin(self.origin.source, self.origin.document, f"{part}{text}{where}")


class Route(NamedTuple):
    """A route: ``destination`` in CIDR notation, ``gateway`` an address or None (on-link).

    ``on_link`` says that the gateway lies in none of the interface's subnets.  ``table`` is the
    number of a routing table, None the main one.
    """

    destination: str
    gateway: str | None
    metric: int | None
    on_link: bool
    table: int | None = None

    @property
    def default(self) -> bool:
        """True for 0.0.0.0/0 and ::/0."""
        return self.destination.endswith("/0")


class Rule(NamedTuple):
    """Policy routing: packets from ``source``, a host in CIDR notation, use ``table``."""

    source: str
    table: int


class Bond(NamedTuple):
    """What makes an interface a bond of others.

    ``members`` are ids of interfaces.  ``options`` are the kernel's bonding options but for the
    mode, with canonical values, in the order of their names; "primary" names a member's id.
    """

    members: tuple[str, ...]
    mode: str
    options: tuple[tuple[str, str], ...]


class Vlan(NamedTuple):
    """What makes an interface an IEEE 802.1Q VLAN: the id of the one below, and the tag."""

    parent: str
    tag: int


class Interface(NamedTuple):
    """All that one interface is to have: a NIC of the guest, or a bond or VLAN made of them.

    ``mac`` is lower case with colons.  By it a NIC is found; only legacy interfaces(5) text may
    leave it empty and give ``name``, the kernel's name, instead.  To a bond or a VLAN it is the
    address to set, empty for the kernel's choice, and ``name`` the name it gets.

    ``id`` is how bonds and VLANs of the same network refer to an interface: the source's own
    word, which nothing is named after, and a safe label once planning has begun.

    ``dhcp6`` is "no", "stateful" (an address by DHCPv6), "stateless" (only other information) or
    "slaac" (what the router says).  ``accept_ra`` None leaves router advertisements to the
    system's default.  ``metric`` is that of default routes by DHCP and from routers, None the
    system's.  ``required`` says that the boot may wait for the interface.  ``link_local`` asks
    for an IPv4 address of 169.254.0.0/16 (RFC 3927) besides.
    """

    mac: str
    mtu: int | None
    dhcp4: bool
    dhcp6: Literal["no", "slaac", "stateless", "stateful"]
    accept_ra: bool | None
    addresses: tuple[str, ...]
    routes: tuple[Route, ...]
    dns: tuple[str, ...]
    search: tuple[str, ...]
    origin: Origin
    name: str = ""
    id: str = ""
    bond: Bond | None = None
    vlan: Vlan | None = None
    rules: tuple[Rule, ...] = ()
    metric: int | None = None
    required: bool = True
    link_local: bool = False

    @property
    def stacked(self) -> bool:
        """True for a bond or a VLAN, which the guest has only once it is made."""
        return self.bond is not None or self.vlan is not None


class Network(NamedTuple):
    """The guest's network, one entry for each interface that the source describes."""

    interfaces: tuple[Interface, ...]
    origin: Origin


class InstanceData(NamedTuple):
    """Everything a source said that guestagent understands.

    ``hostname`` may be a full name; ``fqdn`` is there where the full name is not made of it.
    ``password_url`` is where a metadata service takes the instance's encrypted password.
    ``config`` is cloud-config, merged of user data and vendor data; ``scripts`` are their other
    parts in the order they count.  Origins' documents tell user data and vendor data apart.
    """

    instance_id: Text | None = None
    hostname: Text | None = None
    ssh_keys: tuple[Text, ...] | None = None
    admin_pass: Password | None = None
    files: tuple[InjectedFile, ...] = ()
    random_seed: Blob | None = None
    network: Network | None = None
    availability_zone: Text | None = None
    project_id: Text | None = None
    meta: tuple[Text, ...] = ()
    devices: tuple[Text, ...] = ()
    password_url: Text | None = None
    config: tuple[Setting, ...] = ()
    scripts: tuple[Part, ...] = ()
    fqdn: Text | None = None

    def setting(self, key: str) -> Setting | None:
        """The setting of that key of cloud-config, or None."""
        return next((setting for setting in self.config if setting.key == key), None)


class Nic(NamedTuple):
    """A physical network interface of this machine: kernel name and permanent MAC."""

    name: str
    mac: str


class Account(NamedTuple):
    """One line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str


class Facts(NamedTuple):
    """What the guest is like, gathered once before planning.

    ``live`` is true for the running system, false for an offline tree.  ``backend`` is the
    network stack in use.  ``resolver`` says who writes resolv.conf(5), "file" that nobody does.
    ``memberships`` are "group:user", of further groups.  ``texts`` are those of some small files
    by their paths, where cloud-config may need them; empty for a missing one.  ``room``: the
    size in MiB of the disk of /, if it has room that / does not use, else 0; None for an offline
    tree.
    ``unfinished`` are accounts that a run was making when it was killed.
    ``links`` are targets of some symbolic links, ``machine`` is uname(2)'s word for the processor.
    ``nics`` is None where it cannot be known (an offline tree).
    """

    live: bool
    os_id: str
    hostname: str | None
    accounts: tuple[Account, ...]
    groups: tuple[str, ...]
    nics: tuple[Nic, ...] | None
    backend: Literal["networkd", "networkmanager", "ifupdown", "netplan", ""]
    resolver: Literal["resolved", "networkmanager", "resolvconf", "file"]
    sshd_dropins: bool
    programs: frozenset[str]
    memberships: frozenset[str] = frozenset()
    texts: Mapping[str, str] = {}
    room: int | None = None
    unfinished: frozenset[str] = frozenset()
    links: Mapping[str, str] = {}
    machine: str = ""

    def account(self, name: str) -> Account | None:
        """The account of that name, or None."""
        return next((entry for entry in self.accounts if entry.name == name), None)
