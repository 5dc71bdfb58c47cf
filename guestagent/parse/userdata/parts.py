"""What a user data document holds: its formats taken apart, as cloud-init knows them.

A part is told by its media type, or by how it begins where the type says nothing.  Everything
is bounded before it is expanded.  Unlike cloud-init: white space before ``#!`` is dropped, for
the kernel would not run the script; what begins like a script is never taken for a MIME message.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from guestagent import defs
from guestagent.errors import FieldError, Origin, Problem
from guestagent.model import Part
from guestagent.parse import fields
from guestagent.parse.userdata import kinds
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from guestagent.parse.userdata.mime import Entity

_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_SCRIPTS: Mapping[str, Literal["script", "boothook", "per-boot", "per-instance", "per-once"]] = {
    "script": "script",
    "boothook": "boothook",
    "per-boot": "per-boot",
    "per-instance": "per-instance",
    "per-once": "per-once",
}
_NO_INTERPRETER = "has no interpreter line: begin it with #!, as in #!/bin/sh"
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_NAME_LIMIT = 64


class _Item(NamedTuple):
    """What stands in a document: its media type, file name and further headers as given."""

    type: str
    file_name: str
    content: bytes
    headers: Mapping[str, str]


class _TooMuch(Exception):
    """The document as a whole goes beyond a limit; the text says which."""


def split(content: bytes, source: str, document: str) -> tuple[list[Part], list[Problem]]:
    """The parts of user data or vendor data, in order, and what is wrong with it.

    A part that cannot be used is a problem, and the others count.  A document that goes beyond
    the limits of size or number has no parts and one error.  Nothing is raised.
    """
    found = _Splitter(source, document)
    try:
        found.document(content)
    except _TooMuch as error:
        return [], [Problem("error", source, document, "", str(error))]
    if kinds.HEAT_TYPE in found.heats.values():
        found.without_heat()
    return found.parts, found.problems


class _Splitter:
    def __init__(self, source: str, document: str) -> None:
        self.where = (source, document)
        self.parts: list[Part] = []
        self.problems: list[Problem] = []
        self.number = 0  # of parts, but for those that hold others
        self.items = 0
        self.room = defs.UNPACKED_LIMIT
        self.heats: dict[str, str] = {}  # keys of parts that are Heat's own, and their types

    def document(self, content: bytes) -> None:
        """Take a whole document apart.  Raises _TooMuch."""
        if len(content) > defs.USER_DATA_LIMIT:
            raise _TooMuch(f"is larger than {defs.USER_DATA_LIMIT >> 20} MiB")
        try:
            content = self._unpacked(content, whole=True)
        except FieldError as error:
            self._problem("error", "", str(error))
            return
        if content.strip():
            self._whole(content)

    def without_heat(self) -> None:
        """What Heat adds for tools of its own is left out, which is no error."""
        own = {key for key, media_type in self.heats.items() if media_type != kinds.HEAT_TYPE}
        self.parts = [part for part in self.parts if part.origin.key not in own]
        used = {part.origin.key for part in self.parts}
        left = [problem for problem in self.problems if problem.key not in self.heats]
        self.problems = left
        for key in self.heats:
            if key not in used:
                self._problem("warning", key, kinds.HEAT_REASON)

    def _whole(self, content: bytes) -> None:
        if kinds.beginning(content) is None:
            from guestagent.parse.userdata import mime

            message = content.lstrip()
            if mime.is_message(message):
                self._entity(message, "", depth=1)
                return
        self._leaf(_Item("", "", content, {}), "", depth=1)

    def _problem(self, severity: Literal["error", "warning"], key: str, reason: str) -> None:
        self.problems.append(Problem(severity, *self.where, key, reason))

    def _entity(self, raw: bytes, key: str, depth: int) -> None:
        """A MIME message or a part of one."""
        from guestagent.parse.userdata import mime

        item = _Item("", "", b"", {})
        try:
            entity = mime.entity(raw)
            if entity.type.startswith("multipart/"):
                self._multipart(entity, key, depth)
                return
            item = _Item(entity.type, entity.file_name, b"", entity.headers)
            item = item._replace(content=mime.decoded(entity))
        except FieldError as error:
            self.number += 1
            self._problem("error", key and self._key(item.file_name), str(error))
            return
        self._leaf(item, key, depth)

    def _multipart(self, entity: Entity, key: str, depth: int) -> None:
        from guestagent.parse.userdata import mime

        self._check_depth(depth)
        raws, closed = mime.bodies(entity, defs.MAX_PARTS)
        if not closed:
            self._problem("warning", key, "has no closing boundary: its end may be missing")
        for raw in raws:
            self._count()
            self._entity(raw, f"part {self.number + 1}", depth + 1)

    def _check_depth(self, depth: int) -> None:
        if depth > defs.PART_DEPTH:
            raise FieldError(f"is nested more than {defs.PART_DEPTH} deep")

    def _count(self) -> None:
        self.items += 1
        if self.items > defs.MAX_PARTS:
            raise _TooMuch(f"has more than {defs.MAX_PARTS} parts")

    def _key(self, file_name: str) -> str:
        """How the present part is called for people."""
        safe = _safe_name(file_name)
        return f'part {self.number} "{safe}"' if safe else f"part {self.number}"

    def _leaf(self, item: _Item, key: str, depth: int) -> None:
        """What holds no others, or an archive; ``key`` is empty for a whole document."""
        self.number += 1
        key = key and self._key(item.file_name)
        try:
            item = item._replace(content=self._unpacked(item.content))
            if not item.content.strip():
                self._problem("warning", key, "is empty and ignored")
                return
            kind = kinds.kind(item.type, item.file_name, item.content)
            if item.type == kinds.HEAT_TYPE or item.file_name in kinds.HEAT_FILES:
                self.heats[key] = item.type
            if kind == "archive":
                self._archive(item.content, key, depth)
                return
            part = self._part(kind, item, key)
        except FieldError as error:
            self._problem("error", key, str(error))
            return
        if "launch-index" in item.headers:
            reason = "has a launch index, of no effect on OpenStack: the part is used everywhere"
            self._problem("warning", key, reason)
        self.parts.append(part)

    def _part(self, kind: str, item: _Item, key: str) -> Part:
        """The part that an item is.  FieldError: it is none, or not to be used."""
        origin = Origin(*self.where, key)
        name = self._unique(_safe_name(item.file_name) or f"part-{self.number:03}")
        if kind == "cloud-config":
            asked = item.headers.get("merge-type") or item.headers.get("x-merge-type") or ""
            return Part("cloud-config", name, item.content, origin, asked)
        known = _SCRIPTS.get(kind)
        if known is None:
            raise FieldError(kinds.REASONS[kind])
        content = _unix(item.content).lstrip()
        if known == "boothook" and kinds.beginning(content) == "boothook":
            content = content.partition(b"\n")[2].lstrip()
        if not content.startswith(b"#!"):
            raise FieldError(_NO_INTERPRETER)
        return Part(known, name, content, origin)

    def _unique(self, name: str) -> str:
        names = {part.name for part in self.parts}
        found, number = name, 1
        while found in names:
            number += 1
            found = f"{name[: _NAME_LIMIT - 3]}-{number:02}"
        return found

    def _archive(self, content: bytes, key: str, depth: int) -> None:
        """The entries of a cloud-config archive.  FieldError: it is none."""
        from guestagent.parse.userdata import yamltree

        self._check_depth(depth)
        entries = yamltree.load(content).value
        self.number -= 1  # it is not a part, its entries are
        for entry in _entries(entries):
            self._count()
            try:
                item = _archived(entry)
            except FieldError as error:
                self.number += 1
                self._problem("error", f"part {self.number}", str(error))
                continue
            self._take(len(item.content))
            self._leaf(item, f"part {self.number + 1}", depth + 1)

    def _unpacked(self, content: bytes, whole: bool = False) -> bytes:
        """The content without gzip, byte order mark and, of a document, base64.

        FieldError: gzip data is damaged.  Raises _TooMuch.
        """
        for _ in range(defs.PART_DEPTH):
            content = content.removeprefix(_BOM)
            inner = None
            if content.startswith(_GZIP):
                inner = self._gunzipped(content)
            elif whole:
                inner = _from_base64(content)
            if inner is None:
                return content
            content = inner
        if content.startswith(_GZIP):
            raise FieldError(f"is packed more than {defs.PART_DEPTH} times")
        return content.removeprefix(_BOM)

    def _gunzipped(self, content: bytes) -> bytes:
        """What gzip data (RFC 1952) holds, never more than there is room for."""
        found = fields.gunzipped(content, self.room)
        self._take(len(found))
        return found

    def _take(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise _TooMuch(f"unpacks to more than {defs.UNPACKED_LIMIT >> 20} MiB")


def _from_base64(content: bytes) -> bytes | None:
    """The document that base64 text holds; None if it is known as it is, or holds none."""
    if not content.strip() or _is_document(content):
        return None
    try:
        inner = a2b_base64(b"".join(content.split()), strict_mode=True)
    except Base64Error:
        return None
    plain = inner.removeprefix(_BOM)
    return inner if plain.startswith(_GZIP) or _is_document(plain) else None


def _is_document(content: bytes) -> bool:
    if kinds.beginning(content):
        return True
    from guestagent.parse.userdata import mime

    return mime.is_message(content.lstrip())


def _safe_name(file_name: str) -> str:
    """The base name of a file name, less what cannot stand in a name; empty if nothing is left."""
    base = file_name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in base if c in _NAME_LETTERS).lstrip(".-")[:_NAME_LIMIT]


def _unix(content: bytes) -> bytes:
    """Text with LF line ends, if its first line says that it has CRLF ones."""
    end = content.find(b"\n")
    return content.replace(b"\r\n", b"\n") if content[:end].endswith(b"\r") else content


def _entries(value: Any) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise FieldError("is an archive that is not a list")
    return value or []


def _archived(entry: Any) -> _Item:
    """An entry of an archive: text, or a mapping of content, type, filename and headers."""
    entry = {"content": entry} if isinstance(entry, str | bytes) else entry
    if not isinstance(entry, dict):
        raise FieldError("is neither text nor a mapping with content")
    content, given = entry.get("content"), entry.get("type")
    headers = {str(key).lower(): str(text) for key, text in entry.items() if key != "content"}
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
        # As cloud-init has it, text that says nothing else is cloud-config.
        given = given or ("" if kinds.beginning(content) else "text/cloud-config")
    content, given = content or b"", given or ""
    if not isinstance(content, bytes) or not isinstance(given, str):
        raise FieldError("is an entry whose content or type is not text")
    media_type = given.partition(";")[0].strip().lower()
    return _Item(media_type, headers.get("filename", ""), content, headers)
