"""Shapes that are made of others: lists, mappings, alternatives; see ``shape``."""

from __future__ import annotations

from guestagent.parse.userdata.places import BadValue
from guestagent.parse.userdata.scalars import Unsupported
from guestagent.parse.userdata.shape import Field, Shape, nullable
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from guestagent.parse.userdata.places import Moves, Path, Places
    from guestagent.parse.userdata.shape import Schema


class ListOf(Shape):
    """A list.  A bad item is left out and the others are used; with ``whole``, none is.

    ``single`` accepts one item instead of a list of it.  ``nulls`` says what happens to null among
    the items: it is an error, dropped, or kept as None.  ``length`` is the least and the most.
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
        """Accept a list, and one item if that is allowed."""
        return isinstance(value, list) or (self._single and self._item.accepts(value))

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the list of the items that can be used."""
        if not isinstance(value, list):
            return [self._item.read(places, value, old, new=(*new, 0))]
        self._check_length(places, value, old)
        result: list[Any] = []
        any_bad = False
        for index, item in enumerate(value):
            place = (*new, len(result))
            if item is None and self._nulls == "drop":
                continue
            if item is None and self._nulls == "keep":
                places.mark((*old, index), place)
                result.append(None)
                continue
            bookmark = places.bookmark()
            try:
                result.append(self._item.read(places, item, (*old, index), new=place))
            except BadValue:
                places.forget(bookmark)
                any_bad = True
        if any_bad and self._whole:
            raise BadValue
        return result

    def _check_length(self, places: Places, value: list[Any], old: Path) -> None:
        if self._length is None:
            return
        least, most = self._length
        if not least <= len(value) <= most:
            bounds = f"{least}" if least == most else f"{least} to {most}"
            raise places.bad(old, f"must have {bounds} items")

    def json(self) -> Schema:
        """Return the schema of an array, or of an array and one item."""
        item = self._item.json()
        schema: Schema = {
            "type": "array",
            "items": item if self._nulls == "error" else nullable(item),
        }
        if self._length:
            schema["minItems"], schema["maxItems"] = self._length
        return {"anyOf": [schema, item]} if self._single else schema


class Unless(NamedTuple):
    """A field is required unless another one has a certain value."""

    field: str
    other: str
    value: str


