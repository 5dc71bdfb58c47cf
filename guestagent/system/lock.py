"""One run at a time."""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.errors import TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root


def lock(root: Root, path: str = defs.LOCK_FILE, wait: float | None = None) -> int:
    """The one run at a time holds this descriptor.  Raises TryAgain, OSError.

    ``wait`` is how many seconds it may take, ``defs.LOCK_WAIT`` without it.  Scripts have a lock of
    their own: one of them may be ``guestagent apply``.
    """
    from fcntl import LOCK_EX, LOCK_NB, flock

    name = path.rpartition("/")[2]
    with root.place(path, make=True) as place:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=place.fd)
    deadline = time.monotonic() + (defs.LOCK_WAIT if wait is None else wait)
    while True:
        try:
            flock(fd, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TryAgain("another run is going on") from None
            time.sleep(0.1)
        else:
            return fd
