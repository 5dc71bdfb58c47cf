"""The Debian package: what installing it does to a machine, and what is left of it."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sandbox_cost import read_sandbox

from guestagent import defs

from .base import base_tree
from .chroot import BuildError, in_tree
from .guest import Guest, Nic
from .image import GuestImage
from .metadata import APPLY, FETCH, UNITS

pytestmark = pytest.mark.vm

SYSTEMD = Path(__file__).parents[2] / "systemd"
# Units of root that have no business with files of the kernel.
CONFINED = [
    path
    for path in sorted(SYSTEMD.glob("*.service"))
    if "ProtectKernelTunables=yes" in path.read_text().splitlines()
]
KERNEL_FILES = (
    *("/sys/power/state", "/sys/kernel/profiling", "/sys/fs/cgroup/cgroup.subtree_control"),
    *("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity"),
)
OPEN_THEM = f"""
import os
for path in {KERNEL_FILES}:
    try:
        os.close(os.open(path, os.O_WRONLY))
        print(path)
    except OSError:
        pass  # read-only, or not there
print("all tried")
"""
NOT_FOR_A_PROBE = ("LoadCredential", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost")
UNIT = "guestagent-local.service"
LOCKDOWN = "guestagent-lockdown.service"
# netplan is a generator beside one of them.
STACKS = ("systemd-networkd.service", "NetworkManager.service", "networking.service")
OTHERS_UNITS = ("systemd-networkd-wait-online", "sshd-keygen", "sshd-keygen@rsa")
# dpkg's, apt's and systemd's own books.
BOOKS = ("run", "tmp", "var/lib/dpkg", "var/lib/apt", "var/log", "var/cache", "proc", "sys", "dev")


def listing(tree: Path) -> dict[str, str]:
    """Return every path of a tree but the package manager's books, with what is there."""
    found = {}
    for directory, folders, files in os.walk(tree):
        here = Path(directory)
        folders[:] = [name for name in folders if str((here / name).relative_to(tree)) not in BOOKS]
        for name in (*folders, *files):
            path = here / name
            found[str(path.relative_to(tree))] = content(path)
    return found


def content(path: Path) -> str:
    if path.is_symlink():
        return "link " + str(path.readlink())
    if not path.is_file():
        return "other"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )


def own(path: str) -> bool:
    """Whether a path is a directory that had to be made on the way to one's own file."""
    return path in {
        *("usr/lib/systemd/system-preset", "usr/libexec"),
        "etc/systemd/system/sysinit.target.wants",
        *("usr/share/man/man8", "usr/share/python3/runtime.d"),
        # Drop-ins for units of others.
        *(f"usr/lib/systemd/system/{unit}.service.d" for unit in OTHERS_UNITS),
    }


