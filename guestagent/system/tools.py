"""Run other programs: bounded in time and output, with a clean environment.

A stand-in for ``subprocess``, which takes 14 ms to import, where an interpreter's start takes 8:
more than most of these programs take to start.  posix_spawn(3) is called directly, or fork(2) where
a process is prepared for its program; poll(2) feeds the program and collects its output.
"""

from __future__ import annotations

import os
import time
from errno import EIO
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll

from guestagent import defs
from guestagent.errors import Refused
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ENVIRONMENT = {"PATH": defs.PROGRAM_PATH, "LANG": "C.UTF-8"}
_CHUNK = 1 << 16
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
        """Return what went wrong in one line; only for programs that print no secrets."""
        if self.status == TIMED_OUT:
            return f"took longer than {self.limit:.0f} s"
        lines = self.errors.decode("utf-8", "replace").strip().splitlines()
        return f"exit status {self.status}" + (f": {lines[-1]}" if lines else "")


def find_program(name: str) -> str | None:
    """Return the full path of a program of this machine, or None if it is not installed."""
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
    *,
    prepare: Callable[[Sequence[str]], Sequence[str]] | None = None,
) -> Result:
    """Run a program to its end, at most ``timeout`` seconds, or ``defs.PROGRAM_TIMEOUT``.

    ``argv[0]`` is a full path.  Output beyond ``limit`` bytes is read and thrown away, but
    for one byte more that shows there was more.  ``prepare`` is called in the new process before
    the program starts there, and returns the arguments that it gets.  Raises OSError if it cannot
    be started, and what ``prepare`` raises: Refused, OSError.
    """
    allowed = defs.PROGRAM_TIMEOUT if timeout is None else timeout
    deadline = time.monotonic() + allowed
    pid, pipes = _start(argv, prepare)
    talk = _Talk(pipes, stdin, limit)
    in_time = talk.until(deadline) and _wait_for_end(pid, deadline)
    if not in_time:
        os.killpg(pid, _SIGKILL)  # a session of its own: its children too
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status) if in_time else TIMED_OUT
    return Result(code, bytes(talk.output), bytes(talk.errors), allowed)


def _start(
    argv: Sequence[str], prepare: Callable[[Sequence[str]], Sequence[str]] | None
) -> tuple[int, tuple[int, int, int]]:
    """Start a program; return its process ID and the ends of pipes to its three descriptors."""
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (
        os.pipe2(os.O_CLOEXEC) for _ in range(3)
    )
    standard = (in_read, out_write, err_write)
    try:
        if prepare is None:
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(standard)]
            pid = os.posix_spawn(
                argv[0], list(argv), _ENVIRONMENT, file_actions=actions, setsid=True
            )
        else:
            pid = _fork(argv, prepare, standard)
    except (OSError, Refused):
        for end in (in_write, out_read, err_read):
            os.close(end)
        raise
    finally:
        for end in standard:
            os.close(end)
    return pid, (in_write, out_read, err_read)


def _fork(
    argv: Sequence[str],
    prepare: Callable[[Sequence[str]], Sequence[str]],
    standard: tuple[int, int, int],
) -> int:
    """Start a program in a process that is prepared; return its ID.  Raises Refused, OSError."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(argv, prepare, standard, told=write_end)
    os.close(write_end)
    with open(read_end, "rb") as told:
        failure = told.read()  # empty as soon as the program has started
    if failure:
        os.waitpid(pid, 0)
        number, _, reason = failure.decode(errors="replace").partition(" ")
        if number == "0":
            raise Refused(reason)
        raise OSError(int(number), reason)
    return pid


def _become(
    argv: Sequence[str],
    prepare: Callable[[Sequence[str]], Sequence[str]],
    standard: tuple[int, int, int],
    told: int,
) -> None:
    """Become a program, or write the number and reason of what failed to a pipe, and end."""
    try:
        os.setsid()
        for number, fd in enumerate(standard):
            os.dup2(fd, number)
        os.execve(argv[0], list(prepare(argv)), _ENVIRONMENT)  # noqa: S606 - without a shell
    except OSError as error:
        os.write(told, f"{error.errno or EIO} {error.strerror}".encode())
    except Refused as error:
        os.write(told, f"0 {error}".encode())
    finally:
        os._exit(1)  # without the parent's buffers and exit handlers


class _Talk:
    """What a program is fed, and what it prints until it closes both of its outputs."""

    def __init__(self, pipes: tuple[int, int, int], stdin: bytes, limit: int) -> None:
        self._to_program, output, errors = pipes
        self.output, self.errors = bytearray(), bytearray()
        self._collected = {output: self.output, errors: self.errors}
        self._pending = memoryview(stdin)
        self._limit = limit
        self._open = set(pipes)
        os.set_blocking(self._to_program, False)

    def until(self, deadline: float) -> bool:
        """Feed and collect; return False if the program has not closed its outputs in time."""
        poller = poll()
        poller.register(self._to_program, POLLOUT)
        for fd in self._collected:
            poller.register(fd, POLLIN)
        while self._open and (left := deadline - time.monotonic()) > 0:
            for fd, event in poller.poll(left * 1000):
                is_done = self._feed(event) if fd == self._to_program else self._collect(fd, event)
                if is_done:
                    poller.unregister(fd)
                    os.close(fd)
                    self._open.discard(fd)
        in_time = not self._open
        for fd in self._open:
            os.close(fd)
        return in_time

    def _feed(self, event: int) -> bool:
        """Write what the pipe takes; return True if nothing is left, or no one reads it."""
        if event & POLLERR:  # no process has the other end open
            return True
        if self._pending:
            try:
                written = os.write(self._to_program, self._pending)
            except (BlockingIOError, BrokenPipeError):  # poll(2) reports the latter next
                return False
            self._pending = self._pending[written:]
        return not self._pending

    def _collect(self, fd: int, event: int) -> bool:
        """Read what the pipe has; return True at its end."""
        if not event & (POLLIN | POLLHUP):
            return True
        found = os.read(fd, _CHUNK)
        collected = self._collected[fd]
        collected += found[: self._limit + 1 - len(collected)]
        return not found


def _wait_for_end(pid: int, deadline: float) -> bool:
    """Wait for the end of a program that closed its outputs; return False if it is too late."""
    fd = os.pidfd_open(pid)
    try:
        poller = poll()
        poller.register(fd, POLLIN)
        return bool(poller.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(fd)
