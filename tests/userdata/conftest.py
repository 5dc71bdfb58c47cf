"""Fixtures for tests of user data."""

from __future__ import annotations

from pathlib import Path

import pytest

from .script_place import Place
from .stage import Stage


@pytest.fixture
def stage(tree: Path) -> Stage:
    """A tree whose scripts can be run."""
    return Stage(tree)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A folder in which a script is run, among stub programs."""
    return Place(tmp_path)
