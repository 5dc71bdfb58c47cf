"""The small steps of the later units: fetch without rights, reload without confinement, post."""

from __future__ import annotations

import os
import sys

from guestagent import defs, log
from guestagent.errors import NoPermission
from guestagent.system.lock import lock
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options

_RESULTS = {
    200: "the encrypted password is in the metadata service",
    409: "the metadata service has a password already, which stays; nobody knows the new one",
}


def run_verb(options: Options) -> int:
    """One of the verbs for units; returns the exit status.  Raises GuestagentError."""
    if options.verb == "fetch":
        return _fetch(options.source)
    if options.verb == "post":
        return _post(options.source)
    if options.verb == "write-later":
        root = _own_root()
        held = lock(root, wait=defs.LOCK_WAIT_LATE)
        try:
            return write_later(root, sys.stdin.buffer.read())
        finally:
            os.close(held)
    return _reload()


def _fetch(path: str) -> int:
    """Ask as the request in a file says; the answer goes to standard output.

    So the process needs no right to write anything.
    """
    from guestagent.sources.documents import encode
    from guestagent.sources.remote import asked, read_request

    answer = asked(read_request(path))
    if answer.error:
        log.warning(answer.error)
    sys.stdout.flush()
    sys.stdout.buffer.write(encode(answer))
    return defs.EXIT_OK


def _post(path: str) -> int:
    """Send the encrypted password that a file holds to the URL that it holds too."""
    from guestagent.commit.console_password import post

    status = post(path)
    reason = _RESULTS.get(
        status, f"the metadata service refused the password: HTTP status {status}"
    )
    (log.notice if status == 200 else log.error)(reason)
    return defs.EXIT_OK if status == 200 else defs.EXIT_ERRORS


def _reload() -> int:
    """The network of the running guest takes over what the unit before wrote."""
    root = _own_root()
    from guestagent.live.network import reload_postponed
    from guestagent.report.run import add_errors

    failures = reload_postponed(root)
    for reason in failures:
        log.error(reason)
    if failures:
        add_errors(root, failures)
    return defs.EXIT_ERRORS if failures else defs.EXIT_OK


def write_later(root: Root, content: bytes) -> int:
    """Write the files that a step of the late stage carries; returns the exit status."""
    from guestagent import facts
    from guestagent.commit import commit
    from guestagent.commit.later import resources
    from guestagent.memory import note
    from guestagent.plan.difference import diff

    before = note.read(root)  # of a run that was killed; this one has its own record
    plan = diff(resources(content), root, facts.gather(root), {}, False, False)
    failed = commit(plan.changes, root)
    if before != note.Note():
        note.write(root, before)
    else:
        note.remove(root)
    problems = [*plan.problems, *(problem for _, problem in failed)]
    unwritten = [change for change, _ in failed]
    for change in plan.changes:
        if change.kind == "write" and change not in unwritten:
            log.notice(f"wrote {change.path}")
    for problem in problems:
        log.error(problem.text())
    return defs.EXIT_ERRORS if problems else defs.EXIT_OK


def _own_root() -> Root:
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    return Root("/")
