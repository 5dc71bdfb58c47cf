"""Parts of one document merge by cloud-init's default rule, and documents by its layers."""

from __future__ import annotations

from typing import Any

import pytest

from guestagent.errors import Origin, Problem, Problems
from guestagent.model import Setting
from guestagent.parse.userdata.layers import overlay
from guestagent.parse.userdata.merge_parts import ConfigPart, merge
from guestagent.parse.userdata.yamltree import load

USER = Origin("drive", "user_data", "")


def merged(*texts: str) -> tuple[dict[str, Setting], list[Problem]]:
    parts = [
        ConfigPart(load(text.encode()), Origin("drive", "user_data", f"part {number}"))
        for number, text in enumerate(texts)
    ]
    problems = Problems()
    return merge(parts, problems), problems.problems


def values(settings: dict[str, Setting]) -> dict[str, Any]:
    assert all(key == setting.key for key, setting in settings.items())
    return {key: setting.value for key, setting in settings.items()}


def layered(*texts: str) -> dict[str, Any]:
    found: dict[str, Setting] = {}
    for text in texts:
        found = overlay(found, merged(text)[0])
    return values(found)


def test_a_later_part_replaces_a_key_as_a_whole_and_leaves_the_others() -> None:
    settings, problems = merged(
        "users: [{name: a}]\nchpasswd: {expire: false, list: [x]}\npackages: [a]\nhostname: h\n",
        "users: [{name: b}]\nchpasswd: {expire: true}\n",
        "packages: null\n",
    )
    assert values(settings) == {
        "users": [{"name": "b"}],
        "chpasswd": {"expire": True},
        "packages": None,
        "hostname": "h",
    }
    assert problems == []


def test_a_setting_tells_where_its_parts_stand_in_the_part_that_counts() -> None:
    settings, _ = merged("users:\n- name: a\n", "\n\nusers:\n- name: b\n  uid: 7\n")
    assert settings["users"].marks == {
        (): (3, 1),
        (0,): (4, 3),
        (0, "name"): (4, 3),
        (0, "uid"): (5, 3),
    }
    place = settings["users"].at(0, "uid")
    assert place.key == "part 1: users[0].uid (line 5, column 3)"


@pytest.mark.parametrize("text", ["just words", "[a, b]", "7", "'#!/bin/sh'"])
def test_a_part_that_is_no_mapping_spoils_itself_alone(text: str) -> None:
    settings, problems = merged("hostname: a\n", f"\n{text}\n", "packages: [b]\n")
    assert values(settings) == {"hostname": "a", "packages": ["b"]}
    reason = "line 2, column 1: is not cloud-config, which is made of lines of the form key: value"
    assert problems == [Problem("error", "drive", "user_data", "part 1", reason)]


def test_an_empty_part_says_nothing() -> None:
    assert merged("#cloud-config\n", "") == ({}, [])


@pytest.mark.parametrize("key", ["merge_how", "merge_type"])
@pytest.mark.parametrize(
    "rule",
    [
        "list(append)+dict(recurse_array)+str()",
        "[{name: list, settings: [append]}, {name: dict, settings: [recurse_list]}]",
    ],
)
def test_a_part_is_merged_as_it_asks_for(key: str, rule: str) -> None:
    settings, problems = merged(
        "packages: [a]\nhostname: a\n", f"packages: [b]\nswap: {{}}\n{key}: {rule}\n"
    )
    assert values(settings) == {"packages": ["a", "b"], "hostname": "a", "swap": {}}
    assert problems == []


def test_a_value_of_several_parts_names_these_and_others_their_own() -> None:
    rule = "merge_how: 'dict(recurse_list)+list(append)'\n"
    settings, _ = merged(
        "packages: [a]\nhostname: a\n",
        f"{rule}packages: [b]\nhostname: b\n",
        f"{rule}packages: [c]\ntimezone: UTC\n",
    )
    assert settings["packages"].value == ["a", "b", "c"]
    assert settings["packages"].at(2).key == "part 0 to part 2: packages[2]"
    assert settings["hostname"].at().key == "part 0: hostname (line 2, column 1)"
    assert settings["timezone"].at().key == "part 2: timezone (line 3, column 1)"


