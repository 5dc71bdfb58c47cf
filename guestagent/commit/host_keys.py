"""SSH host keys of this instance's own, made by ssh-keygen(1)."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import Refused
from guestagent.system.atomic import replace
from guestagent.system.ownfiles import open_folder
from guestagent.system.root import read_at
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.changes import MakeHostKeys
    from guestagent.system.root import Root

_WORK = "hostkeys"


def make_host_keys(root: Root, change: MakeHostKeys) -> None:
    """Put the given keys in place, and make one of each type wanted; then the others go.

    sshd(8) is never without keys.  Raises Refused where ssh-keygen fails, OSError.
    """
    tool = find_program("ssh-keygen")
    if tool is None and change.types:
        raise Refused("making host keys needs ssh-keygen, which is not installed")
    parent = open_folder(root, defs.STATE_DIR)
    try:
        work = _fresh(parent)
    finally:
        os.close(parent)
    path = root.outside(f"{defs.STATE_DIR}/{_WORK}")
    try:
        made = _make(tool, path, change.types) if tool else []
        for name, secret in change.given:
            replace(work, name, secret.reveal().encode(), 0o600)
            made.append(name)
        with root.place(f"{defs.SSH_DIR}/x", make=True) as place:
            _put(work, place.fd, made, change.others == "removed")
    finally:
        for name in os.listdir(work):
            os.unlink(name, dir_fd=work)
        os.close(work)
        os.rmdir(path)


def _fresh(parent: int) -> int:
    """An empty directory that only root can enter; what a killed run left in it goes."""
    try:
        os.mkdir(_WORK, 0o700, dir_fd=parent)
    except FileExistsError:
        pass
    fd = os.open(_WORK, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    for name in os.listdir(fd):
        os.unlink(name, dir_fd=fd)
    return fd


def _make(tool: str, path: str, types: tuple[str, ...]) -> list[str]:
    made = []
    for kind in types:
        name = f"ssh_host_{kind}_key"
        result = run([tool, "-q", "-t", kind, "-N", "", "-C", "", "-f", f"{path}/{name}"])
        if result.status:
            raise Refused(f"ssh-keygen: {result.reason()}")
        made += [name, f"{name}.pub"]
    return made


def _put(work: int, parent: int, made: list[str], alone: bool) -> None:
    directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        for name in made:
            mode = 0o644 if name.endswith(".pub") else 0o600
            replace(directory, name, read_at(work, name, defs.GUEST_FILE_LIMIT), mode)
        for name in os.listdir(directory) if alone else ():
            stem = name.removesuffix(".pub").removesuffix("-cert")
            if stem.startswith("ssh_host_") and stem.endswith("_key") and name not in made:
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)
