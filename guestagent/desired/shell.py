"""How a value gets into a script of /bin/sh: through ``quoted`` alone."""

from __future__ import annotations

from guestagent.errors import FieldError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def quoted(text: str) -> str:
    """One word of sh(1) that stands for the text, whatever is in it.

    FieldError: a NUL, which no argument can hold.
    """
    if "\0" in text:
        raise FieldError("holds a NUL character")
    return "'" + text.replace("'", "'\\''") + "'"


def command(words: Iterable[str]) -> str:
    """The words of one command, quoted.  FieldError: as for ``quoted``."""
    return " ".join(quoted(word) for word in words)
