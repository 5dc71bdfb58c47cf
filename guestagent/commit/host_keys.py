"""Give the instance SSH host keys of its own."""

from __future__ import annotations

import os
import time
from stat import S_IFDIR

from guestagent import defs
from guestagent.commit import PartFailed
from guestagent.errors import Refused
from guestagent.memory import applied
from guestagent.plan.kinds import host_keys
from guestagent.system import ownfiles
from guestagent.system.ownfiles import open_folder, replace
from guestagent.system.root import read_at
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.plan.kinds.account import Command
    from guestagent.plan.kinds.host_keys import MakeHostKeys
    from guestagent.system.root import Root

# Seconds for all keys that are made before sshd starts: the units have 90 for everything.
_BEFORE_SSHD = 45.0
# Seconds for a key that nothing waits for.
WITHOUT_HURRY = 600.0
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def carry_out(change: MakeHostKeys, root: Root) -> None:
    """Make and install each key by itself, and remove the others if asked to.

    sshd(8) is not without keys meanwhile: the others go once there is a new one.  They go also if
    none can be made, as every guest of the image has them.  A deferrable key is left to its unit if
    sshd has another one, or if it could not be made in time.  Raises PartFailed with what could not
    be made, OSError.
    """
    deadline = time.monotonic() + (_BEFORE_SSHD if root.live else WITHOUT_HURRY)
    failed: dict[str, str] = {}
    waiting: list[str] = []
    with root.place(f"{defs.SSH_DIR}/x", make=True) as place:
        own = _kept(change, place.fd)
        try:
            own |= _install_given(change, place.fd, root)
        except OSError as error:
            failed |= dict.fromkeys(_types(change), reason_of(error))
        for kind, command in zip(change.types, change.commands, strict=True):
            if kind in change.deferrable and _has_key(own):
                waiting.append(kind)
                continue
            try:
                with Work(root, defs.HOST_KEYS_WORK) as work:
                    work.make(command, deadline)
                    own |= work.install(place.fd)
                _remove_others(place.fd, own)
            except (Refused, OSError) as error:
                failed[kind] = reason_of(error)
                if kind in change.deferrable:
                    waiting.append(kind)
        _remove_others(place.fd, own)
    try:
        _leave_to_unit(waiting, change, root)
    except (Refused, OSError) as error:
        if not waiting:
            raise
        failed |= dict.fromkeys(waiting, reason_of(error))
        waiting = []
    if failed:
        raise _failure(failed, waiting, has_key=_has_key(own))


def _has_key(names: set[str]) -> bool:
    """Tell whether a key that sshd can use is among files of these names."""
    return any(host_keys.file_name(kind) in names for kind in host_keys.TYPES)


def _kept(change: MakeHostKeys, parent: int) -> set[str]:
    """Return the names of the files in a directory that stay.  Raises OSError."""
    present = set(_present(parent))
    return present if change.others == "kept" else present & _names(change.done)


def _install_given(change: MakeHostKeys, parent: int, root: Root) -> set[str]:
    """Write the keys that are given to a directory; return the files' names.  Raises OSError."""
    files = {file: secret.reveal().encode() for file, secret in change.given}
    return _write_all(files, parent, root)


def _types(change: MakeHostKeys) -> list[str]:
    """Return the types of the keys that are given."""
    return [name.split("_")[2] for name, _ in change.given if name.endswith("_key")]


def _leave_to_unit(types: list[str], change: MakeHostKeys, root: Root) -> None:
    """Leave types to the unit, which starts if the file is there.  Raises OSError, Refused."""
    if types:
        ownfiles.write(root, defs.HOST_KEYS_FILE, types, 0o600)
    elif not change.done:  # what is left there is of another instance
        ownfiles.remove(root, defs.HOST_KEYS_FILE)


def _failure(failed: dict[str, str], waiting: list[str], *, has_key: bool) -> PartFailed:
    """Return an error that names the consequence, with what the next run tries again."""
    consequence = f"sshd has no host key of type {', '.join(failed)}"
    if not has_key:
        consequence = "sshd has no host key, so that nobody can log in over SSH"
    again = [kind for kind in failed if kind not in waiting]
    who = "the next run" if len(again) == len(failed) else defs.HOST_KEYS_UNIT
    keys = (applied.HOST_KEYS, *map(applied.host_key, again)) if again else ()
    return PartFailed(f"{next(iter(failed.values()))}; {consequence}; {who} tries again", keys)


def waiting_types(root: Root) -> list[str]:
    """Return the types that were left to the unit; all that may be, if the file is damaged."""
    if not root.exists(defs.HOST_KEYS_FILE):
        return []
    found = ownfiles.read(root, defs.HOST_KEYS_FILE)
    return [kind for kind in host_keys.COSTLY if not isinstance(found, list) or kind in found]


