"""SSH host keys of this instance, made by ssh-keygen(1)."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin
from guestagent.memory import applied
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.model import Secret
    from guestagent.plan.view import View


class HostKeys(NamedTuple):
    """SSH host keys of this instance, made once: one of each type in ``types``.

    ``given`` are files of ready keys, by name.  ``others`` says what comes of the image's keys.
    """

    kind: Literal["host_keys"]
    types: tuple[str, ...]
    why: Origin
    given: tuple[tuple[str, Secret], ...] = ()
    others: Literal["removed", "kept"] = "removed"

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.HOST_KEYS

    def compare(self, view: View) -> Outcome:
        """Make the keys, unless that was done."""
        folder = view.root.outside(defs.HOST_KEYS_WORK)
        commands = tuple(_command(kind, folder) for kind in self.types)
        change = MakeHostKeys("make_host_keys", *self[1:], commands=commands, keys=(self.key,))
        return view.once(self.key, change)


def _command(kind: str, folder: str) -> tuple[str, ...]:
    """Return the command that makes a key without a passphrase and without a comment."""
    file = f"{folder}/ssh_host_{kind}_key"
    return ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", file)


class MakeHostKeys(NamedTuple):
    """The ``commands`` make host keys of the types; with those in ``given`` they are installed."""

    kind: Literal["make_host_keys"]
    types: tuple[str, ...]
    why: Origin
    given: tuple[tuple[str, Secret], ...] = ()
    others: Literal["removed", "kept"] = "removed"
    commands: tuple[tuple[str, ...], ...] = ()
    keys: tuple[str, ...] = ()

    def tell(self) -> str:
        """Say in one line what the change does."""
        given = [name for name, _ in self.given if not name.endswith(".pub")]
        return f"make SSH host keys: {', '.join((*self.types, *given))}"

    def show(self) -> list[str]:
        """Return no more lines: the commands tell it."""
        return []

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {"types": self.types}


def undo(key: str, view: View) -> Outcome:
    """Undo nothing: keys are made once per instance."""
    return view.remember(key)
