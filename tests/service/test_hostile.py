"""C10: invalid answers, of a service or of the process that asked it, are refused safely."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from rig import collected

from guestagent.errors import SourceBroken
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.sources.documents import as_bundle
from guestagent.sources.handover import Answer, decode_answer, encode_answer

from . import documents
from .documents import META, NETWORK
from .lab import EC2, Service, ask, documents_and

_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1e400,
        "",
        "\n",
        "\x1b[31m",
        "../",
        "/",
        "x" * 5000,
        [],
        {},
        [[]],
        {"": 1},
    ),
    *("\ud800", "\u2028", "=", "AA=A", "\u00fc", 10**400, 0.5),
)
_PIECES = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\ud800", b"NaN", b"1e999", b"-", b"\xff"),
    *(b"\0", b"null", b"[[[[[[[[", b"=", b"true", b"\n", b"99999999999999999999999"),
)


def _mutated(chance: random.Random, value: Any) -> Any:
    """Return the value with one part of it of another kind."""
    if chance.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return chance.choice(_ODD)
    if isinstance(value, list):
        place = chance.randrange(len(value))
        return [*value[:place], _mutated(chance, value[place]), *value[place + 1 :]]
    key = chance.choice(list(value))
    return {**value, key: _mutated(chance, value[key])}


def _broken(chance: random.Random, content: bytes) -> bytes:
    """Return the bytes with a few of them cut, doubled or replaced."""
    text = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text) + 1)
        end = start + chance.choice((0, 1, 1, 2, 9, 60))
        text[start:end] = chance.choice((b"", chance.choice(_PIECES), text[start:end] * 2))
    return bytes(text)


def test_C10_an_answer_of_any_form_is_understood_or_refused() -> None:
    chance = random.Random(4)
    sound = Answer("http://x", {"openstack/latest/meta_data.json": b"{}", "b": b"\0\xff"}, True, 5)
    assert decode_answer(encode_answer(sound)) == sound
    value, good = json.loads(encode_answer(sound)), 0
    for _ in range(20_000):
        if chance.random() < 0.5:
            content = json.dumps(_mutated(chance, value)).encode()
        else:
            content = _broken(chance, encode_answer(sound))
        try:
            answer = decode_answer(content)
        except SourceBroken:
            continue
        good += 1
        assert isinstance(answer.requests, int)
        assert all(isinstance(item, bytes) for item in answer.documents.values())
    assert 0 < good < 20_000


def _tree(chance: random.Random) -> dict[str, bytes]:
    """Return documents of an EC2 tree, with damaged texts."""
    names = ["instance-id", "local-hostname", "public-keys/0/openssh-key", "public-keys/x/y"]
    found = {}
    for name in [*(f"meta-data/{name}" for name in names), "user-data"]:
        if chance.random() < 0.9:
            content = documents.ec2().get(f"/latest/{name}", "x").encode()
            found[f"ec2/latest/{name}"] = _broken(chance, content)
    identity = {"availabilityZone": "a", "instanceId": "i-1"}
    if chance.random() < 0.8:
        content = json.dumps(_mutated(chance, identity)).encode()
        found["ec2/latest/dynamic/instance-identity/document"] = content
    return found


def test_C10_an_ec2_tree_of_any_kind_raises_nothing() -> None:
    chance = random.Random(5)
    for _ in range(3_000):
        data, problems = collected(layouts.parse, as_bundle(Answer("http://x", _tree(chance))))
        assert isinstance(data, InstanceData)
        assert all(problem.text().isprintable() for problem in problems)


@pytest.mark.usefixtures("quick")
def test_C10_hostile_documents_end_as_problems_of_one_document(service: Service) -> None:
    chance = random.Random(6)
    meta, network = documents.meta_data(), documents.network_data()
    for _ in range(40):
        changed: dict[str, str | None] = {
            META: json.dumps(_mutated(chance, meta)),
            NETWORK: _broken(chance, json.dumps(network).encode()).decode("latin-1"),
        }
        service.say({"documents": documents_and(changed)})
        answer = ask(service, wait=0.1)
        if answer.error:
            assert answer.error.isprintable()
            continue
        data, problems = collected(layouts.parse, as_bundle(answer))
        assert isinstance(data, InstanceData)
        assert all(problem.text().isprintable() for problem in problems)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("bad", ["\udcff", "\\ud800", "\n"])
def test_C10_a_bad_character_of_a_service_s_document_spoils_its_own_value(
    service: Service, bad: str
) -> None:
    files = [{"path": "/etc/motd", "content_path": "/content/0000"}]
    text = json.dumps({**documents.meta_data(), "files": files}).replace("web 1", f"web{bad}1")
    text = text.replace("nova", f"no{bad}va")
    content: dict[str, str | None] = {"/openstack/content/0000": "hello\n"}
    service.say({"documents": documents_and(content), "steps": {META: [{"body": text}] * 3}})
    answer = ask(service)
    assert answer.error == ""
    data, problems = collected(layouts.parse, as_bundle(answer))
    assert [problem.key for problem in problems] == ["availability_zone"]
    assert data.hostname is not None
    assert data.ssh_keys
    assert [file.content for file in data.files] == [b"hello\n"]


LINES = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/9.9 200 OK\r\n\r\n",
    "HTTP/1.1 abc\r\n\r\n",
    "ICY 200 OK\r\n\r\n",
    "\0\0\0\0\r\n\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n-3\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\n{}",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\xff\xfe: \x00\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n" * 50,
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("raw", LINES, ids=range(len(LINES)))
def test_C10_what_is_no_http_is_no_document(service: Service, raw: str) -> None:
    service.say({"steps": {NETWORK: [{"raw": raw}]}})
    answer = ask(service, wait=1)
    # An empty or short body that the head allows is a document.
    assert answer.error == ""
    name = NETWORK[1:]
    assert name in answer.failed or answer.documents[name] in (b"", b"{}")
    assert "".join(answer.failed.values()).isprintable()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("content", ["", "<x>", "\x00", "a" * 300, "i-1\ni-2", "\u00fc"])
def test_C10_an_odd_ec2_id_is_no_new_form_of_id(service: Service, content: str) -> None:
    service.say({"documents": {**documents.ec2(), "/latest/meta-data/instance-id": content}})
    answer = ask(service, EC2._replace(tokens=False), wait=0.2)
    if not answer.error:
        data, problems = collected(layouts.parse, as_bundle(answer))
        assert data.instance_id is None
        errors = [problem.key for problem in problems if problem.severity == "error"]
        assert errors == ["instance-id"]
