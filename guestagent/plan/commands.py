"""The script of the commands of ``runcmd`` or ``bootcmd``, in which each can be told again.

As with cloud-init, all commands are one script for one shell: what a command sets holds for those
after it, and a construct of the shell, such as a here-document, may go over several.  A comment in
the second line says how many lines each command has, and where in a document it is.
"""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.record import NamedTuple
from guestagent.system.jsontext import dumps, has_form, loads_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_START = "#!/bin/sh\n# guestagent: "
_FORM = {"lines": int, "place": str, "line": int}


class Command(NamedTuple):
    """Text for the shell; ``place`` says where people find it, ``line`` is 0 if it is not known."""

    text: str
    place: str
    line: int


def join(commands: Sequence[Command]) -> bytes:
    """Return the script of the commands."""
    places = []
    for text, place, line in commands:
        number = text.count("\n") + 1
        places.append(f"[{number}, {dumps(place)}, {line}]")
    lines = "".join(f"{command.text}\n" for command in commands)
    return f"{_START}[{', '.join(places)}]\n{lines}".encode()


def split(script: bytes) -> list[Command]:
    """Return the commands of a script; none of one that ``join`` has not made."""
    if not script.startswith(_START.encode()):
        return []
    try:
        places, _, text = script.decode().removeprefix(_START).partition("\n")
        found = loads_own(places.encode())
    except (UnicodeDecodeError, FieldError):
        return []
    if not isinstance(found, list) or not all(_is_place(entry) for entry in found):
        return []
    lines = text.split("\n")[:-1]
    commands = []
    for number, place, line in found:
        own, lines = lines[:number], lines[number:]
        if not own or len(own) != number:
            return []
        commands.append(Command("\n".join(own), place, line))
    return [] if lines else commands


def _is_place(entry: object) -> bool:
    if not isinstance(entry, list) or len(entry) != len(_FORM):
        return False
    return has_form(dict(zip(_FORM, entry, strict=True)), _FORM)
