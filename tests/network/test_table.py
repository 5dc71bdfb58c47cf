"""The page about the conformance cases."""

from __future__ import annotations

from . import table
from .cases import CASES
from .produce import BACKENDS


def test_the_page_is_what_the_cases_say() -> None:
    assert table.PAGE.read_text() == table.page(), "run: python -m tests.network.table"


def test_there_are_enough_cases_and_each_id_stands_once() -> None:
    ids = [case.id for case in CASES]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 40


def test_every_case_has_a_row_with_a_cell_for_each_stack() -> None:
    rows = [line.split("|") for line in table.page().splitlines() if line.startswith("| `")]
    assert [row[1].strip(" `") for row in rows] == [case.id for case in CASES]
    assert all(cell.strip() for row in rows for cell in row[4 : 4 + len(BACKENDS)])
