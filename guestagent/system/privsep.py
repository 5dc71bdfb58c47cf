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
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    T = TypeVar("T")

_NOBODY = 65534
_CHUNK = 1 << 16
_REASON_LIMIT = 1000  # bytes, of one item
_TOO_SLOW = (
    "a process that writes as this user did not end within {seconds:.0f} s and was killed; this "
    "run writes nothing more as this user, and the next one tries again"
)
_SIGKILL = 9
_KILL_GRACE = 2.0  # seconds
_PAUSE = 0.01
_DIED = "the process that writes as this user ended before that was done; the next run tries again"
_too_slow: dict[int, str] = {}  # users, and what is told of each


def run_as_user(uid: int, gid: int, work: Callable[[], object]) -> None:
    """Run ``work`` in a child that has become a user.  Raises Refused if that fails.

    All else is as with ``run_all_as_user``.
    """
    (reason,) = run_all_as_user(uid, gid, lambda _: work(), (None,))
    if reason:
        raise Refused(reason)


def run_all_as_user(
    uid: int, gid: int, work: Callable[[T], object], items: Sequence[T]
) -> list[str]:
    """Run ``work`` with each item, in a child that has become a user, with no other groups.

    Return why each item failed, by Refused or OSError, in their order; an empty text where it did
    not.  Without root the child keeps the caller's identity.  If it ends too early, another child
    goes on after the item that it had come to.  It is killed after ``defs.CHILD_TIMEOUT`` and
    ``defs.CHILD_TIMEOUT_MORE`` for each further item: its user may stop it, and a home may be on a
    server that does not answer.  Later work of such a user is refused at once.
    """
    reasons: list[str] = []
    while len(reasons) < len(items):
        left = items[len(reasons) :]
        if uid in _too_slow:
            reasons += [_too_slow[uid]] * len(left)
        else:
            reasons += _run_in_child(uid, gid, work, left)
    return reasons


def _run_in_child(uid: int, gid: int, work: Callable[[T], object], items: Sequence[T]) -> list[str]:
    """Run ``work`` in one child; return why each item failed, up to one that it did not end."""
    allowed = defs.CHILD_TIMEOUT + defs.CHILD_TIMEOUT_MORE * (len(items) - 1)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _be_child(uid, gid, lambda: _tell_of_all(work, items, write_end), write_end)
    os.close(write_end)  # else the pipe would not end with the child
    said = bytearray()
    try:
        for chunk in _read_chunks(read_end, monotonic() + allowed):
            said += chunk
        os.waitpid(pid, 0)
    except TimeoutError:
        _too_slow[uid] = _TOO_SLOW.format(seconds=allowed)
        _kill(pid)
    finally:
        os.close(read_end)
    *reasons, rest = said.decode("utf-8", "replace").split("\0")
    if len(reasons) < len(items):
        reasons.append(_too_slow.get(uid) or rest or _DIED)
    return reasons


def _tell_of_all(work: Callable[[T], object], items: Sequence[T], pipe: int) -> None:
    """Run ``work`` with each item, and write to a pipe why each failed, with a NUL at its end."""
    for item in items:
        reason = ""
        try:
            work(item)
        except (Refused, OSError) as error:
            reason = _reason(error)
        write_all(pipe, reason.encode()[:_REASON_LIMIT] + b"\0")


def _reason(error: Refused | OSError) -> str:
    if isinstance(error, Refused):
        return str(error)
    return error.strerror or "input/output error"


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

    That of a process without root's rights keeps its user.  Returns an empty string if that is more
    than ``limit`` bytes, takes more than ``seconds``, or fails; the child is killed then.  With
    ``memory`` it gets no more than so many further bytes.
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
        if memory:
            most = _data_size() + memory
            setrlimit(RLIMIT_DATA, (most, most))
        is_root = os.geteuid() == 0
        if is_root:
            # It still has root's memory, and its user may end it by a signal that dumps that:
            # core(5).
            setrlimit(RLIMIT_CORE, (0, 0))
        if is_root and uid != 0:
            os.setgroups([])  # first: without root's rights they could not be given up
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        work()
        status = 0
    except (Refused, OSError) as error:
        write_all(pipe, _reason(error).encode())
    finally:
        os._exit(status)  # without the parent's buffers and exit handlers


def _data_size() -> int:
    """Return how many bytes of its own this process has mapped: proc_pid_statm(5)."""
    with open(defs.OWN_SIZE, encoding="ascii") as file:
        return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
