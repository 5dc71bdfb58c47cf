"""``guestagent network --render``: files for any back end, on any machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import rig

from guestagent import defs


@pytest.mark.parametrize("backend", defs.NETWORK_STACKS)
def test_every_back_end_gets_the_files_of_a_drive(drive: Path, backend: str) -> None:
    found = rig.agent("network", "--render", backend, "--source", drive)
    assert (found.status, found.err) == (0, "")
    first = found.out.splitlines()[0]
    path, mode = first.removeprefix("# ").split(" ", 1)
    assert path.startswith(defs.NETWORK_FILES)
    assert mode == ("(mode 0600)" if backend in ("networkmanager", "netplan") else "(mode 0644)")
    for word in ("192.0.2.10/24", "192.0.2.2", "2001:db8::10/64", "1450"):
        assert word in found.out


def test_the_files_as_json(drive: Path) -> None:
    found = rig.agent("network", "--render", "networkd", "--json", "--source", drive)
    loaded = json.loads(found.out)
    assert loaded["problems"] == []
    (file,) = loaded["files"]
    assert file["path"] == "/etc/systemd/network/10-guestagent-nic525400123456.network"
    assert file["mode"] == "0644"
    text = rig.agent("network", "--render", "networkd", "--source", drive).out
    assert text == f"# {file['path']} (mode {file['mode']})\n{file['content']}"


@pytest.fixture
def changed(drive: Path, tmp_path: Path) -> Path:
    """A drive that a test may change."""
    return Path(shutil.copytree(drive, tmp_path / "drive"))


def test_what_cannot_be_used_is_told_and_the_rest_printed(changed: Path) -> None:
    path = changed / "openstack/latest/network_data.json"
    document = json.loads(path.read_text())
    document["networks"].append({"id": "x", "type": "ipv4", "link": "none"})
    path.write_text(json.dumps(document))
    found = rig.agent("network", "--render", "networkd", "--source", changed)
    assert found.status == 1
    assert "network_data.json: networks[2].link: " in found.err
    assert "Address=192.0.2.10/24" in found.out


def test_problems_with_other_documents_are_not_told(changed: Path) -> None:
    path = changed / "openstack/latest/meta_data.json"
    path.write_text(json.dumps({"hostname": 7}))
    found = rig.agent("network", "--render", "networkd", "--source", changed)
    assert (found.status, found.err) == (0, "")


def test_a_drive_without_a_network_is_an_error(changed: Path) -> None:
    for path in changed.glob("openstack/*/network_data.json"):
        path.unlink()
    found = rig.agent("network", "--render", "netplan", "--source", changed)
    assert (found.status, found.out) == (1, "")
    assert "describes no network" in found.err
