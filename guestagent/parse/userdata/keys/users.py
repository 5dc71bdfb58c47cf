"""Keys of accounts and groups, and the form of their values after check().

===========  =================================================================================
users        list of {"name": str, …}; "default" is a name like others; the fields are those of
             ``USER``: groups, sudo ([] for false and null), doas and ssh_authorized_keys are lists
             of str, uid and inactive are int, flags bool
user         {…}, as one of users, without "name" if only fields were given
system_info  {"default_user": {…}}, as user
groups       {name: list of members}
===========  =================================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, Converted, ListOf, MapOf, Mapping
from guestagent.parse.userdata.keys.names import drop_empty, list_names, list_values, split_names
from guestagent.parse.userdata.keys.not_supported import FOR_CLOUD_INIT
from guestagent.parse.userdata.scalars import (
    FLAG_WORDS,
    Choice,
    Ignored,
    Integer,
    String,
    Unsupported,
    flag,
)
from guestagent.parse.userdata.shape import Field, Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.places import Moves, Path, Places

_SECRET = String(numbers=True, blank=False)
_DEFAULT_FALSE = "  Default: false."

PUBLIC_KEYS = Converted(AnyOf(ListOf(String(), single=True), MapOf(String())), list_values)
"""Public keys: one, a list, or the values of a mapping."""

IMPORT_IDS = ListOf(String(), single=True)
"""Names of people whose keys are fetched."""

_GROUP_NAMES = Converted(
    AnyOf(String(), ListOf(String()), MapOf(Unsupported("takes no value"), nulls="keep")),
    list_names,
)
# Null, false and an empty string say that there are no rules, where the image's own user has some.
_NO_RULES = Choice(
    old=((False, []), (None, [])), what="false, null or a rule such as ALL=(ALL) NOPASSWD:ALL"
)
_SUDO = Converted(AnyOf(_NO_RULES, ListOf(String(), single=True, nulls="drop")), drop_empty)

_NEVER = (False, "", "false", "never", "no", "none")
_LEFT_OUT = "asks for what is the default; left out"


class _OrNever(AnyOf):
    """A value, or a word that says that there is none, which is the same as not given."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(Choice(old=tuple((word, None) for word in _NEVER)), shape)
        self.what = shape.what

    def accepts(self, value: object) -> bool:
        """Accept false, and what the other shape accepts."""
        return value is False or self._shapes[1].accepts(value)

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the value, None for a word, with a warning."""
        if value is False or (isinstance(value, str) and value.strip().lower() in _NEVER):
            places.warn(old, _LEFT_OUT)
            return None
        return self._shapes[1].convert(places, value, old, new=new)


_DATE = _OrNever(String())
_DAYS = _OrNever(Integer())
_REDIRECT = Choice(True, False, old=(*FLAG_WORDS, ("default", True)))

_KEY_FIELDS = ("ssh_authorized_keys", "ssh-authorized-keys")
_SNAPUSER = Unsupported(
    "is not supported: use name and ssh_authorized_keys", substitutes=_KEY_FIELDS
)
_CHPASSWD = Ignored("belongs at the top level, not in a user; ignored")
_PASSWORD = Ignored("is not a field of a user; ignored: use plain_text_passwd")

_FIELDS = {
    "gecos": Field(String(numbers=True), "The comment field, usually the person's full name."),
    "groups": Field(_GROUP_NAMES, "More groups: a list, or names with commas between."),
    "primary_group": Field(String(), "The primary group instead of one named like the user."),
    "create_groups": Field(flag(), "Create the groups that do not exist.  Default: true."),
    "homedir": Field(String(), "The home directory instead of one below /home."),
    "no_create_home": Field(flag(), f"Create no home directory.{_DEFAULT_FALSE}"),
    "no_user_group": Field(flag(), f"Create no group named like the user.{_DEFAULT_FALSE}"),
    "no_log_init": Field(flag(), f"Leave lastlog and faillog alone.{_DEFAULT_FALSE}"),
    "shell": Field(String(), "Path of the login shell."),
    "system": Field(flag(), f"A system account, without a home directory.{_DEFAULT_FALSE}"),
    "uid": Field(Integer(least=0), "The user id instead of the next free one."),
    "expiredate": Field(_DATE, "The day the account expires, as YYYY-MM-DD."),
    "inactive": Field(_DAYS, "Days from a password's expiry until the account is disabled."),
    "lock_passwd": Field(flag(), "No login by password.  Default: true."),
    "passwd": Field(
        _SECRET, "Password hash of a new user; an existing one keeps its own.", secret=True
    ),
    "hashed_passwd": Field(_SECRET, "Password hash, also of an existing user.", secret=True),
    "plain_text_passwd": Field(
        _SECRET, "Password in clear text, also of an existing user.", secret=True
    ),
    # Null has a meaning of its own: no rules.
    "sudo": Field(_SUDO, "Rules for sudo: text, or a list of it.", null=False),
    "doas": Field(ListOf(String(), single=True), "Rules for doas."),
    "selinux_user": Field(String(), "The SELinux user of the login."),
    "ssh_authorized_keys": Field(PUBLIC_KEYS, "Public keys that may log in as this user."),
    "ssh_redirect_user": Field(_REDIRECT, "Refuse ssh logins, naming the default user instead."),
    "ssh_import_id": Field(IMPORT_IDS, "Whose keys to fetch, by the setting fetch.enable."),
    "snapuser": Field(_SNAPUSER, "Not supported: use name and ssh_authorized_keys."),
    "chpasswd": Field(_CHPASSWD, "Ignored: it belongs at the top level."),
    "password": Field(_PASSWORD, "Ignored: use plain_text_passwd.", secret=True),
}
# Each is accepted with hyphens, too, as cloud-init once spelled them. An account without one of
# them is better than none.
for _name, _field in _FIELDS.items():
    _old = (_name.replace("_", "-"),) if "_" in _name else ()
    _FIELDS[_name] = _field._replace(old=_old, alone=True)

USER = Mapping(
    {
        "name": Field(
            String(), "The login name; default means the image's own user.", required=True
        ),
        **_FIELDS,
    }
)
_USER_BY_NAME = Mapping(_FIELDS)
_DEFAULT_USER = Mapping(
    {"name": Field(String(), "The login name instead of the image's."), **_FIELDS}
)

# What cloud-init's own configuration files have there.
_OTHER_SYSTEM_INFO = (
    "availability_strategy",
    "distro",
    "network",
    "package_mirrors",
    "paths",
    "ssh_svcname",
    "ntp_client",
    "puppet",
    "rsyslog_svcname",
    "ssh_fp_console_blacklist",
    "users",
)
_SYSTEM_INFO = Mapping(
    {
        "default_user": Field(_DEFAULT_USER, "As user, which wins over it."),
        **dict.fromkeys(_OTHER_SYSTEM_INFO, Field(Ignored(FOR_CLOUD_INIT), "Ignored.")),
    }
)


def _list_users(value: Any) -> tuple[list[dict[str, Any]], Moves]:
    """Return users, of a text with commas, a list, or a mapping by name."""
    if isinstance(value, str):
        return [{"name": name} for name in split_names(value)], ()
    users: list[dict[str, Any]] = []
    moves: list[tuple[Path, Path]] = []

    def add(user: dict[str, Any], place: Path) -> None:
        moves.append((place, (len(users),)))
        users.append(user)

    if isinstance(value, dict):
        for name, user in value.items():
            if isinstance(user, dict):
                add(user | {"name": name}, (name,))
            elif user:
                add({"name": name}, (name,))
        return users, moves
    for index, item in enumerate(value):
        if isinstance(item, dict):
            add(item, (index,))
        elif isinstance(item, str):
            for name in split_names(item):
                add({"name": name}, (index,))
        else:
            for place, text in enumerate(item):
                for name in split_names(text):
                    add({"name": name}, (index, place))
    return users, moves


def _join_groups(value: Any) -> tuple[dict[str, list[str]], Moves]:
    """Return the members of groups by name, of a text with commas, a mapping, or a list of both."""
    groups: dict[str, list[str]] = {}
    moves: list[tuple[Path, Path]] = []

    def add(name: str, members: list[str], place: Path) -> None:
        if name not in groups:
            moves.append((place, (name,)))
            groups[name] = []
        for member in members:
            if member not in groups[name]:
                groups[name].append(member)

    items: list[tuple[Path, Any]] = [((), value)]
    if isinstance(value, list):
        items = [((index,), item) for index, item in enumerate(value)]
    for place, item in items:
        if isinstance(item, str):
            for name in split_names(item):
                add(name, [], place)
        else:
            for name, members in item.items():
                add(name, members or [], (*place, name))
    return groups, moves


def _user_of_name(value: Any) -> tuple[dict[str, Any], Moves]:
    """Return a user, of a name or of a mapping."""
    if isinstance(value, str):
        return {"name": value}, [((), ("name",))]
    return value, [((), ())]


_USERS = Converted(
    AnyOf(
        ListOf(AnyOf(String(), ListOf(String()), USER)),
        String(),
        MapOf(AnyOf(flag(), _USER_BY_NAME)),
    ),
    _list_users,
)
_GROUP_MEMBERS = MapOf(ListOf(String(), single=True), nulls="keep")
_GROUPS = Converted(
    AnyOf(ListOf(AnyOf(String(), _GROUP_MEMBERS)), String(), _GROUP_MEMBERS), _join_groups
)

KEYS = {
    "users": Field(
        _USERS, "Accounts to create; the default user only if default is one of the names."
    ),
    "user": Field(
        Converted(AnyOf(String(), _DEFAULT_USER), _user_of_name),
        "What is different about the default user.",
    ),
    "system_info": Field(_SYSTEM_INFO, "Settings of cloud-init itself: those of the default user."),
    "groups": Field(_GROUPS, "Groups to create, and their members."),
}
