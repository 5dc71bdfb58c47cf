"""The only door to the guest's files: a tree that is never left.

Every path is walked one component at a time from the root's directory descriptor
(openat(2)).  A symbolic link is followed only where root owns it and no one else may
write to its directory; ``..`` and absolute targets stay inside the root.
The running system is the tree ``/``; an offline image is the same code with another root.

Looking at files (``look``, ``stat``, ``read``) keeps directories open that belong to root all the
way and are exposed to no one else: only root could exchange them, so that a name in them is
reached again without another walk.  What is about to be written is always walked to (``place``).
"""

from __future__ import annotations

import os
from errno import ELOOP, ENODATA, ENOTDIR, ENOTSUP
from stat import S_IFDIR, S_IFREG, S_ISDIR, S_ISLNK, S_ISREG, S_ISVTX

from guestagent import defs
from guestagent.errors import Refused
from guestagent.record import NamedTuple
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_SEARCH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
ACL = "system.posix_acl_access"  # the attribute that holds it, acl(5)
_VOLATILE = ("/proc/", "/sys/", "/run/", "/dev/")
_RUN = f"{defs.RUN_DIR}/"
_MAX_LINKS = 40
_MAX_KEPT = 64  # directories; a process may have 1024 files open
_NOT_NAMES = ("", ".", "..")
_NO_PATH = "its path has a character that no path can have; correct what names it"
_LEADS_NOWHERE = (
    "its symbolic link leads into a directory that does not exist; make that, or remove the link"
)
_NOT_ONLY_ROOTS = (
    "its symbolic link is not followed: other users than root can write where it leads; "
    "let it lead to a file of root's, in directories to which only root can write"
)

_NOT_ROOTS_OWN = "others than root can write to it, or to a directory on the way: correct the modes"


class Entry(NamedTuple):
    """What a path leads to, a last link not followed.

    ``owner`` is as in ``Place``; ``content`` is that of a regular file, else None.
    """

    stat: os.stat_result
    owner: int | None
    content: bytes | None


class Place:
    """The last component of a path: its directory, open, and its name there.

    ``owner`` is the user id of the first directory on the way that an untrusted user owns,
    or None: what such a user owns must be written as that user.  ``exposed`` tells that a
    directory on the way may be written to by others than its owner and root.  A place that is
    ``kept`` leaves its directory open.
    """

    __slots__ = ("exposed", "fd", "kept", "name", "owner")

    def __init__(
        self, fd: int, name: str, owner: int | None, *, exposed: bool, kept: bool = False
    ) -> None:
        self.fd, self.name, self.owner = fd, name, owner
        self.exposed, self.kept = exposed, kept

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.kept:
            os.close(self.fd)

    def stat(self) -> os.stat_result | None:
        """Return lstat(2) of the place; None where nothing has that name."""
        return stat_at(self.fd, self.name)


