"""What is shipped around the program: units, launcher, package data, manual page."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import rig

import guestagent
from guestagent import defs
from guestagent.daemon.agenda import SPACING

REPOSITORY = Path(__file__).parents[2]
SYSTEMD = REPOSITORY / "systemd"
PACKAGING = REPOSITORY / "packaging"
LAUNCHER = PACKAGING / "bin/guestagent"
MANUAL = REPOSITORY / "docs/guestagent.8"

UNITS = sorted(SYSTEMD.glob("*.service")) + sorted(SYSTEMD.glob("*.socket"))
# Ten times the exposure that systemd-analyze(1) may find, as its --threshold wants it. It does not
# know that missing rights, system calls and devices give what ProtectKernel*= would: docs/boot.md.
THRESHOLDS = {
    "guestagent-apply.service": 32,
    "guestagent-download.service": 20,
    "guestagent-early.service": 100,  # user data's scripts run in it
    "guestagent-failed.service": 17,
    "guestagent-fetch.service": 19,
    "guestagent-host-keys.service": 17,
    "guestagent-late.service": 100,  # and in it
    "guestagent-later.service": 17,
    "guestagent-local.service": 33,
    "guestagent-lockdown.service": 22,
    "guestagent-password.service": 19,
    "guestagent-poll.service": 21,
    "guestagent-refresh.service": 36,
    "guestagent-reload.service": 70,  # DHCP clients and hooks run in it
    "guestagentd.service": 16,
}
LOCAL = "guestagent-local.service"
LATE = "guestagent-late.service"

Unit = Mapping[tuple[str, str], list[str]]


def need(tool: str) -> str:
    """Return a program's path; without it the test is skipped, or fails where all must run."""
    found = shutil.which(tool)
    if found is None and os.environ.get("GUESTAGENT_REQUIRE_ALL") == "1":
        pytest.fail(f"{tool} is not installed")
    return found or pytest.skip(f"{tool} is not installed")


def read_unit(path: Path) -> Unit:
    """Return the words of each setting, in order; an empty value starts it anew."""
    found: dict[tuple[str, str], list[str]] = {}
    section = ""
    for line in path.read_text().replace("\\\n", "").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;":
            key, value = line.split("=", 1)
            words = found.setdefault((section, key), [])
            words[:] = [*words, *value.split()] if value else []
    return found


def seconds(unit: Unit, key: str) -> float:
    (value,) = unit["Service", key]
    found = re.fullmatch(r"(\d+)s", value)
    assert found, f"{key}={value} is not a plain number of seconds"
    return float(found[1])


