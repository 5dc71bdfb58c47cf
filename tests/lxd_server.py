"""A server of the guest API of LXD, on a socket in a directory: what each path answers."""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

Answer = str | bytes | int
ANSWERS = dict[str, Answer | list[Answer]]


class _Handler(BaseHTTPRequestHandler):
    """Answers with a text and status 200, with a status alone, or with bytes as they are.

    Of a list, each request takes one, and the last one stays.
    """

    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, 404)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            return
        status, text = (answer, "{}") if isinstance(answer, int) else (200, answer)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, answers: ANSWERS) -> None:
        self.answers, self.asked = answers, list[str]()
        super().__init__(path, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has gone."""


@contextmanager
def served(place: Path, answers: ANSWERS) -> Iterator[tuple[str, list[str]]]:
    """The path of a socket that gives answers, and the paths that it was asked for."""
    place.mkdir(mode=0o755, exist_ok=True)
    path = str(place / "sock")
    server = _Server(path, answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield path, server.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        os.unlink(path)
