"""Shapes of single values: strings, numbers, choices; and of fields that are not supported."""

from __future__ import annotations

from guestagent.parse.userdata.places import BadValue
from guestagent.parse.userdata.shape import Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from guestagent.parse.userdata.places import Path, Places
    from guestagent.parse.userdata.shape import Schema

_PUT_IN_QUOTES = "must be a string: put it in quotes"


class String(Shape):
    """A string.

    With ``numbers``, a number counts as its digits, as in cloud-init; there is a warning where
    these may differ from what was written: YAML reads 0755 as 493 and 1.10 as 1.1.  ``binary``
    accepts bytes.  Without ``blank``, a string of white space only, as templates leave it, counts
    as not given.
    """

    what = "a string"
    many = "strings"

    def __init__(self, *, numbers: bool = False, binary: bool = False, blank: bool = True) -> None:
        self._numbers = numbers
        self._binary = binary
        self._blank = blank

    def accepts(self, value: object) -> bool:
        """Accept a string, and numbers or bytes if they are allowed."""
        if isinstance(value, str):
            return True
        if isinstance(value, bool):  # which is an int, too
            return False
        if isinstance(value, int | float):
            return self._numbers
        return self._binary and isinstance(value, bytes)

    def explain(self, value: object) -> str:
        """Return the reason; numbers, true and false only need quotes."""
        if isinstance(value, bool | int | float):
            return _PUT_IN_QUOTES
        return super().explain(value)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the string or bytes."""
        if isinstance(value, int | float):
            # One digit can only have been written in one way.
            if value not in range(8):
                places.warn(old, "is a number: put it in quotes to keep it as written")
            return str(value)
        if isinstance(value, str) and not self._blank and not value.strip():
            return None
        return value

    def json(self) -> Schema:
        """Return the schema of a string, or of a string and a number."""
        return {"type": ["string", "number"] if self._numbers else "string"}


class Integer(Shape):
    """A whole number of at least ``least``; with ``text``, also the digits of one in a string.

    ``words`` are pairs of a word that is accepted too and the number that it means.
    """

    what = "a whole number"
    many = "whole numbers"

    def __init__(
        self,
        *,
        least: int | None = None,
        text: bool = True,
        words: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self._least = least
        self._text = text
        self._words = words

    def accepts(self, value: object) -> bool:
        """Accept a whole number, and text if it is allowed."""
        if isinstance(value, bool):  # which is an int, too
            return False
        if isinstance(value, float):
            return value.is_integer()
        if isinstance(value, str):
            return self._text
        return isinstance(value, int)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the number as int."""
        for word, meaning in self._words:
            if value == word:
                return meaning
        if isinstance(value, str) and not _is_number(value):
            raise places.bad(old, self.explain(value))
        number = int(value)
        if self._least is not None and number < self._least:
            raise places.bad(old, f"must be at least {self._least}")
        return number

    def json(self) -> Schema:
        """Return the schema of an integer, or of an integer and its digits."""
        number: Schema = {"type": "integer"}
        sign = "[+-]?"
        if self._least is not None:
            number["minimum"] = self._least
        if self._least == 0:
            sign = "[+]?"
        if not self._text:
            return number
        choices = [number]
        if self._words:
            choices.append({"enum": [word for word, _ in self._words]})
        pattern = f"^{sign}[0-9]{{1,18}}$"
        choices.append({"type": "string", "pattern": pattern, "deprecated": True})
        return {"anyOf": choices}


def _is_number(text: str) -> bool:
    digits = text[1:] if text.startswith(("+", "-")) else text
    # 18 digits fit into 64 bits; int() alone would take other scripts' digits as well.
    return digits.isascii() and digits.isdigit() and len(digits) <= 18


class Choice(Shape):
    """One of a few values; ``old`` are pairs of a deprecated value and the one that it means.

    ``what`` describes them in messages; by default, it lists the values.
    """

    def __init__(self, *values: Any, old: tuple[tuple[Any, Any], ...] = (), what: str = "") -> None:
        self._values = values
        self._old = old
        self._meanings = (*((value, value) for value in values), *old)
        self.what = what or _listed(values or tuple(value for value, _ in old))
        self.many = f"values that are {self.what}"

    def accepts(self, value: object) -> bool:
        """Accept a value of the same type as one of the values."""
        return any(type(value) is type(known) for known, _ in self._meanings)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the value that is meant."""
        for known, meaning in self._meanings:
            # 1 == True: the types must be the same, too.
            if type(value) is type(known) and value == known:
                return meaning
        raise places.bad(old, self.explain(value))

    def json(self) -> Schema:
        """Return the schema of the values; that of the old ones is deprecated."""
        old: Schema = {"enum": [value for value, _ in self._old], "deprecated": True}
        values: Schema = {"enum": list(self._values)}
        if not self._values:
            return old
        if not self._old:
            return values
        return {"anyOf": [values, old]}


def _listed(values: tuple[Any, ...]) -> str:
    """Return values as they are written in YAML: ``true, false or localhost``."""
    words = [_written(value) for value in values]
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _written(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _flag_words() -> Iterator[tuple[Any, bool]]:
    for true, false in (("yes", "no"), ("true", "false"), ("on", "off")):
        for word, meaning in ((true, True), (false, False)):
            yield word, meaning
            yield word.capitalize(), meaning
            yield word.upper(), meaning
    yield from ((1, True), (0, False), ("1", True), ("0", False))


FLAG_WORDS = tuple(_flag_words())
"""Words and digits that cloud-init accepts for true and false, and what they mean."""


def flag() -> Choice:
    """Return the shape of true or false, which accepts ``FLAG_WORDS`` as well."""
    return Choice(True, False, old=FLAG_WORDS)


class Unsupported(Shape):
    """A field that cloud-init has and guestagent does not: an error, and the rest is used.

    With ``whole``, the mapping is not used either: without the field it means something else.
    Beside one of the fields ``substitutes``, if one is given, it is only a warning, and the mapping
    is used.
    """

    def __init__(
        self, reason: str, *, whole: bool = False, substitutes: tuple[str, ...] = ()
    ) -> None:
        self.reason = reason
        self.substitutes = substitutes
        self._whole = whole

    def accepts(self, value: object) -> bool:
        """Accept everything, for ``convert`` to give the reason."""
        return True

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> None:
        """Note the reason."""
        siblings = places.given(old[:-1]) if self.substitutes else {}
        if any(siblings.get(name) not in (None, []) for name in self.substitutes):
            places.warn(old, self.reason)
            return
        places.error(old, self.reason)
        if self._whole:
            raise BadValue

    def json(self) -> Schema:
        """Return the schema of null; with substitutes, that of the mapping says when it fits."""
        if self.substitutes:
            return {"description": self.reason, "deprecated": True}
        return {"type": "null", "description": self.reason}


class Ignored(Shape):
    """A field that changes nothing in the guest: a warning says why."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def accepts(self, value: object) -> bool:
        """Accept everything."""
        return True

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> None:
        """Note the reason."""
        places.warn(old, self._reason)

    def json(self) -> Schema:
        """Return the schema that everything fits."""
        return {"deprecated": True}
