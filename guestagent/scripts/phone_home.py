"""``phone_home``: a form posted to a server once everything is done, as cloud-init posts it.

The body is application/x-www-form-urlencoded; what is not known is sent as ``N/A``.  requests is
used because the server may want TLS.  Redirects are followed here, because requests would turn
the POST of some of them into a GET (RFC 9110, 15.4): with the same form, and to the same scheme
only.
"""

from __future__ import annotations

import os
import sys
import time

from guestagent import VERSION, defs, log
from guestagent.errors import FieldError, UsageError, internal
from guestagent.system.jsontext import has_form, loads
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from requests import Session

_UNKNOWN = "N/A"
_REDIRECTS = (301, 302, 307, 308)
_FORM = {"url": str, "post": list, "tries": int, "hostname": str, "fqdn": str}
_DAMAGED = "not what guestagent's own script says; nothing is posted"
_SEE_OTHER = 303  # the form was taken; the target is a page to show


def run_verb() -> int:
    """Carry out ``phone-home``, for a script of the late stage; return the exit status.

    The parameters are a JSON object on standard input: ``url``, where ``$INSTANCE_ID`` means
    that variable of the environment; ``post``, the names of what is sent; ``tries``; ``hostname``
    and ``fqdn``, empty for those of the running system.  Raises UsageError.
    """
    running = os.uname().nodename
    try:
        given = loads(sys.stdin.buffer.read(defs.JSON_LIMIT))
    except FieldError as error:
        raise UsageError(f"phone-home: standard input: {error}") from None
    if not has_form(given, _FORM) or not all(map(_is_field, given["post"])):
        raise UsageError(f"phone-home: standard input: {_DAMAGED}")
    url, tries, names = given["url"], given["tries"], given["post"]
    known = {
        "instance_id": os.environ.get("INSTANCE_ID", ""),
        "hostname": given["hostname"] or running.split(".")[0],
        "fqdn": given["fqdn"] or running,
    }
    for variable in ("${INSTANCE_ID}", "$INSTANCE_ID"):
        url = url.replace(variable, known["instance_id"])
    root = Root("/")
    # The host keys as they are now: sshd may have made them after this script was staged.
    form = {name: known.get(name) or _host_key(root, name) or _UNKNOWN for name in names}
    reason = post_form(url, form, tries)
    if reason:
        log.error(f"phone_home: {_shown(url)}: {reason}")
        return defs.EXIT_ERRORS
    log.notice(f"phone_home: posted to {_shown(url)}")
    return defs.EXIT_OK


def _is_field(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


def _host_key(root: Root, name: str) -> str:
    """Return a public host key as its file has it, for ``pub_key_KIND``; empty if it is missing."""
    kind = name.removeprefix("pub_key_")
    return root.text(f"{defs.SSH_DIR}/ssh_host_{kind}_key.pub")


def post_form(url: str, form: dict[str, str], tries: int) -> str:
    """Post a form until a try succeeds; return why the last one failed, or an empty string.

    There is one try at least.  All of them have a time together: the timeouts of the library are
    for each read, and it waits for name servers as long as it likes.  No signal ends that; a
    thread can be left.
    """
    from threading import Thread

    tries = max(tries, 1)  # cloud-init takes 0 so
    limit = tries * defs.PHONE_HOME_TRY
    reasons: list[str] = []

    def post() -> None:
        try:
            reasons.append(_try_often(url, form, tries))
        except Exception as error:
            reasons.append(internal(error))

    thread = Thread(target=post, daemon=True)
    thread.start()
    thread.join(limit)
    return reasons[0] if reasons else f"took longer than {limit:.0f} s"


def _try_often(url: str, form: dict[str, str], tries: int) -> str:
    """Post a form until a try succeeds; return why the last one failed, or an empty string."""
    import requests

    reason = ""
    with requests.Session() as session:
        session.trust_env = False  # no proxies, no .netrc, no other certificates
        # Else requests would read all of the body that a redirect has, to tell what comes next.
        session.get_redirect_target = lambda _: None  # type: ignore[assignment,method-assign]
        session.headers["User-Agent"] = f"guestagent/{VERSION}"
        for number in range(tries):
            if number:
                time.sleep(defs.PHONE_HOME_PAUSE)
            try:
                reason = _try(session, url, form)
            except (requests.RequestException, ValueError) as error:
                reason = _reason(error)
            if not reason:
                break
    return reason


def _try(session: Session, url: str, form: dict[str, str]) -> str:
    """Post once, redirects included; return what is wrong with the answer, or an empty string.

    Raises requests.RequestException, ValueError.
    """
    from urllib.parse import urljoin

    scheme = _scheme(url)
    for _ in range(defs.PHONE_HOME_REDIRECTS + 1):
        # With ``stream`` the body, which does not matter, is not read.
        with session.post(
            url, data=form, timeout=defs.PHONE_HOME_TIMEOUT, allow_redirects=False, stream=True
        ) as response:
            status = response.status_code
            target = response.headers.get("Location", "").encode("latin-1").decode()
        if 200 <= status < 300 or status == _SEE_OTHER:
            return ""
        if status not in _REDIRECTS or not target:
            return f"HTTP status {status}"
        url = urljoin(url, target)
        if _scheme(url) != scheme:
            return "a redirect to another scheme, which is not followed"
    return "too many redirects"


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()


def _reason(error: Exception) -> str:
    """Return what went wrong, in words that hold nothing of the URL."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or TLS failed"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    if isinstance(error, ValueError):  # also where a Location header is not UTF-8
        return "it, or where it redirects to, is not a URL; nothing was sent there"
    return type(error).__name__


def _shown(url: str) -> str:
    """Return scheme and host of a URL: user, path and query may be secret."""
    scheme, _, rest = url.partition("://")
    host = rest.replace("?", "/").replace("#", "/").partition("/")[0]
    return f"{scheme}://{host.rpartition('@')[2]}"
