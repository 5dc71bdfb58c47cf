"""The one digest that guestagent compares contents by: BLAKE2b of 16 bytes (RFC 7693)."""

from __future__ import annotations

# What ``hashlib`` is made of: importing that is 2.7 ms more, where an interpreter's start is 8 ms.
from _blake2 import blake2b


def digest(content: bytes | bytearray, *, key: bytes = b"", person: bytes = b"") -> str:
    """Return the digest of a content, in hexadecimal.

    With a ``key``, only who has the key can tell whether a guess at the content is right.
    Another ``person`` (at most 16 bytes) gives another digest for the same content.
    """
    return blake2b(content, key=key, person=person, digest_size=16).hexdigest()
