"""A running guest with a real sshd, in namespaces: the agent configures it, and ssh logs in.

/etc, /home, /var/lib and /run are a tree of the test, and /usr is this machine's with sshd laid
over it.  root's home is in /home, as the interpreter may be in this machine's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import rig

# What the dynamic linker, useradd(8) and PAM read of /etc.
_KEPT = ("ld.so.cache", "ld.so.conf", "alternatives", "login.defs", "security")
_PAM = "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n"
_SETTINGS = (
    '[ssh]\nhost_key_types = ["ed25519"]\n[network]\nmanage = false\n[files]\nmanage = false\n'
)
_PORT = "2222"
_SET_UP = """
set -e
mount -t tmpfs tmpfs "$1/scratch"
mkdir "$1/scratch/new" "$1/scratch/work"
above="upperdir=$1/scratch/new,workdir=$1/scratch/work"
mount -t overlay overlay -o "lowerdir=$1/usr:/usr,$above" /usr
for name in etc home var/lib run; do mount --bind "$1/$name" "/$name"; done
ip link set lo up
echo ready
exec cat
"""


class World:
    """The guest; ``tree`` has its files."""

    def __init__(self, folder: Path) -> None:
        rig.need_root()
        rig.need_tools("sshd", "ssh", "ssh-keygen", "unshare", "nsenter", "mount", "ip", "useradd")
        self.folder = folder
        self.tree = rig.copy_root(rig.SAMPLES / "nova/root", folder / "tree")
        for name in ("scratch", "usr/sbin", "run/sshd", "home/root", "etc/pam.d"):
            (self.tree / name).mkdir(parents=True, exist_ok=True)
        os.chmod(self.tree / "home/root", 0o700)
        sshd = shutil.which("sshd")
        assert sshd is not None
        shutil.copy(sshd, self.tree / "usr/sbin/sshd")
        for name in _KEPT:
            subprocess.run(["cp", "-a", f"/etc/{name}", self.tree / "etc"], check=False)
        (self.tree / "etc/pam.d/sshd").write_text(_PAM)
        self.put("etc/guestagent/guestagent.toml", _SETTINGS)
        self.add_to("etc/ssh/sshd_config", "KbdInteractiveAuthentication no")
        self.add_to("etc/passwd", "sshd:x:74:74::/run/sshd:/usr/sbin/nologin")
        text = (self.tree / "etc/passwd").read_text().replace(":/root:", ":/home/root:")
        (self.tree / "etc/passwd").write_text(text)
        self.put("etc/shadow", "root:*:19000::::::\ndebian:*:19000::::::\nsshd:!:19000::::::\n")
        os.chmod(self.tree / "etc/shadow", 0o600)
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-qtecdsa", "-N", "", "-f", self.key], check=True)
        self._start()

    def _start(self) -> None:
        argv = ["unshare", "--net", "--mount", "--uts", "--propagation", "private"]
        argv += ["sh", "-c", _SET_UP, "sh", str(self.tree)]
        self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def public(self) -> str:
        """The public key of whoever logs in."""
        return Path(f"{self.key}.pub").read_text().strip()

    def put(self, path: str, text: str) -> None:
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def add_to(self, path: str, line: str) -> None:
        with (self.tree / path).open("a") as file:
            file.write(f"{line}\n")

    def sshd_says(self, text: str) -> None:
        """Give sshd a file that comes before guestagent's."""
        self.put("etc/ssh/sshd_config.d/05-image.conf", text)

    def drop_in(self) -> str:
        """What guestagent tells sshd; empty for nothing."""
        file = self.tree / "etc/ssh/sshd_config.d/10-guestagent.conf"
        return file.read_text() if file.exists() else ""

    def inside(self, *argv: str) -> list[str]:
        return ["nsenter", "-t", str(self._holder.pid), "-n", "-m", "-u", *argv]

    def sh(self, script: str) -> None:
        subprocess.run(self.inside("sh", "-ec", script), check=True)

    def apply(self, user_data: str = "", *, keys: bool = True, **meta: object) -> rig.Result:
        """Run the agent on the running guest, with this key in the metadata unless told not to."""
        latest = self.folder / "drive/openstack/latest"
        latest.mkdir(parents=True, exist_ok=True)
        given = {"public_keys": {"k": self.public}} if keys else {}
        (latest / "meta_data.json").write_text(json.dumps({"uuid": "i-1", **given, **meta}))
        (latest / "user_data").unlink(missing_ok=True)
        if user_data:
            (latest / "user_data").write_text(f"#cloud-config\n{user_data}")
        return rig.agent("apply", "--source", self.folder / "drive", before=self.inside())

    def problems(self) -> list[str]:
        """Severity and text of each problem of the last run's report."""
        report = json.loads((self.tree / "run/guestagent/report.json").read_text())
        return [f"{item['severity']}: {item['reason']}" for item in report["problems"]]

    def login(self, user: str) -> tuple[bool, list[str]]:
        """Whether the key lets a user in, and else the ways to log in that sshd offers."""
        self._serve()
        options = ("BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
        argv = ["ssh", "-p", _PORT, "-i", str(self.key), "-F", "none", "-o", "LogLevel=ERROR"]
        for option in (*options, "IdentitiesOnly=yes"):
            argv += ["-o", option]
        command = self.inside(*argv, f"{user}@127.0.0.1", "echo in")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        _, _, offered = done.stderr.partition("Permission denied (")
        return done.stdout == "in\n", offered.partition(")")[0].split(",")

    def _serve(self) -> None:
        """Start sshd again, with what is configured now."""
        self._stop()
        argv = self.inside("/usr/sbin/sshd", "-D", "-e", "-p", _PORT)
        with (self.folder / "sshd.log").open("w") as log:
            self._daemon = subprocess.Popen(argv, stderr=log)
        deadline = time.monotonic() + 20
        while "Server listening" not in (self.folder / "sshd.log").read_text():
            assert self._daemon.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(10)
            self._daemon = None

    def close(self) -> None:
        """End sshd and the namespaces."""
        self._stop()
        assert self._holder.stdin
        assert self._holder.stdout
        self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()
