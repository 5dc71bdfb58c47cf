"""What tests of the whole agent share: running it, guest trees, drives, comparing trees."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar
from xml.sax.saxutils import quoteattr

import pytest

from guestagent.errors import Problem, Problems, UsageError
from guestagent.options import parse

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[1]
SAMPLES = REPOSITORY / "tests" / "cases" / "samples"
KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAxh2CNcRISQu7+Apd2MCqD1GcUxrMfJPKQTV1ZEqFK "
    "sample@guestagent"
)
# As the package's launcher does: the libraries come last, without the site module.
LIBRARIES = sysconfig.get_path("purelib")
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.path.append(sys.argv.pop(1)); "
    "from guestagent.cli import main; sys.exit(main(sys.argv[1:]))"
)


# What starts a program in namespaces, and verbs that change nothing.
_ELSEWHERE = ("nsenter", "unshare")
_HARMLESS = ("fetch", "network", "post", "schema", "sign", "status", "validate")


class Result(NamedTuple):
    """How a run of the agent ended."""

    status: int
    out: str
    err: str


def agent(*arguments: str | Path, python: str = "python3", before: Sequence[str] = ()) -> Result:
    """Run the agent as its package does: isolated, without the site module.

    ``before`` are words that come before its command, and start that elsewhere.
    """
    if not before or before[0] not in _ELSEWHERE:
        spare_this_machine(*map(str, arguments))
    interpreter = sys.executable if python == "python3" else python
    argv = [
        *before,
        interpreter,
        "-IBS",
        "-c",
        _START,
        str(REPOSITORY),
        LIBRARIES,
        *map(str, arguments),
    ]
    done = subprocess.run(argv, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def spare_this_machine(*arguments: str) -> None:
    """Refuse a command line of the agent that would configure the machine that runs the tests.

    It has to name another tree, or to be run in namespaces.
    """
    try:
        options = parse(list(arguments))
    except UsageError:
        return  # so the agent does nothing
    harmless = options.verb in _HARMLESS or options.dry_run or options.help or options.version
    if not harmless and options.root == "/":
        pytest.fail(f"would change this machine: guestagent {' '.join(arguments)}")


def collected(read: Callable[..., T], *given: object) -> tuple[T, list[Problem]]:
    """Call a reader with a collector of problems; return what it returns, and the problems."""
    problems = Problems()
    found = read(*given, problems)
    return found, problems.problems


def need(condition: bool, reason: str) -> None:
    """Skip a test for a reason, or fail it where everything must run."""
    if not condition and os.environ.get("GUESTAGENT_REQUIRE_ALL") == "1":
        pytest.fail(f"must run here: {reason}")
    if not condition:
        pytest.skip(reason)


def need_root() -> None:
    """The test changes owners, users or roots."""
    need(os.geteuid() == 0, "needs root")


def need_tools(*names: str) -> None:
    """The test starts other programs."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in names if shutil.which(name, path=path) is None]
    need(not missing, f"needs {', '.join(missing)}")


def fake_clock(time: str) -> dict[str, str]:
    """The environment in which a program sees another wall clock, and the true monotonic one.

    ``time`` is for libfaketime: "@" and a time at which the clock starts, or a difference.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    need(bool(found), "needs libfaketime")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": time,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }


# The start of the epoch, after the last seconds that 31 and 32 bits can count, and a clock that
# jumps by 20 years, forth and back, each time that it is looked at.
CLOCKS = ("10", "2**31 + 5", "2**32 + 5", "real() + next(jumps) * 631152000")
_CLOCK = """
import itertools, sys, time
real, jumps = time.time, itertools.cycle((1, -1))
time.time = lambda: float({clock})
time.time_ns = None
"""


def with_clock(clock: str, argv: list[str]) -> list[str]:
    """The command line of a Python script with a wall clock of ``CLOCKS``.

    Python's own waits do not look at it.
    """
    interpreter, *rest = argv
    place = next(place for place, word in enumerate(rest) if not word.startswith("-"))
    run = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    return [interpreter, *rest[:place], "-c", _CLOCK.format(clock=clock) + run, *rest[place:]]


def copy_root(source: Path, target: Path) -> Path:
    """A guest tree from a checkout: modes as an installed system has them, homes' owners."""
    shutil.copytree(source, target, symlinks=True)
    for folder, _, names in os.walk(target):
        os.chmod(folder, 0o755)
        for name in names:
            if not os.path.islink(f"{folder}/{name}"):
                os.chmod(f"{folder}/{name}", 0o644)
    for program in (*target.glob("usr/bin/*"), *target.glob("usr/sbin/*")):
        program.chmod(0o755)
    for secret in (*target.glob("etc/*shadow"), *target.glob("etc/ssh/ssh_host_*_key")):
        secret.chmod(0o600)
    if os.geteuid() == 0:
        own_homes(target)
    return target