class Making:
    """A context in which files are made: without SELinux, as they are made anywhere."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


class _Walk:
    """The directories from the root down to where a walk has come, all open."""

    def __init__(self, root: int, trusted: frozenset[int]) -> None:
        self.trusted = trusted
        self.fds = [os.dup(root)]
        self.names: list[str] = []  # without that of the root
        self.owners: list[int | None] = [None]
        self.exposed = [False]
        self.shared = [False]

    def enter(self, name: str) -> None:
        """Go down into a directory.  Raises OSError: ELOOP or ENOTDIR for a link."""
        fd = os.open(name, _SEARCH, dir_fd=self.fds[-1])
        self.fds.append(fd)
        self.names.append(name)
        found = os.fstat(fd)
        above = self.owners[-1]
        mine = above is None and found.st_uid in self.trusted
        self.owners.append(None if mine else above if above is not None else found.st_uid)
        self.exposed.append(_is_exposed(fd, found, self.trusted))
        self.shared.append(bool(found.st_mode & 0o022))

    def leave(self, levels: int) -> None:
        """Go up, at most to the root."""
        while levels and len(self.fds) > 1:
            os.close(self.fds.pop())
            self.names.pop()
            self.owners.pop()
            self.exposed.pop()
            self.shared.pop()
            levels -= 1

    def trusted_link(self, name: str) -> str | None:
        """Return the target of a link; None if ``name`` is no link or is missing.

        Raises Refused for a link that someone other than root made or could exchange.
        """
        here = os.fstat(self.fds[-1])
        found = stat_at(self.fds[-1], name)
        if found is None or not S_ISLNK(found.st_mode):
            return None
        # In a sticky directory, only the owner of a link can exchange it.
        writable = here.st_mode & 0o022 and not here.st_mode & S_ISVTX
        owned = found.st_uid in self.trusted and here.st_uid in self.trusted
        if writable or not owned or self.owners[-1] is not None:
            raise Refused("a symbolic link that a user other than root controls is in the way")
        return os.readlink(name, dir_fd=self.fds[-1])

    def is_roots(self, name: str) -> bool:
        """Tell whether only root can write to ``name``, and to all directories on the way.

        A name that is free is root's to give.  Sticky directories are not root's alone: anyone can
        make a file there.
        """
        if self.owners[-1] is not None or any(self.shared):
            return False
        found = stat_at(self.fds[-1], name)
        return found is None or (found.st_uid in self.trusted and not found.st_mode & 0o022)

    def close(self) -> None:
        """Close every directory."""
        for fd in self.fds:
            os.close(fd)

    def place(self, name: str) -> Place:
        """Hand out the directory to which the walk has come."""
        exposed = any(self.exposed)
        return Place(os.dup(self.fds[-1]), name, self.owners[-1], exposed=exposed)


class Root:
    """A file tree; ``path`` is its top, ``live`` says that it is the running system's.

    All paths given to the methods are absolute paths inside the tree.  Whatever is looked
    up is remembered in ``watched``, so that ``fingerprint`` can tell later, cheaply, that
    nothing looked at has changed since.  ``trusted`` are the users who may do all that root may.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.live = self.path == "/"
        self.trusted = frozenset((0, os.geteuid()))
        self.watched: dict[str, None] = {}
        self._kept: dict[str, int] = {}  # directories that are root's alone, open, by their paths
        self.fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def outside(self, path: str) -> str:
        """Return the path by which other programs of this machine reach the file."""
        return path if self.live else self.path + path

    def place(self, path: str, *, make: bool = False, follow: bool = False) -> Place:
        """Walk to ``path``; ``make`` creates missing directories, ``follow`` a last link.

        Raises FileNotFoundError for a missing directory, Refused for a way that is not
        safe, OSError where the file system fails.
        """
        _check(path)
        walk = _Walk(self.fd, self.trusted)
        try:
            return self._walk(walk, path, make=make, follow=follow)
        finally:
            walk.close()

    def _find(self, path: str, *, follow: bool = False) -> Place:
        """Return the place of a path that is only looked at.  Raises as ``place``."""
        folder, _, name = path.rpartition("/")
        fd = None if name in _NOT_NAMES else self._folder(folder)
        if fd is None or (follow and _is_link(name, fd)):
            return self.place(path, follow=follow)
        return Place(fd, name, None, exposed=False, kept=True)

    def _folder(self, folder: str) -> int | None:
        """Return a directory that is kept open; None if others than root may exchange it.

        Raises OSError, Refused.
        """
        if not folder:
            return self.fd
        if folder in self._kept:
            return self._kept[folder]
        if folder.count("/") > _MAX_KEPT:
            return None  # so deep a directory is walked to; here each level is a call
        parent, _, name = folder.rpartition("/")
        above = None if name in _NOT_NAMES else self._folder(parent)
        if above is None or len(self._kept) >= _MAX_KEPT:
            return None
        try:
            fd = os.open(name, _SEARCH, dir_fd=above)
        except OSError as error:
            if error.errno not in (ELOOP, ENOTDIR):
                raise
            return self._linked_folder(folder)
        found = os.fstat(fd)
        if found.st_uid not in self.trusted or _is_exposed(fd, found, self.trusted):
            os.close(fd)
            return None
        self._kept[folder] = fd
        return fd

    def _linked_folder(self, folder: str) -> int | None:
        """Do the same for a directory to which a link leads, such as /sbin."""
        with self.place(f"{folder}/x") as place:
            if place.owner is not None or place.exposed:
                return None
            fd = self._kept[folder] = os.dup(place.fd)
        return fd

    def _walk(self, walk: _Walk, path: str, *, make: bool, follow: bool) -> Place:
        todo = _components(path)  # the next one is the last of the list
        links = 0
        while todo:
            name = todo.pop()
            last = not todo
            if name == "..":
                walk.leave(1)
                continue
            if last and not follow:
                return walk.place(name)
            target = walk.trusted_link(name) if last else self._enter(walk, name, make=make)
            if target is None and last:
                return walk.place(name)
            if target is None:
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP))
            if target.startswith("/"):
                walk.leave(len(walk.fds))  # to the top of this tree, not of the machine's
            todo += _components(target)
        return walk.place(".")

    def _enter(self, walk: _Walk, name: str, *, make: bool) -> str | None:
        """Enter a directory; where the name is a link, return its target instead."""
        try:
            walk.enter(name)
            return None
        except FileNotFoundError:
            if not make:
                raise
        except OSError as error:
            if error.errno not in (ELOOP, ENOTDIR):
                raise
            target = walk.trusted_link(name)
            if target is None:
                raise
            return target
        if walk.owners[-1] is not None:
            raise Refused("a directory is missing below one that a user owns")
        with self.labelled(walk.fds[-1], name, S_IFDIR):
            _make_folder(name, walk.fds[-1])
        walk.enter(name)
        return None

    def has_policy(self) -> bool:
        """Tell whether SELinux has a policy for the tree: in the running system alone."""
        return self.live and os.path.exists(defs.SELINUX)

    def labelled(self, directory: int, name: str, kind: int = S_IFREG) -> Making:
        """Return the context in which to make what will have a name in an open directory.

        In the running system it gets the label that the policy of SELinux wants for its path, also
        under a temporary name.  ``kind`` is its type as in st_mode, inode(7).  Raises OSError.
        """
        return self.labelled_as(f"{path_of(directory)}/{name}", kind) if self.live else Making()

    def labelled_as(self, path: str, kind: int = S_IFREG) -> Making:
        """Do the same for a path, in which no directory is a symbolic link."""
        # Policies leave what is in /run to the kernel ("<<none>>"), and each boot writes there.
        if path.startswith(_RUN) or not self.has_policy():
            return Making()
        from guestagent.system.selinux import Labelled

        return Labelled(path, kind)

    def _watch(self, path: str) -> None:
        """Remember that a path is looked at.  Raises Refused for one that no file can have."""
        _check(path)
        self.watched[path] = None

    def stat(self, path: str) -> os.stat_result | None:
        """Return lstat(2) of a path; None where it, or a directory on the way, is missing."""
        self._watch(path)
        try:
            with self._find(path) as place:
                return place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, path: str) -> bool:
        """Tell whether the path exists; a link does wherever it leads."""
        return self.stat(path) is not None

    def look(self, path: str) -> Entry | None:
        """Return all that a plan must know of a path; None where it is missing.

        Raises Refused for a regular file that ``read`` refuses, and for an unsafe way; OSError
        where reading fails.
        """
        self._watch(path)
        try:
            with self._find(path) as place:
                found = place.stat()
                if found is None:
                    return None
                content = None
                if S_ISREG(found.st_mode):
                    content = _read_place(place)
                return Entry(found, place.owner, content)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def readlink(self, path: str) -> str | None:
        """Return the target of a symbolic link; None for anything else."""
        self._watch(path)
        try:
            with self._find(path) as place:
                found = place.stat()
                if found is None or not S_ISLNK(found.st_mode):
                    return None
                return os.readlink(place.name, dir_fd=place.fd)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def follow(self, path: str) -> str:
        """Return where root's own symbolic links lead from a path: to a path without links.

        A path that is no link is returned as it is.  Raises Refused for a link that others than
        root made or could exchange, and for one that leads to where others can write; OSError.
        """
        if self.readlink(path) is None:
            return path
        for _ in range(_MAX_LINKS):
            here, target = self._look_at_link(path)
            self.watched[here] = None
            if target is None:
                return here
            path = target if target.startswith("/") else f"{here.rpartition('/')[0]}/{target}"
        raise OSError(ELOOP, os.strerror(ELOOP))

    def _look_at_link(self, path: str) -> tuple[str, str | None]:
        """Return the path without links among its directories; and the target, if it is a link."""
        walk = _Walk(self.fd, self.trusted)
        try:
            with self._walk(walk, path, make=False, follow=False) as place:
                name = place.name
            target = walk.trusted_link(name)
            if target is None and not walk.is_roots(name):
                raise Refused(_NOT_ONLY_ROOTS)
            return "/".join(("", *walk.names, name)), target
        except FileNotFoundError:
            raise Refused(_LEADS_NOWHERE) from None
        finally:
            walk.close()

    def read(self, path: str, *, follow: bool = True) -> bytes | None:
        """Return the content of a regular file; None where it is missing.

        Raises Refused for anything that is not a regular file, for one larger than
        ``defs.GUEST_FILE_LIMIT`` and for an unsafe way; OSError where reading fails.
        """
        self._watch(path)
        try:
            with self._find(path, follow=follow) as place:
                return _read_place(place)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_roots_own(self, path: str) -> bytes | None:
        """Return the content of a file that no one but root can change; None where it is missing.

        Raises Refused for one that others can write or exchange, and as ``read`` does; OSError.
        """
        here = self.follow(path)
        self._watch(here)
        walk = _Walk(self.fd, self.trusted)
        try:
            with self._walk(walk, here, make=False, follow=False) as place:
                if not walk.is_roots(place.name):
                    raise Refused(_NOT_ROOTS_OWN)
                return _read_place(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        finally:
            walk.close()

    def text(self, path: str) -> str:
        """Return a file's text with undecodable bytes replaced; empty where it is missing."""
        return (self.read(path) or b"").decode("utf-8", "replace")

    def listdir(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none where it is missing."""
        self._watch(path.rstrip("/") + "/")
        try:
            with self._find(path, follow=True) as place:
                fd = os.open(place.name, _READ | os.O_DIRECTORY, dir_fd=place.fd)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def lowest_folder(self, path: str) -> tuple[str, int | None]:
        """Return the lowest directory on the way to a path that exists, and who owns it.

        The owner is as in ``Place``.  Raises Refused, OSError.
        """
        folder = path.rpartition("/")[0]
        try:
            with self._find(path) as place:
                return folder, place.owner
        except FileNotFoundError:
            return self.lowest_folder(folder)

    def program(self, name: str) -> bool:
        """Tell whether the tree has a program of that base name."""
        return any(self.exists(f"{directory}/{name}") for directory in defs.PROGRAM_DIRS)

    def fingerprint(self, watched: Iterable[str], salt: bytes) -> str:
        """Return a keyed digest of the present state of the paths that were looked at."""
        lines = (f"{path}\0{self._signature(path)}\n" for path in watched)
        return digest("".join(lines).encode("utf-8", "surrogateescape"), key=salt)

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

    def start_over(self) -> None:
        """Forget what was looked at, and close what was kept open for that."""
        self.watched.clear()
        for fd in self._kept.values():
            os.close(fd)
        self._kept.clear()

    def close(self) -> None:
        """Close the tree, unless it is closed already."""
        self.start_over()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        """Close what a caller left open."""
        if hasattr(self, "fd"):  # else there was no such directory
            self.close()


def path_of(directory: int) -> str:
    """Return the path of an open directory, without links: proc_pid_fd(5).  Raises OSError."""
    return os.readlink(f"{defs.OWN_FILES}/{directory}").rstrip("/")


def _check(path: str) -> None:
    """Raise Refused for a path that no file can have: files of the guest may name such, too."""
    try:
        sound = "\0" not in path and (path.isascii() or bool(os.fsencode(path)))
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        sound = False
    if not sound:
        raise Refused(_NO_PATH)


def _components(path: str) -> list[str]:
    """Return the components of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _is_exposed(fd: int, folder: os.stat_result, trusted: frozenset[int]) -> bool:
    """Tell whether others than its owner and root can rename what is in an open directory.

    What a user's own group may do in that user's directory is the user's to say.
    """
    if folder.st_mode & S_ISVTX:
        return False
    if folder.st_mode & 0o002:
        return True
    if folder.st_uid not in trusted or not folder.st_mode & 0o020:
        return False
    return folder.st_gid not in (0, os.getegid()) or _has_acl(fd)


def _has_acl(fd: int) -> bool:
    """Tell whether a directory has an ACL: the bits of its group are those of others then, acl(5).

    ``fd`` may be open for searching alone.
    """
    readable = os.open(".", _READ | os.O_DIRECTORY, dir_fd=fd)
    try:
        os.getxattr(readable, ACL)
        return True
    except OSError as error:
        return error.errno not in (ENODATA, ENOTSUP)
    finally:
        os.close(readable)


def stat_at(folder: int, name: str) -> os.stat_result | None:
    """Return lstat(2) of a name in an open directory; None for none.  Raises OSError."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is_link(name: str, folder: int) -> bool:
    found = stat_at(folder, name)
    return found is not None and S_ISLNK(found.st_mode)


def _read_place(place: Place) -> bytes:
    return read_at(place.fd, place.name, defs.GUEST_FILE_LIMIT, place.owner)


def _make_folder(name: str, parent: int) -> None:
    # The local unit runs with umask 0077: networkd and others could not enter the folder.
    before = os.umask(0o022)
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        pass  # another run made it just now; what it is, the walk sees when it enters
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

    ``owner`` is the user the file must belong to, so that a hard link in a user's directory does
    not give the content of another user's file.  Raises Refused for another kind of file, a
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
