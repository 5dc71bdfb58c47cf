"""Guestagent's own files: JSON that is replaced as a whole, in directories that it makes itself."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import FieldError, Refused
from guestagent.system.atomic import replace
from guestagent.system.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.system.root import Root


def read(root: Root, path: str) -> Any:
    """Return the JSON value that one of guestagent's own files holds.

    Return None for a file that is missing, damaged or cannot be reached safely: what it said is
    lost then, which must not stop every later run.  Raises OSError where the tree fails.
    """
    try:
        content = root.read(path)
        return None if content is None else loads(content)
    except (FieldError, Refused):
        return None


def write(root: Root, path: str, value: object, mode: int) -> None:
    """Write one of guestagent's own files as JSON.  Raises OSError with the path, Refused.

    A file in /run does not outlive the boot, so that it need not reach a disk.
    """
    parent, _, name = path.rpartition("/")
    content = f"{dumps(value)}\n".encode()
    try:
        directory = open_folder(root, parent)
        try:
            replace(directory, name, content, mode, durable=parent != defs.RUN_DIR)
        finally:
            os.close(directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def remove(root: Root, path: str) -> None:
    """Remove one of guestagent's own files, if it exists.  Raises OSError, Refused."""
    with root.place(path) as place:
        try:
            os.unlink(place.name, dir_fd=place.fd)
        except FileNotFoundError:
            pass


def open_folder(root: Root, path: str) -> int:
    """Return a descriptor of one of guestagent's own directories, which is made if it is missing.

    Only root can enter the directory of the state, from its first moment on.  Raises OSError,
    Refused.
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
