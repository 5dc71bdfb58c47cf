"""A network change that nobody confirms is taken back, whatever happens meanwhile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import GuestagentError
from guestagent.live import rollback
from guestagent.options import Options
from guestagent.system.root import Root
from guestagent.system.tools import Result
from guestagent.verbs import apply

NETWORK_FILE = "etc/systemd/network/10-guestagent-nic525400123456.network"
KEPT = "the network (this change was not confirmed)"


class Rig:
    """A guest tree in which the sample drive's network may change, and the programs started."""

    def __init__(self, guest: Path, drive: Path, mocker: MockerFixture) -> None:
        self.guest, self.drive = guest, drive
        self.started: list[list[str]] = []
        self.status = 0
        mocker.patch.object(rollback, "find_program", lambda name: f"/bin/{name}")
        mocker.patch.object(rollback, "run", self._start)
        self.boot("1")

    def _start(self, argv: list[str]) -> Result:
        self.started.append(argv)
        return Result(self.status, b"", b"refused\n")

    def boot(self, name: str) -> None:
        """Give the present boot another id."""
        path = self.path(defs.BOOT_ID)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")

    def path(self, name: str) -> Path:
        """Where a file of the guest is."""
        return self.guest / name.lstrip("/")

    def apply(self, confirm: int = 0, boot: bool = False) -> int:
        """One run of the agent."""
        options = Options(source=str(self.drive), root=str(self.guest), confirm=confirm, boot=boot)
        return apply.run(options)

    def restore(self) -> list[str]:
        """What the timer starts, but for the network of a running guest."""
        return rollback.restore(Root(str(self.guest)), running=False)

    def report(self) -> dict[str, Any]:
        """The report of the last run."""
        found: dict[str, Any] = json.loads(self.path(defs.REPORT_FILE).read_text())
        return found

    def edit(self, old: str, new: str) -> None:
        """Change the drive's network."""
        path = self.drive / "openstack/latest/network_data.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def here(guest: Path, drive: Path, tmp_path: Path, mocker: MockerFixture) -> Rig:
    """A guest that was not configured yet."""
    return Rig(guest, Path(shutil.copytree(drive, tmp_path / "drive")), mocker)


@pytest.fixture
def configured(here: Rig) -> Rig:
    """A guest that runs with the drive's network, and whose drive now wants another MTU."""
    assert here.apply() == 0
    here.edit("1450", "1400")
    return here


def test_a_change_starts_a_timer_before_anything_is_written(configured: Rig) -> None:
    assert configured.apply(confirm=30) == 0
    (argv,) = configured.started
    assert argv[-2:] == [defs.PROGRAM, "rollback"]
    assert "--on-active=30" in argv
    assert b"1400" in configured.path(NETWORK_FILE).read_bytes()
    assert configured.path(defs.ROLLBACK_FILE).stat().st_mode & 0o7777 == 0o600


def test_a_change_that_is_taken_back_leaves_the_files_as_they_were(configured: Rig) -> None:
    before = rig.snapshot(configured.path("etc"))
    configured.apply(confirm=30)
    assert rig.differences(before, rig.snapshot(configured.path("etc"))) != set()
    assert configured.restore() == []
    assert rig.differences(before, rig.snapshot(configured.path("etc"))) == set()
    assert not configured.path(defs.ROLLBACK_FILE).exists()


def test_files_that_were_not_there_go_again(here: Rig) -> None:
    here.apply(confirm=30)
    assert here.path(NETWORK_FILE).exists()
    here.restore()
    assert not here.path(NETWORK_FILE).exists()
    assert here.path("etc/hostname").read_text() == "web-1\n"


