"""``guestagent refresh``: what a running system takes over of its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import defs
from guestagent.daemon import main as daemon

from . import documents
from .documents import FIVE, KEY, META, NETWORK, USER
from .lab import Lab, Machine, Run, Scene
from .test_boot import KEYS, NIC, OTHER

SECOND = "/etc/systemd/network/zz-guestagent-nic525400000102.network"


def refresh(scene: Scene, *options: str) -> Run:
    """What the units do: ``--confined`` leaves a request, and has two others run again."""
    scene.service.forget()
    agent = scene.machine.lab.guest.agent
    request = scene.machine.path(defs.REQUEST_FILE)
    request.unlink(missing_ok=True)
    run = agent("refresh", "--confined", *options)
    if run.status or not request.exists():
        return run
    fetched = agent("fetch", "--source", defs.REQUEST_FILE)
    scene.machine.path(defs.ANSWER_FILE).write_bytes(fetched.out)
    return agent("apply", "--fetched")


class Drive:
    """The machine's drive, as a directory that the kernel command line names."""

    def __init__(self, machine: Machine, tree: Path) -> None:
        self.machine, self.tree = machine, tree
        machine.lab.space.put("cmdline", f"{defs.SOURCE_ARGUMENT}{tree} {defs.CLOUD_ARGUMENT}none")
        self.meta = documents.meta_data()
        self.say(documents.network_data())

    def say(self, network: dict[str, Any], user_data: str = "", **meta: Any) -> None:
        """Write the drive again."""
        folder = self.tree / "openstack/latest"
        folder.mkdir(parents=True, exist_ok=True)
        self.meta |= meta
        (folder / "meta_data.json").write_text(json.dumps(self.meta))
        (folder / "network_data.json").write_text(json.dumps(network))
        (folder / "user_data").write_text(user_data)

    def boot(self) -> None:
        (run,) = self.machine.boot()
        assert run.status == 0, run.err

    def refresh(self) -> Run:
        return self.machine.lab.guest.agent("refresh")

    def text(self, path: str) -> str:
        return self.machine.path(path).read_text()


@pytest.fixture
def drive(machine: Machine, lab: Lab, tmp_path: Path) -> Drive:
    lab.link()
    made = Drive(machine, tmp_path / "drive")
    made.boot()
    return made


def test_C1_keys_and_name_of_the_service_are_taken_over(configured: Scene) -> None:
    meta = {**documents.meta_data(hostname="late"), "public_keys": {"b": OTHER}, "keys": []}
    configured.say({META: json.dumps(meta)})
    assert refresh(configured).status == 0
    assert configured.text("/etc/hostname") == "late\n"
    assert OTHER in configured.text(KEYS)
    assert KEY not in configured.text(KEYS)
    assert configured.service.paths() == list(FIVE)


def test_without_a_change_nothing_is_written_not_even_a_report(configured: Scene) -> None:
    before = rig.snapshot(configured.machine.tree / "run/guestagent")
    kept = configured.snapshot()
    assert refresh(configured).status == 0
    assert configured.service.paths() == [META, NETWORK]
    assert rig.differences(kept, configured.snapshot()) == set()
    after = rig.snapshot(configured.machine.tree / "run/guestagent")
    assert before["/report.json"] == after["/report.json"]


def test_a_run_that_leaves_a_request_tells_of_its_errors(configured: Scene) -> None:
    """The daemon repeats a run that fails and writes no report, as one that could not begin."""
    settings = configured.machine.path(defs.SETTINGS_FILE)
    text = settings.read_text() if settings.exists() else ""
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"{text}[nonsense]\n")
    before = configured.machine.path(defs.REPORT_FILE).stat().st_ino
    agent = configured.machine.lab.guest.agent
    assert agent("refresh", "--confined").status == defs.EXIT_ERRORS
    assert configured.machine.path(defs.REQUEST_FILE).exists()
    assert configured.machine.path(defs.REPORT_FILE).stat().st_ino != before
    (problem,) = configured.machine.report()["problems"]
    assert problem["key"] == "nonsense"


def test_an_error_leaves_the_report_once_it_is_over(configured: Scene) -> None:
    configured.hurry()
    configured.service.say({"steps": {"*": [{"status": 503}]}})
    assert refresh(configured).status == defs.EXIT_TRY_AGAIN
    assert configured.machine.report()["exit_status"] == defs.EXIT_TRY_AGAIN
    configured.say({})
    assert refresh(configured).status == 0
    assert configured.machine.report()["exit_status"] == 0


