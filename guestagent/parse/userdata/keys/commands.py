"""The keys ``bootcmd`` and ``runcmd``, and the form of their values after check().

=======  ========================================================================
bootcmd  list of commands: str for the shell, or a list of str, the words of one
runcmd   the same
=======  ========================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, ListOf
from guestagent.parse.userdata.scalars import String
from guestagent.parse.userdata.shape import Field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.places import Path, Places
    from guestagent.parse.userdata.shape import Schema

_NONE_RUNS = "none of the commands is run"
_WRITTEN_AS_MAPPING = "; a colon and a space make a mapping: put the command in quotes"
_BOOLEAN = "is taken as True or False: put it in quotes to keep it as written"


class _Word(String):
    """A word of a command; as in cloud-init, a number or boolean counts as its text in Python."""

    def __init__(self) -> None:
        super().__init__(numbers=True)

    def accepts(self, value: object) -> bool:
        """Accept a string, a number or a boolean."""
        return isinstance(value, bool) or super().accepts(value)

    def explain(self, value: object) -> str:
        """Return the reason, and what follows from it."""
        return f"{super().explain(value)}; {_NONE_RUNS}"

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the word."""
        if not isinstance(value, bool):
            return super().convert(places, value, old, new=new)
        places.warn(old, _BOOLEAN)
        return str(value)

    def json(self) -> Schema:
        """Return the schema of strings and numbers, or of booleans, which are deprecated."""
        return {"anyOf": [super().json(), {"type": "boolean", "deprecated": True}]}


class _Command(AnyOf):
    """A command: text for the shell, or a list of words."""

    def explain(self, value: object) -> str:
        """Return the reason; a mapping may have been meant as text."""
        hint = _WRITTEN_AS_MAPPING if isinstance(value, dict) else ""
        return f"must be a string or a list of strings{hint}; {_NONE_RUNS}"


# One that cannot be used makes all of them bad: those after it may rely on it.
_COMMANDS = ListOf(_Command(String(), ListOf(_Word(), whole=True)), nulls="drop", whole=True)

KEYS = {
    "bootcmd": Field(_COMMANDS, "Commands to run early in every boot."),
    "runcmd": Field(_COMMANDS, "Commands to run once, at the end of the first boot."),
}
