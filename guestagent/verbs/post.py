"""``guestagent post``: send the encrypted password of this machine to its metadata service."""

from __future__ import annotations

import time

from guestagent import defs, log
from guestagent.errors import FieldError, UsageError
from guestagent.sources.endpoints import parse_url
from guestagent.sources.http import Client
from guestagent.sources.retry import patiently
from guestagent.system.jsontext import has_form, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.options import Options

_WAIT = 60.0  # seconds
_DAMAGED = "not a password as apply leaves it, and not sent; nobody but the guest's root knows it"


def run(options: Options) -> int:
    """Send the password that a file holds to the URL that it holds too.  Return the exit status.

    Raises UsageError, Unreachable.
    """
    url, password = _read(options.source)
    client = Client(parse_url(url), time.monotonic() + _WAIT)
    status = patiently(client.endpoint.url, client.end, lambda: client.post("", password))
    if status == 200:
        log.notice("the encrypted password is in the metadata service")
        return defs.EXIT_OK
    if status == 409:  # Nova accepts one password per instance
        log.error("the metadata service keeps the password that it has; the new one is lost")
    else:
        log.error(f"the metadata service refused the password: HTTP status {status}")
    return defs.EXIT_ERRORS


def _read(path: str) -> tuple[str, bytes]:
    """Return the URL and the encrypted password that ``apply`` left in a file.

    Raises UsageError.
    """
    try:
        with open(path, "rb") as file:
            value = loads(file.read(defs.JSON_LIMIT))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except FieldError as error:
        raise UsageError(f"{path}: {error}") from None
    if not has_form(value, {"url": str, "password": str}):
        raise UsageError(f"{path}: {_DAMAGED}")
    return value["url"], value["password"].encode()
