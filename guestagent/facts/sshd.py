"""sshd's configuration: all lines of its files, in sshd's order."""

from __future__ import annotations

from fnmatch import fnmatchcase

from guestagent import defs
from guestagent.errors import Refused
from guestagent.facts import main_sshd_config
from guestagent.model import UNREADABLE, SshdLine
from guestagent.parse.sshd_config import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from guestagent.system.root import Root

_MAX_DEPTH = 16  # of files that include others, as in sshd


def read(root: Root) -> tuple[SshdLine, ...]:
    """Return the lines of sshd's configuration in sshd's order, those of included files in place.

    What of it cannot be read is one line.  What keeps everybody out until the guest is configured
    is gone then, and does not count.
    """
    return tuple(_lines(root, main_sshd_config(root), "", depth=0))


def _lines(root: Root, path: str, match: str, depth: int) -> Iterator[SshdLine]:
    """Yield the lines of a file; ``match`` is the condition under which it is included."""
    outer = match
    try:
        text = root.text(path)
    except (Refused, OSError):
        yield SshdLine(UNREADABLE, path, match, path)
        return
    for line in text.splitlines():
        if "\0" in line:  # no path can have it
            yield SshdLine(UNREADABLE, path, match, path)
            continue
        keyword, _, value = line.strip().replace("=", " ", 1).replace("\t", " ").partition(" ")
        keyword, value = keyword.lower(), value.strip()
        if not keyword or keyword.startswith("#"):
            continue
        if keyword == "match":
            match = f"{outer} {value}".strip()
        elif keyword != "include":
            yield SshdLine(keyword, value, match, path)
        elif depth < _MAX_DEPTH:
            for pattern in words(value):
                for name in _found(root, pattern):
                    if name == defs.SSHD_CLOSED:
                        continue
                    yield from _lines(root, name, match, depth + 1)


def _found(root: Root, pattern: str) -> list[str]:
    """Return the paths of the files that a pattern of Include names."""
    path = pattern if pattern.startswith("/") else f"{defs.SSH_DIR}/{pattern}"
    found = [""]
    for part in path.strip("/").split("/"):
        if any(sign in part for sign in "*?["):
            found = [f"{folder}/{name}" for folder in found for name in _names(root, folder, part)]
        else:
            found = [f"{folder}/{part}" for folder in found]
    return found


def _names(root: Root, folder: str, pattern: str) -> list[str]:
    """Return the names in a folder that fit a pattern of glob(7)."""
    try:
        names = root.listdir(folder or "/")
    except (Refused, OSError):
        return []
    return [name for name in names if not name.startswith(".") and fnmatchcase(name, pattern)]
