"""Whole boots of a guest without a drive: ask, apply, and what later boots find."""

from __future__ import annotations

import json

import pytest
import rig

from guestagent import defs

from . import documents
from .documents import FIVE, KEY, META, NETWORK, USER, VENDOR2
from .lab import Lab, Machine, Run, Service, documents_and

NIC = "/etc/systemd/network/10-guestagent-nic525400000101.network"
KEYS = "/home/debian/.ssh/authorized_keys"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBnXGPTYVDg0mLdLYgdTFrcN7pSYKlXwWmDlj3cNdXZ5 other"
SHORT = "[drive]\nwait = 0\n[metadata]\nwait = 1\n"
_DAY = 86400


class Scene:
    """A machine and its service."""

    def __init__(self, machine: Machine, service: Service) -> None:
        self.machine, self.service = machine, service

    def boot(self) -> list[int]:
        """Exit statuses of what ran at a boot, with an empty log before."""
        self.service.forget()
        self.runs: list[Run] = self.machine.boot()
        return [run.status for run in self.runs]

    def text(self, path: str) -> str:
        """A file of the guest."""
        return self.machine.path(path).read_text()

    def say(self, changed: dict[str, str | None]) -> None:
        """Let the service say something else from now on."""
        self.service.say({"documents": documents_and(changed)})

    def hurry(self) -> None:
        """Wait a second for the service, no longer."""
        self.machine.path(defs.SETTINGS_FILE).write_text(SHORT)

    def snapshot(self) -> dict[str, rig.Entry]:
        """The guest's files, without those of the agent itself."""
        found = rig.snapshot(self.machine.tree)
        return {name: entry for name, entry in found.items() if "/guestagent" not in name}


@pytest.fixture
def scene(machine: Machine, lab: Lab) -> Scene:
    return Scene(machine, lab.serve(lab.link()))


@pytest.fixture
def configured(scene: Scene) -> Scene:
    assert scene.boot() == [0, 0, 0], scene.runs
    return scene


def test_a_first_boot_ends_configured(configured: Scene) -> None:
    assert configured.text("/etc/hostname") == "web-1\n"
    assert KEY in configured.text(KEYS)
    network = configured.text(NIC)
    assert "Address=192.0.2.10/24" in network
    assert "DHCP=no" in network
    report = configured.machine.report()
    assert report["first_boot"]
    assert report["instance_id"] == documents.UUID
    assert report["source"] == "metadata service http://169.254.169.254%enp0s3"
    assert configured.service.paths() == list(FIVE)


def test_the_early_stage_gives_a_new_guest_the_means_to_ask(scene: Scene) -> None:
    scene.hurry()
    scene.service.say({"steps": {"*": [{"status": 503}]}})
    assert scene.boot() == [0, 0, defs.EXIT_TRY_AGAIN]
    assert "DHCP=ipv4" in scene.text(NIC)
    assert not scene.machine.path(KEYS).exists()
    # The next boot is still the first one of the instance.
    scene.say({})
    assert scene.boot() == [0, 0, 0]
    assert scene.machine.report()["first_boot"]
    assert "DHCP=no" in scene.text(NIC)
    assert KEY in scene.text(KEYS)


def test_the_early_stage_has_no_socket_to_the_network(scene: Scene) -> None:
    scene.boot()
    for run in (scene.runs[0], scene.runs[2]):
        loaded = {"requests", "urllib3", "socket", "guestagent.sources.service"} & set(run.loaded)
        assert loaded == set()


def test_an_unchanged_boot_is_two_requests_and_no_change(configured: Scene) -> None:
    before = configured.snapshot()
    assert configured.boot() == [0, 0, 0]
    assert configured.service.paths() == [META, NETWORK]
    assert configured.machine.report()["unchanged"]
    assert rig.differences(before, configured.snapshot()) == set()
    assert configured.boot() == [0, 0, 0]
    assert configured.service.paths() == [META, NETWORK]


def test_C7_a_service_that_is_gone_leaves_everything_as_it_is(configured: Scene) -> None:
    configured.hurry()
    before = configured.snapshot()
    configured.service.say({"steps": {"*": [{"status": 503}]}})
    for _ in range(2):
        assert configured.boot() == [0, 0, defs.EXIT_TRY_AGAIN]
        assert rig.differences(before, configured.snapshot()) == set()
    (problem,) = configured.machine.report()["problems"]
    assert "HTTP status 503" in problem["reason"]
    assert "the configuration of 20" in problem["reason"]
    assert configured.machine.report()["instance_id"] == documents.UUID
    # Then it is back, and nothing has changed.
    configured.say({})
    assert configured.boot() == [0, 0, 0]
    assert configured.service.paths() == [META, NETWORK]
    assert rig.differences(before, configured.snapshot()) == set()


