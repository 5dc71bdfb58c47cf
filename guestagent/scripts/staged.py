"""The scripts of user data that wait to be run, in the directories where ``apply`` stages them.

They are ``/var/lib/guestagent/early/NN-FREQUENCY-NAME`` and the same in ``late``.  Whoever could
write there would be root at the next boot, so that only what root alone can write is read.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Refused
from guestagent.record import NamedTuple
from guestagent.system.digest import digest
from guestagent.system.root import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.system.root import Root

    Stage = Literal["early", "late"]

FREQUENCIES = ("instance", "resumed", "boot", "once")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_ROOTS = "must belong to root, and be writable by root only"


class Script(NamedTuple):
    """A staged script: ``name`` is that of its file, ``digest`` that of its content.

    ``frequency`` says when it runs: once per instance, at each boot, or once in all.  What is
    "resumed" runs once per instance too, and again if the system stopped meanwhile.
    """

    stage: Stage
    name: str
    frequency: Literal["instance", "resumed", "boot", "once"]
    digest: str


def folder_of(stage: Stage) -> str:
    """Return the path of a stage's directory."""
    return f"{defs.STATE_DIR}/{stage}"


def open_folder(root: Root, stage: Stage) -> int | None:
    """Return a descriptor of a stage's directory; None if it does not exist.

    Raises Refused, OSError.
    """
    try:
        with root.place(folder_of(stage)) as place:
            # The directory above first: who can write there could replace this one.
            if place.owner is not None or not _is_roots(root, os.fstat(place.fd)):
                raise Refused(f"{defs.STATE_DIR} {_NOT_ROOTS}")
            found = place.stat()
            if found is None:
                return None
            if not _is_roots(root, found):
                raise Refused(_NOT_ROOTS)
            return os.open(place.name, _FOLDER, dir_fd=place.fd)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise Refused("not a directory") from None


def list_names(folder: int) -> list[str]:
    """Return the names of the files of a stage, without those that are still being written."""
    return [name for name in os.listdir(folder) if not name.startswith(defs.TEMPORARY_PREFIX)]


def read_script(root: Root, folder: int, stage: Stage, name: str) -> tuple[Script, bytes]:
    """Return a staged script and its content.  Raises Refused, OSError."""
    number, _, rest = name.partition("-")
    frequency, _, label = rest.partition("-")
    numbered = len(number) == 2 and number.isdigit()
    named = label and _NAME.issuperset(name)
    if not numbered or not named or frequency not in FREQUENCIES:
        raise Refused("its name is not NN-FREQUENCY-NAME")
    if not _is_roots(root, os.stat(name, dir_fd=folder, follow_symlinks=False)):
        raise Refused(_NOT_ROOTS)
    content = read_at(folder, name, defs.GUEST_FILE_LIMIT)
    return Script(stage, name, frequency, digest(content)), content  # type: ignore[arg-type]


def _is_roots(root: Root, found: os.stat_result) -> bool:
    """Tell whether root owns a file, and neither its group nor others may write to it."""
    return found.st_uid in root.trusted and not found.st_mode & 0o022
