"""The log file of the scripts, and what of it goes on to the journal.

Scripts write to the file itself, so that what they leave running keeps a valid output and
holds nobody up.
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

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 16
_BEHIND = 1 << 20
_LINE = 4 << 10  # longer ones are broken: the journal has a limit too


class ScriptLog:
    """``fd`` is what scripts write to; a reader follows it from where it ended at first."""

    def __init__(self, root: Root) -> None:
        """Raises Refused for a file that is not root's alone, OSError where it cannot be made."""
        self.fd = _open(root)
        # A second description: a script must not be able to read what others wrote.
        self._reader = os.open(f"{defs.OWN_FILES}/{self.fd}", os.O_RDONLY | os.O_CLOEXEC)
        self._offset = self._size()
        self._rest = b""

    def _size(self) -> int:
        return os.fstat(self._reader).st_size

    def header(self, name: str) -> None:
        """Begin a script's part of the file."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            os.write(self.fd, f"== {now} {name}\n".encode())
        except OSError:
            pass  # a full disk keeps no script from running: it may be the one that makes room
        self._offset = self._size()

    def forward(self, name: str) -> bool:
        """Print what is new, a line at a time; True if more is there already."""
        self._keep_up(name)
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
        self._keep_up(name)
        end = self._size()
        while self._offset < end and self.forward(name):
            pass
        if self._rest:
            _print(name, [self._rest])
            self._rest = b""

    def _keep_up(self, name: str) -> None:
        size = self._size()
        if size < self._offset:  # a script emptied the file
            self._offset = 0
        elif size - self._offset > _BEHIND:  # a flood: only its end goes on
            skipped = size - _CHUNK - self._offset
            _print(name, [f"({skipped} bytes stand only in {defs.SCRIPTS_LOG})".encode()])
            self._offset += skipped


def _open(root: Root) -> int:
    with root.place(defs.SCRIPTS_LOG, make=True) as place:
        found = place.stat()
        if found and S_ISREG(found.st_mode) and found.st_size > defs.SCRIPTS_LOG_LIMIT:
            old = f"{place.name}.1"
            os.rename(place.name, old, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        try:
            fd = os.open(place.name, _FLAGS, 0o600, dir_fd=place.fd)
        except OSError as error:
            if error.errno in (ELOOP, ENXIO):
                raise Refused("not a regular file") from None
            raise
    opened = os.fstat(fd)
    mine = opened.st_uid in root.trusted and opened.st_nlink == 1
    if not mine or not S_ISREG(opened.st_mode):
        os.close(fd)
        raise Refused("not a regular file that only root has")
    os.fchmod(fd, 0o600)
    os.set_blocking(fd, True)
    return fd


def _print(name: str, lines: list[bytes]) -> None:
    try:
        for line in lines:
            for start in range(0, max(len(line), 1), _LINE):
                part = line[start : start + _LINE].removesuffix(b"\r")
                text = printable(part.decode("utf-8", "replace").expandtabs())
                sys.stdout.buffer.write(f"{name}: {text}\n".encode())
        sys.stdout.buffer.flush()
    except OSError:
        pass  # nobody listens any more; the file has it
