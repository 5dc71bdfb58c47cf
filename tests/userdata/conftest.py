"""Fixtures for tests of user data."""

from __future__ import annotations

from pathlib import Path

import pytest

from .stage import Stage


@pytest.fixture
def stage(tree: Path) -> Stage:
    """A tree whose scripts can be run."""
    return Stage(tree)