def test_the_report_tells_how_old_the_configuration_is(configured: Scene) -> None:
    configured.hurry()
    path = configured.machine.path(defs.STATE_FILE)
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "time": state["time"] - 40 * _DAY - 60}))
    configured.service.say({"steps": {"*": [{"status": 503}]}})
    configured.boot()
    assert "stays, 40 days old" in configured.machine.report()["problems"][0]["reason"]


def test_a_changed_network_is_applied_at_the_next_boot(configured: Scene) -> None:
    configured.say({NETWORK: json.dumps(documents.network_data("192.0.2.77"))})
    assert configured.boot() == [0, 0, 0]
    assert configured.service.paths() == list(FIVE)
    assert "192.0.2.77/24" in configured.text(NIC)
    assert not configured.machine.report()["first_boot"]
    assert configured.boot() == [0, 0, 0]
    assert configured.service.paths() == [META, NETWORK]


def test_what_an_administrator_changed_is_seen_without_asking_for_all(configured: Scene) -> None:
    configured.machine.path(NIC).write_text("[Match]\nName=x\n")
    assert configured.boot() == [0, 0, 0]
    assert configured.service.paths() == [META, NETWORK]
    assert configured.machine.report()["kept"] == [NIC]
    assert configured.text(NIC) == "[Match]\nName=x\n"


def test_injected_files_outlast_boots_that_do_not_ask_for_them(scene: Scene) -> None:
    listed = [{"path": "/etc/app.conf", "content_path": "/content/0000"}]
    meta = json.dumps({**documents.meta_data(), "files": listed})
    scene.say({META: meta, "/openstack/content/0000": "a = 1\n"})
    assert scene.boot() == [0, 0, 0], scene.runs
    scene.machine.path("/etc/hostname").write_text("another\n")
    assert scene.boot() == [0, 0, 0], scene.runs
    assert (scene.service.paths(), scene.text("/etc/app.conf")) == ([META, NETWORK], "a = 1\n")
    assert scene.machine.report()["problems"] == []


def test_a_service_without_network_data_keeps_the_network(configured: Scene) -> None:
    before = configured.text(NIC)
    configured.say({NETWORK: None})
    assert configured.boot()[:2] == [0, 0]
    assert configured.text(NIC) == before


def test_C1_a_machine_that_is_still_itself_takes_no_other_instance(configured: Scene) -> None:
    before = configured.snapshot()
    other = documents.meta_data("11111111-2222-4333-8444-555555555555", "evil")
    configured.say({META: json.dumps(other)})
    assert configured.boot() == [0, 0, defs.EXIT_WRONG_SOURCE]
    assert rig.differences(before, configured.snapshot()) == set()


def test_a_copy_of_the_disk_on_another_machine_is_a_new_instance(
    configured: Scene, lab: Lab
) -> None:
    uuid = "22222222-2222-4333-8444-555555555555"
    lab.space.dmi(product_uuid=uuid)
    configured.say({META: json.dumps(documents.meta_data(uuid, "copy"))})
    assert configured.boot() == [0, 0, 0]
    assert configured.machine.report()["first_boot"]
    assert configured.text("/etc/hostname") == "copy\n"


def test_a_guest_that_had_a_drive_does_not_ask_a_service(configured: Scene) -> None:
    path = configured.machine.path(defs.STATE_FILE)
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "drive": True}))
    assert configured.boot() == [0]
    assert configured.service.log() == []
    assert "stays" in configured.runs[0].err


def test_a_guest_that_had_a_drive_asks_the_service_that_somebody_names(
    configured: Scene, lab: Lab
) -> None:
    path = configured.machine.path(defs.STATE_FILE)
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "drive": True}))
    configured.service.forget()
    limits = {"LOADED": ["encodings.idna", "guestagent.sources.service", "encodings.ascii"]}
    run = lab.guest.agent("apply", "--source", "http://169.254.169.254", limits=limits)
    assert run.status == 0, run.err
    assert configured.service.paths() == list(FIVE)


def test_user_data_alone_is_not_asked_for_again(configured: Scene) -> None:
    configured.say({USER: "#!/bin/sh\nexit 1\n"})
    configured.boot()
    assert USER not in configured.service.paths()


def test_cloud_config_holds_when_the_tree_has_changed(scene: Scene) -> None:
    scene.say({USER: f"#cloud-config\nfqdn: mine.example.org\nssh_authorized_keys: ['{OTHER}']\n"})
    assert scene.boot() == [0, 0, 0]
    keys = scene.text(KEYS)
    assert OTHER in keys
    assert scene.boot() == [0, 0, 0]
    assert scene.machine.report()["unchanged"]
    assert scene.service.paths() == list(FIVE)  # what user data says is compared as well
    scene.machine.path("/etc/hosts").write_text("127.0.0.1 localhost\n")
    scene.machine.path("/etc/group").touch()
    assert scene.boot() == [0, 0, 0]
    assert (scene.text("/etc/hostname"), scene.text(KEYS)) == ("mine\n", keys)