@pytest.fixture
def local() -> Unit:
    return read_unit(SYSTEMD / LOCAL)


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit_path(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def unit(unit_path: Path) -> Unit:
    return read_unit(unit_path)


# Where systemd has what a hypervisor gave it, and where guestagent looks for that.
_CREDENTIALS = f"-{defs.CREDENTIAL_DIRS[1]}:{defs.CREDENTIAL_DIRS[0]}"


class TestAllUnits:
    def test_exposure_stays_below_its_threshold(self, unit_path: Path) -> None:
        argv = [need("systemd-analyze"), "security", "--offline=true", "--no-pager"]
        argv += [f"--threshold={THRESHOLDS[unit_path.name]}", str(unit_path)]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_systemd_has_nothing_to_say(self, unit_path: Path, tmp_path: Path) -> None:
        tool = need("systemd-analyze")
        # The program is not installed here; any other that exists will do.
        text = re.sub(
            r"(?m)^(ExecStart=)/usr/(bin/guestagent|libexec/guestagentd)\b",
            r"\1/bin/true",
            unit_path.read_text(),
        )
        copy = tmp_path / unit_path.name
        copy.write_text(text)
        argv = [tool, "verify", "--man=no", str(copy)]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    def test_the_preset_enables_it(self, unit_path: Path, unit: Unit) -> None:
        if ("Install", "WantedBy") not in unit:
            return  # another unit starts it
        lines = (SYSTEMD / "90-guestagent.preset").read_text().splitlines()
        verb = "disable" if "lockdown" in unit_path.name else "enable"
        assert f"{verb} {unit_path.name}" in lines

    def test_B7_modes_are_explicit_and_closed(self, unit_path: Path, unit: Unit) -> None:
        if unit_path.suffix == ".socket":
            assert unit["Socket", "SocketMode"] == ["0600"]
            return
        # Network daemons that are no root must be able to read what their tools write.
        mask = "0022" if "reload" in unit_path.name else "0077"
        assert unit["Service", "UMask"] == [mask]
        for kind in ("Runtime", "State", "Cache", "Logs", "Configuration"):
            if ("Service", f"{kind}Directory") in unit:
                (mode,) = unit["Service", f"{kind}DirectoryMode"]
                assert int(mode, 8) & 0o022 == 0

    def test_D10_nothing_depends_on_its_success(self, unit: Unit) -> None:
        binding = ("RequiredBy", "RequisiteOf", "BoundBy", "UpheldBy", "FailureAction")
        assert not [key for _, key in unit if key in binding]
        # It only notes in the report that this is so.
        assert unit.get(("Unit", "OnFailure"), []) in ([], ["guestagent-failed.service"])

    def test_a_unit_of_the_boot_that_is_killed_is_noted(self, unit_path: Path, unit: Unit) -> None:
        stages = (defs.LOCAL_UNIT, defs.APPLY_UNIT, defs.RELOAD_UNIT, defs.EARLY_UNIT)
        awaited = (*stages, defs.LATER_UNIT, defs.LATE_UNIT, defs.HOST_KEYS_UNIT)
        assert (("Unit", "OnFailure") in unit) == (unit_path.name in awaited)

    def test_a_reload_that_is_killed_begins_again_but_not_without_end(self) -> None:
        unit = read_unit(SYSTEMD / defs.RELOAD_UNIT)
        assert unit["Service", "Restart"] == ["on-abort"]
        (interval,), (burst,) = (
            unit["Unit", f"StartLimit{key}"] for key in ("IntervalSec", "Burst")
        )
        # The daemon starts a run every 5 s at most: these are no reason to stop.
        assert interval == "60s"
        assert 60 / SPACING + 1 < int(burst) < 60 / seconds(unit, "RestartSec")

    @pytest.mark.parametrize(
        ("unit", "report", "noted"),
        [
            ("guestagent-late.service", '["guestagent-late.service"]', True),
            ("guestagent-apply.service", '["guestagent-late.service"]', False),
            ("guestagent-apply.service", "[]", False),
            ("guestagent-local.service", None, True),  # it was killed before it could write one
            ("", '["guestagent-late.service"]', True),  # systemd does not say which unit it was
            ("", "[]", False),
        ],
    )
    def test_only_a_unit_that_is_still_awaited_starts_an_interpreter(
        self, tmp_path: Path, unit: str, report: str | None, noted: bool
    ) -> None:
        text = (SYSTEMD / "guestagent-failed.service").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=sh -c '")]
        script = line.removeprefix("ExecStart=sh -c '").removesuffix("'").replace("$$", "$")
        script = script.replace("/usr/bin/guestagent note-failed", "echo noted")
        script = script.replace(defs.RUN_DIR, str(tmp_path))
        if report is not None:
            (tmp_path / "report.json").write_text(f'{{"pending": {report}}}')
        environment = {"PATH": os.environ["PATH"]} | ({"MONITOR_UNIT": unit} if unit else {})
        done = subprocess.run(
            ["sh", "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert (done.stdout == "noted\n") == noted

    @pytest.mark.parametrize("is_there", [True, False])
    def test_what_asks_later_hands_the_request_over_first(
        self, tmp_path: Path, is_there: bool
    ) -> None:
        text = (SYSTEMD / "guestagent-later.service").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
        script = line.removeprefix("ExecStart=sh -c '").removesuffix("'")
        script = script.replace(defs.RUN_DIR, str(tmp_path)).replace("exec systemctl", "echo")
        if is_there:
            (tmp_path / "later.json").write_text("asked")
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        assert (done.returncode == 0) == is_there
        if is_there:
            assert (tmp_path / "request.json").read_text() == "asked"
        assert done.stdout.split()[2:] == (list(defs.SERVICE_UNITS) if is_there else [])

    def test_waits_for_neither_all_devices_nor_the_network(self, unit_path: Path) -> None:
        text = unit_path.read_text()
        assert "settle" not in text
        # What nothing waits for may wait.
        assert ("network-online" in text) == (unit_path.name == LATE)


class TestLocalUnit:
    def test_comes_before_network_and_logins(self, local: Unit) -> None:
        assert {"network-pre.target", "sysinit.target"} <= set(local["Unit", "Before"])
        assert local["Unit", "Wants"] == ["network-pre.target"]
        assert local["Unit", "DefaultDependencies"] == ["no"]
        assert local["Install", "WantedBy"] == ["sysinit.target"]

    def test_comes_after_what_it_writes_to(self, local: Unit) -> None:
        after = set(local["Unit", "After"])
        assert {
            "systemd-remount-fs.service",
            "local-fs.target",
            "systemd-sysusers.service",
        } <= after

    def test_has_no_order_with_systemd_firstboot(self, local: Unit) -> None:
        """In systemd 252 that is before systemd-sysusers, in 261 after network-online.target."""
        orders = {*local["Unit", "Before"], *local["Unit", "After"]}
        assert "systemd-firstboot.service" not in orders

    def test_stops_for_a_shutdown(self, local: Unit) -> None:
        assert local["Unit", "Conflicts"] == ["shutdown.target"]
        assert "shutdown.target" in local["Unit", "Before"]

    def test_obeys_the_off_switches(self, local: Unit) -> None:
        assert local["Unit", "ConditionKernelCommandLine"] == [f"!{defs.OFF_ARGUMENT}"]
        assert local["Unit", "ConditionPathExists"] == [f"!{defs.OFF_SWITCH}"]

    def test_has_more_of_the_cpu_than_udev_which_sees_to_all_devices(self, local: Unit) -> None:
        (weight,) = local["Service", "CPUWeight"]
        assert int(weight) > 100  # the default: systemd.resource-control(5)

    def test_D10_a_hang_costs_the_boot_at_most_100_seconds(self, local: Unit) -> None:
        # After the time-out: SIGTERM, SIGKILL, and both again; each may take TimeoutStopSec.
        assert seconds(local, "TimeoutStartSec") + 4 * seconds(local, "TimeoutStopSec") <= 100

    def test_provides_the_directories_that_the_program_uses(self, local: Unit) -> None:
        assert f"/run/{local['Service', 'RuntimeDirectory'][0]}" == defs.RUN_DIR
        assert f"/var/lib/{local['Service', 'StateDirectory'][0]}" == defs.STATE_DIR
        assert local["Service", "StateDirectoryMode"] == ["0700"]
        assert local["Service", "RuntimeDirectoryPreserve"] == ["yes"]

    def test_B3_leaves_no_core_dump(self, local: Unit) -> None:
        assert local["Service", "LimitCORE"] == ["0"]

    def test_may_set_the_host_name_and_see_home_directories(self, local: Unit) -> None:
        hidden = {
            "ProtectHostname",
            "ProtectHome",
            "PrivateTmp",
            "PrivateNetwork",
            "PrivateDevices",
        }
        assert not hidden & {key for _, key in local}


@pytest.mark.parametrize("name", ["guestagent-fetch.service", "guestagent-password.service"])
def test_C1_the_unit_that_asks_reaches_only_the_addresses(name: str) -> None:
    unit = read_unit(SYSTEMD / name)
    assert unit["Service", "IPAddressDeny"] == ["any"]
    allowed = unit["Service", "IPAddressAllow"]
    assert allowed == list(defs.METADATA_ADDRESSES)
    assert all(ipaddress.ip_address(address) for address in allowed)
    assert unit["Service", "CapabilityBoundingSet"] == []


def test_what_applies_needs_no_right_over_the_whole_system() -> None:
    unit = read_unit(SYSTEMD / "guestagent-apply.service")
    assert "CAP_SYS_ADMIN" not in unit["Service", "CapabilityBoundingSet"]
    for name in (LOCAL, "guestagent-apply.service", "guestagent-refresh.service"):
        unit = read_unit(SYSTEMD / name)
        assert f"-{defs.KERNEL_HOSTNAME}" in unit["Service", "ReadWritePaths"]
        assert "sethostname" not in unit["Service", "SystemCallFilter"]


HANGING = """
import time
from guestagent import defs
from guestagent.errors import Refused
from guestagent.system import privsep

defs.CHILD_TIMEOUT = 0.2
assert privsep.ask_as_nobody(lambda: b"answer", 100, 20.0) == b"answer"
assert privsep.ask_as_nobody(lambda: time.sleep(60), 100, 0.2) == b""
try:
    privsep.run_as_user(1234, 1234, lambda: time.sleep(60))
except Refused as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["local", "apply", "refresh"])
def test_B1_the_rights_of_a_unit_end_a_child_that_hangs(name: str) -> None:
    rig.need_root()
    unit = read_unit(SYSTEMD / f"guestagent-{name}.service")
    rights = [
        right.lower().removeprefix("cap_") for right in unit["Service", "CapabilityBoundingSet"]
    ]
    argv = [need("setpriv"), f"--bounding-set=-all,+{',+'.join(rights)}", "--no-new-privs"]
    argv += [sys.executable, "-c", HANGING]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=rig.REPOSITORY, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "did not end within" in done.stdout


CONFINED = [
    path for path in UNITS if "SystemCallFilter=@system-service" in path.read_text().splitlines()
]
# The rights by which root changes modules, log and clock, or reaches memory and devices.
RIGHTS = {
    *("CAP_SYS_MODULE", "CAP_SYSLOG", "CAP_SYS_TIME", "CAP_WAKE_ALARM"),
    *("CAP_SYS_RAWIO", "CAP_MKNOD", "CAP_BPF", "CAP_PERFMON", "CAP_SYS_BOOT"),
}
CLOSED_CALLS = ("@module", "@clock", "@reboot", "@raw-io", "@swap", "syslog")


def system_calls(name: str) -> set[str]:
    """Return the system calls of a group, with those of the groups in it."""
    if not name.startswith("@"):
        return {name}
    argv = [need("systemd-analyze"), "syscall-filter", "--no-pager", name]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    words = [line.strip() for line in done.stdout.splitlines()[1:]]
    found = [system_calls(word) for word in words if word and word[0] != "#"]
    return set().union(*found)


@pytest.mark.parametrize("path", CONFINED, ids=lambda path: path.name)
class TestWhatStandsForProtectKernel:
    def test_B8_no_right_over_modules_log_and_clock(self, path: Path) -> None:
        unit = read_unit(path)
        rights = unit["Service", "CapabilityBoundingSet"]
        assert not [right for right in rights if right.startswith("~")]
        assert not RIGHTS & set(rights)
        assert unit["Service", "NoNewPrivileges"] == ["yes"]

    def test_B8_no_system_call_for_them(self, path: Path) -> None:
        filters = read_unit(path)["Service", "SystemCallFilter"]
        # What follows a "~" is taken away.
        first = next((i for i, word in enumerate(filters) if word[0] == "~"), len(filters))
        allowed = set().union(*(system_calls(word) for word in filters[:first]))
        closed = set().union(*(system_calls(group) for group in CLOSED_CALLS))
        assert {"init_module", "clock_settime", "reboot", "syslog"} <= closed
        assert not closed & allowed

    def test_B8_no_device_for_them(self, path: Path) -> None:
        unit = read_unit(path)
        if unit.get(("Service", "PrivateDevices")) != ["yes"]:
            assert unit["Service", "DevicePolicy"] == ["closed"]
            devices = {name for name in unit["Service", "DeviceAllow"] if len(name) > 1}
            assert devices <= {"block-*", "/dev/console"}

    def test_B8_the_kernel_s_files_are_read_only(self, path: Path) -> None:
        unit = read_unit(path)
        if unit.get(("Service", "DynamicUser")) == ["yes"]:
            return  # no file of the kernel is writable for users
        # Root owns them: it needs no right to write to them.
        assert unit["Service", "ProtectKernelTunables"] == ["yes"]
        assert unit["Service", "ProtectControlGroups"] == ["yes"]
        # systemd 257 leaves the files of /sys writable in spite of both.
        bound = unit["Service", "BindReadOnlyPaths"]
        assert bound in (["/sys"], ["/sys", _CREDENTIALS])


@pytest.mark.parametrize("name", ["local", "refresh", "apply", "poll"])
def test_units_that_choose_the_source_see_system_credentials(name: str) -> None:
    unit = read_unit(rig.REPOSITORY / f"systemd/guestagent-{name}.service")
    assert _CREDENTIALS in unit["Service", "BindReadOnlyPaths"]


class TestTemporaryFiles:
    @pytest.fixture
    def lines(self) -> list[list[str]]:
        text = (SYSTEMD / "guestagent.tmpfiles.conf").read_text()
        return [line.split() for line in text.splitlines() if not line.startswith("#")]

    def test_B7_directories_are_as_the_unit_makes_them(
        self, lines: list[list[str]], local: Unit
    ) -> None:
        modes = {path: mode for _, path, mode, *_ in lines}
        assert modes == {
            defs.RUN_DIR: local["Service", "RuntimeDirectoryMode"][0],
            defs.STATE_DIR: local["Service", "StateDirectoryMode"][0],
        }


class TestLauncher:
    @pytest.fixture
    def installed(self, tmp_path: Path) -> Iterator[list[str]]:
        """The launcher over a program that prints what Python it runs in."""
        package = tmp_path / "share/guestagent/guestagent"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "cli.py").write_text(
            "import sys\n"
            "def main(arguments):\n"
            "    import json\n"
            "    flags = [sys.flags.isolated, sys.flags.no_site, sys.flags.dont_write_bytecode]\n"
            "    print(json.dumps([sys.path, flags, arguments]))\n"
            "    return 7\n"
        )
        text = LAUNCHER.read_text().replace("/usr/share/guestagent", str(package.parent))
        copy = tmp_path / "guestagent"
        copy.write_text(text)
        yield [sys.executable, *self.options(), str(copy), "status", "--json"]
        assert not list(tmp_path.rglob("__pycache__"))

    @staticmethod
    def options() -> list[str]:
        shebang = LAUNCHER.read_text().splitlines()[0]
        interpreter, *options = shebang.removeprefix("#!").split(" ")
        assert interpreter == "/usr/bin/python3"
        return options

    def test_is_executable(self) -> None:
        assert os.access(LAUNCHER, os.X_OK)

    def test_B8_shebang_isolates(self) -> None:
        # One word: the kernel passes all that follows the interpreter as a single argument.
        (options,) = self.options()
        assert options == "-BISXutf8"

    def test_B8_environment_and_directory_have_no_influence(
        self, installed: list[str], tmp_path: Path
    ) -> None:
        evil = tmp_path / "evil"
        evil.mkdir()
        for name in ("sitecustomize", "usercustomize", "json", "guestagent", "encodings"):
            (evil / f"{name}.py").write_text("raise SystemExit('evil')\n")
        (evil / "evil.pth").write_text("import os; os._exit(66)\n")
        environment = os.environ | {
            "PYTHONPATH": str(evil),
            "PYTHONHOME": str(evil),
            "PYTHONSTARTUP": str(evil / "json.py"),
            "PYTHONUSERBASE": str(evil),
            "PYTHONPYCACHEPREFIX": str(evil),
        }
        done = subprocess.run(installed, cwd=evil, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (7, "")
        path, flags, arguments = json.loads(done.stdout)
        assert flags == [1, 1, 1]
        assert arguments == ["status", "--json"]
        assert not [entry for entry in path if entry.startswith(str(evil))]

    def test_B8_path_is_absolute_and_adds_only_what_root_installs(
        self, installed: list[str]
    ) -> None:
        done = subprocess.run(installed, cwd="/", capture_output=True, text=True)
        path = json.loads(done.stdout)[0]
        assert all(os.path.isabs(entry) for entry in path)
        assert path[-1] == "/usr/lib/python3/dist-packages"
        assert path[-2].endswith("/share/guestagent")


class TestDebianPackage:
    def test_version_is_the_programs(self) -> None:
        first = (PACKAGING / "debian/changelog").read_text().splitlines()[0]
        assert first.startswith(f"guestagent ({guestagent.VERSION}) ")

    def test_shipped_settings_set_nothing(self) -> None:
        assert tomllib.loads((PACKAGING / "guestagent.toml").read_text()) == {}

    def test_every_run_time_dependency_is_declared(self) -> None:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        control = (PACKAGING / "debian/control").read_text()
        names = {name.lower().replace("pyyaml", "yaml") for name in project["dependencies"]}
        packages = {f"python3-{name}" for name in names}
        assert packages <= set(re.findall(r"python3-[a-z]+", control))
        assert f"python3 ({project['requires-python'].replace('>=', '>= ')})" in control

    def test_every_unit_is_enabled_and_none_started(self) -> None:
        rules = (PACKAGING / "debian/rules").read_text().replace("\\\n", " ")
        calls = re.findall(r"^\tdh_installsystemd (.*)$", rules, re.MULTILINE)
        enabled, closed = (call.split() for call in calls)
        assert {"--no-start", "--no-stop-on-upgrade"} <= set(enabled) & set(closed)
        names = [word for word in enabled if word[0] != "-"]
        assert "--no-enable" not in enabled
        assert "--no-enable" in closed
        installed = [path.name for path in UNITS if "[Install]" in path.read_text()]
        assert sorted([*names, closed[-1]]) == installed
        assert closed[-1] == "guestagent-lockdown.service"


class TestManual:
    def test_mandoc_finds_nothing_wrong(self) -> None:
        argv = [need("mandoc"), "-T", "lint", "-W", "warning", str(MANUAL)]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")

    def test_names_every_exit_status(self) -> None:
        text = MANUAL.read_text()
        section = text[text.index(".Sh EXIT STATUS") : text.index(".Sh EXAMPLES")]
        documented = {int(number) for number in re.findall(r"^\.It (\d+)$", section, re.MULTILINE)}
        assert documented == {
            value for name, value in vars(defs).items() if name.startswith("EXIT_")
        }

    @pytest.mark.parametrize(
        "name",
        [
            *(defs.SETTINGS_FILE, defs.SETTINGS_DROPINS, defs.OFF_SWITCH),
            *(defs.STATE_FILE, defs.REPORT_FILE, defs.LEDGER_FILE, defs.SCRIPTS_LOG),
            *(defs.SOURCE_ARGUMENT, defs.OFF_ARGUMENT, *defs.LABELS),
        ],
    )
    def test_names_files_and_kernel_arguments(self, name: str) -> None:
        assert name in MANUAL.read_text()
