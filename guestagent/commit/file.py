"""Files: staged and renamed by root, or written by a child that has become a user.

Root writes where only root can write.  A file in a directory that a user owns is written as that
user, who can do no more with it than what the user could do anyway.
"""

from __future__ import annotations

import os
from errno import EACCES, EDQUOT, EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOSPC, ENOTDIR, EPERM, EROFS
from stat import S_IFDIR, S_IMODE, S_ISDIR, S_ISREG

from guestagent import defs
from guestagent.errors import Refused
from guestagent.record import NamedTuple
from guestagent.system import ownfiles
from guestagent.system.accounts import find_account, find_group, read_accounts
from guestagent.system.libc import sync_tree
from guestagent.system.ownfiles import NEW_FILE, make_alike, replace, write_all
from guestagent.system.privsep import run_all_as_user
from guestagent.system.root import read_at, stat_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guestagent.model import Account
    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.file import WriteFile
    from guestagent.plan.kinds.script import StageScript
    from guestagent.system.root import Root

# Errors of one path; any other (a full disk, a failing one) stops the whole commit.
_HERE_ONLY = (EROFS, EACCES, EPERM, EEXIST, ENOTDIR, ENAMETOOLONG, ELOOP, EISDIR)
_FULL = (ENOSPC, EDQUOT)
_LISTS = (defs.STAGING_FILE, defs.STAGING_FILE_OF_RUN)
_EXPOSED = (
    "not written: a directory on the way is world-writable, or a group may write to it; "
    "take that right away (chmod go-w)"
)
_NOT_THE_USERS = "Permission denied to its user; check owner and mode of the home directory"
_EXCHANGED = (
    "its staged file was exchanged by another program; not put in place; the next run tries again"
)
_CHANGED = "was changed by another program during the run; the next run tries again"
_MOST_FOLDERS = 32  # that are open at a time for files that are written in them


def divide_by_writer(
    changes: Iterable[WriteFile | StageScript], root: Root, homes: Iterable[str]
) -> tuple[list[WriteFile | StageScript], list[WriteFile]]:
    """Return the changes that root writes, and those that users write.

    ``homes`` are directories that new accounts will own; an empty one is none.
    """
    new = tuple(f"{home}/" for home in homes if home)
    own: list[WriteFile | StageScript] = []
    users = []
    for change in changes:
        if change.kind == "write" and (change.path.startswith(new) or _is_users(change, root)):
            users.append(change)
        else:
            own.append(change)
    return own, users


def _is_users(change: WriteFile, root: Root) -> bool:
    """Tell whether the file is, or will be, in a directory that a user owns."""
    if change.user not in ("", "root"):
        return True
    try:
        _, owner = root.lowest_folder(change.path)
    except (OSError, Refused):
        return False  # staging meets the same, and says why
    return owner is not None


# What root writes


class _Folder:
    """A directory with staged files, reached by the path ``way``: one descriptor serves them all.

    ``fd`` is -1 while it is closed.
    """

    __slots__ = ("fd", "way")

    def __init__(self, way: str, fd: int) -> None:
        self.way, self.fd = way, fd