def test_an_answer_that_is_none_changes_nothing(configured: Scene, lab: Lab) -> None:
    before = configured.snapshot()
    told = {"url": "", "documents": {}, "unchanged": False, "requests": 0, "again": False}
    told |= {"failed": {}, "wrong": False}
    for content in ("", "{", "[]", '{"url": 7}', json.dumps({**told, "error": "\x1b[31m\nx"})):
        configured.machine.path(defs.ANSWER_FILE).write_text(content)
        run = lab.guest.agent("apply", "--fetched")
        assert run.status == defs.EXIT_SOURCE_BROKEN
        assert "\x1b" not in run.err
        assert run.err.count("\n") == 2
        assert rig.differences(before, configured.snapshot()) == set()


def test_without_an_answer_nothing_changes(configured: Scene, lab: Lab) -> None:
    configured.machine.path(defs.ANSWER_FILE).unlink()
    run = lab.guest.agent("apply", "--fetched")
    assert run.status == defs.EXIT_TRY_AGAIN
    assert "nothing was fetched" in run.err


def test_a_dry_run_by_hand_shows_the_same_and_changes_nothing(scene: Scene, lab: Lab) -> None:
    scene.machine.boot()
    scene.say({NETWORK: json.dumps(documents.network_data("192.0.2.77"))})
    before = rig.snapshot(scene.machine.tree)
    limits = {"LOADED": ["encodings.idna", "guestagent.sources.service", "encodings.ascii"]}
    run = lab.guest.agent("apply", "--dry-run", limits=limits)
    assert run.status == defs.EXIT_CHANGES, run.err
    assert b"192.0.2.77" in run.out
    assert rig.differences(before, rig.snapshot(scene.machine.tree)) == set()


BUSY, FORBIDDEN = {"status": 500}, {"status": 403}
CONFIG = f"#cloud-config\nssh_authorized_keys: ['{OTHER}']\n"


def _told(scene: Scene) -> list[tuple[str, str]]:
    """Documents and reasons of the errors of the last run."""
    problems = scene.machine.report()["problems"]
    return [(item["document"], item["reason"]) for item in problems if item["severity"] == "error"]


@pytest.mark.parametrize(
    ("path", "step"),
    [(USER, BUSY), (USER, FORBIDDEN), (VENDOR2, FORBIDDEN), (VENDOR2, {"status": 400})],
)
def test_C7_a_first_boot_does_without_a_document_that_fails_for_good(
    scene: Scene, path: str, step: dict[str, int]
) -> None:
    scene.hurry()
    tree = documents_and({USER: CONFIG})
    scene.service.say({"documents": tree, "steps": {path: [step]}})
    assert scene.boot() == [0, 0, defs.EXIT_ERRORS]
    assert scene.text("/etc/hostname") == "web-1\n"
    assert KEY in scene.text(KEYS)
    assert "Address=192.0.2.10/24" in scene.text(NIC)
    later = "the rest is applied, and this document is asked for again at the next boot"
    name = path.rpartition("/")[2]
    assert _told(scene) == [(name, f"HTTP status {step['status']}; {later}")]
    # The next boot asks for it, and applies it.
    scene.service.say({"documents": tree})
    assert scene.boot() == [0, 0, 0]
    assert path in scene.service.paths()
    assert {KEY, OTHER} <= set(scene.text(KEYS).splitlines())


def test_C7_a_first_boot_without_network_data_keeps_its_leases(scene: Scene) -> None:
    scene.service.say({"steps": {NETWORK: [FORBIDDEN]}})
    assert scene.boot() == [0, 0, defs.EXIT_ERRORS]
    assert (scene.text("/etc/hostname"), KEY in scene.text(KEYS)) == ("web-1\n", True)
    assert "DHCP=ipv4" in scene.text(NIC)
    scene.say({})
    assert scene.boot() == [0, 0, 0]
    assert "Address=192.0.2.10/24" in scene.text(NIC)


@pytest.mark.parametrize("path", [USER, VENDOR2, NETWORK])
def test_C7_a_known_instance_keeps_what_a_document_gave_that_fails_now(
    scene: Scene, path: str
) -> None:
    scene.hurry()
    tree = documents_and({USER: CONFIG})
    scene.service.say({"documents": tree})
    assert scene.boot() == [0, 0, 0], scene.runs
    before = scene.snapshot()
    scene.service.say({"documents": tree, "steps": {path: [BUSY]}})
    for _ in range(2):
        assert scene.boot() == [0, 0, defs.EXIT_ERRORS]
        assert rig.differences(before, scene.snapshot()) == set()
    assert _told(scene)[0][1].startswith("HTTP status 500; ")
    scene.service.say({"documents": tree})
    assert scene.boot() == [0, 0, 0]
    assert rig.differences(before, scene.snapshot()) == set()
