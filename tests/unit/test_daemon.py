"""The resident process: its loop with a monitor that tests fill, and what its start costs."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.daemon import main as daemon
from guestagent.daemon.agenda import CHECK, LATER, POLL, REFRESH
from guestagent.errors import Origin
from guestagent.system import resident, udev_monitor
from guestagent.system.jsontext import dumps
from guestagent.system.udev_monitor import Event, Missed

NIC = Event("net", "add", "/devices/pci0000:00/0000:00:03.0/net/enp0s3")
DRIVE = Event("block", "add", "/devices/pci0000:00/0000:00:09.0/block/vdb", "config-2", "vfat")
MAC, OTHER_MAC = "52:54:00:12:34:56", "52:54:00:12:34:99"
NOISE = Event("net", "add", "/devices/virtual/net/veth1")


class AtRestError(Exception):
    """The daemon would sleep until an event comes."""


class FakeMonitor:
    """A monitor that tests fill: its socket is ready while there are events."""

    def __init__(self, *_: str) -> None:
        self.events: list[Event | Missed] = []
        self._near, self._far = socket.socketpair()
        self.fd = self._near.fileno()

    def put(self, *events: Event | Missed) -> None:
        self.events += events
        self._far.send(b"x")

    def receive(self) -> Event | None:
        if not self.events:
            if select.select([self._near], [], [], 0)[0]:
                self._near.recv(1000)
            return None
        event = self.events.pop(0)
        if isinstance(event, Missed):
            raise event
        return event

    def close(self) -> None:
        self._near.close()
        self._far.close()


class Scene:
    """A daemon whose clock stands still unless it sleeps, and whose runs are only listed."""

    def __init__(self, tree: Path, mocker: MockerFixture) -> None:
        self.tree, self.clock = tree, 1000.0
        self.started: list[tuple[float, str]] = []
        self.told: list[str] = []
        self.status = 0
        self.ends: list[int] = []
        self.monitor = FakeMonitor()
        mocker.patch.object(defs, "REPORT_FILE", str(tree / "report.json"))
        mocker.patch.object(defs, "ANSWER_FILE", str(tree / "answer.json"))
        mocker.patch.object(defs, "UDEV_QUEUE", str(tree / "queue"))
        mocker.patch.object(resident, "now", self._now)
        mocker.patch.object(resident, "chance", return_value=0.5)
        mocker.patch.object(resident, "notify", self.told.append)
        mocker.patch.object(resident, "start", self._start)
        mocker.patch.object(resident, "end", self._end)
        mocker.patch.object(daemon, "poll", self._poller)

    def make(self, **wants: Any) -> daemon.Daemon:
        return daemon.Daemon(self.monitor, daemon.Wants(**wants))  # type: ignore[arg-type]

    def report(self, status: int) -> None:
        path = self.tree / "report.new"
        path.write_text(f'{{\n  "exit_status": {status},\n  "source": ""\n}}')
        path.rename(self.tree / "report.json")

    def _now(self) -> float:
        return self.clock

    def _poller(self) -> Any:
        scene, real = self, select.poll()

        class Poller:
            register = staticmethod(real.register)

            def poll(self, wait: float | None) -> list[Any]:
                if ready := real.poll(0):
                    return ready
                if wait is None:
                    raise AtRestError
                scene.clock += wait / 1000
                return []

        return Poller()

    def _start(self, name: str, arguments: tuple[str, ...]) -> tuple[int, int]:
        assert (name, arguments[0]) == ("systemctl", "start")
        self.started.append((self.clock, arguments[1]))
        reader, writer = os.pipe()
        os.close(writer)  # it ends at once
        return 0, reader

    def _end(self, _: int, fd: int) -> int:
        os.close(fd)
        return self.status

    def close(self) -> None:
        self.monitor.close()


@pytest.fixture
def scene(tmp_path: Path, mocker: MockerFixture) -> Iterator[Scene]:
    made = Scene(tmp_path, mocker)
    made.report(0)
    yield made
    made.close()


def run_until(one: daemon.Daemon, *, steps: int = 50) -> None:
    """Take steps until the daemon would sleep for ever."""
    for _ in range(steps):
        try:
            one.step()
        except AtRestError:
            return
    pytest.fail("it does not come to rest")


@pytest.mark.parametrize("event", [DRIVE, NIC])
def test_an_event_starts_one_run_of_the_unit(scene: Scene, event: Event) -> None:
    one = scene.make()
    scene.monitor.put(event, NOISE, event)
    run_until(one)
    times = [round(time - 1000) for time, _ in scene.started]
    # A metadata service may know a NIC a little later.
    assert times == ([1] if event is DRIVE else [1, 1 + round(LATER)])
    assert {unit for _, unit in scene.started} == {defs.REFRESH_UNIT}


def test_what_does_not_matter_starts_nothing(scene: Scene) -> None:
    one = scene.make()
    scene.monitor.put(NOISE, NOISE)
    run_until(one)
    assert scene.started == []


def test_D11_events_that_were_missed_are_made_up_for_by_a_run(scene: Scene) -> None:
    one = scene.make()
    scene.monitor.put(Missed())
    run_until(one)
    assert scene.started[0][1] == defs.REFRESH_UNIT


@pytest.mark.parametrize(("events", "seconds"), [(1, 1), (3, 3), (100, 4)])
def test_events_that_come_one_after_the_other_are_one_run(
    scene: Scene, events: int, seconds: int
) -> None:
    """Ten NICs take udev a while; a storm does not put the run off for ever."""
    one = scene.make()
    for _ in range(events):
        scene.monitor.put(DRIVE)
        one.step()
        if scene.started:
            break
    while not scene.started:
        one.step()
    assert round(scene.started[0][0] - 1000) == seconds


def test_a_drive_that_comes_while_a_run_is_due_in_minutes_is_read_at_once(scene: Scene) -> None:
    one = scene.make()
    scene.status = 1
    scene.monitor.put(DRIVE)
    while len(scene.started) < 6:
        one.step()
    while one._run:
        one.step()
    scene.status, begin = 0, scene.clock
    assert (one.agenda.wait(begin) or 0) > 200
    scene.monitor.put(DRIVE)
    run_until(one)
    assert [time - begin <= 6 for time, _ in scene.started[6:]] == [True]


def test_events_during_a_run_are_seen_after_it(scene: Scene) -> None:
    one = scene.make()
    scene.monitor.put(DRIVE)
    while not scene.started:
        one.step()
    scene.monitor.put(DRIVE)
    run_until(one)
    first, second = (time for time, _ in scene.started)
    assert second - first >= 5


def test_a_service_without_an_answer_is_asked_until_it_gives_one(scene: Scene) -> None:
    one = scene.make()
    scene.report(defs.EXIT_TRY_AGAIN)
    one.agenda.check_later(scene.clock)
    while len(scene.started) < 3:
        one.step()
    assert [round(time - 1000) for time, _ in scene.started] == [10, 30, 70]
    scene.report(0)
    run_until(one)
    assert len(scene.started) == 3


def test_the_answer_that_a_unit_of_the_boot_waits_for_is_not_cut_short(scene: Scene) -> None:
    one = scene.make()
    (scene.tree / "report.json").write_text(
        f'{{\n  "exit_status": 0,\n  "pending": ["{defs.LATER_UNIT}", "{defs.APPLY_UNIT}"]\n}}'
    )
    assert daemon._awaits_answer()
    one.agenda.check_later(scene.clock)
    while scene.clock < 1040:
        one.step()
    assert scene.started == []
    scene.report(defs.EXIT_TRY_AGAIN)
    while not scene.started:
        one.step()
    assert scene.started[0][1] == defs.REFRESH_UNIT


def test_the_service_is_asked_again_when_the_unit_of_the_boot_that_applies_was_killed(
    scene: Scene,
) -> None:
    """The report names it still, but among the problems: nobody waits for it any longer."""
    one = scene.make()
    killed = Origin("guestagent", defs.APPLY_UNIT, "").error("was killed")._asdict()
    found = {"exit_status": defs.EXIT_ERRORS, "problems": [killed], "pending": []}
    (scene.tree / "report.json").write_text(dumps(found))
    assert daemon._has_no_answer()
    assert not daemon._awaits_answer()
    one.agenda.check_later(scene.clock)
    while len(scene.started) < 2:
        one.step()
    assert [round(time - 1000) for time, _ in scene.started] == [10, 30]
    scene.report(0)
    run_until(one)
    assert len(scene.started) == 2


@pytest.mark.parametrize(("seconds", "begin"), [(2, 3), (60, 4)])
def test_a_run_waits_a_little_for_udev_which_is_still_at_work(
    scene: Scene, seconds: int, begin: int
) -> None:
    """It names NICs one after the other: what it will say of the next ones is for the same run."""
    one = scene.make()
    (scene.tree / "queue").touch()
    scene.monitor.put(DRIVE)
    while not scene.started:
        if scene.clock >= 1000 + seconds:
            (scene.tree / "queue").unlink(missing_ok=True)
        one.step()
    assert round(scene.started[0][0] - 1000) == begin


def test_what_a_killed_unit_has_left_of_an_answer_has_the_service_asked_again(
    scene: Scene,
) -> None:
    one, answer = scene.make(), scene.tree / "answer.json"
    scene.monitor.put(DRIVE)
    while not scene.started:
        one.step()
    answer.write_text("{}")
    while len(scene.started) < 3:
        one.step()
    # The first look takes it for that of a unit which is at work.
    assert [round(time - 1001) for time, _ in scene.started] == [0, 30, 70]
    answer.unlink()
    run_until(one)
    assert len(scene.started) == 3


def test_an_answer_that_still_comes_is_waited_for(scene: Scene) -> None:
    one, answer = scene.make(), scene.tree / "answer.json"
    scene.monitor.put(DRIVE)
    while scene.clock < 1080:
        one.step()
        answer.write_text(f"{scene.clock}")
        os.utime(answer, (scene.clock, scene.clock))
    assert len(scene.started) == 1
    answer.unlink()
    run_until(one)
    assert len(scene.started) == 1


def test_a_run_that_could_not_begin_is_made_later(scene: Scene) -> None:
    """The lock was held by a run by hand, or the run was killed: it has left no report."""
    one = scene.make()
    scene.status = 1
    scene.monitor.put(DRIVE)
    while len(scene.started) < 2:
        one.step()
    assert round(scene.started[1][0] - scene.started[0][0]) == 10
    assert any("it is made again in 10 s" in text for text in scene.told)
    scene.status = 0
    scene.told.clear()
    run_until(one)
    assert len(scene.started) == 2
    assert not any("made again" in text for text in scene.told)


def test_a_run_that_failed_and_says_so_is_not_repeated(scene: Scene, mocker: MockerFixture) -> None:
    one = scene.make()
    start = resident.start

    def fail(name: str, arguments: tuple[str, ...]) -> tuple[int, int]:
        scene.status = 1
        begun = start(name, arguments)
        scene.report(defs.EXIT_WRONG_SOURCE)
        return begun

    mocker.patch.object(resident, "start", fail)
    scene.monitor.put(DRIVE)
    run_until(one)
    assert len(scene.started) == 1


def test_polls_are_runs_of_their_own_unit(scene: Scene) -> None:
    one = scene.make(poll=60.0)
    while len(scene.started) < 2:
        one.step()
    assert [unit for _, unit in scene.started] == [defs.POLL_UNIT] * 2


def test_a_service_without_an_answer_is_not_polled_beside(scene: Scene) -> None:
    one = scene.make(poll=8.0)
    scene.report(defs.EXIT_TRY_AGAIN)
    while len(scene.started) < 2:
        one.step()
    times = [round(time - 1000) for time, _ in scene.started]
    assert times == [18, 38]  # what is due first looks whether there was an answer
    assert {unit for _, unit in scene.started} == {defs.REFRESH_UNIT}
    scene.report(0)
    while len(scene.started) < 3:
        one.step()
    assert scene.started[2][1] == defs.POLL_UNIT


def test_a_poll_between_a_nic_and_its_run_takes_no_second_run_from_it(scene: Scene) -> None:
    """A poll does not notice what Nova's metadata service knows of a NIC a little later."""
    one = scene.make(poll=3600.0)
    one.agenda.due[POLL] = scene.clock + 0.5
    scene.monitor.put(NIC)
    while len(scene.started) < 3:
        one.step()
    units = [unit for _, unit in scene.started]
    assert units == [defs.POLL_UNIT, defs.REFRESH_UNIT, defs.REFRESH_UNIT]
    assert round(scene.started[2][0] - scene.started[1][0]) == round(LATER)


