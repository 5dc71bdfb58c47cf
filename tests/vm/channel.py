"""The host's end of the command channel, and of QEMU's monitor."""

from __future__ import annotations

import base64
import contextlib
import json
import shlex
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The guest enforces the timeout of a command; this is for its answer to arrive.
_GRACE = 30.0


class GuestError(Exception):
    """The guest, or the QEMU that runs it, did not do what it was told."""


class CommandTimeout(GuestError):
    """A command in the guest was killed because its time was up."""


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    command: str
    status: int
    out: bytes
    err: bytes

    @property
    def stdout(self) -> str:
        return self.out.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self.err.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        return self.status == 0

    def check(self) -> Result:
        """Return this result; raise if the command failed."""
        if not self.ok:
            text = f"status {self.status}\n{self.stdout}{self.stderr}"
            raise GuestError(f"{self.command}: {text}")
        return self


def _connect(path: Path, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    while True:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(str(path))
        except OSError:
            link.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return link


class Channel:
    """Requests to the program that the harness runs in the guest."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self._link = _connect(path, timeout)
        self._sending = threading.Lock()
        self._news = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._last_id = 0
        self._closed = False
        self.boot_id = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self._link.makefile("rb") as stream, contextlib.suppress(OSError):
            for line in stream:
                self._take(line)
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return  # an empty line, or one that a reboot cut off
        with self._news:
            if "boot" in message:
                self.boot_id = message["boot"]
            else:
                self._answers[message["id"]] = message
            self._news.notify_all()

    def wait_ready(self, timeout: float, not_boot: str = "") -> None:
        """Wait until a boot other than `not_boot` has announced itself."""
        with self._news:
            self._news.wait_for(lambda: self._closed or self.boot_id not in ("", not_boot), timeout)
            if self.boot_id in ("", not_boot):
                raise GuestError("QEMU ended" if self._closed else "no sign of the guest in time")

    def _await(self, number: int, boot: str, timeout: float) -> dict[str, Any]:
        def over() -> bool:
            return number in self._answers or self._closed or self.boot_id != boot

        with self._news:
            self._news.wait_for(over, timeout)
            if number not in self._answers:
                raise GuestError("no answer: the guest is stuck, has rebooted or is off")
            return self._answers.pop(number)

    def send(
        self,
        argv: Sequence[str],
        given: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> int:
        """Start a command without waiting for its end; return the request's number."""
        request = {
            "argv": list(argv),
            "input": base64.b64encode(given).decode(),
            "env": dict(env or {}),
            "timeout": timeout,
        }
        with self._sending:
            self._last_id += 1
            number = self._last_id
            self._link.sendall(json.dumps(request | {"id": number}).encode() + b"\n")
        return number

    def call(
        self,
        command: str | Sequence[str],
        given: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Result:
        """Run a shell command, or the words of one, as root in the guest."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        boot = self.boot_id
        number = self.send(argv, given, env, timeout)
        return _result(command, self._await(number, boot, timeout + _GRACE))

    def close(self) -> None:
        """Drop the connection."""
        # The reading thread holds the descriptor open until it sees the end.
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        self._link.close()


def _result(command: str | Sequence[str], answer: Mapping[str, Any]) -> Result:
    shown = command if isinstance(command, str) else shlex.join(command)
    out, err = (base64.b64decode(answer[name]) for name in ("stdout", "stderr"))
    if answer["failure"]:
        raise GuestError(f"{shown}: {answer['failure']}")
    if answer["status"] is None:
        raise CommandTimeout(f"{shown}: time is up\n{(out + err).decode('utf-8', 'replace')}")
    return Result(shown, int(answer["status"]), out, err)


class Monitor:
    """QEMU's control socket (QMP)."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        self._link = _connect(path, timeout)
        self._link.settimeout(30.0)
        self._stream = self._link.makefile("rwb")
        self._lock = threading.Lock()
        self._stream.readline()
        self.execute("qmp_capabilities", {})

    def execute(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Run one command and return what it returns; events in between are dropped."""
        with self._lock:
            request = {"execute": command, "arguments": dict(arguments)}
            self._stream.write(json.dumps(request).encode() + b"\n")
            self._stream.flush()
            for line in self._stream:
                message = json.loads(line)
                if "error" in message:
                    raise GuestError(f"{command}: {message['error']['desc']}")
                if "return" in message:
                    return message["return"]
        raise GuestError(f"{command}: QEMU ended")

    def close(self) -> None:
        """Drop the connection."""
        for thing in (self._stream, self._link):
            with contextlib.suppress(OSError):
                thing.close()
