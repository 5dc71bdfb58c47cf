"""Keys of passwords, and the form of their values after check().

========  ==============================================================================
password  str (secret)
chpasswd  {"expire": bool, "users": list of {"name", "password", "type"}, "list": list of
          "name:password" (secret)}, each only if it was given
========  ==============================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, Converted, ListOf, Mapping, Unless
from guestagent.parse.userdata.keys.names import list_lines
from guestagent.parse.userdata.scalars import Choice, String, flag
from guestagent.parse.userdata.shape import Field

_USER = Mapping(
    {
        "name": Field(String(), "The user who gets the password.", required=True),
        "password": Field(String(numbers=True), "Hash, or clear text.", secret=True, null=False),
        "type": Field(
            Choice("hash", "text", "RANDOM"),
            "What password is; RANDOM generates one.  Default: hash.",
        ),
    },
    unless=Unless("password", "type", "RANDOM"),
)
_CHPASSWD = Mapping(
    {
        "expire": Field(
            flag(), "Passwords must be changed at the first login.  Default: true.", alone=True
        ),
        "users": Field(ListOf(_USER), "Users whose passwords are set.", alone=True),
        "list": Field(
            Converted(AnyOf(String(), ListOf(String())), list_lines),
            "The older form: name:password, a list or one per line; R or RANDOM generates one.",
            secret=True,
            alone=True,
        ),
    }
)

KEYS = {
    "password": Field(
        String(numbers=True, blank=False), "The default user's password.", secret=True
    ),
    "chpasswd": Field(_CHPASSWD, "Passwords to set."),
}
