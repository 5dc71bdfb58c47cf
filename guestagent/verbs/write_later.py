"""``guestagent write-later``: write the files that a script of the late stage carries."""

from __future__ import annotations

import os
import sys

from guestagent import defs, facts, log
from guestagent.commit import commit
from guestagent.errors import FieldError, NoPermission, Refused, UsageError
from guestagent.memory import note
from guestagent.plan.difference import diff
from guestagent.plan.kinds.late import read_carried
from guestagent.system.lock import lock
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Problem
    from guestagent.options import Options
    from guestagent.plan.difference import Plan
    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.file import File


def run(_: Options) -> int:
    """Write the files that standard input describes.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    root = Root("/")
    held = lock(root, wait=defs.LOCK_WAIT_LATE)
    try:
        return write_later(root, sys.stdin.buffer.read())
    finally:
        os.close(held)


def write_later(root: Root, content: bytes) -> int:
    """Write the files that a script carries into a tree.  Return the exit status.

    Raises GuestagentError, OSError.
    """
    try:
        carried = read_carried(content)
    except FieldError as error:
        raise UsageError(f"write-later: standard input: {error}") from None
    problems = write_files(root, carried)
    for problem in problems:
        log.problem(problem)
    return defs.EXIT_ERRORS if problems else defs.EXIT_OK


def write_files(root: Root, carried: Sequence[File]) -> list[Problem]:
    """Write files into a tree, and return what is wrong.  Raises GuestagentError, OSError."""
    found = facts.gather(root)
    files = [file for file in carried if not is_appended(root, file)]
    plan = diff(files, root, found, recorded={}, first=False, complete=False)
    failures = commit_late(plan, root)
    failed = [change for change, _ in failures]
    for change in plan.changes:
        if change.kind == "write" and change not in failed:
            log.notice(f"wrote {change.path}")
    return [*plan.problems, *(problem for _, problem in failures)]


def commit_late(plan: Plan, root: Root) -> list[tuple[Change, Problem]]:
    """Make the changes of a plan, and return those that failed, and why.

    Raises GuestagentError, OSError.
    """
    before = note.read(root)
    failures = commit(plan.changes, root)
    # The commit's own note is of no use: the ledger says whether this script ran.  That of a run
    # of apply which was killed still is.
    if before == note.Note():
        note.remove(root)
    else:
        note.write(root, before)
    return failures


def is_appended(root: Root, file: File) -> bool:
    """Tell whether a file ends with what is to be appended to it.

    The script is run again when the system stopped meanwhile, perhaps after it had written this.
    """
    if file.kind != "append":
        return False
    try:
        return (root.read(file.path) or b"").endswith(file.content)
    except (Refused, OSError):
        return False  # the plan reports why
