"""The socket over which LXD and Incus tell each instance its configuration.

Source: the page "Communication between instance and host" of LXD's documentation: HTTP over a
socket of the local machine.  A request of HTTP/1.0 is answered without chunks, and the connection
ends with the answer, so that nothing of a client library is needed: ``http.client`` costs 40 ms.
"""

from __future__ import annotations

import os
import time
from stat import S_ISDIR, S_ISSOCK

from guestagent import VERSION, defs
from guestagent.errors import FieldError, Origin, SourceBroken
from guestagent.sources.bundle import Bundle, Unreadable
from guestagent.sources.directory import too_many_names
from guestagent.system.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problems

_OTHERS_MAY_WRITE = 0o022
_CHUNK = 64 << 10
_HEAD_LIMIT = 64 << 10
_META = f"{defs.LXD_API}/meta-data"
_CONFIG = f"{defs.LXD_API}/config"
_FOLDERS = {"": [defs.LXD_API], defs.LXD_API: ["config", "meta-data"]}
_NOT_TRUSTED = (
    "it or its directory belongs to another than root, or others may write to that: it is not "
    "asked, because it may not be the host's; remove it if it is not"
)


class _Failed(Exception):
    """A request without an answer that can be used; the text is the reason."""


def open_source(problems: Problems) -> Bundle | None:
    """Open the first socket that is there; return None if there is none.

    Raises SourceBroken for one that may be another's than the host's.
    """
    found = [path for path in defs.LXD_SOCKETS if _is_socket(path)]
    if not found:
        return None
    path, *others = found
    reason = why_not_trusted(path)
    if reason:
        raise SourceBroken(f"{path}: {reason}")
    bundle = open_socket(path)
    for other in others:
        problems.warn(Origin(other, "", ""), f"is not used, because {bundle.label} is")
    return bundle


def _is_socket(path: str) -> bool:
    try:
        return S_ISSOCK(os.lstat(path).st_mode)
    except OSError:
        return False


def why_not_trusted(path: str) -> str:
    """Return why a socket may be that of another than the host; empty if it is the host's.

    Only root can put it there.  Where the host's users are not those of the container, both the
    socket and its directory belong to nobody; only root can have mounted that.
    """
    folder = os.path.dirname(path)
    try:
        here, socket = os.lstat(folder), os.lstat(path)
        above = os.lstat(os.path.dirname(folder))
    except OSError as error:
        return error.strerror or "it cannot be looked at"
    is_mount = here.st_dev != above.st_dev
    owned = here.st_uid == socket.st_uid == 0 or is_mount
    closed = S_ISDIR(here.st_mode) and not here.st_mode & _OTHERS_MAY_WRITE
    return "" if owned and closed else _NOT_TRUSTED


def open_socket(path: str) -> Bundle:
    """Open the socket as a source."""
    bundle = Bundle(f"LXD {path}", Socket(path))
    bundle.own = True
    return bundle


class Socket:
    """A transport over the socket, with a connection for each document."""

    def __init__(self, path: str) -> None:
        self._path = path

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a document; see ``Transport``."""
        status, content = self._ask(name, limit)
        if status == 404 and name != _META:
            return None
        if status == 200 and len(content) <= limit:
            return content
        reason = f"larger than {limit} bytes" if status == 200 else f"HTTP status {status}"
        # Without this document, nobody knows which instance it is.
        if name == _META:
            raise SourceBroken(f"{self._path}: {name}: {reason}; nothing is applied")
        raise Unreadable(f"{name}: {reason}")

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        if folder != _CONFIG:
            return _FOLDERS.get(folder, [])
        status, content = self._ask(folder, defs.JSON_LIMIT)
        if status == 404:
            return []
        try:
            found = loads(content) if status == 200 else None
        except FieldError:
            found = None
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise SourceBroken(f"{self._path}: {folder}: not a list of names (status {status})")
        if len(found) > defs.MAX_NAMES:
            raise too_many_names(folder)
        return sorted(name.removeprefix(f"/{_CONFIG}/") for name in found)

    def _ask(self, name: str, limit: int) -> tuple[int, bytes]:
        """Return the status of an answer, and its body: of one that is too large, the beginning.

        A server that has just started may answer with an error of its own, and is asked again.
        Raises SourceBroken after the last try without an answer.
        """
        tries = 1
        while True:
            is_last = tries == defs.READ_TRIES
            try:
                status, content = self._try(name, limit)
                if status < 500 or is_last:
                    return status, content
            except (OSError, _Failed) as error:
                if is_last:
                    reason = f"{self._path}: {name}: {error}, {tries} times"
                    raise SourceBroken(reason) from None
            tries += 1
            time.sleep(defs.READ_PAUSE)

    def _try(self, name: str, limit: int) -> tuple[int, bytes]:
        """Send one request, and return the status and the body.  Raises _Failed, OSError."""
        import socket

        end = time.monotonic() + defs.DOCUMENT_TIMEOUT
        request = f"GET /{name} HTTP/1.0\r\nHost: lxd\r\nUser-Agent: guestagent/{VERSION}\r\n\r\n"
        answer = bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(defs.CONNECT_TIMEOUT)
            connection.connect(self._path)
            connection.sendall(request.encode())
            while len(answer) <= _HEAD_LIMIT + limit:
                left = end - time.monotonic()
                if left <= 0:
                    raise _Failed("the document took too long")
                connection.settimeout(min(defs.READ_TIMEOUT, left))
                received = connection.recv(_CHUNK)
                if not received:
                    break
                answer += received
        return _read(bytes(answer), limit)

    def close(self) -> None:
        """Do nothing: no connection stays open."""


def _read(answer: bytes, limit: int) -> tuple[int, bytes]:
    """Return the status and the body of an answer of HTTP (RFC 9112).  Raises _Failed."""
    head, found, body = answer.partition(b"\r\n\r\n")
    lines = head[:_HEAD_LIMIT].decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    code = rest[:3]
    if not found or not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit()):
        raise _Failed("not a valid HTTP answer")
    fields = dict(_field(line) for line in lines[1:])
    if "transfer-encoding" in fields or fields.get("content-encoding", "identity") != "identity":
        raise _Failed("an encoded answer, which was not asked for")
    length = fields.get("content-length", "")
    is_number = length.isascii() and length.isdigit() and len(length) < 20
    if is_number and len(body) < min(int(length), limit + 1):
        raise _Failed("the connection ended in the middle of the document")
    return int(code), body


def _field(line: str) -> tuple[str, str]:
    """Return the name of a field in small letters, and its value."""
    name, _, value = line.partition(":")
    return name.lower(), value.strip()
