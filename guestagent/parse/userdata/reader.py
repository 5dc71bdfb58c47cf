"""What goes with a setting while it is read: problems, and where the parts of the result stood."""

from __future__ import annotations

from guestagent.errors import Problem
from guestagent.model import Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

    Path = tuple[str | int, ...]
    Moves = Iterable[tuple[Path, Path]]

_PROBLEM_LIMIT = 30  # per key: a document of thousands of wrong items needs no line for each
_NAME_LIMIT = 64


class Spoiled(Exception):
    """The value cannot be used; the reader has noted why."""


def plain(name: object) -> bool:
    """True for a key that may be shown to people: short, and made of a name's characters."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _NAME_LIMIT
        and name.isascii()
        and all(character.isalnum() or character in "_-./" for character in name)
    )


def _advice(name: object, known: Iterable[str], look: bool) -> str:
    if not look or not plain(name):
        return "is not known; ignored"
    from difflib import get_close_matches  # only where there is something to warn of

    close = get_close_matches(str(name), list(known), 1)
    return f"is not known; did you mean {close[0]}?" if close else "is not known; ignored"


class Reader:
    """Goes with one setting while it is read: collects problems, and marks of the result.

    Problems name the place as the user wrote it; marks lead to it from its place in the result.
    """

    def __init__(self, setting: Setting, problems: list[Problem]) -> None:
        self.setting = setting
        self.problems = problems
        self.marks: dict[Path, tuple[int, int]] = {}
        self.written: dict[Path, Path] = {}

    def note(self, severity: Literal["error", "warning"], path: Path, reason: str) -> None:
        """Note a problem at a path of the value as it was given."""
        if len(self.problems) < _PROBLEM_LIMIT:
            source, document, key = self._origin(path)
            self.problems.append(Problem(severity, source, document, key, reason))
        elif len(self.problems) == _PROBLEM_LIMIT:
            source, document, key = self._origin(())
            reason = "has more problems than are shown"
            self.problems.append(Problem("error", source, document, key, reason))

    def given(self, path: Path) -> Any:
        """What was given at a path that there is."""
        value = self.setting.value
        for step in path:
            value = value[step]
        return value

    def spoiled(self, path: Path, reason: str) -> Spoiled:
        """Note an error, for the caller to raise what is returned."""
        self.note("error", path, reason)
        return Spoiled()

    def _origin(self, path: Path) -> tuple[str, str, str]:
        # Like Setting.at, but for names of the user's own that may be anything.
        setting = self.setting
        known = (path[:length] for length in range(len(path), -1, -1))
        mark = next((setting.marks[place] for place in known if place in setting.marks), None)
        shown = tuple(step if isinstance(step, int) or plain(step) else "?" for step in path)
        key = setting.key if plain(setting.key) else "?"
        marks = {shown: mark} if mark else {}
        source, document, where = Setting(key, None, setting.origin, marks).at(*shown)
        return source, document, where

    def mark(self, old: Path, new: Path) -> None:
        """Let the mark of what was given at ``old`` lead to ``new`` in the result."""
        if old in self.setting.marks:
            self.marks[new] = self.setting.marks[old]
        names = [[step for step in path if isinstance(step, str)] for path in (old, new)]
        if old != new and len(old) == len(new) and names[0] == names[1]:
            self.written[new] = old  # items before it are left out

    def unknown(self, path: Path, known: Iterable[str]) -> None:
        """Warn of a key that is not known; the nearest one is looked for only while it is told."""
        few = len(self.problems) < _PROBLEM_LIMIT
        self.note("warning", path, _advice(path[-1] if path else self.setting.key, known, few))

    def rewind(self, count: int) -> None:
        """Drop the marks but for the first ``count``: those of a part that is left out."""
        while len(self.marks) > count:
            self.written.pop(self.marks.popitem()[0], None)

    def adopt(self, apart: Reader, moves: Moves, new: Path) -> None:
        """Take over another reader's marks below ``new``, those that a move tells the place of."""
        targets: dict[Path, list[Path]] = {}
        for source, target in moves:
            targets.setdefault(source, []).append(target)
        for path, mark in apart.marks.items():
            for length in range(len(path), -1, -1):
                for target in targets.get(path[:length], ()):
                    place = (*new, *target, *path[length:])
                    self.marks[place] = mark
                    written = apart.written.get(path, ())
                    if len(written) == len(place):
                        self.written[place] = written
                if path[:length] in targets:
                    break
