"""The password that ``nova get-password`` shows: made by a run, and sent to the service."""

from __future__ import annotations

import json
import subprocess
from binascii import a2b_base64
from pathlib import Path
from typing import Any

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.options import Options
from guestagent.sources import remote
from guestagent.sources.documents import as_bundle
from guestagent.verbs import apply

from . import documents
from .documents import META, PASSWORD
from .lab import Guest, Service, ask, documents_and

SECRET = "CANARY=="


def kept(place: Path, service: Service, password: str = SECRET) -> Path:
    """What a run leaves for the step that sends."""
    path = place / "password"
    path.write_text(json.dumps({"url": service.url + PASSWORD, "password": password}))
    return path


@pytest.fixture
def taking(service: Service) -> Service:
    """A service with a place for a password."""
    service.say({"documents": documents_and({PASSWORD: ""})})
    return service


def test_it_is_sent_once_as_it_is(taking: Service, here: Guest, tmp_path: Path) -> None:
    run = here.agent("post", "--source", str(kept(tmp_path, taking)))
    assert run.status == 0, run.err
    (line,) = taking.log()
    assert (line["method"], line["path"], line["body"]) == ("POST", PASSWORD, SECRET)
    assert SECRET not in run.err + run.out.decode()
    assert ask(taking, password=True).documents[PASSWORD[1:]].decode() == SECRET


def test_a_service_that_has_one_keeps_it(taking: Service, here: Guest, tmp_path: Path) -> None:
    path = str(kept(tmp_path, taking))
    assert here.agent("post", "--source", path).status == 0
    run = here.agent("post", "--source", path)
    assert run.status == defs.EXIT_ERRORS
    assert "keeps the password that it has" in run.err
    assert [line["status"] for line in taking.log()] == [200, 409]


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 501])
def test_a_refusal_is_told(service: Service, here: Guest, tmp_path: Path, status: int) -> None:
    service.say({"steps": {PASSWORD: [{"status": status, "headers": {"Location": "/other"}}]}})
    run = here.agent("post", "--source", str(kept(tmp_path, service)))
    assert run.status == defs.EXIT_ERRORS
    assert f"HTTP status {status}" in run.err
    assert service.paths() == [PASSWORD]


def test_a_busy_service_is_asked_again(taking: Service, here: Guest, tmp_path: Path) -> None:
    busy: list[dict[str, Any]] = [{"status": 503}, {"reset": "before", "status": 500}, {}]
    taking.say({"documents": documents_and({PASSWORD: ""}), "steps": {PASSWORD: busy}})
    assert here.agent("post", "--source", str(kept(tmp_path, taking))).status == 0
    assert [line["status"] for line in taking.log()] == [503, 500, 200]


def test_one_that_does_not_fit_is_refused(taking: Service, here: Guest, tmp_path: Path) -> None:
    path = str(kept(tmp_path, taking, "x" * (defs.POST_LIMIT + 1)))
    assert here.agent("post", "--source", path).status == defs.EXIT_ERRORS
    path = str(kept(tmp_path, taking, "x" * defs.POST_LIMIT))
    assert here.agent("post", "--source", path).status == 0


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[]", '{"url": "http://x"}', '{"url": 7, "password": "a"}'),
        '{"url": "http://x\\u0000", "password": "a"}',
    ],
)
def test_what_is_no_password_is_not_sent(here: Guest, tmp_path: Path, content: str) -> None:
    path = tmp_path / "password"
    path.write_text(content)
    run = here.agent("post", "--source", str(path))
    assert run.status == defs.EXIT_USAGE
    assert "internal" not in run.err


@pytest.fixture
def key(tmp_path: Path) -> Path:
    rig.need_tools("ssh-keygen", "openssl")
    path = tmp_path / "key"
    argv = ["ssh-keygen", "-q", "-N", "", "-m", "PEM", "-t", "rsa", "-b", "2048", "-f", str(path)]
    subprocess.run(argv, check=True)
    return path


def _openssl(*arguments: str, told: bytes) -> bytes:
    done = subprocess.run(["openssl", *arguments], input=told, capture_output=True, check=True)
    return done.stdout


def test_from_the_first_boot_to_get_password(
    taking: Service, here: Guest, guest: Path, key: Path, mocker: MockerFixture
) -> None:
    rig.need_root()
    rig.need_tools("chpasswd")
    line = key.with_suffix(".pub").read_text()
    meta = {**documents.meta_data(), "public_keys": {"mine": line}, "keys": []}
    taking.say({"documents": documents_and({PASSWORD: "", META: json.dumps(meta)})})
    (guest / "etc/shadow").write_text("root:!:19000:0:99999:7:::\ndebian:!:19000:0:99999:7:::\n")
    settings = guest / defs.SETTINGS_FILE[1:]
    settings.parent.mkdir()
    settings.write_text("[password]\npost = true\n")
    mocker.patch.object(
        remote, "ask_now", lambda request: as_bundle(ask(taking, password=request.password))
    )
    options = Options(source=taking.url, root=str(guest))
    assert apply.run(options) == 0

    path = guest / defs.POST_FILE[1:]
    assert here.agent("post", "--source", str(path)).status == 0
    sent = ask(taking, password=True).documents[PASSWORD[1:]]
    shown = _openssl("pkeyutl", "-decrypt", "-inkey", str(key), told=a2b_base64(sent))
    rows = [row.split(":") for row in (guest / "etc/shadow").read_text().splitlines()]
    (hashed,) = (row[1] for row in rows if row[0] == "debian")
    _, method, salt, _ = hashed.split("$")
    assert _openssl("passwd", f"-{method}", "-salt", salt, "-stdin", told=shown).strip() == (
        hashed.encode()
    )
    # Nowhere else, and only once.
    for file in guest.rglob("*"):
        assert not file.is_file() or shown not in file.read_bytes(), file
    path.unlink()
    shadow = (guest / "etc/shadow").read_text()
    assert apply.run(options) == 0
    assert not path.exists()
    assert (guest / "etc/shadow").read_text() == shadow
