"""SSH host keys of this instance, made by ssh-keygen(1)."""

from __future__ import annotations

from guestagent.errors import Origin
from guestagent.memory import applied
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.model import Secret
    from guestagent.plan.view import View


# In the order in which they are made: the first two take milliseconds wherever a guest can run, a
# key of RSA up to minutes on a slow machine.
TYPES = ("ed25519", "ecdsa", "rsa")
COSTLY = ("rsa",)


class HostKeys(NamedTuple):
    """SSH host keys of this instance, made once: one of each type in ``types``.

    ``given`` are files of ready keys, by name.  ``others`` says what comes of the image's keys.
    ``value`` is what the state keeps of them.
    """

    kind: Literal["host_keys"]
    types: tuple[str, ...]
    why: Origin
    given: tuple[tuple[str, Secret], ...] = ()
    others: Literal["removed", "kept"] = "removed"
    value: str = "done"

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.HOST_KEYS

    def compare(self, view: View) -> Outcome:
        """Make the keys, unless that was done; those that could not be made are tried again."""
        if self._is_made_ahead(view):
            return Outcome(record=dict.fromkeys(self._keys(), self.value))
        if view.is_done(self.key):
            return Outcome(record={key: self.value for key in self._keys() if view.is_done(key)})
        done = tuple(kind for kind in self.types if view.is_done(applied.host_key(kind)))
        missing = sorted(set(self.types) - {*done}, key=TYPES.index)
        change = MakeHostKeys(
            "make_host_keys",
            tuple(missing),
            self.why,
            given=self.given,
            others=self.others,
            commands=tuple(command(kind) for kind in missing),
            keys=self._keys(),
            done=done,
            deferrable=tuple(kind for kind in missing if kind in COSTLY and view.facts.systemd),
        )
        return Outcome((change,), record=dict.fromkeys(self._keys(), self.value))

    def _is_made_ahead(self, view: View) -> bool:
        """Tell whether these very keys were made before it was known which instance this is."""
        kinds = [
            kind
            for kind in TYPES
            if applied.is_ahead(view.recorded.get(applied.host_key(kind), ""))
        ]
        is_whole = applied.HOST_KEYS in view.recorded
        return is_whole and not self.given and set(kinds) == set(self.types)

    def _keys(self) -> tuple[str, ...]:
        return (self.key, *(applied.host_key(kind) for kind in self.types))


def file_name(kind: str) -> str:
    """Return the name of the file of a type's private key; sshd has it by default."""
    return f"ssh_host_{kind}_key"


def command(kind: str) -> tuple[str, ...]:
    """Return the command that makes a key without a passphrase and without a comment.

    It runs in the directory where the key's two files are to be.
    """
    return ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", file_name(kind))


class MakeHostKeys(NamedTuple):
    """The ``commands`` make host keys of the types; with those in ``given`` they are installed.

    Keys of the types ``done`` were made by an earlier run, and stay.  Those of the types
    ``deferrable`` are made by a unit of their own, once sshd has started with another key.
    """

    kind: Literal["make_host_keys"]
    types: tuple[str, ...]
    why: Origin
    given: tuple[tuple[str, Secret], ...] = ()
    others: Literal["removed", "kept"] = "removed"
    commands: tuple[tuple[str, ...], ...] = ()
    keys: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    deferrable: tuple[str, ...] = ()

    def tell(self) -> str:
        """Say in one line what the change does."""
        given = [name for name, _ in self.given if not name.endswith(".pub")]
        later = self._later()
        now = [kind for kind in self.types if kind not in later]
        told = f"make SSH host keys: {', '.join((*now, *given))}"
        return told + (f"; after sshd has started: {', '.join(later)}" if later else "")

    def _later(self) -> tuple[str, ...]:
        """Return the types that are left to the unit, if all goes well: sshd needs one key."""
        has_other = self.given or self.done or set(self.types) - set(self.deferrable)
        return self.deferrable if has_other else ()

    def show(self) -> list[str]:
        """Return no more lines: the commands tell it."""
        return []

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {"types": self.types, "later": self._later()}


def undo(key: str, view: View) -> Outcome:
    """Undo nothing: keys are made once per instance."""
    return view.remember(key)
