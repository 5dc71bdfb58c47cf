"""Home directories that useradd(8) could not make, or not completely."""

from __future__ import annotations

from guestagent import defs
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.errors import Origin
    from guestagent.model import Account
    from guestagent.plan.view import Tree


class MakeHome(NamedTuple):
    """An account gets its home directory, or what is missing in it of the skeleton's files.

    ``keys`` are none: the account is remembered, whether or not this fails.
    """

    kind: Literal["make_home"]
    name: str
    home: str
    why: Origin
    keys: tuple[str, ...] = ()

    def tell(self) -> str:
        """Say in one line what the change does."""
        return f"make the home directory of {self.name}: {self.home}"

    def show(self) -> list[str]:
        """Return no more lines."""
        return []

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return {"user": self.name}


def is_whole(root: Tree, account: Account) -> bool:
    """Tell whether a home has the right owner, and a file for each one of the skeleton.

    What useradd(8) had copied when the power failed may be empty afterwards.
    """
    found = root.stat(account.home)
    if found is None or found.st_uid != account.uid:
        return False
    skeleton = skeleton_folder(root)
    for name in root.listdir(skeleton):
        model, copy = (root.stat(f"{top}/{name}") for top in (skeleton, account.home))
        if copy is None or (model is not None and model.st_size and not copy.st_size):
            return False
    return True


def skeleton_folder(root: Tree) -> str:
    """Return the directory whose files a new home gets: ``SKEL=`` of useradd(8)."""
    for line in root.text(defs.USERADD_DEFAULTS).splitlines():
        if line.startswith("SKEL="):
            return line[5:].strip().strip("\"'").rstrip("/") or defs.SKELETON
    return defs.SKELETON
