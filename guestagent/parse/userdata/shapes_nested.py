"""Shapes that are made of others: lists, objects, maps, alternatives; see ``shapes``."""

from __future__ import annotations

from guestagent.parse.userdata.reader import Reader, Spoiled
from guestagent.parse.userdata.shapes import Field, Refused, Shape, nullable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.parse.userdata.reader import Path
    from guestagent.parse.userdata.shapes import Schema, Turn


class ListOf(Shape):
    """A list; a bad item is left out and the others count, or it spoils the ``whole``.

    ``single`` takes one item for a list of it.  ``nulls`` says what becomes of null among the
    items: an error, or it is dropped, or kept as None.  ``length`` is the least and the most.
    """

    def __init__(
        self,
        item: Shape,
        *,
        single: bool = False,
        whole: bool = False,
        nulls: Literal["error", "drop", "keep"] = "error",
        length: tuple[int, int] | None = None,
    ) -> None:
        self._item = item
        self._single = single
        self._whole = whole
        self._nulls = nulls
        self._length = length
        self.what = f"a list of {item.many}"
        self.many = f"lists of {item.many}"

    def accepts(self, value: object) -> bool:
        """A list, or one item where that will do."""
        return isinstance(value, list) or (self._single and self._item.accepts(value))

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The list of the items that can be used."""
        if not isinstance(value, list):
            return [self._item.read(reader, value, old, (*new, 0))]
        if self._length and not self._length[0] <= len(value) <= self._length[1]:
            bounds = " to ".join(str(bound) for bound in sorted({*self._length}))
            raise reader.spoiled(old, f"must have {bounds} items")
        result: list[Any] = []
        spoiled = False
        for index, item in enumerate(value):
            place = (*new, len(result))
            if item is None and self._nulls != "error":
                if self._nulls == "keep":
                    reader.mark((*old, index), place)
                    result.append(None)
                continue
            marks = len(reader.marks)
            try:
                result.append(self._item.read(reader, item, (*old, index), place))
            except Spoiled:
                spoiled = True
                reader.rewind(marks)
        if spoiled and self._whole:
            raise Spoiled
        return result

    def json(self) -> Schema:
        """An array, or one item."""
        item = self._item.json()
        schema: Schema = {
            "type": "array",
            "items": item if self._nulls == "error" else nullable(item),
        }
        if self._length:
            schema |= {"minItems": self._length[0], "maxItems": self._length[1]}
        return {"anyOf": [schema, item]} if self._single else schema


class ObjectOf(Shape):
    """An object of known fields; one that cannot be used spoils the whole.

    A field that is not known is ignored with a warning.  ``unless`` (field, other, value) asks for
    one field unless another has a certain value.  ``null`` takes null for an object that is empty.
    ``example`` is one, for messages.
    """

    what = "an object"
    many = "objects"

    def __init__(
        self,
        fields: dict[str, Field],
        *,
        unless: tuple[str, str, str] | None = None,
        null: bool = False,
        example: str = "",
    ) -> None:
        self.fields = fields
        self._unless = unless
        self._null = null
        self._example = f" such as {example}" if example else ""
        self._names = {name: name for name in fields}
        for name, field in fields.items():
            self._names |= dict.fromkeys(field.old, name)

    def accepts(self, value: object) -> bool:
        """An object."""
        return isinstance(value, dict) or (self._null and value is None)

    def wrong(self, value: object) -> str:
        """With the example, if there is one."""
        return f"{super().wrong(value)}{self._example}"

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The object with the names of today, without fields that are null."""
        result: dict[str, Any] = {}
        spoiled = False
        for key, raw in (value or {}).items():
            name = self._names.get(key)
            if name is None:
                reader.unknown((*old, key), self.fields)
                continue
            if key != name and value.get(name) is not None:
                reader.note("warning", (*old, key), f"is an old name of {name}, which counts")
                continue
            field = self.fields[name]
            if raw is None and (field.null or field.required):
                continue
            try:
                read = field.shape.read(reader, raw, (*old, key), (*new, name))
            except Spoiled:
                spoiled = True
                continue
            if read is not None:
                result[name] = read
        if self._missing(reader, value or {}, old) or spoiled:
            raise Spoiled
        return result

    def _missing(self, reader: Reader, value: dict[str, Any], old: Path) -> bool:
        given = {self._names.get(key) for key, raw in value.items() if raw is not None}
        missing = [name for name, field in self.fields.items() if field.required]
        missing = [name for name in missing if name not in given]
        for name in missing:
            reader.note("error", (*old, name), "is missing")
        if self._unless:
            name, other, certain = self._unless
            if name not in given and value.get(other) != certain:
                reader.note("error", (*old, name), f"is missing; only {certain} needs none")
                return True
        return bool(missing)

    def json(self) -> Schema:
        """An object of these properties, the old names deprecated."""
        properties: Schema = {}
        rules: list[Schema] = []
        for name, field in self.fields.items():
            properties[name] = field.json()
            properties |= {old: field.json(deprecated=True) for old in field.old}
            if field.required:
                rules.append({"required": [name]})
            if isinstance(field.shape, Refused) and field.shape.spared:
                none = {key: {"type": "null"} for key in (name, *field.old)}
                rules.append({"anyOf": [{"properties": none}, *map(_given, field.shape.spared)]})
        if self._unless:
            name, other, certain = self._unless
            excuse = {"required": [other], "properties": {other: {"enum": [certain]}}}
            rules.append({"anyOf": [{"required": [name]}, excuse]})
        schema: Schema = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        return schema | ({"allOf": rules} if rules else {})


