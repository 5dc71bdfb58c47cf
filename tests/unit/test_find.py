"""Where a source is looked for, and in which order; on a made-up machine."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.errors import Problems
from guestagent.sources import find
from guestagent.sources.bundle import Bundle
from guestagent.sources.directory import open_directory

NOTHING = find.Search(0.0, None, False)


class Machine:
    """The parts of /proc, /sys, /dev and /run that the search looks at."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.waits: list[float] = []
        self.found_by_udev: list[str] = []

    def put(self, name: str, text: str) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def drive(self, name: str, uuid: str, label: str = "") -> str:
        """A device; with a label, udev made its link."""
        device = self.top / "dev" / name
        device.mkdir(parents=True)
        self.put(f"dev/{name}/id", uuid)
        if label:
            link = self.top / "by-label" / label
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(device)
        return str(device)

    def claims(self, label: str, *names: str) -> None:
        for name in names:
            self.put(f"links/by-label\\x2f{label}/{name}", "")

    def find(self, search: find.Search = NOTHING) -> tuple[str, list[str]]:
        """The label of what is found, and the warnings."""
        problems = Problems()
        bundle = find.find_drive(search, identify, problems)
        label = bundle.label if bundle else ""
        return label, [problem.source for problem in problems.problems]


def identify(bundle: Bundle) -> str | None:
    content = bundle.get("id", 100)
    return content.decode() if content else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    places = {
        "KERNEL_COMMAND_LINE": "cmdline",
        "DMI_DIR": "dmi",
        "BLOCK_DIR": "block",
        "SCSI_DEVICES": "scsi",
        "BY_LABEL_DIR": "by-label",
        "UDEV_DATA_DIR": "data",
        "UDEV_LINKS_DIR": "links",
    }
    for name, place in places.items():
        monkeypatch.setattr(defs, name, str(tmp_path / place))

    def wait(seconds: types.FunctionType) -> list[str]:
        made.waits.append(seconds())
        return made.found_by_udev

    udev = types.ModuleType("guestagent.sources.udev")
    udev.wait_for_drive = wait  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "guestagent.sources.udev", udev)
    monkeypatch.setattr("guestagent.sources.udev", udev, raising=False)
    monkeypatch.setattr(find, "open_device", lambda device: Bundle(device, open_directory(device)))
    return made


def test_a_machine_without_a_drive_or_evidence_is_left_at_once(machine: Machine) -> None:
    machine.put("block/vda/dev", "254:0\n")
    machine.put("data/b254:0", "")
    assert machine.find() == ("", [])
    assert machine.waits == []


@pytest.mark.parametrize("label", ["config-2", "CONFIG-2"])
def test_the_link_of_udev_is_the_fast_path(machine: Machine, label: str) -> None:
    device = machine.drive("vdb", "a", label)
    machine.claims(label, "b254:16")
    assert machine.find() == (device, [])
    assert machine.waits == []


def test_a_link_that_two_devices_claim_is_not_trusted(machine: Machine) -> None:
    one, two = machine.drive("vdb", "a", "config-2"), machine.drive("vdc", "b")
    machine.claims("config-2", "b254:16", "b254:32")
    machine.found_by_udev = [one, two]
    assert machine.find() == (one, [two])


def test_without_udevs_claims_its_database_is_asked(machine: Machine) -> None:
    device = machine.drive("vdb", "a", "config-2")
    assert machine.find() == (device, [])  # the link is all there is
    assert machine.waits == [0.0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dmi/product_name", "OpenStack Nova\n"),
        ("dmi/product_name", "OpenStack Compute\n"),
        ("dmi/chassis_asset_tag", "OpenTelekomCloud\n"),
    ],
)
def test_A3_with_evidence_it_waits_as_long_as_set(machine: Machine, name: str, text: str) -> None:
    machine.put(name, text)
    assert machine.find(NOTHING._replace(wait=12.0)) == ("", [])
    assert machine.waits == [12.0]


def test_A3_a_drive_at_an_earlier_boot_is_evidence(machine: Machine) -> None:
    assert machine.find(NOTHING._replace(wait=12.0, expected=True)) == ("", [])
    assert machine.waits == [12.0]


def test_A3_with_a_service_to_ask_it_waits_until_udev_is_idle(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = machine.top / "queue"
    monkeypatch.setattr(defs, "UDEV_QUEUE", str(queue))
    monkeypatch.setattr(defs, "UDEV_IDLE", 2.0)
    machine.put("dmi/product_name", "OpenStack Nova\n")
    served = NOTHING._replace(wait=12.0, has_service=lambda: True)
    assert machine.find(served) == ("", [])
    assert 2.0 <= machine.waits.pop() < 12.0
    queue.touch()
    patience = find._patience(served)
    while patience() < 2.2:  # as long as udev is at work, the end moves on
        time.sleep(0.01)
    queue.unlink()
    reached = patience()
    time.sleep(0.05)
    assert patience() == reached
    assert find._patience(served._replace(wait=1.0))() == 1.0


def test_A3_a_drive_at_an_earlier_boot_counts_more_than_a_service(machine: Machine) -> None:
    known = NOTHING._replace(wait=12.0, expected=True, has_service=lambda: True)
    assert machine.find(known) == ("", [])
    assert machine.waits == [12.0]


def test_A3_other_hypervisors_are_no_evidence(machine: Machine) -> None:
    machine.put("dmi/product_name", "Standard PC (Q35 + ICH9, 2009)\n")
    machine.put("dmi/chassis_asset_tag", "OpenStack Novas\n")
    assert machine.find(NOTHING._replace(wait=12.0)) == ("", [])
    assert machine.waits == []


def test_a_device_udev_has_not_seen_yet_is_waited_for_shortly(machine: Machine) -> None:
    machine.put("block/vda/dev", "254:0\n")
    machine.put("block/loop0/dev", "7:0\n")
    (machine.top / "data").mkdir()
    machine.find(NOTHING._replace(wait=12.0))
    assert machine.waits == [defs.UDEV_WAIT]


class TestTwoDrives:
    """One deterministic choice; the other is named."""

    @pytest.fixture
    def two(self, machine: Machine) -> list[str]:
        machine.put("dmi/product_name", "OpenStack Nova\n")
        machine.found_by_udev = [machine.drive("vdb", "aaa"), machine.drive("vdc", "bbb")]
        return machine.found_by_udev

    def test_the_machines_uuid_decides(self, machine: Machine, two: list[str]) -> None:
        machine.put("dmi/product_uuid", "BBB\n")
        assert machine.find(NOTHING._replace(known="aaa")) == (two[1], [two[0]])

    def test_else_the_known_instance(self, machine: Machine, two: list[str]) -> None:
        assert machine.find(NOTHING._replace(known="bbb")) == (two[1], [two[0]])

    def test_else_the_first_by_name(self, machine: Machine, two: list[str]) -> None:
        assert machine.find(NOTHING._replace(known="ccc")) == (two[0], [two[1]])
