"""The records that everything works with: what a source says, and what the guest is like.

They are the same for every source, and validated.  Each value has its origin, so that each change
can say why it is made.  ``None`` means that a value is not given, and what the guest has is left
alone; an empty tuple means that it is given, and empty.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal


class Secret:
    """Text that must not appear in a log, a report, a repr or a command line."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one place that uses it."""
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
    """A file that the source wants in the guest, at an absolute, normalised path."""

    path: str
    content: bytes
    origin: Origin


class Part(NamedTuple):
    """A part of user data or vendor data, of a kind that is supported.

    ``name`` is a file name of letters, digits, ``.``, ``_`` and ``-``, unique in its document.
    The key of the origin names the part to users; it is empty if the document is a single part.
    Of the kind "heat" are files for the tools of OpenStack's Heat; an "include" is a list of URLs.
    ``merge_type`` is how a header asks to merge cloud-config, as it was written.  ``unsigned``: the
    image demands signatures, and this part has none.
    """

    kind: Literal[
        "cloud-config",
        "script",
        "boothook",
        "per-boot",
        "per-instance",
        "per-once",
        "heat",
        "include",
    ]
    name: str
    content: bytes
    origin: Origin
    merge_type: str = ""
    unsigned: bool = False


class Setting(NamedTuple):
    """A key of cloud-config, with a value that the key's schema allows.

    ``value`` consists of dict, list, str, bytes, int, float, bool and None.  ``marks`` gives the
    position of its parts in the text: line and column, counted from 1, by their paths of keys and
    indices.  An item of a list after one that was left out has another index than in the text:
    ``written`` gives the path in the text for such paths.
    """

    key: str
    value: Any
    origin: Origin
    marks: Mapping[tuple[str | int, ...], tuple[int, int]]
    written: Mapping[tuple[str | int, ...], tuple[str | int, ...]] = {}

    def at(self, *path: str | int) -> Origin:
        """Return the origin of a part of the value, as ``users[1].name (line 4, column 5)``."""
        mark = None
        written: tuple[str | int, ...] = ()
        depth = 0
        # Of the parts that the path leads through, the innermost that is known counts.
        for length in range(len(path) + 1):
            part = path[:length]
            if part in self.marks:
                mark = self.marks[part]
            if part in self.written:
                written = self.written[part]
                depth = length
        origin = self.origin._replace(key=self.key)
        for step in (*written, *path[depth:]):
            origin = origin.under(step)
        key = origin.key
        if mark:
            key += f" (line {mark[0]}, column {mark[1]})"
        if self.origin.key:
            key = f"{self.origin.key}: {key}"
        return origin._replace(key=key)


class Route(NamedTuple):
    """A route: ``destination`` in CIDR notation; ``gateway`` an address, or None for no gateway.

    ``on_link`` is true if the gateway is in none of the interface's subnets.  ``table`` is the
    number of a routing table; None is the main one.
    """

    destination: str
    gateway: str | None
    metric: int | None
    on_link: bool
    table: int | None = None

    @property
    def default(self) -> bool:
        """Tell whether it is a default route: to 0.0.0.0/0 or ::/0."""
        return self.destination.endswith("/0")


class Rule(NamedTuple):
    """A rule of policy routing: packets from ``source``, in CIDR notation, use ``table``."""

    source: str
    table: int


class Bond(NamedTuple):
    """The part of an interface that makes it a bond of others.

    ``members`` are ids of interfaces.  ``options`` are the kernel's bonding options except the
    mode, with canonical values, in the order of their names; "primary" is the id of a member.
    """

    members: tuple[str, ...]
    mode: str
    options: tuple[tuple[str, str], ...]


class Vlan(NamedTuple):
    """The part of an interface that makes it a VLAN (IEEE 802.1Q): its link's id, and the tag."""

    parent: str
    tag: int


class Interface(NamedTuple):
    """The configuration of one interface: a NIC of the guest, or a bond or VLAN on top of NICs.

    ``mac`` is in lower case, with colons: six octets, or 20 for InfiniBand.  A NIC is identified
    by it; a source may leave it empty, and give ``name``, the kernel's name, instead.  Beside an
    address, ``name`` is one that the source wants, and that the NIC does not get.  For a bond
    or VLAN it is the address to set, or empty for the kernel's choice, and ``name`` is its new
    name.

    ``id`` is how bonds and VLANs of the same network refer to an interface.  It is any text of the
    source, from which no name is made; planning replaces it by a label that is safe in files.

    ``dhcp6`` is "no", "stateful" (an address by DHCPv6), "stateless" (other information only) or
    "slaac" (addresses from router advertisements).  ``accept_ra`` None leaves router
    advertisements to the system's default.  ``metric`` is that of default routes from DHCP and
    from routers; None is the system's default.  ``required`` is true if booting may wait for the
    interface.  ``partial`` is true if the source says more of it that cannot be used.
    ``link_local`` asks for an additional IPv4 address of 169.254.0.0/16 (RFC 3927).  ``unnamed`` is
    true of a NIC that the source does not name: what the image says of it has precedence.
    ``lease_dns`` is false if the DNS servers of its lease must not replace those of others.
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
    partial: bool = False
    unnamed: bool = False
    lease_dns: bool = True

    @property
    def infiniband(self) -> bool:
        """Tell whether it is a NIC of InfiniBand.

        Network stacks know it by its name: a part of its MAC address is another after each boot.
        """
        return self.mac.count(":") == defs.INFINIBAND_OCTETS - 1

    @property
    def stacked(self) -> bool:
        """Tell whether it is a bond or a VLAN, which does not exist until it is created."""
        return self.bond is not None or self.vlan is not None


class Network(NamedTuple):
    """The guest's network: one entry for each interface that the source describes.

    ``partial`` is true if an interface cannot be used, or a network that belongs to none.
    """

    interfaces: tuple[Interface, ...]
    origin: Origin
    partial: bool = False


class InstanceData(NamedTuple):
    """Everything that a source says and guestagent supports.

    ``hostname`` may be a fully qualified name; ``fqdn`` is set if that name is not made of it.
    ``partial_keys`` tells that ``ssh_keys`` are not all, as others cannot be used.
    ``password_url`` is where a metadata service takes the instance's encrypted password.
    ``config`` is cloud-config, merged from user data and vendor data; ``scripts`` are their other
    parts, in the order in which they run.  ``disks`` are the paths of devices by the
    names that the source's block device mapping has for them: "ephemeral0", "swap".
    The documents of the origins tell both data apart.  ``imported_keys`` are accounts, and SSH keys
    that were fetched for them (``ssh_import_id``).
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
    password_url: Text | None = None
    config: tuple[Setting, ...] = ()
    scripts: tuple[Part, ...] = ()
    fqdn: Text | None = None
    partial_keys: bool = False
    disks: tuple[tuple[str, Text], ...] = ()
    imported_keys: tuple[tuple[str, Text], ...] = ()

    def setting(self, key: str) -> Setting | None:
        """Return the setting of a key of cloud-config; None if it is not given."""
        return next((setting for setting in self.config if setting.key == key), None)


