"""One run at a time, by a lock on a file: flock(2)."""

from __future__ import annotations

import os
import time
from fcntl import LOCK_EX, LOCK_NB, flock

from guestagent import defs
from guestagent.errors import TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_PAUSE = 0.1


def lock(root: Root, path: str = defs.LOCK_FILE, wait: float | None = None) -> int:
    """Lock a file; return the descriptor that holds the lock until it is closed.

    ``wait`` is how many seconds to wait for another run, by default ``defs.LOCK_WAIT``.  Scripts
    have a lock of their own, because one of them may be ``guestagent apply``.  Raises TryAgain,
    OSError.
    """
    with root.place(path, make=True) as place:
        fd = os.open(place.name, _FLAGS, 0o600, dir_fd=place.fd)
    # The file stays: if it were removed, two runs could each hold the lock of a file of that name.
    deadline = time.monotonic() + (defs.LOCK_WAIT if wait is None else wait)
    while True:
        try:
            flock(fd, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TryAgain("another run is going on") from None
            time.sleep(_PAUSE)
        else:
            return fd
