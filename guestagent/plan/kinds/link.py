"""Symbolic links."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin


class Link(NamedTuple):
    """A symbolic link to an absolute path, which must be there."""

    kind: Literal["link"]
    path: str
    target: str
    why: Origin

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.link(self.path)
