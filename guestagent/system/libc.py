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


def permanent_mac(name: str) -> str:
    """The permanent MAC address of a NIC, by ethtool's ioctl; empty where it has none.

    ``struct ethtool_perm_addr`` of linux/ethtool.h, and ``struct ifreq`` of netdevice(7).
    """
    from _socket import AF_UNIX, SOCK_DGRAM, socket
    from array import array
    from fcntl import ioctl
    from struct import pack
    from sys import byteorder

    sioc_ethtool, get_permanent, room = 0x8946, 0x20, 32
    answer = array("B", pack("=II", get_permanent, room) + bytes(room))
    request = pack("16sP16x", name.encode(), answer.buffer_info()[0])
    plug = socket(AF_UNIX, SOCK_DGRAM)
    try:
        ioctl(plug.fileno(), sioc_ethtool, request)
    except OSError:
        return ""
    finally:
        plug.close()
    size = int.from_bytes(answer[4:8].tobytes(), byteorder)
    octets = answer[8 : 8 + size].tobytes() if size == 6 else b""
    return octets.hex(":") if any(octets) else ""
