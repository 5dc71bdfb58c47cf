"""The only writer: carries out a plan.

Files are committed in two phases.  All new contents are staged as temporary files, with
their final owner and mode, and synced; only then are they renamed into place and synced
again.  A failure while staging leaves the tree as it was; a run that is killed leaves
each file old or new, and the next run removes what was staged and finishes.
"""

from __future__ import annotations

import os
from errno import EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, EPERM, EROFS
from stat import S_ISDIR

from guestagent import defs
from guestagent.commit.user_files import is_users, new_homes, write_as_user
from guestagent.errors import AccountsLocked, FieldError, Problem, Refused
from guestagent.memory import note
from guestagent.system import ownfiles
from guestagent.system.accounts import find_account, find_group
from guestagent.system.atomic import NEW_FILE, write_all
from guestagent.system.digest import digest
from guestagent.system.jsontext import loads
from guestagent.system.libc import sync_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from guestagent.commit.shadow import Shadow
    from guestagent.plan.changes import (
        AddEntropy,
        Change,
        MakeHostKeys,
        MakeLink,
        RemoveFile,
        SetHostname,
        WriteFile,
    )
    from guestagent.system.root import Root

# Errors of one path; any other (a full disk, a failing one) stops the whole commit.
_HERE_ONLY = (EROFS, EACCES, EPERM, ENOTDIR, ENAMETOOLONG, ELOOP, EISDIR)


class _Staged:
    """A temporary file that waits for its rename; ``fd`` is its directory."""

    __slots__ = ("change", "fd", "name", "temporary")

    def __init__(self, change: WriteFile, fd: int, name: str, temporary: str) -> None:
        self.change, self.fd, self.name, self.temporary = change, fd, name, temporary


def commit(
    changes: tuple[Change, ...], root: Root, instance: str = ""
) -> list[tuple[Change, Problem]]:
    """Carry out all changes; those that failed come back, each with its problem.

    ``instance`` is the id of the instance that the changes are for.  Raises OSError where files
    cannot be staged: nothing has changed then.  Raises AccountsLocked where another program holds
    the lock of the user database while accounts are made.
    """
    clean(root)
    return _Commit(root, instance).run(changes)


def clean(root: Root) -> None:
    """Remove what a run that was killed had staged.  Raises OSError."""
    content = root.read(defs.STAGING_FILE)
    if content is None:
        return
    for path in _staged_paths(content):
        try:
            with root.place(path) as place:
                _unlink(place.fd, place.name)
        except (FileNotFoundError, NotADirectoryError, Refused):
            pass  # killed before the directory was made
    ownfiles.remove(root, defs.STAGING_FILE)


def _staged_paths(content: bytes) -> list[str]:
    try:
        paths = loads(content)
    except FieldError:
        return []
    mark = "/" + defs.TEMPORARY_PREFIX
    return [str(path) for path in paths if mark in str(path)] if isinstance(paths, list) else []


def _unlink(fd: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=fd)
    except FileNotFoundError:
        pass


