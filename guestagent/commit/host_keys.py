"""Give the instance SSH host keys of its own."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Refused
from guestagent.system.ownfiles import open_folder, replace
from guestagent.system.root import read_at
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.account import Command
    from guestagent.plan.kinds.host_keys import MakeHostKeys
    from guestagent.system.root import Root


def carry_out(change: MakeHostKeys, root: Root) -> None:
    """Make the keys, install them and those that are given, then remove the others if asked to.

    They are made in a directory of their own: sshd(8) is never without keys.  Raises Refused
    where ssh-keygen fails, OSError.
    """
    parent_path, _, name = defs.HOST_KEYS_WORK.rpartition("/")
    parent = open_folder(root, parent_path)
    try:
        work = _empty_folder(parent, name)
        try:
            for command in change.commands:
                _run(command)
            for file, secret in change.given:
                replace(work, file, secret.reveal().encode(), 0o600)
            with root.place(f"{defs.SSH_DIR}/x", make=True) as place:
                _install(work, place.fd, alone=change.others == "removed")
        finally:
            _clear(work)
            os.close(work)
            os.rmdir(name, dir_fd=parent)
    finally:
        os.close(parent)


def _empty_folder(parent: int, name: str) -> int:
    """Return a directory that only root can enter; what a killed run left in it is removed."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        pass
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    _clear(fd)
    return fd


def _clear(folder: int) -> None:
    for name in os.listdir(folder):
        os.unlink(name, dir_fd=folder)


def _run(command: Command) -> None:
    name, *arguments = command
    path = find_program(name)
    if path is None:
        raise Refused(f"making host keys needs {name}, which is not installed")
    result = run([path, *arguments])
    if result.status:
        raise Refused(f"{name}: {result.reason()}")


def _install(work: int, parent: int, *, alone: bool) -> None:
    """Copy all files of ``work`` to the directory ``parent``; ``alone``: other keys are removed."""
    names = os.listdir(work)
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        for name in names:
            mode = 0o644 if name.endswith(".pub") else 0o600
            replace(directory, name, read_at(work, name, defs.GUEST_FILE_LIMIT), mode)
        for name in os.listdir(directory) if alone else ():
            stem = name.removesuffix(".pub").removesuffix("-cert")
            if stem.startswith("ssh_host_") and stem.endswith("_key") and name not in names:
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)
