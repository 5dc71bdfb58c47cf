from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from rig import KEY

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


_USERS = """\
#cloud-config
users:
  - name: ada
    groups: [sudo]
    lock_passwd: false
    plain_text_passwd: correct horse
    ssh_authorized_keys: ['{key}']
"""


@pytest.fixture
def account(agent: Agent, tmp_path: Path) -> Scene:
    """A new account with a key and a password, which the real tools of shadow(5) make."""
    made = _part(agent, tmp_path, "public_keys")
    config = _USERS.format(key=KEY)
    (tmp_path / "drive/openstack/latest/user_data").write_text(config)
    image = tmp_path / "image"
    shutil.copytree(made.image, image, symlinks=True)
    for name, text in {
        "shadow": "root:*:19000:0:99999:7:::\ndebian:*:19000::::::\n",
        "gshadow": "root:*::\nsudo:*::\ndebian:!::\n",
        "login.defs": "UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\nHOME_MODE 0750\n",
        "skel/.profile": "umask 027\n",
        "skel/.bashrc": "usual\n",
    }.items():
        (image / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (image / "etc" / name).write_text(text)
    (image / "etc/skel/.link").symlink_to(".profile")
    made.image = image
    made.fresh()
    return made
