"""Whom cloud-config speaks of: ``users`` and ``user``, put together to one person for each name.

``system_info.default_user`` is as ``user``, which wins over it field by field.  As with
cloud-init, a list of users without ``default`` among them makes no default user, and of two
entries for one name the first has the first word on each field.
"""

from __future__ import annotations

from guestagent.desired.accounts import default_user, usual_groups
from guestagent.errors import FieldError, Problem
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.errors import Origin
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.settings import Settings

_MARKS = frozenset("_.-")
_HOMELESS = ("no_create_home", "system")
_IN_HOME = ("ssh_authorized_keys", "ssh_redirect_user")


class Value(NamedTuple):
    """A field's value, and where it stands."""

    value: Any
    setting: Setting
    path: tuple[str | int, ...]

    def at(self, *below: str | int) -> Origin:
        """The origin of the value, or of a part of it."""
        return self.setting.at(*self.path, *below)


class Person(NamedTuple):
    """An account that cloud-config wants; ``new`` if the guest has none of that name."""

    name: str
    why: Origin
    fields: dict[str, Value]
    new: bool
    default: bool

    def get(self, field: str, otherwise: Any = None) -> Any:
        """The value of a field, or what counts where it is not given."""
        found = self.fields.get(field)
        return otherwise if found is None else found.value


def login_name(text: str) -> str:
    """A user or group name as useradd(8) takes it: letters, digits, ``_``, ``.`` and ``-``.

    Besides the names of ``fields.user_name`` those with capitals and dots, as people have them.
    """
    inside = all(char.isalnum() or char in _MARKS for char in text)
    if not (text.isascii() and inside and 0 < len(text) <= 32):
        raise FieldError("is not a user name: 32 letters, digits, _ . and - at most")
    if not (text[0].isalpha() or text[0] == "_"):
        raise FieldError("is not a user name: a letter or _ must come first")
    return text


def people(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Person], str, list[Problem]]:
    """The persons, the default user's name (empty for none), and what is wrong."""
    problems: list[Problem] = []
    entries = _entries(data, problems)
    own = data.setting("user")
    system = data.setting("system_info")
    base = system.value.get("default_user") if system else None
    own_fields = _fields(system, base, "default_user") if system and base else {}
    own_fields |= _fields(own, own.value) if own else {}
    default = default_user(facts, settings)
    named = own_fields.pop("name", None)
    if named is not None:
        try:
            default = login_name(named.value)
        except FieldError as error:
            problems.append(Problem("error", *named.at(), str(error)))
    if own is not None:
        entries.setdefault("default", (own.at(), {}))
    elif system and base and data.setting("users") is None:
        entries["default"] = (system.at("default_user"), {})
    if data.setting("users") is None and not entries:
        return [], default, problems  # it is made if something is for it
    if "default" not in entries:
        default = ""
    found: list[Person] = []
    for name, (why, given) in entries.items():
        is_default = name == "default"
        if name == default != "default":
            continue  # it is part of the default user
        if is_default:
            given = _default_fields(own_fields, given, entries.get(default), facts, settings)
        real = default if is_default else name
        new = facts.account(real) is None or real in facts.unfinished
        person = Person(real, why, given, new, is_default)
        wrong = _contradiction(person)
        if wrong is not None:
            problems.append(wrong)
        else:
            found.append(person)
    if default and not any(person.default for person in found):
        default = ""
    # As with cloud-init the default user is made last: numbers of accounts are handed out in order.
    return sorted(found, key=lambda person: person.default), default, problems


def _entries(
    data: InstanceData, problems: list[Problem]
) -> dict[str, tuple[Origin, dict[str, Value]]]:
    """The fields of ``users`` by name."""
    users = data.setting("users")
    found: dict[str, tuple[Origin, dict[str, Value]]] = {}
    if users is None:
        return found
    for index, entry in enumerate(users.value):
        try:
            name = login_name(entry["name"])
        except FieldError as error:
            problems.append(Problem("error", *users.at(index, "name"), str(error)))
            continue
        given = _fields(users, entry, index)
        del given["name"]
        why, known = found.get(name, (users.at(index, "name"), {}))
        found[name] = why, given | known
    return found


def _fields(setting: Setting, entry: dict[str, Any], *path: str | int) -> dict[str, Value]:
    return {key: Value(value, setting, (*path, key)) for key, value in entry.items()}


def _default_fields(
    own: dict[str, Value],
    entry: dict[str, Value],
    by_name: tuple[Origin, dict[str, Value]] | None,
    facts: Facts,
    settings: Settings,
) -> dict[str, Value]:
    """What the default user has: user data's word comes before the settings'.

    Groups that are given with the user's real name come to those of the settings.
    """
    named = by_name[1] if by_name else {}
    found = named | entry | own
    if "groups" in named and "groups" not in entry | own:
        groups = [*named["groups"].value, *usual_groups(facts, settings)]
        found["groups"] = named["groups"]._replace(value=list(dict.fromkeys(groups)))
    return found


def _contradiction(person: Person) -> Problem | None:
    """What speaks against the whole account, as it does with cloud-init."""
    wrong = ""
    homeless = [key for key in _HOMELESS if person.get(key)]
    in_home = [key for key in _IN_HOME if person.get(key)]
    if homeless and in_home:
        wrong = f"has {in_home[0]}, which needs a home, and {homeless[0]}; the user is left out"
    elif person.get("ssh_redirect_user") and "ssh_authorized_keys" in person.fields:
        wrong = "has both ssh_redirect_user and ssh_authorized_keys; the user is left out"
    return Problem("error", *person.why, wrong) if wrong else None
