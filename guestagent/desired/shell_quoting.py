"""Quote values for scripts of sh(1): a value gets into a script only through this module."""

from __future__ import annotations

from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def check(text: str) -> str:
    """Return the text as it is.  Raise FieldError for a NUL, which no script can hold."""
    if "\0" in text:
        raise FieldError("contains a NUL character")
    return text


def quote(text: str) -> str:
    """Return one word of sh(1) that means exactly this text.  Raise FieldError as ``check``."""
    return "'" + check(text).replace("'", "'\\''") + "'"


def quote_command(words: Iterable[str]) -> str:
    """Return a command of these words, each quoted.  Raise FieldError as ``check``."""
    return " ".join(quote(word) for word in words)
