"""Mounts of this machine: the table of them, and a view of a file tree from which nothing runs."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Refused
from guestagent.record import NamedTuple
from guestagent.system.libc import call, unshare_mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# linux/mount.h: attributes of mounts.
RDONLY, NOSUID, NODEV, NOEXEC, NOSYMFOLLOW = 0x1, 0x2, 0x4, 0x8, 0x200000

# Octal; that of the backslash, with which all begin, comes last.
_ESCAPES = ((b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\040", b" "), (b"\\134", b"\\"))

# The same numbers on every architecture but alpha: asm-generic/unistd.h.
_OPEN_TREE, _MOUNT_SETATTR = 428, 442
# linux/mount.h, linux/fcntl.h.
_CLONE, _EMPTY_PATH, _RECURSIVE, _AT_CWD = 1, 0x1000, 0x8000, -100


class Mount(NamedTuple):
    """A line of the table: "major:minor" of the device, the mounted directory, where, and what."""

    device: str
    top: str
    point: str
    kind: str


def read_table() -> Iterator[Mount]:
    """Yield the mounts of proc_pid_mountinfo(5).  Raises OSError."""
    # As bytes: users may mount with fusermount(1), and a path may have any but NUL.
    with open(defs.MOUNT_TABLE, "rb") as table:
        for line in table:
            # IDs of the mount and its parent, device, top, mount point, options and further fields;
            # behind a hyphen the type of the file system.
            first, _, second = line.partition(b" - ")
            parts = [_unescape(part) for part in first.split(b" ")]
            if len(parts) > 4:
                yield Mount(parts[2], parts[3], parts[4], _unescape(second.split(b" ", 1)[0]))


def _unescape(field: bytes) -> str:
    """Return a field without the escapes that the kernel puts into the table."""
    for escape, character in _ESCAPES:
        field = field.replace(escape, character)
    return os.fsdecode(field)


def leave_programs_out(path: str, tree: int) -> str:
    """Return a path to a file tree for this process and its children, from which nothing runs.

    The tree is the directory ``path``, open as ``tree``, with all that is mounted in it.  Behind
    the path that is returned execve(2) starts no program and dlopen(3) loads no library of it.
    The process gets a mount namespace of its own, and a descriptor that its children inherit.
    Needs Linux 5.14.  Raises Refused, OSError: EPERM without CAP_SYS_ADMIN.
    """
    unshare_mounts()
    place = os.path.realpath(path).rstrip("/")
    for mount in read_table():
        # Links such as /proc/1/root lead out of the tree whatever the root directory is.
        if mount.kind == "proc" and mount.point.startswith(f"{place}/"):
            _set(_AT_CWD, mount.point, 0, NOSYMFOLLOW)
    view = call(_OPEN_TREE, _AT_CWD, os.fsencode(place), _CLONE | _RECURSIVE)
    if not os.path.samestat(os.fstat(view), os.fstat(tree)):
        raise Refused(f"{path} was exchanged meanwhile")
    _set(view, "", _EMPTY_PATH | _RECURSIVE, NOSUID | NODEV | NOEXEC)
    return f"{defs.OWN_FILES}/{view}"


def _set(folder: int, path: str, flags: int, attributes: int) -> None:
    """Set attributes of mounts: mount_setattr(2).  Raises OSError."""
    from struct import pack  # which no boot with a drive needs

    arguments = pack("=QQQQ", attributes, 0, 0, 0)  # to set, to clear, propagation, user namespace
    call(_MOUNT_SETATTR, folder, os.fsencode(path), flags, arguments, len(arguments))
