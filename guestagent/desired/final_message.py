"""``final_message``: a text on the console and in the journal at the end of each boot."""

from __future__ import annotations

from guestagent import defs
from guestagent.desired.shell_quoting import quote
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask, Wanted

# The script sets a variable for each of _NAMES, then the message with the variables in it.
_NAMES = ("version", "timestamp", "uptime", "datasource")
_SCRIPT = """\
#!/bin/sh
version=$({program} --version)
version=${{version##* }}
timestamp=$(date -R)
read -r uptime rest <{uptime_file}
datasource={source}
message={message}
printf '%s\\n' "$message"
printf '%s\\n' "$message" 2>/dev/null >{console} || :
"""
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_JINJA = "is a jinja template, which is not supported: use $version, $uptime and so on"
_UNPRINTABLE = "contains a control character or another unprintable one"
_UNKNOWN_NAME = (
    "has a $name other than $version, $timestamp, $uptime, $datasource: it is printed as it is"
)


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan a script that prints the message."""
    setting = ask.data.setting("final_message")
    if setting is None:
        return
    kind, text = _split_header(setting.value.strip())
    text = text.strip()
    if kind != "basic":
        # A warning only: the guest lacks nothing but a line in its log.
        wanted.warn(setting.at(), _JINJA)
        return
    if not text:
        return
    if not text.replace("\t", "").replace("\n", "").isprintable():
        wanted.error(setting.at(), _UNPRINTABLE)
        return
    message, has_unknown_name = _fill_in(text)
    if has_unknown_name:
        wanted.warn(setting.at(), _UNKNOWN_NAME)
    # Without the drive's device, whose name may change from boot to boot.
    source = setting.origin.source.partition(" /")[0]
    content = _SCRIPT.format(
        program=defs.PROGRAM,
        uptime_file=defs.UPTIME,
        source=quote(source),
        message=message,
        console=defs.CONSOLE_DEVICE,
    )
    wanted.want(
        Script(
            "script",
            "late",
            90,
            "boot",
            name="final_message",
            content=content.encode(),
            why=setting.at(),
        )
    )


def _split_header(text: str) -> tuple[str, str]:
    """Return the kind of template that a line ``## template: KIND`` names, and the rest.

    A text without such a first line is of the kind "basic", which has ``$name`` only.
    """
    first, _, rest = text.partition("\n")
    word, *kinds = first.lower().removeprefix("##").split(":")
    if not first.startswith("##") or word.strip() != "template":
        return "basic", text
    kind = kinds[0].strip() if kinds else ""
    return kind, rest


def _fill_in(text: str) -> tuple[str, bool]:
    """Return the text as one word of sh(1) that uses the variables, and if it has other names.

    As in cloud-init a name is written ``$name`` or ``${name}``, all small or all capital letters.
    """
    variables = {}
    for name in _NAMES:
        variables[name] = name
        variables[name.upper()] = name
    start, *pieces = text.split("$")
    word = quote(start)
    has_unknown_name = False
    for piece in pieces:
        name, rest = _split_name(piece)
        if name in variables:
            word += f'"${variables[name]}"{quote(rest)}'
        else:
            word += quote(f"${piece}")
            has_unknown_name = has_unknown_name or bool(name)
    return word, has_unknown_name


def _split_name(piece: str) -> tuple[str, str]:
    """Return the name at the beginning of what follows a ``$``, and the text after it."""
    if piece.startswith("{") and "}" in piece:
        name, _, rest = piece[1:].partition("}")
        return name, rest
    rest = piece.lstrip("".join(_NAME_LETTERS))
    return piece[: len(piece) - len(rest)], rest