@pytest.fixture(scope="module")
def tree(agent_deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    tree = tmp_path_factory.mktemp("package") / "tree"
    subprocess.run(["cp", "-a", "--reflink=auto", base_tree(), tree], check=True)
    yield tree
    shutil.rmtree(tree)


@pytest.fixture(scope="module")
def before(tree: Path) -> dict[str, str]:
    return listing(tree)


@pytest.fixture(scope="module")
def installed(tree: Path, before: Mapping[str, str], agent_deb: Path) -> Path:
    shutil.copy(agent_deb, tree / "tmp/guestagent.deb")
    in_tree(tree, ["apt-get", "install", "-y", "/tmp/guestagent.deb"])
    return tree


class TestInstalling:
    """In a tree of its own, from which things may be removed again."""

    def test_ships_only_to_places_of_its_own(
        self, installed: Path, before: Mapping[str, str]
    ) -> None:
        changed = differing(before, listing(installed))
        assert not [path for path in changed if "guestagent" not in path and not own(path)]

    def test_enables_its_units_and_nothing_more(
        self, installed: Path, before: Mapping[str, str]
    ) -> None:
        links = {
            path: target
            for path, target in listing(installed).items()
            if target.startswith("link ") and path not in before
        }
        later = (*UNITS, defs.EARLY_UNIT, defs.HOST_KEYS_UNIT, defs.LATER_UNIT, defs.DAEMON_UNIT)
        targets = {UNIT: "sysinit", **dict.fromkeys(later, "multi-user")}
        folder = "etc/systemd/system"
        assert links == {
            f"{folder}/{target}.target.wants/{unit}": f"link /usr/lib/systemd/system/{unit}"
            for unit, target in targets.items()
        }

    def test_compiles_every_module(self, installed: Path) -> None:
        modules = list((installed / "usr/share/guestagent").rglob("*.py"))
        assert modules
        for module in modules:
            assert list((module.parent / "__pycache__").glob(f"{module.stem}.cpython-*.pyc"))

    def test_modes_are_those_of_a_package(self, installed: Path) -> None:
        files = in_tree(installed, ["dpkg", "-L", "guestagent"]).split()
        for name in files:
            status = (installed / name.lstrip("/")).lstat()
            assert (status.st_uid, status.st_gid, status.st_mode & 0o022) == (0, 0, 0), name

    def test_programs_for_scripts_can_be_run(self, installed: Path) -> None:
        program = installed / defs.SCRIPT_PROGRAMS_DIR[1:] / "cloud-init-per"
        assert program.stat().st_mode & 0o777 == 0o755

    def test_cloud_init_s_command_is_in_a_package_of_its_own(
        self, installed: Path, agent_deb: Path
    ) -> None:
        before = listing(installed)
        (deb,) = agent_deb.parent.glob("guestagent-cloud-init_*.deb")
        shutil.copy(deb, installed / "tmp/command.deb")
        in_tree(installed, ["apt-get", "install", "-y", "/tmp/command.deb"])
        assert in_tree(installed, ["cloud-init", "--version"]).startswith("guestagent ")
        in_tree(installed, ["apt-get", "purge", "-y", "guestagent-cloud-init"])
        assert differing(before, listing(installed)) == []

    def test_installs_again_and_over_itself(self, installed: Path) -> None:
        before = listing(installed)
        in_tree(installed, ["apt-get", "install", "-y", "--reinstall", "/tmp/guestagent.deb"])
        changed = differing(before, listing(installed))
        assert not [path for path in changed if not path.endswith(".pyc")]

    def test_removing_keeps_settings_and_state(self, installed: Path) -> None:
        settings = installed / "etc/guestagent"
        (settings / "guestagent.toml.d/50-local.toml").write_text("[hosts]\nmanage = true\n")
        (settings / "disabled").touch()
        (installed / "var/lib/guestagent/state.json").write_text("{}")
        in_tree(installed, ["apt-get", "remove", "-y", "guestagent"])
        assert not (installed / "usr/share/guestagent").exists()
        assert not (installed / "usr/bin/guestagent").exists()
        assert (settings / "guestagent.toml.d/50-local.toml").exists()
        assert (installed / "var/lib/guestagent/state.json").exists()

    def test_purging_leaves_nothing(self, installed: Path, before: Mapping[str, str]) -> None:
        # As a run at boot makes them.
        (installed / "var/lib/cloud/data").mkdir(parents=True)
        for path, target in defs.CLOUD_INIT_LINKS.items():
            (installed / path[1:]).symlink_to(target)
        in_tree(installed, ["apt-get", "purge", "-y", "guestagent"])
        assert differing(before, listing(installed)) == []
        with pytest.raises(BuildError):
            in_tree(installed, ["dpkg-query", "--status", "guestagent"])


@pytest.fixture(scope="module")
def with_stacks(agent_deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tree that has the agent and, not enabled, three network stacks."""
    tree = tmp_path_factory.mktemp("stacks") / "tree"
    subprocess.run(["cp", "-a", "--reflink=auto", base_tree("network-manager"), tree], check=True)
    shutil.copy(agent_deb, tree / "tmp/guestagent.deb")
    in_tree(tree, ["dpkg", "-i", "/tmp/guestagent.deb"])
    in_tree(tree, ["systemctl", "enable", LOCKDOWN])
    yield tree
    shutil.rmtree(tree)


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    """The unit of a network stack."""
    found: str = request.param
    return found


@pytest.fixture(scope="module", params=["ssh.service", "ssh.socket"])
def ordered(with_stacks: Path, stack: str, request: pytest.FixtureRequest) -> Path:
    """The tree with one of its stacks, and sshd as a service or by its socket."""
    in_tree(with_stacks, ["systemctl", "disable", *STACKS, "ssh.service", "ssh.socket"])
    in_tree(with_stacks, ["systemctl", "enable", stack, request.param])
    return with_stacks


def plan_a_boot(tree: Path) -> str:
    """Return what systemd says when it puts the units of a whole boot in their order."""
    return in_tree(tree, ["systemd-analyze", "verify", "--man=no", "default.target"])


def is_before(tree: Path, first: str, second: str) -> bool:
    """Tell whether systemd orders two units so: then the contrary is a circle."""
    contrary = tree / f"etc/systemd/system/{first}.d/contrary.conf"
    contrary.parent.mkdir()
    # Wanted, too: a socket's service is not among the units of a boot.
    contrary.write_text(f"[Unit]\nAfter={second}\nWants={second}\n")
    try:
        said = plan_a_boot(tree)
        return "Found ordering cycle" in said and first in said
    finally:
        shutil.rmtree(contrary.parent)


class TestOrders:
    """Without a boot: systemd itself plans one, on each network stack and both kinds of sshd."""

    def test_no_unit_is_ordered_in_a_circle(self, ordered: Path) -> None:
        assert plan_a_boot(ordered) == ""

    def test_D4_nobody_gets_in_before_the_agent(self, ordered: Path) -> None:
        sshd = [path.name for path in (ordered / "etc/systemd/system").glob("*/ssh.s*")]
        assert len(sshd) == 1
        for unit in (*sshd, "systemd-user-sessions.service", "getty.target"):
            assert is_before(ordered, UNIT, unit), unit
        assert not is_before(ordered, UNIT, "systemd-udevd.service")

    def test_the_network_comes_after_the_drive_and_before_the_question(
        self, ordered: Path, stack: str
    ) -> None:
        assert is_before(ordered, UNIT, "network-pre.target")
        assert is_before(ordered, UNIT, stack)
        assert is_before(ordered, stack, FETCH)
        assert is_before(ordered, FETCH, APPLY)

    def test_D4_sshd_s_service_comes_after_the_answer(self, ordered: Path) -> None:
        assert is_before(ordered, APPLY, "ssh.service")


class TestInstalled:
    """In a booted guest."""

    def test_the_unit_ran_at_boot(self, live_guest: Guest) -> None:
        assert live_guest.check(f"systemctl is-enabled {UNIT}") == "enabled\n"
        shown = live_guest.check(f"systemctl show -p ConditionResult,ActiveState,Result {UNIT}")
        assert set(shown.split()) == {
            *("ConditionResult=yes", "ActiveState=active", "Result=success")
        }

    def test_systemd_of_the_guest_has_nothing_to_say(self, live_guest: Guest) -> None:
        done = live_guest.run(f"systemd-analyze verify --man=no {UNIT}")
        assert (done.status, done.stdout + done.stderr) == (0, "")

    def test_exposure_stays_below_its_threshold(self, live_guest: Guest) -> None:
        live_guest.check(f"systemd-analyze security --threshold=40 {UNIT} >&2")

    def test_no_unit_is_ordered_in_a_circle(self, live_guest: Guest) -> None:
        assert not live_guest.run("journalctl -b -o cat | grep 'ordering cycle'").stdout

    def test_runs_from_byte_code(self, live_guest: Guest) -> None:
        done = live_guest.run("/usr/bin/python3 -BIS -v /usr/bin/guestagent --version").check()
        loaded = [line for line in done.stderr.splitlines() if "/usr/share/guestagent/" in line]
        assert any(line.startswith("# code object from '/") and ".pyc" in line for line in loaded)
        assert not [line for line in loaded if line.startswith("# code object from /")]

    def test_B7_nothing_is_writable_for_others(self, live_guest: Guest) -> None:
        places = "/run/guestagent /var/lib/guestagent /etc/guestagent /usr/share/guestagent"
        assert live_guest.check(f"find {places} -perm /022 ! -type l") == ""
        assert live_guest.check("stat -c %a /var/lib/guestagent") == "700\n"

    def test_B7_users_may_only_ask_for_the_status(self, live_guest: Guest) -> None:
        nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups guestagent"
        assert live_guest.run(f"{nobody} apply").status == 77
        assert live_guest.run(f"{nobody} apply --boot").status == 77
        assert live_guest.run(f"{nobody} status --json").status == 0

    @pytest.mark.parametrize("path", CONFINED, ids=lambda path: path.name)
    def test_B8_root_in_a_sandbox_writes_to_no_file_of_the_kernel(
        self, live_guest: Guest, path: Path
    ) -> None:
        live_guest.put("/run/open-them.py", OPEN_THEM)
        sandbox = [line for key, line in read_sandbox(path) if key not in NOT_FOR_A_PROBE]
        program = "ExecStart=/usr/bin/python3 -I -S /run/open-them.py"
        unit = ["[Service]", "Type=oneshot", *sandbox, program, "StandardOutput=file:/run/opened"]
        live_guest.put("/run/systemd/system/open-them.service", "\n".join(unit) + "\n")
        live_guest.check("systemctl daemon-reload && systemctl start open-them")
        assert live_guest.check("cat /run/opened; rm /run/opened") == "all tried\n"

    def test_B8_path_holds_no_place_that_others_may_write(self, live_guest: Guest) -> None:
        text = live_guest.get("/usr/bin/guestagent").decode()
        launcher = text.partition("from guestagent")[0] + "print(sys.path)"
        places = live_guest.check(["/usr/bin/python3", "-BIS", "-c", launcher])
        for place in eval(places):
            owner = live_guest.run(["stat", "-L", "-c", "%U %A", place]).stdout.split()
            assert not owner or (owner[0], owner[1][5], owner[1][8]) == ("root", "-", "-"), place

    def test_B8_environment_has_no_influence(self, live_guest: Guest) -> None:
        spoil = "mkdir -p /run/evil && cd /run/evil && echo 'raise SystemExit(66)' > json.py"
        copies = "for name in sitecustomize guestagent errors; do cp json.py $name.py; done"
        evil = "PYTHONPATH=/run/evil PYTHONHOME=/run/evil PYTHONSTARTUP=/run/evil/json.py"
        done = live_guest.run(f"{spoil}; {copies}; {evil} guestagent --version")
        live_guest.check("rm -r /run/evil")
        assert (done.status, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def hung_guest(guest_image: GuestImage) -> Iterator[Guest]:
    """A guest whose agent hung at boot, with three seconds rather than ninety."""
    setting = "[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\nTimeoutStartSec=3s\n"
    drop_in = base64.b64encode(setting.encode()).decode()
    argument = f"systemd.set_credential_binary=systemd.unit-dropin.{UNIT}:{drop_in}"
    with Guest(guest_image, nics=[Nic()], cmdline_extra=argument) as guest:
        yield guest.boot()


class TestHanging:
    def test_D10_the_boot_goes_on(self, hung_guest: Guest) -> None:
        assert hung_guest.check(f"systemctl show -P Result {UNIT}") == "timeout\n"
        targets = "network-pre.target sysinit.target multi-user.target"
        assert hung_guest.check(f"systemctl is-active {targets}").split() == ["active"] * 3

    def test_D10_the_network_waits_no_longer_than_the_unit(self, hung_guest: Guest) -> None:
        units = hung_guest.boot_times(UNIT, "network-pre.target").units
        # The three seconds, and the interpreter of guestagent-failed; it would be ninety.
        assert units["network-pre.target"][1] - units[UNIT][0] < 60

    def test_purging_from_a_running_system_leaves_nothing(self, hung_guest: Guest) -> None:
        assert hung_guest.exists("/run/guestagent")
        hung_guest.check("apt-get purge -y guestagent")
        for path in ("/run/guestagent", "/var/lib/guestagent", "/etc/guestagent"):
            assert not hung_guest.exists(path)
        assert hung_guest.run(f"systemctl is-enabled {UNIT}").stdout == "not-found\n"
