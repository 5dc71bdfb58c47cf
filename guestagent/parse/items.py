"""JSON objects of a source's documents, read so that a bad value spoils as little as it can."""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from guestagent.errors import Origin, Problem, Problems

    T = TypeVar("T")


_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-.")


class BadItem(Exception):
    """The object that is being read cannot be used; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


class Item(NamedTuple):
    """A JSON object, its origin, and the collector of its problems.

    The methods that take a field report it if it is bad, and return None.  Those that require it
    raise BadItem: without the field, the whole object is of no use.
    """

    fields: dict[str, Any]
    origin: Origin
    problems: Problems

    def get(self, name: str) -> Any:
        """Return the value of a field; None where it is missing or null."""
        return self.fields.get(name)

    def error(self, name: str, reason: str) -> None:
        """Report that a field is left out."""
        self.problems.error(self.origin.under(name), reason)

    def warn(self, name: str, reason: str) -> None:
        """Report that a field is used, but perhaps not as it is meant."""
        self.problems.warn(self.origin.under(name), reason)

    def take(self, name: str, check: Callable[[Any], T]) -> T | None:
        """Return what a validator makes of a field; None where it is missing or bad."""
        value = self.fields.get(name)
        if value is None:
            return None
        return self.problems.take(self.origin.under(name), check, value)

    def take_text(self, name: str, check: Callable[[str], T]) -> T | None:
        """Return what a validator makes of a string; None where it is missing or bad."""
        value = self.fields.get(name)
        if value is None:
            return None
        return self.problems.take_text(self.origin.under(name), check, value)

    def take_needed_text(self, name: str, check: Callable[[str], T]) -> T | None:
        """Return what a validator makes of a string; None where it is bad.

        That it is missing is an error too.
        """
        if self.fields.get(name) is None:
            self.error(name, "is missing")
        return self.take_text(name, check)

    def child(self, name: str) -> Item | None:
        """Return an object in a field; None where it is missing, or of another type."""
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.error(name, "must be an object")
            return None
        return Item(value, self.origin.under(name), self.problems)

    def entries(self, name: str, limit: int | None = None) -> Iterator[tuple[Origin, Any]]:
        """Yield the entries of a list, with their origins; at most ``limit`` of them."""
        value = self.fields.get(name)
        if value is None:
            return
        if not isinstance(value, list):
            self.error(name, "must be a list")
            return
        if limit is not None and len(value) > limit:
            self.error(name, f"has more than {limit} items; the rest is left out")
        origin = self.origin.under(name)
        for index, entry in enumerate(value[:limit]):
            yield origin.under(index), entry

    def objects(self, name: str, limit: int | None = None) -> Iterator[Item]:
        """Yield the entries of a list that are objects; at most ``limit`` entries are read."""
        for origin, entry in self.entries(name, limit):
            if isinstance(entry, dict):
                yield Item(entry, origin, self.problems)
            else:
                self.problems.error(origin, "must be an object")

    def read_each(self, name: str, limit: int, read: Callable[[Item], None]) -> None:
        """Call ``read`` for each object of a list; report those for which it raises BadItem."""
        for item in self.objects(name, limit):
            try:
                read(item)
            except BadItem as bad:
                self.problems.add(bad.problem)

    def bad(self, name: str, reason: str) -> BadItem:
        """Return the exception for an object that cannot be used because of a field."""
        return BadItem(self.origin.under(name).error(reason))

    def require_text(self, name: str) -> str:
        """Return a string that is not empty.  Raises BadItem if there is none."""
        value = self.fields.get(name)
        if value is None or value == "":
            raise self.bad(name, "is missing")
        if not isinstance(value, str):
            raise self.bad(name, "must be a string")
        return value

    def require(self, name: str, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a validator makes of the arguments, of which the field is one.

        Raises BadItem where the validator raises FieldError.
        """
        try:
            return function(*arguments)
        except FieldError as error:
            raise self.bad(name, str(error)) from None


def quote_type(value: object) -> str:
    """Return a type that a source gives, in quotes; what is not like one is called "it".

    Types are the words of programs, in small letters.  No other value is quoted in a message.
    """
    is_word = isinstance(value, str) and 0 < len(value) <= 32 and _WORD.issuperset(value)
    return f"'{value}'" if is_word else "it"
