"""Named documents of one source, read once, bounded in size, remembered for comparison."""

from __future__ import annotations

from _blake2 import blake2b

from guestagent import defs
from guestagent.errors import GuestagentError

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


class Unreadable(GuestagentError):
    """A document is there and cannot be used: too large, a link, not a file."""


class Bundle:
    """The documents of one source; ``label`` names it in messages.

    ``seen`` lists what was asked for, in order: ``name`` for a document, ``name/`` for a
    folder's listing.
    """

    def __init__(self, label: str, transport: Transport) -> None:
        self.label = label
        self.seen: dict[str, bytes | None] = {}
        self._transport = transport
        self._broken: dict[str, Unreadable] = {}
        self._left = defs.TOTAL_LIMIT

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
        digest = blake2b(key=salt, digest_size=16)
        for name in seen:
            content = self._answer(name)
            head = f"{name}\0{-1 if content is None else len(content)}\n"
            digest.update(head.encode() + (content or b""))
        return digest.hexdigest()

    def _answer(self, name: str) -> bytes | None:
        if name.endswith("/"):
            self.names(name[:-1])
        else:
            try:
                self.get(name, defs.FILE_LIMIT)
            except Unreadable as error:
                return str(error).encode()
        return self.seen[name]

    def close(self) -> None:
        """Give back whatever the source holds: an open directory, a mount."""
        self._transport.close()
