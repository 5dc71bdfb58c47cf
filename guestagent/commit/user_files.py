"""Files in directories that a user owns: written by a child that has become that user."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Refused
from guestagent.system.accounts import find_account, read_accounts
from guestagent.system.atomic import replace
from guestagent.system.privsep import run_as_user
from guestagent.system.root import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.plan.changes import WriteFile
    from guestagent.plan.kinds.account import User
    from guestagent.system.root import Root


def user_owned(root: Root, change: WriteFile) -> bool:
    """True where the file lies, or will lie, in a directory that a user owns."""
    if change.user not in ("", "root"):
        return True
    try:
        return _standing(root, change.path)[1] is not None
    except (OSError, Refused):
        return False


def new_homes(root: Root, users: Iterable[User]) -> tuple[str, ...]:
    """The homes that useradd(8) will make for new accounts, each with a slash at its end."""
    return tuple(f"{u.home}/" for u in users if u.makes_home and not root.exists(u.home))


def is_users(root: Root, change: WriteFile, homes: tuple[str, ...]) -> bool:
    """True for a file that has to be written as a user, one that is made in this run also."""
    return change.kind == "write" and (change.path.startswith(homes) or user_owned(root, change))


def write_as_user(root: Root, change: WriteFile) -> None:
    """Write the file as the user who owns the directory.  Raises Refused, OSError."""
    if change.user not in ("", "root"):
        account = find_account(root, change.user)
        top, uid, gid = account.home.rstrip("/"), account.uid, account.gid
    else:
        top, uid, gid = _owner(root, change.path)
    if not change.path.startswith(top + "/"):
        raise Refused("the account has its home elsewhere")
    *folders, name = change.path[len(top) + 1 :].split("/")
    with root.place(f"{top}/x") as place:
        if place.exposed:
            raise Refused("everybody may write to a directory on the way")
        start = _directory(place.fd, ".")
    try:
        run_as_user(uid, gid, lambda: _write_below(start, folders, name, change))
    finally:
        os.close(start)


def _owner(root: Root, path: str) -> tuple[str, int, int]:
    """The lowest folder on the way that is there, and the user who owns it."""
    top, owner = _standing(root, path)
    for account in read_accounts(root):
        if account.uid == owner:
            return top, account.uid, account.gid
    raise Refused("a directory on the way belongs to no account")


def _standing(root: Root, path: str) -> tuple[str, int | None]:
    try:
        with root.place(path) as place:
            return path.rpartition("/")[0], place.owner
    except FileNotFoundError:
        return _standing(root, path.rpartition("/")[0])


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
