"""Accounts, passwords and ssh: keys of cloud-config, and the form of their values after check().

======================  =======================================================================
users                   list of {"name": str, …}, "default" a name like others; fields are
                        those of ``USER``: groups, sudo ([] for false and null), doas and
                        ssh_authorized_keys are lists of str, uid and inactive int, flags bool
user                    {…}, as one of users, without "name" where only fields were given
system_info             {"default_user": {…}}, as user
groups                  {name: list of members}
password                str (secret)
chpasswd                {"expire": bool, "users": list of {"name", "password", "type"}, "list":
                        list of "name:password" (secret)}, each only where given
ssh_pwauth              bool ("unchanged" is the same as not given)
disable_root            bool;  disable_root_opts  str;  allow_public_ssh_keys  bool
ssh_authorized_keys     list of str
ssh_keys                {"rsa_private": str (secret), "rsa_public": str, "rsa_certificate": …}
ssh_deletekeys          bool;  ssh_genkeytypes  list of "rsa", "ecdsa", "ed25519", "dsa"
======================  =======================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.keys.other import INNER
from guestagent.parse.userdata.shapes import (
    FLAG_WORDS,
    Choice,
    Field,
    Ignored,
    Number,
    Refused,
    Shape,
    Text,
    flag,
)
from guestagent.parse.userdata.shapes_nested import As, Either, ListOf, MapOf, ObjectOf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.reader import Moves, Path

_WRITTEN = Text(numbers=True)
_SECRET = Text(numbers=True, blank=False)


def _pieces(text: str) -> list[str]:
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def _names(value: Any) -> tuple[list[str], Moves]:
    """Names, of text with commas, a list or an object's keys."""
    if isinstance(value, str):
        return _pieces(value), ()
    if isinstance(value, dict):
        return list(value), [((name,), (index,)) for index, name in enumerate(value)]
    result: list[str] = []
    moves: list[tuple[Path, Path]] = []
    for index, text in enumerate(value):
        for piece in _pieces(text):
            moves.append(((index,), (len(result),)))
            result.append(piece)
    return result, moves


def _users(value: Any) -> tuple[list[dict[str, Any]], Moves]:
    """Users, of text with commas, a list of these, of lists and of objects, or an object."""
    result: list[dict[str, Any]] = []
    moves: list[tuple[Path, Path]] = []

    def add(user: dict[str, Any], *place: str | int) -> None:
        moves.append((place, (len(result),)))
        result.append(user)

    if isinstance(value, str):
        return [{"name": name} for name in _pieces(value)], ()
    if isinstance(value, dict):
        for name, user in value.items():
            if isinstance(user, dict):
                add(user | {"name": name}, name)
            elif user:
                add({"name": name}, name)
        return result, moves
    for index, item in enumerate(value):
        if isinstance(item, dict):
            add(item, index)
        elif isinstance(item, str):
            for name in _pieces(item):
                add({"name": name}, index)
        else:
            for place, text in enumerate(item):
                for name in _pieces(text):
                    add({"name": name}, index, place)
    return result, moves


def _groups(value: Any) -> tuple[dict[str, list[str]], Moves]:
    """Groups, of text with commas, an object, or a list of both."""
    result: dict[str, list[str]] = {}
    moves: list[tuple[Path, Path]] = []
    items = [((), value)] if not isinstance(value, list) else enumerate(value)
    for index, item in items:
        place: Path = (index,) if isinstance(index, int) else ()
        for name in _pieces(item) if isinstance(item, str) else item:
            if name not in result:
                moves.append((place if isinstance(item, str) else (*place, name), (name,)))
            known = result.setdefault(name, [])
            members = item[name] or [] if isinstance(item, dict) else []
            known += [member for member in members if member not in known]
    return result, moves


def _named(value: Any) -> tuple[dict[str, Any], Moves]:
    """A user, of its name or its fields."""
    return ({"name": value}, [((), ("name",))]) if isinstance(value, str) else (value, [((), ())])


def _keys(value: Any) -> tuple[list[str], Moves]:
    """Keys, of a list or of the values of an object."""
    if isinstance(value, list):
        return value, [((), ())]
    return list(value.values()), [((name,), (index,)) for index, name in enumerate(value)]


