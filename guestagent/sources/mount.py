"""Mount a config drive where no other process can see it.

The drive is mounted with fsopen(2), fsconfig(2) and fsmount(2) (Linux 5.14 for all the attributes
used) and never attached to the file tree: the only way in is a descriptor of this process, and the
mount ends with it, however the process ends.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import NoPermission, SourceBroken
from guestagent.system.libc import call
from guestagent.system.mounts import NODEV, NOEXEC, NOSUID, NOSYMFOLLOW, RDONLY, read_table

# The same numbers on every architecture but alpha: asm-generic/unistd.h.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
# linux/mount.h: flags and commands of these calls.
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_ATTRIBUTES = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW


def mount(device: str, file_system: str) -> int:
    """Mount a block device, and return a descriptor of the file system's top directory.

    It is mounted read-only, nosuid, nodev, noexec and nosymfollow.  Raises NoPermission for a
    caller without CAP_SYS_ADMIN, SourceBroken for every other failure.
    """
    if file_system not in defs.FILE_SYSTEMS:
        raise SourceBroken(f"{device}: has a file system of a type that is never mounted")
    try:
        return _mount(device, file_system)
    except PermissionError:
        raise NoPermission(f"{device}: only root may mount it") from None
    except OSError as error:
        raise SourceBroken(f"{device}: cannot be mounted as {file_system}: {error}") from None


def _mount(device: str, file_system: str) -> int:
    context = call(_FSOPEN, file_system.encode(), _CLOEXEC)
    try:
        call(_FSCONFIG, context, _SET_STRING, b"source", os.fsencode(device), 0)
        call(_FSCONFIG, context, _SET_FLAG, b"ro", None, 0)
        call(_FSCONFIG, context, _CREATE, None, None, 0)
        tree = call(_FSMOUNT, context, _CLOEXEC, _ATTRIBUTES)
    finally:
        os.close(context)
    # fsmount(2) gives an O_PATH descriptor, which cannot list a directory.
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree)
    finally:
        os.close(tree)


def mounted_at(device: str) -> str | None:
    """Return where a block device's whole file system is mounted; None if it is not mounted.

    Raises OSError.
    """
    number = os.stat(device).st_rdev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for found in read_table():
        if found.device == wanted and found.top == "/":
            return found.point
    return None
