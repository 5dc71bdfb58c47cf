"""Named documents of one source, read once, bounded in size, remembered for comparison."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, GuestagentError
from guestagent.system.digest import digest
from guestagent.system.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    class Transport(Protocol):
        """A way to reach documents by their names, which use ``/`` between parts."""

        def fetch(self, name: str, limit: int) -> bytes | None:
            """The document; None only where it is certain that there is none.

            Raises Unreadable for one document, SourceBroken for the whole source.
            """

        def names(self, folder: str) -> list[str]:
            """The names in a folder, sorted; none where the folder is missing."""

        def close(self) -> None:
            """Give back whatever the transport holds."""


# What can change in an instance's life; the rest is given once.
CHANGING = ("/meta_data.json", "/network_data.json")
USER_DATA = ("/user_data", "/user-data", "/vendor_data.json", "/vendor_data2.json")


_DIGITS = frozenset("0123456789")


def is_dated(name: str) -> bool:
    """True for the name of a version of OpenStack's layout that is a date, as 2018-08-27."""
    parts = name.split("-")
    return [len(part) for part in parts] == [4, 2, 2] and _DIGITS.issuperset("".join(parts))


def digest_document(content: bytes, salt: str) -> str:
    """Return the keyed digest of a document, without what is new at each request.

    ``salt`` is the key, in hexadecimal.
    """
    try:
        value = loads(content)
        if isinstance(value, dict):
            value.pop("random_seed", None)
            content = dumps(dict(sorted(value.items()))).encode()
    except FieldError:
        pass
    return digest(content, key=bytes.fromhex(salt))


class Unreadable(GuestagentError):
    """A document is there and cannot be used: too large, a link, not a file."""


class Bundle:
    """The documents of one source; ``label`` names it in messages.

    ``seen`` lists what was asked for, in order: ``name`` for a document, ``name/`` for a
    folder's listing.  ``unchanged`` says that the source was asked only for what can change in
    an instance's life, and that nothing of that has.  ``url`` is where a metadata service was
    asked, empty for other sources.
    """

    def __init__(
        self, label: str, transport: Transport, url: str = "", unchanged: bool = False
    ) -> None:
        self.label, self.url, self.unchanged = label, url, unchanged
        self.seen: dict[str, bytes | None] = {}
        self._transport = transport
        self._broken: dict[str, Unreadable] = {}
        self._left = defs.TOTAL_LIMIT

    @property
    def service(self) -> bool:
        """True for a metadata service."""
        return bool(self.url)

    def get(self, name: str, limit: int) -> bytes | None:
        """A document of at most ``limit`` bytes; None where it is missing.

        Raises Unreadable or SourceBroken.
        """
        if name in self._broken:
            raise self._broken[name]
        if name not in self.seen:
            self.seen[name] = self._fetch(name, limit)
        return self.seen[name]

    def _fetch(self, name: str, limit: int) -> bytes | None:
        try:
            content = self._transport.fetch(name, min(limit, self._left))
        except Unreadable as error:
            self.seen[name] = str(error).encode()
            self._broken[name] = error
            raise
        self._left -= len(content or b"")
        return content

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none where it is missing.  Raises SourceBroken."""
        key = folder + "/"
        if key not in self.seen:
            self.seen[key] = "\0".join(self._transport.names(folder)).encode()
        listing = self.seen[key]
        return listing.decode().split("\0") if listing else []

    def fingerprint(self, seen: Iterable[str], salt: bytes) -> str:
        """A keyed digest of what the source now says to the same questions.

        Raises SourceBroken.
        """
        said = bytearray()
        for name in seen:
            content = self._answer(name)
            size = -1 if content is None else len(content)
            said += f"{name}\0{size}\n".encode()
            said += content or b""
        return digest(said, key=salt)

    def _answer(self, name: str) -> bytes | None:
        if name.endswith("/"):
            self.names(name[:-1])
        else:
            try:
                self.get(name, defs.FILE_LIMIT)
            except Unreadable as error:
                return str(error).encode()
        return self.seen[name]

    def digests(self, salt: str, user_data: bool) -> dict[str, str]:
        """Names for what the documents say that can change in an instance's life.

        ``user_data``: they and the vendor's decide with them, so that a plan needs them too.
        """
        wanted = (*CHANGING, *USER_DATA) if user_data else CHANGING
        return {
            name: digest_document(content, salt)
            for name, content in self.seen.items()
            if content is not None and name.endswith(wanted)
        }

    def user_data(self, salt: str) -> str:
        """Return the keyed digest of user and vendor data as they were read."""
        said = bytearray()
        for name, content in sorted(self.seen.items()):
            if name.endswith(USER_DATA):
                content = content or b""
                said += f"{name}\0{len(content)}\n".encode()
                said += content
        return digest(said, key=bytes.fromhex(salt))

    def close(self) -> None:
        """Give back whatever the source holds: an open directory, a mount."""
        self._transport.close()
