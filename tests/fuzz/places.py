"""Stand-ins for what readers ask: trees of files, programs, and a server on the loopback.

Nothing that an input names is ever run or connected to.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from guestagent import defs
from guestagent.errors import internal

# A file system in memory, where there is one: what is written durably costs nothing there.
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_GUARD = "guard"
_MOVED = (
    *("/proc/", "/sys/", "/run/udev/", "/run/systemd/", "/dev/disk/"),
    *("/etc/guestagent/", "/var/lib/guestagent/", "/run/guestagent/"),
)
_KEPT = ("OWN_FILES", "PROCESS_DIR")
_HEAD_LINE = re.compile(
    r"(?:Host|User-Agent|Accept|Authorization|Accept-Encoding|Connection|Content-Length|Content-Type"
    r"|X-aws-ec2-metadata-token(?:-ttl-seconds)?): [ -~]*"
)
_REQUEST_LINE = re.compile(r"(?:GET|PUT|POST) /[!-~]* HTTP/1\.1")
_REQUEST = b"\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def tree(documents: dict[str, bytes]) -> Iterator[Path]:
    """Give a directory with these files; what is beside it must stay as it is."""
    with TemporaryDirectory(dir=_MEMORY) as folder:
        top, guard = Path(folder, "tree"), Path(folder, _GUARD)
        top.mkdir()
        guard.write_bytes(b"kept")
        for name, content in documents.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        yield top


def beside(top: Path) -> list[str]:
    """Return what is wrong beside a ``tree``: a file was made, changed or removed there."""
    folder = top.parent
    sound = sorted(os.listdir(folder)) == [_GUARD, "tree"]
    sound = sound and (folder / _GUARD).read_bytes() == b"kept"
    return [] if sound else ["a file outside the root was changed"]


@contextmanager
def machine(top: Path) -> Iterator[None]:
    """Have what the agent asks of the kernel and of udev looked up below a directory."""
    moved = {
        name: f"{top}{value}"
        for name, value in vars(defs).items()
        if isinstance(value, str) and f"{value}/".startswith(_MOVED) and name not in _KEPT
    }
    with patch.dict(vars(defs), moved), patch("guestagent.system.machine._said", {}):
        yield


@contextmanager
def programs(printed: dict[str, Path] | None = None) -> Iterator[list[list[str]]]:
    """Give the command lines of programs that were to be started; none of them is.

    What a program prints is the file that ``printed`` has for a word of its command line.
    """
    started: list[list[str]] = []
    spawn = os.posix_spawn

    def stand_in(path: str, argv: list[str], environment: Any, **how: Any) -> int:
        for word in (path, *argv):
            if "\0" in os.fspath(word):
                raise ValueError("embedded null byte")
            os.fsencode(word)
        started.append(list(argv))
        files = [file for word, file in (printed or {}).items() if word in (*argv, Path(path).name)]
        if files:
            return spawn("/bin/cat", ["cat", str(files[0])], {}, **how)
        return spawn("/bin/true", ["true"], {}, **how)

    with patch.object(os, "posix_spawn", stand_in):
        yield started


class Server:
    """An HTTP server on the loopback, to which every connection of one input leads.

    What a client of an input before may still send is none of its: each input has its own.

    ``answers`` are whole answers, by "METHOD PATH"; ``closes`` ends a connection after each.
    ``asked`` has "METHOD PATH" of each request, and
    ``wrong`` says what of the requests no server would take.
    """

    def __init__(self, answers: dict[str, bytes], *, closes: bool) -> None:
        self.answers, self.closes = answers, closes
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # hung up
            self._open.append(sock)
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        waiting = b""
        try:
            while chunk := sock.recv(1 << 16):
                waiting += chunk
                while _REQUEST in waiting:
                    head, _, waiting = waiting.partition(_REQUEST)
                    length = re.search(rb"\r\nContent-Length: (\d+)", head)
                    size = int(length[1]) if length else 0
                    while len(waiting) < size and (chunk := sock.recv(1 << 16)):
                        waiting += chunk
                    waiting = waiting[size:]
                    self._answer(sock, head.decode("latin-1"))
        except OSError:
            pass  # the client has had enough
        finally:
            sock.close()

    def _answer(self, sock: socket.socket, head: str) -> None:
        first, *lines = head.split("\r\n")
        self.wrong += [] if _REQUEST_LINE.fullmatch(first) else [f"a request: {first[:80]!r}"]
        self.wrong += [
            f"a header: {line[:80]!r}" for line in lines if not _HEAD_LINE.fullmatch(line)
        ]
        what = first.rpartition(" ")[0]
        self.asked.append(what)
        sock.sendall(self.answers.get(what, _NOT_FOUND))
        if self.closes:
            sock.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Take no more connections, and close those that are left."""
        for sock in (self._listener, *self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._listener.close()


_QUICK = {
    "BACK_OFF_FIRST": 0.001,
    "BACK_OFF_MOST": 0.002,
    "RETRY_AFTER_MOST": 0.002,
    "RACE_PAUSE": 0.002,
    "RACE_LISTEN": 0.01,
    "READ_TIMEOUT": 0.05,
    "DOCUMENT_TIMEOUT": 0.2,
    "PHONE_HOME_TIMEOUT": 0.05,
    "PHONE_HOME_PAUSE": 0.0,
    "CONNECT_TIMEOUT": 0.2,
}


@contextmanager
def server(answers: dict[str, bytes], *, closes: bool) -> Iterator[Server]:
    """Give a server with these answers, and have no client wait for long.

    Errors of threads that the agent starts are among what is ``wrong``.
    """
    found = Server(answers, closes=closes)

    def addresses(host: str | bytes | None, port: object, *_: object, **__: object) -> list[Any]:
        if isinstance(host, str):
            host.encode("idna")  # raises UnicodeError, as the function itself does
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", found.address)]

    def failed(error: threading.ExceptHookArgs) -> None:
        found.wrong.append(internal(error.exc_value or error.exc_type()))

    with (
        patch.dict(vars(defs), _QUICK),
        patch.object(socket, "getaddrinfo", addresses),
        patch.object(threading, "excepthook", failed),
    ):
        try:
            yield found
        finally:
            found.hang_up()
