"""The JSON Schema and check(), made of one definition, agree on every document.

What fits the schema gives no error.  What does not gives one, or the warning of a name that is
not known inside a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from guestagent.model import Setting
from guestagent.parse.userdata import keys
from guestagent.parse.userdata.json_schema import json_schema
from userdata.key_samples import ORIGIN, VALID, check
from userdata.key_samples import settings as settings_of

SCHEMA = json_schema()
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 7, -1, 2.5, 5.0, "", "junk", "yes", "12", "+3", "-3", "all", "off"),
    *([], [None], ["a"], [["a"]], [{}], ["a", "b", "c", "d", "e", "f", "g"]),
    *({}, {"zz": 1}, {"name": "x"}, {"a": None}, {"a": {}}, {"mode": "reboot"}),
)
KNOWN_WORDS = {
    *("type", "enum", "properties", "additionalProperties", "required", "items", "minItems"),
    *("maxItems", "minimum", "pattern", "anyOf", "allOf"),
    *("description", "deprecated", "writeOnly", "$schema", "title"),
}
TYPES: dict[str, Any] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str | bytes),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: TYPES["number"](value) and value == int(value),
}


def fits(schema_: dict[str, Any], value: Any) -> bool:
    """Draft 7's rules for the words that json_schema() uses."""
    assert schema_.keys() <= KNOWN_WORDS
    kinds = schema_.get("type", list(TYPES))
    return (
        any(TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds))
        and _fits_itself(schema_, value)
        and _fits_inside(schema_, value)
        and ("anyOf" not in schema_ or any(fits(one, value) for one in schema_["anyOf"]))
        and all(fits(one, value) for one in schema_.get("allOf", []))
    )


def _fits_itself(schema_: dict[str, Any], value: Any) -> bool:
    if "enum" in schema_ and not any(
        type(value) is type(one) and value == one for one in schema_["enum"]
    ):
        return False
    if isinstance(value, str):
        return re.search(schema_.get("pattern", ""), value) is not None
    return not TYPES["number"](value) or value >= schema_.get("minimum", value)


def _fits_inside(schema_: dict[str, Any], value: Any) -> bool:
    if isinstance(value, list):
        most = schema_.get("maxItems", len(value))
        fit = all(fits(schema_.get("items", {}), item) for item in value)
        return fit and schema_.get("minItems", 0) <= len(value) <= most
    if not isinstance(value, dict):
        return True
    others = schema_.get("additionalProperties", True)
    for name, item in value.items():
        one = schema_.get("properties", {}).get(name, others)
        if one is False or (one is not True and not fits(one, item)):
            return False
    return set(schema_.get("required", [])) <= value.keys()


def takes(document: dict[str, Any]) -> bool:
    """True if check() takes all of the document, but for unknown names at the top."""
    _, problems = check([Setting(key, item, ORIGIN, {}) for key, item in document.items()])
    return not any(
        problem.severity == "error"
        or (problem.reason.startswith("is unknown") and problem.key not in document)
        for problem in problems
    )


def spoiled(value: Any) -> Iterator[Any]:
    """The value with each part of it replaced by each kind of junk, and with a part added."""
    yield from JUNK
    if isinstance(value, dict | list):
        for place in list(value) if isinstance(value, dict) else range(len(value)):
            for inner in spoiled(value[place]):
                changed = deepcopy(value)
                changed[place] = inner
                yield changed
    if isinstance(value, dict):
        yield value | {"zz": 1}
        yield from ({name: value[name] for name in value if name != gone} for gone in value)


@pytest.mark.parametrize("text", [text for text, _ in VALID])
def test_schema_and_check_agree_on_each_sample_however_spoiled(text: str) -> None:
    document = {setting.key: setting.value for setting in settings_of(text)}
    assert fits(SCHEMA, document)
    outcomes = set()
    for key in document:
        for value in spoiled(document[key]):
            changed = document | {key: value}
            assert fits(SCHEMA, changed) == takes(changed), changed
            outcomes.add(takes(changed))
    assert outcomes == {True, False}


