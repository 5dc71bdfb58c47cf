"""Files, commands and the end: keys of cloud-config, and the form of their values after check().

=============  ================================================================================
write_files    list of {"path": str, "content": str | bytes, "encoding": "text/plain" | "base64"
               | "gzip" | "gzip+base64", "owner": str, "permissions": str (octal digits),
               "append", "defer": bool}; only path is always there
bootcmd        list of commands: str for the shell, or a list of str, the words of one
runcmd         the same
power_state    {"mode": "poweroff" | "reboot" | "halt", "delay": int (minutes, now is 0),
               "message": str, "timeout": int (seconds), "condition": bool | str | list of str}
phone_home     {"url": str, "post": "all" | list of names, "tries": int}
final_message  str
vendor_data    {"enabled": bool}
=============  ================================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.shapes import Choice, Field, Number, Refused, Text, flag
from guestagent.parse.userdata.shapes_nested import Either, ListOf, ObjectOf
from guestagent.parse.userdata.yamltree import Octal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.reader import Path, Reader
    from guestagent.parse.userdata.shapes import Schema

_WRITTEN = Text(numbers=True)
_NONE_RUN = "none of the commands is run"
_OCTAL = frozenset("01234567")


class _Word(Text):
    """A word of a command: numbers, and as cloud-init has it True and False, for their text."""

    def accepts(self, value: object) -> bool:
        """Text, a number or a boolean."""
        return isinstance(value, bool) or super().accepts(value)

    def wrong(self, value: object) -> str:
        """A bad word spoils all."""
        return f"{super().wrong(value)}; {_NONE_RUN}"

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The word."""
        if not isinstance(value, bool):
            return super().inside(reader, value, old, new)
        reason = "is taken as True or False: put it in quotes to keep it as written"
        reader.note("warning", old, reason)
        return str(value)

    def json(self) -> Schema:
        """Text and numbers; booleans too."""
        return {"anyOf": [super().json(), {"type": "boolean", "deprecated": True}]}


class _Command(Either):
    """A command, one that cannot be used spoils all: what follows may rely on it."""

    def wrong(self, value: object) -> str:
        """With what makes a mapping of a command that was meant as text."""
        why = "; a colon and a space make a mapping: put the command in quotes"
        hint = why if isinstance(value, dict) else ""
        return f"must be a string or a list of strings{hint}; {_NONE_RUN}"


# A word that cannot be used spoils its command: the rest would be another command.
_WORDS = ListOf(_WRITTEN, whole=True)
_COMMANDS = ListOf(
    _Command(Text(), ListOf(_Word(numbers=True), whole=True)), nulls="drop", whole=True
)


class _Mode(Either):
    """Permissions: octal digits, or a number that YAML made of them."""

    def __init__(self) -> None:
        super().__init__(Number(least=0, text=False), Text())

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The digits: those of the mode for a number in octal, 0644, else as they were written.

        A number with other digits than octal ones, 493, can only be the mode itself.
        """
        found = super().inside(reader, value, old, new)
        if isinstance(value, str):
            return found
        if isinstance(value, Octal) or not _OCTAL.issuperset(str(found)):
            return f"{found:04o}"
        if found > 7:
            reason = "is a number without 0 before it, taken as octal: write it as in '0644'"
            reader.note("warning", old, reason)
        return str(found)

    def json(self) -> Schema:
        """Text; a number too."""
        number = Number(least=0, text=False).json()
        return {"anyOf": [number | {"deprecated": True}, Text().json()]}


class _Encoding(Choice):
    """An encoding in any case; one that is not known is none, as with cloud-init."""

    def inside(self, reader: Reader, value: Any, old: Path, new: Path) -> Any:
        """The encoding, None for empty text."""
        word = value.strip().lower()
        if not word:
            return None
        for known, meaning in self._meanings:
            if word == known:
                return meaning
        reader.note("warning", old, "is no known one; content is taken as it is, as text/plain")
        return "text/plain"

    def json(self) -> Schema:
        """The known ones; any other text too."""
        now: Schema = {"enum": list(self._values)}
        return {"anyOf": [now, {"type": "string", "deprecated": True}]}


_FILE = ObjectOf(
    {
        "path": Field(Text(), "The file's absolute path.", required=True),
        "content": Field(Text(binary=True), "What it holds.  Default: nothing."),
        "encoding": Field(
            _Encoding(
                "text/plain",
                "base64",
                "gzip",
                "gzip+base64",
                old=(
                    ("b64", "base64"),
                    ("gz", "gzip"),
                    ("gz+base64", "gzip+base64"),
                    ("gzip+b64", "gzip+base64"),
                    ("gz+b64", "gzip+base64"),
                ),
            ),
            "How content is packed.  Default: text/plain, not at all.",
        ),
        "owner": Field(Text(), "user:group.  Default: root:root."),
        "permissions": Field(_Mode(), "The mode in octal, in quotes.  Default: 0644."),
        "append": Field(flag(), "Add to the file instead of replacing it.  Default: false."),
        "defer": Field(flag(), "Write it late, after users and packages.  Default: false."),
        "source": Field(
            Refused(
                "is not supported: files are not fetched; use content, or a script", whole=True
            ),
            "Not supported: use content, or a script that fetches.",
        ),
    }
)

_POWER_STATE = ObjectOf(
    {
        "mode": Field(Choice("poweroff", "reboot", "halt"), "What to do.", required=True),
        "delay": Field(
            Number(least=0, words=(("now", 0),)), "Minutes to wait, or now.  Default: now."
        ),
        "message": Field(Text(), "What to tell those logged in."),
        "timeout": Field(Number(least=0), "Seconds to wait for the boot to end.  Default: 30."),
        "condition": Field(
            Either(Choice(True, False), Text(), _WORDS),
            "Only if true, or if this command succeeds.  Default: true.",
        ),
    },
    example="{mode: reboot}",
)

_POSTED = ("instance_id", "hostname", "fqdn")
_POSTED_KEYS = ("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519")
_PHONE_HOME = ObjectOf(
    {
        "url": Field(Text(), "Where to post to.", required=True),
        "post": Field(
            Either(Choice("all"), ListOf(Choice(*_POSTED, *_POSTED_KEYS, "pub_key_dsa"))),
            "What to post.  Default: all.",
        ),
        "tries": Field(Number(least=0), "How often to try.  Default: 10."),
    },
    example="{url: 'https://lab.example/'}",
)

_VENDOR_DATA = ObjectOf(
    {
        "enabled": Field(flag(), "Use what the provider sends.  Default: true."),
        "prefix": Field(
            Refused("is not supported: vendor scripts run as they are"),
            "Not supported: vendor scripts run as they are.",
        ),
    },
    example="{enabled: false}",
)

KEYS = {
    "write_files": Field(ListOf(_FILE), "Files to write."),
    "bootcmd": Field(_COMMANDS, "Commands to run early in every boot."),
    "runcmd": Field(_COMMANDS, "Commands to run once, at the end of the first boot."),
    "power_state": Field(_POWER_STATE, "Switch off or reboot once all is done."),
    "phone_home": Field(_PHONE_HOME, "Tell a server once all is done."),
    "final_message": Field(Text(), "What the log says once all is done."),
    "vendor_data": Field(_VENDOR_DATA, "Whether the provider's own data counts."),
    "vendor_data2": Field(_VENDOR_DATA, "Whether the provider's dynamic data counts."),
}
