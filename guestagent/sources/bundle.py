"""The named documents of one source: read once, bounded in size, and compared by digests."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, GuestagentError
from guestagent.system.digest import digest
from guestagent.system.jsontext import dumps, loads_of_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    class Transport(Protocol):
        """A way to get documents by their names, which use ``/`` between parts."""

        def fetch(self, name: str, limit: int) -> bytes | None:
            """Return a document; None only if it is certain that there is none.

            Raises Unreadable for one document, SourceBroken for the whole source.
            """

        def names(self, folder: str) -> list[str]:
            """Return the names in a folder, sorted; an empty list if the folder is missing.

            Raises SourceBroken.
            """

        def close(self) -> None:
            """Give back what the transport holds open."""


_DIGITS = frozenset("0123456789")


def is_dated(name: str) -> bool:
    """Tell whether a name is a dated version of OpenStack's layout, such as 2018-08-27."""
    parts = name.split("-")
    return [len(part) for part in parts] == [4, 2, 2] and _DIGITS.issuperset("".join(parts))


def is_one_of(name: str, documents: tuple[str, ...]) -> bool:
    """Tell whether a name is that of one of the documents, with any folders before it."""
    return f"/{name}".endswith(tuple(f"/{document}" for document in documents))


def digest_document(content: bytes, salt: str) -> str:
    """Return the keyed digest of a document, without what is new at each request.

    ``salt`` is the key, in hexadecimal.
    """
    try:
        value, _ = loads_of_source(content)
        if isinstance(value, dict):
            value.pop("random_seed", None)
            content = dumps(dict(sorted(value.items()))).encode()
    except FieldError:
        pass  # not JSON, as user data are: the bytes themselves count
    return digest(content, key=bytes.fromhex(salt))


def _encode(names: str) -> bytes:
    """Return names as bytes; on a medium, they need not be UTF-8."""
    return names.encode("utf-8", "surrogateescape")


class Unreadable(GuestagentError):
    """A document exists and cannot be used: too large, a symbolic link, not a file."""


DRIVE = "config drive "  # before a device's name


class Bundle:
    """The documents of one source; ``label`` names it in messages.

    ``seen`` has what was read, in order: ``name`` for a document, ``name/`` for the names in a
    folder.  ``unchanged`` says that the source was asked only for what can change in an
    instance's life, and that nothing of it has.  ``url`` is that of a metadata service, empty for
    other sources.  ``kind`` is that of the source, one of ``defs.SOURCES``, and ``named`` says that
    root chose it, and no search has found it.  ``own`` says that the hypervisor hands it to this
    machine, and nobody else can: another instance id in it is that of a new instance.  ``writable``
    says that every user of the guest can change it, so that it counts at a first boot alone.
    """

    def __init__(
        self, label: str, transport: Transport, url: str = "", *, unchanged: bool = False
    ) -> None:
        self.label, self.url, self.unchanged = label, url, unchanged
        self.kind = "service" if url else ""
        self.named = self.own = self.writable = False
        self.seen: dict[str, bytes | None] = {}
        self._transport = transport
        self._broken: dict[str, Unreadable] = {}
        self._left = defs.TOTAL_LIMIT

    @property
    def place(self) -> str:
        """Return where the source is, such as a device, without saying what it is."""
        return self.label.removeprefix(DRIVE)

    @property
    def service(self) -> bool:
        """Whether the source is a metadata service."""
        return bool(self.url)

    def overlay(self, wrap: Callable[[Transport], Transport]) -> None:
        """Put a transport before that of the source, of which nothing was read yet."""
        self._transport = wrap(self._transport)

    def get(self, name: str, limit: int) -> bytes | None:
        """Return a document of at most ``limit`` bytes; None if it is missing.

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
            # Also part of the fingerprint: a later run must notice that it can be read again.
            self.seen[name] = str(error).encode()
            self._broken[name] = error
            raise
        self._left -= len(content or b"")
        return content

    @property
    def unread(self) -> tuple[str, ...]:
        """The names of documents that could not be read."""
        return tuple(self._broken)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; an empty list if it is missing.

        Raises SourceBroken.
        """
        key = folder + "/"
        if key not in self.seen:
            self.seen[key] = _encode("\0".join(self._transport.names(folder)))
        listing = self.seen[key]
        return listing.decode("utf-8", "surrogateescape").split("\0") if listing else []

    def fingerprint(self, seen: Iterable[str], salt: bytes) -> str:
        """Return a keyed digest of what the source has now, for names as in ``seen``.

        Raises SourceBroken.
        """
        said = bytearray()
        for name in seen:
            content = self._read_again(name)
            # The size tells where a document ends, and a missing one from an empty one.
            size = -1 if content is None else len(content)
            said += _encode(f"{name}\0{size}\n")
            said += content or b""
        return digest(said, key=salt)

    def _read_again(self, name: str) -> bytes | None:
        if name.endswith("/"):
            self.names(name[:-1])
        else:
            try:
                self.get(name, defs.FILE_LIMIT)
            except Unreadable as error:
                return str(error).encode()
        return self.seen[name]

    def digests(self, salt: str, documents: tuple[str, ...]) -> dict[str, str]:
        """Return the keyed digests of those of the documents that were read, by their names."""
        return {
            name: digest_document(content, salt)
            for name, content in self.seen.items()
            if content is not None and is_one_of(name, documents)
        }

    def digest(self, salt: str, documents: tuple[str, ...]) -> str:
        """Return one keyed digest of all of the documents as they were read."""
        said = bytearray()
        for name, content in sorted(self.seen.items()):
            if is_one_of(name, documents):
                content = content or b""
                said += f"{name}\0{len(content)}\n".encode()
                said += content
        return digest(said, key=bytes.fromhex(salt))

    def close(self) -> None:
        """Give back what the source holds open: a directory, a mount."""
        self._transport.close()
