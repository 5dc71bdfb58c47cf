"""Which NICs the image's own interfaces(5) files name."""

from __future__ import annotations

from fnmatch import fnmatchcase

from guestagent import defs
from guestagent.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

# Files that name one another without end are not read without end.
_MOST_FILES = 100
# A folder, a way in which others can write, what is no path.
_NO_FILE = (Refused, OSError)


def own_words(root: Root) -> frozenset[str]:
    """Return the words of the interfaces(5) files that are not guestagent's, without comments.

    A NIC is named in them wherever they use it: in a stanza, as a member of a bond or a bridge.
    Files are those that ``source`` and ``source-directory`` name, and all of interfaces.d.
    """
    words: set[str] = set()
    waiting = [defs.IFUPDOWN_MAIN, *_files_in(root, f"{defs.IFUPDOWN_DIR}/*")]
    seen: set[str] = set()
    while waiting and len(seen) < _MOST_FILES:
        path = waiting.pop(0)
        if path in seen or path.startswith(defs.NETWORK_STACK_FILES["ifupdown"]):
            continue
        seen.add(path)
        for line in _text(root, path).splitlines():
            first, *rest = line.split() or [""]
            if first in ("source", "source-directory"):
                end = "/*" if first == "source-directory" else ""
                for pattern in rest:
                    waiting += _files_in(root, f"{pattern.rstrip('/')}{end}")
            elif not first.startswith("#"):
                words.update((first, *rest))
    return frozenset(words)


def _text(root: Root, path: str) -> str:
    """Return the text of a file; empty where it cannot be read: ifup may read it, or not."""
    try:
        return root.text(path)
    except _NO_FILE:
        return ""


def _files_in(root: Root, pattern: str) -> list[str]:
    """Return the paths that fit a pattern of ``source``; only its last part may be a pattern.

    A path that is not absolute is below the folder of interfaces(5).
    """
    if not pattern.startswith("/"):
        pattern = f"{defs.IFUPDOWN_MAIN.rpartition('/')[0]}/{pattern}"
    folder, _, last = pattern.rpartition("/")
    if not any(character in last for character in "*?["):
        return [pattern]
    try:
        names = root.listdir(folder)
    except _NO_FILE:
        return []
    return [f"{folder}/{name}" for name in names if fnmatchcase(name, last)]
