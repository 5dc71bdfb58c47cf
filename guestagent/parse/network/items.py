"""Reading lists of JSON objects in which a bad item spoils only itself."""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.network.interfaces import Notes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from guestagent.errors import Origin

    T = TypeVar("T")
    Object = dict[str, object]


class BadItem(Exception):
    """The item being read cannot be used, because of what stands at ``key``."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


class Reader:
    """Goes through lists of a document and collects problems; ``origin_of`` names key paths."""

    def __init__(self, origin_of: Callable[[str], Origin]) -> None:
        self.origin_of = origin_of
        self.notes = Notes()

    def error(self, key: str, reason: str) -> None:
        """Note that what stands at a key is left out."""
        self.notes.add("error", self.origin_of(key), reason)

    def each(
        self, parent: Object, path: str, limit: int, read: Callable[[str, Object], None]
    ) -> None:
        """Read each object of the list at the path's last key; a bad one is noted, not raised."""
        for key, item in self.items(parent, path, limit):
            try:
                read(key, object_at(key, item))
            except BadItem as bad:
                self.error(bad.key, bad.reason)

    def tried(self, key: str, function: Callable[..., T], *arguments: object) -> T | None:
        """What a validator returns; None, and a note at ``key``, where it raises FieldError."""
        try:
            return function(*arguments)
        except FieldError as error:
            self.error(key, str(error))
            return None

    def items(self, parent: Object, path: str, limit: int) -> Iterator[tuple[str, object]]:
        """The items of the list at the path's last key, with their own paths."""
        items = parent.get(path.rpartition(".")[2])
        if items is None:
            return
        if not isinstance(items, list):
            self.error(path, "must be a list")
            return
        if len(items) > limit:
            self.error(path, f"has more than {limit} items; the rest is left out")
        for index, item in enumerate(items[:limit]):
            yield f"{path}[{index}]", item


def at(key: str, function: Callable[..., T], *arguments: object) -> T:
    """Call a validator; what it raises becomes the problem of the item at ``key``."""
    try:
        return function(*arguments)
    except FieldError as error:
        raise BadItem(key, str(error)) from None


def object_at(key: str, item: object) -> Object:
    """The item as a JSON object.  Raises BadItem."""
    if not isinstance(item, dict):
        raise BadItem(key, "must be an object")
    return item


def text_at(key: str, entry: Object, name: str) -> str:
    """The text under a name, not empty.  Raises BadItem."""
    value = entry.get(name)
    if value is None or value == "":
        raise BadItem(f"{key}.{name}", "is missing")
    if not isinstance(value, str):
        raise BadItem(f"{key}.{name}", "must be text")
    return value