class _Folders:
    """The directories with staged files, of which few are open at a time, however many there are.

    One that was closed is walked to again; by its staged files it is seen to be the same.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._open: dict[str, _Folder] = {}  # by their paths, the one used last at the end

    def make(self, path: str) -> _Folder:
        """Return the directory that a path is in, which is made if it is missing.

        Raises Refused where others may write to it, OSError.
        """
        way = path.rpartition("/")[0]
        if way in self._open:
            return self._use(self._open[way])
        with self.root.place(path, make=True) as place:
            if place.exposed:
                raise Refused(_EXPOSED)
            folder = _Folder(way, os.dup(place.fd))
        return self._use(folder)

    def descriptor(self, folder: _Folder) -> int:
        """Return the descriptor of a directory with a staged file.  Raises Refused, OSError."""
        if folder.fd < 0:
            with self.root.place(f"{folder.way}/x") as place:
                if place.exposed or place.owner is not None:
                    raise Refused(_EXPOSED)
                folder.fd = os.dup(place.fd)
        return self._use(folder).fd

    def _use(self, folder: _Folder) -> _Folder:
        """Keep a directory open, and close the one that was not used for longest."""
        self._open.pop(folder.way, None)
        self._open[folder.way] = folder
        if len(self._open) > _MOST_FOLDERS:
            self._close(next(iter(self._open)))
        return folder

    def _close(self, way: str) -> None:
        folder = self._open.pop(way)
        os.close(folder.fd)
        folder.fd = -1

    def close(self) -> None:
        """Close all of them."""
        for way in tuple(self._open):
            self._close(way)


class _Staged(NamedTuple):
    """A temporary file that waits for its rename: where it is, its names, and what it is known by.

    It is not kept open, so that a new file may get its inode once it is gone: ``written`` has the
    time of the last change too.
    """

    change: WriteFile | StageScript
    folder: _Folder
    name: str
    temporary: str
    written: os.stat_result

    def check(self, found: os.stat_result) -> None:
        """Raise Refused if what has the temporary name is not the file that was written."""
        if _identity(found) != _identity(self.written):
            raise Refused(_EXCHANGED)


def _identity(file: os.stat_result) -> tuple[int, int, int]:
    return file.st_dev, file.st_ino, file.st_ctime_ns


class Staging:
    """Write files beside their targets, and rename all of them when all are complete.

    ``fail`` is told of each change that cannot be made, and why.
    """

    def __init__(self, root: Root, fail: Callable[[Change, Exception], None]) -> None:
        self.root, self.fail = root, fail
        self.staged: list[_Staged] = []
        self.full: dict[int, OSError] = {}  # devices other than the root's, and what they said
        self._folders = _Folders(root)

    def stage(self, changes: list[WriteFile | StageScript]) -> None:
        """Write the temporary files.  Raises OSError where the file system is full or fails."""
        if not changes:
            return
        names = [_temporary_path(change.path) for change in changes]
        self._leave_list(names)
        for change, path in zip(changes, names, strict=True):
            try:
                if self.full and (known := self.full.get(_device(self.root, change.path))):
                    raise known
                self.staged.append(self._stage_one(change, path.rpartition("/")[2]))
            except Refused as error:
                self.fail(change, error)
            except OSError as error:
                if error.errno in _FULL and is_apart(self.root, change.path, error):
                    self._give_up(change, error)
                elif error.errno not in _HERE_ONLY:
                    raise OSError(error.errno, error.strerror, change.path) from None
                self.fail(change, error)
        sync_tree(self.root.fd)

    def _leave_list(self, names: list[str]) -> None:
        """Write the list that a run that is killed leaves to the next one, for ``clean``."""
        try:
            ownfiles.write(self.root, defs.STAGING_FILE, names, 0o600)
        except OSError as error:
            if not is_apart(self.root, defs.STATE_DIR, error):
                raise
            ownfiles.write(self.root, defs.STAGING_FILE_OF_RUN, names, 0o600)

    def _give_up(self, change: WriteFile | StageScript, error: OSError) -> None:
        """Discard what is staged in the file system of a change, which is full.

        Of all that belongs there nothing is applied, as where there is only one file system.
        """
        full = _device(self.root, change.path)
        self.full[full] = error
        lost = [item for item in self.staged if item.written.st_dev == full]
        self.staged = [item for item in self.staged if item.written.st_dev != full]
        for item in lost:
            self._discard(item)
            self.fail(item.change, error)

    def _stage_one(self, change: WriteFile | StageScript, temporary: str) -> _Staged:
        folder = self._folders.make(change.path)
        name = change.path.rpartition("/")[2]
        found = stat_at(folder.fd, name)
        if found is not None and S_ISDIR(found.st_mode):
            raise Refused("is a directory")
        with self.root.labelled(folder.fd, name):
            fd = os.open(temporary, NEW_FILE, 0o600, dir_fd=folder.fd)
        try:
            write_all(fd, change.new)
            if change.kind == "write" and change.edits and (found or change.old is not None):
                _make_like_old(folder.fd, name, fd, change=change)
            else:
                os.fchmod(fd, change.mode)
            written = os.fstat(fd)
        except (Refused, OSError):
            _unlink(folder.fd, temporary)
            raise
        finally:
            os.close(fd)
        return _Staged(change, folder, name, temporary, written=written)

    def _discard(self, item: _Staged) -> None:
        """Remove a staged file, or what has its name; where its directory is another, nothing."""
        try:
            _unlink(self._folders.descriptor(item.folder), item.temporary)
        except (Refused, FileNotFoundError):
            pass

    def leave_out(self, unwanted: Callable[[Change], bool]) -> None:
        """Discard the staged files of some changes."""
        kept = []
        for item in self.staged:
            if unwanted(item.change):
                self._discard(item)
            else:
                kept.append(item)
        self.staged = kept

    def give_to_owners(self) -> None:
        """Give staged files to the accounts that will own them, which exist by now."""
        kept = []
        known: dict[str, tuple[int, int]] = {}
        for item in self.staged:
            owner = item.change.owner
            try:
                if owner and owner not in known:
                    known[owner] = _find_ids(self.root, owner)
                kept.append(self._give(item, known[owner]) if owner else item)
            except (Refused, OSError) as error:
                self.fail(item.change, error)
                self._discard(item)
        self.staged = kept

    def _give(self, item: _Staged, ids: tuple[int, int]) -> _Staged:
        """Give a file to a user and a group; return it as it is then.  Raises Refused, OSError."""
        fd = _open_file(self._folders.descriptor(item.folder), item.temporary)
        try:
            item.check(os.fstat(fd))
            os.fchown(fd, *ids)
            os.fchmod(fd, item.change.mode)  # chown(2) takes set-user-ID bits away
            return item._replace(written=os.fstat(fd))
        finally:
            os.close(fd)

    def rename(self) -> None:
        """Put all staged files in place."""
        if not self.staged:
            return
        left = []
        for item in self.staged:
            try:
                folder = self._folders.descriptor(item.folder)
                item.check(os.stat(item.temporary, dir_fd=folder, follow_symlinks=False))
                os.rename(item.temporary, item.name, src_dir_fd=folder, dst_dir_fd=folder)
            except (Refused, OSError) as error:
                self.fail(item.change, error)
                left.append(item)
        self.staged = left
        sync_tree(self.root.fd)

    def end(self) -> None:
        """Remove what was staged and not renamed."""
        for item in self.staged:
            self._discard(item)
        self.staged = []
        self._folders.close()
        _remove_lists(self.root)


def _make_like_old(folder: int, name: str, staged: int, *, change: WriteFile) -> None:
    """Give the staged file, which is open, what the file that it edits has.

    Raises Refused if that is not the file that was planned with: the edit would take away what
    another program wrote, or give a user's set-user-ID bit to root's file; OSError.
    """
    try:
        old = _open_file(folder, name)
    except FileNotFoundError:
        raise Refused(_CHANGED) from None
    try:
        found = os.fstat(old)
        same = S_ISREG(found.st_mode) and S_IMODE(found.st_mode) == change.old_mode
        if not same or _read_up_to(old, len(change.old or b"") + 1) != change.old:
            raise Refused(_CHANGED)
        make_alike(staged, old, change.mode)
    finally:
        os.close(old)


def _read_up_to(fd: int, limit: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read(limit)


def _temporary_path(path: str) -> str:
    """Return the staged file's path: beside its target, short, and not to be guessed."""
    return f"{path.rpartition('/')[0]}/{defs.TEMPORARY_PREFIX}{os.urandom(8).hex()}"


