"""The note of a commit: what a later run could not tell if this one is killed.

It exists only until the run remembers all of that in its state.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.record import NamedTuple
from guestagent.system import ownfiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root


class Note(NamedTuple):
    """What a commit is about to do.

    ``appended`` maps the paths of files that are appended to, to digests of what they become.
    ``made`` are the paths of files that did not exist before, and ``accounts`` the names of
    accounts that are made.  ``instance`` is the id of the instance that the commit is for.
    """

    appended: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed
    made: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    instance: str = ""


def read(root: Root, instance: str | None = None) -> Note:
    """Return the note of a run that was killed; an empty one where there is none.

    With ``instance``, a note for another instance counts as none.  Raises OSError.
    """
    found = _decode(ownfiles.read(root, defs.NOTE_FILE))
    root.watched.pop(defs.NOTE_FILE, None)  # it comes and goes within a run
    if instance is not None and found.instance != instance:
        return Note()
    return found


def _decode(value: object) -> Note:
    if not isinstance(value, dict):
        return Note()
    try:
        return Note(
            appended={str(path): str(digest) for path, digest in value["appended"].items()},
            made=tuple(str(path) for path in value["made"]),
            accounts=tuple(str(name) for name in value["accounts"]),
            instance=str(value["instance"]),
        )
    except (KeyError, TypeError, AttributeError):
        return Note()


def write(root: Root, note: Note) -> None:
    """Write the note durably.  Raises OSError, Refused."""
    ownfiles.write(root, defs.NOTE_FILE, note._asdict(), 0o600)


def finish(root: Root, accounts: tuple[str, ...], instance: str) -> None:
    """Remove the note, as what it says is in the state by now.

    Only the accounts that could not be made remain in it.  Raises OSError, Refused.
    """
    if accounts:
        write(root, Note(accounts=accounts, instance=instance))
    else:
        remove(root)


def remove(root: Root) -> None:
    """Remove the note, if there is one: what it says is in the state by now.

    Raises OSError, Refused.
    """
    if root.exists(defs.NOTE_FILE):
        ownfiles.remove(root, defs.NOTE_FILE)
