"""The difference between what shall be true and what is: the plan of a run.

Three states decide: what is wanted, what is there, and what guestagent recorded when it
last applied.  Where the last two differ an administrator was there since, and his work is
left alone until the next instance.
"""

from __future__ import annotations

from _blake2 import blake2b
from stat import S_IMODE, S_ISREG

from guestagent import defs
from guestagent.blocks import body, merged, owned
from guestagent.errors import Problem, Refused
from guestagent.model import Origin, Secret
from guestagent.record import NamedTuple
from guestagent.resources import (
    Block,
    ConsolePassword,
    Entropy,
    File,
    HostKeys,
    Hostname,
    User,
    UserPassword,
    identity,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from guestagent.model import Facts
    from guestagent.resources import Resource
    from guestagent.root import Root


class WriteFile(NamedTuple):
    """A file gets a content and a mode; ``user`` owns it where a user owns its directory."""

    kind: Literal["write"]
    path: str
    old: bytes | None
    new: bytes
    old_mode: int | None
    mode: int
    user: str
    why: Origin
    hidden: bool


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


class SetPassword(NamedTuple):
    """chpasswd(8) sets a password."""

    kind: Literal["set_password"]
    name: str
    secret: Secret
    why: Origin


class SetConsolePassword(NamedTuple):
    """A random password is set, and left encrypted for ``url``."""

    kind: Literal["set_console_password"]
    name: str
    exponent: int
    modulus: int
    url: str
    why: Origin


class LockPassword(NamedTuple):
    """usermod(8) locks the password an earlier instance gave an account."""

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
    """ssh-keygen(1) makes host keys of the types; those of other types go."""

    kind: Literal["make_host_keys"]
    types: tuple[str, ...]
    why: Origin


class AddEntropy(NamedTuple):
    """Bytes are written to random(4)."""

    kind: Literal["add_entropy"]
    content: bytes
    why: Origin


if TYPE_CHECKING:
    Change = (
        WriteFile
        | RemoveFile
        | AddUser
        | SetPassword
        | SetConsolePassword
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


def digest(content: bytes) -> str:
    """A short name for a content."""
    return blake2b(content, digest_size=16).hexdigest()


def diff(
    resources: Iterable[Resource],
    root: Root,
    facts: Facts,
    recorded: Mapping[str, str],
    first: bool,
    complete: bool,
) -> Plan:
    """Compare resources with a tree.

    ``first``: the instance is new, so that everything applies again.  ``complete``: all of
    the source was understood, so that what it no longer names may go.
    """
    return _Difference(root, facts, recorded, first).plan(list(resources), complete)


class _Difference:
    def __init__(self, root: Root, facts: Facts, recorded: Mapping[str, str], first: bool) -> None:
        self.root, self.facts, self.recorded, self.first = root, facts, recorded, first
        self.changes: list[Change] = []
        self.kept: list[str] = []
        self.problems: list[Problem] = []
        self.record: dict[str, str] = {}

    def plan(self, resources: list[Resource], complete: bool) -> Plan:
        """Go through the resources, then through what was recorded and is not among them."""
        for resource in resources:
            try:
                self._compare(resource)
            except (Refused, OSError) as error:
                where = getattr(resource, "path", "")
                reason = f"{where}: {error.strerror if isinstance(error, OSError) else error}"
                self.problems.append(Problem("error", *resource.why, reason))
        wanted = {identity(resource) for resource in resources}
        gone = [key for key in self.recorded if key not in wanted]
        access = any(isinstance(item, Block) and item.style == "block" for item in resources)
        for key in gone:
            if self.first or complete:
                self._gone(key, access)
            else:
                self.record[key] = self.recorded[key]
        return Plan(tuple(self.changes), tuple(self.kept), tuple(self.problems), self.record)

    def _compare(self, resource: Resource) -> None:
        if isinstance(resource, File):
            self._file(resource)
        elif isinstance(resource, Block):
            self._block(resource)
        elif isinstance(resource, User):
            self._user(resource)
        elif isinstance(resource, Hostname):
            self._hostname(resource)
        else:
            self._once(resource)

    def _state(self, path: str) -> tuple[bytes | None, int | None, bool]:
        """Content and mode of what stands at a path, and if it belongs to the right user."""
        found = self.root.stat(path)
        if found is None:
            return None, None, True
        if not S_ISREG(found.st_mode):
            return None, None, False
        with self.root.place(path) as place:
            owner = place.owner
        mine = found.st_uid == owner if owner is not None else found.st_uid in self.root.trusted
        return self.root.read(path, follow=False), S_IMODE(found.st_mode), mine

    def _file(self, file: File) -> None:
        key = identity(file)
        old, mode, mine = self._state(file.path)
        want = digest(b"%o\n" % file.mode + file.content)
        have = digest(b"%o\n" % (mode or 0) + (old or b""))
        if have == want and old is not None and mine:
            self.record[key] = want
        elif self._changed_since(key, have):
            self._keep(key, file.path)
        else:
            self.record[key] = want
            new = (file.path, old, file.content, mode, file.mode, "", file.why, file.secret)
            self.changes.append(WriteFile("write", *new))

    def _changed_since(self, key: str, have: str) -> bool:
        return not self.first and self.recorded.get(key, have) != have

    def _keep(self, key: str, what: str) -> None:
        self.record[key] = self.recorded[key]
        self.kept.append(what)

    def _block(self, block: Block) -> None:
        key = identity(block)
        old, mode, _ = self._state(block.path)
        have, want = digest(owned(old or b"", block.style)), digest(body(block.lines, block.style))
        if have == want:
            self.record[key] = want
        elif self._changed_since(key, have):
            self._keep(key, block.path)
        else:
            self.record[key] = want
            new = merged(old or b"", body(block.lines, block.style), block.style)
            modes = (mode, block.mode if mode is None else mode)
            change = WriteFile("write", block.path, old, new, *modes, block.user, block.why, False)
            self.changes.append(change)

    def _user(self, user: User) -> None:
        key = identity(user)
        self.record[key] = "exists"
        if self.facts.account(user.name) is not None:
            return
        if key in self.recorded and not self.first:
            self.kept.append(f"user {user.name}")
        else:
            self.changes.append(AddUser("add_user", user, user.why))

    def _hostname(self, hostname: Hostname) -> None:
        key = identity(hostname)
        self.record[key] = hostname.name
        if self.facts.hostname == hostname.name:
            return
        if not self.first and self.recorded.get(key) == hostname.name:
            self.kept.append("running host name")
        else:
            old = self.facts.hostname or ""
            self.changes.append(SetHostname("set_hostname", old, hostname.name, hostname.why))

    def _once(self, resource: UserPassword | ConsolePassword | HostKeys | Entropy) -> None:
        key = identity(resource)
        self.record[key] = "done"
        if key in self.recorded and not self.first:
            return
        if isinstance(resource, UserPassword):
            change = SetPassword("set_password", resource.name, resource.secret, resource.why)
            self.changes.append(change)
        elif isinstance(resource, ConsolePassword):
            self.changes.append(SetConsolePassword("set_console_password", *resource[1:]))
        elif isinstance(resource, HostKeys):
            self.changes.append(MakeHostKeys("make_host_keys", resource.types, resource.why))
        else:
            self.changes.append(AddEntropy("add_entropy", resource.content, resource.why))

    def _gone(self, key: str, access: bool) -> None:
        kind, _, name = key.partition(":")
        why = Origin("guestagent", defs.STATE_FILE, key)
        if kind == "password" and not self.first:
            self.record[key] = self.recorded[key]  # the account has it still
        elif kind == "password" and access and self.facts.account(name):
            self.changes.append(LockPassword("lock_password", name, why))
        if kind not in ("file", "block"):
            return
        try:
            old, mode, _ = self._state(name)
        except (Refused, OSError):
            return
        if old is None or mode is None:
            return
        style = "line" if name == defs.HOSTS_FILE else "block"
        have = owned(old, style) if kind == "block" else b"%o\n" % mode + old
        if digest(have) != self.recorded[key]:
            self.kept.append(name)
        elif kind == "file":
            self.changes.append(RemoveFile("remove", name, old, mode, why))
        else:
            new = merged(old, b"", style)
            self.changes.append(WriteFile("write", name, old, new, mode, mode, "", why, False))
