"""The only door to the guest's files: a tree that is never left.

Every path is walked one component at a time from the root's directory descriptor
(openat(2)).  A symbolic link is followed only where root owns it and nobody else may
write to the directory it stands in; ``..`` and absolute targets stay inside the root.
The running system is the tree ``/``; an offline image is the same code with another root.
"""

from __future__ import annotations

import os
from _blake2 import blake2b
from errno import ELOOP, ENOTDIR
from stat import S_ISDIR, S_ISLNK, S_ISREG, S_ISVTX

from guestagent import defs
from guestagent.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_SEARCH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_VOLATILE = ("/proc/", "/sys/", "/run/", "/dev/")
_MAX_LINKS = 40


class Place:
    """The last component of a path: its directory, open, and its name there.

    ``owner`` is the user id of the first directory on the way that an untrusted user owns,
    or None: what such a user owns must be written as that user.
    """

    __slots__ = ("exposed", "fd", "name", "owner")

    def __init__(self, fd: int, name: str, owner: int | None, exposed: bool) -> None:
        self.fd, self.name, self.owner, self.exposed = fd, name, owner, exposed

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.fd)

    def stat(self) -> os.stat_result | None:
        """What stands at the place itself, a link not followed; None where nothing does."""
        try:
            return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None


class _Walk:
    """The directories from the root down to where a walk stands, all open."""

    def __init__(self, root: int, trusted: frozenset[int]) -> None:
        self.trusted = trusted
        self.fds = [os.dup(root)]
        self.owners: list[int | None] = [None]
        self.exposed = [False]

    def enter(self, name: str) -> None:
        """Go down into a directory; raises OSError, ELOOP or ENOTDIR for a link."""
        fd = os.open(name, _SEARCH, dir_fd=self.fds[-1])
        self.fds.append(fd)
        found = os.fstat(fd)
        above = self.owners[-1]
        mine = above is None and found.st_uid in self.trusted
        self.owners.append(None if mine else above if above is not None else found.st_uid)
        self.exposed.append(bool(found.st_mode & 0o002 and not found.st_mode & S_ISVTX))

    def leave(self, levels: int) -> None:
        """Go up, at most to the root."""
        while levels and len(self.fds) > 1:
            os.close(self.fds.pop())
            self.owners.pop()
            self.exposed.pop()
            levels -= 1

    def trusted_link(self, name: str) -> str | None:
        """Where a link leads; None if ``name`` is no link.

        Raises Refused for a link that somebody else made or could exchange.
        """
        here = os.fstat(self.fds[-1])
        found = os.stat(name, dir_fd=self.fds[-1], follow_symlinks=False)
        if not S_ISLNK(found.st_mode):
            return None
        writable = here.st_mode & 0o022 and not here.st_mode & S_ISVTX
        owned = found.st_uid in self.trusted and here.st_uid in self.trusted
        if writable or not owned or self.owners[-1] is not None:
            raise Refused("a symbolic link that somebody other than root controls is in the way")
        return os.readlink(name, dir_fd=self.fds[-1])

    def close(self) -> None:
        """Close every directory."""
        for fd in self.fds:
            os.close(fd)

    def place(self, name: str) -> Place:
        """Hand out the directory the walk stands in."""
        return Place(os.dup(self.fds[-1]), name, self.owners[-1], any(self.exposed))


