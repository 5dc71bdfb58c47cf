"""The small steps of the later units: fetch without rights, reload without confinement, post."""

from __future__ import annotations

import os
import sys

from guestagent import defs, log
from guestagent.errors import NoPermission
from guestagent.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options

_RESULTS = {
    200: "the encrypted password is in the metadata service",
    409: "the metadata service has a password already, which stays; nobody knows the new one",
}


def run_verb(options: Options) -> int:
    """``fetch``, ``post`` and ``reload``; returns the exit status.  Raises GuestagentError."""
    if options.verb == "fetch":
        return _fetch(options.source)
    if options.verb == "post":
        return _post(options.source)
    return _reload()


def _fetch(path: str) -> int:
    """Ask as the request in a file says; the answer goes to standard output.

    So the process needs no right to write anything.
    """
    from guestagent.remote import asked, read_request
    from guestagent.sources.documents import encode

    answer = asked(read_request(path))
    if answer.error:
        log.warning(answer.error)
    sys.stdout.flush()
    sys.stdout.buffer.write(encode(answer))
    return defs.EXIT_OK


def _post(path: str) -> int:
    """Send the encrypted password that a file holds to the URL that it holds too."""
    from guestagent.consolepassword import post

    status = post(path)
    reason = _RESULTS.get(
        status, f"the metadata service refused the password: HTTP status {status}"
    )
    (log.notice if status == 200 else log.error)(reason)
    return defs.EXIT_OK if status == 200 else defs.EXIT_ERRORS


def _reload() -> int:
    """The network of the running guest takes over what the unit before wrote."""
    if os.geteuid() != 0:
        raise NoPermission("only root may change the running system")
    from guestagent.netreload import reload_postponed
    from guestagent.status import add_errors

    root = Root("/")
    failures = reload_postponed(root)
    for reason in failures:
        log.error(reason)
    if failures:
        add_errors(root, failures)
    return defs.EXIT_ERRORS if failures else defs.EXIT_OK
