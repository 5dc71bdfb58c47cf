"""Fetch what user data name by URLs: over TLS, bounded in size, time and redirects.

Whoever wrote a URL must not get more by it than the document: an address of loopback, of a link or
of a metadata service is never connected to, whatever name or redirect leads there.
The addresses are looked at when a connection is made, so that a name that resolves to another one
the next time (DNS rebinding) does not help either.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from threading import Thread
from urllib.parse import urljoin

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from guestagent import VERSION, defs
from guestagent.errors import internal
from guestagent.sources.downloads import (
    ANSWER_LIMIT,
    Download,
    Downloaded,
    Request,
    decode_answer,
    encode_answer,
)
from guestagent.system.privsep import ask_as_nobody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_REDIRECTS = (301, 302, 303, 307, 308)
_AGAIN = (408, 429, 500, 502, 503, 504)
_CHUNK = 1 << 16
# Metadata services that are not in a network that is refused as a whole: of EC2, and of other
# clouds, where an image may run, too.
_SERVICES = frozenset(
    ip_address(text)
    for text in (
        *("fd00:ec2::254", "fd20:ce::254", "fd00:42::42"),
        *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))  # RFC 6052, RFC 8215
_ALARM_AGAIN = 1.0  # seconds
_GRACE = 3.0  # seconds, for a child that has met its alarm
_NO_MEMORY = "its server sends more than there is memory for"
_FORBIDDEN = "leads to an address of loopback, of a link or of a metadata service"


class _Failed(Exception):
    """A document cannot be had; the text says why, without the URL.  ``again``: a try may help."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class _TooSlow(BaseException):
    """The time for a document is over.  No library takes this for an error of its own."""


def fetch_all(request: Request) -> list[Downloaded]:
    """Fetch documents one after the other; what cannot be had has an error in place of a content.

    All together take no more seconds and bytes than the request says.
    """
    end = time.monotonic() + request.seconds
    room = request.size
    found = []
    signal.signal(signal.SIGALRM, _raise_too_slow)
    with _Session() as session:
        session.trust_env = False  # no proxies, no .netrc, no other certificates
        session.verify = _certificates()
        adapter = _Adapter()
        for scheme in ("https://", "http://"):
            session.mount(scheme, adapter)
        for download in request.downloads:
            seconds = min(defs.FETCH_TIMEOUT, end - time.monotonic())
            limit = min(defs.FILE_LIMIT, room)
            one = _fetch_in_child(session, download, seconds, limit, http=request.http)
            room -= len(one.content)
            found.append(one)
    return found


def _certificates() -> str | bool:
    """Return the file of the authorities that this system trusts, ca_certs of user data included.

    True is the one that requests brings along.
    """
    return next((path for path in defs.CA_BUNDLES if os.path.exists(path)), True)


def _raise_too_slow(*_: object) -> None:
    raise _TooSlow


def _fetch_in_child(
    session: requests.Session, download: Download, seconds: float, limit: int, *, http: bool
) -> Downloaded:
    """Fetch a document in a child: what a server's flood does to its memory ends with it."""
    if seconds <= 0:
        return Downloaded(error="there was no time left for it", again=True)
    answer = ask_as_nobody(
        lambda: encode_answer([_fetch(session, download, seconds, limit, http=http)]),
        ANSWER_LIMIT,
        seconds + _GRACE,
    )
    if not answer:
        return Downloaded(error=_NO_MEMORY)
    return decode_answer(answer, 1)[0]


def _fetch(
    session: requests.Session, download: Download, seconds: float, limit: int, *, http: bool
) -> Downloaded:
    """Fetch a document, within ``seconds`` for everything: names, tries, redirects, its bytes."""
    try:
        # The timeouts of the library are for each read: a server could send a byte now and then.
        # More than one alarm, because Python drops what is raised while an object is finalized.
        signal.setitimer(signal.ITIMER_REAL, seconds, _ALARM_AGAIN)
        try:
            return Downloaded(content=_try_often(session, download, limit, http=http))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Failed as error:
        return Downloaded(error=str(error), again=error.again)
    except _TooSlow:
        return Downloaded(error=f"took longer than {seconds:.0f} s", again=True)
    except MemoryError:  # a line or a chunk without an end, which the library takes as a whole
        return Downloaded(error=_NO_MEMORY)
    except Exception as error:  # the others are fetched all the same
        return Downloaded(error=internal(error))


def _try_often(session: requests.Session, download: Download, limit: int, *, http: bool) -> bytes:
    """Fetch a document, more than once where that may help.  Raises _Failed, _TooSlow."""
    for left in reversed(range(defs.FETCH_TRIES)):
        try:
            return _follow(session, download, limit, http=http)
        except _Failed as error:
            if not error.again or not left:
                raise
        time.sleep(defs.FETCH_PAUSE)
    raise AssertionError  # the last try returns or raises


