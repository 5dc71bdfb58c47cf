"""A random password that is sent encrypted to the metadata service."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin


class ConsolePassword(NamedTuple):
    """A random password, set once per instance, sent encrypted to ``url``."""

    kind: Literal["console_password"]
    name: str
    exponent: int
    modulus: int
    url: str
    why: Origin

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.password(self.name)
