"""Bytes for the kernel's random pool."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin


class Entropy(NamedTuple):
    """Bytes mixed into the kernel's random pool, once per instance, not credited."""

    kind: Literal["entropy"]
    content: bytes
    why: Origin

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.ENTROPY
