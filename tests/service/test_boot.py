"""Whole boots of a guest without a drive: ask, apply, and what later boots find."""

from __future__ import annotations

import json

import pytest
import rig

from guestagent import defs

from . import documents
from .documents import FIVE, KEY, META, NETWORK, USER, VENDOR2
from .lab import Lab, Machine, Scene, documents_and

NIC = "/etc/systemd/network/10-guestagent-nic525400000101.network"
KEYS = "/home/debian/.ssh/authorized_keys"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBnXGPTYVDg0mLdLYgdTFrcN7pSYKlXwWmDlj3cNdXZ5 other"
_DAY = 86400


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


def test_A1_a_drive_that_came_while_the_service_was_asked_goes_before_its_answer(
    scene: Scene,
) -> None:
    machine, agent = scene.machine, scene.machine.lab.guest.agent
    request, answer = (machine.path(path) for path in (defs.REQUEST_FILE, defs.ANSWER_FILE))
    assert agent("apply", "--boot").status == 0
    answer.write_bytes(agent("fetch", "--source", defs.REQUEST_FILE).out)
    assert request.exists()
    drives = {"DRIVES": {"/dev/sr0": {"ID_FS_LABEL": "config-2", "ID_FS_TYPE": "iso9660"}}}
    assert agent("apply", "--fetched", limits=drives).status == defs.EXIT_TRY_AGAIN
    (problem,) = machine.report()["problems"]
    assert problem["reason"].startswith("a config drive came after the metadata service was asked")
    assert not machine.path(KEYS).exists()
    assert not answer.exists()
    # A device of another kind is none.
    answer.write_bytes(agent("fetch", "--source", defs.REQUEST_FILE).out)
    drives["DRIVES"]["/dev/sr0"]["ID_FS_TYPE"] = "ext4"
    assert agent("apply", "--fetched", limits=drives).status == 0
    assert KEY in scene.text(KEYS)


def test_asking_the_link_s_service_loads_nothing_dear_that_it_does_not_need(
    configured: Scene,
) -> None:
    """Neither OpenSSL, nor codecs for names, nor what opens the guest's files."""
    configured.boot()
    unused = {"ssl", "_ssl", "queue", "encodings.idna", "stringprep"}
    unused |= {"guestagent.system.root", "guestagent.sources.documents"}
    assert not unused & set(configured.runs[1].loaded)


def test_where_a_service_says_nothing_new_nothing_of_planning_is_imported(
    configured: Scene,
) -> None:
    configured.boot()
    assert configured.machine.report()["unchanged"]
    for number, most in ((0, 40), (2, 33)):
        own = [name for name in configured.runs[number].loaded if name.startswith("guestagent.")]
        rooms = {name.split(".")[1] for name in own}
        assert rooms & {"facts", "parse", "plan", "desired", "commit", "model"} == set(), own
        assert not {"guestagent.verbs.change", "guestagent.memory.applied"} & set(own), own
        assert len(own) <= most, own


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
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    scene.machine.path("/etc/hostname").write_text("another\n")
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
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


def test_C1_a_guest_that_had_a_drive_does_not_ask_a_service(configured: Scene) -> None:
    path = configured.machine.path(defs.STATE_FILE)
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "source": "drive"}))
    assert configured.boot() == [0]
    assert configured.service.log() == []
    assert "stays" in configured.runs[0].err


def test_a_guest_that_had_a_drive_asks_the_service_that_somebody_names(
    configured: Scene, lab: Lab
) -> None:
    path = configured.machine.path(defs.STATE_FILE)
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "source": "drive"}))
    configured.service.forget()
    limits = {"LOADED": ["encodings.idna", "guestagent.sources.service", "encodings.ascii"]}
    run = lab.guest.agent("apply", "--source", "http://169.254.169.254", limits=limits)
    assert run.status == 0, run.err
    assert configured.service.paths() == list(FIVE)
    # What was named by hand need not be there at the next boot: that searches for all.
    assert json.loads(path.read_text())["source"] == ""


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


