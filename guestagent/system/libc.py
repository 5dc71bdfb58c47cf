"""Functions of the kernel and the C library, without the costly modules of Python around them.

``_ctypes`` is the core of ``ctypes``, which takes as long to import as a fifth of an interpreter's
start: every boot with a drive comes here, and every run that writes.
"""

from __future__ import annotations

import _ctypes
import os

# What the interpreter itself is linked to.
_LIBRARY = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _IntFunction(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _LongFunction(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def call(number: int, *arguments: bytes | int | None) -> int:
    """Make a system call that Python does not offer, and return its result: syscall(2).

    Raises OSError.
    """
    syscall = _LongFunction(_ctypes.dlsym(_LIBRARY, "syscall"))
    # It has as many arguments as are given, and takes each as wide as a register.
    wide = [_Long(item) if isinstance(item, int) else item for item in (number, *arguments)]
    result = int(syscall(*wide))
    if result < 0:
        raise _last_error()
    return result


def unshare_mounts() -> None:
    """Give this process a mount namespace of its own: unshare(2).  Raises OSError."""
    unshare = _IntFunction(_ctypes.dlsym(_LIBRARY, "unshare"))  # Python 3.12 has ``os.unshare``
    new_mounts = 0x20000  # CLONE_NEWNS of linux/sched.h
    if unshare(new_mounts):
        raise _last_error()


def sync_tree(fd: int) -> None:
    """Wait until all of one file system is on its disk: syncfs(2).  Raises OSError."""
    syncfs = _IntFunction(_ctypes.dlsym(_LIBRARY, "syncfs"))
    if syncfs(fd):
        raise _last_error("the root's file system")


def _last_error(where: str | None = None) -> OSError:
    """Return the error of a function that has failed; ``where`` is the file that it names."""
    error = _ctypes.get_errno()
    return OSError(error, os.strerror(error), where)


def permanent_mac(name: str) -> str:
    """Return the permanent MAC address of a NIC; an empty string if it has none.

    The kernel tells it by ethtool's ioctl: ``struct ethtool_perm_addr`` of linux/ethtool.h, and
    ``struct ifreq`` of netdevice(7).
    """
    # Importing ``socket`` would take 8 ms more, as much as starting the interpreter.
    from _socket import AF_UNIX, SOCK_DGRAM, socket
    from array import array
    from fcntl import ioctl
    from struct import pack
    from sys import byteorder

    sioc_ethtool, get_permanent, room = 0x8946, 0x20, 32
    answer = array("B", pack("=II", get_permanent, room) + bytes(room))
    request = pack("16sP16x", os.fsencode(name), answer.buffer_info()[0])
    sock = socket(AF_UNIX, SOCK_DGRAM)
    try:
        ioctl(sock.fileno(), sioc_ethtool, request)
    except OSError:
        return ""
    finally:
        sock.close()
    size = int.from_bytes(answer[4:8].tobytes(), byteorder)
    octets = answer[8 : 8 + size].tobytes() if size in (6, 20) else b""  # Ethernet, InfiniBand
    return octets.hex(":") if any(octets) else ""


def packed_address(text: str) -> bytes:
    """Return an IPv4 or IPv6 address as 4 or 16 bytes in network byte order: inet_pton(3).

    Raises OSError or ValueError if the text is not an address.
    """
    # ``python3 -ISB -c "import _socket"`` takes 9.4 ms, ``socket`` 17.4 ms, ``ipaddress`` 13.0 ms.
    from _socket import AF_INET, AF_INET6, inet_pton

    return inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def address_text(packed: bytes) -> str:
    """Return the text of an address of 4 or 16 bytes: inet_ntop(3)."""
    # As in packed_address().
    from _socket import AF_INET, AF_INET6, inet_ntop

    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)
