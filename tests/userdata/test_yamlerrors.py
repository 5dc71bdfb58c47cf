"""An error in YAML has a place and a reason in plain words, and shows nothing of the text."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from guestagent.errors import FieldError
from guestagent.parse.userdata.yamltree import load

QUOTES = "must be in quotes"
MISTAKES = [
    ("CANARY:\n\tCANARY: 1\n", 2, 1, "found a tab where indentation must be spaces"),
    ("a:\n  CANARY: 1\n\tCANARY: 2\n", 3, 1, "found a tab where indentation must be spaces"),
    ("CANARY: 1\n CANARY: 2\n", 2, 8, "indentation is wrong"),
    ("CANARY\nb: 1\n", 2, 2, "a colon is missing above"),
    ("a: CANARY: x\n", 1, 10, "text with a colon and a space in it must be in quotes"),
    ("a:\n  CANARY: 1\n c: 2\n", 3, 2, "indentation does not fit"),
    ("a:\n  - CANARY\n y\n", 3, 2, "indentation does not fit"),
    ("a: |\n  CANARY\nCANARY\nb: 1\n", 4, 1, "a colon is missing after a key"),
    ("a: 1\nCANARY\n", 3, 1, "a colon is missing after a key"),
    ("a: - CANARY\n", 1, 4, "a list item (-) where none can be"),
    ("a: [1, CANARY\nb: 3\n", 2, 2, "the list in [ ] above is not closed"),
    ("a: {b: 1, CANARY\n", None, None, "the mapping in { } above is not closed"),
    ("a: 'CANARY\nb: 1\n", 1, 4, "text in quotes that begins here is not closed"),
    ('a: "CANARY\n---\n', 1, 4, "text in quotes that begins here is not closed"),
    ("a: 'b'CANARY\n", 1, 7, "indentation does not fit"),
    ("a: {{ CANARY }}\n", 1, 5, "text that begins with { or [ must be in quotes"),
    ("a: @CANARY", 1, 4, QUOTES),
    ("a: `CANARY`", 1, 4, QUOTES),
    ("a: %CANARY", 1, 4, QUOTES),
    ("- *.CANARY.org", 1, 3, "text that begins with * or & must be in quotes"),
    ("a: *CANARY", 1, 4, "text that begins with * must be in quotes"),
    ("a: !CANARY x", 1, 4, "text that begins with ! must be in quotes"),
    ("a: !<CANARY x", 1, None, "text that begins with ! must be in quotes"),
    ("a: !CANARY!x y", 1, 4, "text that begins with ! must be in quotes"),
    ("a: &x 1\nCANARY: &x 2", 2, 9, "an anchor (&) with the name of an earlier one"),
    ('a: "CANARY\\d"', 1, None, "an unknown escape (\\) in double quotes"),
    ('a: "CANARY\\xzz"', 1, None, "an unknown escape (\\) in double quotes"),
    ('a: "CANARY\\ud800"', 1, None, "an unknown escape (\\) in double quotes"),
    ("a: |CANARY\n b", 1, 5, ""),
    ("%CANARY\n", None, None, ""),
    ("%YAML 2.0\n---\nCANARY", 1, 1, "another version of YAML"),
    ("a: CANARY\n---\nb: 2", 2, 1, "a second document begins; only one is allowed"),
    ("a: CANARY\n...\nb: 2", 3, 1, "the document"),
    ("a: {<<: CANARY}", 1, 9, "a merge key (<<) needs a mapping or a list of mappings"),
    ("a: {<<: [CANARY]}", 1, 9, "a merge key (<<) needs a mapping or a list of mappings"),
    ("? [CANARY]\n: 1\n", 1, 3, "a key cannot be a list or a mapping"),
    ("a: CANARY\nb: \x07\n", 2, 4, "holds a control character"),
    ("a: CANARY\x00", 1, 10, "holds a control character"),
    ("a: CANARY\n\n b\uffff", 3, 3, "holds a code that is not a character"),
]


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize(("content", "line", "column", "reason"), MISTAKES)
def test_a_common_mistake_is_told_with_its_place_and_without_the_text(
    content: str,
    line: int | None,
    column: int | None,
    reason: str,
    pure: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if pure:
        monkeypatch.delattr(yaml, "CSafeLoader")
    with pytest.raises(FieldError) as caught:
        load(content.encode())
    told = re.fullmatch(r"line (\d+), column (\d+): (.+)", str(caught.value))
    assert told, str(caught.value)
    assert line in (None, int(told[1]))
    assert column in (None, int(told[2]))
    assert reason in told[3]
    assert "is not YAML" not in told[3]
    assert "CANARY" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("content", "place"), [(b"a: b\xff", 4), ("a: CANARY".encode("utf-16"), 0), (b"\xc3", 0)]
)
def test_what_is_not_utf_8_is_told_with_its_byte(content: bytes, place: int) -> None:
    with pytest.raises(FieldError, match=rf"\Anot UTF-8 at byte {place}\Z"):
        load(content)


WORDS = ("CANARY", ": ", "- ", "\n", "  ", "\t", "'", '"', "[", "]", "{", "}", "&", "*", "!", "%")
MORE = ("|", ">", "#", "?", "---", "...", "\\", "@", "`", ",", "<<", "!!int ", "\x01", "=", "~")


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(WORDS + MORE), max_size=20).map("".join))
def test_no_error_says_anything_of_the_text(content: str) -> None:
    told = ""
    try:
        load(content.encode())
    except FieldError as caught:
        told = str(caught)
    assert "CANARY" not in told
    assert told.startswith("line ") or not told