def test_C7_a_first_boot_that_could_not_read_all_is_completed_once(scene: Scene) -> None:
    """What it could not read may ask for anything; after that the limits of later boots hold."""
    text = f"{CONFIG}write_files: [{{path: /etc/new, content: x}}]\n"
    tree = documents_and({USER: text})
    scene.service.say({"documents": tree, "steps": {USER: [FORBIDDEN]}})
    assert scene.boot() == [0, 0, defs.EXIT_ERRORS]
    scene.service.say({"documents": tree})
    assert scene.boot() == [0, 0, 0]
    assert scene.text("/etc/new") == "x"
    scene.say({USER: text.replace("/etc/new", "/etc/later")})
    assert scene.boot() == [0, 0, 0]
    assert not scene.machine.path("/etc/later").exists()


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
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    before = scene.snapshot()
    scene.service.say({"documents": tree, "steps": {path: [BUSY]}})
    for _ in range(2):
        assert scene.boot() == [0, 0, defs.EXIT_ERRORS]
        assert rig.differences(before, scene.snapshot()) == set()
    assert _told(scene)[0][1].startswith("HTTP status 500; ")
    scene.service.say({"documents": tree})
    assert scene.boot() == [0, 0, 0]
    assert rig.differences(before, scene.snapshot()) == set()


# What somebody who answers in place of the service would like to have, in every document.
_EVIL = f"""\
#cloud-config
fqdn: evil.example.org
ssh_authorized_keys: ['{OTHER}']
disable_root: false
ssh_pwauth: true
users: [default, {{name: evil, ssh_authorized_keys: ['{OTHER}']}}]
chpasswd: {{users: [{{name: debian, password: evil, type: text}}]}}
write_files:
- {{path: /etc/evil, content: x}}
- {{path: /etc/netplan/90-guestagent.yaml, content: x}}
manage_resolv_conf: true
resolv_conf: {{nameservers: [192.0.2.66]}}
timezone: Asia/Tokyo
bootcmd: [touch /evil]
runcmd: [touch /evil]
"""


def _evil() -> dict[str, str | None]:
    """Documents that ask for everything, also in the places of access."""
    listed = [{"path": "/etc/evil.conf", "content_path": "/content/0000"}]
    meta = {**documents.meta_data(hostname="late"), "admin_pass": "evil", "files": listed}
    return {
        META: json.dumps({**meta, "public_keys": {"a": KEY, "b": OTHER}}),
        NETWORK: json.dumps(documents.network_data("192.0.2.77")),
        USER: _EVIL,
        VENDOR2: json.dumps({"cloud-init": "#!/bin/sh\ntouch /evil\n"}),
        "/openstack/content/0000": "evil\n",
    }


_ACCESS = {"/etc/hostname", "/etc/hosts", KEYS, NIC}


def _changed(before: dict[str, rig.Entry], scene: Scene) -> set[str]:
    """The files that differ from those before, without the folders that they are in."""
    names = rig.differences(before, scene.snapshot())
    return {name for name in names if not scene.machine.path(name).is_dir()}


def _late(scene: Scene) -> list[str]:
    """The scripts that wait for a stage."""
    return sorted(path.name for path in scene.machine.path(defs.STATE_DIR).glob("*/*"))


def test_C1_a_later_boot_changes_access_alone(configured: Scene) -> None:
    before, scripts = configured.snapshot(), _late(configured)
    configured.say(_evil())
    for _ in range(2):  # nothing is open to who asks twice, either
        assert configured.boot() == [0, 0, 0], configured.runs
        assert _changed(before, configured) <= _ACCESS
        assert _late(configured) == scripts
        assert configured.text("/etc/hostname") == "evil\n"
        assert OTHER in configured.text(KEYS)
        assert "192.0.2.77/24" in configured.text(NIC)
        problems = configured.machine.report()["problems"]
        told = {item["key"].partition(" ")[0] for item in problems}
        assert {"files[0]", "write_files[0]", "runcmd", "users[1].name"} <= told
        assert {item["severity"] for item in problems} == {"warning"}
        configured.machine.path("/etc/group").touch()


def test_C1_a_later_boot_changes_everything_only_by_setting(configured: Scene) -> None:
    text = "#cloud-config\nwrite_files: [{path: /etc/new, content: x}]\n"
    said = _evil()
    meta = json.loads(said[META] or "")
    del meta["admin_pass"]  # no PAM here
    configured.say({**said, META: json.dumps(meta), USER: text})
    assert configured.boot() == [0, 0, 0], configured.runs[-1].err
    assert not configured.machine.path("/etc/new").exists()
    settings = "[drive]\nwait = 0\n[metadata]\nrefresh = 'full'\n"
    configured.machine.path(defs.SETTINGS_FILE).write_text(settings)
    assert configured.boot() == [0, 0, 0], configured.runs[-1].err
    assert (configured.text("/etc/new"), configured.text("/etc/evil.conf")) == ("x", "evil\n")