def _lines(value: Any) -> tuple[list[str], Moves]:
    """The lines of text, or a list as it is; empty ones left out."""
    lines = value.splitlines() if isinstance(value, str) else value
    return _full(lines)


def _full(lines: list[str]) -> tuple[list[str], Moves]:
    """The list without what is empty in it."""
    full = [(index, line) for index, line in enumerate(lines) if line.strip()]
    return [line for _, line in full], [
        ((index,), (place,)) for place, (index, _) in enumerate(full)
    ]


_NAMES = As(Either(Text(), ListOf(Text()), MapOf(Refused("takes no value"), nulls="keep")), _names)
_PUBLIC_KEYS = As(Either(ListOf(Text(), single=True), MapOf(Text())), _keys)
_MEMBERS = ListOf(Text(), single=True)
# None, false and empty text say that there are no rules, where the default user would have some.
_NO_RULES = Choice(
    old=((False, []), (None, [])), what="false, null or a rule such as ALL=(ALL) NOPASSWD:ALL"
)
_SUDO = As(Either(_NO_RULES, ListOf(Text(), single=True, nulls="drop")), _full)


_KEY_FIELDS = ("ssh_authorized_keys", "ssh-authorized-keys")


def _user_fields(name: Field | None) -> dict[str, Field]:
    fields: dict[str, tuple[Shape, str]] = {
        "gecos": (_WRITTEN, "The comment field: usually the person's full name."),
        "groups": (_NAMES, "Groups besides the primary one: a list, or names with commas between."),
        "primary_group": (Text(), "The primary group instead of one named like the user."),
        "create_groups": (flag(), "Create the groups that do not exist.  Default: true."),
        "homedir": (Text(), "The home directory instead of one below /home."),
        "no_create_home": (flag(), "Create no home directory.  Default: false."),
        "no_user_group": (flag(), "Create no group named like the user.  Default: false."),
        "no_log_init": (flag(), "Leave lastlog and faillog alone.  Default: false."),
        "shell": (Text(), "Path of the login shell."),
        "system": (flag(), "A system account, without a home directory.  Default: false."),
        "uid": (Number(least=0), "The user id instead of the next free one."),
        "expiredate": (Text(), "The day the account expires, as YYYY-MM-DD."),
        "inactive": (Number(), "Days from a password's expiry until the account is disabled."),
        "lock_passwd": (flag(), "No login by password.  Default: true."),
        "passwd": (_SECRET, "Password hash of a new user; one that exists keeps its own."),
        "hashed_passwd": (_SECRET, "Password hash, also of a user who exists already."),
        "plain_text_passwd": (_SECRET, "Password in clear, also of a user who exists already."),
        "sudo": (_SUDO, "Rules for sudo: text, or a list of it."),
        "doas": (ListOf(Text(), single=True), "Rules for doas."),
        "selinux_user": (Text(), "The SELinux user of the login."),
        "ssh_authorized_keys": (_PUBLIC_KEYS, "Public keys that may log in as this user."),
        "ssh_redirect_user": (flag(), "Refuse ssh logins, naming the default user instead."),
        "ssh_import_id": (
            Refused(
                "is not supported: keys of others are not fetched; use ssh_authorized_keys",
                spared=_KEY_FIELDS,
            ),
            "Not supported: list the keys under ssh_authorized_keys.",
        ),
        "snapuser": (
            Refused(
                "is not supported: use name and ssh_authorized_keys",
                spared=_KEY_FIELDS,
            ),
            "Not supported: use name and ssh_authorized_keys.",
        ),
        "chpasswd": (
            Ignored("stands at the top level, not in a user; ignored"),
            "Ignored: it stands at the top level.",
        ),
        "password": (
            Ignored("is no field of a user; use plain_text_passwd; ignored"),
            "Ignored: use plain_text_passwd.",
        ),
    }
    secret = ("password", "passwd", "hashed_passwd", "plain_text_passwd")
    return ({"name": name} if name else {}) | {
        key: Field(
            shape,
            text,
            (key.replace("_", "-"),) if "_" in key else (),
            secret=key in secret,
            null=key != "sudo",
        )
        for key, (shape, text) in fields.items()
    }


