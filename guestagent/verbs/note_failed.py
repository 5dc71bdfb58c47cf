"""``guestagent note-failed``: nobody waits any longer for a unit of the boot that was killed."""

from __future__ import annotations

import os

from guestagent import defs, log
from guestagent.errors import NoPermission
from guestagent.live.boot import find_failed
from guestagent.report.additions import note_failed
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options


def run(_: Options) -> int:
    """Take units that failed from those that are to come, and have the report tell of them.

    Return the exit status.  Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    root = Root("/")
    failed = find_failed(root)
    if failed:
        note_failed(root, failed)
    for reason in failed.values():
        log.error(reason)
    return defs.EXIT_OK