def test_a_missing_systemctl_ends_nothing(scene: Scene, mocker: MockerFixture) -> None:
    one = scene.make()
    mocker.patch.object(resident, "start", side_effect=FileNotFoundError(2, "is not installed"))
    scene.monitor.put(DRIVE)
    run_until(one)
    assert REFRESH not in one.agenda.due


def test_systemd_is_told_what_is_waited_for_and_watches_while_something_is_done(
    scene: Scene,
) -> None:
    one = scene.make()
    scene.monitor.put(DRIVE)
    run_until(one)
    texts = [line.split("STATUS=")[1] for line in scene.told if "STATUS=" in line]
    assert texts[0] == "Listening"
    assert "Waiting for the end of a run" in texts
    assert any("in 1 s" in text for text in texts)
    # Before each sleep the watchdog is off, and on again after it.
    kinds = [line.partition("\n")[0] for line in scene.told]
    assert set(kinds[::2]) == {"WATCHDOG_USEC=0"}
    assert set(kinds[1::2]) == {"WATCHDOG_USEC=60000000"}


def test_D11_100_000_events_take_no_memory_and_no_descriptors(scene: Scene) -> None:
    one = scene.make()

    def storm(number: int) -> None:
        for _ in range(number):
            scene.monitor.put(*[NOISE] * 999, NIC)
            run_until(one)

    def used() -> tuple[int, int]:
        text = Path("/proc/self/statm").read_text().split()
        return int(text[1]) * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))

    storm(10)
    memory, descriptors = used()
    scene.told.clear()
    storm(90)
    scene.told.clear()
    after = used()
    assert after[1] == descriptors
    assert after[0] - memory <= 1 << 20


