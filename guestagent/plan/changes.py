"""What a run can change, one record for each kind; and the plan, which lists them."""

from __future__ import annotations

from guestagent.errors import Origin
from guestagent.model import Secret
from guestagent.plan.kinds.account import Group, User
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Problem


class WriteFile(NamedTuple):
    """A file gets a content and a mode: now, as a script ("step") for a later unit, or later.

    ``user`` owns it where a user owns its directory.  ``owner`` is "user:group" by name, either may
    be missing; empty for root.  ``append``: what is new comes to the end of the old content, and
    stands there already in ``new``, but for a "write_later".
    """

    kind: Literal["write", "step", "write_later"]
    path: str
    old: bytes | None
    new: bytes
    old_mode: int | None
    mode: int
    user: str
    why: Origin
    hidden: bool
    owner: str = ""
    append: bool = False


class MakeLink(NamedTuple):
    """A symbolic link leads to a path; ``old`` is where it led, empty for anything else."""

    kind: Literal["link"]
    path: str
    old: str
    target: str
    why: Origin


class RemoveFile(NamedTuple):
    """A file that guestagent wrote, is no longer wanted, and is as it was written."""

    kind: Literal["remove"]
    path: str
    old: bytes
    old_mode: int
    why: Origin


class AddUser(NamedTuple):
    """useradd(8) makes an account."""

    kind: Literal["add_user"]
    user: User
    why: Origin


class AddGroup(NamedTuple):
    """groupadd(8) makes a group."""

    kind: Literal["add_group"]
    group: Group
    why: Origin


class AddMember(NamedTuple):
    """usermod(8) adds an account to a group."""

    kind: Literal["add_member"]
    name: str
    group: str
    why: Origin


class SetPassword(NamedTuple):
    """chpasswd(8) sets a password; ``form`` and ``shown`` as in ``UserPassword``."""

    kind: Literal["set_password"]
    name: str
    secret: Secret
    why: Origin
    form: Literal["plain", "hash", "random"] = "plain"
    shown: bool = False


class SetConsolePassword(NamedTuple):
    """A random password is set, and left encrypted for ``url``."""

    kind: Literal["set_console_password"]
    name: str
    exponent: int
    modulus: int
    url: str
    why: Origin


class ExpirePassword(NamedTuple):
    """chage(1) has the next login change the password."""

    kind: Literal["expire_password"]
    name: str
    why: Origin


class LockPassword(NamedTuple):
    """usermod(8) locks the password of an account."""

    kind: Literal["lock_password"]
    name: str
    why: Origin


class SetHostname(NamedTuple):
    """sethostname(2) changes the running kernel's host name."""

    kind: Literal["set_hostname"]
    old: str
    new: str
    why: Origin


class MakeHostKeys(NamedTuple):
    """ssh-keygen(1) makes host keys of the types, besides the ready ones in ``given``."""

    kind: Literal["make_host_keys"]
    types: tuple[str, ...]
    why: Origin
    given: tuple[tuple[str, Secret], ...] = ()
    others: Literal["removed", "kept"] = "removed"


class AddEntropy(NamedTuple):
    """Bytes are written to random(4)."""

    kind: Literal["add_entropy"]
    content: bytes
    why: Origin


if TYPE_CHECKING:
    Change = (
        WriteFile
        | MakeLink
        | RemoveFile
        | AddGroup
        | AddUser
        | AddMember
        | SetPassword
        | SetConsolePassword
        | ExpirePassword
        | LockPassword
        | SetHostname
        | MakeHostKeys
        | AddEntropy
    )


class Plan(NamedTuple):
    """What a run does.

    ``kept`` lists what an administrator changed.  ``record`` is what the state remembers once
    all is done: identities of resources, with digests of what was applied.
    """

    changes: tuple[Change, ...]
    kept: tuple[str, ...]
    problems: tuple[Problem, ...]
    record: dict[str, str]
