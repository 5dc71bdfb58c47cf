"""User data meant to do harm, or cut off on its way: bounded, and told without its content."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guestagent import defs
from guestagent.errors import Problem
from guestagent.model import Part
from guestagent.parse.userdata import mime as mime_module

from .part_samples import (
    CONFIG,
    SCRIPT,
    entry,
    mime,
    packed,
    refused,
    shapes,
    split,
    terraform,
    wrapped,
)

SECRET = b"CANARY-7f3a"
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
ZEROS = packed(bytes(64 << 20))


def crowd(number: int) -> bytes:
    """A multipart of very small parts."""
    return mime(*[b"\n#!"] * number, boundary="B")


def peak(content: bytes) -> int:
    """The most bytes that were allocated at once while a document was split."""
    split(content)  # what is imported stays
    tracemalloc.start()
    try:
        split(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_E10_many_parts_are_taken_and_one_more_is_too_much() -> None:
    assert len(split(crowd(defs.MAX_PARTS))[0]) == defs.MAX_PARTS
    assert "parts" in refused(crowd(defs.MAX_PARTS + 1)).reason


@pytest.mark.parametrize("pack", [bytes, packed, wrapped])
def test_E10_a_hundred_thousand_parts_are_never_built(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read_entity = mime_module.read_entity

    def counted(raw: bytes) -> mime_module.Entity:
        read.append(len(raw))
        return read_entity(raw)

    monkeypatch.setattr(mime_module, "read_entity", counted)
    number = 100_000 if pack is not wrapped else 80_000
    document = pack(crowd(number))
    assert len(document) <= defs.USER_DATA_LIMIT
    assert refused(document).reason == f"has more than {defs.MAX_PARTS} parts"
    assert len(read) <= defs.MAX_PARTS + 1


def test_E10_an_archive_of_many_entries_is_too_much() -> None:
    assert (
        "parts" in refused(b"#cloud-config-archive\n" + b"- '#!'\n" * (defs.MAX_PARTS + 1)).reason
    )


def test_E10_empty_multiparts_and_bad_parts_count_too() -> None:
    hollow = b"Content-Type: multipart/mixed; boundary=C\n\n"
    assert "parts" in refused(mime(*[hollow] * (defs.MAX_PARTS + 1))).reason
    assert "parts" in refused(mime(*[entry("text/html", b"x")] * (defs.MAX_PARTS + 1))).reason


def nested(depth: int) -> bytes:
    document = b"\n" + SCRIPT
    for level in range(depth):
        document = mime(document, boundary=f"={level}=", top="")
    return document


def test_E10_three_levels_are_taken_and_a_fourth_is_refused() -> None:
    assert len(split(nested(defs.PART_DEPTH))[0]) == 1
    problem = refused(nested(defs.PART_DEPTH + 1))
    assert (problem.key, problem.reason) == ("part 1", "is nested more than 3 deep")


def test_E10_ten_thousand_levels_are_refused() -> None:
    head = b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n"
    document = b"".join(head % (level, level) for level in range(10_000))
    found, problems = split(document)
    assert found == []
    assert [problem.severity for problem in problems].count("error") == 1


def test_E10_what_is_nested_too_deep_spoils_only_itself() -> None:
    inner = nested(defs.PART_DEPTH)
    found, problems = split(mime(b"\n" + SCRIPT, inner, b"\n" + CONFIG))
    assert shapes(found) == [("script", "part-001"), ("cloud-config", "part-003")]
    assert [problem.key for problem in problems] == ["part 2"]


def test_E10_archives_nest_as_deep_as_multiparts() -> None:
    document = "#!/bin/sh"
    for level in range(4):
        lines = "\n".join("    " + line for line in document.splitlines())
        document = f"#cloud-config-archive\n- content: |\n{lines}\n"
        found, problems = split(document.encode())
        assert len(found) == (level < defs.PART_DEPTH)
    assert [problem.reason for problem in problems] == ["is nested more than 3 deep"]


def test_E10_a_document_of_more_than_a_mebibyte_is_refused() -> None:
    full = SCRIPT.ljust(defs.USER_DATA_LIMIT, b"#")
    assert len(split(full)[0]) == 1
    assert refused(full + b"#").reason == "is larger than 1 MiB"


@pytest.mark.parametrize(
    "document",
    [
        ZEROS,
        packed(ZEROS),
        wrapped(ZEROS),
        mime(entry("application/gzip", ZEROS)),
        mime(*[b"\n" + packed(SCRIPT.ljust(1 << 20))] * 5),
        packed(mime(entry("text/plain", packed(bytes(defs.UNPACKED_LIMIT))))),
        packed(bytes(defs.UNPACKED_LIMIT + 1)),
    ],
)
def test_E10_a_gzip_bomb_never_takes_more_than_the_limit(document: bytes) -> None:
    assert refused(document).reason == "unpacks to more than 4 MiB"
    assert peak(document) < 3 * defs.UNPACKED_LIMIT


def test_E10_as_much_as_the_limit_is_unpacked() -> None:
    script = SCRIPT.ljust(defs.UNPACKED_LIMIT, b"#")
    assert split(packed(script))[0][0].content == script


def test_E10_gzip_in_gzip_goes_as_deep_as_nesting() -> None:
    document = SCRIPT
    for _ in range(defs.PART_DEPTH):
        document = packed(document)
        assert len(split(document)[0]) == 1
    assert "3 times" in refused(packed(document)).reason
    assert [problem.key for problem in split(mime(b"\n" + packed(document)))[1]] == ["part 1"]


def test_E10_an_archive_of_aliases_stays_small() -> None:
    text = b"#cloud-config-archive\n- &a |\n  #!/bin/sh\n  " + b"x" * 200_000 + b"\n"
    found, problems = split(text + b"- *a\n" * 15)
    assert sum(len(part.content) for part in found) <= defs.UNPACKED_LIMIT
    assert all(problem.severity == "error" for problem in problems)


def test_E10_aliases_in_several_archives_count_together() -> None:
    script = b"- &a |\n  #!/bin/sh\n  " + b"x" * 100_000 + b"\n" + b"- *a\n" * 8
    archive = b"\n#cloud-config-archive\n" + script
    assert len(split(mime(*[archive] * 4))[0]) == 4 * 9
    assert refused(mime(*[archive] * 5)).reason == "unpacks to more than 4 MiB"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (packed(SCRIPT)[:-1], "is truncated gzip data"),
        (packed(SCRIPT)[:12], "is truncated gzip data"),
        (packed(SCRIPT) + b"x", "has trailing bytes after its gzip data"),
        (packed(SCRIPT)[:-5] + b"xxxxx", "is damaged gzip data"),
        (b"\x1f\x8b", "is truncated gzip data"),
        (b"\x1f\x8b\x08junkjunkjunk", "is damaged gzip data"),
    ],
)
def test_damaged_gzip_data_is_refused(content: bytes, reason: str) -> None:
    assert refused(content).reason == reason
    found, problems = split(mime(b"\n" + content, b"\n" + SCRIPT))
    assert shapes(found) == [("script", "part-002")]
    assert [(problem.key, problem.reason) for problem in problems] == [("part 1", reason)]


@pytest.mark.parametrize("text", [b"!!!", wrapped(SCRIPT)[:-2], b"IyEv=aaa", "é".encode()])
def test_damaged_base64_spoils_its_part(text: bytes) -> None:
    field = "Content-Transfer-Encoding: base64"
    body = entry("text/x-shellscript", text, "a.sh", field)
    found, problems = split(mime(body, b"\n" + SCRIPT))
    assert shapes(found) == [("script", "part-002")]
    assert [(p.key, p.reason) for p in problems] == [
        ('part 1 "a.sh"', "is not base64, as its header says")
    ]


def test_an_unknown_transfer_encoding_spoils_its_part() -> None:
    body = entry("text/x-shellscript", SCRIPT, "", "Content-Transfer-Encoding: x-uuencode")
    found, problems = split(mime(body, b"\n" + SCRIPT))
    assert shapes(found) == [("script", "part-002")]
    assert "transfer encoding" in problems[0].reason


def test_a_large_header_spoils_its_part() -> None:
    large = b"X: " + b"y" * defs.MIME_HEADER_LIMIT + b"\n\n" + SCRIPT
    found, problems = split(mime(large, b"\n" + SCRIPT))
    assert shapes(found) == [("script", "part-002")]
    assert [(p.key, p.reason) for p in problems] == [
        ("part 1", "has a MIME header of more than 8 KiB")
    ]
    assert "8 KiB" in refused(b"MIME-Version: 1.0\n" + large).reason


def test_a_document_that_is_cut_off_anywhere_does_no_harm() -> None:
    whole = terraform(("text/x-shellscript", "a.sh", "#!/bin/sh\necho 1\n"), ("", "b.sh", "#!/b"))
    for end in range(len(whole) + 1):
        found, problems = split(whole[:end])
        assert len(found) <= 2, end
        if found and end < len(whole) - 4:
            assert any("closing boundary" in problem.reason for problem in problems), end


@pytest.mark.parametrize(
    "parameter", ["", "boundary=", 'boundary=""', "boundary", 'boundary="' + "x" * 9000 + '"']
)
def test_a_boundary_that_is_none_is_refused(parameter: str) -> None:
    document = f"MIME-Version: 1.0\nContent-Type: multipart/mixed; {parameter}\n\n--\n\n#!\n----\n"
    assert refused(document.encode()).key == ""


@pytest.mark.parametrize("line", [b"--Bx\n", b"--B\n"])
def test_E10_lines_like_the_boundary_are_bounded(line: bytes) -> None:
    few = mime(b"\n" + SCRIPT + line * 1000, boundary="B")
    assert split(few)[0][0].content.startswith(SCRIPT.rstrip())
    problem = refused(mime(b"\n" + SCRIPT + line * 100_000, boundary="B"))
    assert "too many lines" in problem.reason


def test_a_multipart_without_parts_is_refused() -> None:
    assert refused(mime()).reason == "is a multipart without a part"


def test_nul_bytes_and_line_ends_do_not_get_into_names_or_reasons() -> None:
    document = mime(entry("text/x-\0shell\rscript", SCRIPT, "a\0b\rc.sh"))
    problem = refused(document)
    assert problem.key == 'part 1 "abc.sh"'
    assert problem.text().isprintable()


@pytest.mark.parametrize(
    "content",
    [
        SECRET,
        b"#" + SECRET,
        b"#cloud-config-archive\n- [" + SECRET,
        b"#cloud-config-archive\n- {content: %s, type: %s}" % (SECRET, SECRET),
        mime(entry("text/" + SECRET.decode(), SECRET)),
        mime(entry("text/plain", SECRET, "", "Content-Transfer-Encoding: " + SECRET.decode())),
        mime(entry("text/x-shellscript", SCRIPT, "", "Launch-Index: " + SECRET.decode())),
        mime(boundary=SECRET.decode()),
    ],
)
def test_B3_no_problem_quotes_the_content(content: bytes) -> None:
    _, problems = split(content)
    assert problems
    assert not any(SECRET.decode() in problem.text() for problem in problems)


def check(found: list[Part], problems: list[Problem]) -> None:
    """What holds of any document's parts and problems."""
    names = [part.name for part in found]
    assert len(set(names)) == len(names) <= defs.MAX_PARTS
    for name in names:
        assert NAME.issuperset(name)
        assert 0 < len(name) <= 64
        assert name[0] not in ".-"
    assert sum(len(part.content) for part in found) <= defs.USER_DATA_LIMIT + defs.UNPACKED_LIMIT
    for part in found:
        assert part.content.strip()
        assert part.kind in ("cloud-config", "include") or part.content.startswith(b"#!")
    assert all(problem.text().isprintable() for problem in problems)
    assert len(problems) <= 3 * defs.MAX_PARTS