# NICs that the last run has seen to


def known_nic(scene: Scene, mocker: MockerFixture, macs: str = f'"{MAC}"') -> None:
    """Let the last run have configured the NIC of the event, which is there."""
    nic = scene.tree / "net/enp0s3"
    (nic / "device").mkdir(parents=True)
    (nic / "address").write_text(f"{MAC}\n")
    mocker.patch.object(defs, "NET_DIR", str(scene.tree / "net"))
    mocker.patch.object(defs, "STATE_FILE", str(scene.tree / "state.json"))
    text = f'{{"watched": ["{nic}/address"], "macs": [{macs}]}}'
    (scene.tree / "state.json").write_text(text)


def test_a_nic_of_the_last_run_whose_driver_is_loaded_late_is_no_change(
    scene: Scene, mocker: MockerFixture
) -> None:
    known_nic(scene, mocker)
    one = scene.make()
    scene.monitor.put(NIC)
    run_until(one)
    assert scene.started == []


@pytest.mark.parametrize(
    "event", [NIC._replace(action="remove"), DRIVE, Missed()], ids=["went", "drive", "missed"]
)
def test_what_comes_beside_a_nic_of_the_last_run_is_one(
    scene: Scene, mocker: MockerFixture, event: Event | Missed
) -> None:
    known_nic(scene, mocker)
    attach_drive(scene, mocker)
    one = scene.make()
    scene.monitor.put(event, NIC)
    run_until(one)
    assert [unit for _, unit in scene.started] == [defs.REFRESH_UNIT]


