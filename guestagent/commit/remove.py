"""Remove files that guestagent made."""

from __future__ import annotations

import os

from guestagent.errors import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.remove import RemoveFile
    from guestagent.system.root import Root


def carry_out(change: RemoveFile, root: Root) -> None:
    """Remove the file, if it still exists.  Raises Refused, OSError."""
    with root.place(change.path) as place:
        if place.owner is not None:
            raise Refused("is in a directory that a user owns; not removed")
        try:
            os.unlink(place.name, dir_fd=place.fd)
        except FileNotFoundError:
            pass
