"""Ask one metadata service over HTTP: one connection, bounded in time, size and patience.

``http.client`` speaks the protocol, on sockets that are made here.  requests is for what needs TLS
and redirects (``scripts.phone_home``).  Importing it costs as much CPU time as 14 starts of the
interpreter, ``http.client`` and this module 5.  And as its documentation shows it, it cannot use a
chosen link, take over the connection that won the race, or bound a whole document in time: its
timeouts are for each read, so that a server that sends a byte now and then would hold it for ever.
"""

from __future__ import annotations

import socket
import time
from http.client import (
    SWITCHING_PROTOCOLS,
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    RemoteDisconnected,
)
from select import POLLIN, poll

from guestagent import VERSION, defs
from guestagent.errors import SourceBroken
from guestagent.sources.retry import Transient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.sources.endpoints import Endpoint

_TRANSIENT = (408, 429, 500, 502, 503, 504)
_FREE_TEXT = ("/user_data", "/user-data")  # user data may be a page of HTML
_FREE_FOLDER = "/openstack/content/"  # and so may an injected file
_TOKEN = "/latest/api/token"  # noqa: S105 - a path
_TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105 - a name
_HEADERS = {"User-Agent": f"guestagent/{VERSION}", "Accept": "*/*"}
# What an answer may take on the wire: a head, and a body in chunks of one byte, six bytes each.
_HEAD_ROOM = 1 << 20
_BODY_ROOM = 8
_TOO_LONG = "the document took too long"
_CUT_OFF = "the connection ended in the middle of the document"


class _TooLarge(Exception):
    """An answer has more bytes than it may have."""


class _BoundedSocket(socket.socket):
    """A socket that receives until a time and up to a number of bytes, however they come.

    ``end`` is a time of the monotonic clock, ``room`` counts the bytes that may still come.
    ``http.client`` reads through ``socket.makefile``, which calls recv_into() for every read.
    """

    end: float
    room: int

    def recv_into(self, *arguments: Any) -> int:
        """Receive into a buffer, and wait at most READ_TIMEOUT for it.

        Raises _TooLarge without room, TimeoutError, OSError.
        """
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError(_TOO_LONG)
        if self.room <= 0:
            raise _TooLarge
        self.settimeout(min(defs.READ_TIMEOUT, left))
        count = super().recv_into(*arguments)
        self.room -= count
        return count


class _Response(HTTPResponse):
    """An answer, after the interim ones before it (RFC 9110, 15.2), of which none was asked for.

    ``http.client`` itself skips 100 (Continue) alone.
    """

    def begin(self) -> None:
        """Read the head of the answer.  Raises HTTPException, OSError."""
        super().begin()
        while 100 <= self.status < 200 and self.status != SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # else begin() would do nothing
            super().begin()