@pytest.mark.parametrize("case", ["by-names", "another-mac", "another-nic"])
def test_a_nic_that_the_last_run_has_not_seen_to_is_one(
    scene: Scene, mocker: MockerFixture, case: str
) -> None:
    known_nic(scene, mocker, "" if case == "by-names" else f'"{MAC}"')
    attach_drive(scene, mocker)
    if case == "another-mac":
        (scene.tree / "net/enp0s3/address").write_text("52:54:00:00:00:09\n")
    if case == "another-nic":
        (scene.tree / "net/enp0s4/device").mkdir(parents=True)
        (scene.tree / "net/enp0s4/address").write_text(f"{MAC}\n")
    one = scene.make()
    scene.monitor.put(NIC)
    run_until(one)
    assert [unit for _, unit in scene.started] == [defs.REFRESH_UNIT]


def attach_drive(scene: Scene, mocker: MockerFixture) -> None:
    """Let udev know a config drive: one run is then enough for a NIC."""
    mocker.patch.object(defs, "UDEV_LINKS_DIR", str(scene.tree / "links"))
    claims = scene.tree / "links/disk\\x2fby-label\\x2fconfig-2"
    claims.mkdir(parents=True)
    (claims / "b11:0").touch()


def test_a_nic_that_came_before_the_start_has_a_second_run_too(
    scene: Scene, mocker: MockerFixture
) -> None:
    """As one has that comes later: the metadata service may know it only then."""
    known_nic(scene, mocker)
    (scene.tree / "net/enp0s4/device").mkdir(parents=True)
    mocker.patch.object(defs, "SETTINGS_FILE", str(scene.tree / "none"))
    mocker.patch.object(defs, "SETTINGS_DROPINS", str(scene.tree / "none"))
    mocker.patch.object(defs, "UDEV_LINKS_DIR", str(scene.tree / "links"))
    mocker.patch.object(daemon, "Monitor", return_value=scene.monitor)
    with pytest.raises(AtRestError):
        daemon.main()
    assert [round(time - 1000) for time, _ in scene.started] == [1, 1 + round(LATER)]


