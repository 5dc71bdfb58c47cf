"""JSON is read strictly, and nothing hostile in it raises anything but FieldError."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator

import pytest
import rig

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.system.jsontext import dumps, loads, loads_of_source

MUTATIONS = 100_000
VALUES: list[object] = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    "",
    'ü"\\\n\x1f\u2028😀',
    [],
    {},
    [[], {"": [1, {"a": None}]}],
    {"a": {"b": ["c", False]}, "ü": 1e-7},
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_written_is_read_again(value: object) -> None:
    text = dumps(value)
    assert text.isascii()
    assert loads(text.encode()) == value == json.loads(text)
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


def test_tuples_are_written_as_lists_and_other_types_refused() -> None:
    assert loads(dumps({"a": (1, ("b",))}).encode()) == {"a": [1, ["b"]]}
    with pytest.raises(TypeError):
        dumps({"a": b"bytes"})


def test_space_and_a_byte_order_mark_are_allowed() -> None:
    assert loads(b' \t\r\n{"a" : [ 1 ] }\n') == {"a": [1]}
    assert loads(b"\xef\xbb\xbf[]") == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no value at character 0"),
        (b"  ", "no value at character 2"),
        (b"{", "line 1, column 2"),
        (b'{"CANARY": 1,}', "line 1"),
        (b'{"a": 1\n "CANARY": 2}', "line 2, column 2"),
        (b'["CANARY"', "line 1"),
        (b"[1] CANARY", "more text after the end, at character 3"),
        (b"{'CANARY': 1}", "line 1"),
        (b'"CANARY\n"', "line 1"),
        (b'"\\uCANA"', "line 1"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "NaN"),
        (b"[Infinity]", "NaN"),
        (b"nul", "no value"),
        (b"[01]", "line 1"),
        (b'{"CANARY": 1, "CANARY": 1}', "duplicate key"),
        (b'[{"a": {"b": 1, "b": 2}}]', "duplicate key"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
        ('"CANARY"'.encode("utf-16"), "not UTF-8"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udfffCANARY": 1}', "surrogate"),
        (b"[" + b"9" * 5000 + b"]", "number"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
        (b"[" * 65 + b"0" + b"]" * 65, "nested too deep"),
        (b" " * (defs.JSON_LIMIT + 1), "larger than"),
    ],
    ids=range(27),
)
def test_C10_what_is_refused_and_how(content: bytes, reason: str) -> None:
    with pytest.raises(FieldError) as caught:
        loads(content)
    assert reason in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_C10_depth_within_the_limit_is_read() -> None:
    depth = defs.JSON_DEPTH
    assert loads(b"[" * depth + b"]" * depth)


def test_C10_a_pair_of_surrogates_is_a_character() -> None:
    assert loads(b'"\\ud83d\\ude00"') == "😀"


def test_C10_no_memory_of_an_earlier_document(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FieldError):
        loads(b'{"a": 1, "a": 2}')
    assert loads(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'["a\xff", "\xc3\xbc"]', ["a\0", "ü"]),
        (b'["\xe2\x82", "\xed\xa0\x80"]', ["\0\0", "\0\0\0"]),
        (b'["\\ud800\\ud83d\\ude00"]', ["\0😀"]),
        (b'["a\x01\n"]', ["a\x01\n"]),
        (b'{"a": {"b\xff": 1, "b\xfe": 2}, "c": 3}', {"a": {"b\0": 1, "b\0\0": 2}, "c": 3}),
    ],
)
def test_C10_in_a_source_s_document_a_bad_character_spoils_its_text_alone(
    content: bytes, value: object
) -> None:
    odd_name = content.startswith(b"{")
    assert loads_of_source(content) == (value, odd_name)
    assert loads_of_source(b"\xef\xbb\xbf " + content + b"\n") == (value, odd_name)
    with pytest.raises(FieldError):
        loads(content)


@pytest.mark.parametrize(
    "content",
    [
        *(b'["a\xff",]', b'["a\xff"', b'["a\xff"] \xff', b"[\xff]", b'["a\xff", NaN]'),
        *(b'{"a": "\xff", "a": 1}', b"[" * 65 + b'"\xff"' + b"]" * 65, b"[" * 200_000 + b'"\xff'),
        b'"\xff' + b" " * defs.JSON_LIMIT + b'"',
    ],
    ids=range(9),
)
def test_C10_what_is_no_json_otherwise_is_refused_in_a_source_s_document_too(
    content: bytes,
) -> None:
    with pytest.raises(FieldError):
        loads_of_source(content)


_PIECES = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u", b"\\ud800", b"NaN", b"1e999"),
    *(b"-", b"\xff", b"\xed\xa0\x80", b"\0", b"null", b"[[[[[[[[", b"99999999999999999999"),
    *(b'"uuid":', b"\xe2\x80\xa8", b"\n", b" ", b"0", b"."),
)


def _mutants(count: int) -> Iterator[bytes]:
    """Sample documents with a few bytes cut, doubled or replaced; the same ones each time."""
    chance = random.Random(10)
    samples = [path.read_bytes() for path in sorted(rig.SAMPLES.rglob("*.json"))]
    samples = [sample for sample in samples if len(sample) < 4000]
    for _ in range(count):
        text = bytearray(chance.choice(samples))
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(text) + 1)
            end = start + chance.choice((0, 0, 1, 1, 2, 9, 60))
            text[start:end] = chance.choice((b"", chance.choice(_PIECES), text[start:end] * 2))
        yield bytes(text)


def test_C10_mutated_documents_raise_nothing_else() -> None:
    slowest, good, repaired = 0.0, 0, 0
    for content in _mutants(MUTATIONS):
        start = time.thread_time()
        try:
            value = loads(content)
        except FieldError:
            pass
        else:
            good += 1
            dumps(value).encode()
        slowest = max(slowest, time.thread_time() - start)
        try:
            value, _ = loads_of_source(content)
        except FieldError:
            continue
        dumps(value).encode()
        repaired += 1
    assert 0 < good < repaired < MUTATIONS
    assert slowest < 0.25