class Client:
    """Ask one endpoint until ``end``, a time of the monotonic clock.

    ``sock`` is a connection that exists already.  ``requests`` counts the requests that were sent.
    """

    def __init__(self, endpoint: Endpoint, end: float, sock: socket.socket | None = None) -> None:
        self.endpoint, self.end = endpoint, end
        self.requests, self.left = 0, defs.TOTAL_LIMIT
        self._first_socket = sock
        self._connection: HTTPConnection | None = None
        self._token = ""

    def ask(self, path: str, limit: int) -> bytes | None:
        """Return a document of at most ``limit`` bytes, with one try; None if there is none.

        Raises Transient, SourceBroken.
        """
        status, content = self._request("GET", path, limit)
        if status == 401 and self._token:  # it has expired
            self.get_token()
            status, content = self._request("GET", path, limit)
        if status == 404:
            return None
        if status != 200:
            raise SourceBroken(f"{self.endpoint.url}{path}: HTTP status {status}")
        # Proxies and half-started services send error pages with status 200.
        may_be_page = path.endswith(_FREE_TEXT) or path.startswith(_FREE_FOLDER)
        if content.lstrip()[:1] == b"<" and not may_be_page:
            raise Transient("an HTML or XML page instead of the document")
        return content

    def get_token(self) -> bool:
        """Get a session token (IMDSv2), which each request carries from then on.

        Returns False if the service has no tokens.  Raises Transient, SourceBroken if it refuses.
        """
        self._token = ""
        headers = {f"{_TOKEN_HEADER}-ttl-seconds": str(defs.TOKEN_SECONDS)}
        status, content = self._request("PUT", _TOKEN, defs.TOKEN_LIMIT, headers=headers)
        if status in (404, 405, 501):
            return False
        sound = content and content.isascii() and content.decode().isprintable()
        if status != 200 or not sound:
            raise SourceBroken(f"{self.endpoint.url}{_TOKEN}: HTTP status {status}, no token")
        self._token = content.decode()
        return True

    def post(self, path: str, body: bytes) -> int:
        """Send a body once, and return the HTTP status.  Raises Transient, SourceBroken."""
        status, _ = self._request("POST", path, defs.TOKEN_LIMIT, body=body)
        return status

    def _request(
        self,
        method: str,
        path: str,
        limit: int,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        """Send a request; return the status and, if it is 200, the body of the answer.

        The connection stays open for the next one if this one ended as it should.  Redirects are
        not followed.  Raises Transient, SourceBroken.
        """
        end = min(self.end, time.monotonic() + defs.DOCUMENT_TIMEOUT)
        limit = min(limit, self.left)
        sent = {**_HEADERS, **(headers or {})}
        if self._token:
            sent[_TOKEN_HEADER] = self._token
        self.requests += 1
        whole = False
        try:
            connection = self._connect(end, limit)
            connection.request(method, self.endpoint.path + path or "/", body, sent)
            with connection.getresponse() as response:
                content, whole = self._read(response, limit)
        except _TooLarge:
            raise SourceBroken(f"{self.endpoint.url}{path}: larger than {limit} bytes") from None
        # http.client has no check against chunks of a negative length, and reads them: ValueError.
        except (HTTPException, OSError, ValueError) as error:
            raise Transient(_reason(error)) from None
        finally:
            if not whole:
                self._disconnect()
        if response.status in _TRANSIENT:
            after = _seconds(response.getheader("Retry-After", ""))
            raise Transient(f"HTTP status {response.status}", after)
        return response.status, content

    def _connect(self, end: float, limit: int) -> HTTPConnection:
        """Return the connection, for an answer until ``end`` with a body of ``limit`` bytes.

        It is made again if the server has closed the one before.  Raises OSError, HTTPException.
        """
        connection = self._connection
        if connection is None or connection.sock is None or not _is_idle(connection.sock):
            self._disconnect()
            connection = HTTPConnection(self.endpoint.host, self.endpoint.port)
            connection.response_class = _Response
            connection.sock = self._open(end)  # so that http.client makes none
            self._connection = connection
        sock: Any = connection.sock  # a _BoundedSocket
        sock.end, sock.room = end, _HEAD_ROOM + _BODY_ROOM * limit
        sock.settimeout(min(defs.READ_TIMEOUT, max(0.001, end - time.monotonic())))
        return connection

    def _open(self, end: float) -> _BoundedSocket:
        """Return the connection that was given, and from the second time on a new one."""
        sock, self._first_socket = self._first_socket, None
        if sock is None:
            left = max(0.001, end - time.monotonic())
            sock = self.endpoint.connect(min(defs.CONNECT_TIMEOUT, left))
        return _BoundedSocket(fileno=sock.detach())

    def _read(self, response: HTTPResponse, limit: int) -> tuple[bytes, bool]:
        """Return the body of an answer, and whether all of the answer has been read.

        Nothing but the status counts of an answer other than 200: its body is returned empty.
        Raises _TooLarge, Transient, SourceBroken, HTTPException, OSError.
        """
        if response.status != 200:
            rest = response.read(defs.TOKEN_LIMIT + 1)
            return b"", len(rest) <= defs.TOKEN_LIMIT
        coding = response.getheader("Content-Encoding", "identity").lower()
        transfer = response.getheader("Transfer-Encoding", "chunked").lower()
        if (coding, transfer) != ("identity", "chunked"):
            raise SourceBroken(f"{self.endpoint.url}: a compressed answer, which was not asked for")
        content = response.read(limit + 1)
        if len(content) > limit:
            raise _TooLarge
        self.left -= len(content)
        # getheader() joins the values of several headers with commas.
        lengths = {text.strip() for text in response.getheader("Content-Length", "").split(",")}
        if len(lengths) > 1:
            raise Transient("an answer with two lengths")
        # Where it is shorter than that, http.client's read() returns what has come.
        length = lengths.pop()
        if length.isdecimal() and len(length) < 20 and len(content) < int(length):
            raise Transient(_CUT_OFF)
        return content, True

    def _disconnect(self) -> None:
        """Close the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the connection, also one that was given and not used."""
        self._disconnect()
        if self._first_socket is not None:
            self._first_socket.close()


def _is_idle(sock: socket.socket) -> bool:
    """Tell whether a connection waits for a request.

    If it can be read, the server has closed it, or sent what is no answer to any request.
    """
    poller = poll()
    poller.register(sock, POLLIN)
    return not poller.poll(0)


def _seconds(value: str) -> float:
    """Return the seconds of a ``Retry-After`` header (RFC 9110), 0 for another form.

    A date would need a clock that is right.
    """
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0


def _reason(error: HTTPException | OSError | ValueError) -> str:
    """Return what went wrong, in words that hold nothing of what the server sent."""
    if isinstance(error, TimeoutError):
        return _TOO_LONG if _TOO_LONG in str(error) else "no answer in time"
    if isinstance(error, RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, IncompleteRead):
        return _CUT_OFF
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"not a valid HTTP answer ({type(error).__name__})"
