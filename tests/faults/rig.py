"""The rig: an installed copy of the agent, a scratch tree, and strace around a run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
SAMPLE = PROJECT / "tests/cases/samples/nova"
BOOKKEEPING = ("run/guestagent", "var/lib/guestagent")
STEPS = ("var/lib/guestagent/early", "var/lib/guestagent/late")
USER_DATA = PROJECT / "tests/cases/samples/user-data"
# What the agent calls to change a tree.  openat changes one only with O_CREAT.
MUTATING = (
    *("openat", "write", "fchmod", "fchmodat", "renameat"),
    *("mkdirat", "unlinkat", "rmdir", "fsync", "syncfs", "symlinkat"),
)
ONE_KEY = '[ssh]\nhost_key_types = ["ed25519"]\n'
HOST_KEY = re.compile(r"etc/ssh/ssh_host_\w+_key(\.pub)?")
_CALL = re.compile(r"(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed>)(.*)")


class Entry(NamedTuple):
    """One file, directory or link of a tree."""

    mode: int
    user: int
    group: int
    content: bytes


class Call(NamedTuple):
    """One system call; ``number`` counts those of its name in its process, from 1."""

    process: int
    name: str
    number: int
    text: str


class Agent:
    """The agent as its package installs it: byte-compiled, with the package's start script."""

    def __init__(self, place: Path) -> None:
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / "guestagent", place / "guestagent", ignore=unwanted)
        subprocess.run([sys.executable, "-m", "compileall", "-q", place], check=True)
        start = (PROJECT / "packaging/bin/guestagent").read_text()
        self.script = place / "start"
        self.script.write_text(start.replace("/usr/share/guestagent", str(place)))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-BIS", str(self.script), *arguments]


class Scene:
    """A tree to configure, and the source to do it with."""

    def __init__(
        self, agent: Agent, tree: Path, drive: Path = SAMPLE / "drive", settings: str = ONE_KEY
    ) -> None:
        self.agent, self.tree, self.drive, self.settings = agent, tree, drive, settings
        self.image = SAMPLE / "root"

    def fresh(self) -> None:
        """The sample's tree, with an sshd and the host keys of an image."""
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(self.image, self.tree, symlinks=True)
        for line in (self.tree / "etc/passwd").read_text().splitlines():
            _, _, uid, gid, _, home, _ = line.split(":")
            if (self.tree / home[1:]).is_dir():
                os.chown(self.tree / home[1:], int(uid), int(gid))
        for path, text in {
            "usr/sbin/sshd": "",
            "etc/ssh/ssh_host_ed25519_key": "image",
            "etc/ssh/ssh_host_rsa_key": "image",
            "etc/guestagent/guestagent.toml": self.settings,
        }.items():
            (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / path).write_text(text)

    def command(self) -> list[str]:
        return self.agent.command("--root", str(self.tree), "--source", str(self.drive))

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(), capture_output=True, text=True, timeout=60)

    def strace(self, *options: str, out: str = os.devnull) -> subprocess.CompletedProcess[str]:
        command = ["strace", "-f", "-qq", "-o", out, *options, "--", *self.command()]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def inject(self, call: Call, fault: str) -> subprocess.CompletedProcess[str]:
        """Run with one system call disturbed: the call's number counts in each process."""
        what = f"inject={call.name}:{fault}:when={call.number}"
        return self.strace("-e", f"trace={call.name}", "-e", what)

    def calls(self, *names: str, options: tuple[str, ...] = ()) -> list[Call]:
        """The system calls of one run, in order."""
        log = self.tree.parent / "strace.log"
        self.strace("-e", f"trace={','.join(names)}", *options, out=str(log))
        return parse(log.read_text())

    def snapshot(self) -> dict[str, Entry]:
        """The tree without the agent's own files; host keys, always new, by their form only.

        Staged scripts are no bookkeeping: what would run is as new as any other file.
        """
        found = {}
        for path in sorted(self.tree.rglob("*")):
            name = str(path.relative_to(self.tree))
            if name.startswith(STEPS) or not name.startswith(BOOKKEEPING):
                found[name] = _entry(path, name)
        return found

    def temporaries(self) -> list[str]:
        """What a run may leave only when it is killed."""
        found = [str(path) for path in self.tree.rglob(".guestagent.*")]
        own = ("var/lib/guestagent/staging.json", "run/guestagent/hostkeys")
        return found + [name for name in own if (self.tree / name).exists()]


def _entry(path: Path, name: str) -> Entry:
    found = path.lstat()
    content = b""
    if path.is_symlink():
        content = os.readlink(path).encode()
    elif path.is_file():
        content = path.read_bytes()
        if HOST_KEY.fullmatch(name) and content != b"image":
            private = content.endswith(b"-----END OPENSSH PRIVATE KEY-----\n")
            content = b"whole" if private or content.startswith(b"ssh-ed25519 ") else b"broken"
    return Entry(found.st_mode, found.st_uid, found.st_gid, content)


def parse(log: str) -> list[Call]:
    """The calls in a log of strace, each numbered among those of its name and process."""
    counts: dict[tuple[int, str], int] = {}
    found = []
    for line in log.splitlines():
        match = _CALL.match(line)
        if match and match[3] == "(":
            process, name = int(match[1]), match[2]
            counts[process, name] = counts.get((process, name), 0) + 1
            found.append(Call(process, name, counts[process, name], match[4]))
    return found


def changing(calls: list[Call]) -> list[Call]:
    """Those that change something: openat only with O_CREAT."""
    return [call for call in calls if call.name != "openat" or "O_CREAT" in call.text]


def old_or_new(
    call: Call, before: dict[str, Entry], now: dict[str, Entry], after: dict[str, Entry]
) -> None:
    """Each target is as before the run or as after a whole one; only temporaries are new."""
    for name in before.keys() | after.keys():
        assert now.get(name) in (before.get(name), after.get(name)), (call, name)
    stray = now.keys() - before.keys() - after.keys()
    assert all("/.guestagent." in name for name in stray), (call, stray)