class _Commit:
    def __init__(self, root: Root, instance: str) -> None:
        self.root, self.instance = root, instance
        self.staged: list[_Staged] = []
        self.failed: list[tuple[Change, Problem]] = []

    def run(self, changes: tuple[Change, ...]) -> list[tuple[Change, Problem]]:
        """Stage, make accounts, rename, then do the rest in order."""
        writes = [change for change in changes if change.kind in ("write", "step")]
        added = [change.user for change in changes if change.kind == "add_user"]
        homes = new_homes(self.root, added)
        users = [change for change in writes if is_users(self.root, change, homes)]
        mine = [change for change in writes if change not in users]
        later = [change for change in changes if change.kind == "write_later"]
        if later:
            from guestagent.commit.later import step

            carrier = step(later, self.instance)
            mine.append(carrier)
        shadow = self._shadow(changes)
        try:
            self._stage(mine)
            self._note(changes)
            for kind, action in shadow.before.items() if shadow else ():
                self._each(changes, {kind: action})
            self._own()
            self._rename()
        finally:
            self._forget()
        self._each(users, {"write": lambda change: write_as_user(self.root, change)})
        if later and any(change is carrier for change, _ in self.failed):
            reason = f"{carrier.path} could not be written"
            self.failed += [(item, Problem("error", *item.why, reason)) for item in later]
        written = {change.path for change in mine}
        self._each(
            (change for change in changes if change.kind != "remove" or change.path not in written),
            {
                "remove": self._remove_file,
                "link": self._make_link,
                "make_host_keys": self._make_host_keys,
                **(shadow.after if shadow else {}),
                "set_hostname": self._set_hostname,
                "add_entropy": self._add_entropy,
            },
            # The files are in place, and what they are for must be remembered.
            (Refused, OSError, AccountsLocked),
        )
        return self.failed

    def _shadow(self, changes: tuple[Change, ...]) -> Shadow | None:
        kinds = ("add_", "set_password", "set_console", "expire_", "lock_")
        if not any(change.kind.startswith(kinds) for change in changes):
            return None
        from guestagent.commit.shadow import Shadow

        return Shadow(self.root)

    def _each(
        self,
        changes: Iterable[Change],
        actions: dict[str, Callable[[Any], None]],
        errors: tuple[type[Exception], ...] = (Refused, OSError),
    ) -> None:
        """Carry out changes of some kinds; ``errors`` are those of one change alone."""
        for change in changes:
            if change.kind in actions:
                try:
                    actions[change.kind](change)
                except errors as error:
                    self._fail(change, error)

    def _fail(self, change: Change, error: Exception) -> None:
        reason, path = str(error), getattr(change, "path", "")
        if isinstance(error, OSError):
            reason = error.strerror or "input/output error"
            path = path or error.filename or ""
        text = f"{path}: {reason}" if path else reason
        self.failed.append((change, Problem("error", *change.why, text)))

    def _stage(self, changes: list[WriteFile]) -> None:
        if not changes:
            return
        names = [_temporary_path(change.path) for change in changes]
        ownfiles.write(self.root, defs.STAGING_FILE, names, 0o600)
        for change in changes:
            try:
                self.staged.append(self._stage_one(change))
            except Refused as error:
                self._fail(change, error)
            except OSError as error:
                if error.errno not in _HERE_ONLY:
                    raise OSError(error.errno, error.strerror, change.path) from None
                self._fail(change, error)
        sync_tree(self.root.fd)

    def _stage_one(self, change: WriteFile) -> _Staged:
        with self.root.place(change.path, make=True) as place:
            found = place.stat()
            if found is not None and S_ISDIR(found.st_mode):
                raise Refused("a directory stands there")
            if place.exposed:
                raise Refused("everybody may write to a directory on the way")
            temporary = _temporary_path(change.path).rpartition("/")[2]
            fd = os.open(temporary, NEW_FILE, 0o600, dir_fd=place.fd)
            staged = _Staged(change, os.dup(place.fd), place.name, temporary)
            try:
                write_all(fd, change.new)
                os.fchmod(fd, change.mode)
            except OSError:
                _unlink(place.fd, temporary)
                os.close(staged.fd)
                raise
            finally:
                os.close(fd)
        return staged

    def _note(self, changes: Iterable[Change]) -> None:
        """Leave word of what could not be told from what was there, if this run is killed."""
        appended = {
            change.path: digest(change.new)
            for change in changes
            if change.kind == "write" and change.append
        }
        made = [change.user.name for change in changes if change.kind == "add_user"]
        if appended or made or any(change.kind in ("step", "write_later") for change in changes):
            before = note.read(self.root, self.instance)
            appended = before.appended | appended
            accounts = tuple(sorted({*before.accounts, *made}))
            note.write(self.root, note.Note(appended, accounts, self.instance))

    def _own(self) -> None:
        """Give staged files to the accounts that shall have them, which exist by now."""
        for item in [item for item in self.staged if item.change.owner]:
            try:
                uid, gid = self._ids(item.change.owner)
                fd = os.open(item.temporary, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=item.fd)
                try:
                    os.fchown(fd, uid, gid)
                    os.fchmod(fd, item.change.mode)
                finally:
                    os.close(fd)
            except (Refused, OSError) as error:
                self._fail(item.change, error)
                self.staged.remove(item)
                _unlink(item.fd, item.temporary)
                os.close(item.fd)

    def _ids(self, owner: str) -> tuple[int, int]:
        name, _, group = owner.partition(":")
        uid = find_account(self.root, name).uid if name else 0
        gid = find_group(self.root, group) if group else 0
        return uid, gid

    def _rename(self) -> None:
        if not self.staged:
            return
        for item in self.staged:
            try:
                os.rename(item.temporary, item.name, src_dir_fd=item.fd, dst_dir_fd=item.fd)
            except OSError as error:
                self._fail(item.change, error)
        sync_tree(self.root.fd)

    def _forget(self) -> None:
        """Nothing is staged any more: remove what was not renamed, close the directories."""
        for item in self.staged:
            _unlink(item.fd, item.temporary)
            os.close(item.fd)
        if self.root.exists(defs.STAGING_FILE):
            ownfiles.remove(self.root, defs.STAGING_FILE)
        self.staged = []

    def _remove_file(self, change: RemoveFile) -> None:
        with self.root.place(change.path) as place:
            if place.owner is not None:
                raise Refused("lies in a directory that a user owns; it stays")
            _unlink(place.fd, place.name)

    def _make_link(self, change: MakeLink) -> None:
        with self.root.place(change.path, make=True) as place:
            found = place.stat()
            if place.owner is not None or place.exposed:
                raise Refused("lies in a directory that others than root may write to")
            if found is not None and S_ISDIR(found.st_mode):
                raise Refused("a directory stands there")
            temporary = _temporary_path(change.path).rpartition("/")[2]
            _unlink(place.fd, temporary)
            os.symlink(change.target, temporary, dir_fd=place.fd)
            os.rename(temporary, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)

    def _make_host_keys(self, change: MakeHostKeys) -> None:
        from guestagent.commit.host_keys import make_host_keys

        make_host_keys(self.root, change)

    def _set_hostname(self, change: SetHostname) -> None:
        from guestagent.system.machine import set_hostname

        set_hostname(change.new)

    def _add_entropy(self, change: AddEntropy) -> None:
        fd = os.open(defs.RANDOM_DEVICE, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(fd, change.content)
        finally:
            os.close(fd)


def _temporary_path(path: str) -> str:
    """The staged file's name: beside its target, short, and the same in every run."""
    return f"{path.rpartition('/')[0]}/{defs.TEMPORARY_PREFIX}{digest(path.encode())[:12]}"
