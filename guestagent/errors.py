"""Problems found in the input, and the exceptions that end a run.

No text here ever holds a value from the source: only where it stood and what is wrong.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


class Problem(NamedTuple):
    """One thing that could not be used as it was given; the rest of the run goes on."""

    severity: Literal["error", "warning"]
    source: str
    document: str
    key: str
    reason: str

    def text(self) -> str:
        """The problem in one line: ``source: document: key: reason``."""
        return ": ".join(part for part in self[1:] if part)


class FieldError(ValueError):
    """A value does not fit the syntax it goes into; the text says why, never the value."""


class GuestagentError(Exception):
    """Ends the run with ``status``; nothing further is applied."""

    status = defs.EXIT_ERRORS


class UsageError(GuestagentError):
    """The command line is wrong."""

    status = defs.EXIT_USAGE


class SourceBroken(GuestagentError):
    """A source is there and cannot be read: never the same as no source."""

    status = defs.EXIT_SOURCE_BROKEN


class WrongSource(GuestagentError):
    """A source is there and belongs to another instance."""

    status = defs.EXIT_WRONG_SOURCE


class AccountsLocked(GuestagentError):
    """Another program holds the lock of the user database."""

    status = defs.EXIT_ACCOUNTS_LOCKED


class TryAgain(GuestagentError):
    """Another run holds the lock."""

    status = defs.EXIT_TRY_AGAIN


class Unreachable(GuestagentError):
    """A metadata service gives no answer, or none that is whole; a later try may."""

    status = defs.EXIT_TRY_AGAIN


class NoPermission(GuestagentError):
    """The caller may not do this."""

    status = defs.EXIT_NO_PERMISSION


class Refused(GuestagentError):
    """A file cannot be reached or written in a way that is safe."""


def internal(error: BaseException) -> str:
    """An error of the program itself: its kind and place.  Its text could hold a secret."""
    trace, place = error.__traceback__, "an unknown place"
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace:
        place = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
    return f"internal error: {type(error).__name__} at {place}"
