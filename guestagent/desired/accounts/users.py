"""Accounts and groups: the keys ``users``, ``user``, ``groups``, and each account's rules.

An account that exists already gets only its password, lock, rules and keys, as with cloud-init.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.accounts import default_user, rules
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.account import Group, User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from guestagent.desired.accounts.people import Person
    from guestagent.plan.wanted import Ask, Wanted

NO_MEMBER = "names a user that does not exist; not added to the group"
_FLAGS = {
    "no_user_group": "--no-user-group",
    "no_log_init": "--no-log-init",
    "system": "--system",
}


def plan(ask: Ask, people: Iterable[Person], wanted: Wanted) -> tuple[Person, ...]:
    """Plan groups, accounts and their rules; return the people that have an account then."""
    people = list(people)
    groups = _Groups(ask, people, wanted)
    accounts: list[tuple[Person, User]] = []
    for person in people:
        user = _account(ask, person, groups, wanted=wanted)
        if person.new and user.option("--home-dir"):
            person = person._replace(home=user.home)
        accounts.append((person, user))
    wanted.want(*groups.resources)
    for person, user in accounts:
        wanted.want(user)
        if person.default and "sudo" not in person.fields:
            default_user.want_sudo(person.name, person.why, ask, wanted=wanted)
    made = tuple(person for person, _ in accounts)
    rules.plan(ask, made, wanted)
    return made


class _Groups:
    """The groups that exist or will be made, and the new accounts that ``groups`` adds to them."""

    def __init__(self, ask: Ask, people: Iterable[Person], wanted: Wanted) -> None:
        self.resources: list[Group] = []
        self.of_new: dict[str, list[str]] = {}
        self._names = set(ask.facts.groups)
        self._wanted = wanted
        new = [person for person in people if person.new]
        # Those that accounts name and that will be made for them.
        self._asked: set[str] = set()
        for person in new:
            if person.get("create_groups", True):
                self._asked.update((person.get("primary_group"), *person.get("groups", ())))
        self._read(ask, {person.name for person in new})

    def _read(self, ask: Ask, new: set[str]) -> None:
        """Add the groups of the key ``groups``; ``new`` are the accounts that will be made."""
        setting = ask.data.setting("groups")
        if setting is None:
            return
        for name, members in setting.value.items():
            if self._wanted.take(setting.at(), fields.login_name, name) is None:
                continue
            existing = []
            for index, member in enumerate(members):
                exists = ask.facts.account(member) is not None
                if exists:
                    existing.append(member)
                if member in new:
                    self.of_new.setdefault(member, []).append(name)  # useradd(8) adds it
                elif not exists:
                    self._wanted.warn(setting.at(name, index), NO_MEMBER)
            self.resources.append(Group("group", name, tuple(existing), why=setting.at(name)))
            self._names.add(name)

    def __contains__(self, name: str) -> bool:
        return name in self._names or name in self._asked

    def take(self, person: Person, field: str, *index: int, consequence: str = "") -> str | None:
        """Return the group that a field names, or an item of it; it is made if it is missing.

        A name that cannot be used is an error, which ends with the consequence; None is returned.
        """
        value = person.fields[field]
        why = value.at(*index)
        name: str = value.value[index[0]] if index else value.value
        try:
            fields.login_name(name)
            if name not in self._names and not person.get("create_groups", True):
                raise FieldError("names a group that does not exist, and create_groups is false")
        except FieldError as error:
            self._wanted.error(why, f"{error}{consequence}")
            return None
        if name not in self._names:
            self.resources.append(Group("group", name, (), why=why))
            self._names.add(name)
        return name


def _account(ask: Ask, person: Person, groups: _Groups, wanted: Wanted) -> User:
    """Return a person's account; a field that cannot be used is an error, and left out."""
    if not person.new:
        return User("user", person.name, gecos="", shell="", groups=(), why=person.why)
    arguments = [option for key, option in _FLAGS.items() if person.get(key)]
    if person.get("system") or person.get("no_create_home"):
        arguments.append("--no-create-home")
    for key, option, check in (
        ("homedir", "--home-dir", _path),
        ("uid", "--uid", str),
        ("expiredate", "--expiredate", _date),
        ("inactive", "--inactive", str),
    ):
        value = _text(person, key, check, wanted=wanted)
        if value:
            arguments += [option, value]
    primary = _primary_group(person, groups)
    if primary:
        arguments += ["--gid", primary]
    arguments += _selinux_user(ask, person, wanted)
    usual_gecos = usual_shell = ""
    if person.default:
        usual_gecos, usual_shell = ask.settings.user_gecos, ask.settings.user_shell
    return User(
        "user",
        person.name,
        gecos=_text(person, "gecos", _comment, wanted=wanted) or usual_gecos,
        shell=_text(person, "shell", _path, wanted=wanted) or usual_shell,
        groups=_further_groups(ask, person, groups),
        why=person.why,
        arguments=tuple(arguments),
    )


def _text(person: Person, key: str, check: Callable[[Any], str], wanted: Wanted) -> str:
    """Return a field as ``check`` returns it, or an empty text where it is missing or wrong."""
    value = person.get(key)
    if value in (None, ""):
        return ""
    return wanted.take(person.fields[key].at(), check, value) or ""


def _primary_group(person: Person, groups: _Groups) -> str:
    """Return the primary group to ask useradd(8) for, empty for its own choice."""
    if "primary_group" in person.fields:
        group = groups.take(person, "primary_group", consequence="; the user gets the usual one")
        if group is not None:
            return group
    if person.name in groups and not person.get("no_user_group"):
        return person.name  # useradd(8) makes a group of that name, and fails where it exists
    return ""


def _selinux_user(ask: Ask, person: Person, wanted: Wanted) -> list[str]:
    """Return useradd(8)'s arguments for an account's SELinux user."""
    if not person.get("selinux_user"):
        return []
    if not ask.facts.texts.get(defs.SELINUX_CONFIG):
        wanted.warn(person.fields["selinux_user"].at(), "this guest has no SELinux; ignored")
        return []
    name = _text(person, "selinux_user", fields.login_name, wanted=wanted)
    return ["--selinux-user", name] if name else []


def _further_groups(ask: Ask, person: Person, groups: _Groups) -> tuple[str, ...]:
    """Return the groups that a new account becomes a member of, each once."""
    found = list(groups.of_new.get(person.name, ()))
    if person.default and "groups" not in person.fields:
        found += default_user.usual_groups(ask)
    for index in range(len(person.get("groups", ()))):
        name = groups.take(person, "groups", index)
        if name is not None:
            found.append(name)
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
    from datetime import date  # a tenth of the time of a run, and few accounts expire

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise FieldError("is not a date: it must have the form 2032-09-01") from None
