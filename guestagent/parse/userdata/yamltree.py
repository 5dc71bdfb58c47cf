"""YAML 1.1 (https://yaml.org/spec/1.1), as PyYAML's safe loader reads it, bounded and with places.

PyYAML gives the events; nodes are made of them here, so that size, depth and the expansion of
aliases are known before anything is built, and each value keeps its line and column.
"""

from __future__ import annotations

from binascii import a2b_base64

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.userdata import yamlerrors
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Path = tuple[str | int, ...]
    Place = tuple[int, int]

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
# Text as written: time stamps too, and what else has no meaning as a value of its own.
_TEXTS = frozenset(
    _TAG + name for name in ("str", "timestamp", "merge", "value", "yaml", "python/unicode")
)
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_NUMBER_LIMIT = 128
_NOTE_LIMIT = 30
_TOO_MUCH = (
    f"more than {defs.YAML_NODES} values or {defs.YAML_LETTERS >> 10} KiB of text up to here, "
    "aliases (*) written out"
)
_TOO_MUCH_IN_ALL = f"{_TOO_MUCH}, with the parts before it"
_TWICE = "stands twice; the last one counts"


class Tree(NamedTuple):
    """A document: its value, the place of its parts, and what is to be told about them.

    ``value`` is made of dict, list, str, bytes, int, float, bool and None; nothing in it is
    shared.  ``marks`` holds (line, column), from 1 on, by path: of a mapping's entry that of its
    key, of a list's item that of the item, of ``()`` that of the whole.  ``nodes`` and
    ``letters`` are the values and the characters in it.
    """

    value: Any
    marks: dict[Path, Place]
    notes: tuple[tuple[Path, str], ...] = ()
    nodes: int = 0
    letters: int = 0


class Octal(int):
    """A number of more than one digit that was written in octal, as 0644."""


class _Node:
    """A value as it stands in the text; an alias is the node that it means.

    ``inner`` are places and nodes of a list's items, or of a mapping's keys and values in turn.
    ``nodes`` and ``letters`` count what is in it with aliases written out, ``height`` the levels.
    """

    __slots__ = ("height", "inner", "kind", "letters", "nodes", "open", "place", "tag", "text")

    def __init__(self, kind: str, tag: str, place: Place, text: str = "") -> None:
        self.kind = kind
        self.tag = tag
        self.place = place
        self.text = text
        self.inner: list[tuple[Place, _Node]] = []
        self.nodes = 1
        self.letters = len(text)
        self.height = 0 if kind == "scalar" else 1
        self.open = kind != "scalar"


def load(content: bytes, before: tuple[int, int] = (0, 0)) -> Tree:
    """Read one YAML document of at most ``defs.YAML_LIMIT`` bytes; an empty one is None.

    Keys are text as written, and so are time stamps and numbers that are not finite or too long.
    Aliases and merge keys (``<<``) work, up to ``defs.YAML_NODES`` values and
    ``defs.YAML_LETTERS`` characters in all once they are written out.  ``before`` are those of
    other documents that are held at the same time, and count as well.

    Raises FieldError, "line N, column M: reason", the reason without anything of the content.
    """
    root = _compose(_text(content), before)
    if root is None:
        return Tree(None, {(): (1, 1)})
    marks: dict[Path, Place] = {(): root.place}
    notes: list[tuple[Path, str]] = []
    value = _build(root, (), marks, notes)
    return Tree(value, marks, tuple(notes), root.nodes, root.letters)


def _text(content: bytes) -> str:
    if len(content) > defs.YAML_LIMIT:
        raise FieldError(f"larger than {defs.YAML_LIMIT >> 10} KiB")
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise FieldError(f"not UTF-8 at byte {error.start}") from None


def _error(place: Place, reason: str) -> FieldError:
    return FieldError(f"line {place[0]}, column {place[1]}: {reason}")


def _compose(text: str, before: tuple[int, int]) -> _Node | None:
    """The root node, None without one."""
    import yaml

    composer = _Composer(*before)
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        composer.resolve = lambda event: loader.resolve(
            yaml.ScalarNode, event.value, event.implicit
        )
        while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
            composer.take(type(event).__name__, event)
    except FieldError:
        raise
    except yaml.MarkedYAMLError as error:
        raise _error(*yamlerrors.explain(error, text)) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise _error(*yamlerrors.unreadable(text)) from None
    return composer.root


