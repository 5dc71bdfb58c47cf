"""What a run costs: CPU time as ratios to a bare interpreter's start, all measured in one go.

Then what much costs: a first run for so many files, accounts and NICs, and for twice as many.

``make bench``, or ``PYTHON=/usr/bin/python3 python3 tests/bench.py`` for another interpreter.
With ``INSTRUCTIONS=1`` valgrind(1) counts the instructions of the first table in place of time,
without those of children, so that figures do not depend on the load: two rounds are enough.
The agent is byte-compiled and started as its package starts it.  Rounds are interleaved, so
that a slow moment of the machine hits each of them alike.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import growth

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "tests/cases/samples/nova"
PYTHON = os.environ.get("PYTHON") or sys.executable
COUNTS = bool(os.environ.get("INSTRUCTIONS"))
ROUNDS = int(os.environ.get("ROUNDS") or (2 if COUNTS else 60))
# The last column; "second run" is an unchanged one, as are those with settings and with an error.
# "no source" is a boot that finds none, which only root can try.
AIMS = {
    "first boot": 2.5,
    "second run": 1.5,
    "with settings": 1.5,
    "with an error": 2,
    "daemon": 1.5,
    "no source": 2,
}
_MOST_PSS = 12  # MiB, of the daemon
MUCH = {"files": 500, "home": 500, "users": 100, "nics": 32}
GROWTH_ROUNDS = int(os.environ.get("GROWTH_ROUNDS") or 3)
_BARE = [PYTHON, "-I", "-S", "-c", "pass"]
_INSTALLED = "/usr/share/guestagent"
_PROBE = """
from resource import RUSAGE_SELF, getrusage
status = main(sys.argv[1:])
used = getrusage(RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, len(sys.modules))
"""
# The daemon's start, until it would sleep for the first time.
_UNTIL_IT_LISTENS = """
from guestagent.daemon.main import Daemon
Daemon.step = lambda self: sys.exit()
main()
"""
# A command on a machine whose own files are those of a tree, and which knows of no source.
_ALONE = """
for name in etc run var/lib; do mkdir -p "$1/$name"; mount --bind "$1/$name" "/$name"; done
for name in /sys/class/dmi/id /dev/disk /dev/lxd /dev/incus; do
    [ ! -d "$name" ] || mount -t tmpfs tmpfs "$name"
