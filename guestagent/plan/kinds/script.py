"""Scripts that a later unit runs."""

from __future__ import annotations

from guestagent import defs
from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin

    Stage = Literal["early", "late"]
    Frequency = Literal["instance", "boot", "once"]


class Script(NamedTuple):
    """A script that a later unit runs, as root and not confined.

    ``order`` is its place in the stage, from 0 to 99.  ``frequency``: once per "instance", at each
    "boot", or "once" in the life of the disk.  ``name`` is what people call it.
    """

    kind: Literal["script"]
    stage: Stage
    order: int
    frequency: Frequency
    name: str
    content: bytes
    why: Origin
    secret: bool = False

    @property
    def file_name(self) -> str:
        """The name of its file, by which the scripts of a stage are sorted."""
        return f"{self.order:02}-{self.frequency}-{self.name}"

    @property
    def path(self) -> str:
        """Where its file lies."""
        return f"{defs.STATE_DIR}/{self.stage}/{self.file_name}"

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        return applied.script(self.stage, self.file_name)


def frequency(name: str) -> str:
    """Return how often a script runs, from the name of its file, a folder before it or not."""
    return name.rpartition("/")[2].split("-")[1]
