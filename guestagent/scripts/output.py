"""What scripts print: to a log file of their own, and from there to the journal.

Scripts write to the file itself and not to a pipe of the runner, so that the processes that they
leave running keep a valid output when the runner has ended.
"""

from __future__ import annotations

import os
import sys
import time
from errno import ELOOP, ENXIO
from stat import S_ISREG

from guestagent import defs
from guestagent.errors import Refused
from guestagent.log import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

# Without O_NONBLOCK a pipe in its place would hold up the runner for ever: fifo(7).
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 16
_FLOOD = 1 << 20  # bytes that may wait to be forwarded
_LINE = 4 << 10  # bytes of one line of the journal, which has a limit too


class ScriptLog:
    """The log file, and how far it has been forwarded to standard output.

    ``fd`` is what scripts write to.
    """

    def __init__(self, root: Root) -> None:
        """Open the file, for what is written from now on.

        Raises Refused for a file that is not root's alone, OSError if it cannot be made.
        """
        self.fd = _open(root)
        # A script inherits the first description, and must not read what others wrote.
        self._reader = os.open(f"{defs.OWN_FILES}/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        self._offset = self._size()
        self._rest = b""  # the start of a line whose end is not written yet

    def _size(self) -> int:
        return os.fstat(self._reader).st_size

    def begin(self, name: str) -> None:
        """Write a header, which is not forwarded, before a script's part of the file."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            os.write(self.fd, f"== {now} {name}\n".encode())
        except OSError:
            pass  # a full disk keeps no script from running: it may be the one that makes room
        self._offset = self._size()

    def forward(self, name: str) -> bool:
        """Print the new lines of a script; return True if there are more already."""
        self._skip_flood(name)
        found = os.pread(self._reader, _CHUNK, self._offset)
        self._offset += len(found)
        *lines, self._rest = (self._rest + found).split(b"\n")
        if len(self._rest) > _LINE:
            lines.append(self._rest)
            self._rest = b""
        _print(name, lines)
        return len(found) == _CHUNK

    def finish(self, name: str) -> None:
        """Print what was written up to now, a last line without an end included."""
        self._skip_flood(name)
        end = self._size()
        while self._offset < end and self.forward(name):
            pass
        if self._rest:
            _print(name, [self._rest])
            self._rest = b""

    def _skip_flood(self, name: str) -> None:
        """Go on at the end of the file where a script writes faster than the journal reads."""
        size = self._size()
        if size < self._offset:  # a script emptied the file
            self._offset = 0
        elif size - self._offset > _FLOOD:
            skipped = size - _CHUNK - self._offset
            _print(name, [f"({skipped} bytes are only in {defs.SCRIPTS_LOG})".encode()])
            self._offset += skipped


def _open(root: Root) -> int:
    """Open the log file, and begin a new one where the old one is too large."""
    with root.place(defs.SCRIPTS_LOG, make=True) as place:
        found = place.stat()
        if found and S_ISREG(found.st_mode) and found.st_size > defs.SCRIPTS_LOG_LIMIT:
            old = f"{place.name}.1"
            os.rename(place.name, old, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        try:
            with root.labelled(place.fd, place.name):
                fd = os.open(place.name, _FLAGS, 0o600, dir_fd=place.fd)
        except OSError as error:
            if error.errno in (ELOOP, ENXIO):  # a symbolic link; a pipe that no process reads
                raise Refused("not a regular file") from None
            raise
    opened = os.fstat(fd)
    is_roots = opened.st_uid in root.trusted and opened.st_nlink == 1
    if not is_roots or not S_ISREG(opened.st_mode):
        os.close(fd)
        raise Refused("not a regular file that belongs to root and has one name only")
    os.fchmod(fd, 0o600)
    os.set_blocking(fd, True)
    return fd


def _print(name: str, lines: list[bytes]) -> None:
    """Print lines of a script to standard output, long ones in parts."""
    try:
        for line in lines:
            for start in range(0, max(len(line), 1), _LINE):
                part = line[start : start + _LINE].removesuffix(b"\r")
                text = printable(part.decode("utf-8", "replace").expandtabs())
                sys.stdout.buffer.write(f"{name}: {text}\n".encode())
        sys.stdout.buffer.flush()
    except OSError:
        pass  # whoever read standard output has gone; the file has all of it