class _Composer:
    """Makes nodes of a parser's events, in one pass without recursion, and bounds them."""

    def __init__(self, nodes: int, letters: int) -> None:
        self.root: _Node | None = None
        self._nodes = defs.YAML_NODES - nodes
        self._letters = defs.YAML_LETTERS - letters
        self._too_much = _TOO_MUCH_IN_ALL if nodes else _TOO_MUCH
        self.resolve: Any = None
        self._documents = 0
        self._stack: list[_Node] = []
        self._anchors: dict[str, _Node] = {}

    def take(self, name: str, event: Any) -> None:
        """Go on by one event of that class."""
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if name == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise _error(place, "a second document begins; only one is allowed")
        elif name == "AliasEvent":
            self._alias(event.anchor, place)
        elif name == "ScalarEvent":
            tag = event.tag if event.tag not in (None, "", "!") else self.resolve(event)
            self._start(_Node("scalar", tag, place, _encodable(event.value, place)), event.anchor)
        elif name == "SequenceStartEvent":
            self._start(_Node("list", _tag(event.tag, "seq"), place), event.anchor)
        elif name == "MappingStartEvent":
            self._start(_Node("mapping", _tag(event.tag, "map"), place), event.anchor)
        elif name in ("SequenceEndEvent", "MappingEndEvent"):
            node = self._stack.pop()
            node.open = False
            self._add(node, node.place)

    def _start(self, node: _Node, anchor: str | None) -> None:
        if anchor is not None:
            if anchor in self._anchors:
                raise _error(node.place, "an anchor (&) has the name of an earlier one")
            self._anchors[anchor] = node
        if not node.open:
            self._add(node, node.place)
        elif len(self._stack) >= defs.YAML_DEPTH:
            raise _too_deep(node.place)
        else:
            self._stack.append(node)

    def _alias(self, anchor: str, place: Place) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            raise _error(place, yamlerrors.NO_ANCHOR)
        if node.open:
            raise _error(place, "an alias (*) stands inside of what it means")
        self._add(node, place)

    def _add(self, node: _Node, place: Place) -> None:
        """Put a finished node, or an alias of one, where it stands."""
        if not self._stack:
            self.root = node
            return
        if len(self._stack) + node.height > defs.YAML_DEPTH:
            raise _too_deep(place)
        parent = self._stack[-1]
        parent.inner.append((place, node))
        parent.nodes += node.nodes
        parent.letters += node.letters
        parent.height = max(parent.height, node.height + 1)
        if parent.nodes > self._nodes or parent.letters > self._letters:
            raise _error(place, self._too_much)


def _too_deep(place: Place) -> FieldError:
    return _error(place, yamlerrors.NESTED)


def _tag(tag: str | None, usual: str) -> str:
    return _TAG + usual if tag in (None, "", "!") else str(tag)


def _encodable(text: str, place: Place) -> str:
    """The pure Python parser lets escapes of lone surrogates through."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _error(place, yamlerrors.BAD_ESCAPE) from None
    return text


def _build(
    node: _Node, path: Path, marks: dict[Path, Place], notes: list[tuple[Path, str]]
) -> object:
    if node.kind == "scalar":
        return _scalar(node)
    if node.tag != _TAG + ("seq" if node.kind == "list" else "map"):
        raise _error(node.place, yamlerrors.TAG)
    if node.kind == "list":
        items = []
        for index, (place, item) in enumerate(node.inner):
            marks[(*path, index)] = place
            items.append(_build(item, (*path, index), marks, notes))
        return items
    found: dict[str, object] = {}
    for key, (place, value, twice) in _entries(node).items():
        marks[(*path, key)] = place
        if twice and len(notes) < _NOTE_LIMIT:
            notes.append(((*path, key), _TWICE))
        found[key] = _build(value, (*path, key), marks, notes)
    return found


def _entries(node: _Node) -> dict[str, tuple[Place, _Node, bool]]:
    """A mapping's entries: its own last, which win over merged ones; True if a key repeats."""
    merged: dict[str, tuple[Place, _Node, bool]] = {}
    own: dict[str, tuple[Place, _Node, bool]] = {}
    pairs = zip(node.inner[::2], node.inner[1::2], strict=True)
    for (place, key), (value_place, value) in pairs:
        if key.kind != "scalar":
            raise _error(place, yamlerrors.KEY)
        if key.tag == _MERGE:
            for mapping in _merged(value, value_place):
                merged |= _entries(mapping)
            continue
        _scalar(key)  # for what its tag may be
        own[key.text] = (place, value, key.text in own)
    return merged | own


def _merged(value: _Node, place: Place) -> list[_Node]:
    """The mappings of a merge key, the one that wins last (https://yaml.org/type/merge.html)."""
    items = [item for _, item in value.inner] if value.kind == "list" else [value]
    if any(item.kind != "mapping" for item in items):
        raise _error(place, "a merge key (<<) needs a mapping or a list of mappings")
    return items[::-1]


def _scalar(node: _Node) -> object:
    if node.tag in _TEXTS:
        return node.text
    kind = node.tag.removeprefix(_TAG)
    if kind == "null":
        return None
    try:
        if kind == "bool":
            return _BOOLEANS[node.text.lower()]
        if kind == "binary":
            return a2b_base64(node.text.encode("ascii"))  # passes over other characters
        if kind in ("int", "float"):
            return _number(node.text, kind)
    except (KeyError, ValueError):
        raise _error(node.place, "is badly written for a number or for its tag (!!)") from None
    raise _error(node.place, yamlerrors.TAG)


def _number(text: str, kind: str) -> object:
    """A number in YAML 1.1's notations; text as written if it is not finite or too long."""
    digits = text.replace("_", "").lower()
    if len(digits) > _NUMBER_LIMIT or digits.lstrip("+-") in (".inf", ".nan"):
        return text
    sign = -1 if digits.startswith("-") else 1
    digits = digits[1:] if digits[:1] in ("-", "+") else digits
    number = _float(digits) if kind == "float" else _int(digits)
    finite = number - number == 0  # not so of infinity and NaN
    if not finite:
        return text
    return -number if sign < 0 else number


def _int(digits: str) -> int:
    if digits.startswith("0b"):
        return int(digits[2:], 2)
    if digits.startswith("0x"):
        return int(digits[2:], 16)
    if digits.startswith("0") and digits != "0":
        number = int(digits, 8)
        return Octal(number) if number > 7 else number
    number = 0
    for part in digits.split(":"):
        number = number * 60 + int(part)
    return number


def _float(digits: str) -> float:
    number = 0.0
    for part in digits.split(":"):
        number = number * 60 + float(part)
    return number