def test_a_first_boot_is_finished_when_the_service_is_there(scene: Scene) -> None:
    scene.hurry()
    scene.service.say({"steps": {"*": [{"status": 503}]}})
    assert scene.boot() == [0, 0, defs.EXIT_TRY_AGAIN]
    scene.say({USER: "#!/bin/sh\n"})
    assert refresh(scene).status == 0
    assert scene.machine.report()["first_boot"]
    assert KEY in scene.text(KEYS)
    assert "DHCP=no" in scene.text(NIC)
    assert list(scene.machine.path(defs.STATE_DIR).glob("late/*"))


def test_A1_the_service_of_another_instance_is_not_obeyed(configured: Scene) -> None:
    before = configured.snapshot()
    other = documents.UUID.replace("0", "9")
    configured.say({META: json.dumps(documents.meta_data(uuid=other, hostname="other"))})
    assert refresh(configured).status == defs.EXIT_WRONG_SOURCE
    assert rig.differences(before, configured.snapshot()) == set()


def test_a_poll_without_a_change_is_one_request(configured: Scene) -> None:
    before = configured.snapshot()
    for _ in range(2):
        assert refresh(configured, "--poll").status == 0
        assert configured.service.paths() == [META]
        assert rig.differences(before, configured.snapshot()) == set()
    # Nothing of it is forgotten: the next boot asks and finds what it would have.
    assert configured.boot() == [0, 0, 0]
    assert configured.service.paths() == [META, NETWORK]


def test_C1_a_poll_takes_over_keys_and_all_else_that_may_change(configured: Scene) -> None:
    meta = {**documents.meta_data(), "public_keys": {"b": OTHER}, "keys": []}
    network = json.dumps(documents.network_data("192.0.2.77"))
    configured.say({META: json.dumps(meta), NETWORK: network})
    assert refresh(configured, "--poll").status == 0
    assert (OTHER in configured.text(KEYS), KEY in configured.text(KEYS)) == (True, False)
    assert "192.0.2.77/24" in configured.text(NIC)
    assert configured.service.paths() == list(FIVE)


def test_a_poll_after_somebody_changed_a_file_takes_nothing_for_gone(configured: Scene) -> None:
    network = configured.text(NIC)
    configured.machine.path("/etc/group").touch()
    assert refresh(configured, "--poll").status == 0
    assert configured.service.paths() == [META, NETWORK]
    assert configured.text(NIC) == network
    assert refresh(configured, "--poll").status == 0
    assert configured.service.paths() == [META]


def test_a_machine_that_had_a_drive_is_never_asked_for_by_a_poll(drive: Drive, lab: Lab) -> None:
    state = drive.machine.path(defs.STATE_FILE)
    assert '"source": "seed"' in state.read_text()
    state.write_text(state.read_text().replace('"source": "seed"', '"source": "drive"'))
    drive.machine.lab.space.put("cmdline", f"{defs.CLOUD_ARGUMENT}openstack")
    assert drive.machine.lab.guest.agent("refresh", "--confined", "--poll").status == 0
    assert not drive.machine.path(defs.REQUEST_FILE).exists()


def test_a_new_nic_that_the_drive_describes_gets_its_addresses(drive: Drive, lab: Lab) -> None:
    first = drive.machine.path(NIC).stat()
    lab.link()
    network = documents.network_data()
    more: Any = documents.network_data("198.51.100.7", "52:54:00:00:01:02")
    more["links"][0]["id"] = more["networks"][0]["link"] = "tap1"
    more["networks"][0]["id"] = "network1"
    drive.say({key: [*network[key], *more[key]] for key in network})  # type: ignore[misc]
    run = drive.refresh()
    assert "Address=198.51.100.7/24" in drive.text(SECOND.replace("zz-", "10-")), run.err
    # Nothing of the other NIC is touched, so that networkd keeps its addresses.
    now = drive.machine.path(NIC).stat()
    assert (first.st_ino, first.st_mtime_ns) == (now.st_ino, now.st_mtime_ns)


def test_a_new_nic_that_the_drive_does_not_describe_gets_a_lease(drive: Drive, lab: Lab) -> None:
    lab.link()
    drive.refresh()
    assert "DHCP=ipv4" in drive.text(SECOND)
    assert "RouteMetric=20000" in drive.text(SECOND)


def test_the_files_of_a_nic_that_is_gone_go(drive: Drive, lab: Lab) -> None:
    lab.link()
    drive.refresh()
    lab.space.sh("ip link delete enp0s4")
    lab.space.show_links()
    drive.refresh()
    assert not drive.machine.path(SECOND).exists()
    assert drive.machine.path(NIC).exists()


