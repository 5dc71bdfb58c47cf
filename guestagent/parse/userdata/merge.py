"""Cloud-config of several parts and documents becomes one set of settings, as cloud-init does it.

The rules are those of cloud-init's documentation, "Merging user data sections".
"""

from __future__ import annotations

from guestagent.errors import FieldError, Problem
from guestagent.model import Setting
from guestagent.parse.userdata import mergers
from guestagent.parse.userdata.reader import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from guestagent.errors import Origin
    from guestagent.parse.userdata.yamltree import Tree

    Marks = dict[tuple[str | int, ...], tuple[int, int]]

_RULE_KEYS = ("merge_how", "merge_type")
_TO = " to "
_NO_MAPPING = "is not cloud-config, which is made of lines of the form key: value"


def merge(
    parts: Iterable[tuple[Tree, Origin]], headers: Sequence[str] = ()
) -> tuple[dict[str, Setting], list[Problem]]:
    """The settings of all parts of one document, in order: a later part replaces a whole key.

    This is cloud-init's default, ``dict(replace)+list()+str()``; a part can ask for another one,
    in its text or its header (``headers``, one for each part, empty without).  A part that is no
    mapping, or asks for what is not known, spoils itself alone; one with nothing in it is none.
    """
    settings: dict[str, Setting] = {}
    problems: list[Problem] = []
    filled = [(tree, origin, index) for index, (tree, origin) in enumerate(parts)]
    for tree, origin, index in filled:
        if isinstance(tree.value, dict):
            found = _settings(tree.value, _by_key(tree), origin)
            asked = [found.pop(key).value for key in _RULE_KEYS if key in found]
            rules = mergers.DEFAULT
            if len(filled) > 1:  # else there is nothing to merge with, whatever is asked for
                inside = next((rule for rule in asked if rule is not None), None)
                try:
                    rules = mergers.rules(inside, headers[index] if headers else "")
                except FieldError as error:
                    problems.append(_problem("error", origin, str(error)))
                    continue
            _join(settings, found, rules)
            problems += _notes(tree, origin)
        elif tree.value is not None:
            line, column = tree.marks[()]
            reason = f"line {line}, column {column}: {_NO_MAPPING}"
            problems.append(_problem("error", origin, reason))
    return settings, problems


def _join(settings: dict[str, Setting], found: dict[str, Setting], rules: mergers.Rules) -> None:
    """Take a part's settings to those of the parts before it.

    A value that is made of several parts has the first and the last of these as its origin, and
    no lines, which are those of different texts.
    """
    for key, new in found.items():
        old = settings.get(key)
        if old is None:
            settings[key] = new
        elif rules.deletes(new.value):
            del settings[key]
        else:
            value = rules.same_key(old.value, new.value)
            if value is new.value:
                settings[key] = new
            elif value is not old.value:
                first, last = old.origin.key.partition(_TO)[0], new.origin.key
                origin = old.origin._replace(key=f"{first}{_TO}{last}")
                settings[key] = Setting(key, value, origin, {})


def layer(winner: dict[str, Setting], below: dict[str, Setting]) -> dict[str, Setting]:
    """What ``winner`` says, and of ``below`` what it leaves open, in mappings at any depth.

    Where two mappings make one, the origin and the marks are the winner's: the place of an
    entry that came from below is then told as that of the mapping it went into.
    """
    found = dict(winner)
    for key, setting in below.items():
        above = winner.get(key)
        found[key] = above._replace(value=_over(above.value, setting.value)) if above else setting
    return found


def _over(above: Any, below: Any) -> Any:
    if not isinstance(above, dict) or not isinstance(below, dict):
        return above
    return above | {
        key: _over(above[key], value) if key in above else value for key, value in below.items()
    }


def _settings(value: dict[str, Any], marks: dict[str, Marks], origin: Origin) -> dict[str, Setting]:
    return {key: Setting(key, inner, origin, marks[key]) for key, inner in value.items()}


def _by_key(tree: Tree) -> dict[str, Marks]:
    """The marks of each key of the top level, by path from that key on."""
    found: dict[str, Marks] = {}
    for path, place in tree.marks.items():
        if path:
            found.setdefault(str(path[0]), {})[path[1:]] = place
    return found


def _notes(tree: Tree, origin: Origin) -> list[Problem]:
    """What the reader has to tell, as warnings; names that are no plain words are left out."""
    found = []
    for path, reason in tree.notes:
        steps = [step if isinstance(step, int) or plain(step) else "?" for step in path]
        marks = {tuple(steps[1:]): tree.marks[path]}
        place = Setting(str(steps[0]), None, origin, marks).at(*steps[1:])
        found.append(_problem("warning", place, reason))
    return found


def _problem(severity: Any, place: Origin, reason: str) -> Problem:
    return Problem(severity, *place, reason)
