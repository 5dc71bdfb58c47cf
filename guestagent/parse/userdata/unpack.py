"""Unpacks user data: gzip, base64 and byte order marks, within a limit for the whole document."""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.parse.userdata import part_types

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"


class TooMuch(Exception):
    """A document exceeds a limit, so that none of it is used; the text names the limit."""


class TookTooLong(TooMuch):
    """A document took more than it may; on another day it may take less."""


class Unpacker:
    """Unpacks the parts of one document, of at most ``defs.UNPACKED_LIMIT`` bytes together."""

    def __init__(self) -> None:
        self._room = defs.UNPACKED_LIMIT

    def document(self, content: bytes) -> bytes:
        """Return a whole document, which may be base64 and gzip in turn.

        Raises FieldError for damaged gzip data, TooMuch beyond the limit.
        """
        return self._unpack(content, base64=True)

    def part(self, content: bytes) -> bytes:
        """Return a part, which may be gzip data.  Raises as ``document`` does."""
        return self._unpack(content, base64=False)

    def count(self, size: int) -> None:
        """Count bytes that were unpacked.  Raises TooMuch."""
        self._room -= size
        if self._room < 0:
            raise TooMuch(f"unpacks to more than {defs.UNPACKED_LIMIT >> 20} MiB")

    def _unpack(self, content: bytes, *, base64: bool) -> bytes:
        for _ in range(defs.PART_DEPTH):
            content = content.removeprefix(_BYTE_ORDER_MARK)
            if content.startswith(_GZIP_MAGIC):
                content = self._decompress(content)
                continue
            # Only whole documents come in base64: parts have a header for it.
            decoded = _decode_base64(content) if base64 else None
            if decoded is None:
                return content
            content = decoded
        if content.startswith(_GZIP_MAGIC):
            raise FieldError(f"is packed more than {defs.PART_DEPTH} times")
        return content.removeprefix(_BYTE_ORDER_MARK)

    def _decompress(self, content: bytes) -> bytes:
        # No more than one byte beyond the limit is ever unpacked.
        found = fields.gunzipped(content, self._room)
        self.count(len(found))
        return found


def _decode_base64(content: bytes) -> bytes | None:
    """Return the document that base64 text holds, None if it holds none.

    A word of a text may be base64 by chance, so that only what makes sense afterwards counts.
    """
    if not content.strip() or _is_document(content):
        return None
    try:
        inner = a2b_base64(b"".join(content.split()), strict_mode=True)
    except Base64Error:
        return None
    bare = inner.removeprefix(_BYTE_ORDER_MARK)
    if bare.startswith(_GZIP_MAGIC) or _is_document(bare):
        return inner
    return None


def _is_document(content: bytes) -> bool:
    if part_types.type_by_marker(content):
        return True
    from guestagent.parse.userdata import mime

    return mime.is_message(content.lstrip())
