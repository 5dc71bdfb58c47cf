"""Fixtures: a lab of network namespaces, and a service on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import rig

from guestagent import defs

from . import documents
from .lab import Guest, Lab, Machine, Scene, Service


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A guest in namespaces of its own, with no link yet."""
    rig.need_root()
    rig.need_tools("ip", "nsenter", "unshare")
    made = Lab(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The server that tests on loopback share, one after the other."""
    made = Service(tmp_path_factory.mktemp("service"), {})
    yield made
    made.close()


@pytest.fixture
def service(process: Service) -> Service:
    """A service on loopback, with sound documents and nothing in its log."""
    process.begin()
    process.say({})
    process.forget()
    return process


@pytest.fixture
def here(tmp_path: Path) -> Guest:
    """Runs of the agent in this machine's own namespaces, which only loopback services see."""
    return Guest(tmp_path)


@pytest.fixture
def machine(lab: Lab, tmp_path: Path) -> Machine:
    """A guest of OpenStack that was not configured yet, with a root file system of its own."""
    lab.space.dmi(product_name="OpenStack Nova", product_uuid=documents.UUID)
    return Machine(lab, rig.copy_root(rig.SAMPLES / "nova" / "root", tmp_path / "tree"))


@pytest.fixture
def scene(machine: Machine, lab: Lab) -> Scene:
    """A machine with a link to its service."""
    return Scene(machine, lab.serve(lab.link()))


@pytest.fixture
def configured(scene: Scene) -> Scene:
    """The same after a first boot."""
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    return scene


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process wait a hundredth of what they would."""
    for name in ("BACK_OFF_FIRST", "BACK_OFF_MOST", "RACE_PAUSE", "RETRY_AFTER_MOST"):
        monkeypatch.setattr(defs, name, getattr(defs, name) / 100)