@pytest.mark.parametrize("manage", [True, False])
def test_a_new_nic_gets_a_lease_without_any_source(drive: Drive, lab: Lab, manage: bool) -> None:
    before = drive.text(NIC)
    drive.machine.lab.space.put("cmdline", f"{defs.CLOUD_ARGUMENT}none")
    if not manage:
        text = "[drive]\nwait = 0\n[network]\nother_nics = false\n"
        drive.machine.path(defs.SETTINGS_FILE).write_text(text)
    lab.link()
    drive.refresh()
    assert drive.text(NIC) == before
    assert drive.machine.path(SECOND).exists() == manage
    if manage:
        assert "DHCP=ipv4" in drive.text(SECOND)
        # The next run with the source knows the file.
        drive.machine.lab.space.put("cmdline", f"{defs.SOURCE_ARGUMENT}{drive.tree}")
        drive.boot()
        assert "DHCP=ipv4" in drive.text(SECOND)


def test_without_any_source_too_the_file_of_a_nic_that_is_gone_goes(drive: Drive, lab: Lab) -> None:
    before = drive.text(NIC)
    drive.machine.lab.space.put("cmdline", f"{defs.CLOUD_ARGUMENT}none")
    lab.link()
    drive.refresh()
    lab.space.sh("ip link delete enp0s4; ip link delete enp0s3")
    lab.space.show_links()
    drive.refresh()
    assert not drive.machine.path(SECOND).exists()
    assert drive.text(NIC) == before, "only its drive can tell that this NIC is not to come back"


def nics_in_state(drive: Drive) -> set[bytes]:
    """The NICs that the last run has looked at, as the daemon reads them."""
    return daemon._nics_in(drive.machine.path(defs.STATE_FILE).read_bytes())


def test_what_a_killed_run_without_a_source_has_written_is_remembered_by_the_next(
    drive: Drive, lab: Lab
) -> None:
    drive.machine.lab.space.put("cmdline", f"{defs.CLOUD_ARGUMENT}none")
    state = drive.machine.path(defs.STATE_FILE)
    before = state.read_text()
    lab.link()
    agent = drive.machine.lab.guest.agent
    agent("refresh", "--confined")
    assert drive.machine.path(defs.RELOAD_FILE).exists()
    state.write_text(before)  # as if it had been killed when the file of the NIC was written
    agent("refresh", "--confined")
    assert SECOND in state.read_text()
    lab.space.sh("ip link delete enp0s4")
    lab.space.show_links()
    drive.refresh()
    assert not drive.machine.path(SECOND).exists()


