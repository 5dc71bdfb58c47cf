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
    # What ``ctypes`` is made of: the package itself costs twice as much again.
    import _ctypes

    class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
        _type_ = "i"

    class Function(_ctypes.CFuncPtr):
        _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
        _restype_ = Int

    syncfs = Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), "syncfs"))  # type: ignore[arg-type]
    if syncfs(fd):
        error = _ctypes.get_errno()
        raise OSError(error, os.strerror(error), "the root's file system")
