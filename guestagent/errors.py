"""Problems found in the input, and the exceptions that end a run.

No message holds a value of the source, which may be a secret: only where the value is and what is
wrong with it.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar

    T = TypeVar("T")


class Problem(NamedTuple):
    """A value that is left out ("error"), or used in a way that may surprise ("warning")."""

    severity: Literal["error", "warning"]
    source: str
    document: str
    key: str
    reason: str

    def text(self) -> str:
        """Return the problem in one line: ``source: document: key: reason``."""
        return ": ".join(part for part in self[1:] if part)


class Origin(NamedTuple):
    """Where a value comes from: the source, its document, and the path of keys in that."""

    source: str
    document: str
    key: str

    def text(self) -> str:
        """Return the origin in one line, as it is shown to people."""
        return ", ".join(part for part in self if part)

    def under(self, step: str | int) -> Origin:
        """Return the origin of a part of the value: of an object's key, or of a list's index."""
        if isinstance(step, int):
            key = f"{self.key}[{step}]"
        elif self.key:
            key = f"{self.key}.{step}"
        else:
            key = step
        return Origin(self.source, self.document, key)

    def error(self, reason: str) -> Problem:
        """Return the problem that the value at this origin cannot be used."""
        return Problem("error", self.source, self.document, self.key, reason)

    def warning(self, reason: str) -> Problem:
        """Return the problem that the value at this origin is used, but not as it may be meant."""
        return Problem("warning", self.source, self.document, self.key, reason)


class Problems:
    """A collector of problems: a reader reports a bad value to it, and reads on.

    With a ``limit``, only so many problems are kept, and one more that says that there are others.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.problems: list[Problem] = []

    def add(self, *problems: Problem) -> None:
        """Keep problems, unless there are too many already."""
        for problem in problems:
            if self.limit is None or len(self.problems) < self.limit:
                self.problems.append(problem)
            elif len(self.problems) == self.limit:
                reason = "there are more problems than can be listed"
                self.problems.append(problem._replace(severity="error", reason=reason))

    def error(self, origin: Origin, reason: str) -> None:
        """Keep an error: the value at the origin is left out."""
        self.add(origin.error(reason))

    def warn(self, origin: Origin, reason: str) -> None:
        """Keep a warning: the value at the origin is used."""
        self.add(origin.warning(reason))

    def take(
        self, origin: Origin, check: Callable[[Any], T], value: object, otherwise: T | None = None
    ) -> T | None:
        """Return what a validator makes of a value.

        Where the validator raises FieldError, keep that as an error at the origin, and return
        ``otherwise``.
        """
        try:
            return check(value)
        except FieldError as error:
            self.error(origin, str(error))
            return otherwise

    def take_text(self, origin: Origin, check: Callable[[str], T], value: object) -> T | None:
        """Return what a validator makes of a value that must be a string, as ``take`` does."""
        if isinstance(value, str):
            return self.take(origin, check, value)
        self.error(origin, "must be a string")
        return None


class FieldError(ValueError):
    """A value that does not fit the syntax that it goes into.  The text is the reason alone."""


class GuestagentError(Exception):
    """An error that ends the run with the exit status ``status``; nothing more is applied."""

    status = defs.EXIT_ERRORS


class UsageError(GuestagentError):
    """A command line that is wrong."""

    status = defs.EXIT_USAGE


class SourceBroken(GuestagentError):
    """A source that exists and cannot be read, which is never taken for no source."""

    status = defs.EXIT_SOURCE_BROKEN


class WrongSource(GuestagentError):
    """A source that belongs to another instance."""

    status = defs.EXIT_WRONG_SOURCE


class AccountsLocked(GuestagentError):
    """The user database is locked by another program."""

    status = defs.EXIT_ACCOUNTS_LOCKED


class TryAgain(GuestagentError):
    """Another run of guestagent holds the lock."""

    status = defs.EXIT_TRY_AGAIN


class Unreachable(GuestagentError):
    """A metadata service that gives no complete answer; a later attempt may succeed."""

    status = defs.EXIT_TRY_AGAIN


class NoPermission(GuestagentError):
    """An operation that the caller is not permitted to do."""

    status = defs.EXIT_NO_PERMISSION


class Refused(GuestagentError):
    """A file that cannot be reached or written safely."""


def internal(error: BaseException) -> str:
    """Return a message about an error of the program itself: its type and the line that raised it.

    The error's own text is left out, because it may quote a secret.
    """
    trace = error.__traceback__
    if trace is None:
        return f"internal error: {type(error).__name__} at an unknown place"
    while trace.tb_next:
        trace = trace.tb_next
    file = trace.tb_frame.f_code.co_filename.rpartition("/")[2]
    return f"internal error: {type(error).__name__} at {file}:{trace.tb_lineno}"
