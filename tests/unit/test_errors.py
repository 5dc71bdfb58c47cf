"""Origins, and the collector that keeps what is wrong with the values at them."""

from __future__ import annotations

import pytest

from guestagent.errors import FieldError, Origin, Problem, Problems

ROOT = Origin("drive", "meta_data.json", "")


def word(text: str) -> str:
    if not text.isalpha():
        raise FieldError("is not a word")
    return text.lower()


def test_an_origin_names_keys_and_positions_below_it() -> None:
    assert ROOT.under("files").under(3).under("path") == ROOT._replace(key="files[3].path")


def test_C10_a_key_that_would_break_the_line_is_escaped() -> None:
    origin = ROOT.under("a\u2028b\x1b")
    assert origin.key == "a\\u2028b\\x1b"
    assert origin.text().isprintable()


def test_an_error_and_a_warning_name_the_place() -> None:
    origin = ROOT.under("uuid")
    problems = Problems()
    problems.error(origin, "is missing")
    problems.warn(origin, "is odd")
    assert problems.problems == [
        Problem("error", "drive", "meta_data.json", "uuid", "is missing"),
        Problem("warning", "drive", "meta_data.json", "uuid", "is odd"),
    ]


def test_a_value_that_a_validator_refuses_is_an_error_and_not_shown() -> None:
    problems = Problems()
    assert problems.take(ROOT.under("a"), word, "Good") == "good"
    assert problems.take(ROOT.under("b"), word, "CANARY!") is None
    assert problems.take(ROOT.under("c"), word, "CANARY!", "other") == "other"
    assert [(item.key, item.reason) for item in problems.problems] == [
        *(("b", "is not a word"), ("c", "is not a word")),
    ]


@pytest.mark.parametrize("value", [None, 5, True, [], {}, b"x"])
def test_a_value_that_must_be_a_string_is_an_error_if_it_is_not(value: object) -> None:
    problems = Problems()
    assert problems.take_text(ROOT.under("a"), word, value) is None
    assert problems.take_text(ROOT.under("b"), word, "Good") == "good"
    assert problems.problems == [ROOT.under("a").error("must be a string")]
