"""The running kernel's host name."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin


class Hostname(NamedTuple):
    """The running kernel's host name."""

    kind: Literal["hostname"]
    name: str
    why: Origin

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.HOSTNAME
