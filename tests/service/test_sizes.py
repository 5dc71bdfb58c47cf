"""C5: what a service sends too much of is refused, and costs little memory."""

from __future__ import annotations

import json
import select
import time
from typing import Any

import pytest

from guestagent import defs
from guestagent.sources.endpoints import parse_url
from guestagent.sources.http import Client
from guestagent.sources.retry import Transient

from . import documents
from .documents import KEY, META, NETWORK, USER
from .lab import EC2, Guest, Service, ask, documents_and

_MOST = 64 << 10  # KiB
_BIG = " " * (1 << 10)
# http.client takes it for a chunk that goes on until the connection ends.
_NEGATIVE = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n{_BIG}"

# A step, if the service may still be all right later, and a part of what is told.
BAD: dict[str, tuple[dict[str, Any], bool, str]] = {
    "endless": ({"endless": True}, False, "larger than"),
    "a byte too large": ({"body": "x", "repeat": defs.JSON_LIMIT + 1}, False, "larger than"),
    "256 MiB": ({"body": _BIG, "repeat": 1 << 18}, False, "larger than"),
    "a length far too high": ({"length": 1 << 30}, True, "Incomplete|middle"),
    "a length of many digits": ({"headers": {"Content-Length": "9" * 5000}}, True, ""),
    "a chunk of a negative size": ({"raw": _NEGATIVE, "repeat": 1 << 16}, False, "larger than"),
    "10 000 headers": ({"many": 10_000}, True, "HTTPException"),
    "a header line of 1 MiB": ({"long": 1 << 20}, True, "LineTooLong|reset|time"),
}


@pytest.mark.parametrize("path", [META, NETWORK])
@pytest.mark.parametrize("name", BAD)
def test_C5_what_is_too_large_is_refused(
    service: Service, here: Guest, path: str, name: str
) -> None:
    step, again, reason = BAD[name]
    service.say({"steps": {path: [step]}})
    run = here.fetch(urls=[service.url], wait=1.5)
    assert run.status == 0, run.err
    if path == META:
        assert run.answer.documents == {}
        assert run.answer.again is again
        told = run.answer.error
    else:
        assert run.answer.error == ""
        assert path[1:] not in run.answer.documents
        told = run.answer.failed[path[1:]]
    assert any(word in told for word in reason.split("|"))
    assert run.peak < _MOST


def test_C5_a_large_document_of_single_bytes_is_read(service: Service, here: Guest) -> None:
    text = "x" * (200 << 10)
    service.say({"steps": {USER: [{"body": text, "chunk": 1}]}})
    run = here.fetch(urls=[service.url])
    assert run.answer.documents[USER[1:]].decode() == text
    assert run.peak < _MOST


def test_C5_all_documents_may_be_as_large_as_one_can_be(service: Service, here: Guest) -> None:
    text = f'{{"a": "{"x" * (defs.JSON_LIMIT - 9)}"}}'
    service.say({"steps": {path: [{"body": text}] for path in documents.FIVE}})
    run = here.fetch(urls=[service.url])
    assert [len(content) for content in run.answer.documents.values()] == [defs.JSON_LIMIT] * 5
    assert run.peak < _MOST


def test_C5_a_length_that_is_too_short_cuts_the_document(service: Service) -> None:
    service.say({"steps": {USER: [{"body": "0123456789", "length": -4}]}})
    answer = ask(service)
    assert answer.documents[USER[1:]] == b"012345"


@pytest.mark.usefixtures("quick")
def test_C5_a_short_length_in_the_middle_spoils_no_other_document(service: Service) -> None:
    service.say({"steps": {NETWORK: [{"length": -4}]}})
    answer = ask(service)
    whole = documents.openstack()
    assert answer.documents[NETWORK[1:]].decode() == whole[NETWORK][:-4]
    assert answer.documents[USER[1:]].decode() == whole[USER]


@pytest.mark.usefixtures("quick")
def test_C5_an_empty_document_is_one(service: Service) -> None:
    service.say({"documents": documents_and({USER: ""})})
    assert ask(service).documents[USER[1:]] == b""


@pytest.mark.usefixtures("quick")
def test_C5_an_answer_with_two_lengths_is_asked_for_again(service: Service) -> None:
    service.say({"steps": {USER: [{"headers": {"Content-Length": "3"}}, {}]}})
    answer = ask(service)
    assert answer.documents[USER[1:]].decode() == documents.openstack()[USER]
    assert service.paths().count(USER) == 2


def test_C5_keys_without_end_are_bounded(service: Service, here: Guest) -> None:
    tree = documents.ec2()
    tree["/latest/meta-data/public-keys/"] = "\n".join(f"{n}=k{n}" for n in range(5000))
    tree |= {f"/latest/meta-data/public-keys/{n}/openssh-key": KEY for n in range(1000)}
    service.say({"documents": tree, "imds": {}})
    run = here.fetch(urls=[service.url], cloud={"name": "ec2", "tokens": True})
    keys = [name for name in run.answer.documents if name.endswith("openssh-key")]
    assert len(keys) == defs.MAX_KEYS
    assert run.peak < _MOST


@pytest.mark.usefixtures("quick")
def test_C5_all_documents_together_are_bounded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defs, "TOTAL_LIMIT", 3000)
    service.say({"documents": documents_and({USER: "x" * 2900})})
    answer = ask(service)
    assert "larger than" in answer.failed[USER[1:]]
    assert sum(map(len, answer.documents.values())) <= defs.TOTAL_LIMIT


def test_C5_a_key_of_1_mib_is_refused(service: Service) -> None:
    service.say({"documents": documents.ec2(key="x" * defs.JSON_LIMIT), "imds": {}})
    (reason,) = ask(service, EC2).failed.values()
    assert "larger than" in reason


def test_C5_a_token_of_1_mib_is_refused(service: Service) -> None:
    service.say({"documents": documents.ec2(), "imds": {"token": "x" * defs.JSON_LIMIT}})
    assert "larger than" in ask(service, EC2).error


def test_what_stays_in_the_connection_is_no_answer(service: Service) -> None:
    forged = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": !!}'
    body = json.dumps({"links": []})
    step = {"body": body + forged, "length": -len(forged)}
    service.say({"steps": {NETWORK: [step]}})
    answer = ask(service)
    assert answer.documents[NETWORK[1:]].decode() == body
    assert b"!!" not in b"".join(answer.documents.values())


def test_what_comes_without_a_request_is_no_answer(service: Service) -> None:
    forged = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": !!}'
    service.say({"steps": {NETWORK: [{"status": 503, "later": forged}, {}]}})
    client = Client(parse_url(service.url), time.monotonic() + 60)
    with pytest.raises(Transient, match="503"):
        client.ask(NETWORK, defs.JSON_LIMIT)
    # Only what is there before the next request is sent can be told from its answer.
    assert client._connection is not None
    poller = select.poll()
    poller.register(client._connection.sock, select.POLLIN)
    assert poller.poll(30_000)
    assert (client.ask(NETWORK, defs.JSON_LIMIT) or b"").decode() == documents.openstack()[NETWORK]
    client.close()
    assert len({line["connection"] for line in service.log()}) == 2
