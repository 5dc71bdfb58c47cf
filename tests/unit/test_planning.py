"""From data and a tree to a plan: what a later run leaves alone, and a new instance does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestagent.changes import digest
from guestagent.model import InstanceData, Origin, Text
from guestagent.planning import make_plan
from guestagent.root import Root
from guestagent.settings import Settings

NETWORK = "/etc/systemd/network/10-guestagent-525400123456.network"
DATA = InstanceData(hostname=Text("web", Origin("drive", "meta_data.json", "hostname")))
CONTENT = b"[Network]\nDHCP=yes\n"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    file = tmp_path / NETWORK.lstrip("/")
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    file.chmod(0o644)
    return Root(str(tmp_path))


RECORD = {f"file:{NETWORK}": digest(b"644\n" + CONTENT)}


def test_a_later_run_without_network_data_keeps_the_network(root: Root) -> None:
    plan, _ = make_plan(DATA, Settings(), root, RECORD, False, True)
    assert [change.kind for change in plan.changes] == ["write"]
    assert plan.record.items() >= RECORD.items()


def test_a_new_instance_does_not_keep_the_old_one_s_network(root: Root) -> None:
    plan, _ = make_plan(DATA, Settings(), root, RECORD, True, True)
    assert [change.kind for change in plan.changes] == ["write", "remove"]
    assert not plan.record.keys() & RECORD.keys()
