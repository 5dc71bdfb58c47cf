"""What guestagent remembers between runs: versioned JSON that only root can read.

It holds digests of what was applied, and no secret.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import FieldError, GuestagentError
from guestagent.record import NamedTuple
from guestagent.system.jsontext import dumps, loads
from guestagent.system.privsep import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.system.root import Root

_VERSION = 1


class State(NamedTuple):
    """The last complete run.

    ``record`` maps resources to digests of what was applied.  ``seen`` and ``watched`` are the
    documents and paths that the run looked at; while their ``fingerprint``, made with
    ``salt``, stays the same, another run would find nothing to do.  ``drive`` tells that the
    source was a config drive.  ``rejected`` names a configuration of the network that nobody
    confirmed (``applied.network_digest``): it is not applied until somebody asks for it again.
    ``documents`` are digests of what a metadata service may say otherwise later, made with
    ``salt``.  ``time`` is when the source was read, in seconds since the epoch.  ``fallback``
    tells that no instance was configured yet: only the means to ask the service.  ``user_data`` is
    a salt and a digest of the user and vendor data that were applied, empty without any.
    """

    instance_id: str
    record: dict[str, str]
    seen: tuple[str, ...]
    watched: tuple[str, ...]
    salt: str
    fingerprint: str
    drive: bool
    rejected: str = ""
    documents: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed
    time: int = 0
    fallback: bool = False
    user_data: str = ""


def load(root: Root) -> State | None:
    """The state of the tree; None where there is none or it cannot be understood.

    Raises OSError where the tree fails.
    """
    try:
        content = root.read(defs.STATE_FILE)
        return None if content is None else _decode(loads(content))
    except (FieldError, GuestagentError):
        return None


def _decode(value: Any) -> State | None:
    if not isinstance(value, dict) or value.get("version") != _VERSION:
        return None
    try:
        return State(
            str(value["instance_id"]),
            {str(key): str(item) for key, item in value["record"].items()},
            tuple(value["seen"]),
            tuple(value["watched"]),
            value["salt"],
            value["fingerprint"],
            value["drive"] is True,
            value["rejected"],
            {str(key): str(item) for key, item in value["documents"].items()},
            int(value["time"]),
            value["fallback"] is True,
            str(value["user_data"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        return None


def save(root: Root, state: State) -> None:
    """Write the state durably.  Raises OSError, Refused."""
    write(root, defs.STATE_FILE, {"version": _VERSION, **state._asdict()}, 0o600)


def write(root: Root, path: str, value: object, mode: int) -> None:
    """Write one of guestagent's own files as JSON.  Raises OSError with the path, Refused.

    What stands in /run does not outlive the boot, and need not reach a disk.
    """
    parent, _, name = path.rpartition("/")
    content = f"{dumps(value)}\n".encode()
    try:
        directory = folder(root, parent)
        try:
            replace(directory, name, content, mode, parent != defs.RUN_DIR)
        finally:
            os.close(directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def note(root: Root, instance: str | None = None) -> dict[str, dict[str, str]]:
    """What a commit says of itself before it can be told from what was there before.

    "appended": what files will be that are appended to, as digests by their paths.  "accounts":
    those that it makes.  "instance": the "id" of the one that it is for.  It lies there only if a
    run was killed before it remembered all that.  One for another ``instance`` is none.  Raises
    OSError.
    """
    empty: dict[str, dict[str, str]] = {"appended": {}, "accounts": {}, "instance": {}}
    try:
        found = loads(root.read(defs.NOTE_FILE) or b"{}")
    except (FieldError, GuestagentError):
        return empty
    finally:
        root.watched.pop(defs.NOTE_FILE, None)  # it comes and goes within a run
    if not isinstance(found, dict) or not all(isinstance(part, dict) for part in found.values()):
        return empty
    whole = empty | found
    mine = instance is None or whole["instance"].get("id", instance) == instance
    return whole if mine else empty


def folder(root: Root, path: str) -> int:
    """One of guestagent's own directories, open, made where it is missing.

    That of the state only root can enter, from its first moment on.  Raises OSError, Refused.
    """
    private = path == defs.STATE_DIR
    try:
        place = root.place(f"{path}/x", make=not private)
    except FileNotFoundError:
        with root.place(path, make=True, follow=True) as missing:
            os.mkdir(missing.name, 0o700, dir_fd=missing.fd)
        place = root.place(f"{path}/x")
    with place:
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.fd)
    if private:
        os.fchmod(fd, 0o700)
    return fd
