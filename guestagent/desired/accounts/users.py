"""Accounts and groups: the keys ``users``, ``user``, ``groups``, and what goes with each account.

An account that exists already gets only its password, lock, rules and keys, as with cloud-init.
"""

from __future__ import annotations

from datetime import date

from guestagent import defs
from guestagent.desired.accounts import (
    Given,
    authorized,
    lets_in,
    names_of,
    passwords,
    rules,
    sudo,
    usual_groups,
    writes_keys,
)
from guestagent.desired.accounts.people import login_name, people
from guestagent.errors import FieldError, Problem
from guestagent.parse import fields
from guestagent.plan.kinds.account import Group, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from guestagent.desired.accounts.people import Person
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings

NO_MEMBER = "names a user that does not exist; not added to the group"
_FLAGS = {
    "no_user_group": "--no-user-group",
    "no_log_init": "--no-log-init",
    "system": "--system",
}


def read(data: InstanceData, facts: Facts, settings: Settings) -> Given:
    """All that cloud-config says of accounts."""
    persons, default, problems = people(data, facts, settings)
    groups = _Groups(data, facts, persons, problems)
    users: list[Resource] = []
    made: list[Person] = []
    homes: dict[str, str] = {}
    for person in persons:
        try:
            user = _user(person, groups, facts, settings, problems)
        except FieldError:
            continue  # its place is noted
        made.append(person)
        users.append(user)
        if person.new and user.option("--home-dir"):
            homes[person.name] = user.home
        if person.default and "sudo" not in person.fields:
            users += sudo(person.name, person.why, facts, settings)
    granted, more = rules.plan(made, facts)
    problems += more
    names = [person.name for person in made]
    known = {account.name for account in facts.accounts}.union(names, filter(None, (default,)))
    keys, more = authorized.plan(data, made, default, settings)
    problems += more
    others = names_of((settings.password_for,), default) if _has_password(data, settings) else ()
    reached = bool(others) or lets_in(line for of in keys.values() for line, _ in of)
    reached = reached or writes_keys(data, settings)
    # Without a console of the guest nobody could read it.
    shown = settings.password_random_to_console and facts.live
    secrets, more = passwords.plan(data, made, default, known, others, shown, reached)
    problems += more
    found = (*groups.resources, *users, *granted, *secrets)
    return Given(default, keys, found, homes, tuple(problems))


def _has_password(data: InstanceData, settings: Settings) -> bool:
    """True where the password is not cloud-config's affair.

    A service that has got a password already gives no ``password_url``, as at the second boot.
    """
    return data.admin_pass is not None or settings.password_post


class _Groups:
    """The groups there will be: those that are named, and their members."""

    def __init__(
        self,
        data: InstanceData,
        facts: Facts,
        persons: Iterable[Person],
        problems: list[Problem],
    ) -> None:
        self.resources: list[Group] = []
        self.of: dict[str, list[str]] = {}
        self._names = set(facts.groups)
        setting = data.setting("groups")
        new = {person.name for person in persons if person.new}
        self._asked = {
            name
            for person in persons
            if person.new and person.get("create_groups", True)
            for name in (person.get("primary_group"), *person.get("groups", ()))
        }
        if setting is not None:
            self._read(setting, facts, new, problems)

    def _read(self, setting: Setting, facts: Facts, new: set[str], problems: list[Problem]) -> None:
        """The groups of the key ``groups``; ``new`` are the accounts that will be made."""
        for name, members in setting.value.items():
            try:
                login_name(name)
            except FieldError as error:
                problems.append(Problem("error", *setting.at(), str(error)))
                continue
            for index, member in enumerate(members):
                if member in new:
                    self.of.setdefault(member, []).append(name)  # useradd(8) adds it
                elif facts.account(member) is None:
                    problems.append(Problem("warning", *setting.at(name, index), NO_MEMBER))
            there = tuple(name for name in members if facts.account(name) is not None)
            self.resources.append(Group("group", name, there, setting.at(name)))
            self._names.add(name)

    def __contains__(self, name: str) -> bool:
        return name in self._names or name in self._asked

    def want(self, person: Person, field: str, *index: int) -> str:
        """The group that a person's field names; made if it is missing.  Raises FieldError."""
        value = person.fields[field]
        name = value.value[index[0]] if index else value.value
        login_name(name)
        if name not in self._names:
            if not person.get("create_groups", True):
                raise FieldError("names a group that does not exist, and create_groups is false")
            self.resources.append(Group("group", name, (), value.at(*index)))
            self._names.add(name)
        return str(name)


