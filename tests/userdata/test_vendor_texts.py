"""Vendor data is read in cloud-init's form and in Nova's; what fits neither is an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestagent import defs
from guestagent.errors import Origin, Problems
from guestagent.parse.userdata.vendor_texts import find_texts

TEXT = "#cloud-config\nhostname: é\n"
SCRIPT = "#!/bin/sh\n"
NO_TEXT = "must be a string or a list of strings, in the formats of user data"
MAPPING = "must be a string that begins with #cloud-config, not a mapping of its keys"


def vendor_texts(value: object) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]]]:
    """The texts with their paths, and the paths and reasons of errors."""
    problems = Problems()
    found = find_texts(value, Origin("drive", "vendor_data.json", ""), problems)
    assert all(problem.severity == "error" for problem in problems.problems)
    return found, [(problem.key, problem.reason) for problem in problems.problems]


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (TEXT, [""]),
        ([TEXT], ["[0]"]),
        (["", TEXT], ["[1]"]),
        ({"cloud-init": TEXT}, ["cloud-init"]),
        ({"cloud-init": [TEXT, None, TEXT]}, ["cloud-init[0]", "cloud-init[2]"]),
        ({"static": {"cloud-init": TEXT}}, ["static.cloud-init"]),
        ({"static": {}, "join": {"cloud-init": [TEXT]}}, ["join.cloud-init[0]"]),
        ({"cloud-init": {"cloud-init": TEXT}}, ["cloud-init.cloud-init"]),
        ({"a b": {"cloud-init": TEXT}}, ["?.cloud-init"]),
        (
            {"static": {"cloud-init": TEXT}, "cloud-init": TEXT, "x": {"cloud-init": TEXT}},
            ["static.cloud-init", "cloud-init", "x.cloud-init"],
        ),
    ],
)
def test_texts_are_found_in_order_with_the_keys_that_lead_to_them(
    value: object, paths: list[str]
) -> None:
    assert vendor_texts(value) == ([(path, TEXT.encode()) for path in paths], [])


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        [],
        {},
        {"cloud-init": None},
        {"cloud-init": {}},
        {"cloud-init": ""},
        {"static": {}},
        {"static": None, "x": "cloud-init", "y": ["cloud-init"], "z": 7},
        {"static": {"region": {"cloud-init": "deeper than any reader looks"}}},
        {"network_info": "x"},
    ],
)
def test_vendor_data_for_others_and_none_at_all_are_no_problem(value: object) -> None:
    assert vendor_texts(value) == ([], [])


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        (7, [("", NO_TEXT)]),
        (True, [("", NO_TEXT)]),
        ({"cloud-init": 7}, [("cloud-init", NO_TEXT)]),
        ({"cloud-init": {"hostname": "CANARY"}}, [("cloud-init", MAPPING)]),
        ({"static": {"cloud-init": {"CANARY": 1}}}, [("static.cloud-init", MAPPING)]),
        ({"cloud-init": [[SCRIPT]]}, [("cloud-init[0]", NO_TEXT)]),
        ([{"cloud-init": SCRIPT}], [("[0]", MAPPING)]),
    ],
)
def test_what_is_no_text_is_told_with_its_place(
    value: object, problems: list[tuple[str, str]]
) -> None:
    assert vendor_texts(value) == ([], problems)


def test_C10_a_text_of_which_a_character_was_lost_is_not_used() -> None:
    """loads_of_source() puts NUL in place of one; a script would run without it."""
    texts, problems = vendor_texts({"cloud-init": [f"{SCRIPT}rm -r /srv/\0x\n", SCRIPT]})
    assert texts == [("cloud-init[1]", SCRIPT.encode())]
    assert [key for key, _ in problems] == ["cloud-init[0]"]


def test_what_is_wrong_does_not_spoil_the_others() -> None:
    value = {"a": {"cloud-init": {"x": 1}}, "b": {"cloud-init": [3, SCRIPT]}}
    texts, problems = vendor_texts(value)
    assert texts == [("b.cloud-init[1]", SCRIPT.encode())]
    assert problems == [("a.cloud-init", MAPPING), ("b.cloud-init[0]", NO_TEXT)]


@pytest.mark.parametrize("item", [SCRIPT, 7])
def test_the_number_of_texts_is_bounded(item: object) -> None:
    assert len(vendor_texts([SCRIPT] * defs.MAX_PARTS)[0]) == defs.MAX_PARTS
    providers = {f"p{number}": {"cloud-init": item} for number in range(defs.MAX_PARTS + 1)}
    for value in ([item] * 100_000, providers):
        assert vendor_texts(value) == ([], [("", f"holds more than {defs.MAX_PARTS} texts")])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("CANARY"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["cloud-init", "static", "CANARY\n"]), inner)
    ),
)


@given(VALUES)
def test_no_value_is_told_or_changed(value: Any) -> None:
    before = json.dumps(value)
    texts, problems = vendor_texts(value)
    assert json.dumps(value) == before
    assert "CANARY" not in repr(problems)
    assert all(content for _, content in texts)
