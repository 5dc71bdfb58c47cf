"""phone_home against a server: what is sent, how often, and what is said of a failure."""

from __future__ import annotations

import http.server
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
import rig

from guestagent import VERSION, defs
from guestagent.cli import main
from guestagent.scripts.phone_home import post_form
from userdata.planning import METADATA, clean_plan, steps


class Request(NamedTuple):
    """What the server got."""

    path: str
    headers: dict[str, str]
    form: dict[str, list[str]]


class Handler(http.server.BaseHTTPRequestHandler):
    """Notes each form, and answers with the next of the server's answers, 200 after them."""

    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = parse_qs(body, strict_parsing=bool(body))
        self.server.got.append(Request(self.path, dict(self.headers), form))
        status, location = self.server.answers.pop(0) if self.server.answers else (200, "")
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        if location.endswith("#flood"):
            self._flood()

    def _flood(self) -> None:
        """Send a body that is large, and note whether all of it was taken."""
        try:
            for _ in range(64):
                self.wfile.write(bytes(1 << 20))
            self.server.taken = True
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server of this machine; ``answers`` are statuses and targets of redirects."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[Request] = []
        self.answers: list[tuple[int, str]] = []
        self.taken = False

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defs, "PHONE_HOME_PAUSE", 0.0)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the host keys, with one of them."""
    monkeypatch.setattr(defs, "SSH_DIR", str(tmp_path))
    (tmp_path / "ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA+/= root@web\n")
    return tmp_path


def verb(monkeypatch: pytest.MonkeyPatch, parameters: object) -> int:
    """Run the verb with parameters on standard input."""
    content = parameters if isinstance(parameters, bytes) else json.dumps(parameters).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    return main(["phone-home"])


def given(url: str, **more: object) -> dict[str, object]:
    post = ["pub_key_rsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn"]
    return {"url": url, "post": post, "tries": 1, "hostname": "web", "fqdn": "web.a.org", **more}


def test_the_form_is_the_one_that_cloud_init_sends(
    server: Server, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_ID", "i-1")
    assert verb(monkeypatch, given(f"http://{server.host}/$INSTANCE_ID/${{INSTANCE_ID}}?a=b")) == 0
    (request,) = server.got
    assert request.path == "/i-1/i-1?a=b"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["User-Agent"] == f"guestagent/{VERSION}"
    assert request.form == {
        "pub_key_rsa": ["N/A"],
        "pub_key_ed25519": ["ssh-ed25519 AAAA+/= root@web\n"],
        "instance_id": ["i-1"],
        "hostname": ["web"],
        "fqdn": ["web.a.org"],
    }


def test_without_a_host_name_the_running_one_is_sent(
    server: Server, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = given(f"http://{server.host}/", hostname="", fqdn="", post=["hostname", "fqdn"])
    assert verb(monkeypatch, parameters) == 0
    name = os.uname().nodename
    assert server.got[0].form == {"hostname": [name.split(".")[0]], "fqdn": [name]}


def test_no_tries_are_one_as_in_cloud_init(
    server: Server, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verb(monkeypatch, given(f"http://{server.host}/", tries=0)) == 0
    assert len(server.got) == 1


def test_it_tries_until_the_server_takes_the_form(server: Server) -> None:
    server.answers = [(500, ""), (404, "")]
    assert post_form(f"http://{server.host}/", {"a": "b"}, 5) == ""
    assert [request.form for request in server.got] == [{"a": ["b"]}] * 3


def test_after_the_last_try_the_last_reason_is_told(server: Server) -> None:
    server.answers = [(500, ""), (503, ""), (404, "")]
    assert post_form(f"http://{server.host}/", {}, 2) == "HTTP status 503"
    assert len(server.got) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_gets_the_form_again(server: Server, status: int) -> None:
    server.answers = [(status, "/there")]
    assert post_form(f"http://{server.host}/here", {"a": "b"}, 1) == ""
    assert [(request.path, request.form) for request in server.got] == [
        ("/here", {"a": ["b"]}),
        ("/there", {"a": ["b"]}),
    ]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "https://127.0.0.1:1/", "ftp://a/"])
def test_a_redirect_to_another_scheme_is_not_followed(server: Server, target: str) -> None:
    server.answers = [(302, target)]
    assert post_form(f"http://{server.host}/", {}, 1).startswith("a redirect to another scheme")


@pytest.mark.parametrize(
    "target", ["/\xff\xfe", "http://\xff/", "http://[::1", "http://a..b/", "http://h:99999/"]
)
def test_C10_a_redirect_to_what_is_no_url_is_told(server: Server, target: str) -> None:
    server.answers = [(302, target)]
    reason = post_form(f"http://{server.host}/", {}, 1)
    assert reason == "it, or where it redirects to, is not a URL; nothing was sent there"


def test_the_body_of_a_redirect_is_not_read(server: Server) -> None:
    server.answers = [(307, "/there#flood")]
    assert post_form(f"http://{server.host}/here", {"a": "b"}, 1) == ""
    assert [request.path for request in server.got] == ["/here", "/there"]
    assert not server.taken


def test_redirects_come_to_an_end(server: Server) -> None:
    server.answers = [(307, "/")] * 20
    assert post_form(f"http://{server.host}/", {}, 1) == "too many redirects"


def test_the_environment_s_proxy_is_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert post_form(f"http://{server.host}/", {}, 1) == ""


def test_the_url_s_user_is_for_the_server_alone(
    server: Server, keys: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    server.answers = [(403, "")]
    url = f"http://me:hush@{server.host}/hush?hush"
    assert verb(monkeypatch, given(url)) == defs.EXIT_ERRORS
    assert server.got[0].headers["Authorization"].startswith("Basic ")
    told = capfd.readouterr()
    assert f"phone_home: http://{server.host}: HTTP status 403" in told.err
    assert "hush" not in told.err + told.out


def test_a_server_that_is_not_there_is_told_of(
    keys: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with Server() as gone:
        host = gone.host
    assert verb(monkeypatch, given(f"http://me:hush@{host}/", tries=2)) == defs.EXIT_ERRORS
    told = capfd.readouterr().err
    assert f"phone_home: http://{host}: cannot be reached" in told
    assert "hush" not in told


def test_a_server_that_says_nothing_is_not_awaited_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(defs, "PHONE_HOME_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert (
            post_form(f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, 2) == "no answer in time"
        )


def test_a_server_that_sends_a_byte_now_and_then_is_not_awaited_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(defs, "PHONE_HOME_TRY", 0.25)
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not over.wait(0.02):
                connection.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as slow:
        thread = threading.Thread(target=drip, args=(slow,))
        thread.start()
        reason = post_form(f"http://127.0.0.1:{slow.getsockname()[1]}/", {}, 2)
        over.set()
        thread.join()
    assert reason == "took longer than 0 s"


_ODD: tuple[dict[str, Any], ...] = (
    *({"tries": "x"}, {"tries": 1e999}, {"post": "all"}, {"post": [7]}, {"hostname": ["x"]}),
    *({"url": 7}, {"fqdn": "\0"}, {"more": 1}),
)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"[]", b"{", b'{"url": "http://a/"}'),
        *(json.dumps(given("http://a/") | odd).encode() for odd in _ODD),
    ],
)
def test_other_input_is_a_wrong_use(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert verb(monkeypatch, content) == defs.EXIT_USAGE


def test_the_planned_step_reaches_the_server(server: Server, tmp_path: Path) -> None:
    """All of the way: from cloud-config by the script and the program to the form."""
    program = tmp_path / "guestagent"
    start = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.path.append(sys.argv.pop(1)); "
        "from guestagent.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    words = (sys.executable, "-IBS", "-c", start, str(rig.REPOSITORY), rig.LIBRARIES)
    program.write_text(f'#!/bin/sh\nexec {" ".join(repr(word) for word in words)} "$@"\n')
    program.chmod(0o755)
    text = f"phone_home: {{url: 'http://{server.host}/$INSTANCE_ID', post: [instance_id, fqdn]}}\n"
    step = steps(clean_plan(text, data=METADATA))["late/80-instance-phone_home"]
    script = step.content.replace(defs.PROGRAM.encode(), str(program).encode())
    environment = {"PATH": "/usr/bin:/bin", "INSTANCE_ID": "i-1"}
    done = subprocess.run(["sh", "-s"], input=script, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert server.got[0].path == "/i-1"
    assert server.got[0].form == {"instance_id": ["i-1"], "fqdn": ["meta.example.org"]}