_NAME = "The login name; default means the image's own user."
USER = ObjectOf(_user_fields(Field(Text(), _NAME, required=True)))
_USER_BY_KEY = ObjectOf(_user_fields(None))
_DEFAULT_USER = ObjectOf(_user_fields(Field(Text(), "The login name instead of the image's.")))

# What else stands there in cloud-init's own files.
_INNER_FIELDS = (
    *("availability_strategy", "distro", "network", "package_mirrors", "paths", "ssh_svcname"),
    *("ntp_client", "puppet", "rsyslog_svcname", "ssh_fp_console_blacklist", "users"),
)
_SYSTEM_INFO = ObjectOf(
    {"default_user": Field(_DEFAULT_USER, "As user, which wins over it.")}
    | {name: Field(Ignored(INNER), "Ignored.") for name in _INNER_FIELDS}
)

_USERS = As(
    Either(
        ListOf(Either(Text(), ListOf(Text()), USER)), Text(), MapOf(Either(flag(), _USER_BY_KEY))
    ),
    _users,
)
_GROUPS = As(
    Either(
        ListOf(Either(Text(), MapOf(_MEMBERS, nulls="keep"))), Text(), MapOf(_MEMBERS, nulls="keep")
    ),
    _groups,
)

_CHPASSWD = ObjectOf(
    {
        "expire": Field(flag(), "Passwords must be changed at the first login.  Default: true."),
        "users": Field(
            ListOf(
                ObjectOf(
                    {
                        "name": Field(Text(), "Who gets the password.", required=True),
                        "password": Field(
                            _WRITTEN, "Hash, or clear text.", secret=True, null=False
                        ),
                        "type": Field(
                            Choice("hash", "text", "RANDOM"),
                            "What password is; RANDOM makes one up.  Default: hash.",
                        ),
                    },
                    unless=("password", "type", "RANDOM"),
                )
            ),
            "Whose passwords to set.",
        ),
        "list": Field(
            As(Either(Text(), ListOf(Text())), _lines),
            "The older form: name:password, a list or one on each line; R or RANDOM makes one up.",
            secret=True,
        ),
    }
)

_KEY_TYPES = ("rsa", "ecdsa", "ed25519", "dsa")
_SSH_KEYS = ObjectOf(
    {
        f"{kind}_{part}": Field(Text(), f"{text} of type {kind}.", secret=part == "private")
        for kind in _KEY_TYPES
        for part, text in (
            ("private", "Private host key"),
            ("public", "Public host key"),
            ("certificate", "Host certificate"),
        )
    }
)

KEYS = {
    "users": Field(_USERS, "The users there shall be; without default among them, no default one."),
    "user": Field(
        As(Either(Text(), _DEFAULT_USER), _named), "What is other with the default user."
    ),
    "system_info": Field(_SYSTEM_INFO, "Of cloud-init's own settings, the default user's."),
    "groups": Field(_GROUPS, "Groups to create, and their members."),
    "password": Field(_SECRET, "The default user's password.", secret=True),
    "chpasswd": Field(_CHPASSWD, "Passwords to set."),
    "ssh_pwauth": Field(
        Choice(True, False, old=(*FLAG_WORDS, ("unchanged", None))),
        "Whether sshd takes passwords.  Default: as the image has it.",
    ),
    "disable_root": Field(flag(), "No ssh login as root.  Default: true."),
    "disable_root_opts": Field(Text(), "Options before root's keys where its login is disabled."),
    "allow_public_ssh_keys": Field(flag(), "Take the public keys of the metadata.  Default: true."),
    "ssh_authorized_keys": Field(_PUBLIC_KEYS, "Public keys that may log in as the default user."),
    "ssh_keys": Field(_SSH_KEYS, "Host keys to install; then none are generated."),
    "ssh_deletekeys": Field(flag(), "Replace the image's host keys.  Default: true."),
    "ssh_genkeytypes": Field(
        ListOf(Choice(*_KEY_TYPES), single=True), "Types of host keys to generate."
    ),
}
