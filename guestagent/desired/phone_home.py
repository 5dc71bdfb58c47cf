"""``phone_home``: post the instance's keys and names to a URL, once it is configured."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.hostname import names
from guestagent.parse import fields
from guestagent.plan.kinds.script import Script
from guestagent.system.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask, Wanted

_ALL_FIELDS = (
    "pub_key_rsa",
    "pub_key_ecdsa",
    "pub_key_ed25519",
    "instance_id",
    "hostname",
    "fqdn",
)
_TRIES = 10
# The parameters go to standard input, because everyone can read a command line.
_SCRIPT = """\
#!/bin/sh
exec {program} phone-home <<'END'
{parameters}
END
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan a script that calls the verb phone-home."""
    setting = ask.data.setting("phone_home")
    if setting is None:
        return
    url = wanted.take(setting.at("url"), fields.url, setting.value["url"])
    if url is None:
        return
    posted = setting.value.get("post", "all")
    if posted == "all":
        posted = _ALL_FIELDS
    short_name, full_name = names(ask.data)
    parameters = {
        "url": url,
        "post": posted,
        "tries": setting.value.get("tries", _TRIES),
        "hostname": short_name,
        "fqdn": full_name,
    }
    content = _SCRIPT.format(program=defs.PROGRAM, parameters=dumps(parameters))
    may_hold_password = "@" in url or "?" in url
    wanted.want(
        Script(
            "script",
            "late",
            80,
            "instance",
            name="phone_home",
            content=content.encode(),
            why=setting.at(),
            secret=may_hold_password,
        )
    )
