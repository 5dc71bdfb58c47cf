"""Make symbolic links."""

from __future__ import annotations

import os
from stat import S_IFLNK, S_ISDIR

from guestagent import defs
from guestagent.errors import Refused
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.link import MakeLink
    from guestagent.system.root import Root


def carry_out(change: MakeLink, root: Root) -> None:
    """Put the link in place of what has its name.  Raises Refused, OSError."""
    temporary = f"{defs.TEMPORARY_PREFIX}{digest(change.path.encode())[:12]}"
    with root.place(change.path, make=True) as place:
        found = place.stat()
        if place.owner is not None or place.exposed:
            raise Refused("is in a directory that others than root may write to")
        if found is not None and S_ISDIR(found.st_mode):
            raise Refused("is a directory")
        try:
            os.unlink(temporary, dir_fd=place.fd)  # of a run that was killed
        except FileNotFoundError:
            pass
        with root.labelled(place.fd, place.name, S_IFLNK):
            os.symlink(change.target, temporary, dir_fd=place.fd)
        os.rename(temporary, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
