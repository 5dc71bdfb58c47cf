"""Where a source is looked for, and in which order; on a made-up machine."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.errors import Problems, SourceBroken, WrongSource
from guestagent.sources import find
from guestagent.sources.bundle import Bundle
from guestagent.sources.directory import open_directory

NOTHING = find.Search(0.0, expected=False)


class Machine:
    """The parts of /proc, /sys, /dev and /run that the search looks at."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.waits: list[float] = []
        self.found_by_udev: list[str] = []
        self.broken: set[str] = set()

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
        bundle = find.find_drive(search, identify, read, problems)
        label = bundle.label if bundle else ""
        return label, [problem.source for problem in problems.problems]


def identify(bundle: Bundle) -> str | None:
    content = bundle.get("id", 100)
    return content.decode() if content else None


def read(bundle: Bundle) -> None:
    bundle.get("id", 100)
    bundle.get("more", 100)


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

    def open_device(device: str) -> Bundle:
        if device in made.broken:
            raise SourceBroken(f"{device}: input/output error")
        return Bundle(device, open_directory(device))

    monkeypatch.setattr(find, "open_device", open_device)
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
    machine.put("dmi/product_uuid", "B\n")
    assert machine.find() == (two, [one])


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


# Drives by their IDs, in the order of their names, and what becomes of them: the number of the one
# that is used, "differ" or "broken".  The machine's UUID is "own"; "!" begins a drive that cannot
# be read, and what follows a "+" is another document than its ID.
TWO = [
    (["own", "x"], 0),
    (["x", "own"], 1),
    (["x", "y", "own"], 2),
    (["x", "own", "y"], 1),
    (["", "own"], 1),
    (["own", "!own"], 0),
    (["!x", "own"], 1),
    (["!x", "!y", "own"], 2),
    (["own", "own"], 0),
    (["x", "own", "own"], 1),
    (["own+a", "own+a"], 0),
    (["own", "own+a"], "differ"),
    (["own+a", "own+b"], "differ"),
    (["x", "x"], 0),
    (["x+a", "x+a"], 0),
    (["x", "y"], "differ"),
    (["x", "x+a"], "differ"),
    (["x", "x", "y"], "differ"),
    (["", ""], 0),
    (["", "x"], "differ"),
    (["!x", "y"], "broken"),
    (["x", "!own"], "broken"),
    (["!x", "!y"], "broken"),
]


def _attach(machine: Machine, drives: list[str]) -> list[str]:
    """Attach drives, as udev finds them; returns their devices."""
    machine.put("dmi/product_name", "OpenStack Nova\n")
    for number, text in enumerate(drives):
        uuid, _, more = text.removeprefix("!").partition("+")
        device = machine.drive(f"vd{number}", uuid)
        if more:
            machine.put(f"dev/vd{number}/more", more)
        if text.startswith("!"):
            machine.broken.add(device)
        machine.found_by_udev.append(device)
    return machine.found_by_udev


@pytest.mark.parametrize(("drives", "outcome"), TWO)
def test_A1_the_machines_uuid_tells_drives_apart(
    machine: Machine, drives: list[str], outcome: int | str
) -> None:
    devices = _attach(machine, drives)
    machine.put("dmi/product_uuid", "OWN\n")
    if isinstance(outcome, int):
        label, warned = machine.find()
        assert label == devices[outcome]
        others = {
            f"config drive {device}" if device in machine.broken else device for device in devices
        }
        assert set(warned) == others - {label}
        return
    error = WrongSource if outcome == "differ" else SourceBroken
    with pytest.raises(error) as caught:
        machine.find()
    assert caught.value.status == (6 if outcome == "differ" else 3)
    if outcome == "differ":
        assert sum(device in str(caught.value) for device in devices) == 2


@pytest.mark.parametrize(
    ("drives", "outcome"), [row for row in TWO if "own" not in "".join(row[0])]
)
def test_A1_without_a_uuid_nothing_else_tells_them_apart(
    machine: Machine, drives: list[str], outcome: int | str
) -> None:
    devices = _attach(machine, drives)
    if isinstance(outcome, int):
        assert machine.find()[0] == devices[outcome]
    else:
        with pytest.raises((WrongSource, SourceBroken)):
            machine.find()
