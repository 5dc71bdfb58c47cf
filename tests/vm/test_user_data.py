"""User data as OpenStack's users write it lets them in; what is killed in the middle goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import rig

from guestagent import defs

from .channel import Result
from .guest import Guest
from .image import GuestImage
from .scenario import Instance, holding, new_instance, report
from .user_data import (
    EARLY,
    LATE,
    PATIENCE,
    PLACES,
    SCRIPTS_LOG,
    larger_disk,
    lines,
    machine,
    multipart,
    results,
)

pytestmark = pytest.mark.vm

FINISHED = "/var/lib/cloud/instance/boot-finished"

PASSWORD = "passw0rd"
CLOUD_CONFIG = b"""\
#cloud-config
hostname: practice-1
chpasswd:
  list: |
    root:passw0rd
  expire: False
ssh_pwauth: True
runcmd:
  - ls /root/nothing
  - [service, ssh, restart]
"""
FAILED = "user_data: runcmd[0] (line 9, column 5)"
SCRIPT = rb"""#!/bin/bash
echo -e "passw0rd\npassw0rd" | passwd root
sed -i 's/^#\?PasswordAuthentication.*/PasswordAuthentication yes/' /etc/ssh/sshd_config
sed -i 's/^#\?PermitRootLogin.*/PermitRootLogin yes/' /etc/ssh/sshd_config
service ssh restart
"""
# Each with the host name that comes of it, and the script that is run for it.
PRACTICE = {
    "cloud-config": (CLOUD_CONFIG, "practice-1", "late/50-instance-runcmd"),
    "script": (SCRIPT, "web-1", "late/50-instance-part-001"),
}
Booted = tuple[Guest, str, str]


@pytest.fixture(scope="class", params=PRACTICE)
def booted(
    request: pytest.FixtureRequest,
    guest_image: GuestImage,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Booted]:
    """A guest after its first boot with each example; nothing else gives it a password."""
    content, name, script = PRACTICE[request.param]
    where = tmp_path_factory.mktemp("practice")
    instance = new_instance(where / "keys", password="", user_data=content)
    with machine(guest_image, instance, where) as guest:
        yield guest.boot(PATIENCE), name, script


@pytest.fixture
def guest(booted: Booted) -> Guest:
    return booted[0]


class TestPractice:
    def test_root_logs_in_by_that_password_alone(self, guest: Guest) -> None:
        assert guest.ssh("root", "id -u", password=PASSWORD).check().stdout == "0\n"
        assert guest.ssh("root", password="another").status == 255

    def test_the_password_does_not_expire(self, guest: Guest) -> None:
        assert guest.check("passwd --status root").split()[1] == "P"
        assert guest.check("getent shadow root").split(":")[2] != "0"

    def test_the_name_is_as_told(self, booted: Booted) -> None:
        guest, name, _ = booted
        assert guest.check("cat /etc/hostname /proc/sys/kernel/hostname").split() == [name] * 2

    def test_the_report_tells_of_success(self, booted: Booted) -> None:
        guest, _, script = booted
        found = report(guest)
        assert found["exit_status"] == 0
        assert results(guest) == {script: 0}
        assert guest.run("guestagent status").ok

    def test_a_command_that_failed_is_named_and_no_other(self, booted: Booted) -> None:
        guest, _, script = booted
        expected = [(FAILED, 9, 2)] if script.endswith("runcmd") else []
        (ran,) = report(guest)["scripts"]
        failed = [tuple(command.values()) for command in ran["failed_commands"]]
        assert failed == expected
        assert len(report(guest)["problems"]) == len(expected)
        told = f"50-instance-runcmd: == {FAILED}: exit status 2\n"
        assert (told in guest.check(f"journalctl -a -o cat -u {LATE}")) == bool(expected)

    def test_nothing_has_failed(self, guest: Guest) -> None:
        assert guest.settle() == "running"
        assert (
            guest.check(f"systemctl show -P Result {EARLY} {LATE} ssh").split() == ["success"] * 3
        )

    def test_the_output_is_root_s_alone(self, booted: Booted) -> None:
        guest, _, script = booted
        assert guest.check(f"stat -c '%a %U:%G' {SCRIPTS_LOG}") == "600 root:root\n"
        assert lines(guest, SCRIPTS_LOG)[0].endswith(f" {script}")

    def test_the_script_ran_and_is_gone(self, guest: Guest) -> None:
        assert guest.check("find /var/lib/guestagent -path '*/late/*'") == ""

    def test_the_password_is_nowhere(self, guest: Guest) -> None:
        guest.put("/run/control", f"root:{PASSWORD}")
        found = holding(guest, PASSWORD, PLACES)
        guest.check("rm /run/control")
        assert found == "/run/control\n"


# The name of a script tells when it runs: "b" meets the power cut, and "c" reboots.
SCRIPTS = {
    "a": "echo ran >>/root/a",
    "b": "echo ran >>/root/b\nsync\ntouch /run/begun\nsleep 3600\necho end >>/root/b",
    "c": "echo $INSTANCE_ID >>/root/c\nwhile [ ! -e /run/go-on ]; do sleep 0.2; done\nreboot",
    "d": "echo $INSTANCE_ID >>/root/d\necho the words of d",
}
DEFAULT_USER = f"""\
#cloud-config
password: {PASSWORD}
chpasswd: {{expire: False}}
ssh_pwauth: True
ssh_genkeytypes: [ed25519]
"""
Cut = tuple[Guest, Instance, str]


@pytest.fixture(scope="module")
def cut(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cut]:
    """A guest in the boot after a power cut, while "c" runs; the scopes before the power cut."""
    where = tmp_path_factory.mktemp("cut")
    scripts = [("x-shellscript", name, f"#!/bin/sh\n{text}\n") for name, text in SCRIPTS.items()]
    content = multipart([("cloud-config", "password", DEFAULT_USER), *scripts])
    instance = new_instance(where / "keys", password="", user_data=content)
    overlay = larger_disk(guest_image, where)
    with machine(guest_image, instance, where, overlay=overlay) as guest:
        guest.boot(settle=False)
        guest.wait_for("test -e /run/begun", PATIENCE)
        scopes = guest.check("systemctl list-units --type=scope --plain --no-legend")
        guest.kill()
        guest.boot(settle=False)
        guest.wait_for("test -e /root/c", PATIENCE)
        yield guest, instance, scopes


class TestPowerCut:
    def test_a_script_is_a_scope_of_its_own(self, cut: Cut) -> None:
        assert cut[2].count("guestagent-late-") == 1

    def test_the_report_tells_of_the_script_that_was_cut_off(self, cut: Cut) -> None:
        guest, _, _ = cut
        found = {name: status for name, status in results(guest).items() if "late/" in name}
        assert found == {"late/50-instance-b": "interrupted"}
        (problem,) = report(guest)["problems"]
        assert (problem["key"], problem["severity"]) == ("50-instance-b", "error")
        assert guest.run("guestagent status").status == 1

    def test_a_user_may_wait_and_learns_for_what(self, cut: Cut) -> None:
        waiting = cut[0].ssh("debian", "guestagent status --wait 1", password=PASSWORD)
        assert waiting.status == defs.EXIT_TRY_AGAIN
        assert f"this boot is not over: waits for {LATE}" in waiting.stderr
        assert f"state        running: waits for {LATE}" in waiting.stdout

    def test_who_waits_for_cloud_init_s_files_goes_on_waiting(self, cut: Cut) -> None:
        guest = cut[0]
        for path in (FINISHED, "/run/cloud-init/result.json"):
            assert guest.run(["stat", path]).status == 1
        assert '"stage": "modules-final"' in guest.check("cat /run/cloud-init/status.json")

    def test_it_is_not_run_again(self, cut: Cut) -> None:
        guest, _, _ = cut
        assert [lines(guest, f"/root/{name}") for name in "ab"] == [["ran"], ["ran"]]
        assert guest.run("test -e /root/d").status == 1


@pytest.fixture(scope="module")
def waited(cut: Cut) -> Result:
    """What a user learns who logs in while "c" reboots the guest, and waits for its end.

    A second one waits by cloud-init's command, whose answer is in the home.
    """
    guest = cut[0]
    program = rig.REPOSITORY / "packaging/bin/cloud-init"
    guest.put("/usr/bin/cloud-init", program.read_bytes(), 0o755)
    guest.reboot(PATIENCE, settle=False, by=["touch", "/run/go-on"])
    guest.wait_for("systemctl is-active ssh", PATIENCE)
    waiting = "cloud-init status --wait; echo $?; cat " + FINISHED
    command = f"({waiting}) >cloud-init & guestagent status --json --wait {PATIENCE:.0f}; wait"
    return guest.ssh("debian", command, password=PASSWORD, timeout=2 * PATIENCE)


@pytest.fixture(scope="module")
def rebooted(cut: Cut, waited: Result) -> Cut:
    """The same guest after that."""
    assert waited.status != 255, "SSH failed"
    cut[0].settle(PATIENCE)
    return cut


class TestRebootByAScript:
    def test_who_waits_by_cloud_init_s_command_learns_it_too(self, rebooted: Cut) -> None:
        answer = lines(rebooted[0], "/home/debian/cloud-init")
        assert answer[:2] == ["status: done", "0"]
        assert "v. guestagent" in answer[2]

    def test_who_waits_learns_that_all_scripts_are_over(self, waited: Result) -> None:
        found = json.loads(waited.stdout)
        assert (found["state"], found["waits_for"], found["reasons"]) == ("done", [], [])
        assert "50-instance-d" in [script["name"] for script in found["scripts"]]

    def test_and_what_runs_now_and_what_the_agent_has_used(self, waited: Result) -> None:
        now = json.loads(waited.stdout)["now"]
        assert any(nic["up"] and nic["addresses"] for nic in now["interfaces"])
        assert len(now["sshd"]) == 1
        used = {unit["name"]: unit["cpu_seconds"] for unit in now["units"]}
        assert used[defs.LOCAL_UNIT] > 0
        labels = {device["label"] for device in now["devices"]}
        assert labels & {"config-2", "CONFIG-2"}, now["devices"]

    def test_the_next_script_runs_and_no_other(self, rebooted: Cut) -> None:
        guest, instance, _ = rebooted
        found = {name: status for name, status in results(guest).items() if "late/" in name}
        assert found == {"late/50-instance-d": 0}
        assert [lines(guest, f"/root/{name}") for name in "ab"] == [["ran"], ["ran"]]
        assert [lines(guest, f"/root/{name}") for name in "cd"] == [[instance.uuid]] * 2

    def test_its_output_is_in_the_journal_and_the_log_file(self, rebooted: Cut) -> None:
        guest, _, _ = rebooted
        assert lines(guest, SCRIPTS_LOG)[-1] == "the words of d"
        assert "50-instance-d: the words of d\n" in guest.check(f"journalctl -a -o cat -u {LATE}")

    def test_nothing_is_changed_and_nothing_has_failed(self, rebooted: Cut) -> None:
        # Although the image has no program to use the larger disk with.
        guest, _, _ = rebooted
        found = report(guest)
        assert (found["changes"], found["problems"], found["exit_status"]) == ([], [], 0)
        assert guest.settle() == "running"

    def test_the_default_user_logs_in_by_its_password(self, rebooted: Cut) -> None:
        guest, _, _ = rebooted
        assert guest.ssh("debian", "id -un", password=PASSWORD).check().stdout == "debian\n"
        assert guest.ssh("debian", password="another").status == 255
        assert guest.ssh("root", password=PASSWORD).status == 255

    def test_host_keys_are_of_the_wanted_type(self, rebooted: Cut) -> None:
        shown = rebooted[0].check("ls /etc/ssh").split()
        assert [name for name in shown if name.endswith("_key")] == ["ssh_host_ed25519_key"]
