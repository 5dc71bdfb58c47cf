"""Work in a forked child that has given up its rights: privilege separation.

Where a user owns a directory, the child becomes that user before it writes there.  Whatever the
user does to the directories meanwhile, the child can reach no more than the user could anyway.
(sshd(8) reads a user's key file as that user for the same reason.)
"""

from __future__ import annotations

import os

from guestagent.errors import Refused
from guestagent.system.ownfiles import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NOBODY = 65534
_CHUNK = 1 << 16
_REASON_LIMIT = 1000  # bytes
_SIGKILL = 9


def run_as_user(uid: int, gid: int, work: Callable[[], object]) -> None:
    """Run ``work`` in a child that has become a user, with no other groups.

    Without root the child keeps the caller's identity.  Raises Refused with the reason if the
    work raised Refused or OSError.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _be_child(uid, gid, work, write_end)
    os.close(write_end)  # else the pipe would not end with the child
    with os.fdopen(read_end, "rb") as pipe:
        reason = pipe.read(_REASON_LIMIT).decode("utf-8", "replace")
    _, status = os.waitpid(pid, 0)
    if status:
        raise Refused(reason or "the writing process died")


def ask_as_nobody(work: Callable[[], bytes], limit: int, seconds: float) -> bytes:
    """Return what ``work`` returns in a child that has become the user nobody.

    Returns an empty string if that is more than ``limit`` bytes, takes more than ``seconds``, or
    fails; the child is killed then.
    """
    from select import POLLIN, poll
    from time import monotonic

    end = monotonic() + seconds
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _be_child(_NOBODY, _NOBODY, lambda: write_all(write_end, work()), write_end)
    os.close(write_end)
    poller = poll()
    poller.register(read_end, POLLIN)
    found = bytearray()
    try:
        while len(found) <= limit and poller.poll(max(0.0, end - monotonic()) * 1000):
            chunk = os.read(read_end, _CHUNK)
            if not chunk:
                return bytes(found)
            found += chunk
        return b""
    finally:
        os.close(read_end)
        os.kill(pid, _SIGKILL)
        os.waitpid(pid, 0)


def _be_child(uid: int, gid: int, work: Callable[[], object], pipe: int) -> None:
    """Become the user, do the work, and end; the pipe takes the reason of a failure."""
    status = 1
    try:
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
