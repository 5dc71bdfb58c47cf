"""The accounts that cloud-config describes: ``users`` and ``user``, one record for each name.

``system_info.default_user`` means the same as ``user``, which overrides it field by field.  As with
cloud-init, a list of users without ``default`` in it makes no default user; but where the list
names one as the default user is called, that one gets the instance's keys and password.  Where two
entries have one name, the first that gives a field decides it.
"""

from __future__ import annotations

from guestagent.desired.accounts import default_user
from guestagent.parse.fields import login_name
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.errors import Origin
    from guestagent.model import Setting
    from guestagent.plan.wanted import Ask, Wanted

    # Where an account's entry is, and the fields it has.
    Entry = tuple[Origin, dict[str, "Value"]]

_DEFAULT = "default"
_HOMELESS = ("no_create_home", "system")
_REDIRECT = "ssh_redirect_user"
_IN_HOME = ("ssh_authorized_keys", _REDIRECT)


class Value(NamedTuple):
    """A field's value, and its place in cloud-config."""

    value: Any
    setting: Setting
    path: tuple[str | int, ...]

    def at(self, *below: str | int) -> Origin:
        """Return the origin of the value, or of a part of it."""
        return self.setting.at(*self.path, *below)


class Person(NamedTuple):
    """An account that cloud-config describes.

    ``new`` is true where the guest has no account of that name, or only one that a killed run had
    begun to make.  ``default`` is true for the default user.  ``home`` is the home directory that
    a new account gets, empty for the usual one.
    """

    name: str
    why: Origin
    fields: dict[str, Value]
    new: bool
    default: bool = False
    home: str = ""

    def get(self, field: str, otherwise: Any = None) -> Any:
        """Return the value of a field; ``otherwise`` where it is not given."""
        found = self.fields.get(field)
        return otherwise if found is None else found.value


def read(ask: Ask, wanted: Wanted) -> tuple[str, list[Person]]:
    """Return the default user's name, empty where there is none, and the accounts described."""
    entries = _entries(ask, wanted)
    own = _own_fields(ask)
    name = default_user.usual_name(ask)
    named = own.pop("name", None)
    if named is not None:
        name = wanted.take(named.at(), login_name, named.value) or name
    _add_default(ask, entries)
    if ask.data.setting("users") is None and not entries:
        return name, []  # the default user is made if it gets a key or a password
    default = entries.pop(_DEFAULT, None)
    # An entry with the default user's own name describes the default user, too.
    same = entries.pop(name, None) if default is not None else None
    people = [_person(ask, entry, why, fields=fields) for entry, (why, fields) in entries.items()]
    if default is not None:
        why, fields = default
        fields = _default_fields(ask, own, fields, same=same)
        person = _person(ask, name, why, fields=fields)
        # As with cloud-init it is made last: numbers are given to accounts in this order.
        people.append(person._replace(default=True))
    people = [person for person in people if _makes_sense(person, wanted)]
    is_listed = any(person.name == name and _takes_keys(person) for person in people)
    return name if is_listed else "", people


def _takes_keys(person: Person) -> bool:
    """Tell whether an account of the default user's name gets the instance's keys and password.

    Without ``default`` in the list it gets nothing else of what the settings give that user.
    """
    return person.default or not any(person.get(key) for key in (*_HOMELESS, _REDIRECT))


def _person(ask: Ask, name: str, why: Origin, fields: dict[str, Value]) -> Person:
    """Return an account of that name."""
    new = ask.facts.account(name) is None or name in ask.facts.unfinished
    return Person(name, why, fields, new=new)


def _entries(ask: Ask, wanted: Wanted) -> dict[str, Entry]:
    """Return the entries of ``users`` by name; further ones of a name add what the first lacks."""
    users = ask.data.setting("users")
    found: dict[str, Entry] = {}
    if users is None:
        return found
    for index, entry in enumerate(users.value):
        why = users.at(index, "name")
        name = wanted.take(why, login_name, entry["name"])
        if name is None:
            continue
        fields = _fields(users, entry, index)
        del fields["name"]
        if name in found:
            why, earlier = found[name]
            fields |= earlier
        found[name] = why, fields
    return found


def _fields(setting: Setting, entry: dict[str, Any], *path: str | int) -> dict[str, Value]:
    """Return the fields of an entry, which is at a path of a setting's value."""
    return {key: Value(value, setting, (*path, key)) for key, value in entry.items()}


def _own_fields(ask: Ask) -> dict[str, Value]:
    """Return what ``system_info.default_user`` and ``user`` say of the default user."""
    system, own = ask.data.setting("system_info"), ask.data.setting("user")
    fields: dict[str, Value] = {}
    if system is not None and system.value.get("default_user"):
        fields |= _fields(system, system.value["default_user"], "default_user")
    if own is not None:
        fields |= _fields(own, own.value)
    return fields


def _add_default(ask: Ask, entries: dict[str, Entry]) -> None:
    """Add an entry for the default user where another key than ``users`` asks for one."""
    system, own = ask.data.setting("system_info"), ask.data.setting("user")
    if own is not None:
        entries.setdefault(_DEFAULT, (own.at(), {}))
    elif ask.data.setting("users") is None and system and system.value.get("default_user"):
        entries[_DEFAULT] = system.at("default_user"), {}


def _default_fields(
    ask: Ask, own: dict[str, Value], entry: dict[str, Value], same: Entry | None
) -> dict[str, Value]:
    """Return the default user's fields.

    The first of these that gives a field decides it: ``own``, of ``user`` and ``system_info``;
    ``entry``, of the name ``default`` in ``users``; and ``same``, of the user's real name there.
    Groups that only the last gives are added to those of the settings.
    """
    by_name = same[1] if same else {}
    fields = by_name | entry | own
    if "groups" in by_name and "groups" not in entry | own:
        groups = [*by_name["groups"].value, *default_user.usual_groups(ask)]
        fields["groups"] = by_name["groups"]._replace(value=list(dict.fromkeys(groups)))
    return fields


def _makes_sense(person: Person, wanted: Wanted) -> bool:
    """Tell whether no two fields contradict each other; the account is left out if they do.

    cloud-init refuses the same combinations.
    """
    homeless = [key for key in _HOMELESS if person.get(key)]
    in_home = [key for key in _IN_HOME if person.get(key)]
    if homeless and in_home:
        reason = f"has {in_home[0]}, which needs a home, and {homeless[0]}; the user is left out"
    elif person.get(_REDIRECT) and "ssh_authorized_keys" in person.fields:
        reason = "has both ssh_redirect_user and ssh_authorized_keys; the user is left out"
    else:
        return True
    wanted.error(person.why, reason)
    return False
