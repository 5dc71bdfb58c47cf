"""Accounts and groups of a tree, as they are at the moment: passwd(5), shadow(5), group(5)."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Refused
from guestagent.model import Account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from guestagent.system.root import Root


def read_accounts(root: Root) -> list[Account]:
    """Return the accounts of the lines of passwd(5) that are complete."""
    return list(_accounts(root.text(defs.ACCOUNTS_FILE).splitlines()))


def _accounts(lines: Iterable[str]) -> Iterator[Account]:
    for line in lines:
        parts = line.split(":")
        if len(parts) == 7 and _is_number(parts[2]) and _is_number(parts[3]):
            name, _, uid, gid, _, home, shell = parts
            yield Account(name, int(uid), int(gid), _tidy(home), shell)


def _tidy(home: str) -> str:
    """Return a home directory without what means nothing in a path; empty if it is none.

    passwd(5) says that it is a directory of the tree; a path from elsewhere, or with "..", is not.
    """
    names = home.split("/")
    if names[0] or len(names) < 2 or ".." in names or not home.isprintable():
        return ""
    return "/" + "/".join(name for name in names if name not in ("", "."))


def find_account(root: Root, name: str) -> Account:
    """Return the account of that name.  Raises Refused where there is none."""
    lines = root.text(defs.ACCOUNTS_FILE).splitlines()
    # Of many accounts it is the lines of the others that would cost most.
    for account in _accounts(line for line in lines if line.startswith(f"{name}:")):
        return account
    raise Refused(f"there is no account {name}")


def read_homes(root: Root) -> dict[str, int]:
    """Return the homes of the accounts, without a slash at their end, and the users they are of."""
    return {account.home.rstrip("/"): account.uid for account in read_accounts(root)}


def find_exposed(root: Root, path: str, homes: Mapping[str, int]) -> str:
    """Return why sshd, by its StrictModes, does not read a file of keys; empty if it does.

    The file, and each directory up to the home that it is in, or up to the top, must be root's or
    the account's, and no one else's to write.  Some distributions let the account's own group
    write; here that counts as exposed.  ``homes`` is what ``read_homes`` returns.  Raises Refused,
    OSError.
    """
    home = path.rpartition("/")[0]
    while home and home not in homes:
        home = home.rpartition("/")[0]
    if not home and path.endswith(defs.AUTHORIZED_KEYS):
        return f"{path} is in the home of no account"
    owners = {*root.trusted, homes[home]} if home else root.trusted
    while path:
        with root.place(path, follow=True) as place:
            found = place.stat()
        if found is None:
            return ""
        if found.st_uid not in owners:
            return f"{path} belongs to another user"
        if found.st_mode & 0o022:
            return f"others may write to {path}"
        if path == home:
            break
        path = path.rpartition("/")[0]
    return ""


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
        if parts[0] == name and len(parts) > 2 and _is_number(parts[2]):
            return int(parts[2])
    raise Refused(f"there is no group {name}")


def _is_number(text: str) -> bool:
    """Tell whether a text is a number of a user or a group: 32 bits have at most 10 digits."""
    return text.isdecimal() and len(text) <= 10 and int(text) < 1 << 32
