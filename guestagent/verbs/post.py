"""``guestagent post``: send the encrypted password of this machine to its metadata service."""

from __future__ import annotations

from guestagent import defs, log
from guestagent.commit.console_password import post

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options


def run(options: Options) -> int:
    """Send the password that a file holds to the URL that it holds too.  Return the exit status.

    Raises UsageError, Unreachable.
    """
    status = post(options.source)
    if status == 200:
        log.notice("the encrypted password is in the metadata service")
        return defs.EXIT_OK
    if status == 409:  # Nova accepts one password per instance
        log.error("the metadata service keeps the password that it has; the new one is lost")
    else:
        log.error(f"the metadata service refused the password: HTTP status {status}")
    return defs.EXIT_ERRORS
