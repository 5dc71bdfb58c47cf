"""Problems found in the input, and the exceptions that end a run.

No message holds a value of the source, which may be a secret: only where the value is and what is
wrong with it.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.log import printable
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Literal, TypeVar

    T = TypeVar("T")

_STEP_LIMIT = 64  # characters
_ONE_MORE = "1 more problem is"


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
            return Origin(self.source, self.document, f"{self.key}[{step}]")
        # A name of 1 MiB would be in every problem below it.
        if len(step) > _STEP_LIMIT:
            step = f"{step[:_STEP_LIMIT]}..."
        name = printable(step)
        return Origin(self.source, self.document, f"{self.key}.{name}" if self.key else name)

    def error(self, reason: str) -> Problem:
        """Return the problem that the value at this origin cannot be used."""
        return Problem("error", self.source, self.document, self.key, reason)

    def warning(self, reason: str) -> Problem:
        """Return the problem that the value at this origin is used, but not as it may be meant."""
        return Problem("warning", self.source, self.document, self.key, reason)


class _Count:
    """How many problems of one document a collector has kept, and how many it has left out.

    ``severity`` is that of the worst that were left out.
    """

    __slots__ = ("kept", "left_out", "severity")

    def __init__(self) -> None:
        self.kept = self.left_out = 0
        self.severity: Literal["error", "warning"] = "warning"

    def leave_out(self, number: int, severity: Literal["error", "warning"]) -> None:
        """Count problems that are not kept."""
        self.left_out += number
        if severity == "error":
            self.severity = severity


class Problems:
    """A collector of problems: a reader reports a bad value to it, and reads on.

    Of each document, ``defs.MAX_PROBLEMS`` are kept; the others are counted.  ``passing``: one of
    them may not be there at the next look, although nothing that was looked at has changed.
    """

    def __init__(self) -> None:
        self.passing = False
        self._kept: list[Problem] = []
        self._documents: dict[tuple[str, str], _Count] = {}

    @property
    def problems(self) -> list[Problem]:
        """The problems, and one more for each document that says how many others it has."""
        return [*self._kept, *self._left_out()]

    def _left_out(self) -> Iterator[Problem]:
        for (source, document), count in self._documents.items():
            if count.left_out:
                more = f"{count.left_out} more problems are" if count.left_out > 1 else _ONE_MORE
                reason = f"{more} not listed; correct those that are, and look again"
                yield Problem(count.severity, source, document, "", reason)

    def add(self, *problems: Problem) -> None:
        """Keep problems, or count them where their document has too many already."""
        for problem in problems:
            count = self._count(problem.source, problem.document)
            if count.kept < defs.MAX_PROBLEMS:
                count.kept += 1
                self._kept.append(problem)
            else:
                count.leave_out(1, problem.severity)

    def add_all(self, other: Problems) -> None:
        """Keep or count all that another collector has kept or counted."""
        self.passing |= other.passing
        self.add(*other._kept)
        for (source, document), count in other._documents.items():
            if count.left_out:
                self._count(source, document).leave_out(count.left_out, count.severity)

    def is_full(self, origin: Origin) -> bool:
        """Tell whether problems of the origin's document are only counted from now on."""
        return self._count(origin.source, origin.document).kept >= defs.MAX_PROBLEMS

    def _count(self, source: str, document: str) -> _Count:
        return self._documents.setdefault((source, document), _Count())

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
    """A value that does not fit the syntax that it goes into.  The text is the reason alone.

    ``passing``: the reason is not in the value, and may pass.
    """

    passing = False


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