# What is there when the daemon starts


@pytest.fixture
def guest(tmp_path: Path, mocker: MockerFixture) -> Path:
    """A guest whose last run has looked at one NIC, and configured by a drive."""
    for name in ("net/enp0s3/device", "net/lo", "links"):
        (tmp_path / name).mkdir(parents=True)
    mocker.patch.object(defs, "NET_DIR", str(tmp_path / "net"))
    mocker.patch.object(defs, "UDEV_LINKS_DIR", str(tmp_path / "links"))
    mocker.patch.object(defs, "STATE_FILE", str(tmp_path / "state.json"))
    mocker.patch.object(defs, "REPORT_FILE", str(tmp_path / "report.json"))
    paths = [f"{tmp_path}/net/{name}" for name in ("enp0s3/device", "enp0s3/address", "lo/device")]
    words = ",\n".join(f'    "{path}"' for path in paths)
    (tmp_path / "state.json").write_text(f'{{"watched": [\n{words}\n  ]}}')
    (tmp_path / "report.json").write_text('{\n  "source": "config drive /dev/vdb"\n}')
    return tmp_path


def has_changed(**wants: bool) -> bool:
    return daemon._has_changed(daemon.Wants(**wants))


def attach(guest: Path, label: str) -> Path:
    """Let udev know a drive with a label, and return the folder of those that claim its link."""
    claims = guest / "links" / f"disk\\x2fby-label\\x2f{label}"
    claims.mkdir()
    (claims / "b11:0").touch()
    os.utime(claims, (1000, 1000))  # before the report
    return claims


def test_A1_a_loop_device_is_no_drive(guest: Path) -> None:
    (attach(guest, "config-2") / "b11:0").rename(
        guest / "links/disk\\x2fby-label\\x2fconfig-2/b7:0"
    )
    assert not daemon._has_drive()


