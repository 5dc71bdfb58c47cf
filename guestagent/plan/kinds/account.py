"""Groups, accounts and their passwords, which the tools of shadow(5) make and change."""

from __future__ import annotations

from guestagent import defs
from guestagent.memory import applied
from guestagent.model import Secret
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

    from guestagent.errors import Origin
    from guestagent.model import Account
    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.random_password import SetRandomPassword
    from guestagent.plan.view import View

    Command = tuple[str, ...]

# What the state remembers of an account: that guestagent made it with a home directory, which is
# made again where it is missing; or that it exists.
_MADE, _EXISTS = "made", "exists"


class Group(NamedTuple):
    """A group that exists; ``members`` are added to it once per instance."""

    kind: Literal["group"]
    name: str
    members: tuple[str, ...]
    why: Origin

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.group(self.name)

    def compare(self, view: View) -> Outcome:
        """Compare with the group of the tree."""
        members = {applied.member(self.name, name): name for name in self.members}
        record = dict.fromkeys((self.key, *members), "done")
        changes = []
        if self.name not in view.facts.groups:
            if view.is_done(self.key):
                return Outcome(kept=(f"group {self.name}",), record=record)
            changes.append(self._add(view))
        for key, name in members.items():
            if not view.is_done(key) and f"{self.name}:{name}" not in view.facts.memberships:
                changes.append(self._add_member(view, name, key))
        return Outcome(tuple(changes), record=record)

    def _add(self, view: View) -> RunTool:
        return RunTool(
            "add_group",
            self.name,
            text=f"add group {self.name}",
            commands=(build_command(view, "groupadd", self.name),),
            why=self.why,
            keys=(self.key,),
        )

    def _add_member(self, view: View, name: str, key: str) -> RunTool:
        return RunTool(
            "add_member",
            name,
            text=f"add {name} to group {self.name}",
            commands=(build_command(view, "usermod", "--append", "--groups", self.name, name),),
            why=self.why,
            keys=(key,),
        )


