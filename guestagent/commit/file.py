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
from guestagent.system import ownfiles
from guestagent.system.accounts import find_account, find_group, read_accounts
from guestagent.system.libc import sync_tree
from guestagent.system.ownfiles import NEW_FILE, make_alike, replace, write_all
from guestagent.system.privsep import run_as_user
from guestagent.system.root import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
_FEW = 128  # descriptors that are left for all else


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


class _Staged:
    """A temporary file that waits for its rename: ``fd`` is the file, ``folder`` its directory.

    Both are -1 while it is let go of.
    """

    __slots__ = ("change", "fd", "folder", "name", "status", "temporary")

    def __init__(
        self, change: WriteFile | StageScript, fd: int, folder: int, *, name: str, temporary: str
    ) -> None:
        self.change, self.fd, self.folder = change, fd, folder
        self.name, self.temporary = name, temporary
        self.status = os.fstat(fd)

    def close(self) -> None:
        """Close the file and its directory."""
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self.folder)
        self.fd = self.folder = -1

    def open(self, root: Root) -> None:
        """Reach the file again, if it was let go of.  Raises OSError; Refused for another file."""
        if self.fd >= 0:
            return
        way = self.change.path.rpartition("/")[0]
        with root.place(f"{way}/{self.temporary}") as place:
            if place.exposed or place.owner is not None:
                raise Refused(_EXPOSED)
            self.fd, self.folder = _open_file(place.fd, self.temporary), os.dup(place.fd)
        found = os.fstat(self.fd)
        if (found.st_dev, found.st_ino) != (self.status.st_dev, self.status.st_ino):
            raise Refused(_EXCHANGED)


