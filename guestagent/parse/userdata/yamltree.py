"""Reads YAML 1.1 (https://yaml.org/spec/1.1) as PyYAML's safe loader does, with bounds and places.

PyYAML only gives the events.  Nodes are made of them here, so that size, depth and the expansion
of aliases are known before anything is built, and each value keeps its line and column.
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
_SEQUENCE = f"{_TAG}seq"
_MAPPING = f"{_TAG}map"
_MERGE = f"{_TAG}merge"
# Tags of what stays text as it was written: time stamps, too, which no key of cloud-config wants.
_TEXTS = frozenset(
    _TAG + name for name in ("str", "timestamp", "merge", "value", "yaml", "python/unicode")
)
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_NUMBER_LIMIT = 128
_NOTE_LIMIT = 30
_TOO_MUCH = (
    f"more than {defs.YAML_NODES} values or {defs.YAML_LETTERS >> 10} KiB of text up to here, "
    "with aliases (*) expanded"
)
_TOO_MUCH_IN_ALL = f"{_TOO_MUCH}, together with the parts before"
_DUPLICATE = "duplicate key; the last one wins"
_BAD_NUMBER = "is not a number, or not what its tag (!!) says"


class Tree(NamedTuple):
    """A document: its value, the places of its parts, and warnings about them.

    ``value`` is made of dict, list, str, bytes, int, float, bool and None; nothing in it is
    shared.  ``marks`` holds (line, column), both from 1 on, by path: for an entry of a mapping
    the place of its key, for an item of a list that of the item, for ``()`` that of the whole.
    ``notes`` are pairs of path and reason.  ``nodes`` and ``letters`` count values and characters.
    """

    value: Any
    marks: dict[Path, Place]
    notes: tuple[tuple[Path, str], ...] = ()
    nodes: int = 0
    letters: int = 0


class Octal(int):
    """A number of more than one digit that was written in octal, as 0644."""


class _Node:
    """A value in the text; an alias is the node that it refers to.

    ``inner`` holds places and nodes: of the items of a list, or of the keys and values of a
    mapping in turn.  ``nodes`` and ``letters`` count what is in it with aliases expanded,
    ``height`` the levels of lists and mappings.
    """

    __slots__ = ("height", "inner", "is_open", "kind", "letters", "nodes", "place", "tag", "text")

    def __init__(self, kind: str, tag: str, place: Place, *, text: str = "") -> None:
        self.kind = kind
        self.tag = tag
        self.place = place
        self.text = text
        self.inner: list[tuple[Place, _Node]] = []
        self.nodes = 1
        self.letters = len(text)
        self.height = 0 if kind == "scalar" else 1
        self.is_open = kind != "scalar"


def load(content: bytes, *, before: tuple[int, int] = (0, 0)) -> Tree:
    """Read one YAML document of at most ``defs.YAML_LIMIT`` bytes; an empty one is None.

    Keys are text as they were written, and so are time stamps and numbers that are not finite or
    too long.  Aliases and merge keys (``<<``) work, up to ``defs.YAML_NODES`` values and
    ``defs.YAML_LETTERS`` characters in all when they are expanded.  ``before`` are those of other
    documents that are in memory at the same time, and count as well.

    Raises FieldError, "line N, column M: reason", the reason without anything of the content.
    """
    root = _compose(_decode(content), before)
    if root is None:
        return Tree(None, {(): (1, 1)})
    builder = _Builder()
    builder.marks[()] = root.place
    value = builder.build(root, ())
    return Tree(
        value=value,
        marks=builder.marks,
        notes=tuple(builder.notes),
        nodes=root.nodes,
        letters=root.letters,
    )


def _decode(content: bytes) -> str:
    if len(content) > defs.YAML_LIMIT:
        raise FieldError(f"larger than {defs.YAML_LIMIT >> 10} KiB")
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise FieldError(f"not UTF-8 at byte {error.start}") from None


def _error(place: Place, reason: str) -> FieldError:
    line, column = place
    return FieldError(f"line {line}, column {column}: {reason}")


def _compose(text: str, before: tuple[int, int]) -> _Node | None:
    """Return the root node, None for an empty document."""
    import yaml

    composer = _Composer(*before)
    try:
        # The parser of libyaml is many times as fast; PyYAML may be built without it.
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
        # What the reader does not allow in a text has no mark that both parsers agree on.
        raise _error(*yamlerrors.find_unreadable(text)) from None
    return composer.root


class _Composer:
    """Makes nodes of a parser's events, in one pass, without recursion and within limits.

    ``nodes`` and ``letters`` are those of other documents that count as well.
    """

    def __init__(self, nodes: int, letters: int) -> None:
        self.root: _Node | None = None
        self.resolve: Any = None  # a function from a scalar's event to its tag
        self._nodes_left = defs.YAML_NODES - nodes
        self._letters_left = defs.YAML_LETTERS - letters
        self._too_much = _TOO_MUCH_IN_ALL if nodes else _TOO_MUCH
        self._documents = 0
        self._stack: list[_Node] = []  # the lists and mappings that are open
        self._anchors: dict[str, _Node] = {}

    def take(self, name: str, event: Any) -> None:
        """Take the next event, of the class of that name.

        The name serves instead of the class, because PyYAML is imported as late as possible.
        """
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if name == "ScalarEvent":
            tag = event.tag if event.tag not in (None, "", "!") else self.resolve(event)
            text = _check_encodable(event.value, place)
            node = _Node("scalar", tag, place, text=text)
            self._name(node, event.anchor)
            self._add(node, place)
        elif name == "SequenceStartEvent":
            self._open(_Node("list", _tag(event.tag, _SEQUENCE), place), event.anchor)
        elif name == "MappingStartEvent":
            self._open(_Node("mapping", _tag(event.tag, _MAPPING), place), event.anchor)
        elif name in ("SequenceEndEvent", "MappingEndEvent"):
            node = self._stack.pop()
            node.is_open = False
            self._add(node, node.place)
        elif name == "AliasEvent":
            self._add(self._find(event.anchor, place), place)
        elif name == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise _error(place, "a second document begins; only one is allowed")

    def _open(self, node: _Node, anchor: str | None) -> None:
        self._name(node, anchor)
        if len(self._stack) >= defs.YAML_DEPTH:
            raise _error(node.place, yamlerrors.NESTED)
        self._stack.append(node)

    def _name(self, node: _Node, anchor: str | None) -> None:
        if anchor is None:
            return
        if anchor in self._anchors:
            raise _error(node.place, "an anchor (&) with the name of an earlier one")
        self._anchors[anchor] = node

    def _find(self, anchor: str, place: Place) -> _Node:
        """Return the node that an alias refers to."""
        node = self._anchors.get(anchor)
        if node is None:
            raise _error(place, yamlerrors.NO_ANCHOR)
        if node.is_open:
            raise _error(place, "an alias (*) inside of what it refers to")
        return node

    def _add(self, node: _Node, place: Place) -> None:
        """Add a finished node, or an alias of one, to the list or mapping that it is in."""
        if not self._stack:
            self.root = node
            return
        if len(self._stack) + node.height > defs.YAML_DEPTH:
            raise _error(place, yamlerrors.NESTED)
        parent = self._stack[-1]
        parent.inner.append((place, node))
        # An alias counts as much as what it refers to, although it is not copied here.
        parent.nodes += node.nodes
        parent.letters += node.letters
        parent.height = max(parent.height, node.height + 1)
        if parent.nodes > self._nodes_left or parent.letters > self._letters_left:
            raise _error(place, self._too_much)


def _tag(given: str | None, usual: str) -> str:
    # "!" alone says that a value is what it looks like.
    return usual if given is None or given in ("", "!") else given


def _check_encodable(text: str, place: Place) -> str:
    """Return a text.  Raises FieldError for lone surrogates, which the Python parser lets through.

    They come from escapes such as "\\ud800", and no file could hold them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _error(place, yamlerrors.BAD_ESCAPE) from None
    return text