done
mount --bind /dev/null /proc/cmdline
shift
exec "$@"
"""


class Cost(NamedTuple):
    """One start: CPU time (user + system) and wall clock time, in seconds.

    Of instructions, each counts as a nanosecond of CPU time, so that milliseconds are millions.
    """

    cpu: float
    wall: float


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        bench.compile()
        found = bench.rounds(ROUNDS)
        print(f"{PYTHON} ({bench.version()}), {ROUNDS} rounds, {'root' if _root() else 'not root'}")
        print(f"{'':<14}{'median':>10}{'ratio':>8}{'quartile':>10}{'ratio':>8}{'wall':>10}")
        for name, costs in found.items():
            print(_line(name, costs, found["interpreter"]))
        if COUNTS:
            return
        for name, (modules, own) in bench.inside().items():
            print(f"{name}: {modules} modules imported, children not counted: {own:.2f}")
        alone, resident = bench.memory()
        print(f"PSS of the interpreter alone: {alone:.1f} MiB")
        print(f"PSS of the daemon: {resident:.1f} MiB   aim: at most {_MOST_PSS}")
        bare = _middle(found["interpreter"])
        for kind, number in MUCH.items():
            if kind != "users" or _root():
                once, twice = (bench.much(kind, many) / bare for many in (number, 2 * number))
                print(f"{number} {kind}: {once:.1f}; {2 * number}: {twice:.1f}")


def _root() -> bool:
    return os.geteuid() == 0


def _line(name: str, costs: list[Cost], bare: list[Cost]) -> str:
    middle, low = _middle(costs), _low(costs)
    unit = "M " if COUNTS else "ms"
    text = f"{name:<14}{middle * 1000:>7.1f} {unit}{middle / _middle(bare):>8.2f}"
    text += f"{low * 1000:>7.1f} {unit}{low / _low(bare):>8.2f}"
    text += f"{statistics.median(cost.wall for cost in costs) * 1000:>7.1f} ms"
    return text + (f"   aim: at most {AIMS[name]:g}" if name in AIMS else "")


def _middle(costs: list[Cost]) -> float:
    return statistics.median(cost.cpu for cost in costs)


def _low(costs: list[Cost]) -> float:
    return statistics.quantiles([cost.cpu for cost in costs], n=4)[0]


class Bench:
    """The agent's copy, the tree it configures, and the commands."""

    def __init__(self, scratch: Path) -> None:
        self.library, self.tree = scratch / "lib", scratch / "root"
        arguments = ["--root", str(self.tree), "--source", str(SAMPLE / "drive")]
        # As the first line of packaging/bin/guestagent has it.
        self.agent = [PYTHON, "-BISXutf8", str(scratch / "guestagent"), *arguments]
        self.probe = [PYTHON, "-BISXutf8", str(scratch / "probe"), *arguments]
        self.alone = ["unshare", "--mount", "--uts", "--propagation", "private"]
        self.alone += ["sh", "-ec", _ALONE, "sh", str(self.tree)]
        self.faulty = scratch / "faulty"
        self.daemon = [PYTHON, "-BISXutf8", str(scratch / "guestagentd")]
        self.until_it_listens = [PYTHON, "-BISXutf8", str(scratch / "until-it-listens")]

    def compile(self) -> None:
        """Copy the package and byte-compile it, as its Debian package is."""
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "guestagent", self.library / "guestagent", ignore=unwanted)
        subprocess.run([PYTHON, "-I", "-m", "compileall", "-q", self.library], check=True)
        start = (PROJECT / "packaging/bin/guestagent").read_text()
        start = start.replace(_INSTALLED, str(self.library))
        Path(self.agent[2]).write_text(start)
        Path(self.probe[2]).write_text(start.rpartition("\n\n")[0] + _PROBE)
        start = (PROJECT / "packaging/bin/guestagentd").read_text()
        start = start.replace(_INSTALLED, str(self.library))
        Path(self.daemon[2]).write_text(start)
        Path(self.until_it_listens[2]).write_text(start.rpartition("\n\n")[0] + _UNTIL_IT_LISTENS)
        shutil.copytree(SAMPLE / "drive", self.faulty)
        (self.faulty / "openstack/latest/user_data").write_text("#cloud-config\nntp: [\n")

    def fresh(self) -> None:
        """The sample's tree as it was before any run."""
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(SAMPLE / "root", self.tree, symlinks=True)
        if _root():
            for line in (self.tree / "etc/passwd").read_text().splitlines():
                _, _, uid, gid, _, home, _ = line.split(":")
                if (self.tree / home[1:]).is_dir():
                    os.chown(self.tree / home[1:], int(uid), int(gid))

    def much(self, kind: str, number: int) -> float:
        """CPU time of a first run with so many things of a kind (``growth.make_drive``)."""
        costs = []
        drive = self.tree.parent / f"{kind}-{number}"
        growth.make_drive(drive, kind, number)
        for _ in range(GROWTH_ROUNDS):
            shutil.rmtree(self.tree, ignore_errors=True)
            growth.make_tree(self.tree)
            if _root():
                os.chown(self.tree / "home/debian", 1000, 1000)
            costs.append(measure([*self.agent[:-1], str(drive)]))
        return _middle(costs)

    def rounds(self, number: int) -> dict[str, list[Cost]]:
        """Each of them once in each round, after one round that is not counted."""
        names = [name for name in AIMS if name != "no source" or _root()]
        found: dict[str, list[Cost]] = {"interpreter": [], **{name: [] for name in names}}
        for count in range(number + 1):
            self.fresh()
            round_ = [measure(_BARE), measure(self.agent), measure(self.agent)]
            round_ += [self._with_settings(), self._with_an_error(), measure(self.until_it_listens)]
            round_ += [self._without_a_source()] if _root() else []
            for costs, cost in zip(found.values(), round_, strict=True):
                if count:
                    costs.append(cost)
        return found

    def _with_settings(self) -> Cost:
        """An unchanged run with a file of settings; a run before it has taken them over."""
        folder = self.tree / "etc/guestagent/guestagent.toml.d"
        folder.mkdir(parents=True)
        (folder / "50-bench.toml").write_text("[daemon]\npoll = 300\n")
        measure(self.agent)
        return measure(self.agent)

    def _with_an_error(self) -> Cost:
        """An unchanged run whose user data cannot be read, after one that has reported it."""
        self.fresh()
        command = [*self.agent[:-1], str(self.faulty)]
        measure(command, status=1)
        return measure(command, status=1)

    def _without_a_source(self) -> Cost:
        """A boot that finds no source; what the namespace for it costs is taken off."""
        self.fresh()
        boot = [*self.agent[:3], "apply", "--boot"]
        if COUNTS:
            return measure(boot, inside=self.alone)
        bare, whole = (measure(command, inside=self.alone) for command in (["true"], boot))
        return Cost(whole.cpu - bare.cpu, whole.wall - bare.wall)

    def version(self) -> str:
        """The interpreter's version."""
        code = "import sys; print('Python', sys.version.split()[0])"
        return subprocess.run(
            [PYTHON, "-Ic", code], check=True, capture_output=True, text=True
        ).stdout.strip()

    def inside(self) -> dict[str, tuple[int, float]]:
        """Modules imported, and the CPU time without children's in units of a bare start."""
        own: dict[str, list[tuple[float, int]]] = {"first boot": [], "second run": []}
        bare = []
        for _ in range(15):
            self.fresh()
            bare.append(measure(_BARE))
            for found in own.values():
                result = subprocess.run(self.probe, check=True, capture_output=True, text=True)
                seconds, modules = result.stdout.split()
                found.append((float(seconds), int(modules)))
        middle = {name: statistics.median_low(found) for name, found in own.items()}
        return {name: (number, cpu / _middle(bare)) for name, (cpu, number) in middle.items()}

    def memory(self) -> tuple[float, float]:
        """PSS in MiB of an interpreter that does nothing, and of the daemon once it sleeps."""
        alone = [PYTHON, "-ISc", "import time; time.sleep(60)"]
        return _sleeping_pss(alone), _sleeping_pss(self.daemon)


