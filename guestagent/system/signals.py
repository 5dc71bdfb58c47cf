"""Signals, without the cost of ``signal``.

The library's module makes enumerations of the numbers, and imports ``enum`` for it: 5 ms, where an
interpreter's start is 8 ms.  The C module below it has the same functions and plain numbers.
"""

from __future__ import annotations

import os
from _signal import (  # type: ignore[import-not-found]
    SIGKILL,
    SIGPIPE,
    SIGTERM,
    SIGXFSZ,
    set_wakeup_fd,
    signal,
)

__all__ = ["SIGKILL", "SIGPIPE", "SIGTERM", "SIGXFSZ", "Termination", "catch_termination"]


class Termination:
    """Whether this process was told to end by SIGTERM.

    ``fd`` can be read once a signal has come: poll(2) on it also ends where the signal came just
    before the call.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.requested = False


def catch_termination() -> Termination:
    """Keep SIGTERM from ending this process, and return what tells that it has come."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    termination = Termination(reader)

    def note(*_: object) -> None:
        termination.requested = True

    # Python's own handler, in C, writes a byte to it at once, even during poll(2).
    set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal(SIGTERM, note)
    return termination
