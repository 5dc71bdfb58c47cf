"""Replace files as a whole: a file has either all of its old content or all of the new.

The new content goes into a temporary file beside the old one, and rename(2) puts it in place.
"""

from __future__ import annotations

import os

# For open(2): a file that did not exist before, and that no link has put elsewhere.
NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".guestagent.tmp"


def replace(
    directory: int,
    name: str,
    content: bytes,
    mode: int,
    *,
    durable: bool = True,
    temporary: str = _TEMPORARY,
) -> None:
    """Write a file in an open directory, or replace it.

    ``durable``: it is on the disk when this returns.  ``temporary`` is the name of the temporary
    file; two processes that write to one directory at a time need two.  Raises OSError with the
    name; then the old file is left, and nothing else.
    """
    try:
        _write_temporary(directory, temporary, content, mode, durable=durable)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        if durable:
            os.fsync(directory)
    except OSError as error:
        try:
            os.unlink(temporary, dir_fd=directory)
        except OSError:
            pass
        raise OSError(error.errno, error.strerror, name) from None


def _write_temporary(
    directory: int, name: str, content: bytes, mode: int, *, durable: bool
) -> None:
    try:
        fd = os.open(name, NEW_FILE, 0o600, dir_fd=directory)
    except FileExistsError:  # left by a run that was killed
        os.unlink(name, dir_fd=directory)
        fd = os.open(name, NEW_FILE, 0o600, dir_fd=directory)
    try:
        write_all(fd, content)
        os.fchmod(fd, mode)  # after the content, and whatever the umask is
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, content: bytes) -> None:
    """Write all of the bytes, however many calls of write(2) that takes.  Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
