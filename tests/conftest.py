"""Fixtures for tests of the agent on scratch trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import rig
from hypothesis import settings

from guestagent.system import machine

# Every run tries the same, however slow the machine is.
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")


class _Forgetful(dict[str, str]):
    """Remembers nothing: what a machine says until its next boot changes within a test."""

    def __setitem__(self, path: str, text: str) -> None:
        pass


machine._said = _Forgetful()


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A small guest tree: accounts, sshd's main file, a home; owned as a real one is."""
    return rig.copy_root(rig.SAMPLES / "nova" / "root", tmp_path / "guest")


@pytest.fixture
def drive() -> Path:
    """The sample drive as Nova makes it, as a directory."""
    return rig.SAMPLES / "nova" / "drive"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty directory for a root; its parents are not writable by others."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("outside\n")
    os.chmod(root, 0o755)
    return root