def _user(
    person: Person, groups: _Groups, facts: Facts, settings: Settings, problems: list[Problem]
) -> User:
    """The account; its wrong fields are noted.  Raises FieldError if that spoils it."""
    if not person.new:
        return User("user", person.name, "", "", (), person.why)
    taken = _Taken(person, problems)
    arguments = [option for key, option in _FLAGS.items() if person.get(key)]
    if person.get("system") or person.get("no_create_home"):
        arguments.append("--no-create-home")
    for key, option, check in (
        ("homedir", "--home-dir", _path),
        ("uid", "--uid", str),
        ("expiredate", "--expiredate", _date),
        ("inactive", "--inactive", str),
    ):
        value = taken.text(key, check, "")
        arguments += [option, value] if value else []
    arguments += _primary_group(person, groups, taken)
    if person.get("selinux_user"):
        if not facts.texts.get(defs.SELINUX_CONFIG):
            reason = "this guest has no SELinux; ignored"
            problems.append(Problem("warning", *person.fields["selinux_user"].at(), reason))
        else:
            name = taken.text("selinux_user", login_name, "")
            arguments += ["--selinux-user", name] if name else []
    gecos, shell = (settings.user_gecos, settings.user_shell) if person.default else ("", "")
    return User(
        "user",
        person.name,
        taken.text("gecos", _comment, gecos),
        taken.text("shell", _path, shell),
        _further_groups(person, groups, taken, facts, settings),
        person.why,
        tuple(arguments),
    )


class _Taken:
    """Takes fields of a person, and notes what is wrong with them."""

    def __init__(self, person: Person, problems: list[Problem]) -> None:
        self.person = person
        self._problems = problems

    def text(self, key: str, check: Callable[[Any], str], otherwise: str) -> str:
        """The field as ``check`` returns it; ``otherwise`` if it is missing or wrong."""
        value = self.person.get(key)
        if value in (None, ""):
            return otherwise
        try:
            return check(value)
        except FieldError as error:
            self.note(key, error)
            return otherwise

    def note(self, key: str, error: FieldError, *index: int) -> None:
        """Note an error of a field, or of an item of it."""
        self._problems.append(Problem("error", *self.person.fields[key].at(*index), str(error)))


def _primary_group(person: Person, groups: _Groups, taken: _Taken) -> list[str]:
    """The arguments for it; without it no account is made, so its error spoils the person."""
    if "primary_group" in person.fields:
        try:
            return ["--gid", groups.want(person, "primary_group")]
        except FieldError as error:
            taken.note("primary_group", FieldError(f"{error}; the user is left out"))
            raise
    if person.name in groups and not person.get("no_user_group"):
        return ["--gid", person.name]  # useradd(8) would make it, and fails where it is there
    return []


def _further_groups(
    person: Person, groups: _Groups, taken: _Taken, facts: Facts, settings: Settings
) -> tuple[str, ...]:
    found = list(groups.of.get(person.name, ()))
    if person.default and "groups" not in person.fields:
        found += usual_groups(facts, settings)
    for index in range(len(person.get("groups", ()))):
        try:
            found.append(groups.want(person, "groups", index))
        except FieldError as error:
            taken.note("groups", error, index)
    return tuple(dict.fromkeys(found))


def _comment(text: str) -> str:
    if ":" in fields.plain(text):
        raise FieldError("must not hold a colon")
    return text


def _path(text: str) -> str:
    if ":" in text:
        raise FieldError("must not hold a colon")
    return fields.guest_path(text)


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise FieldError("is not a day: it must be as 2032-09-01") from None