class _Entry(NamedTuple):
    """An entry of a mapping: the place of its key, its value, and whether the key is repeated."""

    place: Place
    value: _Node
    is_duplicate: bool


class _Builder:
    """Makes values of nodes, and collects the marks and the notes of a Tree."""

    def __init__(self) -> None:
        self.marks: dict[Path, Place] = {}
        self.notes: list[tuple[Path, str]] = []

    def build(self, node: _Node, path: Path) -> object:
        """Return the value of the node at a path.  Raises FieldError.

        The recursion is bounded, because the composer allows only ``defs.YAML_DEPTH`` levels.
        """
        if node.kind == "scalar":
            return _scalar(node)
        if node.kind == "list":
            return self._build_list(node, path)
        return self._build_mapping(node, path)

    def _build_list(self, node: _Node, path: Path) -> list[object]:
        if node.tag != _SEQUENCE:
            raise _error(node.place, yamlerrors.TAG)
        items = []
        for index, (place, item) in enumerate(node.inner):
            inner_path = (*path, index)
            self.marks[inner_path] = place
            items.append(self.build(item, inner_path))
        return items

    def _build_mapping(self, node: _Node, path: Path) -> dict[str, object]:
        if node.tag != _MAPPING:
            raise _error(node.place, yamlerrors.TAG)
        found: dict[str, object] = {}
        for key, entry in _entries(node).items():
            inner_path = (*path, key)
            self.marks[inner_path] = entry.place
            if entry.is_duplicate and len(self.notes) < _NOTE_LIMIT:
                self.notes.append((inner_path, _DUPLICATE))
            found[key] = self.build(entry.value, inner_path)
        return found


