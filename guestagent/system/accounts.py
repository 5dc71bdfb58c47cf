"""Accounts and groups of a tree, as they are at the moment: passwd(5), shadow(5), group(5)."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Refused
from guestagent.model import Account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root


def read_accounts(root: Root) -> list[Account]:
    """Return the accounts of the lines of passwd(5) that are complete."""
    found = []
    for line in root.text(defs.ACCOUNTS_FILE).splitlines():
        parts = line.split(":")
        if len(parts) == 7 and parts[2].isdecimal() and parts[3].isdecimal():
            name, _, uid, gid, _, home, shell = parts
            found.append(Account(name, int(uid), int(gid), home, shell))
    return found


def find_account(root: Root, name: str) -> Account:
    """Return the account of that name.  Raises Refused where there is none."""
    for account in read_accounts(root):
        if account.name == name:
            return account
    raise Refused(f"there is no account {name}")


def read_locked(root: Root) -> frozenset[str]:
    """Return the accounts whose password is locked, shadow(5); none where it cannot be read."""
    try:
        lines = root.text(defs.SHADOW_FILE).splitlines()
    except (Refused, OSError):
        return frozenset()
    fields = (line.split(":", 2) for line in lines)
    return frozenset(parts[0] for parts in fields if parts[1:] and parts[1].startswith("!"))


def read_groups(root: Root) -> list[list[str]]:
    """Return the lines of group(5), split at the colons."""
    return [line.split(":") for line in root.text(defs.GROUP_FILE).splitlines()]


def find_group(root: Root, name: str) -> int:
    """Return the number of the group of that name.  Raises Refused where there is none."""
    for parts in read_groups(root):
        if parts[0] == name and len(parts) > 2 and parts[2].isdecimal():
            return int(parts[2])
    raise Refused(f"there is no group {name}")
