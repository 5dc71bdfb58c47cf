"""Change groups, accounts and passwords by the tools of shadow(5), which know its locks."""

from __future__ import annotations

import time

from guestagent import defs
from guestagent.errors import AccountsLocked, Refused
from guestagent.system.accounts import find_account
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.account import Command, RunTool
    from guestagent.system.root import Root

# Exit statuses that, with a message about a lock, mean that another program holds it.
_LOCKED = (1, 10)


# useradd(8) ends with this if it has made all but the home directory.
_NO_HOME = 12


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
            run_tool(command, change.stdin.reveal().encode())
        except _Failed as error:
            if change.kind != "add_user" or not change.home or error.status != _NO_HOME:
                raise
            find_account(root, change.name)  # make_home says why there is no home


def run_tool(command: Command, stdin: bytes) -> None:
    """Run a command; wait while another program holds the lock of the user database.

    Raises Refused where it fails, AccountsLocked, OSError.
    """
    name, *arguments = command
    path = find_program(name)
    if path is None:
        raise Refused(f"needs {name}, which is not installed")
    deadline = time.monotonic() + defs.LOCK_WAIT
    while True:
        result = run([path, *arguments], stdin)
        if not result.status:
            return
        if result.status not in _LOCKED or b"lock" not in result.errors:
            raise _Failed(f"{name}: {result.reason()}", result.status)
        if time.monotonic() > deadline:
            raise AccountsLocked(f"{name}: the user database is locked")
        time.sleep(0.2)
