"""Shapes: what a value of cloud-config may look like, and what is made of it.

A shape knows three things: whether the type of a value fits (``accepts``), what the value becomes
(``read``), and how JSON Schema says the same (``json``).  Syntax inside of text, such as that of
paths and addresses, is for those who use the value.
"""

from __future__ import annotations

from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.places import Path, Places

    Schema = dict[str, Any]


class Shape:
    """Base of all shapes; ``what`` and ``many`` name it in messages, in singular and plural."""

    what = ""
    many = ""

    def accepts(self, value: object) -> bool:
        """Tell whether the type of a value fits, whatever the value contains."""
        raise NotImplementedError

    def explain(self, value: object) -> str:
        """Return the reason why a value is not accepted."""
        return f"must be {self.what}"

    def read(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the value in the form in which it is used; None counts as not given.

        ``old`` is its path as it was given, ``new`` that in the result.  Raises BadValue when the
        problem has been noted.
        """
        places.mark(old, new)
        if not self.accepts(value):
            raise places.bad(old, self.explain(value))
        return self.convert(places, value, old, new=new)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return what ``read`` returns, for a value that is accepted."""
        raise NotImplementedError

    def json(self) -> Schema:
        """Return the shape in JSON Schema, draft 7."""
        raise NotImplementedError


class Field(NamedTuple):
    """A key of a mapping: its shape, what it means, and how else it may be spelled.

    ``old`` are deprecated names.  A ``secret`` is never shown.  ``null`` says that null is the
    same as not given; a field that is required must not be null.  Without one that is ``alone``
    the others mean the same: a wrong value costs only the field.
    """

    shape: Shape
    text: str
    old: tuple[str, ...] = ()
    required: bool = False
    secret: bool = False
    null: bool = True
    alone: bool = False

    def json(self, *, deprecated: bool = False) -> Schema:
        """Return the field as a property of JSON Schema."""
        schema: Schema = {"description": self.text}
        if self.secret:
            schema["writeOnly"] = True
        if deprecated:
            schema["deprecated"] = True
        if self.null and not self.required:
            return schema | nullable(self.shape.json())
        return schema | self.shape.json()


def nullable(schema: Schema) -> Schema:
    """Return a schema that null fits as well."""
    if not schema.keys() & {"type", "enum", "anyOf"}:
        return schema  # everything fits
    if "type" not in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "null" not in types:
        types = [*types, "null"]
    return schema | {"type": types}
