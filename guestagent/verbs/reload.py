"""``guestagent reload``: let the running network take over what the unit before has written."""

from __future__ import annotations

import os

from guestagent import defs, log
from guestagent.errors import NoPermission, Origin
from guestagent.live.network import reload_postponed
from guestagent.report.additions import Unit, add_problems
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options


def run(_: Options) -> int:
    """Reload what ``guestagent apply --fetched`` left to reload.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    root = Root("/")
    with Unit(root, defs.RELOAD_UNIT):
        failures = reload_postponed(root)
        if not failures:
            return defs.EXIT_OK
        for reason in failures:
            log.error(reason)
        network = Origin("network", "", "")
        add_problems(root, [network.error(reason) for reason in failures])
    return defs.EXIT_ERRORS
