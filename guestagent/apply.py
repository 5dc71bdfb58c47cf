"""The only writer: carries out a plan.

Files are committed in two phases.  All new contents are staged as temporary files, with
their final owner and mode, and synced; only then are they renamed into place and synced
again.  A failure while staging leaves the tree as it was; a run that is killed leaves
each file old or new, and the next run removes what was staged and finishes.
"""

from __future__ import annotations

import os
import time
from errno import EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, EPERM, EROFS
from stat import S_ISDIR

from guestagent import defs, state
from guestagent.errors import AccountsLocked, FieldError, Problem, Refused
from guestagent.facts import accounts
from guestagent.jsontext import loads
from guestagent.privsep import NEW_FILE, as_user, replace, write_all
from guestagent.root import read_at
from guestagent.system import sync_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from guestagent.changes import (
        AddEntropy,
        AddUser,
        Change,
        MakeHostKeys,
        RemoveFile,
        SetConsolePassword,
        SetHostname,
        WriteFile,
    )
    from guestagent.model import Account, Secret
    from guestagent.root import Root

# Errors of one path; any other (a full disk, a failing one) stops the whole commit.
_HERE_ONLY = (EROFS, EACCES, EPERM, ENOTDIR, ENAMETOOLONG, ELOOP, EISDIR)
_LOCKED = 1  # chpasswd(8), and 10 for useradd(8) where the group file is locked
_USERADD_LOCKED = (1, 10)


class _Staged:
    """A temporary file that waits for its rename; ``fd`` is its directory."""

    __slots__ = ("change", "fd", "name", "temporary")

    def __init__(self, change: WriteFile, fd: int, name: str, temporary: str) -> None:
        self.change, self.fd, self.name, self.temporary = change, fd, name, temporary


def commit(changes: tuple[Change, ...], root: Root) -> list[tuple[Change, Problem]]:
    """Carry out all changes; those that failed come back, each with its problem.

    Raises OSError where files cannot be staged: nothing has changed then.  Raises
    AccountsLocked where another program holds the lock of the user database.
    """
    clean(root)
    return _Commit(root).run(changes)


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
    unlink(root, defs.STAGING_FILE)


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


def unlink(root: Root, path: str) -> None:
    """Remove one of guestagent's own files, which may be gone.  Raises OSError, Refused."""
    with root.place(path) as place:
        _unlink(place.fd, place.name)