@pytest.mark.parametrize("is_left", [True, False])
def test_a_run_without_a_change_begins_the_reload_that_is_left(
    drive: Drive, tmp_path: Path, is_left: bool
) -> None:
    """One that did not end in time, or was killed again and again."""
    programs, told = tmp_path / "programs", tmp_path / "told"
    programs.mkdir()
    (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{told}\n')
    (programs / "systemctl").chmod(0o755)
    if is_left:
        drive.machine.path(defs.RELOAD_FILE).write_text("[]")
    agent = drive.machine.lab.guest.agent
    run = agent("refresh", "--confined", limits={"PROGRAM_DIRS": [str(programs)]})
    assert run.status == 0, run.err
    words = told.read_text() if told.exists() else ""
    assert words == (f"--no-block restart {defs.RELOAD_UNIT}\n" if is_left else "")


@pytest.mark.parametrize("others", [True, False])
def test_a_run_without_a_source_remembers_which_nics_there_are(
    drive: Drive, lab: Lab, others: bool
) -> None:
    """Otherwise each start of the daemon would begin with a needless run."""
    text = f"[drive]\nwait = 0\n[network]\nother_nics = {str(others).lower()}\n"
    drive.machine.path(defs.SETTINGS_FILE).write_text(text)
    drive.machine.lab.space.put("cmdline", f"{defs.CLOUD_ARGUMENT}none")
    lab.link()
    drive.refresh()
    assert nics_in_state(drive) == {b"enp0s3", b"enp0s4"}
    lab.space.sh("ip link delete enp0s4")
    lab.space.show_links()
    drive.refresh()
    assert nics_in_state(drive) == {b"enp0s3"}
    state = drive.machine.path(defs.STATE_FILE).stat()
    drive.refresh()
    assert drive.machine.path(defs.STATE_FILE).stat().st_ino == state.st_ino


def test_at_boot_without_a_source_nics_that_came_and_went_are_seen_to(
    drive: Drive, lab: Lab
) -> None:
    before = drive.text(NIC)
    drive.machine.lab.space.put("cmdline", f"{defs.CLOUD_ARGUMENT}none")
    lab.link()
    drive.boot()
    assert "DHCP=ipv4" in drive.text(SECOND)
    lab.space.sh("ip link delete enp0s4")
    lab.space.show_links()
    drive.boot()
    assert not drive.machine.path(SECOND).exists()
    assert drive.text(NIC) == before
    assert nics_in_state(drive) == {b"enp0s3"}


def test_a_run_with_errors_too_remembers_which_nics_there_are(drive: Drive, lab: Lab) -> None:
    lab.link()
    drive.say(documents.network_data("192.0.2.300"))
    assert drive.refresh().status == defs.EXIT_ERRORS
    assert nics_in_state(drive) == {b"enp0s3", b"enp0s4"}


def test_a_run_that_withholds_something_remembers_which_nics_there_are(
    drive: Drive, lab: Lab
) -> None:
    """The daemon would take a NIC that comes again, whose file has gone, for a known one."""
    lab.link()
    drive.refresh()
    text = "#cloud-config\nwrite_files: [{path: /etc/new, content: x}]\n"
    drive.say(documents.network_data(), text)
    state = drive.machine.path(defs.STATE_FILE)
    macs = '"macs": ["52:54:00:00:01:01", "52:54:00:00:01:02"]'
    state.write_text(state.read_text().replace('"macs": []', macs))
    for _ in range(2):
        drive.refresh()
        assert nics_in_state(drive) == {b"enp0s3", b"enp0s4"}
        assert b'"52:54:00:00:01:02"' in state.read_bytes()
    lab.space.sh("ip link delete enp0s4")
    lab.space.show_links()
    drive.refresh()
    assert not drive.machine.path(SECOND).exists()
    assert nics_in_state(drive) == {b"enp0s3"}
    assert b'"52:54:00:00:01:02"' not in state.read_bytes()
    drive.boot()
    assert drive.text("/etc/new") == "x"


def test_A1_a_drive_changes_access_alone_while_the_system_runs(drive: Drive) -> None:
    text = "#cloud-config\nwrite_files: [{path: /etc/new, content: x}]\nruncmd: [touch /x]\n"
    drive.say(documents.network_data(), text, hostname="late", public_keys={"b": OTHER}, keys=[])
    for _ in range(2):
        run = drive.refresh()
        assert run.status == 0, run.err
        assert drive.text("/etc/hostname") == "late\n"
        assert OTHER in drive.text(KEYS)
        assert KEY not in drive.text(KEYS)
        assert not drive.machine.path("/etc/new").exists()
        assert not list(drive.machine.path(defs.STATE_DIR).glob("*/*"))
        told = [item["reason"] for item in drive.machine.report()["problems"]]
        assert any("/etc/new: is not applied to the running system" in text for text in told)
    # All of it was withheld, and none of it is forgotten.
    drive.boot()
    assert drive.text("/etc/new") == "x"


def test_A1_the_drive_of_another_instance_is_reported_and_not_obeyed(drive: Drive) -> None:
    scene = rig.snapshot(drive.machine.tree / "etc")
    other = documents.UUID.replace("0", "9")
    drive.say(documents.network_data(), hostname="other", uuid=other)
    assert drive.refresh().status == defs.EXIT_WRONG_SOURCE
    assert drive.machine.report()["exit_status"] == defs.EXIT_WRONG_SOURCE
    assert rig.differences(scene, rig.snapshot(drive.machine.tree / "etc")) == set()
    settings = "[drive]\nwait = 0\n[daemon]\nnew_instance = true\n"
    drive.machine.path(defs.SETTINGS_FILE).write_text(settings)
    assert drive.refresh().status == 0
    assert drive.text("/etc/hostname") == "other\n"
    assert drive.machine.report()["first_boot"]


def test_A1_a_running_system_is_not_configured_by_a_stranger_s_drive(
    machine: Machine, lab: Lab, tmp_path: Path
) -> None:
    lab.link()
    drive = Drive(machine, tmp_path / "drive")
    drive.say(documents.network_data(), uuid=documents.UUID.replace("0", "9"))
    assert drive.refresh().status == defs.EXIT_WRONG_SOURCE
    assert not drive.machine.path(KEYS).exists()
    drive.say(documents.network_data(), uuid=documents.UUID)
    drive.refresh()
    assert KEY in drive.text(KEYS)


def test_a_drive_that_was_ejected_is_no_error(drive: Drive) -> None:
    before = rig.snapshot(drive.machine.tree / "etc")
    drive.machine.lab.space.put("cmdline", f"{defs.CLOUD_ARGUMENT}openstack")
    state = drive.machine.path(defs.STATE_FILE)
    assert '"source": "seed"' in state.read_text()
    state.write_text(state.read_text().replace('"source": "seed"', '"source": "drive"'))
    run = drive.refresh()
    assert (run.status, rig.differences(before, rig.snapshot(drive.machine.tree / "etc"))) == (
        0,
        set(),
    )


def test_D6_a_refresh_beside_another_run_waits_or_says_so(configured: Scene) -> None:
    lock = str(configured.machine.path(defs.LOCK_FILE))
    run = configured.machine.lab.guest.agent("refresh", wrapped=("flock", lock))
    assert run.status == defs.EXIT_TRY_AGAIN
    assert "another run is going on" in run.err
