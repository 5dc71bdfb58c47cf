"""The units that run the scripts of user data, and all units' order in a boot."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from test_units import LATE, LOCAL, SYSTEMD, UNITS, Unit, need, read_unit, seconds

from guestagent import defs
from guestagent.commit import host_keys

EARLY = "guestagent-early.service"


class TestScriptUnits:
    @pytest.fixture
    def early(self) -> Unit:
        return read_unit(SYSTEMD / EARLY)

    @pytest.fixture
    def late(self) -> Unit:
        return read_unit(SYSTEMD / LATE)

    def test_early_comes_after_all_settings_and_before_logins(self, early: Unit) -> None:
        assert {LOCAL, "guestagent-apply.service", "guestagent-reload.service"} < set(
            early["Unit", "After"]
        )
        assert {"ssh.service", "sshd.service"} <= set(early["Unit", "Before"])
        assert early["Install", "WantedBy"] == ["multi-user.target"]

    def test_early_starts_where_either_stage_has_something(self, early: Unit) -> None:
        stages = [f"|{defs.STATE_DIR}/{stage}" for stage in ("early", "late")]
        assert early["Unit", "ConditionDirectoryNotEmpty"] == stages

    def test_early_obeys_the_off_switches(self, early: Unit) -> None:
        local = read_unit(SYSTEMD / LOCAL)
        for name in ("ConditionKernelCommandLine", "ConditionPathExists"):
            assert early["Unit", name] == local["Unit", name]

    def test_late_is_no_part_of_the_boot(self, late: Unit) -> None:
        online = {"multi-user.target", "network-online.target"}
        assert set(late["Unit", "After"]) == {*online, defs.HOST_KEYS_UNIT}
        assert not [key for section, key in late if section == "Install"]

    @pytest.mark.parametrize("name", [EARLY, LATE])
    def test_the_service_manager_ends_only_the_runner_and_sets_it_no_limit(self, name: str) -> None:
        unit = read_unit(SYSTEMD / name)
        assert unit["Service", "KillMode"] == ["process"]
        assert unit["Service", "TimeoutStartSec"] == ["infinity"]
        # The runner may wait for the lock of the report before it exits.
        assert seconds(unit, "TimeoutStopSec") > defs.LOCK_WAIT


class TestHostKeysUnit:
    @pytest.fixture
    def unit(self) -> Unit:
        return read_unit(SYSTEMD / defs.HOST_KEYS_UNIT)

    def test_it_comes_after_sshd_and_the_boot_does_not_wait_for_it(self, unit: Unit) -> None:
        before = {LOCAL, "guestagent-apply.service", "ssh.service", "sshd.service"}
        assert before < set(unit["Unit", "After"])
        assert unit["Unit", "Before"] == ["shutdown.target"]
        assert unit["Unit", "DefaultDependencies"] == ["no"]

    def test_an_unchanged_boot_starts_nothing(self, unit: Unit) -> None:
        switches = [f"!{defs.OFF_SWITCH}", defs.HOST_KEYS_FILE]
        assert unit["Unit", "ConditionPathExists"] == switches
        assert unit["Unit", "ConditionKernelCommandLine"] == [f"!{defs.OFF_ARGUMENT}"]

    def test_units_that_make_missing_keys_before_sshd_leave_it_the_slow_one(self) -> None:
        dropin = read_unit(SYSTEMD / "sshd-keygen.conf")
        assert dropin["Unit", "ConditionPathExists"] == [f"!{defs.HOST_KEYS_FILE}"]
        makers = {"sshd-keygen.service", "sshd-keygen.target"}
        assert makers < set(read_unit(SYSTEMD / "guestagent-apply.service")["Unit", "Before"])

    def test_it_has_time_for_slow_keys(self, unit: Unit) -> None:
        slowest = host_keys.WITHOUT_HURRY + defs.LOCK_WAIT_LATE
        assert seconds(unit, "TimeoutStartSec") > slowest


def test_all_units_of_a_boot_can_be_ordered(tmp_path: Path) -> None:
    tool = need("systemd-analyze")
    others = {
        "ssh.socket": "[Unit]\nBefore=sockets.target\n[Socket]\nListenStream=22\n"
        "[Install]\nWantedBy=sockets.target\n",
        "ssh.service": "[Unit]\nAfter=network.target\n[Service]\nExecStart=/bin/true\n",
    }
    for path in UNITS:
        others[path.name] = path.read_text().replace(defs.PROGRAM, "/bin/true")
    for name, text in others.items():
        (tmp_path / name).write_text(text)
        for target in re.findall(r"(?m)^WantedBy=(.*)$", text):
            (tmp_path / f"{target}.wants").mkdir(exist_ok=True)
            (tmp_path / f"{target}.wants" / name).symlink_to(tmp_path / name)
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    argv = [tool, "verify", "--man=no", "multi-user.target", str(tmp_path / LATE)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment)
    assert "cycle" not in done.stderr, done.stderr
