"""Who can log in when a run is over: the only place that answers this.

Passwords are locked, and password authentication is switched off, by what this module says, so
that no run takes the last way into a guest that it was not asked to take.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guestagent.errors import Origin
    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.account import UserPassword


class Access(NamedTuple):
    """The ways in that a run leaves.

    ``key_files`` are the paths of authorized_keys files with a key that opens a session.
    ``asked`` maps those of which sshd is asked whether it reads them to their accounts.
    ``passwords`` are the accounts that get a password which someone can know, with its origin;
    ``locked`` are those whose password is locked, so that it lets no one in.
    """

    key_files: frozenset[str]
    passwords: Mapping[str, Origin]
    locked: frozenset[str]
    asked: Mapping[str, str] = {}

    @property
    def by_key(self) -> bool:
        """Tell whether someone can log in with an SSH key."""
        return bool(self.key_files)

    @property
    def by_password(self) -> dict[str, Origin]:
        """Return the accounts that someone can log in to with a password, with its origin."""
        passwords = self.passwords.items()
        return {name: origin for name, origin in passwords if name not in self.locked}

    @property
    def anyone(self) -> bool:
        """Tell whether someone can log in at all."""
        return self.by_key or bool(self.by_password)


def who_gets_in(
    resources: Iterable[Resource], known_before: Mapping[str, Origin] | None = None
) -> Access:
    """Return the ways in that resources give.

    ``known_before`` are accounts that have a password from an earlier run which someone knows,
    with its origin.
    """
    key_files = set()
    asked = {}
    passwords = dict(known_before or {})
    locked = set()
    for item in resources:
        match item.kind:
            case "block" if item.lets_in:
                key_files.add(item.path)
                if item.ask_sshd:
                    asked[item.path] = item.account
            case "file" | "append" if item.path.endswith(defs.AUTHORIZED_KEYS):
                # A key is ASCII; what is around it may have any encoding.
                if lets_in(item.content.decode(errors="replace").splitlines()):
                    key_files.add(item.path)
            case "password":
                # It replaces the password from before, even if no one can know the new one.
                passwords.pop(item.name, None)
                if _can_be_known(item):
                    passwords[item.name] = item.why
            case "console_password":
                passwords[item.name] = item.why
            case "password_state" if item.state == "locked":
                locked.add(item.name)
    return Access(frozenset(key_files), passwords, frozenset(locked), asked)


def lets_in(lines: Iterable[str]) -> bool:
    """Tell whether lines of authorized_keys, sshd(8), hold a key that is not tied to a command."""
    return any('command="' not in line and _has_key(line) for line in lines)


def _has_key(line: str) -> bool:
    """Tell whether a line holds a key that sshd accepts; options may come before it."""
    words = [] if line.lstrip().startswith("#") else line.split()
    for place, word in enumerate(words[:-1]):
        if not word.startswith(("ssh-", "ecdsa-", "sk-")):
            continue
        try:
            fields.ssh_key(" ".join(words[place : place + 2]))
            return True
        except FieldError:
            pass
    return False


def _can_be_known(password: UserPassword) -> bool:
    """Tell whether someone can know a password: crypt(5) has hashes that no password fits."""
    if password.form == "random":
        return password.shown
    if password.form == "plain":
        return True
    return not password.secret.reveal().startswith(("!", "*"))