def test_without_a_change_nothing_is_started(guest: Path) -> None:
    attach(guest, "config-2")
    assert not has_changed()


def test_a_nic_that_came_between_the_boot_and_the_start_is_seen(guest: Path) -> None:
    (guest / "net/enp0s4/device").mkdir(parents=True)
    assert has_changed()
    assert not has_changed(nics=False)


@pytest.mark.parametrize("name", ["\u00e4", "\udcff", "a\x1bb"])
def test_a_nic_whose_name_is_not_utf_8_or_ascii_is_known_again(guest: Path, name: str) -> None:
    """The state is JSON, in which such characters are escapes."""
    (guest / "net" / name / "device").mkdir(parents=True)
    assert has_changed()
    paths = [f"{guest}/net/{each}/address" for each in ("enp0s3", name)]
    (guest / "state.json").write_text(dumps({"watched": paths}))
    assert not has_changed()


def test_a_nic_that_went_between_the_boot_and_the_start_is_seen(guest: Path) -> None:
    (guest / "net/enp0s3/device").rmdir()
    assert has_changed()


@pytest.mark.parametrize(
    ("macs", "mac", "assigned", "is_seen"),
    [
        ((MAC,), MAC.upper(), 0, False),
        ((MAC,), OTHER_MAC, 0, True),
        ((MAC,), OTHER_MAC, 3, False),  # set by a program, as a bond does
        ((), OTHER_MAC, 0, False),
    ],
    ids=["the same", "another", "below a bond", "by names"],
)
def test_a_nic_that_took_the_place_and_the_name_of_another_is_seen(
    guest: Path, macs: tuple[str, ...], mac: str, assigned: int, is_seen: bool
) -> None:
    state = {"watched": [f"{guest}/net/enp0s3/address"], "macs": macs}
    (guest / "state.json").write_text(dumps(state))
    (guest / "net/enp0s3/address").write_text(f"{mac}\n")
    (guest / "net/enp0s3/addr_assign_type").write_text(f"{assigned}\n")
    assert has_changed() == is_seen
    assert not has_changed(nics=False)


def test_a_drive_that_came_between_the_boot_and_the_start_is_seen(guest: Path) -> None:
    (guest / "report.json").write_text('{\n  "source": "metadata service x"\n}')
    assert not has_changed()
    attach(guest, "other")
    assert not has_changed()
    claims = attach(guest, "CONFIG-2")
    assert has_changed()
    assert not has_changed(drives=False)
    (claims / "b11:0").unlink()
    assert not has_changed()


def test_a_drive_that_came_after_the_last_run_is_seen_by_a_machine_that_has_one(
    guest: Path,
) -> None:
    """Its own run may have been killed with the daemon, and left no report."""
    claims = attach(guest, "config-2")
    assert not has_changed()
    later = (guest / "report.json").stat().st_mtime + 1
    os.utime(claims, (later, later))
    assert has_changed()
    assert not has_changed(drives=False)


def test_a_run_that_was_killed_with_the_daemon_is_made_again(
    guest: Path, mocker: MockerFixture
) -> None:
    """It may have removed the file of a NIC that went, and is there again."""
    mocker.patch.object(defs, "RELOAD_FILE", str(guest / "reload.json"))
    assert not has_changed()
    (guest / "reload.json").touch()
    assert has_changed()
    assert has_changed(nics=False)


def test_nothing_is_looked_for_in_dev_which_the_unit_hides() -> None:
    unit = (rig.REPOSITORY / "systemd/guestagentd.service").read_text()
    assert "PrivateDevices=yes" in unit
    source = (rig.REPOSITORY / "guestagent/daemon/main.py").read_text()
    names = set(re.findall(r"defs\.([A-Z_]+)", source))
    assert not [name for name in names if str(getattr(defs, name)).startswith("/dev")]


def test_a_guest_that_was_never_configured_has_no_change(guest: Path) -> None:
    (guest / "state.json").unlink()
    (guest / "net/enp0s4/device").mkdir(parents=True)
    assert not has_changed()


