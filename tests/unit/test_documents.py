"""Fetched documents in the form in which one process hands them to another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guestagent.errors import SourceBroken
from guestagent.sources.bundle import Unreadable
from guestagent.sources.documents import Documents, as_bundle
from guestagent.sources.handover import Answer, decode_answer, encode_answer

FOUND = {"openstack/latest/meta_data.json": b"{}", "openstack/latest/user_data": b"\0\xff\n"}
ANSWERS = [
    Answer("http://169.254.169.254", FOUND, requests=5),
    Answer("http://[fe80::a9fe:a9fe%enp0s3]", FOUND, unchanged=True, requests=2),
    Answer("", error="no link is up", again=True),
    Answer("", error="HTTP status 403"),
    Answer("http://x", {}),
    Answer("http://x", {"a": b""}),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_handed_over_arrives(answer: Answer) -> None:
    content = encode_answer(answer)
    assert content.isascii()
    assert decode_answer(content) == answer


WHOLE = json.loads(encode_answer(ANSWERS[0]))
_NO_DOCUMENTS: tuple[Any, ...] = (None, [], "x", {"a": None}, {"a": ["x"]})
_NO_NUMBERS: tuple[Any, ...] = (None, "x", [], 1e400)
BAD: list[Any] = [
    *([], "x", None, 7, {}),
    *({key: value for key, value in WHOLE.items() if key != gone} for gone in WHOLE),
    *({**WHOLE, "documents": value} for value in _NO_DOCUMENTS),
    *({**WHOLE, "documents": {"a": text}} for text in ("=", "AA=A", "AA", "\u00fc", "A A=", "\n")),
    *({**WHOLE, "requests": value} for value in _NO_NUMBERS),
    *({**WHOLE, "failed": value} for value in _NO_NUMBERS),
]


@pytest.mark.parametrize("value", BAD, ids=range(len(BAD)))
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(SourceBroken, match="is not valid"):
        decode_answer(json.dumps(value).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"CANARY", b"[" * 100_000])
def test_what_is_no_json_is_refused_and_not_shown(content: bytes) -> None:
    with pytest.raises(SourceBroken) as caught:
        decode_answer(content)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("value", [1, "true", [], None, {}])
def test_only_true_is_true(value: object) -> None:
    found = decode_answer(json.dumps({**WHOLE, "unchanged": value, "again": value}).encode())
    assert (found.unchanged, found.again) == (False, False)


def test_E11_what_becomes_a_part_of_messages_is_one_line() -> None:
    value = {**WHOLE, "url": "http://a\nb", "error": "c\nd\x1b[2J", "failed": {"a": "e\u2028f"}}
    found = decode_answer(json.dumps(value).encode())
    assert (found.url + found.error + found.failed["a"]).isprintable()
    assert len(decode_answer(json.dumps({**WHOLE, "url": "x" * 70_000}).encode()).url) == 1000


def test_documents_are_a_transport() -> None:
    found = Documents({"a/b/c": b"1", "a/d": b"22", "x": b""})
    assert found.names("a") == ["b", "d"]
    assert found.names("a/b") == ["c"]
    assert found.names("") == ["a", "x"]
    assert found.names("missing") == []
    failed = Documents({"a/b/c": b"1"}, {"a/e": "HTTP status 500"})
    assert failed.names("a") == ["b", "e"]
    with pytest.raises(Unreadable, match=r"^HTTP status 500; .* asked for again at the next boot$"):
        failed.fetch("a/e", 9)
    assert found.fetch("a/d", 2) == b"22"
    assert found.fetch("x", 0) == b""
    assert found.fetch("a", 9) is None
    with pytest.raises(Unreadable, match="larger than 1 bytes"):
        found.fetch("a/d", 1)


def test_an_answer_is_a_source_of_its_service() -> None:
    found = as_bundle(ANSWERS[1])
    assert found.label == "metadata service http://[fe80::a9fe:a9fe%enp0s3]"
    assert (found.service, found.unchanged, found.url) == (True, True, ANSWERS[1].url)
    assert found.names("openstack") == ["latest"]
    assert found.get("openstack/latest/meta_data.json", 10) == b"{}"
