"""Lists of names in the ways in which cloud-init accepts them, for several keys.

Each function returns a value, and pairs of paths for shape Converted: where the parts of the value
came from, and where they are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.places import Moves, Path


def split_names(text: str) -> list[str]:
    """Return the names in a text with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


def list_names(value: Any) -> tuple[list[str], Moves]:
    """Return the names in a text with commas, in a list of such texts, or in a mapping's keys."""
    if isinstance(value, str):
        return split_names(value), ()
    if isinstance(value, dict):
        return list(value), [((name,), (index,)) for index, name in enumerate(value)]
    names: list[str] = []
    moves: list[tuple[Path, Path]] = []
    for index, text in enumerate(value):
        for name in split_names(text):
            moves.append(((index,), (len(names),)))
            names.append(name)
    return names, moves


def list_values(value: Any) -> tuple[list[str], Moves]:
    """Return a list as it is, or the values of a mapping."""
    if isinstance(value, list):
        return value, [((), ())]
    return list(value.values()), [((name,), (index,)) for index, name in enumerate(value)]


def list_lines(value: Any) -> tuple[list[str], Moves]:
    """Return the lines of a text, or a list, without those that are empty."""
    lines = value.splitlines() if isinstance(value, str) else value
    return drop_empty(lines)


def drop_empty(lines: list[str]) -> tuple[list[str], Moves]:
    """Return a list without the strings that are empty, or white space only."""
    found: list[str] = []
    moves: list[tuple[Path, Path]] = []
    for index, line in enumerate(lines):
        if line.strip():
            moves.append(((index,), (len(found),)))
            found.append(line)
    return found, moves
