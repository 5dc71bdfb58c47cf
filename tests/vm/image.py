"""Bootable guest images: the base tree, set up for the tests, with or without the agent.

Run as `python -m tests.vm.image [DEB]` it builds one and prints where it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import cache
from .base import base_key, base_tree
from .chroot import BuildError, host_command, in_tree
from .initramfs import make_initramfs

Network = Literal["networkd", "ifupdown", "networkmanager", "netplan"]

_HERE = Path(__file__).parent
_KEPT = 8
_DISK_SIZE = "2G"
# A fixed identity: with none, systemd takes every boot of a fresh overlay for the
# first and applies presets. Boot with systemd.condition_first_boot=1 for that case.
_MACHINE_ID = "6775657374616765006e740074657374"
# Work of an ordinary machine that only slows a short-lived one.
_MASKED = """
apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer
e2scrub_all.timer e2scrub_reap.service man-db.timer motd-news.timer
systemd-pstore.service getty@tty1.service serial-getty@ttyS0.service
dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount
sys-kernel-config.mount sys-fs-fuse-connections.mount
modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service
modprobe@fuse.service proc-sys-fs-binfmt_misc.automount systemd-tmpfiles-clean.timer
"""
# What each network stack needs besides the base tree, and its unit.
_PACKAGES: dict[Network, tuple[str, ...]] = {
    "networkd": (),
    "ifupdown": ("isc-dhcp-client",),
    "networkmanager": ("network-manager",),
    "netplan": ("netplan.io",),
}
NETWORK_UNITS: dict[Network, str] = {
    "networkd": "systemd-networkd.service",
    "ifupdown": "networking.service",
    "networkmanager": "NetworkManager.service",
    "netplan": "systemd-networkd.service",
}
# Each is a process in the way of every boot; none has anything to find here.
_UNUSED_GENERATORS = (
    "systemd-ssh-generator",
    "systemd-gpt-auto-generator",
    "systemd-cryptsetup-generator",
    "systemd-hibernate-resume-generator",
    "systemd-tpm2-generator",
    "systemd-veritysetup-generator",
    "systemd-integritysetup-generator",
    "systemd-bless-boot-generator",
    "systemd-rc-local-generator",
)


@dataclass(frozen=True)
class GuestImage:
    """What QEMU needs to boot one guest; the disk is only ever read."""

    disk: Path
    kernel: Path
    initramfs: Path


def _write(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _install_harness(tree: Path) -> None:
    """The harness's own units; that of the router is for tests to want (systemd.wants=)."""
    for name in ("channel_service.py", "router.sh"):
        _write(tree, f"usr/local/lib/harness/{name}", (_HERE / "inguest" / name).read_text())
    for name in ("harness-channel.service", "harness-router.service"):
        _write(tree, f"etc/systemd/system/{name}", (_HERE / "inguest" / name).read_text())
    in_tree(tree, ["systemctl", "enable", "harness-channel.service"])


def _mask_generator(tree: Path, name: str) -> None:
    mask = tree / "etc/systemd/system-generators" / name
    mask.parent.mkdir(exist_ok=True)
    mask.symlink_to("/dev/null")


