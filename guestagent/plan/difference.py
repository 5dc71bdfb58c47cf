"""The difference between what shall be true and what is: the plan of a run.

Three states decide: what is wanted, what is there, and what guestagent recorded when it
last applied.  Where the last two differ an administrator was there since, and his work is
left alone until the next instance.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin, Problem, Refused
from guestagent.plan.changes import (
    AddEntropy,
    AddGroup,
    AddMember,
    AddUser,
    ExpirePassword,
    LockPassword,
    MakeHostKeys,
    Plan,
    SetConsolePassword,
    SetHostname,
    SetPassword,
)
from guestagent.plan.filediff import FileDifference
from guestagent.plan.kinds.script import frequency

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guestagent.model import Facts
    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.account import Group, PasswordState, User, UserPassword
    from guestagent.plan.kinds.console_password import ConsolePassword
    from guestagent.plan.kinds.entropy import Entropy
    from guestagent.plan.kinds.host_keys import HostKeys
    from guestagent.plan.kinds.hostname import Hostname
    from guestagent.system.root import Root


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


# What is done once per instance, and stays done when the source says nothing of it any more.
_ONCE = ("password", "append", "late", "locked", "expired", "step", "host_keys", "group")


class _Difference(FileDifference):
    def plan(self, resources: list[Resource], complete: bool) -> Plan:
        """Go through the resources, then through what was recorded and is not among them."""
        for resource in resources:
            try:
                self._compare(resource)
            except (Refused, OSError) as error:
                where = getattr(resource, "path", "")
                reason = f"{where}: {error.strerror if isinstance(error, OSError) else error}"
                self.problems.append(Problem("error", *resource.why, reason))
                self._unrecorded(resource.key)
        if self.first:
            self._leftovers(resources)
        wanted = {resource.key for resource in resources}
        gone = [key for key in self.recorded if key not in wanted]
        access = any(item.kind == "block" and item.lets_in for item in resources)
        for key in gone:
            if self.first or complete:
                self._gone(key, access)
            else:
                self.record[key] = self.recorded[key]
        return Plan(tuple(self.changes), tuple(self.kept), tuple(self.problems), self.record)

    def _unrecorded(self, key: str) -> None:
        """What could not be planned is remembered as it was before."""
        self.record.pop(key, None)
        if key in self.recorded and not self.first:
            self.record[key] = self.recorded[key]

    def _compare(self, resource: Resource) -> None:
        match resource.kind:
            case "file" | "append" if resource.late:
                self._late(resource)
            case "file":
                self._file(resource)
            case "append":
                self._append(resource)
            case "block":
                self._block(resource)
            case "link":
                self._link(resource)
            case "group":
                self._group(resource)
            case "user":
                self._user(resource)
            case "hostname":
                self._hostname(resource)
            case "script":
                self._script(resource)
            case _:
                self._once(resource)

    def _group(self, group: Group) -> None:
        key = group.key
        known = key in self.recorded and not self.first
        done = self.recorded[key].split(",") if known else []
        self.record[key] = ",".join(group.members)
        if group.name not in self.facts.groups:
            if known:
                self.kept.append(f"group {group.name}")
                return
            self.changes.append(AddGroup("add_group", group, group.why))
        for name in group.members:
            if name not in done and f"{group.name}:{name}" not in self.facts.memberships:
                self.changes.append(AddMember("add_member", name, group.name, group.why))

    def _user(self, user: User) -> None:
        key = user.key
        self.record[key] = "exists"
        account = self.facts.account(user.name)
        half = user.name in self.facts.unfinished and user.makes_home
        if account is not None and not (half and not self.root.exists(account.home)):
            return
        if key in self.recorded and not self.first:
            self.kept.append(f"user {user.name}")
        else:
            self.changes.append(AddUser("add_user", user, user.why))

    def _hostname(self, hostname: Hostname) -> None:
        key = hostname.key
        self.record[key] = hostname.name
        if self.facts.hostname == hostname.name:
            return
        if not self.first and self.recorded.get(key) == hostname.name:
            self.kept.append("running host name")
        else:
            old = self.facts.hostname or ""
            self.changes.append(SetHostname("set_hostname", old, hostname.name, hostname.why))

    def _once(
        self, resource: UserPassword | PasswordState | ConsolePassword | HostKeys | Entropy
    ) -> None:
        if self._done(resource.key):
            return
        match resource.kind:
            case "password":
                change = SetPassword("set_password", *resource[1:])
                self.changes.append(change)
            case "password_state" if resource.state == "expired":
                self.changes.append(ExpirePassword("expire_password", resource.name, resource.why))
            case "password_state":
                if self._has_password(resource.name):
                    self.changes.append(LockPassword("lock_password", resource.name, resource.why))
            case "console_password":
                self.changes.append(SetConsolePassword("set_console_password", *resource[1:]))
            case "host_keys":
                self.changes.append(MakeHostKeys("make_host_keys", *resource[1:]))
            case "entropy":
                self.changes.append(AddEntropy("add_entropy", resource.content, resource.why))

    def _has_password(self, name: str) -> bool:
        """False for an account that is new and gets none: it needs no lock."""
        known = self.facts.account(name) is not None
        return known or any(
            change.kind == "set_password" and change.name == name for change in self.changes
        )

    def _gone(self, key: str, access: bool) -> None:
        kind, _, name = key.partition(":")
        why = Origin("guestagent", defs.STATE_FILE, key)
        if kind == "step" and self._step_gone(name, why):
            return
        if (kind in _ONCE and not self.first) or (kind == "step" and frequency(name) == "once"):
            self.record[key] = self.recorded[key]  # it was done, and is not undone
        elif kind == "password" and access and self.facts.account(name):
            self.changes.append(LockPassword("lock_password", name, why))
        if kind in ("file", "block"):
            self._file_gone(key, kind, name, why)
