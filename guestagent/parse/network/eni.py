"""Legacy network text in the syntax of interfaces(5), as Nova's template writes it.

Only what describes addresses is read; commands in the text are never run.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Origin
from guestagent.model import Network
from guestagent.parse.network import address
from guestagent.parse.network.interfaces import Draft, Notes, route, settle
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from guestagent.errors import Problem

    Lines = list[tuple[int, list[str]]]

_AUTOMATIC = frozenset(("auto", "allow-auto", "allow-hotplug"))
_HEADS = frozenset(("iface", "mapping", "rename", "source", "source-directory")) | _AUTOMATIC
_METHODS = {
    "inet": frozenset(("static", "dhcp", "manual")),
    "inet6": frozenset(("static", "dhcp", "auto", "manual")),
}
_READ = frozenset(("address", "netmask", "gateway", "metric", "hwaddress", "mtu"))
_SILENT = frozenset(("broadcast",))
_DNS = frozenset(("dns-nameservers", "dns-nameserver"))
_SEARCH = frozenset(("dns-search", "dns-domain"))


class _Stanza(NamedTuple):
    """One ``iface`` stanza: its first line, its words, and the lines of its options."""

    line: int
    words: list[str]
    options: Lines


def parse_eni(text: str, origin: Origin) -> tuple[Network, list[Problem]]:
    """Parse the text; a problem's key is the line.  Never raises.

    An interface without ``hwaddress`` is known by its name only.
    """
    reader = _Reader(origin)
    for stanza in reader.stanzas(_lines(text)):
        reader.read(stanza)
    interfaces = settle(draft.freeze() for draft in reader.drafts.values() if draft.networks)
    return Network(interfaces, origin), reader.notes.problems


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not comments, as words, with their number; joined at a backslash."""
    words: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not words and line.lstrip().startswith("#"):
            continue
        words += line.removesuffix("\\").split()
        if words and not line.endswith("\\"):
            yield number, words
            words = []
    if words:
        yield number, words


class _Reader:
    """One pass over the stanzas, collecting drafts by interface name, and problems."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.notes = Notes()
        self.drafts: dict[str, Draft] = {}

    def note(self, severity: Literal["error", "warning"], line: int, reason: str) -> None:
        self.notes.add(severity, self._at(line), reason)

    def stanzas(self, lines: Iterator[tuple[int, list[str]]]) -> Iterator[_Stanza]:
        """Yield each ``iface`` stanza; note all other lines but the harmless ones."""
        current: _Stanza | None = None
        for number, words in lines:
            if words[0] not in _HEADS and not words[0].startswith(("allow-", "no-")):
                if current:
                    current.options.append((number, words))
                else:
                    self.note("warning", number, "is ignored: it stands outside of a stanza")
                continue
            if current:
                yield current
            current = _Stanza(number, words, []) if words[0] == "iface" else None
            if words[0] not in _AUTOMATIC and not current:
                self.note("warning", number, "is ignored: only iface stanzas are read")
        if current:
            yield current

    def read(self, stanza: _Stanza) -> None:
        """Add a stanza to the interface that it names, all of it or nothing."""
        if stanza.words[3:] == ["loopback"]:
            return
        try:
            self._add(stanza, self._values(stanza))
        except FieldError as error:
            self.note("error", stanza.line, f"the stanza is left out: {error}")

    def _values(self, stanza: _Stanza) -> dict[str, str]:
        """The options with one value each; notes those that are not read."""
        words = stanza.words
        if len(words) != 4 or words[3] not in _METHODS.get(words[2], ()):
            raise FieldError("it is not 'iface NAME inet|inet6 static|dhcp|auto|manual'")
        values: dict[str, str] = {}
        for number, (name, *arguments) in stanza.options:
            if name in _READ and arguments:
                values[name] = arguments[-1] if name == "hwaddress" else arguments[0]
            elif name not in _DNS | _SEARCH | _SILENT:
                self.note("warning", number, "is ignored: not an option that is read here")
        return values

    def _add(self, stanza: _Stanza, values: dict[str, str]) -> None:
        _, name, inet, method = stanza.words
        version = 4 if inet == "inet" else 6
        static = _static(values, version) if method == "static" else None
        mtu = address.mtu(_number(values["mtu"])) if "mtu" in values else None
        draft = self._draft(name, values.get("hwaddress"), stanza.line)
        draft.mtu = draft.mtu if mtu is None else mtu
        if static:
            draft.addresses.append(static)
            self._gateway(stanza, values, draft, "0.0.0.0/0" if version == 4 else "::/0")
        self._dns(stanza, draft)
        if version == 4:
            draft.add(dhcp4=method == "dhcp")
        elif method == "manual":
            draft.add()
        else:
            dhcp6 = {"dhcp": "stateful", "auto": "slaac"}.get(method, "no")
            draft.add(dhcp6=dhcp6, accept_ra=not static)  # type: ignore[arg-type]

    def _draft(self, name: str, hwaddress: str | None, line: int) -> Draft:
        """The draft of an interface; its MAC address, once given, replaces the name."""
        name = address.interface_name(name)
        mac = address.mac(hwaddress) if hwaddress else ""
        for other, draft in self.drafts.items():
            if other == name and mac and draft.mac not in ("", mac):
                raise FieldError("hwaddress differs from the one given before")
            if other != name and mac and draft.mac == mac:
                raise FieldError("hwaddress is that of an earlier interface")
        if name not in self.drafts and len(self.drafts) >= defs.MAX_INTERFACES:
            raise FieldError(f"there are more than {defs.MAX_INTERFACES} interfaces")
        draft = self.drafts.setdefault(name, Draft(mac, self._at(line), name))
        draft.mac = draft.mac or mac
        draft.name = "" if draft.mac else name
        return draft

    def _gateway(self, stanza: _Stanza, values: dict[str, str], draft: Draft, all_: str) -> None:
        if "gateway" not in values:
            return
        try:
            metric = _number(values["metric"]) if "metric" in values else None
            draft.routes.append(route(all_, values["gateway"], metric))
        except FieldError as error:
            self.note("error", stanza.line, f"the default route is left out: gateway {error}")

    def _dns(self, stanza: _Stanza, draft: Draft) -> None:
        for number, (name, *arguments) in stanza.options:
            for argument in arguments:
                try:
                    if name in _DNS:
                        draft.dns.append(address.address(argument))
                    elif name in _SEARCH:
                        draft.search.append(address.domain(argument))
                except FieldError as error:
                    self.note("error", number, f"one entry is left out: it {error}")

    def _at(self, line: int) -> Origin:
        return self.origin._replace(key=f"{self.origin.key} line {line}".lstrip())


def _static(values: dict[str, str], version: int) -> str:
    text = values.get("address", "")
    if not text or address.family(text) != version:
        raise FieldError(f"it has no IPv{version} address")
    try:
        return address.interface_address(text, values.get("netmask"))
    except FieldError as error:
        raise FieldError(f"address {error}") from None


def _number(text: str) -> object:
    """The number in a short decimal text, else the text, for a validator to refuse."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else text
