"""Home directories that useradd(8) could not make, or not completely."""

from __future__ import annotations

from stat import S_IFMT, S_ISDIR, S_ISREG

from guestagent import defs
from guestagent.errors import Refused
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
    """Tell whether a home has the right owner, and a copy of all that is in the skeleton.

    What useradd(8) had copied when the power failed may be lost, empty or of zero bytes afterwards.
    """
    found = root.stat(account.home)
    if found is None or found.st_uid != account.uid:
        return False
    return _has_copies(root, account.home, skeleton_folder(root))


def _has_copies(root: Tree, home: str, skeleton: str) -> bool:
    """Tell whether all that is in a directory of the skeleton has been copied to one of a home."""
    for name in root.listdir(skeleton):
        path = f"{home}/{name}"
        model, copy = root.stat(f"{skeleton}/{name}"), root.stat(path)
        if copy is None:
            return False
        if model is None or S_IFMT(model.st_mode) != S_IFMT(copy.st_mode):
            continue  # whose home it is has another one by now
        if S_ISDIR(model.st_mode) and not _has_copies(root, path, f"{skeleton}/{name}"):
            return False
        if S_ISREG(model.st_mode) and model.st_size and (not copy.st_size or _is_lost(root, path)):
            return False
    return True


def _is_lost(root: Tree, path: str) -> bool:
    """Tell whether a copy has the content of a file that never reached the disk."""
    try:
        found = root.look(path)
    except Refused:
        return False  # too large, or another user's: something is in it
    return found is not None and is_blank(found.content or b"")


def is_blank(content: bytes) -> bool:
    """Tell whether there is nothing but zero bytes in a file.

    A file system may write the size of a file before its content: ext4 does.
    """
    return not content.strip(b"\0")


def skeleton_folder(root: Tree) -> str:
    """Return the directory whose files a new home gets: ``SKEL=`` of useradd(8)."""
    for line in root.text(defs.USERADD_DEFAULTS).splitlines():
        if line.startswith("SKEL="):
            return line[5:].strip().strip("\"'").rstrip("/") or defs.SKELETON
    return defs.SKELETON