class User(NamedTuple):
    """A login account that exists; one that exists already is left as it is.

    ``arguments`` are further ones of useradd(8).  An empty shell or gecos is the tool's default.
    """

    kind: Literal["user"]
    name: str
    gecos: str
    shell: str
    groups: tuple[str, ...]
    why: Origin
    arguments: tuple[str, ...] = ()

    def option(self, name: str) -> str:
        """Return the value of one of the arguments; empty if it is not among them."""
        if name not in self.arguments:
            return ""
        return self.arguments[self.arguments.index(name) + 1]

    @property
    def home(self) -> str:
        """Return the home directory, without a slash at its end."""
        return self.option("--home-dir").rstrip("/") or f"/home/{self.name}"

    @property
    def makes_home(self) -> bool:
        """Tell whether the home is made with the account."""
        return "--no-create-home" not in self.arguments

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.user(self.name)

    def compare(self, view: View) -> Outcome:
        """Compare with the accounts of the tree.  Raises Refused, OSError."""
        account = view.facts.account(self.name)
        if account is None:
            if view.is_done(self.key):
                return Outcome(kept=(f"user {self.name}",), record={self.key: _EXISTS})
            return self._add(view, (), self.home)
        made_here = view.is_done(self.key) and view.recorded[self.key] == _MADE
        if self.name in view.facts.unfinished or made_here:
            return self._repair(view, account)
        return Outcome(record={self.key: _EXISTS})

    def _repair(self, view: View, account: Account) -> Outcome:
        """Make what is missing of an account that guestagent made, or was making when killed."""
        # Without a home, somebody has changed its line in passwd(5) to what is none.
        if not self.makes_home or not account.home:
            return Outcome(record={self.key: _EXISTS})
        unfinished = self.name in view.facts.unfinished
        if not view.root.exists(account.home):
            # Its lines may be incomplete too, as useradd makes the home last.
            if unfinished:
                return self._add(view, self._undo(view), account.home, uid=account.uid)
            return Outcome((self._make_home(account.home),), record={self.key: _MADE})
        if unfinished:
            from guestagent.plan.kinds.home import is_whole

            if not is_whole(view.root, account):
                return Outcome((self._make_home(account.home),), record={self.key: _MADE})
        return Outcome(record={self.key: _MADE})

    def _make_home(self, home: str) -> Change:
        from guestagent.plan.kinds.home import MakeHome

        return MakeHome("make_home", self.name, home, self.why)

    def _add(
        self, view: View, first: Iterable[Command], home: str, uid: int | None = None
    ) -> Outcome:
        """Make the account, after the commands ``first``, with a user id if one is given."""
        words = self._words()
        if uid is not None and "--uid" not in words:
            words = ["--uid", str(uid), *words]  # its files and its home keep their owner
        if uid is not None and self._has_own_group(view):
            words = ["--gid", self.name, *words]
        is_ours = self.name in view.facts.unfinished or not view.root.exists(home)
        change = RunTool(
            "add_user",
            self.name,
            text=f"add user {self.name}",
            commands=(*first, build_command(view, "useradd", *words)),
            why=self.why,
            keys=(self.key,),
            home=home if self.makes_home and is_ours else "",
        )
        return Outcome((change,), record={self.key: _MADE if change.home else _EXISTS})

    def _undo(self, view: View) -> list[Command]:
        """Return the commands after which a half-made account can be made again."""
        commands = [build_command(view, "userdel", self.name)]
        if self.option("--gid") == self.name or self._has_own_group(view):
            # userdel takes the group along or leaves it, by login.defs(5): --force takes both.
            commands.append(build_command(view, "groupadd", "--force", self.name))
        return commands

    def _has_own_group(self, view: View) -> bool:
        """Tell whether useradd was killed when it had made the account's own group."""
        if "--gid" in self.arguments or "--no-user-group" in self.arguments:
            return False
        return self.name in view.facts.groups

    def _words(self) -> list[str]:
        """Return the arguments of useradd(8)."""
        words = ["--create-home"] if self.makes_home else []
        words += ["--shell", self.shell] if self.shell else []
        words += ["--comment", self.gecos] if self.gecos else []
        words += ["--groups", ",".join(self.groups)] if self.groups else []
        return [*words, *self.arguments, self.name]


class UserPassword(NamedTuple):
    """The password of an account, set once per instance.

    ``form``: the secret is the password itself, or its hash, crypt(5), or is made at random;
    that one is written to the console if ``shown``.
    """

    kind: Literal["password"]
    name: str
    secret: Secret
    why: Origin
    form: Literal["plain", "hash", "random"] = "plain"
    shown: bool = False

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.password(self.name)

    def compare(self, view: View) -> Outcome:
        """Set the password, unless that was done.  Raises Refused, OSError."""
        if view.is_done(self.key):
            return view.once(self.key)
        if self.form == "random":
            return view.once(self.key, self._set_random(view))
        return view.once(self.key, self._set(view))

    def _set(self, view: View) -> RunTool:
        if self.form == "hash":
            command = build_command(view, "chpasswd", "--encrypted")
        else:
            command = build_chpasswd(view)
        return RunTool(
            "set_password",
            self.name,
            text=f"set the password of {self.name}",
            commands=(command,),
            why=self.why,
            keys=(self.key,),
            stdin=Secret(f"{self.name}:{self.secret.reveal()}\n"),
        )

    def _set_random(self, view: View) -> SetRandomPassword:
        from guestagent.plan.kinds.random_password import SetRandomPassword

        return SetRandomPassword(
            "set_password",
            self.name,
            told="console" if self.shown else "no one",
            commands=(build_chpasswd(view),),
            why=self.why,
            keys=(self.key,),
        )


