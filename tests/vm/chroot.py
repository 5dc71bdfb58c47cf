"""Programs run inside a root tree, with the host's way to the package mirror."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy")
_ACQUIRE = re.compile(r"Acquire::(http|https|Check-Valid-Until|Check-Date|Retries|Languages)\b")

# In namespaces of its own everything mounted or left running ends with the command.
# Name service goes through /run because the guest's resolv.conf may point there.
_ENTER = """
set -e
tree=$1 apt_conf=$2
shift 2
mount -t proc proc "$tree/proc"
mount -t tmpfs tmpfs "$tree/run"
mkdir -p "$tree/run/systemd/resolve"
cp -L /etc/resolv.conf "$tree/run/systemd/resolve/stub-resolv.conf"
printf '%s\n' "$apt_conf" > "$tree/run/apt-from-host.conf"
export APT_CONFIG=/run/apt-from-host.conf
exec chroot "$tree" "$@"
"""


class BuildError(Exception):
    """A program needed to make an image failed."""


def build_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for image building: nothing of the caller's but proxies."""
    env = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        # The harness makes its own small initramfs.
        "INITRD": "No",
    }
    env.update({name: os.environ[name] for name in _PASSED_ON if name in os.environ})
    return env | dict(extra or {})


def host_command(argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Run a program of the host without a terminal; return what it printed."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=build_environment(env),
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-40:])
        raise BuildError(f"{argv[0]} ended with status {done.returncode}:\n{tail}")
    return done.stdout


def _apt_conf() -> str:
    settings = host_command(["apt-config", "dump"]).splitlines()
    return "\n".join(line for line in settings if _ACQUIRE.match(line))


def in_tree(tree: Path, argv: Sequence[str]) -> str:
    """Run a program inside a root tree as its root; return what it printed."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return host_command([*unshare, "sh", "-c", _ENTER, "sh", str(tree), _apt_conf(), *argv])


def debian_mirror() -> str:
    """Return the URL of the Debian archive this host installs from."""
    given = os.environ.get("GUESTAGENT_MIRROR")
    if given:
        return given
    printed = host_command(["apt-get", "update", "--print-uris"])
    found: list[str] = re.findall(r"^'(\S+?)/?/dists/[^']+/InRelease'", printed, re.MULTILINE)
    archives = [url for url in found if re.search(r"debian/?$", url)]
    if not archives:
        raise BuildError("no Debian archive in apt's sources; set GUESTAGENT_MIRROR")
    return archives[0]
