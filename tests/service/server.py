"""A metadata service that misbehaves as a script says: a process of its own, on plain sockets.

The script is a JSON file, read anew when it was replaced::

    {"documents": {PATH: TEXT},          what is there; other paths are 404
     "steps": {PATH or "*": [STEP, …]},  each request takes the next; the last one stays
     "imds": {…}}                        session tokens, see ``_Tokens``

A step is an answer of its own (``status``, ``body``, ``headers``), a fault in how an answer is
sent (``raw``, ``delay``, ``hang``, ``drip``, ``drip_body``, ``reset``, ``close``, ``endless``,
``length``, ``chunk``, ``many``, ``long``, ``repeat``, ``encoding``, ``later``), or both; an empty
one is the document as it is.  ``for`` lets a step last so many seconds from the start, and
``share`` gives it to a part of the requests only.  Each request is one line of JSON in the log.

usage: python -m tests.service.server SCRIPT LOG [PORT]    prints the port when it is ready
"""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from typing import Any, NamedTuple

from .documents import META, with_seed

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close(2) sends a reset
_REASONS = {200: "OK", 302: "Found", 404: "Not Found", 503: "Service Unavailable"}
_TOKEN_PATH = "/latest/api/token"
_BLOCK = b"x" * 65536
_PAUSE = 60.0
# A request that ends all connections that there are: what was asked at the end of a test may come
# to this server only when the next one has begun.
BEGIN = "BEGIN"


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _Ended(Exception):
    """The connection is over."""


class _Tokens:
    """IMDSv2 (EC2 User Guide): ``required``; ``uses`` after which a token is unknown again.

    ``put`` is the status of every PUT; a path of the log's "token" tells what was sent.
    """

    def __init__(self) -> None:
        self.lock, self.known, self.count = threading.Lock(), dict[str, int](), 0

    def answer(self, asked: Asked, rules: dict[str, Any]) -> tuple[int, bytes] | None:
        """The answer to a PUT, or the refusal of a GET; None where the document may go out."""
        with self.lock:
            if asked.method == "PUT" and asked.path == _TOKEN_PATH:
                return self._put(asked, rules)
            token = asked.headers.get("x-aws-ec2-metadata-token", "")
            if not token and not rules.get("required", True):
                return None
            if self.known.get(token, 0) <= 0:
                return 401, b""
            self.known[token] -= 1
            return None

    def _put(self, asked: Asked, rules: dict[str, Any]) -> tuple[int, bytes]:
        if rules.get("put", 200) != 200:
            return int(rules["put"]), b""
        seconds = asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not seconds.isdigit() or not 1 <= int(seconds) <= 21600:
            return 400, b""
        self.count += 1
        token = rules.get("token", f"TOKEN-{self.count}==")
        self.known[token] = rules.get("uses", 1 << 30)
        return 200, token.encode()


class Server:
    """The script, where it has got to, and the log; a new script is a new service."""

    def __init__(self, script: str, log: str) -> None:
        self.path, self.version = script, (0, 0)
        self.script: dict[str, Any] = {}
        self.taken: dict[str, int] = {}
        self.posted: dict[str, bytes] = {}
        self.tokens = _Tokens()
        self.lock, self.started = threading.Lock(), time.monotonic()
        self.test = 0  # how many have begun
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def step(self, asked: Asked) -> dict[str, Any]:
        """What to do with a request."""
        with self.lock:
            self._reload()
            steps = self.script.get("steps", {})
            name = asked.path if asked.path in steps else "*"
            listed = steps.get(name, [{}])
            number = self.taken.get(name, 0)
            since = time.monotonic() - self.started
            while number < len(listed) - 1 and since > listed[number].get("for", since):
                number += 1
            found: dict[str, Any] = listed[number]
            self.taken[name] = min(number + ("for" not in found), len(listed) - 1)
            if "share" in found and random.random() >= found["share"]:
                return {}
            return found

    def _reload(self) -> None:
        status = os.stat(self.path)
        version = status.st_ino, status.st_mtime_ns
        if version != self.version:
            with open(self.path, encoding="utf-8") as file:
                self.script, self.version = json.load(file), version
            self.taken, self.posted, self.tokens = {}, {}, _Tokens()
            self.started = time.monotonic()

    def note(self, asked: Asked, peer: str, connection: int, status: int) -> None:
        """One line of the log."""
        found = {
            "time": time.monotonic(),
            "method": asked.method,
            "path": asked.path,
            "host": asked.headers.get("host", ""),
            "headers": asked.headers,
            "body": asked.body.decode("latin-1"),
            "source": peer,
            "connection": connection,
            "status": status,
        }
        os.write(self.log, f"{json.dumps(found)}\n".encode())

    def answer(self, asked: Asked, step: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer without the step's faults."""
        if "status" in step and step["status"] != 200:
            return step["status"], step.get("body", "").encode()
        rules = self.script.get("imds")
        refused = self.tokens.answer(asked, rules) if rules is not None else None
        if refused is not None:
            return refused
        if asked.method == "POST":
            return self._post(asked)
        if asked.method != "GET":
            return 405, b""
        if "body" in step:
            return 200, step["body"].encode("utf-8", "surrogateescape")
        if asked.path in self.posted:
            return 200, self.posted[asked.path]
        text = self.script.get("documents", {}).get(asked.path)
        if text is None:
            return 404, b"<html>404</html>"
        content = text.encode()
        fresh = asked.path == META and content.startswith(b'{"uuid"')
        return 200, with_seed(content) if fresh else content

    def _post(self, asked: Asked) -> tuple[int, bytes]:
        """Nova's ``password.py``: once, and at most 4 times 255 bytes."""
        with self.lock:
            if self.script.get("documents", {}).get(asked.path) is None:
                return 404, b""
            if asked.path in self.posted:
                return 409, b""
            if len(asked.body) > 1020:
                return 400, b""
            self.posted[asked.path] = asked.body
            return 200, b""

    def serve(self, plug: socket.socket, peer: str, number: int, test: int) -> None:
        """One connection until it ends, or another test begins."""
        with plug:
            try:
                plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                reader = plug.makefile("rb")
                while True:
                    asked = _read(reader)
                    if asked.method == BEGIN:
                        self.test += 1
                    if test != self.test:
                        raise _Ended
                    step = self.step(asked)
                    status, body = self.answer(asked, step)
                    self.note(asked, peer, number, status)
                    _send(plug, asked, step, status, body)
            except (_Ended, OSError):
                pass


def _read(reader: Any) -> Asked:
    first = reader.readline(65536).decode("latin-1").split()
    if len(first) != 3:
        raise _Ended
    headers: dict[str, str] = {}
    while True:
        line = reader.readline(65536).decode("latin-1").strip()
        if not line:
            break
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))
    return Asked(first[0], first[1], headers, body)


