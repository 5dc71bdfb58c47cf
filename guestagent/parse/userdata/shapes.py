"""Shapes: what a value of cloud-config may look like, and what is made of it.

A shape knows three things about a value: whether its type fits (``accepts``), what stands in its
place afterwards (``read``), and how JSON Schema says the same (``json``).  Syntax inside text,
such as paths and addresses, is for those who use the value.
"""

from __future__ import annotations

from guestagent.parse.userdata.reader import Reader, Spoiled
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from guestagent.parse.userdata.reader import Moves, Path

    Schema = dict[str, Any]
    Turn = Callable[[Any], tuple[Any, Moves]]

_QUOTES = "must be a string: put it in quotes"


class Shape:
    """Base of all shapes; ``what`` and ``many`` are words for messages: one of it, several."""

    what = ""
    many = ""

    def accepts(self, value: object) -> bool:
        """True if the value's own type fits, whatever is inside."""
        raise NotImplementedError

    def read(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """What the value means; ``old`` is its path as given, ``new`` that in the result.

        None means not given.  Raises Spoiled once the reason is noted.
        """
        reader.mark(old, new)
        if not self.accepts(value):
            raise reader.spoiled(old, self.wrong(value))
        return self.inside(reader, value, old, new)

    def wrong(self, value: object) -> str:
        """Why a value that is not accepted is not."""
        return f"must be {self.what}"

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """As ``read``, for a value that is accepted."""
        raise NotImplementedError

    def json(self) -> Schema:
        """The shape in JSON Schema, draft 7."""
        raise NotImplementedError


class Text(Shape):
    """A string.

    ``numbers`` takes a number for its digits, as cloud-init does, with a warning where these may
    differ from what was written: YAML reads 0755 as 493 and 1.10 as 1.1.  ``binary`` takes bytes.
    Without ``blank``, text of nothing but white space, as templates leave it, is not given.
    """

    what = "a string"
    many = "strings"

    def __init__(self, numbers: bool = False, binary: bool = False, blank: bool = True) -> None:
        self._numbers = numbers
        self._binary = binary
        self._blank = blank

    def accepts(self, value: object) -> bool:
        """A string, or what the shape takes besides."""
        if isinstance(value, (int, float)):
            return self._numbers and not isinstance(value, bool)
        return isinstance(value, str) or (self._binary and isinstance(value, bytes))

    def wrong(self, value: object) -> str:
        """Numbers and true and false only want quotes."""
        return _QUOTES if isinstance(value, (bool, int, float)) else super().wrong(value)

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The string."""
        if isinstance(value, str) and not self._blank and not value.strip():
            return None
        if not isinstance(value, (int, float)):
            return value
        if value not in range(8):
            reader.note("warning", old, "is a number: put it in quotes to keep it as written")
        return str(value)

    def json(self) -> Schema:
        """A string; numbers too."""
        return {"type": ["string", "number"] if self._numbers else "string"}


class Number(Shape):
    """A whole number, also as text, with an optional least value.

    ``words`` are pairs of a word that is taken as well and the number it means.
    """

    what = "a whole number"
    many = "whole numbers"

    def __init__(
        self, least: int | None = None, text: bool = True, words: tuple[tuple[str, int], ...] = ()
    ) -> None:
        self._least = least
        self._text = text
        self._words = words

    def accepts(self, value: object) -> bool:
        """A number that is whole, or text."""
        if isinstance(value, float):
            return value.is_integer()
        if isinstance(value, str):
            return self._text
        return isinstance(value, int) and not isinstance(value, bool)

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The number as int."""
        for word, meaning in self._words:
            if value == word:
                return meaning
        if isinstance(value, str):
            digits = value[1:] if value[:1] in ("+", "-") else value
            if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
                raise reader.spoiled(old, self.wrong(value))
        number = int(value)
        if self._least is not None and number < self._least:
            raise reader.spoiled(old, f"must be at least {self._least}")
        return number

    def json(self) -> Schema:
        """An integer, or its digits."""
        number: Schema = {"type": "integer"}
        sign = "[+-]?"
        if self._least is not None:
            number["minimum"] = self._least
            sign = "[+]?" if self._least == 0 else sign
        if not self._text:
            return number
        words = [{"enum": [word for word, _ in self._words]}] if self._words else []
        text = {"type": "string", "pattern": f"^{sign}[0-9]{{1,18}}$"}
        return {"anyOf": [number, *words, text | {"deprecated": True}]}


class Choice(Shape):
    """One of a few values; ``old`` are pairs of a value taken as well and the one it means.

    ``what`` are words for messages, by default all the values.
    """

    def __init__(self, *values: Any, old: tuple[tuple[Any, Any], ...] = (), what: str = "") -> None:
        self._values = values
        self._old = old
        self._meanings = (*((value, value) for value in values), *old)
        shown = [_word(value) for value in values or [pair[0] for pair in old]]
        self.what = what or " or ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
        self.many = f"values that are {self.what}"

    def accepts(self, value: object) -> bool:
        """A value of the type of one of them."""
        return any(type(value) is type(known) for known, _ in self._meanings)

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The one of the values that is meant."""
        for known, meaning in self._meanings:
            if type(value) is type(known) and value == known:
                return meaning
        raise reader.spoiled(old, self.wrong(value))

    def json(self) -> Schema:
        """The values; the old ones deprecated."""
        old = {"enum": [value for value, _ in self._old], "deprecated": True}
        if not self._values:
            return old
        now = {"enum": list(self._values)}
        return {"anyOf": [now, old]} if self._old else now


def _word(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _spellings() -> Iterable[tuple[Any, bool]]:
    for yes, no in (("yes", "no"), ("true", "false"), ("on", "off")):
        for word, meaning in ((yes, True), (no, False)):
            yield from ((word, meaning), (word.capitalize(), meaning), (word.upper(), meaning))
    yield from ((1, True), (0, False), ("1", True), ("0", False))


FLAG_WORDS = tuple(_spellings())


def flag() -> Choice:
    """True or false, also as the words and digits that cloud-init takes for them."""
    return Choice(True, False, old=FLAG_WORDS)


class Refused(Shape):
    """A field that cloud-init has and guestagent does not: an error, and the rest counts.

    With ``whole`` the object counts no more, for without the field it means something else.
    Beside one of the fields ``spared`` that is given, it is a warning only.
    """

    def __init__(self, reason: str, whole: bool = False, spared: tuple[str, ...] = ()) -> None:
        self.reason = reason
        self.spared = spared
        self._whole = whole

    def accepts(self, value: object) -> bool:
        """Anything, to be refused."""
        return True

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> None:
        """Nothing, once the reason is noted."""
        beside = reader.given(old[:-1]) if self.spared else {}
        mild = any(beside.get(name) not in (None, []) for name in self.spared)
        reader.note("warning" if mild else "error", old, self.reason)
        if self._whole:
            raise Spoiled

    def json(self) -> Schema:
        """Nothing but null; anything where others make up for it, which their object sees to."""
        if self.spared:
            return {"description": self.reason, "deprecated": True}
        return {"type": "null", "description": self.reason}


class Ignored(Shape):
    """A field that changes nothing in the guest: a warning says why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def accepts(self, value: object) -> bool:
        """Anything, to be ignored."""
        return True

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> None:
        """Nothing, once the reason is noted."""
        reader.note("warning", old, self._reason)

    def json(self) -> Schema:
        """Anything."""
        return {"deprecated": True}


class Field(NamedTuple):
    """A key of an object: its shape, what it means, and how else it may be spelt.

    ``old`` are deprecated names.  A ``secret`` is never to be shown.  ``null`` says that null
    is the same as not given; it is not for a field that is required.
    """

    shape: Shape
    text: str
    old: tuple[str, ...] = ()
    required: bool = False
    secret: bool = False
    null: bool = True

    def json(self, deprecated: bool = False) -> Schema:
        """The field as a property of JSON Schema."""
        schema = self.shape.json()
        if self.null and not self.required:
            schema = nullable(schema)
        extra: Schema = {"description": self.text}
        extra |= {"writeOnly": True} if self.secret else {}
        extra |= {"deprecated": True} if deprecated else {}
        return extra | schema


def nullable(schema: Schema) -> Schema:
    """The schema, for null as well."""
    kind = schema.get("type")
    if not schema.keys() & {"type", "enum", "anyOf"}:
        return schema  # anything fits
    if kind is None:
        return {"anyOf": [schema, {"type": "null"}]}
    kinds = kind if isinstance(kind, list) else [kind]
    return schema | {"type": kinds if "null" in kinds else [*kinds, "null"]}
