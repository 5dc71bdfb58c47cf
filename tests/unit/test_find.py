"""Where a source is looked for, and in which order; on a made-up machine."""

from __future__ import annotations

import sys
import threading
import time
import types
from pathlib import Path

import pytest

from guestagent import defs
from guestagent.errors import Problems, SourceBroken, WrongSource
from guestagent.sources import find
from guestagent.sources.bundle import Bundle
from guestagent.sources.directory import open_directory
from guestagent.system.udev_monitor import Event

NOTHING = find.Search(0.0, expected=False)


class Machine:
    """The parts of /proc, /sys, /dev and /run that the search looks at."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.waits: list[float] = []
        self.found_by_udev: list[str] = []
        self.labels: dict[str, str] = {}  # of those, if it is another
        self.broken: set[str] = set()
        self.unread: dict[str, str] = {}  # types of file systems that are not read

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
        "CONTAINER_FILE": "container",
        "DMI_DIR": "dmi",
        "BLOCK_DIR": "block",
        "BUS_DIR": "bus",
        "SCSI_DEVICES": "scsi",
        "BY_LABEL_DIR": "by-label",
        "UDEV_DATA_DIR": "data",
        "UDEV_LINKS_DIR": "links",
        "UDEV_CONTROL": "control",
        "UDEV_QUEUE": "queue",
    }
    for name, place in places.items():
        monkeypatch.setattr(defs, name, str(tmp_path / place))

    def wait(labels: tuple[str, ...], seconds: types.FunctionType) -> list[find.Drive]:
        known = [find.Drive(find.rank(made.labels.get(node, "config-2"), labels) or 0, node)
                 for node in made.found_by_udev]  # fmt: skip
        made.waits.append(seconds(sorted(known)))
        return sorted(known)

    udev = types.ModuleType("guestagent.sources.udev")

    def listed(_: object, labels: tuple[str, ...]) -> list[find.Drive]:
        assert labels == defs.LABELS
        return [find.Drive(0, node) for node in made.found_by_udev]

    def unread(labels: tuple[str, ...]) -> list[Event]:
        assert set(labels) <= set(defs.LABELS)
        return [Event("block", "", "", made.labels.get(node, "cidata"), kind, node)
                for node, kind in made.unread.items()]  # fmt: skip

    udev.list_unread = unread  # type: ignore[attr-defined]
    udev.wait_for_drives = wait  # type: ignore[attr-defined]
    udev.list_drives = listed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "guestagent.sources.udev", udev)
    monkeypatch.setattr("guestagent.sources.udev", udev, raising=False)

    def open_device(device: str) -> Bundle:
        if device in made.broken:
            raise SourceBroken(f"{device}: input/output error")
        return Bundle(device, open_directory(device))

    monkeypatch.setattr("guestagent.sources.path.open_device", open_device)
    return made


def test_a_machine_without_a_drive_or_evidence_is_left_at_once(machine: Machine) -> None:
    machine.put("block/vda/dev", "254:0\n")
    machine.put("data/b254:0", "")
    machine.put("control", "")
    assert machine.find() == ("", [])
    assert machine.waits == []


@pytest.mark.parametrize("label", ["config-2", "CONFIG-2", "cidata", "CIDATA", "CIdata"])
def test_the_link_of_udev_is_the_fast_path(machine: Machine, label: str) -> None:
    device = machine.drive("vdb", "a", label)
    machine.claims(label, "b254:16")
    assert machine.find() == (device, [])
    assert machine.waits == []


def test_A1_a_loop_device_is_no_drive_nor_hides_one(machine: Machine) -> None:
    """A user may make one."""
    machine.drive("loop0", "a", "config-2")
    machine.claims("config-2", "b7:0")
    assert machine.find() == ("", [])
    assert find.linked_drives(defs.LABELS) == []
    hidden = machine.drive("vdb", "b")
    machine.claims("config-2", "b254:16")
    machine.found_by_udev = [hidden]
    assert machine.find() == (hidden, [])


class TestUnread:
    """Devices with the label of a drive, and another file system."""

    @staticmethod
    def put(machine: Machine, name: str, label: str, kind: str) -> str:
        """A device that udev knows, with no mark of a file system that is read."""
        device = machine.top / "dev" / name
        machine.put(f"dev/{name}", "x" * 40_000)
        link = machine.top / "by-label" / label
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(device)
        machine.claims(label, "b254:64")
        machine.unread[str(device)] = kind
        machine.labels[str(device)] = label
        return str(device)

    @pytest.mark.parametrize(
        ("label", "kind", "advice"),
        [
            ("cidata", "xfs", "make it as ISO 9660, VFAT or ext4, or"),
            ("CIDATA", "btrfs", "make it as ISO 9660, VFAT or ext4, or"),
            ("config-2", "ext4", "make it as ISO 9660 or VFAT, or"),
            ("config-2", "", "make it as ISO 9660 or VFAT, or"),
        ],
    )
    def test_A2_one_is_a_warning_and_no_drive(
        self, machine: Machine, label: str, kind: str, advice: str
    ) -> None:
        device = self.put(machine, "vde", label, kind)
        problems = Problems()
        assert find.find_drive(NOTHING, identify, read, problems) is None
        (problem,) = problems.problems
        assert (problem.severity, problem.source) == ("warning", f"config drive {device}")
        assert f"has the label {label.lower()}, and a file system of the type" in problem.reason
        assert f"of the type {kind or 'unknown'}, which is not read" in problem.reason
        assert advice in problem.reason
        assert machine.waits == [0.0]
        assert find.linked_drives(defs.LABELS) == []

    def test_A1_one_that_has_the_link_hides_no_drive(self, machine: Machine) -> None:
        used = machine.drive("vdb", "a")
        machine.found_by_udev = [used]
        other = self.put(machine, "vde", "cidata", "xfs")
        assert machine.find() == (used, [f"config drive {other}"])

    def test_A2_it_is_named_beside_the_drive_that_is_used(self, machine: Machine) -> None:
        used = machine.drive("vdb", "a", "config-2")
        machine.claims("config-2", "b254:16")
        machine.found_by_udev = [used]
        other = self.put(machine, "vde", "cidata", "xfs")
        machine.unread[used] = "not known yet"
        assert machine.find() == (used, [f"config drive {other}"])

    def test_A2_one_that_comes_while_udev_is_waited_for_is_named_too(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.put("block/vdc/dev", "254:32\n")
        machine.put("control", "")

        def wait(*_: object) -> list[find.Drive]:
            self.put(machine, "vde", "cidata", "xfs")
            return []

        monkeypatch.setattr(sys.modules["guestagent.sources.udev"], "wait_for_drives", wait)
        device = str(machine.top / "dev/vde")
        assert machine.find() == ("", [f"config drive {device}"])

    def test_without_one_udev_is_not_asked(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[object] = []
        module = sys.modules["guestagent.sources.udev"]
        monkeypatch.setattr(module, "list_unread", asked.append)
        machine.drive("vdb", "a", "cidata")
        machine.claims("cidata", "b254:16")
        machine.find()
        machine.find(NOTHING._replace(labels=()))
        assert asked == []


def test_a_link_that_two_devices_claim_is_not_trusted(machine: Machine) -> None:
    one, two = machine.drive("vdb", "a", "config-2"), machine.drive("vdc", "b")
    machine.claims("config-2", "b254:16", "b254:32")
    machine.found_by_udev = [one, two]
    machine.put("dmi/product_uuid", "B\n")
    assert machine.find() == (two, [one])


@pytest.mark.parametrize("label", ["config-2", "cidata"])
def test_A1_another_drive_is_waited_for_while_udev_is_behind(machine: Machine, label: str) -> None:
    """Which of two drives is used does not depend on which one udev has seen to first."""
    seed = machine.drive("vdb", "a", label)
    machine.claims(label, "b254:16")
    machine.put("block/vdc/dev", "254:32\n")
    machine.put("control", "")
    machine.found_by_udev = [seed]
    machine.labels[seed] = label
    assert machine.find() == (seed, [])
    assert machine.waits == [defs.UDEV_WAIT]
    machine.put("data/b254:32", "")
    assert machine.find() == (seed, [])
    assert machine.waits == [defs.UDEV_WAIT]


def test_a_device_that_the_kernel_hides_is_none_that_udev_sees_to(machine: Machine) -> None:
    """One path of several to an NVMe disk has no number."""
    seed = machine.drive("vdb", "a", "config-2")
    machine.claims("config-2", "b254:16")
    machine.put("control", "")
    machine.put("block/nvme0c0n1/size", "0\n")
    assert machine.find() == (seed, [])
    assert machine.waits == []


@pytest.mark.parametrize(
    ("entry", "is_waited_for"),
    [
        ("E:ID_CDROM=1\nE:ID_CDROM_MEDIA=1\n", True),
        ("E:ID_CDROM=1\nE:ID_CDROM_MEDIA=1\nE:ID_FS_TYPE=iso9660\n", False),
        ("E:ID_CDROM=1\n", False),  # it is empty
        ("E:ID_BUS=ata\n", True),  # of an initial RAM disk that has not looked into it
    ],
)
def test_A1_a_cd_is_waited_for_until_udev_has_seen_to_its_file_system(
    machine: Machine, entry: str, is_waited_for: bool
) -> None:
    """When udev first opens a CD-ROM drive, the kernel reports the medium as a change."""
    seed = machine.drive("vdb", "a", "config-2")
    machine.claims("config-2", "b254:16")
    machine.found_by_udev = [seed]
    machine.put("control", "")
    machine.put("block/sr0/dev", "11:0\n")
    machine.put("data/b11:0", entry)
    machine.put("queue", "")
    assert machine.find() == (seed, [])
    assert machine.waits == [defs.UDEV_BUSY_WAIT] * is_waited_for
    machine.waits.clear()
    (machine.top / "queue").unlink()  # a CD that has none
    assert machine.find() == (seed, [])
    assert machine.waits == []


def test_a_drive_that_is_known_ends_the_wait(machine: Machine) -> None:
    machine.put("dmi/product_name", "OpenStack Nova\n")
    patience = find._patience(NOTHING._replace(wait=12.0))
    assert patience([]) == 12.0
    assert patience([find.Drive(0, "vdb")]) == patience([find.Drive(1, "vdb")]) == 0.0


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        (("config-2", "cidata"), 1),
        (("cidata", "config-2"), 0),
        (("cidata",), 0),
        (("config-2",), 1),
        ((), None),
    ],
)
def test_the_settings_order_the_labels(
    machine: Machine, labels: tuple[str, ...], chosen: int | None
) -> None:
    devices = [machine.drive("vdb", "a", "cidata"), machine.drive("vdc", "b", "config-2")]
    machine.claims("cidata", "b254:16")
    machine.claims("config-2", "b254:32")
    machine.labels[devices[0]] = "cidata"
    machine.found_by_udev = devices if len(labels) == 2 else []
    found, warned = machine.find(NOTHING._replace(labels=labels))
    assert found == ("" if chosen is None else devices[chosen])
    assert warned == ([devices[1 - (chosen or 0)]] if len(labels) == 2 else [])


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
    while patience([]) < 2.2:  # as long as udev is at work, the end moves on
        time.sleep(0.01)
    queue.unlink()
    reached = patience([])
    time.sleep(0.05)
    assert patience([]) == reached
    assert find._patience(served._replace(wait=1.0))([]) == 1.0


BRIEF = NOTHING._replace(wait=12.0, has_service=lambda: True, idle=lambda: defs.UDEV_BRIEFLY_IDLE)


def test_where_it_is_looked_again_udev_need_not_be_idle_for_long(machine: Machine) -> None:
    machine.put("dmi/product_name", "OpenStack Nova\n")
    assert machine.find(BRIEF) == ("", [])
    assert defs.UDEV_BRIEFLY_IDLE <= machine.waits.pop() < defs.UDEV_IDLE
    # Where a drive is sure to come, or nobody else can be asked, it is waited for all the same.
    for sure in (BRIEF._replace(expected=True), BRIEF._replace(has_service=lambda: False)):
        assert machine.find(sure) == ("", [])
        assert machine.waits.pop() == 12.0


def test_A1_where_it_is_looked_again_udev_must_be_idle_for_long_while_usb_is_looked_at(
    machine: Machine,
) -> None:
    machine.put("dmi/product_name", "OpenStack Nova\n")
    machine.put("bus/usb/devices/1-1:1.0/bInterfaceClass", "08\n")
    assert machine.find(BRIEF) == ("", [])
    assert defs.UDEV_IDLE <= machine.waits.pop() < 12.0


def test_A1_where_it_is_looked_again_the_wait_ends_when_all_controllers_have_looked(
    machine: Machine,
) -> None:
    machine.put("dmi/product_name", "OpenStack Nova\n")
    machine.put("queue", "")  # udev is at work on what cannot bring a drive
    machine.put("bus/pci/devices/0000:00:1f.2/class", "0x010601\n")
    assert machine.find(BRIEF) == ("", [])
    assert machine.waits.pop() > 0
    machine.put("bus/pci/devices/0000:00:1f.2/driver/uevent", "")
    assert machine.find(BRIEF) == ("", [])
    assert machine.waits.pop() == 0
    # Nobody looks again after a longer wait.
    assert machine.find(BRIEF._replace(idle=lambda: defs.UDEV_IDLE)) == ("", [])
    assert machine.waits.pop() >= defs.UDEV_IDLE
    # What a controller has found is not known before udev has seen to it, and to what is in it,
    # whether udev has begun or not.
    machine.put("control", "")
    machine.put("block/sr0/dev", "11:0\n")
    assert machine.find(BRIEF) == ("", [])
    assert machine.waits.pop() > 0
    machine.put("data/b11:0", "E:ID_BUS=ata\n")
    (machine.top / "queue").unlink()
    assert machine.find(BRIEF) == ("", [])
    assert machine.waits.pop() >= defs.UDEV_BRIEFLY_IDLE
    machine.put("data/b11:0", "E:ID_CDROM=1\n")
    assert machine.find(BRIEF) == ("", [])
    assert machine.waits.pop() == 0


def test_where_sshd_lets_nobody_in_only_devices_that_are_there_are_waited_for(
    machine: Machine,
) -> None:
    machine.put("dmi/product_name", "OpenStack Nova\n")
    machine.put("queue", "")
    served = NOTHING._replace(wait=12.0, has_service=lambda: True, idle=lambda: 0.0)
    assert machine.find(served) == ("", [])
    assert machine.waits.pop() == 0.0
    machine.put("block/vda/dev", "254:0\n")
    machine.put("control", "")
    assert machine.find(served) == ("", [])
    assert machine.waits.pop() == defs.UDEV_BUSY_WAIT


class TestLateDrive:
    """What is there when a service has answered."""

    def test_A1_one_that_is_there_is_seen(self, machine: Machine) -> None:
        machine.found_by_udev = ["/dev/sr0"]
        assert find.came_late(defs.LABELS, time.monotonic())

    def test_A1_one_that_comes_is_waited_for(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(defs, "UDEV_IDLE", 30.0)
        threading.Timer(0.2, machine.found_by_udev.append, ["/dev/sr0"]).start()
        assert find.came_late(defs.LABELS, time.monotonic())

    def test_nothing_is_waited_for_where_the_answer_took_long(self, machine: Machine) -> None:
        before = time.monotonic()
        assert not find.came_late(defs.LABELS, before - defs.UDEV_IDLE)
        assert time.monotonic() - before < 1

    def test_A1_nothing_is_waited_for_where_all_drives_of_the_instance_are_known(
        self, machine: Machine
    ) -> None:
        machine.put("bus/pci/devices/0000:00:1f.2/class", "0x010601\n")
        machine.put("bus/pci/devices/0000:00:1f.2/driver/uevent", "")
        before = time.monotonic()
        assert not find.came_late(defs.LABELS, before, same_instance=True)
        assert time.monotonic() - before < defs.UDEV_IDLE
        # The answer may be about another instance; udev is at work; a controller has not looked.
        threading.Timer(0.3, machine.found_by_udev.append, ["/dev/sda"]).start()
        assert find.came_late(defs.LABELS, before)
        machine.found_by_udev.clear()
        machine.put("queue", "")
        threading.Timer(0.3, machine.found_by_udev.append, ["/dev/sda"]).start()
        assert find.came_late(defs.LABELS, before, same_instance=True)
        machine.found_by_udev.clear()
        (machine.top / "queue").unlink()
        (machine.top / "bus/pci/devices/0000:00:1f.2/driver/uevent").unlink()
        threading.Timer(0.3, machine.found_by_udev.append, ["/dev/sda"]).start()
        assert find.came_late(defs.LABELS, time.monotonic(), same_instance=True)

    def test_A1_udev_is_idle_as_long_as_where_nobody_looks_again(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(defs, "UDEV_IDLE", 0.6)
        queue = machine.top / "queue"
        queue.touch()
        threading.Timer(0.3, queue.unlink).start()
        before = time.monotonic()
        assert not find.came_late(defs.LABELS, before - 60)
        assert 0.8 <= time.monotonic() - before < 10

    def test_C7_not_for_ever(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        """udev may be busy with something else all the time."""
        monkeypatch.setattr(defs, "UDEV_WAIT", 0.2)
        (machine.top / "queue").touch()
        assert not find.came_late(defs.LABELS, time.monotonic())


def test_A3_a_drive_at_an_earlier_boot_counts_more_than_a_service(machine: Machine) -> None:
    known = NOTHING._replace(wait=12.0, expected=True, has_service=lambda: True)
    assert machine.find(known) == ("", [])
    assert machine.waits == [12.0]


def test_a_machine_whose_drive_was_taken_away_waits_until_udev_is_idle(machine: Machine) -> None:
    known = NOTHING._replace(wait=12.0, expected=True, keeps=lambda: True)
    assert machine.find(known) == ("", [])
    assert defs.UDEV_IDLE <= machine.waits.pop() < 12.0


def test_A3_other_hypervisors_are_no_evidence(machine: Machine) -> None:
    machine.put("dmi/product_name", "Standard PC (Q35 + ICH9, 2009)\n")
    machine.put("dmi/chassis_asset_tag", "OpenStack Novas\n")
    assert machine.find(NOTHING._replace(wait=12.0)) == ("", [])
    assert machine.waits == []


def test_a_device_udev_has_not_seen_yet_is_waited_for_shortly(machine: Machine) -> None:
    """udev need not have seen to any device, nor be known to be at work."""
    machine.put("block/vda/dev", "254:0\n")
    machine.put("block/loop0/dev", "7:0\n")
    machine.put("control", "")
    machine.find(NOTHING._replace(wait=12.0))
    assert machine.waits == [defs.UDEV_WAIT]


@pytest.mark.parametrize(("driver", "busy"), [(False, True), (True, True), (False, False)])
def test_a_cd_drive_is_waited_for_while_udev_may_load_its_driver(
    machine: Machine, driver: bool, busy: bool
) -> None:
    """It is no block device until then; many machines have one that is empty."""
    machine.put("control", "")
    (machine.top / "block").mkdir()
    machine.put("scsi/0:0:0:0/type", "0\n")
    machine.put("scsi/2:0:0:0/type", "5\n")
    if driver:
        machine.put("scsi/2:0:0:0/driver", "")
    if busy:
        machine.put("queue", "")
    machine.find(NOTHING._replace(wait=12.0))
    assert machine.waits == ([defs.UDEV_BUSY_WAIT] if busy and not driver else [])


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
