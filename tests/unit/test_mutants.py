"""The table of behaviours that are taken away: each can be, and its tests are there."""

from __future__ import annotations

import rig
from mutants import MUTANTS


def test_what_is_taken_away_is_in_the_program_once() -> None:
    package = rig.REPOSITORY / "guestagent"
    counts = {item.behaviour: (package / item.file).read_text().count(item.old) for item in MUTANTS}
    assert {name: count for name, count in counts.items() if count != 1} == {}


def test_the_tests_that_must_fail_are_there() -> None:
    for item in MUTANTS:
        for test in item.tests:
            file, _, name = test.partition("::")
            text = (rig.REPOSITORY / "tests" / file).read_text()
            assert not name or name.rpartition("::")[2] in text, test


def test_behaviours_have_names_of_their_own() -> None:
    assert len({item.behaviour for item in MUTANTS}) == len(MUTANTS)
