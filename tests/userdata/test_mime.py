"""MIME messages mean what the standard library's email package says they mean."""

from __future__ import annotations

import email
import itertools
from email.message import Message

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse.userdata import mime

Leaf = tuple[str, str, bytes]


def ours(raw: bytes) -> list[Leaf]:
    """Type, file name and decoded body of all parts, as we read them."""
    entity = mime.read_entity(raw)
    if not entity.type.startswith("multipart/"):
        return [(entity.type, entity.file_name, mime.decode_body(entity))]
    return [leaf for body in mime.split_bodies(entity, 100)[0] for leaf in ours(body)]


def theirs(raw: bytes) -> list[Leaf]:
    """The same, as email reads them."""
    found = []
    for part in email.message_from_bytes(raw).walk():
        if not part.is_multipart():
            body = part.get_payload(decode=True)
            assert isinstance(body, bytes)
            found.append((part.get_content_type(), part.get_filename() or "", body))
    return found


CASES = {
    "plain": b"--B\nContent-Type: text/x-a\n\none\n--B--\n",
    "no header": b"--B\n\none\n\n--B\n\ntwo\n--B--",
    "no blank line": b"--B\none: two three\nfour\n--B--\n",
    "no header at all": b"--B\n#!/bin/sh\nfour: x\n--B--\n",
    "header only": b"--B\nContent-Type: text/x-a\n--B--\n",
    "preamble and epilogue": b"before\n--B\n\none\n--B--\nafter\n--B\n\nnot\n",
    "white space after the boundary": b"--B \t\n\none\n--B-- \nx\n",
    "longer boundary": b"--B\n\none\n--BB\n--B-\n--B--x\n--B --\n --B\n--B--\n",
    "carriage returns": b"--B\r\nContent-Type: a/b\r\n\r\none\r\n\r\n--B\r\n\r\ntwo\r\n--B--\r\n",
    "folded": b"--B\nContent-Type: text/x-a;\n charset=utf-8;\n\tname=x.sh\n\none\n--B--\n",
    "file names": (
        b'--B\nContent-Disposition: attachment; filename="a b;\\"c.sh"; size=3\n\n1\n'
        b"--B\nContent-Type: text/x-a; name=n.sh\n\n2\n"
        b"--B\nContent-Disposition: attachment; filename*=utf-8'en'%c3%a9%20x\n\n3\n"
        b"--B\ncontent-DISPOSITION:attachment;FileName = x.sh\n\n4\n--B--\n"
    ),
    "types": (
        b"--B\nContent-Type: TEXT/X-A; x=y\n\n1\n--B\nContent-Type: nonsense\n\n2\n"
        b"--B\nContent-Type:\n\n3\n--B\nContent-Type: a/b/c\n\n4\n--B--\n"
    ),
    "twice": b"--B\nContent-Type: text/x-a\nContent-Type: text/x-b\n c\n\none\n--B--\n",
    "encodings": (
        b"--B\nContent-Transfer-Encoding: base64\n\nb25l\nCg==\n"
        b"--B\nContent-Transfer-Encoding: Quoted-Printable\n\na=3Db=\nc =E9\n"
        b"--B\nContent-Transfer-Encoding: 8bit\n\n\xe9\n--B--\n"
    ),
    "nested": (
        b"--B\nContent-Type: multipart/mixed; boundary=C\n\n--C\n\n1\n--C--\n\n--B\n\n2\n--B--\n"
    ),
    "nested and cut off": (
        b"--B\nContent-Type: multipart/mixed; boundary=C\n\n--C\n\none\n--B\n\ntwo\n--B--\n"
    ),
    "not closed": b"--B\n\none\n--B\n\ntwo\n",
    "boundaries in a row": b"--B\n--B\n\none\n--B\n\n--B--\n",
}


@pytest.mark.parametrize("name", CASES)
def test_a_multipart_is_read_as_email_reads_it(name: str) -> None:
    for head in (b"Content-Type: multipart/mixed; boundary=B\n\n", b"From me\nX: y\n"):
        top = b"" if head.startswith(b"C") else b'content-type: MULTIPART/x;\n boundary="B"\n\n'
        raw = head + top + CASES[name]
        assert ours(raw) == theirs(raw)
        assert ours(raw)


LINES = st.sampled_from(
    [
        *(b"--B", b"--B--", b"--C", b"--C--", b"", b"text", b"Content-Type: text/x-a", b"X: y\n z"),
        *(b"Content-Type: multipart/mixed; boundary=C", b"X: y", b"--B ", b"--Bx", b"a: b c"),
        *(b'Content-Disposition: a; filename="x\\"y"', b"Content-Type: text/x-b; name=z; q"),
    ]
)


def _apart(lines: list[bytes]) -> bool:
    """No end right after a boundary: email takes both for one boundary."""
    pairs = itertools.pairwise(lines)
    return not any(a[:3] == b[:3] and b.endswith(b"--") for a, b in pairs if a[:2] == b"--")


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(LINES, max_size=25).filter(_apart))
def test_any_lines_are_read_as_email_reads_them(lines: list[bytes]) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=B\n\n" + b"\n".join(lines)
    try:
        found = ours(raw)
    except FieldError:
        return  # a multipart without a part, which email takes for text
    expected = theirs(raw)
    if not any(_odd(message) for message in email.message_from_bytes(raw).walk()):
        # Where the outer boundary cuts an inner multipart off, email keeps an empty line more.
        assert [_stripped(part) for part in found] == [_stripped(part) for part in expected]


def _stripped(part: tuple[str, str, bytes]) -> tuple[str, str, bytes]:
    return (*part[:2], part[2].rstrip(b"\n"))


def _odd(message: Message) -> bool:
    """Multiparts that email could not take apart; it keeps them as text."""
    return message.get_content_maintype() == "multipart" and not message.is_multipart()


@pytest.mark.parametrize(
    ("content", "result"),
    [
        (b"MIME-Version: 1.0\n", True),
        (b"X: y\n folded\nmime-version: 1.0\n\n", True),
        (b"Content-Type: Multipart/Mixed\n", True),
        (b"Content-Type: text/plain\n\n", False),
        (b"X: y\n\nMIME-Version: 1.0\n", False),
        (b"no header\nMIME-Version: 1.0\n", False),
        (b"hostname: MIME-Version: 1.0\n", False),
        (b" MIME-Version: 1.0\n", False),
        (b"", False),
    ],
)
def test_a_message_is_told_by_its_first_lines(content: bytes, result: bool) -> None:
    assert mime.is_message(content) is result


def test_E10_no_more_parts_are_looked_for_than_asked() -> None:
    entity = mime.read_entity(
        b"Content-Type: multipart/mixed; boundary=B\n\n" + b"--B\n\nx\n" * 1000
    )
    assert [len(mime.split_bodies(entity, most)[0]) for most in (1, 16, 999)] == [2, 17, 1000]


@pytest.mark.parametrize("tail", [b"\n\nbody", b"", b"\nY: z"])
def test_a_header_is_bounded(tail: bytes) -> None:
    fits = b"X: " + b"y" * (defs.MIME_HEADER_LIMIT - 6) + b"\n\n" + tail
    assert mime.read_entity(fits).headers["x"].startswith("yyy")
    with pytest.raises(FieldError):
        mime.read_entity(b"X: " + b"y" * defs.MIME_HEADER_LIMIT + tail)