def infiniband_guid(text: str) -> str:
    """Return the GUID of the port that an InfiniBand MAC address names.

    The octets before it hold the number of a queue, which is another after each boot.
    """
    return ":".join(text.split(":")[-8:])


def short_infiniband_mac(text: str) -> str:
    """Return the six octets that Nova and Neutron know a port of InfiniBand by.

    They are its GUID without the two in the middle.
    """
    octets = text.split(":")[-8:]
    return ":".join(octets[:3] + octets[5:])


class Nic(NamedTuple):
    """A physical network interface of this machine: its kernel name and permanent MAC address.

    ``member`` is true of one that is a part of a bond, a bridge or another NIC now.
    """

    name: str
    mac: str
    member: bool = False


class Account(NamedTuple):
    """A user of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str = ""


UNREADABLE = "(unreadable)"


class SshdLine(NamedTuple):
    """A line of sshd_config(5): keyword in lower case, value, the condition of its Match, its file.

    For a file that cannot be read the keyword is ``UNREADABLE``, and the value its path.
    """

    keyword: str
    value: str
    match: str = ""
    path: str = ""


class Facts(NamedTuple):
    """What the guest is like, gathered once before planning.

    ``live`` is true for the running system, false for an offline tree.
    ``nics`` is None for an offline tree, whose NICs are not known.
    ``stack`` is the network stack in use.  If there is none, ``idle`` are those that are installed,
    and ``enabling`` are path and target of the links that would have systemd-networkd start.
    ``interfaces_words`` are the words of the image's own interfaces(5) files, where ifupdown is in
    use.
    ``netplan_for_networkmanager``: the stack is netplan, and writes for NetworkManager.
    ``resolver`` is what writes resolv.conf(5); "file" means that no service does.
    ``memberships`` are the supplementary groups of users, as "group:user".
    ``texts`` are the contents of small files that cloud-config needs, by their paths; that of a
    missing file is empty.
    ``room`` is the size in MiB of the disk of /, if / does not use all of it, else 0; None for an
    offline tree.
    ``unfinished`` are accounts that a run was creating when it was killed; ``appended`` are
    digests, by their paths, of files as they are once it has appended to them; ``made`` are the
    paths of files that it was about to make.
    ``links`` are the targets of some symbolic links, by their paths.
    ``machine`` is the hardware name of uname(2).
    ``sshd`` are the lines of sshd's configuration, if one of them may decide whether a key lets
    someone in, and is not as usual or, of UsePAM, is missing.  ``locked`` are the accounts whose
    password is locked, where that may keep their keys out.
    ``host_keys`` are files of host keys that sshd is told to use and that guestagent does not make.
    ``systemd`` tells whether systemd manages the services of the running system.
    """

    live: bool
    os_id: str
    hostname: str | None
    accounts: tuple[Account, ...]
    groups: tuple[str, ...]
    nics: tuple[Nic, ...] | None
    stack: Literal["networkd", "networkmanager", "ifupdown", "netplan", ""]
    resolver: Literal["resolved", "networkmanager", "resolvconf", "file"]
    sshd_dropins: bool
    programs: frozenset[str]
    memberships: frozenset[str] = frozenset()
    texts: Mapping[str, str] = {}
    room: int | None = None
    sshd: tuple[SshdLine, ...] = ()
    locked: frozenset[str] = frozenset()
    host_keys: tuple[str, ...] = ()
    unfinished: frozenset[str] = frozenset()
    appended: Mapping[str, str] = {}
    made: frozenset[str] = frozenset()
    links: Mapping[str, str] = {}
    machine: str = ""
    idle: tuple[str, ...] = ()
    enabling: tuple[tuple[str, str], ...] = ()
    interfaces_words: frozenset[str] = frozenset()
    netplan_for_networkmanager: bool = False
    systemd: bool = False

    def account(self, name: str) -> Account | None:
        """Return the account with a name; None if there is none."""
        return next((entry for entry in self.accounts if entry.name == name), None)

    def os_release(self, key: str) -> str:
        """Return the value of a key of os-release(5), empty if it has none."""
        for line in self.texts.get(defs.OS_RELEASE, "").splitlines():
            name, _, value = line.partition("=")
            if name == key:
                return value.strip().strip("\"'")
        return ""

    def is_like(self, distribution: str) -> bool:
        """Tell whether the guest is of that distribution or a derivative of it."""
        return distribution in (self.os_id, *self.os_release("ID_LIKE").split())