class _Commit:
    def __init__(self, root: Root) -> None:
        self.root = root
        self.staged: list[_Staged] = []
        self.failed: list[tuple[Change, Problem]] = []

    def run(self, changes: tuple[Change, ...]) -> list[tuple[Change, Problem]]:
        """Stage, make accounts, rename, then do the rest in order."""
        writes = [change for change in changes if change.kind == "write"]
        users = [change for change in writes if self._user_owned(change)]
        mine = [change for change in writes if change not in users]
        try:
            self._stage(mine)
            self._each(changes, {"add_user": self._add_user})
            self._rename()
        finally:
            self._forget()
        self._each(users, {"write": self._write_as_user})
        self._each(
            changes,
            {
                "remove": self._remove_file,
                "make_host_keys": self._make_host_keys,
                "set_password": lambda change: self._set_password(change.name, change.secret),
                "set_console_password": self._set_console_password,
                "lock_password": lambda change: self._tool(
                    "usermod", ["--lock", change.name], b"", (_LOCKED,)
                ),
                "set_hostname": self._set_hostname,
                "add_entropy": self._add_entropy,
            },
        )
        return self.failed

    def _each(self, changes: Iterable[Change], actions: dict[str, Callable[[Any], None]]) -> None:
        for change in changes:
            if change.kind in actions:
                try:
                    actions[change.kind](change)
                except (Refused, OSError) as error:
                    self._fail(change, error)

    def _fail(self, change: Change, error: Exception) -> None:
        reason, path = str(error), getattr(change, "path", "")
        if isinstance(error, OSError):
            reason = error.strerror or "input/output error"
            path = path or error.filename or ""
        text = f"{path}: {reason}" if path else reason
        self.failed.append((change, Problem("error", *change.why, text)))

    def _user_owned(self, change: WriteFile) -> bool:
        """True where the file lies, or will lie, in a directory that a user owns."""
        if change.user not in ("", "root"):
            return True
        try:
            return self._standing(change.path)[1] is not None
        except (OSError, Refused):
            return False

    def _stage(self, changes: list[WriteFile]) -> None:
        if not changes:
            return
        names = [_temporary_path(change.path) for change in changes]
        state.write(self.root, defs.STAGING_FILE, names, 0o600)
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
            unlink(self.root, defs.STAGING_FILE)
        self.staged = []

    def _account(self, name: str) -> Account:
        for account in accounts(self.root):
            if account.name == name:
                return account
        raise Refused(f"there is no account {name}")

    def _write_as_user(self, change: WriteFile) -> None:
        if change.user not in ("", "root"):
            account = self._account(change.user)
            top, uid, gid = account.home.rstrip("/"), account.uid, account.gid
        else:
            top, uid, gid = self._owner(change.path)
        if not change.path.startswith(top + "/"):
            raise Refused("the account has its home elsewhere")
        *folders, name = change.path[len(top) + 1 :].split("/")
        with self.root.place(f"{top}/x") as place:
            if place.exposed:
                raise Refused("everybody may write to a directory on the way")
            start = _directory(place.fd, ".")
        try:
            as_user(uid, gid, lambda: _write_below(start, folders, name, change))
        finally:
            os.close(start)

    def _owner(self, path: str) -> tuple[str, int, int]:
        """The lowest folder on the way that is there, and the user who owns it."""
        top, owner = self._standing(path)
        for account in accounts(self.root):
            if account.uid == owner:
                return top, account.uid, account.gid
        raise Refused("a directory on the way belongs to no account")

    def _standing(self, path: str) -> tuple[str, int | None]:
        try:
            with self.root.place(path) as place:
                return path.rpartition("/")[0], place.owner
        except FileNotFoundError:
            return self._standing(path.rpartition("/")[0])

    def _remove_file(self, change: RemoveFile) -> None:
        with self.root.place(change.path) as place:
            if place.owner is not None:
                raise Refused("lies in a directory that a user owns; it stays")
            _unlink(place.fd, place.name)

    def _tool(self, name: str, argv: list[str], stdin: bytes, locked: tuple[int, ...]) -> None:
        """Run a tool of shadow(5) for the tree; wait while another program holds the lock."""
        from guestagent.run import program, run

        tool = program(name)
        if tool is None:
            raise Refused(f"needs {name}, which is not installed")
        offline = [] if self.root.live else ["--root", self.root.path]
        deadline = time.monotonic() + defs.LOCK_WAIT
        while (result := run([tool, *offline, *argv], stdin)).status:
            busy = result.status in locked and b"lock" in result.errors
            if busy and time.monotonic() > deadline:
                raise AccountsLocked(f"{name}: the user database is locked")
            if not busy:
                raise Refused(f"{name}: {result.reason()}")
            time.sleep(0.2)

    def _add_user(self, change: AddUser) -> None:
        user = change.user
        argv = ["--create-home", "--shell", user.shell, "--comment", user.gecos]
        argv += ["--groups", ",".join(user.groups)] if user.groups else []
        self._tool("useradd", [*argv, user.name], b"", _USERADD_LOCKED)

    def _set_password(self, name: str, secret: Secret) -> None:
        self._account(name)
        line = f"{name}:{secret.reveal()}\n".encode()
        self._tool("chpasswd", self._crypt_method(), line, (_LOCKED,))

    def _set_console_password(self, change: SetConsolePassword) -> None:
        from guestagent.consolepassword import make

        make(change, self.root, self._set_password)

    def _crypt_method(self) -> list[str]:
        """An offline tree's own method, login.defs(5); PAM would run the tree's modules."""
        if self.root.live:
            return []
        lines = (line.split() for line in self.root.text(defs.LOGIN_DEFS).splitlines())
        yescrypt = ["ENCRYPT_METHOD", "YESCRYPT"] in lines
        return ["--crypt-method", "YESCRYPT" if yescrypt else "SHA512"]

    def _make_host_keys(self, change: MakeHostKeys) -> None:
        from guestagent.hostkeys import make_host_keys

        make_host_keys(self.root, change.types)

    def _set_hostname(self, change: SetHostname) -> None:
        from _socket import sethostname

        sethostname(change.new)

    def _add_entropy(self, change: AddEntropy) -> None:
        fd = os.open(defs.RANDOM_DEVICE, os.O_WRONLY | os.O_CLOEXEC)
        try:
            write_all(fd, change.content)
        finally:
            os.close(fd)


def _temporary_path(path: str) -> str:
    """The staged file's name: beside its target, short, and the same in every run."""
    from guestagent.changes import digest

    return f"{path.rpartition('/')[0]}/{defs.TEMPORARY_PREFIX}{digest(path.encode())[:12]}"


def _directory(fd: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)


def _write_below(start: int, folders: list[str], name: str, change: WriteFile) -> None:
    """Runs as the user: make the folders, check that the file is as planned, replace it."""
    here = start
    for folder in folders:
        try:
            os.mkdir(folder, 0o700, dir_fd=here)
        except FileExistsError:
            pass
        here = _directory(here, folder)
        if os.fstat(here).st_uid != os.geteuid():
            raise Refused("a directory on the way belongs to another user")
    try:
        now = read_at(here, name, defs.GUEST_FILE_LIMIT, os.geteuid())
    except FileNotFoundError:
        now = None
    if now != change.old:
        raise Refused("changed while the run went on")
    replace(here, name, change.new, change.mode)
