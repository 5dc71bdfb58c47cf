"""Writing where a user owns the directory: a forked child becomes that user first.

Whatever the user does to his directories meanwhile, the child can reach no more than the
user himself could.  (Same idea as sshd(8), which reads a user's key file as that user.)
"""

from __future__ import annotations

import os

from guestagent.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# A file that was not there before, whatever a link says: open(2).
NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".guestagent.tmp"


def as_user(uid: int, gid: int, work: Callable[[], object]) -> None:
    """Run ``work`` in a child that has become the user, with no other groups.

    Without root nobody can be become; the child then stays who the caller is.
    Raises Refused with the reason if the work raised one, or failed in the system.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(uid, gid, work, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        reason = pipe.read(1000).decode("utf-8", "replace")
    _, status = os.waitpid(pid, 0)
    if status:
        raise Refused(reason or "the writing process died")


_NOBODY = 65534


def ask_as_nobody(work: Callable[[], bytes], limit: int, seconds: float) -> bytes:
    """What ``work`` returns in a child that has become nobody; empty if it gives nothing in time.

    At most ``limit`` bytes are taken; the child is killed when ``seconds`` are over.
    """
    from select import POLLIN, poll
    from time import monotonic

    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _child(_NOBODY, _NOBODY, lambda: write_all(write_end, work()), write_end)
    os.close(write_end)
    poller = poll()
    poller.register(read_end, POLLIN)
    found, end = bytearray(), monotonic() + seconds
    try:
        while len(found) <= limit and poller.poll(max(0.0, end - monotonic()) * 1000):
            chunk = os.read(read_end, 1 << 16)
            if not chunk:
                return bytes(found)
            found += chunk
        return b""
    finally:
        os.close(read_end)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _child(uid: int, gid: int, work: Callable[[], object], pipe: int) -> None:
    status = 1
    try:
        if os.geteuid() == 0 and uid != 0:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        work()
        status = 0
    except Refused as error:
        os.write(pipe, str(error).encode())
    except OSError as error:
        os.write(pipe, (error.strerror or "input/output error").encode())
    finally:
        os._exit(status)


def replace(
    directory: int,
    name: str,
    content: bytes,
    mode: int,
    durable: bool = True,
    temporary: str = _TEMPORARY,
) -> None:
    """Write a file below an open directory and put it in place by rename(2).

    ``durable``: it is on the disk when this returns.  ``temporary`` is the name it has before;
    two that write to one directory at a time need two.  Raises OSError with the name; the old
    file stays then, and nothing else.
    """
    try:
        _write_temporary(directory, temporary, content, mode, durable)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        if durable:
            os.fsync(directory)
    except OSError as error:
        try:
            os.unlink(temporary, dir_fd=directory)
        except OSError:
            pass
        raise OSError(error.errno, error.strerror, name) from None


def _write_temporary(directory: int, name: str, content: bytes, mode: int, durable: bool) -> None:
    try:
        fd = os.open(name, NEW_FILE, 0o600, dir_fd=directory)
    except FileExistsError:  # left by a run that was killed
        os.unlink(name, dir_fd=directory)
        fd = os.open(name, NEW_FILE, 0o600, dir_fd=directory)
    try:
        write_all(fd, content)
        os.fchmod(fd, mode)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, content: bytes) -> None:
    """Write all of the bytes, however many calls that takes.  Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]
