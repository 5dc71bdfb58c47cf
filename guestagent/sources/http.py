"""One metadata service over HTTP: one connection, bounded in time, size and patience.

requests does the protocol.  The sockets are made here, so that a link can be chosen and every
read has a deadline: its own timeouts are for each read, and a server that sends a byte now and
then would hold it for ever.
"""

from __future__ import annotations

import random
import socket
import time
from http.client import HTTPException

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from guestagent import VERSION, defs
from guestagent.errors import SourceBroken, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from guestagent.sources.endpoints import Endpoint

    T = TypeVar("T")

_TRANSIENT = (408, 429, 500, 502, 503, 504)
_CHUNK = 1 << 16
_FREE_TEXT = ("/user_data", "/user-data")  # a user may give a page as his data
_FREE_FOLDER = "/openstack/content/"  # and inject one as a file
_TOKEN = "/latest/api/token"  # noqa: S105 - a path
_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a name


class Transient(Exception):
    """A try failed, and another may not; ``after`` is what the server asked to wait, in seconds."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class _Socket(socket.socket):
    """A socket whose every read ends by the deadline of its client's present document."""

    client: Client

    def recv_into(self, *arguments: Any) -> int:
        """recv(2), at most until the deadline, and at most READ_TIMEOUT without a byte."""
        left = self.client.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the document took too long")
        self.settimeout(min(defs.READ_TIMEOUT, left))
        return super().recv_into(*arguments)


