"""Home directories: made whole, as useradd(8) makes them, where that could not."""

from __future__ import annotations

import os
from stat import S_IFDIR, S_IFLNK, S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from guestagent import defs
from guestagent.errors import Refused
from guestagent.plan.kinds.home import is_blank, is_whole, skeleton_folder
from guestagent.system.accounts import find_account
from guestagent.system.digest import digest
from guestagent.system.libc import sync_tree
from guestagent.system.ownfiles import replace
from guestagent.system.privsep import run_as_user
from guestagent.system.root import path_of, read_at, stat_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.model import Account
    from guestagent.plan.kinds.home import MakeHome
    from guestagent.system.root import Place, Root

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CONSEQUENCE = "the account has no home directory, so no key lets it in; the next run tries again"
_USUAL_UMASK = 0o022


def carry_out(change: MakeHome, root: Root) -> None:
    """Make the home directory of an account, or what is missing in one that is not complete.

    Raises Refused.
    """
    account = find_account(root, change.name)
    home = account.home.rstrip("/")
    try:
        with root.place(home, make=True) as place:
            if place.owner is not None or place.exposed:
                raise Refused("others than root may write to the directory above it")
            _make_at(root, place, account)
    except (OSError, Refused) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{home}: {reason}; {_CONSEQUENCE}") from None


def _make_at(root: Root, place: Place, account: Account) -> None:
    found = place.stat()
    parent = os.open(".", _FOLDER, dir_fd=place.fd)
    skeleton = _open_skeleton(root)
    try:
        if found is None or _is_free(place, root, account):
            _build(root, parent, place.name, skeleton=skeleton, account=account)
        elif skeleton is not None and found.st_uid == account.uid and not is_whole(root, account):
            _fill(root, parent, place.name, skeleton=skeleton, account=account)
    finally:
        os.close(parent)
        if skeleton is not None:
            os.close(skeleton)


def _is_free(place: Place, root: Root, account: Account) -> bool:
    """Tell whether useradd was killed before it gave the directory to the account."""
    found = place.stat()
    if found is None or not S_ISDIR(found.st_mode):
        return False
    if found.st_uid not in root.trusted or found.st_uid == account.uid:
        return False
    fd = os.open(place.name, _FOLDER, dir_fd=place.fd)
    try:
        return not os.listdir(fd)
    finally:
        os.close(fd)


def _open_skeleton(root: Root) -> int | None:
    """Return the directory whose files a new home gets; None where there is none."""
    try:
        with root.place(f"{skeleton_folder(root)}/x") as place:
            return os.open(".", _FOLDER, dir_fd=place.fd)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _build(root: Root, parent: int, name: str, *, skeleton: int | None, account: Account) -> None:
    """Fill a directory that only root can enter, and rename it: a home is whole or missing."""
    temporary = f"{defs.TEMPORARY_PREFIX}{digest(name.encode())[:12]}"
    _remove(parent, temporary)  # that of a run that was killed
    path = f"{path_of(parent)}/{name}"
    with root.labelled_as(path, S_IFDIR):
        os.mkdir(temporary, 0o700, dir_fd=parent)
    fd = os.open(temporary, _FOLDER, dir_fd=parent)
    try:
        if skeleton is not None:
            _copy(root, skeleton, fd, path=path, owner=(account.uid, account.gid))
        os.fchown(fd, account.uid, account.gid)
        os.fchmod(fd, _mode(root))
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        _remove(parent, temporary)
        raise
    finally:
        os.close(fd)


def _fill(root: Root, parent: int, name: str, *, skeleton: int, account: Account) -> None:
    """Copy, as the user, what useradd had not copied when it was killed."""
    fd = os.open(name, _FOLDER, dir_fd=parent)
    try:
        os.fchmod(fd, _mode(root))
        path = path_of(fd)
        run_as_user(
            account.uid,
            account.gid,
            lambda: _copy(root, skeleton, fd, path=path, owner=None),
        )
    finally:
        os.close(fd)


def _copy(
    root: Root, source: int, target: int, *, path: str, owner: tuple[int, int] | None
) -> None:
    """Copy the entries that are missing or blank; give them to an owner unless it is None.

    ``path`` is the one that the target will have.
    """
    for name in sorted(os.listdir(source)):
        model = os.stat(name, dir_fd=source, follow_symlinks=False)
        if S_ISDIR(model.st_mode):
            _copy_folder(root, source, target, path=f"{path}/{name}", owner=owner)
        elif S_ISLNK(model.st_mode):
            if _exists(target, name):
                continue
            with root.labelled_as(f"{path}/{name}", S_IFLNK):
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif S_ISREG(model.st_mode):
            if _exists(target, name, empty=model.st_size == 0):
                continue
            content = read_at(source, name, defs.GUEST_FILE_LIMIT)
            with root.labelled_as(f"{path}/{name}"):
                replace(target, name, content, S_IMODE(model.st_mode), durable=False)
        else:
            continue
        if owner is not None:
            os.chown(name, *owner, dir_fd=target, follow_symlinks=False)


def _copy_folder(
    root: Root, source: int, target: int, *, path: str, owner: tuple[int, int] | None
) -> None:
    name = path.rpartition("/")[2]
    model = os.open(name, _FOLDER, dir_fd=source)
    try:
        if not _exists(target, name):
            with root.labelled_as(path, S_IFDIR):
                os.mkdir(name, 0o700, dir_fd=target)
        copy = os.open(name, _FOLDER, dir_fd=target)
        try:
            _copy(root, model, copy, path=path, owner=owner)
            os.fchmod(copy, S_IMODE(os.fstat(model).st_mode))
        finally:
            os.close(copy)
    finally:
        os.close(model)


def _exists(folder: int, name: str, *, empty: bool = True) -> bool:
    """Tell whether an entry exists; a blank file counts only if it is meant to be ``empty``."""
    found = stat_at(folder, name)
    if found is None:
        return False
    if empty or not S_ISREG(found.st_mode) or found.st_size > defs.GUEST_FILE_LIMIT:
        return True
    if found.st_size == 0:  # of root's alone, perhaps: useradd was killed when it had made the file
        return False
    return not is_blank(read_at(folder, name, defs.GUEST_FILE_LIMIT))


def _remove(parent: int, name: str) -> None:
    """Remove a directory of root's own with all that is in it, if it exists."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        for entry in os.listdir(fd):
            if S_ISDIR(os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mode):
                _remove(fd, entry)
            else:
                os.unlink(entry, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def _mode(root: Root) -> int:
    """Return the mode of a new home: ``HOME_MODE``, else ``UMASK``, of login.defs(5)."""
    found = {}
    for line in root.text(defs.LOGIN_DEFS).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] in ("HOME_MODE", "UMASK"):
            try:
                found[words[0]] = int(words[1], 8)
            except ValueError:
                pass
    return found.get("HOME_MODE", 0o777 & ~found.get("UMASK", _USUAL_UMASK)) & 0o777


def sync(root: Root, homes: Iterable[str]) -> None:
    """Have accounts and their homes on the disk before the state says that they were made.

    Raises OSError.
    """
    sync_tree(root.fd)
    devices = {os.fstat(root.fd).st_dev}
    for home in homes:
        try:
            with root.place(home) as place:
                fd = os.open(".", _FOLDER, dir_fd=place.fd)
        except (OSError, Refused):
            continue  # it was not made, which is told
        try:
            device = os.fstat(fd).st_dev
            if device not in devices:
                sync_tree(fd)
            devices.add(device)
        finally:
            os.close(fd)
