"""Files that are replaced as a whole: either all of the old content or all of the new.

The new content goes into a temporary file beside the old one, and rename(2) puts it in place.
Guestagent's own files are JSON that is written so, in directories that it makes itself.
"""

from __future__ import annotations

import os
from errno import EACCES, ENOTSUP, EPERM
from stat import S_IFDIR, S_IFLNK

from guestagent import defs
from guestagent.errors import FieldError, Refused
from guestagent.system.jsontext import dumps, loads_own
from guestagent.system.root import ACL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.system.root import Root

# For open(2): a file that did not exist before, and that no link has put elsewhere.
NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = ".guestagent.tmp"
_TOO_LARGE = (
    f"would be larger than {defs.GUEST_FILE_LIMIT >> 20} MiB, so that no later run could read it; "
    "it stays as it was, and what this run did is not in it: ask for fewer files or shorter names"
)
_NOT_GIVEN = (ENOTSUP, EPERM, EACCES)
# The kernel makes these for one content: file capabilities, and the signatures of IMA and EVM.
_OF_THE_CONTENT = ("security.capability", "security.ima", "security.evm")


def replace(
    directory: int,
    name: str,
    content: bytes,
    mode: int,
    *,
    durable: bool = True,
    temporary: str = _TEMPORARY,
    like: int | None = None,
) -> None:
    """Write a file in an open directory, or replace it.

    ``durable``: it is on the disk when this returns.  ``temporary`` is the name of the temporary
    file; two processes that write to one directory at a time need two.  ``like`` is an open file
    that the new one is ``make_alike``.  Raises OSError with the name; then the old file is left,
    and nothing else.
    """
    try:
        temporary = _write_temporary(
            directory, temporary, content, mode, durable=durable, like=like
        )
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        if durable:
            os.fsync(directory)
    except OSError as error:
        try:
            os.unlink(temporary, dir_fd=directory)
        except OSError:
            pass
        raise OSError(error.errno, error.strerror, name) from None


def _write_temporary(
    directory: int, name: str, content: bytes, mode: int, *, durable: bool, like: int | None
) -> str:
    """Write a new file of that name, or of another one if that cannot be had; return the name."""
    try:
        fd = os.open(name, NEW_FILE, 0o600, dir_fd=directory)
    except FileExistsError:
        try:
            os.unlink(name, dir_fd=directory)  # left by a run that was killed
        except OSError:  # a directory, which someone put in the way
            name = f"{defs.TEMPORARY_PREFIX}{os.urandom(8).hex()}"
        fd = os.open(name, NEW_FILE, 0o600, dir_fd=directory)
    try:
        write_all(fd, content)
        if like is not None:
            make_alike(fd, like, mode)
        else:
            os.fchmod(fd, mode)  # after the content, and whatever the umask is
        if durable:
            os.fsync(fd)
    except OSError:
        os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(fd)
    return name


def make_alike(fd: int, like: int, mode: int) -> None:
    """Give an open file a mode, and the owner, group and extended attributes of another one.

    An ACL is such an attribute, and so is SELinux's label: xattr(7).  What the caller may not give
    stays as it is: a user cannot give a file to a group of others.  Raises OSError.
    """
    found, made = os.fstat(like), os.fstat(fd)
    if (found.st_uid, found.st_gid) != (made.st_uid, made.st_gid):
        try:
            os.fchown(fd, found.st_uid, found.st_gid)
        except PermissionError:
            pass
    os.fchmod(fd, mode)  # chown(2) takes set-user-ID bits away, and an ACL has the bits of groups
    wanted, present = _attributes(like), _attributes(fd)
    for name, value in wanted.items():
        if name in _OF_THE_CONTENT or present.get(name) == value:
            continue
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in _NOT_GIVEN:
                raise
    if ACL in present and ACL not in wanted:
        os.removexattr(fd, ACL)  # from the default ACL of the directory


def _attributes(fd: int) -> dict[str, bytes]:
    """Return the extended attributes of an open file; none where the file system has none."""
    try:
        return {name: os.getxattr(fd, name) for name in os.listxattr(fd)}
    except OSError as error:
        if error.errno not in _NOT_GIVEN:
            raise
        return {}


def write_all(fd: int, content: bytes) -> None:
    """Write all of the bytes, however many calls of write(2) that takes.  Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]


def encode(path: str, value: object) -> bytes:
    """Return a value as one of guestagent's own files has it.  Raises Refused if it is too large.

    What is written is what ``loads_own`` reads again: the same limit is that of ``Root.read``.
    """
    content = f"{dumps(value)}\n".encode()
    if len(content) > defs.GUEST_FILE_LIMIT:
        raise Refused(f"{path}: {_TOO_LARGE}")
    return content


def read(root: Root, path: str) -> Any:
    """Return the JSON value that one of guestagent's own files holds.

    Return None for a file that is missing, damaged or cannot be reached safely: what it said is
    lost then, which must not stop every later run.  Raises OSError where the tree fails.
    """
    try:
        content = root.read(path)
        return None if content is None else loads_own(content)
    except (FieldError, Refused):
        return None


def write(root: Root, path: str, value: object, mode: int) -> None:
    """Write one of guestagent's own files as JSON.  Raises OSError with the path, Refused.

    One that could not be read again is not written: the old one stays.

    A file in /run does not outlive the boot, so that it need not reach a disk.
    """
    parent, _, name = path.rpartition("/")
    content = encode(path, value)
    durable = not path.startswith(f"{defs.RUN_DIR}/")
    try:
        directory = open_folder(root, parent)
        try:
            with root.labelled(directory, name):
                replace(directory, name, content, mode, durable=durable)
        finally:
            os.close(directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def remove(root: Root, path: str) -> None:
    """Remove one of guestagent's own files, if it exists.  Raises OSError, Refused."""
    try:
        with root.place(path) as place:
            os.unlink(place.name, dir_fd=place.fd)
    except FileNotFoundError:
        pass


def link(root: Root, path: str, target: str) -> None:
    """Make a symbolic link, in place of another one.  Raises OSError, Refused."""
    with root.place(path, make=True) as place, root.labelled(place.fd, place.name, S_IFLNK):
        if root.readlink(path) is not None:
            os.unlink(place.name, dir_fd=place.fd)
        os.symlink(target, place.name, dir_fd=place.fd)


def open_folder(root: Root, path: str) -> int:
    """Return a descriptor of one of guestagent's own directories, which is made if it is missing.

    Only root can enter the directory of the state, from its first moment on.  Raises OSError,
    Refused.
    """
    private = path == defs.STATE_DIR
    # ``make`` creates directories that everyone can enter, so that of the state is made here.
    try:
        place = root.place(f"{path}/x", make=not private)
    except FileNotFoundError:
        with (
            root.place(path, make=True, follow=True) as missing,
            root.labelled(missing.fd, missing.name, S_IFDIR),
        ):
            os.mkdir(missing.name, 0o700, dir_fd=missing.fd)
        place = root.place(f"{path}/x")
    with place:
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.fd)
    if private:
        os.fchmod(fd, 0o700)  # whoever made it may have made it open to others
    return fd