def _follow(session: requests.Session, download: Download, limit: int, *, http: bool) -> bytes:
    """Return a document, redirects followed.  Raises _Failed, _TooSlow."""
    url = download.url
    for _ in range(defs.FETCH_REDIRECTS + 1):
        try:
            _check_scheme(url, download.url, http=http)
            # What the document's author sends to one host is not for another.
            headers = download.headers if _host(url) == _host(download.url) else {}
            with session.get(
                url,
                headers={
                    **headers,
                    "User-Agent": f"guestagent/{VERSION}",
                    "Accept-Encoding": "identity",
                },
                timeout=defs.FETCH_CONNECT,
                allow_redirects=False,
                stream=True,
            ) as response:
                target = response.headers.get("Location", "").encode("latin-1").decode()
                if response.status_code not in _REDIRECTS or not target:
                    return _body(response, limit)
        except (requests.RequestException, HTTPError, ValueError, OSError) as error:
            raise _explain(error) from None
        url = urljoin(url, target)
    raise _Failed(f"redirects more than {defs.FETCH_REDIRECTS} times")


def _check_scheme(url: str, first: str, *, http: bool) -> None:
    """Raise _Failed for a URL without TLS, unless that is allowed and it did not begin with TLS.

    Raises ValueError for what is no URL.
    """
    scheme = parse_url(url).scheme
    if scheme == "https":
        return
    if scheme == "http" and http and not first.lower().startswith("https:"):
        return
    what = "is not https" if url == first else "redirects to what is not https"
    raise _Failed(what)


def _host(url: str) -> tuple[str | None, str | None, int | None]:
    """Return scheme, host and port as the library that connects reads them.  Raises ValueError.

    Another one may take another host out of a URL with a backslash.
    """
    parts = parse_url(url)
    return parts.scheme, parts.host, parts.port


def _body(response: requests.Response, limit: int) -> bytes:
    """Return the body of an answer, of at most ``limit`` bytes.  Raises _Failed, OSError."""
    status = response.status_code
    if status != 200:
        raise _Failed(f"HTTP status {status}", again=status in _AGAIN)
    coding = response.headers.get("Content-Encoding", "identity").lower()
    transfer = response.headers.get("Transfer-Encoding", "chunked").lower()
    if (coding, transfer) != ("identity", "chunked"):
        raise _Failed("comes compressed, although that was not asked for")
    # Whoever is between can end a connection early, TLS or not, and half a script may do harm.
    if "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers:
        raise _Failed("comes without its length, so that its end cannot be told")
    found = bytearray()
    for chunk in response.raw.stream(_CHUNK, decode_content=False):
        found += chunk
        if len(found) > limit:
            left = "" if limit == defs.FILE_LIMIT else ", which are left of all that may be fetched"
            raise _Failed(f"is larger than {limit} bytes{left}")
    # Not every version of the library notices the end of a connection before that of the body.
    if response.headers.get("Content-Length", str(len(found))).strip() != str(len(found)):
        raise _Failed("ended in the middle", again=True)
    return bytes(found)


def _explain(error: Exception) -> _Failed:
    """Return what went wrong, in words that hold nothing of the URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return _Failed("its certificate is not trusted, or TLS failed")
    if isinstance(error, requests.Timeout):
        return _Failed("no answer in time", again=True)
    if isinstance(error, ValueError):  # also where a Location header is not UTF-8
        return _Failed("it, or what it redirects to, is not a URL")
    return _Failed("cannot be reached, or ended in the middle", again=True)


def _connect(connection: HTTPConnection) -> socket.socket:
    """Return a connected socket for a connection.  Raises _Failed, OSError.

    Only addresses that may be connected to are tried; there is no other way to one here.
    """
    host, port = connection.host.strip("[]"), connection.port
    found = _look_up(host, port)
    allowed = [item for item in found if not is_forbidden(str(item[4][0]))]
    if not allowed:
        raise _Failed(_FORBIDDEN)
    failure: OSError = OSError(host)
    for family, kind, protocol, _, address in allowed:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(defs.FETCH_CONNECT)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _look_up(host: str, port: int) -> list[Any]:
    """Return the addresses of a host as getaddrinfo(3) does.  Raises _Failed, OSError.

    It waits for name servers as long as it likes, and no signal ends it; a thread can be left.
    """
    found: list[Any] = []
    failures: list[OSError | ValueError] = []

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            failures.append(error)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(defs.FETCH_CONNECT)
    if thread.is_alive():
        raise _Failed("its name servers gave no answer in time", again=True)
    if failures:
        raise failures[0]
    return found


def is_forbidden(address: str) -> bool:
    """Tell whether an address is one of loopback, of a link or of a metadata service."""
    return any(
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _SERVICES
        for address in _meanings(ip_address(address.partition("%")[0]))
    )


def _meanings(address: IPv4Address | IPv6Address) -> Iterable[IPv4Address | IPv6Address]:
    """Yield an address, and the one of IPv4 that it stands for."""
    yield address
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            yield address.ipv4_mapped
        if address.sixtofour:
            yield address.sixtofour
        if any(address in network for network in _NAT64):
            yield IPv4Address(int(address) & 0xFFFFFFFF)


class _Session(requests.Session):
    """Never looks at a redirect: to tell what comes next, requests would read all of its body."""

    def get_redirect_target(self, _: object) -> None:
        return None


class _HTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _HTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


class _Adapter(HTTPAdapter):
    """Has requests make its connections here."""

    def init_poolmanager(self, *given: Any, **named: Any) -> None:
        super().init_poolmanager(*given, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
