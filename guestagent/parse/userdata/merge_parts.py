"""Merges the parts of cloud-config in one document into one set of settings.

The rules are those of cloud-init's documentation, "Merging user data sections".
"""

from __future__ import annotations

from guestagent.errors import FieldError, Problems
from guestagent.model import Setting
from guestagent.parse.userdata import merge_rules
from guestagent.parse.userdata.places import Places
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Origin
    from guestagent.parse.userdata.merge_rules import Rules
    from guestagent.parse.userdata.yamltree import Tree

    Marks = dict[tuple[str | int, ...], tuple[int, int]]

_RULE_KEYS = ("merge_how", "merge_type")
_TO = " to "
_NO_MAPPING = "is not cloud-config, which is made of lines of the form key: value"


class ConfigPart(NamedTuple):
    """A part of cloud-config: its YAML, its origin, and the merge type in its header."""

    tree: Tree
    origin: Origin
    merge_type: str = ""


def merge(parts: Sequence[ConfigPart], problems: Problems) -> dict[str, Setting]:
    """Return the settings of all parts of a document, by their keys.

    By default a later part replaces the whole value of a key, as by the merge type
    ``dict(replace)+list()+str()``.  A part that is not a mapping, or that asks for an unknown merge
    type, is ignored with an error; an empty one is ignored.
    """
    settings: dict[str, Setting] = {}
    for part in parts:
        tree = part.tree
        if tree.value is None:
            continue
        if not isinstance(tree.value, dict):
            line, column = tree.marks[()]
            problems.error(part.origin, f"line {line}, column {column}: {_NO_MAPPING}")
            continue
        found = _settings(part)
        given_rules = [found.pop(key).value for key in _RULE_KEYS if key in found]
        rules = merge_rules.DEFAULT
        if len(parts) > 1:  # else there is nothing to merge with, and any merge type will do
            in_text = next((given for given in given_rules if given is not None), None)
            try:
                rules = merge_rules.read_rules(in_text, part.merge_type)
            except FieldError as error:
                problems.error(part.origin, str(error))
                continue
        _add(settings, found, rules)
        _warn_of_duplicates(part, problems)
    return settings


def _settings(part: ConfigPart) -> dict[str, Setting]:
    """Return the settings of one part, each with the marks of its value."""
    marks: dict[str, Marks] = {}
    for path, mark in part.tree.marks.items():
        if path:
            marks.setdefault(str(path[0]), {})[path[1:]] = mark
    return {
        key: Setting(key, value, part.origin, marks[key]) for key, value in part.tree.value.items()
    }


def _add(settings: dict[str, Setting], found: dict[str, Setting], rules: Rules) -> None:
    """Add the settings of a part to those of the parts before it."""
    for key, new in found.items():
        old = settings.get(key)
        if old is None:
            settings[key] = new
        elif rules.deletes(new.value):
            del settings[key]
        else:
            value = rules.merge_values(old.value, new.value)
            if value is new.value:
                settings[key] = new
            elif value is not old.value:
                settings[key] = _of_several_parts(old, new, value)


def _of_several_parts(old: Setting, new: Setting, value: object) -> Setting:
    """Return a setting whose origin names the first and the last part that its value is made of.

    It has no marks: these would be lines of different texts.
    """
    first = old.origin.key.partition(_TO)[0]
    last = new.origin.key
    origin = old.origin._replace(key=f"{first}{_TO}{last}")
    return Setting(new.key, value, origin, {})


def _warn_of_duplicates(part: ConfigPart, problems: Problems) -> None:
    """Warn of what was noted while the YAML was read."""
    if not part.tree.notes:
        return
    settings = _settings(part)
    for path, reason in part.tree.notes:
        Places(settings[str(path[0])], problems).warn(path[1:], reason)