def own_homes(root: Path) -> None:
    """Give each home directory to the account that has it."""
    for line in (root / "etc/passwd").read_text().splitlines():
        _, _, uid, gid, _, home, _ = line.split(":")
        where = root / home.lstrip("/")
        if where.is_dir() and home != "/":
            for path in (where, *where.rglob("*")):
                os.chown(path, int(uid), int(gid), follow_symlinks=False)


class Entry(NamedTuple):
    """One name of a tree: what it is, and a digest of its content or its target."""

    kind: str
    mode: int
    uid: int
    gid: int
    digest: str


def snapshot(tree: Path) -> dict[str, Entry]:
    """Every name below a directory, without the times of anything."""
    found = {}
    for path in sorted(tree.rglob("*")):
        stat = path.lstat()
        digest, kind = "", "other"
        if path.is_symlink():
            kind, digest = "link", os.readlink(path)
        elif path.is_dir():
            kind = "dir"
        elif path.is_file():
            kind, digest = "file", hashlib.sha256(path.read_bytes()).hexdigest()
        name = "/" + str(path.relative_to(tree))
        found[name] = Entry(kind, stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, digest)
    return found


def snapshot_of_others(tree: Path) -> dict[str, Entry]:
    """Every name below a directory, without files of the agent itself and of its boot's end."""
    own = ("/guestagent", "/run/cloud-init", "/var/lib/cloud")
    found = snapshot(tree)
    return {name: entry for name, entry in found.items() if not any(part in name for part in own)}


def differences(before: dict[str, Entry], after: dict[str, Entry]) -> set[str]:
    """The names that are new, gone or different."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def make_drive(tree: Path, form: str, folder: Path) -> Path:
    """A config drive as a "directory", an "iso" or a "vfat" image."""
    if form == "directory":
        return tree
    image = folder / f"drive.{form}"
    if form == "iso":
        need_tools("xorriso")
        options = ("-quiet", "-J", "-r", "-V", "config-2", "-o", str(image), str(tree))
        _quietly("xorriso", "-as", "mkisofs", *options)
    else:
        need_tools("mkfs.vfat", "mcopy")
        _quietly("mkfs.vfat", "-n", "CONFIG-2", "-C", str(image), "4096")
        names = sorted(str(path) for path in tree.iterdir())
        _quietly("mcopy", "-s", "-Q", "-i", str(image), *names, "::/")
    return image


def make_ext(tree: Path, image: Path, *options: str, size: str = "4M") -> Path:
    """An image with a seed's label and ext4, of a directory; ``options`` are those of mke2fs(8)."""
    need_tools("mke2fs")
    image.unlink(missing_ok=True)
    if not any(option.startswith("-t") for option in options):
        options = ("-t", "ext4", *options)
    # A later -L counts.
    _quietly("mke2fs", "-q", "-F", "-L", "cidata", "-d", str(tree), *options, str(image), size)
    return image


def change_ext(image: Path, *commands: str) -> None:
    """Have debugfs(8) change a file system, as no other tool does."""
    need_tools("debugfs")
    for command in commands:
        _quietly("debugfs", "-w", "-R", command, str(image))


def ovf(properties: dict[str, str], more: str = "") -> str:
    """An OVF environment as VMware writes it, with these properties of the machine."""
    space = "http://schemas.dmtf.org/ovf/environment/1"
    lines = [
        f"<Property oe:key={quoteattr(key)} oe:value={quoteattr(value)}/>"
        for key, value in properties.items()
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Environment xmlns="{space}" xmlns:oe="{space}" oe:id="a">'
        f"<PlatformSection><Kind>VMware ESXi</Kind></PlatformSection>"
        f"<PropertySection>{''.join(lines)}</PropertySection>{more}</Environment>\n"
    )


def _quietly(*argv: str) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "PATH": path})


def resolve(file: Path, *names: str) -> list[list[str]]:
    """What getent(1) says of names with this file as /etc/hosts, and no other source."""
    need_root()
    need_tools("getent", "unshare", "mount")
    ask = 'for name; do getent -s files hosts "$name" || echo; done'
    script = f'mount --bind "$1" /etc/hosts; shift; {ask}'
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", str(file), *names]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]
