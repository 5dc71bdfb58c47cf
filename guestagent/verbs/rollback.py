"""``guestagent confirm`` and ``guestagent rollback``: keep a change of the network, or end it."""

from __future__ import annotations

import os

from guestagent import defs, log
from guestagent.errors import NoPermission
from guestagent.live.rollback import restore, stop_timer
from guestagent.system import ownfiles
from guestagent.system.lock import lock
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options


def run(options: Options) -> int:
    """Decide about the change of the network that waits for it.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    root = Root("/")
    held = lock(root)
    try:
        if not root.exists(defs.ROLLBACK_FILE):
            log.error(f"nothing to {options.verb}: no change of the network waits")
            return defs.EXIT_ERRORS
        if options.verb == "confirm":
            return _confirm(root)
        return _roll_back(root)
    finally:
        os.close(held)


def _confirm(root: Root) -> int:
    # First the file: without it, a rollback that the timer starts now finds nothing to do.
    ownfiles.remove(root, defs.ROLLBACK_FILE)
    stop_timer()
    log.notice("the change of the network is confirmed")
    return defs.EXIT_OK


def _roll_back(root: Root) -> int:
    failures = restore(root, running=True)
    log.warning("the network is as it was before the change, which was not confirmed")
    for reason in failures:
        log.error(reason)
    stop_timer()
    return defs.EXIT_ERRORS if failures else defs.EXIT_OK
