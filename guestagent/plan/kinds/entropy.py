"""Bytes for the kernel's random pool."""

from __future__ import annotations

from guestagent.errors import Origin
from guestagent.memory import applied
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.plan.view import View


class Entropy(NamedTuple):
    """Bytes mixed into the kernel's random pool, once per instance, not credited."""

    kind: Literal["entropy"]
    content: bytes
    why: Origin

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.ENTROPY

    def compare(self, view: View) -> Outcome:
        """Add the bytes, unless that was done."""
        return view.once(self.key, AddEntropy("add_entropy", self.content, self.why, (self.key,)))


class AddEntropy(NamedTuple):
    """Bytes are written to random(4)."""

    kind: Literal["add_entropy"]
    content: bytes
    why: Origin
    keys: tuple[str, ...] = ()

    def tell(self) -> str:
        """Say in one line what the change does."""
        return f"add {len(self.content)} bytes to the random pool"

    def show(self) -> list[str]:
        """Return no more lines."""
        return []

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {}


def undo(key: str, view: View) -> Outcome:
    """Undo nothing: what a later seed adds does no harm."""
    return Outcome()