def install_waiting(kind: str, work: Work, root: Root) -> bool:
    """Install a key that was left to the unit, while no other run is going on.

    Return False if it is not waited for any more, or is there by now.  Raises OSError, Refused.
    """
    waiting = waiting_types(root)
    if kind not in waiting:
        return False  # a run for another instance wants none
    with root.place(f"{defs.SSH_DIR}/x", make=True) as place:
        # Somebody else's: the image's was removed before this one was left to the unit.
        is_wanted = host_keys.file_name(kind) not in _present(place.fd)
        if is_wanted:
            work.install(place.fd)
    waiting.remove(kind)
    if waiting:
        ownfiles.write(root, defs.HOST_KEYS_FILE, waiting, 0o600)
    else:
        ownfiles.remove(root, defs.HOST_KEYS_FILE)
    return is_wanted


class Work:
    """A directory where keys are made, which only root can enter; it is gone at the end."""

    def __init__(self, root: Root, path: str) -> None:
        above, _, self._name = path.rpartition("/")
        self._root = root
        self._parent = open_folder(root, above)
        try:
            # SELinux lets ssh-keygen write where the policy's label is that of sshd's directory.
            with root.labelled_as(defs.SSH_DIR, S_IFDIR):
                self.fd = _empty_folder(self._parent, self._name)
        except OSError as error:
            os.close(self._parent)
            raise OSError(error.errno, error.strerror, path) from None

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            _clear(self.fd)
            os.rmdir(self._name, dir_fd=self._parent)
        finally:
            os.close(self.fd)
            os.close(self._parent)

    def make(self, command: Command, deadline: float) -> None:
        """Run ssh-keygen until a time of the monotonic clock.  Raises Refused, OSError.

        It runs in the directory: no path of the tree, where a link might lead outside, tells it
        where to write.
        """
        name, *arguments = command
        path = find_program(name)
        if path is None:
            raise Refused(f"making host keys needs {name}, which is not installed")
        before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fchdir(self.fd)
            result = run([path, *arguments], timeout=max(1.0, deadline - time.monotonic()))
        finally:
            os.fchdir(before)
            os.close(before)
        if result.status:
            raise Refused(f"{name}: {result.reason()}")

    def install(self, parent: int) -> set[str]:
        """Copy all files to the directory ``parent``; return their names.  Raises OSError."""
        limit = defs.GUEST_FILE_LIMIT
        files = {name: read_at(self.fd, name, limit) for name in os.listdir(self.fd)}
        return _write_all(files, parent, self._root)


def reason_of(error: Exception) -> str:
    """Return why a key could not be made, with the path that an OSError is about."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or "input/output error"
    return f"{error.filename}: {reason}" if error.filename else reason


def _write_all(files: dict[str, bytes], parent: int, root: Root) -> set[str]:
    """Write keys, by the names of their files, to sshd's directory; return the names.

    Raises OSError with the path.
    """
    directory = _open_here(parent)
    try:
        for name, content in files.items():
            with root.labelled(directory, name):
                replace(directory, name, content, 0o644 if name.endswith(".pub") else 0o600)
    except OSError as error:
        raise _with_path(error) from None
    finally:
        os.close(directory)
    return set(files)


def _with_path(error: OSError) -> OSError:
    """Return an error about a name in sshd's directory as one about its path."""
    return OSError(error.errno, error.strerror, f"{defs.SSH_DIR}/{error.filename}")


def _names(types: Iterable[str]) -> set[str]:
    """Return the names of the files of keys."""
    return {f"{host_keys.file_name(kind)}{end}" for kind in types for end in ("", ".pub")}


def _empty_folder(parent: int, name: str) -> int:
    """Return a new directory that only root can enter, in place of what a killed run left.

    That one's ssh-keygen may still be at work: it writes nothing in a directory that is removed.
    """
    flags = _FOLDER | os.O_NOFOLLOW
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        left = os.open(name, flags, dir_fd=parent)
        try:
            _clear(left)
        finally:
            os.close(left)
        os.rmdir(name, dir_fd=parent)
        os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)


def _clear(directory: int) -> None:
    for name in os.listdir(directory):
        os.unlink(name, dir_fd=directory)


def _present(parent: int) -> list[str]:
    """Return the names of all host keys' files and certificates in a directory."""
    directory = _open_here(parent)
    try:
        return [name for name in os.listdir(directory) if _is_host_key(name)]
    finally:
        os.close(directory)


def _is_host_key(name: str) -> bool:
    stem = name.removesuffix(".pub").removesuffix("-cert")
    return stem.startswith("ssh_host_") and stem.endswith("_key")


def _remove_others(parent: int, names: set[str]) -> None:
    """Remove all host keys and their certificates but those of these names, also from the disk.

    The state says next that it is done, perhaps on another disk: after a power cut it must not
    find them here again.  Raises OSError with the path.
    """
    others = [name for name in _present(parent) if name not in names]
    if not others:
        return
    directory = _open_here(parent)
    try:
        for name in others:
            os.unlink(name, dir_fd=directory)
        os.fsync(directory)
    except OSError as error:
        raise _with_path(error) from None
    finally:
        os.close(directory)


def _open_here(fd: int) -> int:
    return os.open(".", _FOLDER, dir_fd=fd)
