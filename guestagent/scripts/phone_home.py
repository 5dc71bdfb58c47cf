"""``phone_home``: a form posted to a server once all is done, as cloud-init posts it.

The body is application/x-www-form-urlencoded; what is not there is sent as ``N/A``.  A redirect
is followed with the same form, and only to the same scheme.
"""

from __future__ import annotations

import os
import sys
import time

from guestagent import VERSION, defs, log
from guestagent.errors import FieldError, UsageError
from guestagent.system.jsontext import loads
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MISSING = "N/A"


def run_verb() -> int:
    """``phone-home``, for a script of the late stage; returns the exit status.

    The parameters are a JSON object on standard input: ``url``, where ``$INSTANCE_ID`` stands for
    that variable of the environment; ``post``, the names of what is sent; ``tries``; ``hostname``
    and ``fqdn``, empty for those of the running system.  Raises UsageError.
    """
    try:
        given = loads(sys.stdin.buffer.read(defs.JSON_LIMIT))
        url, names, tries = str(given["url"]), [str(name) for name in given["post"]], given["tries"]
        known = os.uname().nodename
        told = {
            "instance_id": os.environ.get("INSTANCE_ID", ""),
            "hostname": given["hostname"] or known.split(".")[0],
            "fqdn": given["fqdn"] or known,
        }
    except (FieldError, KeyError, TypeError) as error:
        raise UsageError(f"phone-home: {error}") from None
    for variable in ("${INSTANCE_ID}", "$INSTANCE_ID"):
        url = url.replace(variable, told["instance_id"])
    root = Root("/")
    form = {name: told.get(name) or _key(root, name) or _MISSING for name in names}
    reason = call(url, form, tries)
    if reason:
        log.error(f"phone_home: {_shown(url)}: {reason}")
    else:
        log.notice(f"phone_home: {_shown(url)} was told")
    return defs.EXIT_ERRORS if reason else defs.EXIT_OK


def _key(root: Root, name: str) -> str:
    """A public host key as its file has it; empty where there is none."""
    kind = name.removeprefix("pub_key_")
    return root.text(f"{defs.SSH_DIR}/ssh_host_{kind}_key.pub")


def call(url: str, form: dict[str, str], tries: int) -> str:
    """Post a form until a try succeeds; returns why the last one did not, or nothing."""
    import requests

    reason = ""
    with requests.Session() as session:
        session.trust_env = False  # no proxies, no .netrc, no other certificates
        session.headers["User-Agent"] = f"guestagent/{VERSION}"
        for number in range(tries):
            if number:
                time.sleep(defs.PHONE_HOME_PAUSE)
            try:
                reason = _post(session, url, form)
            except (requests.RequestException, ValueError) as error:
                reason = _reason(error)
            if not reason:
                break
    return reason


def _post(session: Any, url: str, form: dict[str, str]) -> str:
    """One try; returns what is wrong with the answer.  Raises requests.RequestException."""
    from urllib.parse import urljoin

    scheme = url.partition(":")[0].lower()
    for _ in range(defs.PHONE_HOME_REDIRECTS + 1):
        with session.post(
            url, data=form, timeout=defs.PHONE_HOME_TIMEOUT, allow_redirects=False, stream=True
        ) as response:  # the body is of no interest, and not read
            status, target = response.status_code, response.headers.get("Location")
        if 200 <= status < 300 or status == 303:
            return ""
        if not (status in (301, 302, 307, 308) and target):
            return f"HTTP status {status}"
        url = urljoin(url, target)
        if url.partition(":")[0].lower() != scheme:
            return "a redirect to another scheme, which is not followed"
    return "too many redirects"


def _reason(error: Exception) -> str:
    """What went wrong, in words that hold nothing of the URL."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or TLS failed"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return type(error).__name__


def _shown(url: str) -> str:
    """Scheme and host: the user, the path and the query may be secret."""
    scheme, _, rest = url.partition("://")
    host = rest.replace("?", "/").replace("#", "/").partition("/")[0]
    return f"{scheme}://{host.rpartition('@')[2]}"
