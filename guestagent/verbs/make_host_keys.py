"""``guestagent make-host-keys``: make the SSH host keys that take too long to hold up the boot."""

from __future__ import annotations

import os
import time

from guestagent import defs, log
from guestagent.commit.host_keys import (
    WITHOUT_HURRY,
    Work,
    install_waiting,
    reason_of,
    waiting_types,
)
from guestagent.errors import NoPermission, Origin, Refused
from guestagent.live.daemons import offer_new_host_keys
from guestagent.plan.kinds.host_keys import command
from guestagent.report.additions import Unit, add_problems
from guestagent.system.lock import lock
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problem
    from guestagent.options import Options


def run(_: Options) -> int:
    """Make the keys that an earlier run has left to make, and tell sshd.  Return the exit status.

    What cannot be made is left for the next start.  Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    root = Root("/")
    with Unit(root, defs.HOST_KEYS_UNIT):
        return _make_and_tell(root)


def _make_and_tell(root: Root) -> int:
    made, problems = make_all(root)
    if made:
        log.notice(f"made SSH host keys: {', '.join(made)}")
        offer_new_host_keys()
    if not problems:
        return defs.EXIT_OK
    for problem in problems:
        log.problem(problem)
    held = lock(root, wait=defs.LOCK_WAIT_LATE)
    try:
        add_problems(root, problems)
    finally:
        os.close(held)
    return defs.EXIT_ERRORS


def make_all(root: Root) -> tuple[list[str], list[Problem]]:
    """Make the keys that were left to make.  Return the types made, and what went wrong.

    Raises GuestagentError where another run holds the lock for long.
    """
    made, problems = [], []
    for kind in waiting_types(root):
        try:
            if _make(kind, root):
                made.append(kind)
        except (Refused, OSError) as error:
            consequence = f"sshd has no host key of type {kind}; the next boot tries again"
            text = f"{reason_of(error)}; {consequence}"
            problems.append(Origin("guestagent", defs.HOST_KEYS_FILE, kind).error(text))
    return made, problems


def _make(kind: str, root: Root) -> bool:
    """Make and install a key; return False if that is not necessary any more.

    Other runs need not wait while it is made.  Raises GuestagentError, OSError.
    """
    with Work(root, defs.HOST_KEYS_LATER_WORK) as work:
        work.make(command(kind), time.monotonic() + WITHOUT_HURRY)
        held = lock(root, wait=defs.LOCK_WAIT_LATE)
        try:
            return install_waiting(kind, work, root)
        finally:
            os.close(held)
