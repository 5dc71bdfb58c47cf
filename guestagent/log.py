"""Write lines to standard error, for the journal or a terminal.

A stand-in for ``logging``, which takes 18 ms to import, where an interpreter's start takes 8.
Under systemd each line begins with ``<N>``, a syslog level that systemd takes off again
(sd-daemon(3)).  Control characters are escaped, so that text from a source can neither forge a
line nor drive a terminal.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problem

_ERROR, _WARNING, _NOTICE, _INFO = 3, 4, 5, 6


def printable(text: str) -> str:
    """Return the text with every character that is not printable written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _write(level: int, text: str) -> None:
    prefix = f"<{level}>" if "JOURNAL_STREAM" in os.environ else ""
    try:
        print(f"{prefix}guestagent: {printable(text)}", file=sys.stderr)
    except OSError:
        pass  # a terminal that hung up must not end a run


def error(text: str) -> None:
    """Say that something was not done."""
    _write(_ERROR, "error: " + text)


def warning(text: str) -> None:
    """Say that something is unusual; the run goes on."""
    _write(_WARNING, "warning: " + text)


def problem(found: Problem) -> None:
    """Write what could not be used as it was given."""
    if found.severity == "error":
        error(found.text())
    else:
        warning(found.text())


def notice(text: str) -> None:
    """Say that something was changed."""
    _write(_NOTICE, text)


def info(text: str) -> None:
    """Say something that is worth knowing."""
    _write(_INFO, text)
