"""SSH host keys of this instance."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin
    from guestagent.model import Secret


class HostKeys(NamedTuple):
    """SSH host keys of this instance, once: one made anew of each type in ``types``.

    ``given`` are files of ready keys, by name.  ``others`` says what comes of those of the image.
    """

    kind: Literal["host_keys"]
    types: tuple[str, ...]
    why: Origin
    given: tuple[tuple[str, Secret], ...] = ()
    others: Literal["removed", "kept"] = "removed"

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.HOST_KEYS
