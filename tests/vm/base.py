"""The root tree under every guest image: Debian as the mirror has it, without the agent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from . import cache
from .chroot import debian_mirror, host_command, in_tree

# GUESTAGENT_SUITE names another release of Debian, such as sid for what systemd will be.
SUITE = os.environ.get("GUESTAGENT_SUITE", "trixie")
# What boots (the cloud kernel has every bus and file system a config drive uses), what
# the agent configures, what the agent runs on, and what the tests look with. dnsmasq-base
# is the program without its service.
PACKAGES = """
linux-image-cloud-amd64 systemd systemd-sysv udev dbus kmod busybox-static
systemd-resolved ifupdown dhcpcd-base iproute2 openssh-server openssh-client passwd sudo
python3 python3-yaml python3-requests python3-pyudev python3-psutil ca-certificates
procps dnsmasq-base
"""

_DPKG_WHILE_BUILDING = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
"""
_NO_SERVICES = "#!/bin/sh\nexit 101\n"


def _bootstrap(tree: Path, mirror: str) -> None:
    host_command(["debootstrap", "--variant=minbase", SUITE, str(tree), mirror])
    policy = tree / "usr/sbin/policy-rc.d"
    policy.write_text(_NO_SERVICES)
    policy.chmod(0o755)


def _install(tree: Path, packages: Sequence[str]) -> None:
    settings = tree / "etc/dpkg/dpkg.cfg.d/harness"
    settings.write_text(_DPKG_WHILE_BUILDING)
    in_tree(tree, ["apt-get", "update"])
    in_tree(tree, ["apt-get", "install", "-y", "--no-install-recommends", *packages])
    settings.write_text("force-unsafe-io\n")


def _trim(tree: Path) -> None:
    in_tree(tree, ["apt-get", "clean"])
    for unused in ("var/lib/apt/lists", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(tree / unused, ignore_errors=True)
        (tree / unused).mkdir()
    for log in (tree / "var/log").glob("*.log"):
        log.unlink()


def _build(entry: Path) -> None:
    tree = entry / "tree"
    _bootstrap(tree, debian_mirror())
    _install(tree, PACKAGES.split())
    _trim(tree)


def base_key() -> str:
    """Return the name of the base tree that this code and package list make."""
    here = Path(__file__).parent
    return cache.digest([SUITE, here / "base.py", here / "chroot.py"])


def _extend(entry: Path, packages: Sequence[str]) -> None:
    tree = entry / "tree"
    host_command(["cp", "-a", "--reflink=auto", str(base_tree()), str(tree)])
    _install(tree, packages)
    _trim(tree)


def base_tree(*packages: str) -> Path:
    """Return the base root tree, with more packages if any are given; never write to it.

    It is built first if the cache lacks it.
    """
    if packages:
        key = cache.digest([base_key(), *packages])
        entry = cache.obtain("extended", key, lambda entry: _extend(entry, packages))
        cache.prune("extended", keep=6)
        return entry / "tree"
    entry = cache.obtain("base", base_key(), _build)
    cache.prune("base", keep=2)
    return entry / "tree"
