"""Whole documents of user data: each does what its case says, and nothing in it is dropped.

The cases are in ``user-data``; ``tests/userdata/documents.py`` says what is in their folders.
Together they give every field of every key another value than its default.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from userdata import documents
from userdata.dropping import dropped, paths

from guestagent.parse.userdata import keys

NAMES = documents.names()
CONFIGS = [name for name in NAMES if documents.load(name).value is not None]
# Fields that need real keys, or are those of ``users`` again.
ELSEWHERE = (
    *("ssh_keys", "apt.sources.key", "apt.primary.key", "apt.security.key"),
    *("user.", "system_info.default_user."),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_document_comes_to_what_its_case_says(name: str) -> None:
    case = documents.load(name)
    without_effect = case.expect["without_effect"]
    found = documents.outcome(case.verdict()) | {"without_effect": without_effect}
    assert found == case.expect, "if this is right, run: python -m tests.userdata.documents"


@pytest.mark.parametrize("name", CONFIGS)
def test_each_part_of_a_document_does_something_or_a_problem_names_it(name: str) -> None:
    """A part that could be left out without a difference would be dropped in silence."""
    case = documents.load(name)
    assert dropped(case.value, case.system) == set(case.expect["without_effect"])


def test_every_field_of_every_key_is_in_a_document() -> None:
    given = {
        ".".join(step for step in path if isinstance(step, str))
        for name in CONFIGS
        for path in paths(documents.load(name).value)
    }
    missing = {name for key in keys.KEYS for name in fields(key)} - given
    assert {name for name in missing if not name.startswith(ELSEWHERE)} == set()


def fields(key: str) -> set[str]:
    """The dotted names of a key of cloud-config and of all its fields."""
    return {key, *_fields(keys.KEYS[key].json(), f"{key}.")}


def _fields(schema: dict[str, Any], above: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        if not field.get("deprecated") and field.get("type") != "null":
            yield above + name
            yield from _fields(field, f"{above}{name}.")
    for inner in (*filter(None, (schema.get("items"),)), *schema.get("anyOf", ())):
        yield from _fields(inner, above)