def test_what_is_not_supported_fits_only_as_null() -> None:
    assert [name for name in keys.UNSUPPORTED if not fits(SCHEMA, {name: None})] == []
    assert [name for name in keys.UNSUPPORTED if fits(SCHEMA, {name: {}})] == []


@pytest.mark.parametrize("refused", ["snapuser"])
@pytest.mark.parametrize("given", ["ssh_authorized_keys", "ssh-authorized-keys"])
def test_schema_and_check_agree_on_what_keys_make_up_for(refused: str, given: str) -> None:
    for value, keys_ in ((1, "a"), (1, ["a"]), (1, []), (1, None), (None, None), (1, {"a": "b"})):
        for document in (
            {"users": [{"name": "ada", refused: value, given: keys_}]},
            {"user": {refused: value, given: keys_}},
        ):
            assert fits(SCHEMA, document) == takes(document), document
    assert not fits(SCHEMA, {"user": {refused: 1}})


def test_unknown_names_fit_at_the_top_and_not_below() -> None:
    assert fits(SCHEMA, {"hostnam": 1})
    assert not fits(SCHEMA, {"growpart": {"mod": "off"}})


def test_each_key_is_described_and_old_spellings_are_deprecated() -> None:
    for name in (*keys.KEYS, *keys.OLD_NAMES, *keys.OLD_APT, *keys.UNSUPPORTED, *keys.IGNORED):
        described = SCHEMA["properties"][name]
        assert described["description"].endswith("."), name
        old = name in keys.OLD_NAMES or name in keys.OLD_APT
        assert described.get("deprecated", False) == old, name
    user = json.dumps(SCHEMA["properties"]["users"])
    assert '"lock-passwd": {"description": "No login by password.  Default: true.", "dep' in user
    assert SCHEMA["properties"]["password"]["writeOnly"]
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"


def _object(schema_: dict[str, Any]) -> st.SearchStrategy[Any]:
    others = schema_.get("additionalProperties")
    if isinstance(others, dict):
        return st.dictionaries(st.text(min_size=1, max_size=5), documents(others), max_size=2)
    properties = {
        name: documents(one)
        for name, one in schema_["properties"].items()
        if not one.get("deprecated") and one.get("type") != "null"
    }
    needed = [name for rule in schema_.get("allOf", ()) for name in rule.get("required", ())]
    return st.fixed_dictionaries(
        {name: properties[name] for name in needed},
        optional={name: one for name, one in properties.items() if name not in needed},
    )


def documents(schema_: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a schema, without what is deprecated."""
    if "anyOf" in schema_:
        return st.one_of([documents(one) for one in schema_["anyOf"] if not one.get("deprecated")])
    if "enum" in schema_:
        return st.sampled_from(schema_["enum"])
    kinds = schema_.get("type", "null")
    made: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "string": st.text(max_size=9),
        "number": st.integers(0, 7),
        "integer": st.integers(schema_.get("minimum", -9), 10**6),
    }
    if "array" in kinds:
        bounds = schema_.get("minItems", 0), schema_.get("maxItems", 3)
        made["array"] = st.lists(
            documents(schema_["items"]), min_size=bounds[0], max_size=bounds[1]
        )
    if "object" in kinds:
        made["object"] = _object(schema_)
    return st.one_of([made[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)])


@settings(
    max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck), deadline=None
)
@given(st.data())
def test_what_fits_the_schema_has_no_problem(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(keys.KEYS)))
    value = data.draw(documents(SCHEMA["properties"][name]))
    assume(fits(SCHEMA, {name: value}))
    found, problems = check([Setting(name, value, ORIGIN, {})])
    assert [problem.text() for problem in problems] == []
    assert {setting.key for setting in found} <= {name}
