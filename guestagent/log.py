"""Lines for the journal or a terminal.

Under systemd each line starts with ``<N>``, a syslog level that systemd takes off again
(sd-daemon(3)).  Control characters are escaped, so that text from a source can neither
forge a line nor drive a terminal.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problem

_ERROR, _WARNING, _NOTICE, _INFO = 3, 4, 5, 6


def printable(text: str) -> str:
    """The text with every character that is not printable written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _line(level: int, text: str) -> None:
    prefix = f"<{level}>" if "JOURNAL_STREAM" in os.environ else ""
    try:
        print(f"{prefix}guestagent: {printable(text)}", file=sys.stderr)
    except OSError:
        pass  # a terminal that hung up must not end a run


def error(text: str) -> None:
    """Something was not done."""
    _line(_ERROR, "error: " + text)


def warning(text: str) -> None:
    """Something is odd; the run goes on."""
    _line(_WARNING, "warning: " + text)


def problem(found: Problem) -> None:
    """Write what could not be used as it was given."""
    if found.severity == "error":
        error(found.text())
    else:
        warning(found.text())


def notice(text: str) -> None:
    """Something was changed."""
    _line(_NOTICE, text)


def info(text: str) -> None:
    """Something worth knowing."""
    _line(_INFO, text)
