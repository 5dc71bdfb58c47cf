"""Merge types: what a part that asks for one makes of the parts before it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from guestagent.errors import FieldError
from guestagent.parse.userdata.merge_rules import DEFAULT, read_rules

APPEND = "list(append)+dict(recurse_array)+str()"


def merged(rule: object, old: str, new: str, header: str = "") -> Any:
    return read_rules(rule, header).merge_mappings(yaml.safe_load(old), yaml.safe_load(new))


@pytest.mark.parametrize(
    ("rule", "old", "new", "expected"),
    [
        # What people use, as in cloud-init's documentation.
        (APPEND, "{a: [1]}", "{a: [2], b: 3}", {"a": [1, 2], "b": 3}),
        ("list(append)+dict(no_replace,recurse_list)+str()", "{a: [1]}", "{a: [2]}", {"a": [1, 2]}),
        ("dict(recurse_list)+list(append)", "{a: {b: [1]}}", "{a: {b: [2]}}", {"a": {"b": [1, 2]}}),
        ("list(prepend)+dict(recurse_list)", "{a: [1]}", "{a: [2]}", {"a": [2, 1]}),
        (
            "list()+dict()+str()",
            "{a: [1], b: x}",
            "{a: [2], b: y, c: z}",
            {"a": [1], "b": "x", "c": "z"},
        ),
        (
            "list()+dict()+str()",
            "{a: {b: 1, c: 2}}",
            "{a: {b: 3, d: 4}}",
            {"a": {"b": 1, "c": 2, "d": 4}},
        ),
        ("dict(replace)+list()+str()", "{a: {b: 1}, c: 1}", "{a: {d: 4}}", {"a": {"d": 4}, "c": 1}),
        ("dict(recurse_list)+list()", "{a: [1, 2, 3]}", "{a: [4]}", {"a": [4, 2, 3]}),
        ("dict(recurse_list)+list()", "{a: [1]}", "{a: [4, 5]}", {"a": [4]}),
        ("dict(recurse_list)+list(no_replace)", "{a: [1]}", "{a: [4]}", {"a": [1]}),
        (
            "dict(recurse_list)+list(recurse_dict)",
            "{a: [{b: 1}]}",
            "{a: [{c: 2}]}",
            {"a": [{"b": 1, "c": 2}]},
        ),
        (
            "dict(recurse_list)+list(append,recurse_list)",
            "{a: [[1]]}",
            "{a: [[2]]}",
            {"a": [[1], [2]]},
        ),
        ("dict(recurse_list)+list(recurse_array)", "{a: [[1, 2]]}", "{a: [[3]]}", {"a": [[3, 2]]}),
        ("dict(recurse_str)+str(append)", "{a: x}", "{a: y}", {"a": "xy"}),
        ("dict(recurse_str)+str()", "{a: x, b: 1}", "{a: y, b: y}", {"a": "y", "b": 1}),
        (
            "dict(recurse_list)+list(append)",
            "{a: x, b: {c: 1}}",
            "{a: [2], b: [2]}",
            {"a": "x", "b": {"c": 1}},
        ),
        ("dict(recurse_str)+list(append)", "{a: [1]}", "{a: xy}", {"a": [1]}),
        ("dict(recurse_str)+list()", "{a: [1]}", "{a: xy}", {"a": "xy"}),
        ("dict(recurse_list)", "{a: [1]}", "{a: [2]}", {"a": [1]}),
        (
            "dict(allow_delete)",
            "{a: 1, b: {c: 1, d: 2}}",
            "{a: null, b: {c: null}}",
            {"b": {"d": 2}},
        ),
        ("dict()", "{a: 1}", "{a: null}", {"a": 1}),
        # However it is written.
        (
            " List( Append ) +DICT(Recurse-Array, recurse_list)+",
            "{a: [1]}",
            "{a: [2]}",
            {"a": [1, 2]},
        ),
        (
            [
                {"name": "list", "settings": ["append"]},
                {"name": "dict", "settings": ["no_replace", "recurse_list"]},
            ],
            "{a: [1]}",
            "{a: [2]}",
            {"a": [1, 2]},
        ),
        ([["list", "append"], ["dict", "recurse_list"]], "{a: [1]}", "{a: [2]}", {"a": [1, 2]}),
        ([{"name": "dict", "settings": "replace"}], "{a: [1]}", "{a: [2]}", {"a": [2]}),
    ],
)
def test_a_part_joins_those_before_it_as_it_asks_for(
    rule: object, old: str, new: str, expected: dict[str, Any]
) -> None:
    assert merged(rule, old, new) == expected


@pytest.mark.parametrize("rule", [None, "", []])
def test_without_a_rule_of_its_own_a_later_key_replaces(rule: object) -> None:
    assert read_rules(rule, "") == DEFAULT
    assert merged(rule, "{a: [1], b: 1}", "{a: null}") == {"a": None, "b": 1}


def test_what_the_document_asks_for_comes_before_its_header() -> None:
    assert merged("dict(recurse_list)", "{a: [1]}", "{a: [2]}", "dict(replace)+list(append)") == {
        "a": [1, 2]
    }
    assert merged(None, "{a: [1]}", "{a: [2]}", APPEND) == {"a": [1, 2]}


@pytest.mark.parametrize(
    "rule",
    [
        *("CANARY", "CANARY()", "dict", "dict(", "dict()x", "dict()+CANARY(append)", 5),
        *([5], [[]], [{}], [{"name": 5}], [{"name": "CANARY"}], [{"name": "dict", "settings": 5}]),
    ],
)
def test_an_unknown_rule_is_refused_without_its_words(rule: object) -> None:
    with pytest.raises(FieldError) as caught:
        read_rules(rule, "")
    assert str(caught.value) == "has an unknown merge type; the part is ignored"


@pytest.mark.parametrize("rule", ["list(append)", "list()+str(append)", [["list"]]])
def test_a_rule_without_mappings_takes_nothing_and_is_refused(rule: object) -> None:
    with pytest.raises(FieldError, match=r"without dict\(\)"):
        read_rules(rule, "")


def test_merging_changes_neither_value() -> None:
    old, new = {"a": {"b": [1]}}, {"a": {"b": [2], "c": [3]}}
    found = read_rules(APPEND, "").merge_mappings(old, new)
    assert found == {"a": {"b": [1, 2], "c": [3]}}
    assert (old, new) == ({"a": {"b": [1]}}, {"a": {"b": [2], "c": [3]}})