class Mapping(Shape):
    """A mapping of known fields; a bad field makes the whole mapping bad, unless it is ``alone``.

    An unknown field is ignored with a warning.  With ``null``, null is an empty mapping.
    ``example`` is shown in messages.
    """

    what = "a mapping"
    many = "mappings"

    def __init__(
        self,
        fields: dict[str, Field],
        *,
        unless: Unless | None = None,
        null: bool = False,
        example: str = "",
    ) -> None:
        self.fields = fields
        self._unless = unless
        self._null = null
        self._example = f" such as {example}" if example else ""
        self._current_names = {name: name for name in fields}
        for name, field in fields.items():
            for old in field.old:
                self._current_names[old] = name

    def accepts(self, value: object) -> bool:
        """Accept a mapping, and null if that is allowed."""
        return isinstance(value, dict) or (self._null and value is None)

    def explain(self, value: object) -> str:
        """Return the reason, with the example if there is one."""
        return f"{super().explain(value)}{self._example}"

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the mapping under current names, without fields that are not given."""
        given: dict[str, Any] = value or {}  # null, where it is accepted, is an empty mapping
        result: dict[str, Any] = {}
        any_bad = False
        for key, item in given.items():
            name = self._current_names.get(key)
            if name is None:
                places.unknown((*old, key), self.fields)
            elif key != name and given.get(name) is not None:
                places.old_name((*old, key), name)
            elif not self._counts_as_missing(name, item):
                field = self.fields[name]
                bookmark = places.bookmark()
                try:
                    read = field.shape.read(places, item, (*old, key), new=(*new, name))
                except BadValue:
                    places.forget(bookmark)
                    # The other fields are read all the same, to note all problems.
                    any_bad = any_bad or not field.alone
                    continue
                if read is not None:
                    result[name] = read
        any_missing = self._note_missing(places, given, old)
        if any_bad or any_missing:
            raise BadValue
        return result

    def _counts_as_missing(self, name: str, item: object) -> bool:
        field = self.fields[name]
        return item is None and (field.null or field.required)

    def _note_missing(self, places: Places, given: dict[str, Any], old: Path) -> bool:
        """Note fields that are required and not given, and tell whether there are any."""
        present = {self._current_names.get(key) for key, item in given.items() if item is not None}
        any_missing = False
        for name, field in self.fields.items():
            if field.required and name not in present:
                places.error((*old, name), "is missing")
                any_missing = True
        unless = self._unless
        if unless and unless.field not in present and given.get(unless.other) != unless.value:
            reason = f"is missing; only {unless.other}: {unless.value} needs none"
            places.error((*old, unless.field), reason)
            any_missing = True
        return any_missing

    def json(self) -> Schema:
        """Return the schema of an object with these properties; old names are deprecated."""
        properties: Schema = {}
        rules: list[Schema] = []
        for name, field in self.fields.items():
            properties[name] = field.json()
            for old in field.old:
                properties[old] = field.json(deprecated=True)
            if field.required:
                rules.append({"required": [name]})
            if isinstance(field.shape, Unsupported) and field.shape.substitutes:
                absent = {key: {"type": "null"} for key in (name, *field.old)}
                substitutes = [_json_given(other) for other in field.shape.substitutes]
                rules.append({"anyOf": [{"properties": absent}, *substitutes]})
        if self._unless:
            name, other, value = self._unless
            excuse = {"required": [other], "properties": {other: {"enum": [value]}}}
            rules.append({"anyOf": [{"required": [name]}, excuse]})
        schema: Schema = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        if rules:
            schema["allOf"] = rules
        return schema


def _json_given(name: str) -> Schema:
    """Return the schema of an object that has a field with something in it."""
    something: list[Schema] = [
        {"type": ["string", "object"]},
        {"type": "array", "minItems": 1},
    ]
    return {"required": [name], "properties": {name: {"anyOf": something}}}


class MapOf(Shape):
    """A mapping whose keys are the user's own; a bad value is left out and the others are used.

    ``nulls`` says what happens to values that are null: they are dropped, or kept as None.
    """

    what = "a mapping"
    many = "mappings"

    def __init__(self, shape: Shape, *, nulls: Literal["drop", "keep"] = "drop") -> None:
        self._shape = shape
        self._nulls = nulls

    def accepts(self, value: object) -> bool:
        """Accept a mapping."""
        return isinstance(value, dict)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the mapping of what can be used; all keys are strings."""
        result: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                places.error(old, "has a key that is not a string: put it in quotes")
            elif item is None:
                if self._nulls == "keep":
                    result[key] = None
            else:
                bookmark = places.bookmark()
                try:
                    result[key] = self._shape.read(places, item, (*old, key), new=(*new, key))
                except BadValue:
                    places.forget(bookmark)
        return result

    def json(self) -> Schema:
        """Return the schema of an object with any properties."""
        return {"type": "object", "additionalProperties": nullable(self._shape.json())}


class AnyOf(Shape):
    """One of several shapes: the first that accepts the value."""

    def __init__(self, *shapes: Shape) -> None:
        self._shapes = shapes
        self.what = " or ".join(dict.fromkeys(shape.what for shape in shapes))
        self.many = " or ".join(dict.fromkeys(shape.many for shape in shapes))

    def accepts(self, value: object) -> bool:
        """Accept what one of the shapes accepts."""
        return any(shape.accepts(value) for shape in self._shapes)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return what the first shape that accepts the value makes of it."""
        shape = next(shape for shape in self._shapes if shape.accepts(value))
        return shape.convert(places, value, old, new=new)

    def json(self) -> Schema:
        """Return the schema of the alternatives."""
        return {"anyOf": [shape.json() for shape in self._shapes]}


class Converted(Shape):
    """A value of another shape, which is then brought into the form in which it is used.

    ``function`` returns the new value, and pairs of paths in the old and in the new one: where its
    parts came from, and where they are.
    """

    def __init__(self, shape: Shape, function: Callable[[Any], tuple[Any, Moves]]) -> None:
        self._shape = shape
        self._function = function
        self.what = shape.what
        self.many = shape.many

    def accepts(self, value: object) -> bool:
        """Accept what the other shape accepts."""
        return self._shape.accepts(value)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the value in its new form."""
        # The marks of the value before it is converted are of no use to others.
        apart = places.apart()
        converted, moves = self._function(self._shape.read(apart, value, old, new=()))
        places.adopt(apart, moves, new)
        return converted

    def json(self) -> Schema:
        """Return the schema of what may be given: that of the other shape."""
        return self._shape.json()