def _configure(tree: Path, network: Network) -> None:
    _write(tree, "etc/fstab", "/dev/vda / ext4 errors=remount-ro,noinit_itable 0 0\n")
    _write(tree, "etc/hostname", "unnamed\n")
    _write(tree, "etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    _write(tree, "etc/machine-id", _MACHINE_ID + "\n")
    _write(tree, "etc/systemd/journald.conf.d/harness.conf", "[Journal]\nStorage=volatile\n")
    wanted = NETWORK_UNITS[network]
    for unit in {NETWORK_UNITS["networkd"], NETWORK_UNITS["ifupdown"]} - {wanted}:
        in_tree(tree, ["systemctl", "disable", unit])
    in_tree(tree, ["systemctl", "enable", wanted, "systemd-resolved.service", "ssh.service"])
    in_tree(tree, ["systemctl", "mask", *_MASKED.split()])
    for generator in _UNUSED_GENERATORS:
        _mask_generator(tree, generator)


def _install_agent(tree: Path, agent: Path | str) -> None:
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    if isinstance(agent, Path):
        _install_deb(tree, agent)
    else:
        in_tree(tree, ["apt-get", "update"])
        in_tree(tree, ["apt-get", "install", "-y", "--no-install-recommends", agent])
    in_tree(tree, ["apt-get", "clean"])


def _install_deb(tree: Path, deb: Path) -> None:
    shutil.copy(deb, tree / "tmp" / deb.name)
    install = ["apt-get", "install", "-y", "--no-install-recommends", f"/tmp/{deb.name}"]
    try:
        in_tree(tree, [*install, "--no-download"])
    except BuildError:
        # A dependency that the base lacks: fetch it as an ordinary machine would.
        in_tree(tree, ["apt-get", "update"])
        in_tree(tree, install)
    (tree / "tmp" / deb.name).unlink()


def _finish(tree: Path) -> None:
    (tree / "usr/sbin/policy-rc.d").unlink()
    (tree / "etc/dpkg/dpkg.cfg.d/harness").unlink()
    # Stamps by which systemd sees that nothing under /usr awaits processing.
    usr = (tree / "usr").stat().st_mtime_ns
    for stamp in ("etc/.updated", "var/.updated"):
        _write(tree, stamp, f"# Made by the test harness\nTIMESTAMP_NSEC={usr}\n")
        os.utime(tree / stamp, ns=(usr, usr))


def _label(tree: Path) -> None:
    """Give every file the label of the tree's own SELinux policy, if it has one."""
    contexts = "/etc/selinux/default/contexts/files/file_contexts"
    if (tree / contexts[1:]).exists():
        in_tree(tree, ["setfiles", "-F", "-e", "/proc", "-e", "/run", contexts, "/"])


def _make_disk(tree: Path, disk: Path) -> None:
    options = "lazy_itable_init=0,lazy_journal_init=0,assume_storage_prezeroed=1"
    make = ["mke2fs", "-q", "-t", "ext4", "-L", "guest-root", "-m", "0", "-J", "size=16"]
    host_command([*make, "-E", options, "-d", str(tree), str(disk), _DISK_SIZE])


@dataclass(frozen=True)
class _Plan:
    """What an image is made of; see `guest_image`."""

    agent: Path | str | None
    network: Network
    packages: Sequence[str]
    files: Mapping[str, str]

    def key(self) -> str:
        code = [_HERE / "image.py", _HERE / "initramfs.py"]
        code += sorted((_HERE / "inguest").glob("*.*"))
        given = [*self.packages, *(text for file in sorted(self.files.items()) for text in file)]
        needed = _PACKAGES[self.network]
        return cache.digest(
            [base_key(), self.network, *needed, self.agent or "plain", *given, *code]
        )


def _build(entry: Path, plan: _Plan) -> None:
    tree = entry / "tree"
    base = base_tree(*_PACKAGES[plan.network], *plan.packages)
    host_command(["cp", "-a", "--reflink=auto", str(base), str(tree)])
    _configure(tree, plan.network)
    _install_harness(tree)
    if plan.agent is not None:
        _install_agent(tree, plan.agent)
    for name, text in plan.files.items():
        _write(tree, name, text)
    _finish(tree)
    _label(tree)
    # Of two kernels the one that was asked for, and not the cloud's, which has fewer drivers.
    kernels = sorted((tree / "boot").glob("vmlinuz-*"), key=lambda path: "cloud" in path.name)
    shutil.copy(kernels[0], entry / "vmlinuz")
    version = kernels[0].name.removeprefix("vmlinuz-")
    make_initramfs(tree, entry / "initramfs", version)
    _make_disk(tree, entry / "disk.raw")
    shutil.rmtree(tree)


def guest_image(
    agent: Path | str | None = None,
    network: Network = "networkd",
    packages: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> GuestImage:
    """Return the image with this package of the agent in it, or without any agent.

    `agent` is a package's file, or a name in Debian's archive; `packages` are more from there,
    and `files` are written last. The image has no network configuration; `network` says which
    of the systems is enabled to carry one out. Images are cached by their content.
    """
    plan = _Plan(agent, network, packages, files or {})
    entry = cache.obtain("image", plan.key(), lambda entry: _build(entry, plan))
    cache.prune("image", _KEPT)
    return GuestImage(entry / "disk.raw", entry / "vmlinuz", entry / "initramfs")


def build_agent_deb(repository: Path, out: Path) -> Path:
    """Build the agent's package from the repository and return its path."""
    done = subprocess.run(
        [repository / "packaging/build-deb", out],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    print(guest_image(Path(sys.argv[1]) if len(sys.argv) > 1 else None).disk.parent)
