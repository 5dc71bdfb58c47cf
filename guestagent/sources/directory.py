"""Documents in a directory as a source: a mounted config drive, or one given with ``--source``."""

from __future__ import annotations

import os
import time
from errno import ELOOP, ENOTDIR

from guestagent import defs
from guestagent.errors import Refused, SourceBroken
from guestagent.sources.bundle import Unreadable
from guestagent.system.root import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

TOP = "its top folder"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory:
    """A transport over an open directory; no symbolic link is followed below it.

    ``place`` is what errors of the whole source begin with: a path or a device.
    """

    def __init__(self, fd: int, place: str) -> None:
        self._fd, self._place = fd, place

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a document; see ``Transport``."""
        *folders, last = name.split("/")
        return read_patiently(f"{self._place}: {name}", lambda: self._read(folders, last, limit))

    def _read(self, folders: list[str], name: str, limit: int) -> bytes | None:
        folder = self._enter(folders)
        if folder is None:
            return None
        try:
            return read_at(folder, name, limit)
        except FileNotFoundError:
            return None
        except Refused as error:
            raise Unreadable(str(error)) from None
        finally:
            os.close(folder)

    def _enter(self, folders: list[str]) -> int | None:
        """Return a descriptor of a folder; None if it is missing.  Raises Unreadable, OSError."""
        here = os.dup(self._fd)  # each step closes the directory before it
        self._check_size(here, TOP)
        for number, folder in enumerate(folders, 1):
            above = here
            try:
                here = os.open(folder, _FOLDER, dir_fd=above)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno in (ELOOP, ENOTDIR):
                    raise Unreadable("a part of its path is not a directory") from None
                raise
            finally:
                os.close(above)
            self._check_size(here, "/".join(folders[:number]))
        return here

    def _check_size(self, folder: int, name: str) -> None:
        """Close a folder that claims to be far larger than any; raises SourceBroken then, OSError.

        The kernel goes through all of a folder for one name, and no signal ends that.
        """
        size = os.fstat(folder).st_size
        if size > defs.FOLDER_LIMIT:
            os.close(folder)
            raise SourceBroken(
                f"{self._place}: {name}: claims to be a folder of {size} bytes, as no config drive "
                "has; nothing of the source is applied: have the drive made anew"
            )

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        folders = folder.split("/") if folder else []
        return read_patiently(f"{self._place}: {folder or TOP}", lambda: self._list(folders))

    def _list(self, folders: list[str]) -> list[str]:
        try:
            here = self._enter(folders)
        except Unreadable:  # a file or a symbolic link, in which no document can be
            return []
        if here is None:
            return []
        names = []
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > defs.MAX_NAMES:
                        raise too_many_names(f"{self._place}: {'/'.join(folders) or TOP}")
        finally:
            os.close(here)
        return sorted(names)

    def close(self) -> None:
        """Close the directory; a mount that is attached nowhere else ends with it."""
        os.close(self._fd)


def too_many_names(where: str) -> SourceBroken:
    """Return the error of a source in which a folder has more names than are read."""
    return SourceBroken(
        f"{where or TOP}: has more than {defs.MAX_NAMES} names, as no config drive "
        "has; nothing of the source is applied: remove what does not belong there"
    )


def read_patiently(name: str, read: Callable[[], T]) -> T:
    """Return what an operation returns, tried again while the medium fails.

    Raises SourceBroken after the last try, Unreadable.
    """
    tries = 1
    while True:
        try:
            return read()
        except PermissionError:  # the medium is sound, and another try would fail too
            raise Unreadable("no permission to read it") from None
        except OSError as error:
            if tries == defs.READ_TRIES:
                reason = error.strerror or "input/output error"
                raise SourceBroken(f"{name}: {reason}, {tries} times") from None
            tries += 1
            time.sleep(defs.READ_PAUSE)


def open_directory(path: str) -> Directory:
    """Open the directory at a path.  Raises OSError."""
    return Directory(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)