def _entries(mapping: _Node) -> dict[str, _Entry]:
    """Return the entries of a mapping; its own come last, and win over merged ones."""
    merged: dict[str, _Entry] = {}
    own: dict[str, _Entry] = {}
    keys, values = mapping.inner[::2], mapping.inner[1::2]
    for (key_place, key), (value_place, value) in zip(keys, values, strict=True):
        if key.kind != "scalar":
            raise _error(key_place, yamlerrors.KEY)
        if key.tag == _MERGE:
            for other in _mappings_to_merge(value, value_place):
                merged |= _entries(other)
            continue
        _scalar(key)  # raises for a tag that is unknown or that the text does not fit
        own[key.text] = _Entry(key_place, value, key.text in own)
    return merged | own


def _mappings_to_merge(value: _Node, place: Place) -> list[_Node]:
    """Return the mappings of a merge key, the one that wins last.

    The first one in the text wins: https://yaml.org/type/merge.html
    """
    items = [item for _, item in value.inner] if value.kind == "list" else [value]
    if any(item.kind != "mapping" for item in items):
        raise _error(place, "a merge key (<<) needs a mapping or a list of mappings")
    return items[::-1]


def _scalar(node: _Node) -> object:
    if node.tag in _TEXTS:
        return node.text
    name = node.tag.removeprefix(_TAG)
    if name == "null":
        return None
    try:
        if name == "bool":
            return _BOOLEANS[node.text.lower()]
        if name == "binary":
            return a2b_base64(node.text.encode("ascii"))  # passes over other characters
        if name in ("int", "float"):
            return _number(node.text, name)
    except (KeyError, ValueError):
        raise _error(node.place, _BAD_NUMBER) from None
    raise _error(node.place, yamlerrors.TAG)


def _number(text: str, kind: str) -> object:
    """Return a number in YAML 1.1's notations; text as written if it is not finite or too long."""
    digits = text.replace("_", "").lower()
    if len(digits) > _NUMBER_LIMIT or digits.lstrip("+-") in (".inf", ".nan"):
        return text
    is_negative = digits.startswith("-")
    if digits.startswith(("-", "+")):
        digits = digits[1:]
    number = _float(digits) if kind == "float" else _int(digits)
    if number - number != 0:  # infinity, as of 1e400, and NaN
        return text
    return -number if is_negative else number


def _int(digits: str) -> int:
    if digits.startswith("0b"):
        return int(digits[2:], 2)
    if digits.startswith("0x"):
        return int(digits[2:], 16)
    if digits.startswith("0") and digits != "0":
        number = int(digits, 8)
        return Octal(number) if number > 7 else number
    # Base 60, as in 12:30.
    number = 0
    for part in digits.split(":"):
        number = number * 60 + int(part)
    return number


def _float(digits: str) -> float:
    number = 0.0
    for part in digits.split(":"):
        number = number * 60 + float(part)
    return number
