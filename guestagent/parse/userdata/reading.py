"""User data and vendor data, from documents to checked settings and scripts."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.parse.userdata import keys, merge, parts, schema, vendor, yamltree
from guestagent.parse.userdata.reader import plain
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.model import Part, Setting

_NONE: tuple[object, ...] = (None, "", [])
_TRUE = ("true", "1", "on", "yes")
_SWITCH_TEXT = "must be a mapping such as {enabled: false}; this vendor data is left out"
_SWITCH_FIELD = "only enabled is supported here; this vendor data is left out"
_TOO_MUCH = f"holds more than {defs.MAX_PARTS} parts or {defs.UNPACKED_LIMIT >> 20} MiB in all"


class _Document(NamedTuple):
    settings: dict[str, Setting]
    scripts: tuple[Part, ...]
    problems: list[Problem]


def read(
    user_data: bytes | None,
    vendor_data: object,
    vendor_data2: object,
    source: str,
    documents: tuple[str, str, str] = ("user_data", "vendor_data.json", "vendor_data2.json"),
) -> tuple[tuple[Setting, ...], tuple[Part, ...], list[Problem]]:
    """All settings, all other parts in the order they count, and what is wrong.

    ``vendor_data`` and ``vendor_data2`` are JSON values, None without the document; ``documents``
    are the names of the three for origins.  User data wins over ``vendor_data2``, and this over
    ``vendor_data``; user data can switch either off.  Vendor data's parts come first.

    Each document is checked before they are layered, so that an error names its true place.  A
    key that is wrong in one is not taken from those below: what its author meant is not known.
    """
    named = [("", user_data)] if user_data else []
    user = _document(named, [], source, documents[0])
    layers = [user]
    for name, value, document in (
        ("vendor_data2", vendor_data2, documents[2]),
        ("vendor_data", vendor_data, documents[1]),
    ):
        allowed, wrong = _switch(user.settings.pop(name, None))
        user.problems.extend(wrong)
        if allowed:
            layers.append(_document(*vendor.vendor_parts(value), source, document))
    config, problems = _layered(layers)
    scripts = tuple(part for layer in layers[::-1] for part in layer.scripts)
    return config, scripts, problems


def _document(
    texts: list[tuple[str, bytes]], wrong: list[tuple[str, str]], source: str, document: str
) -> _Document:
    """One document's texts, split and merged; ``wrong`` are paths and reasons known before."""
    problems = [Problem("error", source, document, key, reason) for key, reason in wrong]
    found: list[Part] = []
    for path, content in texts:
        split, more = parts.split(content, source, document)
        problems += [problem._replace(key=_below(path, problem.key)) for problem in more]
        for part in split:
            found.append(_renamed(part, path, found))
        if len(found) > defs.MAX_PARTS or sum(map(_size, found)) > defs.UNPACKED_LIMIT:
            return _Document({}, (), [Problem("error", source, document, "", _TOO_MUCH)])
    trees = []
    headers = []
    nodes = letters = 0
    for part in found:
        if part.kind == "cloud-config":
            try:
                tree = yamltree.load(part.content, (nodes, letters))
            except FieldError as error:
                problems.append(Problem("error", *part.origin, str(error)))
                continue
            nodes, letters = nodes + tree.nodes, letters + tree.letters
            trees.append((tree, part.origin))
            headers.append(part.merge_type)
    settings, more = merge.merge(trees, headers)
    scripts = tuple(part for part in found if part.kind != "cloud-config")
    return _Document(settings, scripts, problems + more)


def _below(path: str, key: str) -> str:
    return ": ".join(step for step in (path, key) if step)


def _size(part: Part) -> int:
    return len(part.content)


def _renamed(part: Part, path: str, others: Iterable[Part]) -> Part:
    """The part with the path to its text in its origin, its name one that no other has.

    Parts without a name of their own are numbered on, for scripts run in the order of names.
    """
    taken = {other.name for other in others}
    name, number = part.name, 0
    while name in taken:
        number += 1
        stem = part.name.removeprefix("part-")
        counted = stem != part.name and stem.isdecimal()
        name = f"part-{int(stem) + number:03}" if counted else f"{number}-{part.name}"[:64]
    origin = part.origin._replace(key=_below(path, part.origin.key))
    return part._replace(name=name, origin=origin)


def _switch(switch: Setting | None) -> tuple[bool, list[Problem]]:
    """True if user data lets this vendor data in, and what is wrong with what it says of it.

    With anything wrong it stays out: it may be more than its author would let in.
    """
    if switch is None:
        return True, []
    if not isinstance(switch.value, dict):
        return False, [Problem("error", *switch.at(), _SWITCH_TEXT)]
    enabled = str(switch.value.get("enabled", True)).lower() in _TRUE
    others = (
        name for name, given in switch.value.items() if name != "enabled" and given not in _NONE
    )
    places = [switch.at(name) if plain(name) else switch.at() for name in others]
    wrong = [Problem("error", *place, _SWITCH_FIELD) for place in places]
    return enabled and not wrong, wrong


def _layered(layers: list[_Document]) -> tuple[tuple[Setting, ...], list[Problem]]:
    """The settings of all layers, the first of which wins, and all problems."""
    found: dict[str, Setting] = {}
    problems: list[Problem] = []
    refused = {"vendor_data", "vendor_data2"}  # only user data has a word on them
    for layer in layers:
        given = {key: _today(key) for key in layer.settings if _today(key) not in refused}
        checked, wrong = schema.check(layer.settings[key] for key in given)
        settings = {setting.key: setting for setting in checked}
        refused |= {*given.values()} - settings.keys()
        found = merge.layer(found, settings)
        problems += layer.problems + wrong
    return tuple(found.values()), problems


def _today(key: str) -> str:
    """The name of today of a key."""
    return "apt" if key in keys.OLD_APT else keys.OLD.get(key, key)
