"""Keys for the end of the first boot, and the form of their values after check().

=============  ================================================================================
power_state    {"mode": "poweroff" | "reboot" | "halt", "delay": int (minutes, now is 0),
               "message": str, "timeout": int (seconds), "condition": bool | str | list of str}
phone_home     {"url": str, "post": "all" | list of names, "tries": int}
final_message  str
=============  ================================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, ListOf, Mapping
from guestagent.parse.userdata.scalars import Choice, Integer, String
from guestagent.parse.userdata.shape import Field

# A word that cannot be used makes the command bad: the rest would be another command.
_COMMAND = ListOf(String(numbers=True), whole=True)

_POWER_STATE = Mapping(
    {
        "mode": Field(Choice("poweroff", "reboot", "halt"), "What to do.", required=True),
        "delay": Field(
            Integer(least=0, words=(("now", 0),)), "Minutes to wait, or now.  Default: now."
        ),
        "message": Field(String(), "The message to users who are logged in."),
        "timeout": Field(Integer(least=0), "Seconds to wait for the boot to end.  Default: 30."),
        "condition": Field(
            AnyOf(Choice(True, False), String(), _COMMAND),
            "Only if true, or if this command succeeds.  Default: true.",
        ),
    },
    example="{mode: reboot}",
)

_POSTED = (
    "instance_id",
    "hostname",
    "fqdn",
    "pub_key_rsa",
    "pub_key_ecdsa",
    "pub_key_ed25519",
    "pub_key_dsa",
)
_PHONE_HOME = Mapping(
    {
        "url": Field(String(), "The URL to post to.", required=True),
        "post": Field(
            AnyOf(Choice("all"), ListOf(Choice(*_POSTED))), "What to post.  Default: all."
        ),
        "tries": Field(Integer(least=0), "How often to try.  Default: 10."),
    },
    example="{url: 'https://lab.example/'}",
)

KEYS = {
    "power_state": Field(_POWER_STATE, "Switch off or reboot at the end of the boot."),
    "phone_home": Field(_PHONE_HOME, "Tell a server that the boot has ended."),
    "final_message": Field(String(), "The message in the log at the end of the boot."),
}
