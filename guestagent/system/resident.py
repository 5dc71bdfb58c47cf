"""What a resident process needs of the system, without the modules that are dear to keep.

``posix`` is the core of ``os``, whose import takes as much CPU time as all of this; ``_socket`` is
that of ``socket``.
"""

from __future__ import annotations

import posix
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, socket
from time import CLOCK_BOOTTIME, clock_gettime

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHUNK = 1 << 16
NOTHING = (0, 0)  # the identity of a file that is not there
_ENVIRONMENT = {"PATH": defs.PROGRAM_PATH, "LANG": "C.UTF-8"}


def now() -> float:
    """Return seconds of the clock that never jumps, and counts the time while suspended."""
    return clock_gettime(CLOCK_BOOTTIME)


def chance() -> float:
    """Return a random number from 0 to 1."""
    return int.from_bytes(posix.urandom(4), "little") / 0xFFFFFFFF


def listing(path: str) -> list[str]:
    """Return the names in a folder; none where it cannot be read."""
    try:
        return sorted(posix.listdir(path))
    except OSError:
        return []


def exists(path: str) -> bool:
    """Tell whether there is something at a path."""
    return posix.access(path, posix.F_OK)


def content(path: str) -> bytes:
    """Return the content of a file, up to the limit of guest files; none if it cannot be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return _read_all(fd)
    except OSError:
        return b""
    finally:
        posix.close(fd)


def _read_all(fd: int) -> bytes:
    found = b""
    while len(found) < defs.GUEST_FILE_LIMIT:
        chunk = posix.read(fd, _CHUNK)
        if not chunk:
            break
        found += chunk
    return found


def identity(path: str) -> tuple[int, int]:
    """Return what differs once a file has been replaced or written: its inode and time."""
    try:
        found = posix.stat(path)
    except OSError:
        return NOTHING
    return (found.st_ino, found.st_mtime_ns)


def notify(state: str) -> None:
    """Tell the service manager something: sd_notify(3).  Where there is none, do nothing."""
    address = posix.environ.get(b"NOTIFY_SOCKET", b"")
    if not address:
        return
    sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        sock.connect(b"\0" + address[1:] if address[:1] == b"@" else address)
        sock.send(state.encode())
    except OSError:
        pass  # what it must know most, whether this process lives, it knows anyway
    finally:
        sock.close()


def log(text: str) -> None:
    """Write a line to standard error, as ``guestagent.log`` does."""
    try:
        posix.write(2, f"guestagentd: {text}\n".encode())
    except OSError:
        pass


def start(name: str, arguments: Sequence[str]) -> tuple[int, int]:
    """Start a program; return its process ID, and a descriptor that can be read once it has ended.

    Raises OSError.
    """
    for folder in defs.PROGRAM_DIRS:
        path = f"{folder}/{name}"
        if exists(path):
            pid = posix.posix_spawn(path, [path, *arguments], _ENVIRONMENT)
            return pid, posix.pidfd_open(pid)
    raise FileNotFoundError(2, "is not installed", name)


def end(pid: int, fd: int) -> int:
    """Return the exit status of a program that has ended; negative if a signal ended it."""
    posix.close(fd)
    _, status = posix.waitpid(pid, 0)
    return posix.waitstatus_to_exitcode(status)


def in_child(work: Callable[[], str]) -> str:
    """Return what ``work`` returns in a child: what that imports is not kept.

    An empty string if it fails.
    """
    reader, writer = posix.pipe2(posix.O_CLOEXEC)
    pid = posix.fork()
    if pid == 0:
        try:
            posix.write(writer, work().encode())
        finally:
            posix._exit(0)
    posix.close(writer)
    try:
        return _read_all(reader).decode()
    finally:
        posix.close(reader)
        posix.waitpid(pid, 0)