def test_what_was_taken_back_is_not_applied_again(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.restore()
    for _ in range(2):
        assert configured.apply(boot=True) == 0
        assert b"1450" in configured.path(NETWORK_FILE).read_bytes()
    assert configured.report()["unchanged"] is True


def test_the_report_tells_of_what_was_taken_back(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.restore()
    configured.apply()
    assert configured.report()["kept"] == [KEPT]


def test_asking_again_applies_it(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.restore()
    configured.apply()
    assert configured.apply(confirm=30) == 0
    assert b"1400" in configured.path(NETWORK_FILE).read_bytes()


def test_another_change_is_applied(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.restore()
    configured.edit("1400", "1380")
    assert configured.apply() == 0
    assert b"1380" in configured.path(NETWORK_FILE).read_bytes()


def test_a_new_instance_gets_its_network(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.restore()
    meta = configured.drive / "openstack/latest/meta_data.json"
    meta.write_text(meta.read_text().replace("0c1a9b2e", "ffffffff"))
    assert configured.apply() == 0
    assert b"1400" in configured.path(NETWORK_FILE).read_bytes()


def test_no_other_run_while_a_change_waits(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.edit("1400", "1380")
    for arguments in ({}, {"confirm": 30}, {"boot": True}):
        assert configured.apply(**arguments) == defs.EXIT_TRY_AGAIN
    assert b"1400" in configured.path(NETWORK_FILE).read_bytes()


def test_a_start_of_the_system_takes_the_change_back(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.boot("2")
    assert configured.apply(boot=True) == 0
    assert b"1450" in configured.path(NETWORK_FILE).read_bytes()
    assert not configured.path(defs.ROLLBACK_FILE).exists()
    (problem,) = configured.report()["problems"]
    assert problem["severity"] == "warning"
    assert "not confirmed" in problem["reason"]


def test_a_run_that_is_killed_before_it_wrote_its_state_is_taken_back(
    configured: Rig, mocker: MockerFixture
) -> None:
    mocker.patch("guestagent.verbs.planning.verify", side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        configured.apply(confirm=30)
    mocker.stopall()
    assert b"1400" in configured.path(NETWORK_FILE).read_bytes()
    configured.restore()
    assert b"1450" in configured.path(NETWORK_FILE).read_bytes()
    assert configured.apply() == 0
    assert configured.report()["kept"] == [KEPT]


def test_without_a_way_back_nothing_changes(configured: Rig) -> None:
    before = rig.snapshot(configured.path("etc"))
    configured.status = 1
    assert configured.apply(confirm=30) == GuestagentError.status
    assert rig.differences(before, rig.snapshot(configured.path("etc"))) == set()
    assert not configured.path(defs.ROLLBACK_FILE).exists()
    assert "systemd-run" in str(configured.report()["problems"])


def test_a_run_that_leaves_the_network_alone_needs_no_way_back(here: Rig) -> None:
    here.apply()
    path = here.path("etc/hostname")
    path.unlink()
    meta = here.drive / "openstack/latest/meta_data.json"
    meta.write_text(meta.read_text().replace('"web-1', '"web-9'))
    assert here.apply(confirm=30) == 0
    assert (here.started, here.path(defs.ROLLBACK_FILE).exists()) == ([], False)


def test_a_file_that_an_administrator_removed_comes_back(configured: Rig) -> None:
    configured.apply(confirm=30)
    configured.path(NETWORK_FILE).unlink()
    assert configured.restore() == []
    assert b"1450" in configured.path(NETWORK_FILE).read_bytes()


_FILE = '{"path": "/etc/x", "old": null, "mode": null, "recorded": null}'
_DAMAGED = [
    *("", "{", "[]", "7", "{}", '{"boot": "", "files": [], "rejected": 7}'),
    '{"boot": "", "files": [7], "rejected": ""}',
    *(
        f'{{"boot": "", "files": [{_FILE.replace(*change)}], "rejected": ""}}'
        for change in (
            ('"/etc/x"', '"/etc/\\u0000"'),
            ('"old": null', '"old": "ü"'),
            ('"old": null', '"old": "eA=="'),
            ('"mode": null', '"mode": 99999999'),
            ('"recorded": null', '"recorded": 1'),
        )
    ),
]


@pytest.mark.parametrize("content", _DAMAGED, ids=range(len(_DAMAGED)))
def test_D10_a_damaged_record_stops_no_run(configured: Rig, content: str) -> None:
    configured.path(defs.ROLLBACK_FILE).write_text(content)
    assert configured.apply(boot=True) == 0
    assert not configured.path(defs.ROLLBACK_FILE).exists()
