"""The running kernel's host name."""

from __future__ import annotations

from guestagent.errors import Origin
from guestagent.memory import applied
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.plan.view import View


class Hostname(NamedTuple):
    """The running kernel's host name."""

    kind: Literal["hostname"]
    name: str
    why: Origin

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.HOSTNAME

    def compare(self, view: View) -> Outcome:
        """Compare with the kernel's name."""
        record = {self.key: self.name}
        if view.facts.hostname == self.name:
            return Outcome(record=record)
        if view.is_done(self.key) and view.recorded[self.key] == self.name:
            return view.keep(self.key, "running host name")
        old = view.facts.hostname or ""
        change = SetHostname("set_hostname", old, self.name, self.why, (self.key,))
        return Outcome((change,), record=record)


class SetHostname(NamedTuple):
    """sethostname(2) changes the running kernel's host name; an empty ``old`` is not known."""

    kind: Literal["set_hostname"]
    old: str
    new: str
    why: Origin
    keys: tuple[str, ...] = ()

    def tell(self) -> str:
        """Say in one line what the change does."""
        return f"set the running host name to {self.new}"

    def show(self) -> list[str]:
        """Return the name before."""
        return [f"was: {self.old or '(not known)'}"]

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {}


def undo(key: str, view: View) -> Outcome:
    """Undo nothing: the name stays until the system restarts."""
    return Outcome()
