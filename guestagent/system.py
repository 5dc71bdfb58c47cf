"""System calls that the standard library does not offer, through ctypes."""

from __future__ import annotations

import os


def call(number: int, *arguments: bytes | int | None) -> int:
    """syscall(2); returns what it returns.  Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    wide = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *wide))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def sync_tree(fd: int) -> None:
    """syncfs(2): all of one file system is on its disk.  Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(fd):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