class Root:
    """A file tree; ``path`` is its top, ``live`` says that it is the running system's.

    All paths given to the methods are absolute paths inside the tree.  Whatever is looked
    up is remembered in ``watched``, so that ``fingerprint`` can tell later, cheaply, that
    nothing looked at has changed since.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.live = self.path == "/"
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.trusted = frozenset((0, os.geteuid()))
        self.watched: dict[str, None] = {}

    def outside(self, path: str) -> str:
        """The path by which other programs of this machine reach the file."""
        return path if self.live else self.path + path

    def place(self, path: str, make: bool = False, follow: bool = False) -> Place:
        """Walk to ``path``; ``make`` creates missing directories, ``follow`` a last link.

        Raises FileNotFoundError for a missing directory, Refused for a way that is not
        safe, OSError where the file system fails.
        """
        walk = _Walk(self.fd, self.trusted)
        try:
            return self._walk(walk, path, make, follow)
        finally:
            walk.close()

    def _walk(self, walk: _Walk, path: str, make: bool, follow: bool) -> Place:
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                walk.leave(1)
                continue
            target = None
            if todo or follow:
                target = self._step(walk, name, make, last=not todo)
            if target is None:
                if not todo:
                    return walk.place(name)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP))
            if target.startswith("/"):
                walk.leave(len(walk.fds))
            todo.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
        return walk.place(".")

    def _step(self, walk: _Walk, name: str, make: bool, last: bool) -> str | None:
        """Enter a directory; or, where ``name`` is a link, say where it leads."""
        try:
            if last:
                return walk.trusted_link(name)
            walk.enter(name)
        except FileNotFoundError:
            if last:
                return None
            if not make:
                raise
            if walk.owners[-1] is not None:
                raise Refused("a directory is missing below one that a user owns") from None
            _make_folder(name, walk.fds[-1])
            walk.enter(name)
        except OSError as error:
            if error.errno not in (ELOOP, ENOTDIR):
                raise
            target = walk.trusted_link(name)
            if target is None:
                raise
            return target
        return None

    def stat(self, path: str) -> os.stat_result | None:
        """lstat(2) of a path; None where it, or a directory on the way, is missing."""
        self.watched[path] = None
        try:
            with self.place(path) as place:
                return place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, path: str) -> bool:
        """True if something stands at the path, a link included."""
        return self.stat(path) is not None

    def readlink(self, path: str) -> str | None:
        """The target of a symbolic link; None for anything else."""
        found = self.stat(path)
        if found is None or not S_ISLNK(found.st_mode):
            return None
        with self.place(path) as place:
            return os.readlink(place.name, dir_fd=place.fd)

    def read(self, path: str, follow: bool = True) -> bytes | None:
        """The content of a regular file; None where it is missing.

        Raises Refused for anything that is not a regular file, for one larger than
        ``defs.GUEST_FILE_LIMIT`` and for an unsafe way; OSError where reading fails.
        """
        self.watched[path] = None
        try:
            with self.place(path, follow=follow) as place:
                return read_at(place.fd, place.name, defs.GUEST_FILE_LIMIT, place.owner)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def text(self, path: str) -> str:
        """A file's text with undecodable bytes replaced; empty where it is missing."""
        return (self.read(path) or b"").decode("utf-8", "replace")

    def listdir(self, path: str) -> list[str]:
        """The sorted names in a directory; none where it is missing."""
        self.watched[path.rstrip("/") + "/"] = None
        try:
            with self.place(path, follow=True) as place:
                fd = os.open(place.name, _READ | os.O_DIRECTORY, dir_fd=place.fd)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def program(self, name: str) -> bool:
        """True if the tree has a program of that base name."""
        return any(self.exists(f"{directory}/{name}") for directory in defs.PROGRAM_DIRS)

    def fingerprint(self, watched: Iterable[str], salt: bytes) -> str:
        """A keyed digest of the present state of the paths that were looked at."""
        digest = blake2b(key=salt, digest_size=16)
        for path in watched:
            digest.update(f"{path}\0{self._signature(path)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _signature(self, path: str) -> str:
        where = self.outside(path)
        try:
            if path.endswith("/"):
                return "\0".join(sorted(os.listdir(where)))
            if path.startswith(_VOLATILE):
                return _content(where)
            found = os.lstat(where)
        except OSError as error:
            return f"-{error.errno}"
        who = f"{found.st_mode:o} {found.st_uid} {found.st_gid}"
        if S_ISDIR(found.st_mode):
            return who
        return f"{who} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.fd)


def _make_folder(name: str, parent: int) -> None:
    # The early unit runs with umask 0077: networkd and others could not enter the folder.
    before = os.umask(0o022)
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    finally:
        os.umask(before)


def _content(path: str) -> str:
    if S_ISLNK(os.lstat(path).st_mode):
        return os.readlink(path)
    fd = os.open(path, _READ)
    try:
        return os.read(fd, defs.PATH_LIMIT).hex()
    finally:
        os.close(fd)


def read_at(dir_fd: int, name: str, limit: int, owner: int | None = None) -> bytes:
    """Read a regular file below a directory, no link followed, at most ``limit`` bytes.

    ``owner`` is the user the file must belong to, so that a hard link made in a user's
    directory gives nobody else's content.  Raises Refused for another kind of file, a
    larger or a foreign one, OSError where reading fails.
    """
    try:
        fd = os.open(name, _READ, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == ELOOP:
            raise Refused("a symbolic link") from None
        raise
    try:
        found = os.fstat(fd)
        if not S_ISREG(found.st_mode):
            raise Refused("not a regular file")
        if owner is not None and found.st_uid != owner:
            raise Refused("it belongs to another user than its directory")
        if found.st_size > limit:
            raise Refused(f"larger than {limit} bytes")
        chunks = []
        left = limit + 1
        while left and (chunk := os.read(fd, min(left, 1 << 16))):
            chunks.append(chunk)
            left -= len(chunk)
    finally:
        os.close(fd)
    if not left:
        raise Refused(f"larger than {limit} bytes")
    return b"".join(chunks)
