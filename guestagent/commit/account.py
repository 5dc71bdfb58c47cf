"""Change groups, accounts and passwords by the tools of shadow(5), which know its locks."""

from __future__ import annotations

import os
import time
from errno import EDQUOT, EIO, ENOSPC, ENOSYS, EPERM, EROFS

from guestagent import defs, log
from guestagent.commit import AccountsLocked
from guestagent.errors import Refused
from guestagent.system.accounts import find_account
from guestagent.system.ownfiles import write_all
from guestagent.system.root import read_at
from guestagent.system.tools import Result, find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.plan.kinds.account import Command, RunTool
    from guestagent.system.root import Root

# Exit statuses that, with a message about a lock, mean that another program holds it.
_LOCKED = (1, 10)
_LOCKS = tuple(
    f"{name}.lock" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
)
_LOCK_SIZE = 64  # bytes; a lock holds a process ID
_CLOCK_ERROR = 2.0  # seconds by which the times of a file and of a process may differ

# useradd(8) ends with this if it has made all but the home directory.
_NO_HOME = 12

_NO_VIEW = (
    "not run, because programs and libraries of the tree cannot be kept from being used: that needs"
    " the right to mount (CAP_SYS_ADMIN); a container needs it too, such as a privileged one, or"
    " configure the tree in a virtual machine"
)

_CANNOT_WRITE = (EROFS, ENOSPC, EDQUOT, EIO)
_ROOM = 4096  # of bytes that a lock and a new line need; a disk has blocks of that size


class _Failed(Refused):
    """A tool ended with a status that is not 0."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


def carry_out(change: RunTool, root: Root) -> None:
    """Run the commands of a change.  Raises Refused, AccountsLocked, OSError."""
    if change.kind == "set_password":
        find_account(root, change.name)  # chpasswd's own message would be about a line
    for command in change.commands:
        try:
            run_tool(command, change.stdin.reveal().encode(), root)
        except _Failed as error:
            if change.kind != "add_user" or not change.home or error.status != _NO_HOME:
                raise
            find_account(root, change.name)  # make_home says why there is no home


def set_passwords(command: Command, changes: Sequence[RunTool], root: Root) -> None:
    """Set the passwords of accounts by one run of the command that all of them have.

    If one of them is refused, it is not known which of the others are set.  Raises Refused,
    AccountsLocked, OSError.
    """
    lines = "".join(change.stdin.reveal() for change in changes)
    seconds = defs.PROGRAM_TIMEOUT + defs.PASSWORD_TIMEOUT_MORE * (len(changes) - 1)
    run_tool(command, lines.encode(), root, seconds)


def run_tool(
    command: Command, stdin: bytes, root: Root, seconds: float = defs.PROGRAM_TIMEOUT
) -> None:
    """Run a command for ``seconds``; wait while another program locks the user database.

    Raises Refused where it fails, AccountsLocked, OSError with the true reason where the directory
    of the database cannot be written: the tools say that it is locked.
    """
    name, *arguments = command
    path = find_program(name)
    if path is None:
        raise Refused(f"needs {name}, which is not installed")
    deadline = time.monotonic() + defs.LOCK_WAIT
    while True:
        result = _run([path, *arguments], stdin, root, seconds)
        if not result.status:
            return
        _check_place(root)
        if result.status not in _LOCKED or b"lock" not in result.errors:
            raise _Failed(f"{name}: {result.reason()}", result.status)
        if time.monotonic() > deadline and not _remove_stale_locks(root):
            raise AccountsLocked(f"{name}: the user database is locked")
        time.sleep(0.2)


def _run(argv: Sequence[str], stdin: bytes, root: Root, seconds: float) -> Result:
    """Run a tool; on a tree that is not the running system's, it uses nothing of that but data.

    With ``--root`` it calls chroot(2), and what it runs and loads then would be the tree's:
    nscd(8), sss_cache(8), the modules of nsswitch.conf(5).  Raises Refused, OSError.
    """
    if root.live:
        return run(argv, stdin, timeout=seconds)
    from guestagent.system.mounts import leave_programs_out

    def prepare(argv: Sequence[str]) -> Sequence[str]:
        path, option, tree, *rest = argv  # as build_command() makes it
        return (path, option, leave_programs_out(tree, root.fd), *rest)

    try:
        return run(argv, stdin, timeout=seconds, prepare=prepare)
    except OSError as error:
        if error.errno not in (EPERM, ENOSYS):
            raise
        raise Refused(f"{argv[0]}: {_NO_VIEW}") from None


def _remove_stale_locks(root: Root) -> bool:
    """Remove the locks that processes of an earlier boot left; tell whether there were any.

    The tools write their process ID into a lock, and take it for held while a process with that ID
    runs.  After a power cut that may be any process of this boot: it began after the lock was made.
    """
    import psutil  # costly, and only needed where something is wrong

    found = False
    with root.place(defs.ACCOUNTS_FILE) as place:
        for name in _LOCKS:
            try:
                made = os.stat(name, dir_fd=place.fd, follow_symlinks=False).st_mtime
                text = read_at(place.fd, name, _LOCK_SIZE).rstrip(b"\0\n")
                began = psutil.Process(int(text)).create_time()
            except (FileNotFoundError, Refused, ValueError, OverflowError, psutil.Error):
                continue  # not there, or released meanwhile, or not a lock of theirs
            if began > made + _CLOCK_ERROR:
                os.unlink(name, dir_fd=place.fd)
                log.warning(f"removed {root.outside(f'/etc/{name}')}, which an earlier boot left")
                found = True
    return found


def _check_place(root: Root) -> None:
    """Raise OSError where the directory of the user database is read-only or full."""
    folder = defs.ACCOUNTS_FILE.rpartition("/")[0]
    try:
        with root.place(defs.ACCOUNTS_FILE) as place:
            fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=place.fd)
        try:
            write_all(fd, bytes(_ROOM))
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _CANNOT_WRITE:  # else the file system has no such files: open(2)
            raise OSError(error.errno, error.strerror, folder) from None