def _make_room(files: int) -> int:
    """Allow the process to hold so many staged files open, if it may; return how many it can.

    Each takes two descriptors: setrlimit(2).
    """
    if files < _FEW:
        return files
    from resource import RLIMIT_NOFILE, getrlimit, setrlimit

    taken = len(os.listdir(defs.OWN_FILES)) + _FEW
    soft, hard = getrlimit(RLIMIT_NOFILE)
    most = min(hard, max(soft, taken + 2 * files))
    setrlimit(RLIMIT_NOFILE, (most, hard))
    return max(0, (most - taken) // 2)


class Staging:
    """Write files beside their targets, and rename all of them when all are complete.

    ``fail`` is told of each change that cannot be made, and why.
    """

    def __init__(self, root: Root, fail: Callable[[Change, Exception], None]) -> None:
        self.root, self.fail = root, fail
        self.staged: list[_Staged] = []
        self.full: dict[int, OSError] = {}  # devices other than the root's, and what they said

    def stage(self, changes: list[WriteFile | StageScript]) -> None:
        """Write the temporary files.  Raises OSError where the file system is full or fails."""
        if not changes:
            return
        names = [_temporary_path(change.path) for change in changes]
        room = _make_room(len(changes))
        self._leave_list(names)
        for change, path in zip(changes, names, strict=True):
            try:
                if self.full and (known := self.full.get(_device(self.root, change.path))):
                    raise known
                self.staged.append(self._stage_one(change, path.rpartition("/")[2]))
                if len(self.staged) > room:
                    self.staged[-1].close()
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
        for item in tuple(self.staged):
            if item.status.st_dev == full:
                self.staged.remove(item)
                self._discard(item)
                self.fail(item.change, error)

    def _stage_one(self, change: WriteFile | StageScript, temporary: str) -> _Staged:
        with self.root.place(change.path, make=True) as place:
            found = place.stat()
            if found is not None and S_ISDIR(found.st_mode):
                raise Refused("is a directory")
            if place.exposed:
                raise Refused(_EXPOSED)
            with self.root.labelled(place.fd, place.name):
                fd = os.open(temporary, NEW_FILE, 0o600, dir_fd=place.fd)
            folder = os.dup(place.fd)
        staged = _Staged(change, fd, folder, name=place.name, temporary=temporary)
        try:
            write_all(fd, change.new)
            if change.kind == "write" and change.edits and (found or change.old is not None):
                _make_like_old(staged, change)
            else:
                os.fchmod(fd, change.mode)
        except (Refused, OSError):
            self._discard(staged)
            raise
        return staged

    def _discard(self, item: _Staged) -> None:
        """Remove a staged file; one that cannot be reached again is not ours any more."""
        try:
            item.open(self.root)
            _unlink(item.folder, item.temporary)
        except (Refused, FileNotFoundError):
            pass
        finally:
            item.close()

    def leave_out(self, unwanted: Callable[[Change], bool]) -> None:
        """Discard the staged files of some changes."""
        for item in tuple(self.staged):
            if unwanted(item.change):
                self.staged.remove(item)
                self._discard(item)

    def give_to_owners(self) -> None:
        """Give staged files to the accounts that will own them, which exist by now."""
        kept = []
        for item in self.staged:
            held = item.fd >= 0
            try:
                self._give(item)
                kept.append(item)
            except (Refused, OSError) as error:
                self.fail(item.change, error)
                self._discard(item)
            if not held:
                item.close()
        self.staged = kept

    def _give(self, item: _Staged) -> None:
        name, _, group = item.change.owner.partition(":")
        if not name and not group:
            return
        uid = find_account(self.root, name).uid if name else 0
        gid = find_group(self.root, group) if group else 0
        item.open(self.root)
        os.fchown(item.fd, uid, gid)
        os.fchmod(item.fd, item.change.mode)  # chown(2) takes set-user-ID bits away

    def rename(self) -> None:
        """Put all staged files in place."""
        if not self.staged:
            return
        for item in self.staged:
            held = item.fd >= 0
            try:
                item.open(self.root)
                _check_same(item)
                folder = item.folder
                os.rename(item.temporary, item.name, src_dir_fd=folder, dst_dir_fd=folder)
            except (Refused, OSError) as error:
                self.fail(item.change, error)
            if not held:
                item.close()
        sync_tree(self.root.fd)

    def end(self) -> None:
        """Remove what was staged and not renamed."""
        for item in self.staged:
            self._discard(item)
        self.staged = []
        _remove_lists(self.root)


def _make_like_old(staged: _Staged, change: WriteFile) -> None:
    """Give the staged file what the file that it edits has.

    Raises Refused if that is not the file that was planned with: the edit would take away what
    another program wrote, or give a user's set-user-ID bit to root's file; OSError.
    """
    try:
        old = _open_file(staged.folder, staged.name)
    except FileNotFoundError:
        raise Refused(_CHANGED) from None
    try:
        found = os.fstat(old)
        same = S_ISREG(found.st_mode) and S_IMODE(found.st_mode) == change.old_mode
        if not same or _read_up_to(old, len(change.old or b"") + 1) != change.old:
            raise Refused(_CHANGED)
        make_alike(staged.fd, old, change.mode)
    finally:
        os.close(old)


def _read_up_to(fd: int, limit: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        return file.read(limit)


def _temporary_path(path: str) -> str:
    """Return the staged file's path: beside its target, short, and not to be guessed."""
    return f"{path.rpartition('/')[0]}/{defs.TEMPORARY_PREFIX}{os.urandom(8).hex()}"


def _check_same(item: _Staged) -> None:
    """Raise Refused if the staged name no longer leads to the file that was written."""
    there = os.stat(item.temporary, dir_fd=item.folder, follow_symlinks=False)
    written = os.fstat(item.fd)
    if (there.st_dev, there.st_ino) != (written.st_dev, written.st_ino):
        raise Refused(_EXCHANGED)


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


def write_as_user(change: WriteFile, root: Root) -> None:
    """Write the file as the user who owns the directory.  Raises Refused, OSError."""
    if change.user not in ("", "root"):
        account = find_account(root, change.user)
        top, uid, gid = account.home.rstrip("/"), account.uid, account.gid
    else:
        top, uid, gid = _find_owner(change.path, root)
    if not change.path.startswith(f"{top}/"):
        raise Refused("the account has its home elsewhere")
    *folders, name = change.path[len(top) + 1 :].split("/")
    with root.place(f"{top}/x") as place:
        if place.exposed:
            raise Refused(_EXPOSED)
        start = _open_folder(place.fd, ".")
    try:
        run_as_user(uid, gid, lambda: _write_as_its_user(start, folders, name, change, root=root))
    finally:
        os.close(start)


def _find_owner(path: str, root: Root) -> tuple[str, int, int]:
    """Return the lowest directory on the way that exists, with the user and group who own it."""
    top, owner = root.lowest_folder(path)
    for account in read_accounts(root):
        if account.uid == owner:
            return top, account.uid, account.gid
    raise Refused("a directory on the way belongs to no account")


def _open_file(fd: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)


def _open_folder(fd: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)


def _write_as_its_user(
    start: int, folders: list[str], name: str, change: WriteFile, *, root: Root
) -> None:
    """Write the file, as the user that this process has become.  Raises Refused, OSError."""
    try:
        _write_below(start, folders, name, change, root=root)
    except PermissionError:
        raise Refused(_NOT_THE_USERS) from None


def _write_below(
    start: int, folders: list[str], name: str, change: WriteFile, *, root: Root
) -> None:
    """Make the folders, check that the file is as planned, replace it; as the user."""
    here = start
    for folder in folders:
        try:
            with root.labelled(here, folder, S_IFDIR):
                os.mkdir(folder, 0o700, dir_fd=here)
        except FileExistsError:
            pass
        here = _open_folder(here, folder)
        if os.fstat(here).st_uid != os.geteuid():
            raise Refused("a directory on the way belongs to another user")
    try:
        now = read_at(here, name, defs.GUEST_FILE_LIMIT, os.geteuid())
    except FileNotFoundError:
        now = None
    if now != change.old:
        raise Refused(_CHANGED)
    old = _open_file(here, name) if change.edits and now is not None else None
    with root.labelled(here, name):
        replace(here, name, change.new, change.mode, like=old)
