"""A web server with TLS for the tests of what is fetched: its certificates, answers and names.

``python3 fetched.py FOLDER`` serves in the network namespace that it is started in, at an address
that is no loopback one, and writes to FOLDER/requests what it is asked for.  What is below
FOLDER/documents is served, too; and /busy and the like once there is a file FOLDER/ready.
"""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ADDRESS = "192.0.2.1"
HOST = "files.example.org"
# Names that lead where nothing may be fetched from, and some that lead there as well.
NAMES = {
    HOST: [ADDRESS],
    "other.example.org": [ADDRESS],
    "github.com": [ADDRESS],
    "launchpad.net": [ADDRESS],
    "keyserver.ubuntu.com": [ADDRESS],
    "loopback.example.org": ["127.0.0.1"],
    "mapped.example.org": ["::ffff:127.0.0.1"],
    "metadata.example.org": ["169.254.169.254"],
    "both.example.org": ["127.0.0.1", ADDRESS],
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBnXGPTYVDg0mLdLYgdTFrcN7pSYKlXwWmDlj3cNdXZ5 fetched"


def _key(kind: bytes, *numbers: bytes) -> str:
    """Return a public key as a line of authorized_keys: RFC 4253, section 6.6."""
    blob = b"".join(len(text).to_bytes(4, "big") + text for text in (kind, *numbers))
    return f"{kind.decode()} {b64encode(blob).decode()}\n"


DOCUMENTS = {
    "/file": b"content\n",
    "/alice.keys": f"{KEY}\n\nnot a key\n".encode(),
    "/~alice/+sshkeys": f"{KEY}\n".encode(),
    "/empty.keys": b"",
    "/many.keys": "".join(
        _key(b"ssh-ed25519", number.to_bytes(32, "big")) for number in range(300)
    ).encode(),
    "/long.keys": _key(b"ssh-rsa", b"\x03", b"\x01" * (700 << 10)).encode(),
    "/large-enough": b"x" * (1 << 20),
    "/large": b"x" * ((1 << 20) + 1),
    "/secret": b"hunter2\n",
}
DOCUMENTS |= {
    "/script": b"#!/bin/sh\necho included\n",
    "/boothook": b"#cloud-boothook\n#!/bin/sh\nid\n",
    "/config": b"""#cloud-config
write_files: [{path: /etc/included, content: mine}]
runcmd: [echo ran]
packages: [nginx]
hostname: late
users: [{name: mallory}]
""",
    "/source": f"""#cloud-config
write_files: [{{path: /etc/x, source: {{uri: 'https://{HOST}/file'}}}}]
""".encode(),
    "/nested": f"#include\nhttps://{HOST}/script\n# a comment\nhttps://{HOST}/none\n".encode(),
    "/endless": f"#include https://{HOST}/endless\n".encode(),
    "/nested-busy": f"#include https://{HOST}/busy-script\n".encode(),
    "/busy-script": b"#!/bin/sh\necho late\n",
    "/includes-large": b"#include\n" + f"https://{HOST}/large-enough\n".encode() * 5,
    "/to-metadata-service": b"#include\nhttps://169.254.169.254/latest/user-data\n",
}
REDIRECTS = {
    "/moved": "/file",
    "/accent": "/café/headers".encode().decode("latin-1"),
    "/latin": "/\xff",
    "/away": "https://other.example.org/headers",
    "/backslash": f"https://other.example.org\\@{HOST}/headers",
    "/plain": f"http://{HOST}/file",
    "/loop": "/loop",
    "/to-metadata": "https://metadata.example.org/latest/meta-data",
    "/to-address": "https://169.254.169.254/latest/meta-data",
    "/to-loopback": "https://[::1]/file",
    "/to-file": "file:///etc/shadow",
}
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# Heads, after which no end comes: of a redirect's body, of a line, of a chunk of length -1.
FLOODS = {
    "/moved-flood": b"HTTP/1.1 302 Found\r\nLocation: /file\r\n\r\n",
    "/line": _CHUNKED,
    "/chunk": _CHUNKED + b"-1\r\n",
}
_FLOOD = 256 << 20


def make_certificates(folder: Path) -> None:
    """Make an authority, ca.pem, and a certificate by it for all names; and one of no authority."""
    names = ",".join(f"DNS:{name}" for name in NAMES)
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    new += ["-nodes", "-days", "30"]
    for name in ("ca", "stranger"):
        out = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}"]
        _run(*new, *out, "-addext", f"subjectAltName={names}", folder=folder)
    request = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _run(*request, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=x", folder=folder)
    (folder / "names").write_text(f"subjectAltName={names}\n")
    sign = ["openssl", "x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key"]
    _run(*sign, "-days", "30", "-extfile", "names", "-out", "own.pem", folder=folder)


def _run(*argv: str, folder: Path) -> None:
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)


