from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from .rig import SAMPLE, USER_DATA, Agent, Scene


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    missing = [name for name in ("strace", "ssh-keygen") if not shutil.which(name)]
    if os.geteuid() != 0:
        missing.append("root")
    if missing and os.environ.get("GUESTAGENT_REQUIRE_ALL") == "1":
        pytest.fail(f"needs {', '.join(missing)}")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    return Agent(tmp_path_factory.mktemp("agent"))


@pytest.fixture
def scene(agent: Agent, tmp_path: Path) -> Scene:
    """The whole sample."""
    made = Scene(agent, tmp_path / "root")
    made.fresh()
    return made


@pytest.fixture
def user_data(agent: Agent, tmp_path: Path) -> Scene:
    """The sample with user data: appended bytes, a link, scripts, files that are written late."""
    settings = "[ssh]\nhost_keys = false\n[disk]\ngrow = false\n"
    made = Scene(agent, tmp_path / "root", USER_DATA / "drive", settings)
    made.image = USER_DATA / "root"
    made.fresh()
    return made


def _part(agent: Agent, place: Path, *wanted: str) -> Scene:
    """The sample with nothing but some keys of its meta_data.json."""
    meta = json.loads((SAMPLE / "drive/openstack/latest/meta_data.json").read_text())
    folder = place / "drive/openstack/latest"
    folder.mkdir(parents=True)
    part = {key: meta[key] for key in ("uuid", *wanted) if key in meta}
    (folder / "meta_data.json").write_text(json.dumps(part))
    made = Scene(agent, place / "root", place / "drive", settings="[ssh]\nhost_keys = false\n")
    made.fresh()
    return made


@pytest.fixture
def keys_only(agent: Agent, tmp_path: Path) -> Scene:
    """What is written first is written by the child that has become the user."""
    return _part(agent, tmp_path, "public_keys", "keys")


@pytest.fixture
def name_only(agent: Agent, tmp_path: Path) -> Scene:
    """Nothing is done after the staged files are in place."""
    return _part(agent, tmp_path, "hostname", "name")
