"""Symbolic links."""

from __future__ import annotations

from stat import S_ISDIR

from guestagent.errors import Origin, Refused
from guestagent.memory import applied
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.plan.view import View


class Link(NamedTuple):
    """A symbolic link to an absolute path, which must exist."""

    kind: Literal["link"]
    path: str
    target: str
    why: Origin

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.link(self.path)

    def compare(self, view: View) -> Outcome:
        """Compare with the tree.  Raises Refused where the target is missing, OSError."""
        old = view.root.readlink(self.path) or ""
        target = view.root.stat(self.target)
        if target is None or S_ISDIR(target.st_mode):
            raise Refused(f"{self.target} does not exist")
        record = {self.key: self.target}
        if old.lstrip("./") == self.target.lstrip("/"):
            return Outcome(record=record)
        if view.is_edited(self.key, old):
            return view.keep(self.key, self.path)
        change = MakeLink("link", self.path, old, self.target, self.why, (self.key,))
        return Outcome((change,), record=record)


class MakeLink(NamedTuple):
    """A symbolic link leads to a path; ``old`` is its target before, empty if it was no link."""

    kind: Literal["link"]
    path: str
    old: str
    target: str
    why: Origin
    keys: tuple[str, ...] = ()

    def tell(self) -> str:
        """Say in one line what the change does."""
        return f"link {self.path} to {self.target}"

    def show(self) -> list[str]:
        """Return no more lines."""
        return []

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {"path": self.path}


def undo(key: str, view: View) -> Outcome:
    """Undo nothing: what the link replaced is not known."""
    return Outcome()