def _given(name: str) -> Schema:
    """An object with that field, of which something is given."""
    some: list[Schema] = [{"type": ["string", "object"]}, {"type": "array", "minItems": 1}]
    return {"required": [name], "properties": {name: {"anyOf": some}}}


class MapOf(Shape):
    """An object whose keys are the user's own; a bad value is left out and the others count."""

    what = "an object"
    many = "objects"

    def __init__(self, shape: Shape, nulls: Literal["drop", "keep"] = "drop") -> None:
        self._shape = shape
        self._nulls = nulls

    def accepts(self, value: object) -> bool:
        """An object."""
        return isinstance(value, dict)

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The object of what can be used; all keys are strings."""
        result: dict[str, Any] = {}
        for key, raw in value.items():
            if not isinstance(key, str):
                reader.note("error", old, "has a key that is no string: put it in quotes")
                continue
            if raw is None:
                result |= {key: None} if self._nulls == "keep" else {}
                continue
            marks = len(reader.marks)
            try:
                result[key] = self._shape.read(reader, raw, (*old, key), (*new, key))
            except Spoiled:
                reader.rewind(marks)
        return result

    def json(self) -> Schema:
        """An object of any properties."""
        return {"type": "object", "additionalProperties": nullable(self._shape.json())}


class Either(Shape):
    """One of several shapes, told apart by the type of the value: the first that accepts it."""

    def __init__(self, *shapes: Shape) -> None:
        self._shapes = shapes
        self.what = " or ".join(dict.fromkeys(shape.what for shape in shapes))
        self.many = " or ".join(dict.fromkeys(shape.many for shape in shapes))

    def accepts(self, value: object) -> bool:
        """What any of them accepts."""
        return any(shape.accepts(value) for shape in self._shapes)

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """What the first that accepts the value makes of it."""
        shape = next(shape for shape in self._shapes if shape.accepts(value))
        return shape.inside(reader, value, old, new)

    def json(self) -> Schema:
        """Any of them."""
        return {"anyOf": [shape.json() for shape in self._shapes]}


class As(Shape):
    """Another shape's value, turned into the form in which it is used.

    ``turn`` returns the new value and pairs of paths in the old and the new one: where its parts
    came from, and where they are.
    """

    def __init__(self, shape: Shape, turn: Turn) -> None:
        self._shape = shape
        self._turn = turn
        self.what = shape.what
        self.many = shape.many

    def accepts(self, value: object) -> bool:
        """What the other shape accepts."""
        return self._shape.accepts(value)

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The value in its new form."""
        apart = Reader(reader.setting, reader.problems)
        turned, moves = self._turn(self._shape.read(apart, value, old, ()))
        reader.adopt(apart, moves, new)
        return turned

    def json(self) -> Schema:
        """What may be given: the other shape's."""
        return self._shape.json()
