"""sshd's configuration: all lines of its files, in sshd's order."""

from __future__ import annotations

from fnmatch import fnmatchcase

from guestagent import defs
from guestagent.model import SshdLine
from guestagent.parse.sshd_config import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from guestagent.system.root import Root

_MAX_DEPTH = 16  # of files that include others, as in sshd


def read(root: Root) -> tuple[SshdLine, ...]:
    """Return the lines of sshd's configuration in sshd's order, those of included files in place.

    Raises Refused, OSError.
    """
    return tuple(_lines(root, defs.SSHD_CONFIG, "", depth=0))


def _lines(root: Root, path: str, match: str, depth: int) -> Iterator[SshdLine]:
    """Yield the lines of a file; ``match`` is the condition under which it is included."""
    outer = match
    for line in root.text(path).splitlines():
        keyword, _, value = line.strip().replace("=", " ", 1).replace("\t", " ").partition(" ")
        keyword, value = keyword.lower(), value.strip()
        if not keyword or keyword.startswith("#"):
            continue
        if keyword == "match":
            match = f"{outer} {value}".strip()
        elif keyword != "include":
            yield SshdLine(keyword, value, match)
        elif depth < _MAX_DEPTH:
            for pattern in words(value):
                for name in _found(root, pattern):
                    yield from _lines(root, name, match, depth + 1)


def _found(root: Root, pattern: str) -> list[str]:
    """Return the paths of the files that a pattern of Include names."""
    path = pattern if pattern.startswith("/") else f"{defs.SSH_DIR}/{pattern}"
    folder, _, name = path.rpartition("/")
    if not any(sign in name for sign in "*?["):
        return [path]
    names = (found for found in root.listdir(folder) if not found.startswith("."))
    return [f"{folder}/{found}" for found in names if fnmatchcase(found, name)]
