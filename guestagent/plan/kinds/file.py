"""Files: a whole content, or bytes at the end of one; at once, or in the late stage."""

from __future__ import annotations

from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from guestagent.errors import Origin


class File(NamedTuple):
    """A whole file, or bytes to "append", once per instance, to the end of one.

    ``secret`` hides the content in plans; mode is the permission bits.  ``owner`` is "user",
    "user:group" or ":group" by name; empty for root, or for the user whose directory the file lies
    in.  ``late``: written once per instance, when packages are installed.
    """

    kind: Literal["file", "append"]
    path: str
    content: bytes
    mode: int
    why: Origin
    secret: bool = False
    owner: str = ""
    late: bool = False

    @property
    def key(self) -> str:
        """The key under which the state remembers this."""
        if self.kind == "append":
            return applied.appended(self.path, self.content)
        return applied.late(self.path) if self.late else applied.file(self.path)
