"""The JSON objects of network_data.json, read so that a bad one spoils only itself."""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from guestagent.errors import Origin, Problem, Problems

    T = TypeVar("T")


class BadItem(Exception):
    """The object that is being read cannot be used; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.reason)
        self.problem = problem


class Item(NamedTuple):
    """A JSON object, where it is in the document, and the collector of what is wrong with it.

    A field that must be good is read with ``text`` and ``check``, which raise BadItem.  One that
    is left out where it is bad is read with ``optional``.
    """

    fields: dict[str, object]
    origin: Origin
    problems: Problems

    def get(self, name: str) -> object:
        """Return the value of a field; None where it is missing."""
        return self.fields.get(name)

    def bad(self, name: str, reason: str) -> BadItem:
        """Return the exception for an object that cannot be used because of a field."""
        return BadItem(self.origin.under(name).error(reason))

    def text(self, name: str) -> str:
        """Return the text of a field.  Raises BadItem if there is none, or another type."""
        value = self.fields.get(name)
        if value is None or value == "":
            raise self.bad(name, "is missing")
        if not isinstance(value, str):
            raise self.bad(name, "must be a string")
        return value

    def check(self, name: str, function: Callable[..., T], *arguments: object) -> T:
        """Call a validator for a field, and return what it returns.

        Raises BadItem where the validator raises FieldError.
        """
        try:
            return function(*arguments)
        except FieldError as error:
            raise self.bad(name, str(error)) from None

    def optional(self, name: str, check: Callable[[Any], T]) -> T | None:
        """Return what a validator makes of a field; None where it is missing, null or bad."""
        value = self.fields.get(name)
        if value is None:
            return None
        return self.problems.take(self.origin.under(name), check, value)

    def error(self, name: str, reason: str) -> None:
        """Report that a field is left out."""
        self.problems.error(self.origin.under(name), reason)

    def entries(self, name: str, limit: int) -> Iterator[tuple[Origin, object]]:
        """Yield the entries of a list, with their origins; at most ``limit`` of them."""
        listed = self.fields.get(name)
        if listed is None:
            return
        if not isinstance(listed, list):
            self.error(name, "must be a list")
            return
        if len(listed) > limit:
            self.error(name, f"has more than {limit} items; the rest is left out")
        origin = self.origin.under(name)
        for index, entry in enumerate(listed[:limit]):
            yield origin.under(index), entry

    def read_each(self, name: str, limit: int, read: Callable[[Item], None]) -> None:
        """Call ``read`` for each object of a list; report those for which it raises BadItem."""
        for origin, entry in self.entries(name, limit):
            if not isinstance(entry, dict):
                self.problems.error(origin, "must be an object")
                continue
            try:
                read(Item(entry, origin, self.problems))
            except BadItem as bad:
                self.problems.add(bad.problem)