class _Adapter(HTTPAdapter):
    """requests over connections that the client makes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        client = self._client

        class Connection(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return client.connect()

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = Connection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool}


class Client:
    """Asks one endpoint until ``end``, a time of the monotonic clock.

    ``plug`` is a connection that is there already.  With ``token`` each request carries the
    session token that the service gives (IMDSv2).
    """

    def __init__(self, endpoint: Endpoint, end: float, plug: socket.socket | None = None) -> None:
        self.endpoint, self.end, self.until = endpoint, end, end
        self.requests, self.left = 0, defs.TOTAL_LIMIT
        self._plug = plug
        self._token = ""
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies, no .netrc, no other certificates
        self._session.mount("http://", _Adapter(self))
        self._session.headers.clear()
        self._session.headers.update(
            {"User-Agent": f"guestagent/{VERSION}", "Accept": "*/*", "Accept-Encoding": "identity"}
        )

    def connect(self) -> socket.socket:
        """The connection that is there, once; later ones are made anew.  Raises OSError."""
        plug, self._plug = self._plug, None
        left = max(0.001, self.until - time.monotonic())
        if plug is None:
            plug = self.endpoint.open(min(defs.CONNECT_TIMEOUT, left))
        plug.setblocking(True)
        found = _Socket(fileno=plug.detach())
        found.client = self
        found.settimeout(min(defs.READ_TIMEOUT, left))
        return found

    def get(self, path: str, limit: int) -> bytes | None:
        """A document of at most ``limit`` bytes, with as many tries as the time allows.

        None where the service says that there is none.  Raises SourceBroken, Unreachable.
        """
        return self.patiently(path, lambda: self.ask(path, limit))

    def patiently(self, path: str, work: Callable[[], T]) -> T:
        """What ``work`` returns, tried as often as the time allows.  Raises Unreachable."""
        tries, reason = 0, ""
        while True:
            try:
                return work()
            except Transient as error:
                # The end of the time in the middle of a try would hide what was wrong before.
                if not reason or time.monotonic() < self.end:
                    reason = str(error)
                pause = back_off(tries, error.after)
                if time.monotonic() + pause >= self.end:
                    raise Unreachable(f"{self.endpoint.url}{path}: {reason}") from None
                tries += 1
                time.sleep(pause)

    def ask(self, path: str, limit: int) -> bytes | None:
        """One try.  Raises Transient, SourceBroken."""
        status, content = self._request("GET", path, limit)
        if status == 401 and self._token:
            self.get_token()
            status, content = self._request("GET", path, limit)
        if status == 404:
            return None
        if status != 200:
            raise SourceBroken(f"{self.endpoint.url}{path}: HTTP status {status}")
        free = path.endswith(_FREE_TEXT) or path.startswith(_FREE_FOLDER)
        if content.lstrip()[:1] == b"<" and not free:
            raise Transient("an HTML or XML page instead of the document")
        return content

    def get_token(self) -> bool:
        """Get a session token; False where the service knows none.

        Raises Transient, SourceBroken where it refuses.
        """
        self._token = ""
        headers = {f"{_TOKEN_HEADER}-ttl-seconds": str(defs.TOKEN_SECONDS)}
        status, content = self._request("PUT", _TOKEN, defs.TOKEN_LIMIT, headers)
        if status in (404, 405, 501):
            return False
        sound = content and content.isascii() and content.decode().isprintable()
        if status != 200 or not sound:
            raise SourceBroken(f"{self.endpoint.url}{_TOKEN}: HTTP status {status}, no token")
        self._token = content.decode()
        return True

    def post(self, path: str, body: bytes) -> int:
        """Send a body once; returns the HTTP status.  Raises Transient."""
        return self._request("POST", path, defs.TOKEN_LIMIT, {}, body)[0]

    def _request(
        self,
        method: str,
        path: str,
        limit: int,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        """Status and body; for a redirect and the like the status alone counts."""
        self.until = min(self.end, time.monotonic() + defs.DOCUMENT_TIMEOUT)
        sent = dict(headers or {})
        if self._token:
            sent[_TOKEN_HEADER] = self._token
        self.requests += 1
        try:
            with self._session.request(
                method,
                self.endpoint.url + path,
                data=body,
                headers=sent,
                stream=True,
                allow_redirects=False,
                timeout=(defs.CONNECT_TIMEOUT, defs.READ_TIMEOUT),
            ) as response:
                return self._answer(response, limit)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Transient(_reason(error)) from None

    def _answer(self, response: requests.Response, limit: int) -> tuple[int, bytes]:
        status = response.status_code
        if status in _TRANSIENT:
            self._read(response, defs.TOKEN_LIMIT)  # a short rest keeps the connection usable
            raise Transient(f"HTTP status {status}", _seconds(response.headers.get("Retry-After")))
        if status != 200:
            self._read(response, defs.TOKEN_LIMIT)
            return status, b""
        coding = response.headers.get("Content-Encoding", "identity").lower()
        transfer = response.headers.get("Transfer-Encoding", "chunked").lower()
        if (coding, transfer) != ("identity", "chunked"):
            raise SourceBroken(f"{response.url}: compressed, which was not asked for")
        limit = min(limit, self.left)
        content = self._read(response, limit)
        self.left -= len(content)
        if len(content) > limit:
            raise SourceBroken(f"{response.url}: larger than {limit} bytes")
        told = response.headers.get("Content-Length", "")
        if told.isdecimal() and len(content) < int(told):
            raise Transient("the connection ended in the middle of the document")
        return status, content

    def _read(self, response: requests.Response, limit: int) -> bytes:
        """The body, up to one byte more than ``limit``."""
        content = bytearray()
        while len(content) <= limit:
            size = min(_CHUNK, limit + 1 - len(content))
            chunk = response.raw.read(size, decode_content=False)
            if not chunk:
                break
            content += chunk
        return bytes(content)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def back_off(tries: int, after: float = 0.0) -> float:
    """Seconds to wait after so many failed tries: exponential, with full jitter.

    ``after`` is the least that the server asked for; guests that hear the same do not come back
    at the same time.
    """
    most = min(defs.BACK_OFF_MOST, defs.BACK_OFF_FIRST * 2 ** min(tries, 64))
    jitter = random.uniform(0, most)  # noqa: S311 - not for secrets
    return min(after, defs.RETRY_AFTER_MOST) + jitter


def _seconds(value: str | None) -> float:
    """``Retry-After`` in seconds (RFC 9110); a date needs a clock that can be trusted."""
    return float(value) if value and value.isascii() and value.isdigit() and len(value) < 6 else 0.0


def _reason(error: BaseException) -> str:
    """What went wrong, without the chain of objects that requests puts around it."""
    while True:
        inner = (
            error.__cause__
            or error.__context__
            or next((item for item in error.args if isinstance(item, BaseException)), None)
        )
        if inner is None or isinstance(error, TimeoutError | HTTPException):
            break
        error = inner
    if isinstance(error, TimeoutError):
        return str(error) if "document" in str(error) else "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
