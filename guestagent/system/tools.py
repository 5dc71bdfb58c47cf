"""Starting other programs: bounded in time and output, with a clean environment.

posix_spawn(3) is used directly, because importing ``subprocess`` costs more than most of
these programs' own start.
"""

from __future__ import annotations

import os
import time
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from guestagent import defs
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ENVIRONMENT = {"PATH": defs.PROGRAM_PATH, "LANG": "C.UTF-8"}
_SIGKILL = 9
TIMED_OUT = -1


class Result(NamedTuple):
    """How a program ended: its exit status (negative: killed; TIMED_OUT), and its output.

    ``limit`` is how many seconds it had.
    """

    status: int
    output: bytes
    errors: bytes
    limit: float = defs.PROGRAM_TIMEOUT

    def reason(self) -> str:
        """What went wrong, in one line; only for programs that print no secrets."""
        if self.status == TIMED_OUT:
            return f"took longer than {self.limit:.0f} s"
        lines = self.errors.decode("utf-8", "replace").strip().splitlines()
        return f"exit status {self.status}" + (f": {lines[-1]}" if lines else "")


def program(name: str) -> str | None:
    """The full path of a program of this machine, or None where it is not installed."""
    for directory in defs.PROGRAM_DIRS:
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return None


def run(
    argv: Sequence[str],
    stdin: bytes = b"",
    limit: int = defs.PROGRAM_OUTPUT,
    timeout: float | None = None,
) -> Result:
    """Run a program to its end, at most ``timeout`` seconds, or ``defs.PROGRAM_TIMEOUT``.

    ``argv[0]`` is a full path.  Output beyond ``limit`` bytes is read and thrown away, but
    for one byte more that shows there was more.  Raises OSError if it cannot be started.
    """
    ends = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = ends
    actions = [(os.POSIX_SPAWN_DUP2, in_read, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, out_write, 1), (os.POSIX_SPAWN_DUP2, err_write, 2)]
    try:
        pid = os.posix_spawn(argv[0], list(argv), _ENVIRONMENT, file_actions=actions, setsid=True)
    except OSError:
        for end in (in_write, out_read, err_read):
            os.close(end)
        raise
    finally:
        for end in (in_read, out_write, err_write):
            os.close(end)
    allowed = defs.PROGRAM_TIMEOUT if timeout is None else timeout
    deadline = time.monotonic() + allowed
    output, errors, in_time = _talk(in_write, stdin, (out_read, err_read), limit, deadline)
    in_time = in_time and _ended(pid, deadline)
    if not in_time:
        os.killpg(pid, _SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status) if in_time else TIMED_OUT
    return Result(code, output, errors, allowed)


def _talk(
    in_fd: int, stdin: bytes, out_fds: tuple[int, int], limit: int, deadline: float
) -> tuple[bytes, bytes, bool]:
    """Feed the program and collect what it prints until it closes both outputs."""
    chunks: dict[int, bytearray] = {fd: bytearray() for fd in out_fds}
    poller = poll()
    for fd in out_fds:
        poller.register(fd, POLLIN)
    os.set_blocking(in_fd, False)
    poller.register(in_fd, POLLOUT)
    pending, waiting = memoryview(stdin), {*out_fds, in_fd}
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, event in poller.poll(left * 1000):
            if fd == in_fd:
                pending = pending[_feed(fd, pending, event) :]
                done = not pending or bool(event & POLLERR)
            else:
                done = not _collect(fd, chunks[fd], event, limit)
            if done:
                poller.unregister(fd)
                os.close(fd)
                waiting.discard(fd)
    for fd in waiting:
        os.close(fd)
    first, second = (bytes(chunks[fd]) for fd in out_fds)
    return first, second, not waiting


def _ended(pid: int, deadline: float) -> bool:
    """Wait for the end of a program that closed its outputs; False if it takes too long."""
    fd = os.pidfd_open(pid)
    try:
        poller = poll()
        poller.register(fd, POLLIN)
        return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(fd)


def _feed(fd: int, pending: memoryview, event: int) -> int:
    if not pending or event & POLLERR:
        return 0
    try:
        return os.write(fd, pending)
    except (BlockingIOError, BrokenPipeError):  # the poller tells of the latter next
        return 0


def _collect(fd: int, chunk: bytearray, event: int, limit: int) -> bool:
    if not event & (POLLIN | POLLHUP):
        return False
    read = os.read(fd, 1 << 16)
    chunk += read[: limit + 1 - len(chunk)]
    return bool(read)
