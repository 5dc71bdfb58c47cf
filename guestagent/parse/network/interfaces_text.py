"""Text in the syntax of interfaces(5), which old config drives carry, as Nova's template writes it.

Only what describes addresses is read; commands in the text are never run.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problems
from guestagent.model import Network
from guestagent.parse.network import address
from guestagent.parse.network.drafts import Draft, make_route, settle_routes
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeVar

    T = TypeVar("T")

_AUTOMATIC = frozenset(("auto", "allow-auto", "allow-hotplug"))
_HEADS = frozenset(("iface", "mapping", "rename", "source", "source-directory")) | _AUTOMATIC
_METHODS = {
    "inet": frozenset(("static", "dhcp", "manual")),
    "inet6": frozenset(("static", "dhcp", "auto", "manual")),
}
_DHCP6: dict[str, Literal["no", "slaac", "stateful"]] = {
    "static": "no",
    "auto": "slaac",
    "dhcp": "stateful",
}
_READ = frozenset(("address", "netmask", "gateway", "metric", "hwaddress", "mtu"))
# The kernel derives it from the address.
_SILENT = frozenset(("broadcast",))
_DNS = frozenset(("dns-nameservers", "dns-nameserver"))
_SEARCH = frozenset(("dns-search", "dns-domain"))


class _Line(NamedTuple):
    """A line that is not empty, as words.  It has the number of the last one joined to it."""

    number: int
    words: list[str]


class _Stanza(NamedTuple):
    """An ``iface`` stanza: its first line, and those of its options."""

    head: _Line
    options: list[_Line]


def parse_interfaces_text(text: str, origin: Origin, problems: Problems) -> Network:
    """Return the network that the text of the document at ``origin`` describes.

    What cannot be used is reported, with the line as its key.  An interface without ``hwaddress``
    is identified by its name.  Raises nothing.
    """
    found = Problems()
    reader = _Reader(origin, found)
    for stanza in reader.split_stanzas(_split_lines(text)):
        reader.read(stanza)
    problems.add_all(found)
    drafts = [draft for draft in reader.drafts.values() if draft.networks]
    for draft in drafts:
        draft.dns += reader.common.dns
        draft.search += reader.common.search
    partial = any(problem.severity == "error" for problem in found.problems)
    return Network(settle_routes(draft.freeze() for draft in drafts), origin, partial)


def _split_lines(text: str) -> Iterator[_Line]:
    """Yield the lines that are neither empty nor comments, joined where one ends in a backslash."""
    words: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not words and line.lstrip().startswith("#"):
            continue
        words += line.removesuffix("\\").split()
        if words and not line.endswith("\\"):
            yield _Line(number, words)
            words = []
    if words:
        yield _Line(number, words)


class _Reader:
    """Reads stanzas into drafts, by the names of the interfaces."""

    def __init__(self, origin: Origin, problems: Problems) -> None:
        self.origin = origin
        self.problems = problems
        self.drafts: dict[str, Draft] = {}
        self.common = Draft("", origin)  # what the loopback's stanza says, for all

    def _at(self, line: _Line) -> Origin:
        return self.origin.under(f"line {line.number}")

    def split_stanzas(self, lines: Iterator[_Line]) -> Iterator[_Stanza]:
        """Yield each ``iface`` stanza; warn of all other lines but ``auto`` and its like."""
        current: _Stanza | None = None
        for line in lines:
            word = line.words[0]
            is_option = word not in _HEADS and not word.startswith(("allow-", "no-"))
            if is_option and current:
                # Options are written with hyphens or with underscores.
                option = word.replace("_", "-")
                current.options.append(_Line(line.number, [option, *line.words[1:]]))
            elif is_option:
                self.problems.warn(self._at(line), "is ignored: it is outside of an iface stanza")
            else:
                if current:
                    yield current
                current = _Stanza(line, []) if word == "iface" else None
                if not current and word not in _AUTOMATIC:
                    self.problems.warn(self._at(line), "is ignored: only iface stanzas are read")
        if current:
            yield current

    def read(self, stanza: _Stanza) -> None:
        """Add a stanza to the interface that it names, all of it or nothing."""
        if stanza.head.words[3:] == ["loopback"]:
            self._read_loopback(stanza)
            return
        try:
            self._add(stanza, self._read_values(stanza))
        except FieldError as error:
            self.problems.error(self._at(stanza.head), f"the stanza is left out: {error}")

    def _read_loopback(self, stanza: _Stanza) -> None:
        """Read the options of the loopback, of which DNS is for all interfaces."""
        for line in stanza.options:
            if line.words[0] not in _DNS | _SEARCH | _SILENT:
                self.problems.warn(self._at(line), "is ignored: the option is not supported")
        self._add_dns(stanza, self.common)

    def _read_values(self, stanza: _Stanza) -> dict[str, str]:
        """Return the options that have one value each; warn of those that are not read.

        Raises FieldError.
        """
        words = stanza.head.words
        if len(words) != 4 or words[3] not in _METHODS.get(words[2], ()):
            raise FieldError("it is not 'iface NAME inet|inet6 static|dhcp|auto|manual'")
        values: dict[str, str] = {}
        for line in stanza.options:
            name, *arguments = line.words
            if name == "hwaddress" and arguments:
                values[name] = arguments[-1]  # the word "ether" may come before the address
            elif name in _READ and arguments:
                values[name] = arguments[0]
            elif name not in _DNS | _SEARCH | _SILENT:
                self.problems.warn(self._at(line), "is ignored: the option is not supported")
        return values

    def _add(self, stanza: _Stanza, values: dict[str, str]) -> None:
        _, name, inet, method = stanza.head.words
        version = 4 if inet == "inet" else 6
        # What may raise comes before the first change of the draft.
        static = _read_static_address(values, version) if method == "static" else None
        mtu = None
        if "mtu" in values:
            mtu = _check("mtu", address.mtu, address.whole_number(values["mtu"]))
        draft = self._find_draft(stanza, name, values.get("hwaddress"))
        if mtu is not None:
            draft.mtu = mtu
        if static is not None:
            draft.addresses.append(static)
            self._add_gateway(stanza, values, version, draft)
        self._add_dns(stanza, draft)
        if version == 4:
            draft.add_network(dhcp4=method == "dhcp")
        elif method == "manual":
            draft.add_network()
        else:
            draft.add_network(dhcp6=_DHCP6[method], accept_ra=method != "static")

    def _find_draft(self, stanza: _Stanza, name: str, hwaddress: str | None) -> Draft:
        """Return the draft of an interface, which a MAC address, once given, identifies.

        Raises FieldError.
        """
        _check("the name", address.interface_name, name)
        mac = ""
        if hwaddress:
            mac = _check("hwaddress", address.nic_mac, hwaddress)
            self._check_mac(name, mac)
        if name not in self.drafts:
            if len(self.drafts) >= defs.MAX_INTERFACES:
                raise FieldError(f"there are more than {defs.MAX_INTERFACES} interfaces")
            self.drafts[name] = Draft(mac, self._at(stanza.head), name)
        draft = self.drafts[name]
        if not draft.mac:
            draft.mac = mac
        draft.name = "" if draft.mac else name
        return draft

    def _check_mac(self, name: str, mac: str) -> None:
        for other, draft in self.drafts.items():
            if other == name and draft.mac not in ("", mac):
                raise FieldError("hwaddress differs from that of an earlier stanza")
            if other != name and draft.mac == mac:
                raise FieldError("hwaddress is that of an earlier interface")

    def _add_gateway(
        self, stanza: _Stanza, values: dict[str, str], version: int, draft: Draft
    ) -> None:
        if "gateway" not in values:
            return
        everything = "0.0.0.0/0" if version == 4 else "::/0"
        try:
            metric = None
            if "metric" in values:
                metric = _check("metric", address.metric, address.whole_number(values["metric"]))
            route = _check("gateway", make_route, everything, values["gateway"], metric)
        except FieldError as error:
            self.problems.error(self._at(stanza.head), f"the default route is left out: {error}")
        else:
            draft.routes.append(route)

    def _add_dns(self, stanza: _Stanza, draft: Draft) -> None:
        for line in stanza.options:
            name, *arguments = line.words
            for argument in arguments:
                try:
                    if name in _DNS:
                        draft.dns.append(address.address(argument))
                    elif name in _SEARCH:
                        draft.search.append(address.domain(argument))
                except FieldError as error:
                    self.problems.error(self._at(line), f"an entry is left out: it {error}")


def _read_static_address(values: dict[str, str], version: int) -> str:
    text = values.get("address", "")
    if not text or address.family(text) != version:
        raise FieldError(f"it has no IPv{version} address")
    return _check("address", address.interface_address, text, values.get("netmask"))


def _check(what: str, function: Callable[..., T], *arguments: object) -> T:
    """Call a validator; a FieldError of it says which option it is about."""
    try:
        return function(*arguments)
    except FieldError as error:
        raise FieldError(f"{what} {error}") from None