def _find_ids(root: Root, owner: str) -> tuple[int, int]:
    """Return the numbers of ``user:group``, either of which may be missing.  Raises Refused."""
    name, _, group = owner.partition(":")
    uid = find_account(root, name).uid if name else 0
    return uid, find_group(root, group) if group else 0


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def clean(root: Root) -> None:
    """Remove what a run that was killed had staged.  Raises OSError."""
    for path in _LISTS:
        listed = ownfiles.read(root, path) if root.exists(path) else None
        for staged in listed if isinstance(listed, list) else ():
            if f"/{defs.TEMPORARY_PREFIX}" in str(staged):  # else the list is damaged
                _clean_one(root, str(staged))
    _remove_lists(root)


def _clean_one(root: Root, path: str) -> None:
    try:
        with root.place(path) as place:
            _unlink(place.fd, place.name)
    except (FileNotFoundError, NotADirectoryError, Refused):
        pass  # killed before the directory was made
    except OSError as error:
        if error.errno != EROFS:
            raise


def was_killed(root: Root) -> bool:
    """Tell whether a run was killed, and left a list of what it had staged."""
    return any(root.exists(path) for path in _LISTS)


def _remove_lists(root: Root) -> None:
    for path in _LISTS:
        try:
            if root.exists(path):
                ownfiles.remove(root, path)
        except OSError as error:
            if error.errno != EROFS:
                raise


def is_apart(root: Root, path: str, error: OSError) -> bool:
    """Tell whether a path cannot be written, while others can: its file system is one of its own.

    A directory may be read-only by a mount of its own (mount(8), bind) within one file system.
    """
    if error.errno not in _FULL:
        return error.errno == EROFS
    return _device(root, path) != os.fstat(root.fd).st_dev


def _device(root: Root, path: str) -> int:
    folder, _ = root.lowest_folder(path)
    with root.place(f"{folder}/x") as place:
        return os.fstat(place.fd).st_dev


# What users write


def write_as_users(
    changes: Iterable[WriteFile], root: Root, fail: Callable[[Change, Exception], None]
) -> None:
    """Write files as the users who own their directories: one child writes all that are a user's.

    ``fail`` is told of each change that cannot be made, and why.
    """
    users = _Users(root)
    found: dict[tuple[int, int], dict[str, list[WriteFile]]] = {}
    for change in changes:
        try:
            top, uid, gid = users.find_writer(change)
        except (Refused, OSError) as error:
            fail(change, error)
        else:
            found.setdefault((uid, gid), {}).setdefault(top, []).append(change)
    for (uid, gid), tops in found.items():
        names = list(tops)
        for first in range(0, len(names), _MOST_FOLDERS):  # their directories are open at a time
            part = {top: tops[top] for top in names[first : first + _MOST_FOLDERS]}
            _write_all_as(uid, gid, part, root=root, fail=fail)


