"""Accounts, groups and passwords, through the tools of shadow(5), which know its locks."""

from __future__ import annotations

import time

from guestagent import defs
from guestagent.errors import AccountsLocked, Refused
from guestagent.system.accounts import find_account, read_accounts, read_groups
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from guestagent.model import Secret
    from guestagent.plan.changes import AddUser, SetConsolePassword, SetPassword
    from guestagent.plan.kinds.account import User
    from guestagent.system.root import Root

# Exit statuses that, with a message about a lock, mean that another program holds it.
_LOCKED = (1, 10)


def useradd_arguments(user: User) -> list[str]:
    """The arguments of useradd(8) that make an account."""
    argv = ["--create-home"] if user.makes_home else []
    argv += ["--shell", user.shell] if user.shell else []
    argv += ["--comment", user.gecos] if user.gecos else []
    argv += ["--groups", ",".join(user.groups)] if user.groups else []
    return [*argv, *user.arguments, user.name]


class Shadow:
    """What commits do to the user database of a tree.  All raise Refused, AccountsLocked."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.before: dict[str, Callable[[Any], None]] = {
            "add_group": lambda change: self._tool("groupadd", [change.group.name]),
            "add_user": self._user,
            "add_member": lambda change: self._tool(
                "usermod", ["--append", "--groups", change.group, change.name]
            ),
        }
        self.after: dict[str, Callable[[Any], None]] = {
            "set_password": self._password,
            "set_console_password": self._console_password,
            "expire_password": lambda change: self._tool("chage", ["--lastday", "0", change.name]),
            "lock_password": lambda change: self._tool("usermod", ["--lock", change.name]),
        }

    def _tool(self, name: str, argv: list[str], stdin: bytes = b"") -> None:
        """Run a tool for the tree; wait while another program holds the lock."""
        tool = find_program(name)
        if tool is None:
            raise Refused(f"needs {name}, which is not installed")
        offline = [] if self.root.live else ["--root", self.root.path]
        deadline = time.monotonic() + defs.LOCK_WAIT
        while (result := run([tool, *offline, *argv], stdin)).status:
            busy = result.status in _LOCKED and b"lock" in result.errors
            if busy and time.monotonic() > deadline:
                raise AccountsLocked(f"{name}: the user database is locked")
            if not busy:
                raise Refused(f"{name}: {result.reason()}")
            time.sleep(0.2)

    def _user(self, change: AddUser) -> None:
        name = change.user.name
        if any(account.name == name for account in read_accounts(self.root)):
            self._tool("userdel", [name])  # a run that was killed came no further than its name
            own = change.user.option("--gid") == name
            if own and not any(parts[0] == name for parts in read_groups(self.root)):
                self._tool("groupadd", [name])  # it went with the account
        self._tool("useradd", useradd_arguments(change.user))

    def _password(self, change: SetPassword) -> None:
        if change.form == "random":
            self._random_password(change)
        elif change.form == "hash":
            find_account(self.root, change.name)
            line = f"{change.name}:{change.secret.reveal()}\n".encode()
            self._tool("chpasswd", ["--encrypted"], line)
        else:
            self._plain_password(change.name, change.secret)

    def _plain_password(self, name: str, secret: Secret) -> None:
        find_account(self.root, name)
        line = f"{name}:{secret.reveal()}\n".encode()
        self._tool("chpasswd", self._crypt_method(), line)

    def _random_password(self, change: SetPassword) -> None:
        from guestagent.commit.console_password import generate

        secret = generate()
        if not change.shown:
            self._plain_password(change.name, secret)
            return
        # Without a console nobody would ever know it, and each run would make another.
        with open(defs.CONSOLE_DEVICE, "wb", buffering=0) as console:
            self._plain_password(change.name, secret)
            text = f"\r\nguestagent: the password of {change.name} is {secret.reveal()}\r\n"
            console.write(text.encode())

    def _console_password(self, change: SetConsolePassword) -> None:
        from guestagent.commit.console_password import make

        make(change, self.root, self._plain_password)

    def _crypt_method(self) -> list[str]:
        """An offline tree's own method, login.defs(5); PAM would run the tree's modules."""
        if self.root.live:
            return []
        lines = (line.split() for line in self.root.text(defs.LOGIN_DEFS).splitlines())
        yescrypt = ["ENCRYPT_METHOD", "YESCRYPT"] in lines
        return ["--crypt-method", "YESCRYPT" if yescrypt else "SHA512"]