@pytest.mark.parametrize(
    ("text", "wants"),
    [
        ("", daemon.Wants()),
        ("#[daemon]\n#poll = 5\n", daemon.Wants()),
        ("[daemon]\npoll = 30\nnics = false\n", daemon.Wants(nics=False, poll=30.0)),
        ("daemon = {drives = false}\n", daemon.Wants(drives=False)),
        ("[daemon]\npoll = 'never'\n", daemon.Wants()),
    ],
)
def test_settings_are_read_by_a_child(
    tmp_path: Path, mocker: MockerFixture, text: str, wants: daemon.Wants
) -> None:
    path = tmp_path / "guestagent.toml"
    path.write_text(text)
    mocker.patch.object(defs, "SETTINGS_FILE", str(path))
    mocker.patch.object(defs, "SETTINGS_DROPINS", str(tmp_path / "none"))
    assert daemon.read_settings() == wants


# The process


_START = "import sys; sys.path.insert(0, sys.argv[1]); from guestagent.daemon.main import main; "
_TOLD = "print(*sorted(sys.modules)); "


def process(code: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-ISB", "-c", code, str(rig.REPOSITORY)]
    return subprocess.run(argv, capture_output=True, text=True, check=True)


def test_its_start_imports_nothing_that_is_dear() -> None:
    loaded = process(_START + _TOLD).stdout.split()
    own = {name for name in loaded if name.startswith("guestagent")}
    assert not {"os", "re", "socket", "typing", "ctypes", "pyudev", "collections"} & set(loaded)
    assert len(own) <= 10, own


def test_libudev_has_all_that_is_called_and_its_monitor_says_nothing_here() -> None:
    """There is no udevd here: what udev says comes in a guest."""
    code = f"{_START}from guestagent.system.udev_monitor import Monitor; "
    done = process(f"{code}m = Monitor('net', 'block'); print(m.fd > 2, m.receive())")
    assert done.stdout == "True None\n"


@pytest.mark.parametrize("error", [105, 0, 11])
def test_D11_an_overflow_of_the_socket_is_told_apart(mocker: MockerFixture, error: int) -> None:
    monitor = udev_monitor.Monitor.__new__(udev_monitor.Monitor)
    monitor._monitor = 0
    monitor._functions = {"udev_monitor_receive_device": lambda _: None}
    mocker.patch("guestagent.system.udev_monitor._ctypes.get_errno", return_value=error)
    if error == 105:  # ENOBUFS
        with pytest.raises(Missed):
            monitor.receive()
    else:
        assert monitor.receive() is None


def test_sigterm_ends_it_at_once() -> None:
    argv = [sys.executable, "-ISB", "-c", f"{_START}main()", str(rig.REPOSITORY)]
    reader, address = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), "\0guestagent-test"
    reader.bind(address)
    reader.settimeout(20)
    with subprocess.Popen(argv, env={"NOTIFY_SOCKET": f"@{address[1:]}"}) as running:
        assert reader.recv(100) == b"READY=1"
        assert reader.recv(100).startswith(b"WATCHDOG_USEC=0\nSTATUS=Listening")
        begin = time.monotonic()
        running.send_signal(signal.SIGTERM)
        running.wait(10)
        assert time.monotonic() - begin < 5
    reader.close()


def test_a_program_is_started_and_its_end_is_seen() -> None:
    pid, fd = resident.start("false", ())
    assert select.select([fd], [], [], 10)[0] == [fd]
    assert resident.end(pid, fd) == 1
    with pytest.raises(FileNotFoundError):
        resident.start("no-such-program", ())


def test_files_that_cannot_be_read_are_empty(tmp_path: Path) -> None:
    assert resident.content(str(tmp_path)) == b""
    assert resident.content(str(tmp_path / "none")) == b""
    assert resident.identity(str(tmp_path / "none")) == (0, 0)
    assert resident.listing(str(tmp_path / "none")) == []
    assert CHECK != POLL