def _sleeping_pss(command: list[str]) -> float:
    """Start a program, and return what it holds a second later: proc_pid_smaps(5)."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as running:
        time.sleep(1)
        text = Path(f"/proc/{running.pid}/smaps_rollup").read_text()
        running.kill()
    (kib,) = (line.split()[1] for line in text.splitlines() if line.startswith("Pss:"))
    return int(kib) / 1024


def measure(command: list[str], *, inside: Sequence[str] = (), status: int = 0) -> Cost:
    """Start a program and wait for it; its own CPU time with that of its children (wait4).

    ``inside`` begins the command line of what starts it elsewhere, and counts as well.  ``status``
    is the exit status that it must have.
    """
    if COUNTS:
        return _count(command, inside, status)
    command = [*inside, *command]
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    begin = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=quiet)
    _, found, used = os.wait4(pid, 0)
    wall = time.perf_counter() - begin
    if os.waitstatus_to_exitcode(found) != status:
        sys.exit(f"failed ({os.waitstatus_to_exitcode(found)}): {' '.join(command)}")
    return Cost(used.ru_utime + used.ru_stime, wall)


def _count(command: list[str], inside: Sequence[str], status: int) -> Cost:
    """Do the same for the instructions of the program alone."""
    with tempfile.NamedTemporaryFile("r") as log:
        argv = [*inside, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        argv += [f"--log-file={log.name}", *command]
        begin = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, check=False)
        wall = time.perf_counter() - begin
        # A child that it makes without another program reports too, and ends before.
        *_, found = re.findall(r"Collected : (\d+)", log.read())
    if done.returncode != status:
        sys.exit(f"failed ({done.returncode}): {' '.join(command)}")
    return Cost(int(found) / 1e9, wall)


if __name__ == "__main__":
    main()