LEAVES = st.sampled_from(
    [
        *(SCRIPT, CONFIG, b"", b"#cloud-boothook\n" + SCRIPT, b"\xff\xfe\0", b"hello", b"- a\n"),
        *(b"#include\nx", b"## template: jinja\n", packed(SCRIPT), packed(SCRIPT)[:-3]),
        *(b"## template: jinja\n" + SCRIPT + b"{{ a }}{{ a.b", b"## template: jinja\n{{ x }}"),
        b"#cloud-config-archive\n- {content: '#!', filename: ../x, type: text/cloud-boothook}\n- 5",
    ]
)
TYPES = st.sampled_from(
    [
        *("text/plain", "text/x-shellscript", "text/cloud-config", "text/cloud-boothook", "x"),
        *("text/cloud-config-archive", "application/gzip", "text/x-shellscript-per-once"),
    ]
)
FIELDS = st.sampled_from(
    [
        *("Launch-Index: 1", "Merge-Type: list(append)", "Content-Transfer-Encoding: base64"),
        *("X: y\n z", "Content-Transfer-Encoding: quoted-printable", "broken"),
    ]
)


def _holders(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    body = st.builds(entry, TYPES, inner, st.sampled_from(["", "a.sh", "../é"]), FIELDS)
    several = st.lists(inner | body, max_size=4).map(lambda bodies: mime(*bodies))
    return (
        several | inner.map(packed) | inner.map(wrapped) | inner.map(lambda x: b"\xef\xbb\xbf" + x)
    )


DOCUMENTS = st.recursive(LEAVES, _holders, max_leaves=12)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.binary(max_size=300))
@example(b"\x1f\x8b\x08\0")
@example(b"#cloud-config-archive\n- \xff")
@example(b'#cloud-config-archive\n- "\\ud800"')
def test_any_bytes_give_parts_and_problems_only(content: bytes) -> None:
    check(*split(content))


@settings(max_examples=400, derandomize=True, deadline=None)
@given(DOCUMENTS)
def test_any_document_keeps_the_limits(content: bytes) -> None:
    check(*split(content))


@settings(max_examples=400, derandomize=True, deadline=None)
@given(DOCUMENTS, st.integers(0, 2**32))
def test_any_damaged_document_keeps_the_limits(content: bytes, seed: int) -> None:
    dice = random.Random(seed)
    damaged = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(damaged) + 1)
        match dice.randrange(3):
            case 0:
                del damaged[at : at + dice.randint(1, 20)]
            case 1:
                damaged[at:at] = dice.choice([b"\0", b"\n", b'"', b";", b"--", b":", b"\x80"])
            case _:
                damaged = damaged[:at] + damaged[at // 2 :]
    check(*split(bytes(damaged)))
    check(*split(gzip.compress(damaged)))
