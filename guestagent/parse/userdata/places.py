"""Where the parts of a setting are in the text, and the problems that are found in it."""

from __future__ import annotations

from guestagent.errors import Origin, Problems
from guestagent.model import Setting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Path = tuple[str | int, ...]
    Moves = Iterable[tuple[Path, Path]]

_NAME_LIMIT = 64
_ODD_NAME = "?"


class BadValue(Exception):
    """A value cannot be used; the problem with it has been noted."""


def is_plain(name: object) -> bool:
    """Tell whether a key may be shown to people: short, of letters, digits and ``_-./``."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _NAME_LIMIT
        and name.isascii()
        and all(character.isalnum() or character in "_-./" for character in name)
    )


def shown(step: str | int) -> str | int:
    """Return a step of a path as people may see it: a key could be a secret in a wrong place."""
    return step if isinstance(step, int) or is_plain(step) else _ODD_NAME


class Places:
    """Follows one setting while its value is read into the form in which it is used.

    Old paths lead into the value as it was given, new paths into the result.  Problems are noted
    for old paths; ``marks`` and ``written`` are those of model.Setting, for new paths.
    """

    def __init__(self, setting: Setting, problems: Problems) -> None:
        self.setting = setting
        self.problems = problems
        self.marks: dict[Path, tuple[int, int]] = {}
        self.written: dict[Path, Path] = {}

    def given(self, path: Path) -> Any:
        """Return what was given at a path, which must exist."""
        value = self.setting.value
        for step in path:
            value = value[step]
        return value

    def error(self, path: Path, reason: str) -> None:
        """Note that what was given at the path cannot be used."""
        self.problems.error(self._origin(path), reason)

    def warn(self, path: Path, reason: str) -> None:
        """Note something about what was given at the path, which is used or ignored."""
        self.problems.warn(self._origin(path), reason)

    def bad(self, path: Path, reason: str) -> BadValue:
        """Note an error, and return the exception for the caller to raise."""
        self.error(path, reason)
        return BadValue()

    def unknown(self, path: Path, known: Iterable[str]) -> None:
        """Warn that a key is unknown, and name the nearest one of those that are known."""
        name = path[-1] if path else self.setting.key
        # Comparing names is slow: not for problems that are not listed any more.
        if self._is_full() or not is_plain(name):
            nearest = []
        else:
            from difflib import get_close_matches  # its import is slow, and seldom needed

            nearest = get_close_matches(str(name), list(known), 1)
        hint = f" (did you mean {nearest[0]}?)" if nearest else ""
        self.warn(path, f"is unknown; ignored{hint}")

    def old_name(self, path: Path, name: str) -> None:
        """Warn that a key is ignored, because it is given under its current name as well."""
        self.warn(path, f"is an old name of {name}, which is also given; ignored")

    def _is_full(self) -> bool:
        """Tell whether problems are only counted from now on."""
        return self.problems.is_full(self.setting.origin)

    def _origin(self, path: Path) -> Origin:
        """Return the origin of a part of the value, with the nearest line and column above it."""
        setting = self.setting
        if self._is_full():
            return setting.origin  # to make another for nothing would be slow
        # Like Setting.at, but with names of the user's own, which may be anything.
        marks = {}
        steps = tuple(shown(step) for step in path)
        for length in range(len(path), -1, -1):
            if path[:length] in setting.marks:
                marks[steps] = setting.marks[path[:length]]
                break
        return Setting(str(shown(setting.key)), None, setting.origin, marks).at(*steps)

    def mark(self, old: Path, new: Path) -> None:
        """Say that what was given at the old path is at the new one in the result."""
        mark = self.setting.marks.get(old)
        if mark is not None:
            self.marks[new] = mark
        if old != new and _differ_only_in_indices(old, new):
            # Items before it were left out. People are told the index that they wrote.
            self.written[new] = old

    def bookmark(self) -> int:
        """Return a number for ``forget``."""
        return len(self.marks)

    def forget(self, bookmark: int) -> None:
        """Forget the marks since the bookmark: they are those of a part that is left out."""
        while len(self.marks) > bookmark:
            path, _ = self.marks.popitem()
            self.written.pop(path, None)

    def apart(self) -> Places:
        """Return another Places for the same setting, with the same problems and no marks."""
        return Places(self.setting, self.problems)

    def adopt(self, apart: Places, moves: Moves, new: Path) -> None:
        """Take over the marks of what was read apart and then converted to another form.

        ``moves`` are pairs of paths: of a part before and after the conversion.  The result of the
        conversion is at ``new``.
        """
        targets: dict[Path, list[Path]] = {}
        for source, target in moves:
            targets.setdefault(source, []).append(target)
        for path, mark in apart.marks.items():
            # What is inside of a part moves with it.
            length = len(path)
            while length >= 0 and path[:length] not in targets:
                length -= 1
            if length < 0:
                continue
            written = apart.written.get(path, ())
            for target in targets[path[:length]]:
                place = (*new, *target, *path[length:])
                self.marks[place] = mark
                if len(written) == len(place):
                    self.written[place] = written


def _differ_only_in_indices(old: Path, new: Path) -> bool:
    names_of_old = [step for step in old if isinstance(step, str)]
    names_of_new = [step for step in new if isinstance(step, str)]
    return len(old) == len(new) and names_of_old == names_of_new