def test_a_rule_holds_for_its_part_alone() -> None:
    settings, _ = merged(
        "runcmd: [a]\nmerge_how: 'dict(recurse_list)+list(append)'\n", "runcmd: [b]\n"
    )
    assert values(settings) == {"runcmd": ["b"]}


def test_a_rule_can_take_keys_away() -> None:
    settings, _ = merged("a: 1\nb: 1\n", "merge_how: dict(allow_delete)\na:\nc:\n")
    assert values(settings) == {"b": 1, "c": None}


@pytest.mark.parametrize("rule", ["CANARY()", "list(append)", "[CANARY]"])
def test_an_unknown_rule_spoils_its_part_where_there_are_several(rule: str) -> None:
    settings, problems = merged("packages: [a]\n", f"packages: [b]\nmerge_how: {rule}\n")
    assert values(settings) == {"packages": ["a"]}
    (problem,) = problems
    assert (problem.severity, problem.key) == ("error", "part 1")
    assert problem.reason.startswith("has a")
    assert "merge type" in problem.reason
    assert "CANARY" not in problem.reason
    settings, problems = merged(f"packages: [b]\nmerge_how: {rule}\n")
    assert (values(settings), problems) == ({"packages": ["b"]}, [])


def test_a_repeated_key_is_a_warning_that_shows_no_odd_names() -> None:
    _, problems = merged(
        "a: 1\nusers:\n- name: x\n  name: y\n  p@ss word: 1\n  p@ss word: 2\na: 2\n"
    )
    assert sorted(problem.key for problem in problems) == [
        "part 0: a (line 7, column 1)",
        "part 0: users[0].? (line 6, column 3)",
        "part 0: users[0].name (line 4, column 3)",
    ]
    assert {(problem.severity, problem.reason) for problem in problems} == {
        ("warning", "duplicate key; the last one wins")
    }


def test_of_layers_the_upper_wins_and_mappings_are_filled_at_any_depth() -> None:
    found = layered(
        "hostname: user\nntp: {enabled: false, config: {a: 1}}\npackages: [x]\nswap: null\n",
        "hostname: two\nntp: {enabled: true, servers: [s], config: {a: 2, b: 2}}\ntimezone: UTC\n",
        "packages: [y]\nntp: {pools: [p]}\ntimezone: CET\nswap: {size: 1}\nlocale: C\n",
    )
    assert found == {
        "hostname": "user",
        "ntp": {
            "enabled": False,
            "config": {"a": 1, "b": 2},
            "servers": ["s"],
            "pools": ["p"],
        },
        "packages": ["x"],
        "swap": None,
        "timezone": "UTC",
        "locale": "C",
    }


@pytest.mark.parametrize("upper", ["text", "7", "[a]", "false", "''"])
def test_a_mapping_does_not_go_into_what_is_none(upper: str) -> None:
    assert layered(f"ntp: {upper}\n", "ntp: {enabled: true}\n") == layered(f"ntp: {upper}\n")
    assert layered("ntp: {enabled: true}\n", f"ntp: {upper}\n") == {"ntp": {"enabled": True}}


def test_layers_keep_their_origins_and_what_they_are_made_of() -> None:
    upper = Setting("ntp", {"a": 1}, USER, {(): (2, 1), ("a",): (3, 3)})
    vendor = Origin("drive", "vendor_data.json", "cloud-init")
    below = Setting("ntp", {"b": 2}, vendor, {(): (9, 1), ("b",): (9, 5)})
    other = Setting("locale", "C", vendor, {(): (8, 1)})
    found = overlay({"ntp": upper}, {"ntp": below, "locale": other})
    assert found["locale"] == other
    assert found["ntp"].at("a").key == "ntp.a (line 3, column 3)"
    assert found["ntp"].at("b") == Origin("drive", "user_data", "ntp.b (line 2, column 1)")
    assert (upper.value, below.value) == ({"a": 1}, {"b": 2})