class Handler(BaseHTTPRequestHandler):
    """Answers with a document, a redirect or a fault, and notes what was asked for."""

    server: Server

    def do_GET(self) -> None:
        self.server.note(self)
        path = self.path.partition("?")[0]
        if path in REDIRECTS:
            self.send_response(302)
            self.send_header("Location", REDIRECTS[path])
            self.end_headers()
        elif path == "/again" and self.server.count(path) == 1:
            self.send_error(503)
        elif path == "/short":
            self._send(b"half", length=8)
        elif path == "/slow":
            self._drip()
        elif path in FLOODS:
            self._flood(path)
        elif path == "/without-length":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"rm -rf /tmp/")
            self.close_connection = True
        elif path == "/compressed":
            self._send(b"\x1f\x8b", encoding="gzip")
        elif path.startswith("/busy") and not (self.server.log.parent / "ready").exists():
            self.send_error(503)
        elif (found := self.server.log.parent / "documents" / path[1:]).is_file():
            self._send(found.read_bytes())
        elif path == "/pks/lookup":
            self._send((self.server.log.parent / "documents" / "archive.gpg").read_bytes())
        elif path in ("/again", "/busy", *DOCUMENTS) or path.endswith("/headers"):
            self._send(DOCUMENTS.get(path, b"content\n"))
        else:
            self.send_error(404)

    def _send(self, content: bytes, length: int | None = None, encoding: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def _drip(self) -> None:
        """Send a byte now and then, without an end."""
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 20))
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.2)
        except OSError:
            pass

    def _flood(self, path: str) -> None:
        """Send a head, and then much more than is wanted; note whether all of it was taken."""
        self.wfile.write(FLOODS[path])
        try:
            for _ in range(_FLOOD >> 20):
                self.wfile.write(b"0" * (1 << 20))
        except OSError:
            self.close_connection = True
            return
        self.server.note(self, taken=True)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server that notes requests in a file, a line of JSON for each."""

    def __init__(self, address: tuple[str, int], log: Path) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        self.log = log

    def note(self, request: Handler, *, taken: bool = False) -> None:
        found = {
            "at": self.server_address[0],
            "taken": taken,
            "path": request.path,
            "headers": dict(request.headers),
        }
        with self.log.open("a") as file:
            file.write(f"{json.dumps(found)}\n")

    def count(self, path: str) -> int:
        return sum(json.loads(line)["path"] == path for line in self.log.read_text().splitlines())


def main(folder: Path) -> None:
    """Serve until killed."""
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(folder / "own.pem", folder / "own.key")
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_cert_chain(folder / "stranger.pem", folder / "stranger.key")
    log = folder / "requests"
    log.touch()
    everywhere = (ADDRESS, "127.0.0.1", "169.254.169.254", "::1")
    for address, port, context in (
        *((address, 443, own) for address in everywhere),
        *((address, 80, None) for address in everywhere),
        (ADDRESS, 8443, stranger),
    ):
        server = Server((address, port), log)
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    threading.Thread(target=_answer_names).start()
    print("serving", flush=True)


def _answer_names() -> None:
    """Be a name server that knows no name (RFC 1035), and is silent for one of them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((ADDRESS, 53))
        while True:
            query, client = sock.recvfrom(512)
            if b"silent" not in query:
                sock.sendto(query[:2] + b"\x81\x83" + query[4:], client)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
