"""Keys of locale, keyboard and time zone, and the form of their values after check().

==================  ==============================================
locale              str | False
locale_configfile   str
keyboard            {"layout": str, "model", "variant", "options": str}
timezone            str
==================  ==============================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, Mapping
from guestagent.parse.userdata.scalars import Choice, String
from guestagent.parse.userdata.shape import Field

_KEYBOARD = Mapping(
    {
        "layout": Field(String(), "The layout: XKBLAYOUT of keyboard(5).", required=True),
        "model": Field(String(numbers=True), "The model: XKBMODEL.  Default: pc105."),
        "variant": Field(String(), "The variant: XKBVARIANT."),
        "options": Field(String(), "Options: XKBOPTIONS."),
    },
    example="{layout: de}",
)

KEYS = {
    "timezone": Field(String(blank=False), "The time zone, a name below /usr/share/zoneinfo."),
    "locale": Field(
        AnyOf(Choice(False), String(blank=False)),
        "The locale; false leaves it alone, and so does an empty string.",
    ),
    "locale_configfile": Field(String(), "The file that names the locale."),
    "keyboard": Field(_KEYBOARD, "The keyboard."),
}
