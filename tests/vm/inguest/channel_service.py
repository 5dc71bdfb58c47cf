"""Inside the guest: runs the commands that the harness sends over a virtio-serial port.

It needs no network and no udev. One request per line, one answer per line, in JSON;
every request has its own thread, so one that hangs does not stop the next.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PORT_NAME = "org.guestagent.harness"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LANG": "C.UTF-8",
}
_writing = threading.Lock()


def find_port() -> Path:
    """Wait for the port of the harness to exist and return its device."""
    while True:
        for name in Path("/sys/class/virtio-ports").glob("*/name"):
            if name.read_text().strip() == PORT_NAME:
                return Path("/dev") / name.parent.name
        time.sleep(0.1)


def send(port: int, message: dict[str, Any]) -> None:
    """Write one message; the newline first ends what a reboot may have cut off."""
    data = b"\n" + json.dumps(message).encode() + b"\n"
    with _writing:
        while data:
            data = data[os.write(port, data) :]


def received(port: int) -> Iterator[dict[str, Any]]:
    """Yield the requests; a host that is not connected reads as end of file."""
    pending = bytearray()
    while True:
        got = os.read(port, 65536)
        if not got:
            time.sleep(0.1)
        pending += got
        if b"\n" in got:
            *lines, rest = bytes(pending).split(b"\n")
            pending = bytearray(rest)
            yield from (json.loads(line) for line in lines if line)


def execute(request: dict[str, Any], out: IO[bytes], err: IO[bytes]) -> int | None:
    """Run a request's command; None when its time was up."""
    # Files rather than pipes: a daemon that the command leaves behind may keep them.
    with tempfile.TemporaryFile() as given:
        given.write(base64.b64decode(request["input"]))
        given.seek(0)
        process = subprocess.Popen(
            request["argv"],
            stdin=given,
            stdout=out,
            stderr=err,
            cwd="/",
            env=ENVIRONMENT | request["env"],
            start_new_session=True,
        )
        try:
            return process.wait(request["timeout"])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return base64.b64encode(stream.read()).decode()


def answer(port: int, request: dict[str, Any]) -> None:
    """Serve one request to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        failure = ""
        status: int | None = 127
        try:
            status = execute(request, out, err)
        except OSError as error:
            failure = str(error)
        message = {"id": request["id"], "status": status, "failure": failure}
        send(port, message | {"stdout": _text(out), "stderr": _text(err)})


def main() -> None:
    """Announce this boot, then serve until the machine stops."""
    port = os.open(find_port(), os.O_RDWR)
    send(port, {"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()})
    for request in received(port):
        threading.Thread(target=answer, args=(port, request), daemon=True).start()


if __name__ == "__main__":
    main()