class PasswordState(NamedTuple):
    """A password is locked, or expired so that the next login changes it; once per instance."""

    kind: Literal["password_state"]
    name: str
    state: Literal["locked", "expired"]
    why: Origin

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.password_state(self.name, self.state)

    def compare(self, view: View) -> Outcome:
        """Lock or expire the password, unless that was done."""
        if self.state == "locked":
            if not _has_password(view, self.name):
                return view.once(self.key)
            return view.once(self.key, _lock(view, self.name, self.why, keys=(self.key,)))
        change = RunTool(
            "expire_password",
            self.name,
            text=f"expire the password of {self.name}",
            commands=(build_command(view, "chage", "--lastday", "0", self.name),),
            why=self.why,
            keys=(self.key,),
        )
        return view.once(self.key, change)


class RunTool(NamedTuple):
    """Commands of shadow(5), one after the other, change the user database.

    ``name`` is the account's, or with "add_group" the group's.  The commands read ``stdin``, which
    alone holds secrets.  ``home`` is a directory that the account gets, empty for none.
    """

    kind: Literal[
        "add_group",
        "add_user",
        "add_member",
        "set_password",
        "expire_password",
        "lock_password",
    ]
    name: str
    text: str
    commands: tuple[Command, ...]
    why: Origin
    keys: tuple[str, ...]
    stdin: Secret = Secret("")
    home: str = ""
    undoes: str = ""

    def tell(self) -> str:
        """Say in one line what the change does."""
        return self.text

    def show(self) -> list[str]:
        """Say what the commands read."""
        if not self.stdin.reveal():
            return []
        return [f"standard input: {self.name}:(secret, not shown)"]

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {"group" if self.kind == "add_group" else "user": self.name}


def undo(key: str, view: View) -> Outcome:
    """Undo nothing but the password of another instance, which is locked.

    Where the plan gives no key to log in with, that stays too: no one could log in any more.
    """
    beginning, name = applied.split(key)
    if beginning == "user":
        return Outcome()
    if beginning == "member":
        # Who is no longer wanted as a member becomes one again when that is wanted again.
        is_planned = applied.group(name.partition(":")[0]) in view.record
        return Outcome() if is_planned else view.remember(key)
    if beginning == "unlocked" or (beginning == "password" and view.first):
        return _lock_former(key, name, view)
    return view.remember(key)


def _lock_former(key: str, name: str, view: View) -> Outcome:
    """Lock the password of an earlier instance.  Where that fails, the next run does it."""
    former = applied.unlocked(name)
    replaced = applied.password(name) in view.record  # this instance has one of its own
    locked = any(item.kind == "lock_password" and item.name == name for item in view.changes)
    if view.facts.account(name) is None or replaced or locked:
        return Outcome()
    if not view.lets_in:
        return Outcome(record={key: view.recorded[key]} if key == former else {})
    return Outcome((_lock(view, name, applied.origin(key), undoes=former),))


def build_command(view: View, name: str, *arguments: str) -> Command:
    """Return a command that changes the user database of the tree."""
    if view.root.live:
        return (name, *arguments)
    return (name, "--root", view.root.path, *arguments)


def build_chpasswd(view: View) -> Command:
    """Return the command that reads an account and its password.  Raises Refused, OSError."""
    if view.root.live:
        return build_command(view, "chpasswd")
    # PAM would run the modules of the tree: the hash is made here, by the tree's login.defs(5).
    lines = [line.split() for line in view.root.text(defs.LOGIN_DEFS).splitlines()]
    method = "YESCRYPT" if ["ENCRYPT_METHOD", "YESCRYPT"] in lines else "SHA512"
    return build_command(view, "chpasswd", "--crypt-method", method)


def _lock(
    view: View, name: str, why: Origin, *, keys: tuple[str, ...] = (), undoes: str = ""
) -> RunTool:
    return RunTool(
        "lock_password",
        name,
        text=f"lock the password of {name}",
        commands=(build_command(view, "usermod", "--lock", name),),
        why=why,
        keys=keys,
        undoes=undoes,
    )


def _has_password(view: View, name: str) -> bool:
    """Tell whether an account may have a password: a new one that gets none needs no lock."""
    if view.facts.account(name) is not None:
        return True
    return any(change.kind == "set_password" and change.name == name for change in view.changes)
