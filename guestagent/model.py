"""The nouns: what a source says about this instance, validated and source-independent.

Every value carries its origin, so that each change can say why it is made.  ``None``
means not given (leave alone); an empty tuple means given and empty.
"""

from __future__ import annotations

from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


class Origin(NamedTuple):
    """Where a value came from: the source, the document in it, the key in that."""

    source: str
    document: str
    key: str

    def text(self) -> str:
        """The origin in one line, as shown to people."""
        return ", ".join(part for part in self if part)


class Secret:
    """Text that no log, report, repr or command line may show."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

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


class Route(NamedTuple):
    """A route: ``destination`` in CIDR notation, ``gateway`` an address or None (on-link)."""

    destination: str
    gateway: str | None
    metric: int | None
    on_link: bool

    @property
    def default(self) -> bool:
        """True for 0.0.0.0/0 and ::/0."""
        return self.destination.endswith("/0")


class Interface(NamedTuple):
    """All that one physical NIC, found by its MAC address, is to have.

    ``mac`` is lower case with colons; only legacy interfaces(5) text may leave it empty
    and give ``name``, the kernel's name, instead.  ``dhcp6`` is "no", "stateful" (an address by
    DHCPv6), "stateless" (only other information) or "slaac" (what the router says).
    ``accept_ra`` None leaves router advertisements to the system's default.
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


class Network(NamedTuple):
    """The guest's network, one entry for each NIC that the source describes."""

    interfaces: tuple[Interface, ...]
    origin: Origin


class InstanceData(NamedTuple):
    """Everything a source said that guestagent understands."""

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
    network stack in use.  ``resolver`` says who owns DNS: "resolved", "resolvconf" or "file".
    ``nics`` is None where it cannot be known (an offline tree).
    """

    live: bool
    os_id: str
    hostname: str | None
    accounts: tuple[Account, ...]
    groups: tuple[str, ...]
    nics: tuple[Nic, ...] | None
    backend: Literal["networkd", "ifupdown", ""]
    resolver: Literal["resolved", "resolvconf", "file"]
    sshd_dropins: bool
    programs: frozenset[str]

    def account(self, name: str) -> Account | None:
        """The account of that name, or None."""
        return next((entry for entry in self.accounts if entry.name == name), None)