class _Users:
    """The accounts of the tree, read once."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._by_name: dict[str, Account] = {}
        self._by_number: dict[int, Account] = {}

    def find_writer(self, change: WriteFile) -> tuple[str, int, int]:
        """Return a directory on the way to a file that exists, and the user and group who write.

        It is the home of the account that the change names, else the lowest one.  Raises Refused,
        OSError.
        """
        if not self._by_name:
            for account in read_accounts(self._root):
                self._by_name.setdefault(account.name, account)
                self._by_number.setdefault(account.uid, account)
        if change.user not in ("", "root"):
            named = self._by_name.get(change.user)
            if named is None:
                raise Refused(f"there is no account {change.user}")
            top = named.home.rstrip("/")
            if not change.path.startswith(f"{top}/"):
                raise Refused("the account has its home elsewhere")
            return top, named.uid, named.gid
        top, owner = self._root.lowest_folder(change.path)
        if owner not in self._by_number:
            raise Refused("a directory on the way belongs to no account")
        return top, owner, self._by_number[owner].gid


def _write_all_as(
    uid: int,
    gid: int,
    files: dict[str, list[WriteFile]],
    *,
    root: Root,
    fail: Callable[[Change, Exception], None],
) -> None:
    """Write files, by the directories on their way that exist, in a child that becomes the user."""
    items: list[tuple[_Below, WriteFile]] = []
    tops: list[_Below] = []
    try:
        for top, changes in files.items():
            try:
                below = _Below(top, root)
            except (Refused, OSError) as error:
                for change in changes:
                    fail(change, error)
                continue
            tops.append(below)
            items += [(below, change) for change in changes]
        reasons = run_all_as_user(uid, gid, _write_below, items)
        for (_, change), reason in zip(items, reasons, strict=True):
            if reason:
                fail(change, Refused(reason))
    finally:
        for below in tops:
            below.close()


class _Below:
    """A directory below which a child writes, as the user that it has become.

    The folder of the last file stays open: most files are in the same one as the file before.
    """

    def __init__(self, top: str, root: Root) -> None:
        """Open the directory.  Raises Refused where others may write to it, OSError."""
        with root.place(f"{top}/x") as place:
            if place.exposed:
                raise Refused(_EXPOSED)
            self._top = _open_folder(place.fd, ".")
        self.root = root
        self._length = len(top) + 1
        self._here = os.dup(self._top)
        self._folders: list[str] = []

    def close(self) -> None:
        """Close the directory and the last folder."""
        os.close(self._top)
        os.close(self._here)

    def enter(self, path: str) -> tuple[int, str]:
        """Return the folder that a file is in, and the name that it has there.

        Folders are made where they are missing.  Raises Refused, OSError.
        """
        *folders, name = path[self._length :].split("/")
        if folders != self._folders:
            self._go(os.dup(self._top))
            self._folders = []
            for folder in folders:
                self._go_down(folder)
        return self._here, name

    def _go_down(self, name: str) -> None:
        try:
            with self.root.labelled(self._here, name, S_IFDIR):
                os.mkdir(name, 0o700, dir_fd=self._here)
        except FileExistsError:
            pass
        inner = _open_folder(self._here, name)
        if os.fstat(inner).st_uid != os.geteuid():
            os.close(inner)
            raise Refused("a directory on the way belongs to another user")
        self._go(inner)
        self._folders.append(name)

    def _go(self, folder: int) -> None:
        os.close(self._here)
        self._here = folder


def _write_below(item: tuple[_Below, WriteFile]) -> None:
    """Write a file, as the user that this process has become.  Raises Refused, OSError."""
    below, change = item
    try:
        folder, name = below.enter(change.path)
        with below.root.labelled(folder, name):
            _replace_as_planned(folder, name, change)
    except PermissionError:
        raise Refused(_NOT_THE_USERS) from None


def _replace_as_planned(folder: int, name: str, change: WriteFile) -> None:
    """Check that the file is as it was planned with, and replace it.  Raises Refused, OSError."""
    try:
        now = read_at(folder, name, defs.GUEST_FILE_LIMIT, os.geteuid())
    except FileNotFoundError:
        now = None
    if now != change.old:
        raise Refused(_CHANGED)
    if not change.edits or now is None:
        replace(folder, name, change.new, change.mode)
        return
    old = _open_file(folder, name)
    try:
        replace(folder, name, change.new, change.mode, like=old)
    finally:
        os.close(old)


def _open_file(fd: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)


def _open_folder(fd: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