def test_C1_a_boot_with_an_error_opens_nothing(configured: Scene) -> None:
    before = configured.snapshot()
    bad = {**_evil(), USER: _EVIL.replace("Asia/Tokyo", "[1]")}
    configured.service.say({"documents": documents_and(bad), "steps": {VENDOR2: [FORBIDDEN]}})
    assert configured.boot()[-1] == defs.EXIT_ERRORS
    configured.say(_evil())
    configured.boot()
    assert _changed(before, configured) <= _ACCESS


def test_C1_what_a_first_boot_wrote_stays(scene: Scene) -> None:
    """Documents that no longer ask for it take nothing away but keys."""
    listed = [{"path": "/etc/app.conf", "content_path": "/content/0000"}]
    meta = json.dumps({**documents.meta_data(), "files": listed})
    text = "ssh_pwauth: false\nwrite_files: [{path: /etc/x, content: x}]\nruncmd: [echo a]\n"
    first = {META: meta, "/openstack/content/0000": "a = 1\n", USER: f"{CONFIG}{text}"}
    scene.say(dict(first))
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    scripts = _late(scene)
    before = scene.snapshot()
    scene.say({USER: f"#cloud-config\nssh_authorized_keys: ['{KEY}']\n"})
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    assert (_changed(before, scene), _late(scene)) == ({KEYS}, scripts)
    assert "50-instance-runcmd" in scripts
    assert OTHER not in scene.text(KEYS)


def test_D8_a_later_boot_changes_keys_wherever_sshd_reads_them(scene: Scene) -> None:
    config = scene.machine.path("/etc/ssh/sshd_config")
    config.write_text(f"{config.read_text()}\nAuthorizedKeysFile /etc/ssh/keys/%u\n")
    scene.say({USER: None})
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    assert KEY in scene.text("/etc/ssh/keys/debian")
    meta = {**documents.meta_data(), "public_keys": {"k": OTHER}}
    scene.say({META: json.dumps(meta), USER: None})
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    assert OTHER in scene.text("/etc/ssh/keys/debian")


def test_C1_another_ec2_instance_on_the_same_machine_is_no_first_boot(
    machine: Machine, lab: Lab
) -> None:
    uuid = "ec2b1c2d-6f0d-4d3e-9a57-3f1f5e9b7a10"
    lab.space.dmi(product_name="t3", sys_vendor="Amazon EC2", product_uuid=uuid)
    scene = Scene(machine, lab.serve(lab.link(), {"documents": documents.ec2(), "imds": {}}))
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    assert scene.machine.report()["first_boot"]
    assert KEY in scene.text(KEYS)
    before = scene.snapshot()
    other = {path: text.replace(documents.EC2_ID, "i-66") for path, text in documents.ec2().items()}
    scene.service.say({"documents": other, "imds": {}})
    assert scene.boot() == [0, 0, defs.EXIT_WRONG_SOURCE]
    known = f"is for instance i-66, and this machine is configured as {documents.EC2_ID};"
    assert known in scene.runs[-1].err
    assert rig.differences(before, scene.snapshot()) == set()
    # On another machine, where the disk was copied to, it is one.
    lab.space.dmi(product_uuid=uuid.replace("b1", "a1"))
    scene.boot()
    assert scene.machine.report()["first_boot"]


def test_C1_an_answer_that_names_no_instance_is_not_for_the_known_one(
    machine: Machine, lab: Lab
) -> None:
    lab.space.dmi(product_name="KVM")
    lab.space.put("cmdline", "guestagent.cloud=openstack\n")
    scene = Scene(machine, lab.serve(lab.link()))
    assert scene.boot() == [0, 0, 0], scene.runs[-1].err
    before = scene.snapshot()
    meta = documents.meta_data(hostname="evil")
    del meta["uuid"]
    scene.say({META: json.dumps(meta)})
    assert scene.boot() == [0, 0, defs.EXIT_WRONG_SOURCE]
    assert rig.differences(before, scene.snapshot()) == set()
