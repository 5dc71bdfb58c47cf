"""User data as Heat builds them, in an image whose settings say how scripts run.

``bootcmd`` runs late, and the first command of ``runcmd`` that fails ends it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from userdata.part_samples import heat

from .guest import Guest
from .image import GuestImage
from .scenario import Instance, holding, new_instance, report, settings_argument
from .user_data import LATE, PATIENCE, SCRIPTS_LOG, lines, machine, results

pytestmark = pytest.mark.vm

SETTINGS = '[scripts]\nbootcmd = "late"\nstop_at_failure = true\n'
CONFIG = """\
#cloud-config
bootcmd:
  - [sh, -c, 'systemctl is-active multi-user.target network-online.target >>/root/bootcmd']
runcmd:
  - echo one >>/root/ran
  - echo the words before; sh -c 'exit 7'
  - echo three >>/root/ran
"""
FAILED = 'user_data: part 4 "mine": runcmd[1] (line 6, column 5)'
SECRET = "heat-" + "canary"
BOTO = f"[Boto]\ncfn_region_name = heat\nhttps_password = {SECRET}\n"
SERVER = "http://192.0.2.2:8000/v1/\n"
HEAT_DIR = "/var/lib/heat-cfntools"
# In place of cfn-init: it keeps what it is given to read.
SCRIPT = f"#!/bin/sh\ncat {HEAT_DIR}/cfn-init-data >>/root/heat\n"
PARTS = (
    (CONFIG, "mine", "cloud-config"),
    (SCRIPT, "cfn-userdata", "x-cfninitdata"),
    ("#!/usr/bin/env python3\n", "loguserdata.py", "x-shellscript"),
    (SERVER, "cfn-metadata-server", "x-cfninitdata"),
    (BOTO, "cfn-boto-cfg", "x-cfninitdata"),
)
Booted = tuple[Guest, Instance]


@pytest.fixture(scope="module")
def booted(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A guest after its first boot."""
    where = tmp_path_factory.mktemp("heat")
    instance = new_instance(where / "keys", password="", files=(), user_data=heat(*PARTS))
    settings = settings_argument(SETTINGS)
    with machine(guest_image, instance, where, cmdline_extra=settings) as guest:
        guest.boot(PATIENCE)
        guest.run("guestagent status --wait 600", timeout=620)
        yield guest, instance


class TestHeat:
    def test_its_tools_find_their_files_which_are_for_root_alone(self, booted: Booted) -> None:
        guest, _ = booted
        content = {
            "cfn-boto-cfg": BOTO,
            "cfn-init-data": '{"os-collect-config": {}}',
            "cfn-metadata-server": SERVER,
        }
        assert guest.check(f"ls {HEAT_DIR}").split() == sorted(content)
        for name, text in content.items():
            assert guest.get(f"{HEAT_DIR}/{name}").decode().strip() == text.strip()
            assert guest.check(f"stat -c '%a %U:%G' {HEAT_DIR}/{name}") == "600 root:root\n"
        assert holding(guest, SECRET, ("/etc", "/run", "/var", "/root")) == (
            f"{HEAT_DIR}/cfn-boto-cfg\n"
        )

    def test_the_user_s_script_runs_and_finds_them(self, booted: Booted) -> None:
        guest, _ = booted
        assert results(guest)["late/50-instance-cfn-userdata"] == 0
        assert lines(guest, "/root/heat") == ['{"os-collect-config": {}}']

    def test_what_is_for_cloud_init_alone_is_left_out_with_a_warning(self, booted: Booted) -> None:
        found = [(one["severity"], one["key"]) for one in report(booted[0])["problems"]]
        for name in ("part-handler.py", "loguserdata.py"):
            assert any(kind == "warning" and name in key for kind, key in found), found

    def test_heat_s_own_user_logs_in(self, booted: Booted) -> None:
        guest, instance = booted
        said = guest.ssh("cloud-user", "sudo -n id -u", key=instance.key)
        assert said.check().stdout == "0\n"


class TestSettings:
    def test_bootcmd_runs_when_the_network_is_up_and_before_the_other_scripts(
        self, booted: Booted
    ) -> None:
        guest, _ = booted
        assert lines(guest, "/root/bootcmd") == ["active", "active"]
        late = [name for name in results(guest) if name.startswith("late/")]
        assert late[0] == "late/05-boot-bootcmd"

    def test_the_first_command_that_fails_ends_runcmd(self, booted: Booted) -> None:
        guest, _ = booted
        assert lines(guest, "/root/ran") == ["one"]
        assert results(guest)["late/50-instance-runcmd"] == 7

    def test_the_report_names_it_with_its_line_its_status_and_where_its_output_is(
        self, booted: Booted
    ) -> None:
        guest, _ = booted
        (script,) = [one for one in report(guest)["scripts"] if "runcmd" in one["name"]]
        assert script["failed_commands"] == [{"place": FAILED, "line": 6, "status": 7}]
        (problem,) = [p for p in report(guest)["problems"] if p["source"] == "scripts"]
        assert problem["severity"] == "error"
        rest = "commands after it that were not run: 1"
        places = f"its output is in {SCRIPTS_LOG} and in journalctl -u {LATE}"
        assert problem["reason"] == f"{FAILED}: exit status 7; {rest}; {places}"
        assert problem["reason"] in guest.run("guestagent status").stdout

    def test_its_output_is_where_the_report_says(self, booted: Booted) -> None:
        guest, _ = booted
        said = lines(guest, SCRIPTS_LOG)
        at = said.index("the words before")
        assert said[at + 1] == f"== {FAILED}: exit status 7"
        journal = guest.check(f"journalctl -b -a -o cat -u {LATE}")
        assert "50-instance-runcmd: the words before\n" in journal


def test_at_the_next_boot_only_bootcmd_runs_again(booted: Booted) -> None:
    guest, _ = booted
    guest.reboot(PATIENCE)
    guest.run("guestagent status --wait 600", timeout=620)
    assert lines(guest, "/root/bootcmd") == ["active"] * 4
    assert lines(guest, "/root/ran") == ["one"]
    assert lines(guest, "/root/heat") == ['{"os-collect-config": {}}']
    assert [name for name in results(guest) if "late/" in name] == ["late/05-boot-bootcmd"]
