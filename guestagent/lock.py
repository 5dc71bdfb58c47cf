"""One run at a time."""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.errors import TryAgain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.root import Root


def lock(root: Root) -> int:
    """The one run at a time holds this descriptor.  Raises TryAgain, OSError."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    name = defs.LOCK_FILE.rpartition("/")[2]
    with root.place(defs.LOCK_FILE, make=True) as place:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=place.fd)
    deadline = time.monotonic() + defs.LOCK_WAIT
    while True:
        try:
            flock(fd, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TryAgain("another run is going on") from None
            time.sleep(0.1)
        else:
            return fd
