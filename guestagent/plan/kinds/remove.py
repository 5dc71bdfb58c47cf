"""Files that guestagent made and that are no longer wanted."""

from __future__ import annotations

from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.errors import Origin


class RemoveFile(NamedTuple):
    """A file that guestagent wrote is removed: it is as it was written, and no longer wanted."""

    kind: Literal["remove"]
    path: str
    old: bytes
    old_mode: int
    why: Origin
    undoes: str = ""
    keys: tuple[str, ...] = ()

    def tell(self) -> str:
        """Say in one line what the change does."""
        return f"remove {self.path}"

    def show(self) -> list[str]:
        """Return the first lines of a diff."""
        return [f"--- {self.path}", "+++ /dev/null"]

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {"path": self.path}
