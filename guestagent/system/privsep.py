"""Work in a forked child that has given up its rights: privilege separation.

Where a user owns a directory, the child becomes that user before it writes there.  Whatever the
user does to the directories meanwhile, the child can reach no more than the user could anyway.
(sshd(8) reads a user's key file as that user for the same reason.)
"""

from __future__ import annotations

import os
from time import monotonic, sleep

from guestagent import defs
from guestagent.errors import Refused
from guestagent.system.ownfiles import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NOBODY = 65534
_CHUNK = 1 << 16
_REASON_LIMIT = 1000  # bytes
_SIGKILL = 9
_KILL_GRACE = 2.0  # seconds
_PAUSE = 0.01
_TOO_SLOW = (
    f"a process that writes as this user did not end within {defs.CHILD_TIMEOUT:.0f} s and was "
    "killed; this run writes nothing more as this user, and the next one tries again"
)
_too_slow: set[int] = set()  # users


def run_as_user(uid: int, gid: int, work: Callable[[], object]) -> None:
    """Run ``work`` in a child that has become a user, with no other groups.

    Without root the child keeps the caller's identity.  Raises Refused with the reason if the
    work raised Refused or OSError, and if the child had to be killed after ``defs.CHILD_TIMEOUT``:
    its user may stop it, and a home may be on a server that does not answer.  Later work of such a
    user is refused at once.
    """
    if uid in _too_slow:
        raise Refused(_TOO_SLOW)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _be_child(uid, gid, work, write_end)
    os.close(write_end)  # else the pipe would not end with the child
    try:
        reason = _read_until_end(read_end, defs.CHILD_TIMEOUT)
    finally:
        os.close(read_end)
    if reason is None:
        _too_slow.add(uid)
        _kill(pid)
        raise Refused(_TOO_SLOW)
    _, status = os.waitpid(pid, 0)
    if status:
        raise Refused(reason.decode("utf-8", "replace") or "the writing process died")


def _read_until_end(pipe: int, seconds: float) -> bytes | None:
    """Return what comes until all writers have closed a pipe; None if that takes too long."""
    found = b""
    try:
        for chunk in _read_chunks(pipe, monotonic() + seconds):
            found = (found + chunk)[:_REASON_LIMIT]
    except TimeoutError:
        return None
    return found


def _read_chunks(pipe: int, end: float) -> Iterator[bytes]:
    """Yield what comes until all writers have closed a pipe.

    Raises TimeoutError if they have not by ``end``, a time of the monotonic clock.
    """
    from select import POLLIN, poll

    poller = poll()
    poller.register(pipe, POLLIN)
    while poller.poll(max(0.0, end - monotonic()) * 1000):
        chunk = os.read(pipe, _CHUNK)
        if not chunk:
            return
        yield chunk
    raise TimeoutError


def _kill(pid: int) -> None:
    """Kill a child, which ends at once unless it waits for a disk or a server: that is left."""
    os.kill(pid, _SIGKILL)
    end = monotonic() + _KILL_GRACE
    while os.waitpid(pid, os.WNOHANG) == (0, 0) and monotonic() < end:
        sleep(_PAUSE)


def ask_as_nobody(
    work: Callable[[], bytes], limit: int, seconds: float, *, memory: int = 0
) -> bytes:
    """Return what ``work`` returns in a child that has become the user nobody.

    Returns an empty string if that is more than ``limit`` bytes, takes more than ``seconds``, or
    fails; the child is killed then.  With ``memory`` it gets no more than so many further bytes.
    """
    end = monotonic() + seconds
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _be_child(_NOBODY, _NOBODY, lambda: write_all(write_end, work()), write_end, memory)
    os.close(write_end)
    found = bytearray()
    try:
        for chunk in _read_chunks(read_end, end):
            found += chunk
            if len(found) > limit:
                return b""
        return bytes(found)
    except TimeoutError:
        return b""
    finally:
        os.close(read_end)
        os.kill(pid, _SIGKILL)
        os.waitpid(pid, 0)


def _be_child(uid: int, gid: int, work: Callable[[], object], pipe: int, memory: int = 0) -> None:
    """Become the user, do the work, and end; the pipe takes the reason of a failure."""
    from resource import RLIMIT_CORE, RLIMIT_DATA, setrlimit

    status = 1
    try:
        # It still has root's memory, and its user may end it by a signal that dumps that: core(5).
        setrlimit(RLIMIT_CORE, (0, 0))
        if memory:
            most = _data_size() + memory
            setrlimit(RLIMIT_DATA, (most, most))
        if os.geteuid() == 0 and uid != 0:
            os.setgroups([])  # first: without root's rights they could not be given up
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        work()
        status = 0
    except Refused as error:
        write_all(pipe, str(error).encode())
    except OSError as error:
        write_all(pipe, (error.strerror or "input/output error").encode())
    finally:
        os._exit(status)  # without the parent's buffers and exit handlers


def _data_size() -> int:
    """Return how many bytes of its own this process has mapped: proc_pid_statm(5)."""
    with open(defs.OWN_SIZE, encoding="ascii") as file:
        return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