def _send(
    plug: socket.socket, asked: Asked, step: dict[str, Any], status: int, body: bytes
) -> None:
    """The answer, with the step's faults.  Raises _Ended where the connection goes with it."""
    time.sleep(step.get("delay", 0.0))
    if step.get("hang"):
        time.sleep(_PAUSE)
        raise _Ended
    if step.get("reset") == "before":
        _reset(plug)
    if "raw" in step:
        raw = step["raw"].encode("latin-1")
        for _ in range(step.get("repeat", 1)):
            plug.sendall(raw)
        raise _Ended
    head = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
    head += [f"{name}: {value}" for name, value in step.get("headers", {}).items()]
    if "Content-Type" not in step.get("headers", {}):
        head.append("Content-Type: application/json")
    head += [f"X-Filler-{n}: {n}" for n in range(step.get("many", 0))]
    if "long" in step:
        head.append(f"X-Long: {'x' * step['long']}")
    if "encoding" in step:
        head.append(f"Content-Encoding: {step['encoding']}")
        body = gzip.compress(body * step.get("repeat", 1))
        times = 1
    else:
        times = step.get("repeat", 1)
    chunked = "chunk" in step or "endless" in step
    whole = len(body) * times
    length = whole + step.get("length", 0)
    head.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}")
    raw = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
    if "drip" in step:
        _drip(plug, raw, step["drip"])
    else:
        plug.sendall(raw)
    if times > 1:
        _send_many(plug, body, times)
    else:
        _send_body(plug, step, body)
    if "later" in step:
        time.sleep(0.1)
        plug.sendall(step["later"].encode("latin-1"))
    if length != whole or step.get("close") or asked.headers.get("connection") == "close":
        raise _Ended


def _send_body(plug: socket.socket, step: dict[str, Any], body: bytes) -> None:
    if "endless" in step:
        while True:
            plug.sendall(b"%x\r\n%s\r\n" % (len(_BLOCK), _BLOCK))
    elif "chunk" in step:
        size = step["chunk"]
        parts = (body[at : at + size] for at in range(0, len(body), size))
        plug.sendall(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))
        plug.sendall(b"0\r\n\r\n")
    elif "drip_body" in step:
        _drip(plug, body, step["drip_body"])
    elif step.get("reset") == "middle":
        plug.sendall(body[: len(body) // 2])
        time.sleep(0.05)
        _reset(plug)
    else:
        plug.sendall(body)


def _send_many(plug: socket.socket, body: bytes, times: int) -> None:
    """Send a body many times, without ever having all of it in memory."""
    at_once = max(1, len(_BLOCK) // len(body))
    for _ in range(times // at_once):
        plug.sendall(body * at_once)
    plug.sendall(body * (times % at_once))


def _drip(plug: socket.socket, content: bytes, seconds: float) -> None:
    for at in range(len(content)):
        plug.sendall(content[at : at + 1])
        time.sleep(seconds)


def _reset(plug: socket.socket) -> None:
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    plug.close()
    raise _Ended


def main(script: str, log: str, port: str = "80") -> None:
    """Serve for ever, on all addresses of both families."""
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", int(port)))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    threading.stack_size(256 << 10)
    server, number = Server(script, log), 0
    while True:
        plug, peer = listener.accept()
        number += 1
        arguments = (plug, peer[0], number, server.test)
        threading.Thread(target=server.serve, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
