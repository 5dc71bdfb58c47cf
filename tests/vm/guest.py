"""A guest that a test can boot, command, reboot and look into."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .channel import Channel, CommandTimeout, GuestError, Monitor, Result
from .image import GuestImage
from .machine import HOT_PLUG_SLOTS, Drive, Machine, Nic
from .qcow2 import make_overlay

__all__ = ["BootTimes", "CommandTimeout", "Drive", "Guest", "GuestError", "Nic", "Result"]

_SSH_OPTIONS = {
    "UserKnownHostsFile": "/dev/null",
    "StrictHostKeyChecking": "no",
    "LogLevel": "ERROR",
    "ConnectTimeout": "20",
    "NumberOfPasswordPrompts": "1",
    "IdentityAgent": "none",
    "IdentitiesOnly": "yes",
}
# Tests may be killed before they can end their guests.
_WATCHDOG = 'cat > /dev/null; kill -9 "$1"; rm -rf "$2"'


def patience() -> float:
    """Return by what to multiply deadlines, which end what hangs and say nothing about speed."""
    return float(os.environ.get("GUESTAGENT_VM_PATIENCE", "3"))


@dataclass(frozen=True)
class BootTimes:
    """Seconds since the kernel started; units as (activation began, became active)."""

    userspace: float
    finished: float
    units: Mapping[str, tuple[float, float]]


class Guest:
    """One virtual machine; use it in a `with` statement, which ends it.

    It writes to an overlay of its own, so it may be powered off, given other
    drives or cards, and booted again as the same machine.
    """

    def __init__(
        self,
        image: GuestImage,
        drives: Sequence[Drive] = (),
        nics: Sequence[Nic] = (),
        smbios: Mapping[str, str] | None = None,
        cmdline_extra: str = "",
        memory: str = "512M",
        overlay: Path | None = None,
        write_log: Path | None = None,
        strings: Sequence[str] = (),
    ) -> None:
        # Sockets need a short path, which a test's own directory is not.
        self._dir = Path(tempfile.mkdtemp(prefix="guest-"))
        self.machine = Machine(
            image,
            overlay or self._dir / "root.qcow2",
            self._dir,
            tuple(drives),
            tuple(nics),
            smbios or {},
            cmdline_extra,
            memory,
            write_log=write_log,
            strings=strings,
        )
        self._qemu: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._monitor: Monitor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note("Last lines of the guest's console:\n" + self.console_tail())
        self.close()

    def close(self) -> None:
        """End the machine and forget its disk."""
        self.kill()
        shutil.rmtree(self._dir, ignore_errors=True)

    # Life

    def boot(self, timeout: float = 120.0, settle: bool = True) -> Self:
        """Start the machine and wait for the channel; to `settle`, for the whole boot."""
        self.start()
        self._ready(timeout, "", settle)
        return self

    def start(self) -> None:
        """Start the machine without waiting for the system on it."""
        if self._qemu is not None:
            raise GuestError("the guest is running already")
        if not self.machine.overlay.exists():
            make_overlay(self.machine.overlay, self.machine.image.disk)
        for name in ("qmp.sock", "channel.sock"):
            (self._dir / name).unlink(missing_ok=True)
        with (self._dir / "qemu.log").open("wb") as log:
            self._qemu = subprocess.Popen(
                self.machine.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        watchdog = ["sh", "-c", _WATCHDOG, "sh", str(self._qemu.pid), str(self._dir)]
        self._watchdog = subprocess.Popen(watchdog, stdin=subprocess.PIPE)
        try:
            self._monitor = Monitor(self._dir / "qmp.sock")
            self._channel = Channel(self._dir / "channel.sock")
            self._unplug_cables()
        except (OSError, GuestError) as error:
            self.kill()
            raise GuestError((self._dir / "qemu.log").read_text() or str(error)) from error

    def _unplug_cables(self) -> None:
        for number, nic in enumerate(self.machine.nics):
            if not nic.connected:
                self.qmp("set_link", name=f"net{number}", up=False)

    def _ready(self, timeout: float, not_boot: str, settle: bool) -> None:
        deadline = time.monotonic() + timeout * patience()
        try:
            self.channel.wait_ready(deadline - time.monotonic(), not_boot)
            if settle:
                self.settle(deadline - time.monotonic())
        except GuestError as error:
            qemu_said = (self._dir / "qemu.log").read_text()
            raise GuestError(f"{error}\n{qemu_said}{self.console_tail()}") from error

    def settle(self, timeout: float = 120.0) -> str:
        """Wait until the boot is over and every device named; return how: "running", …"""
        wait = ["systemctl", "is-system-running", "--wait"]
        state = self.run(wait, timeout=timeout).stdout.strip()
        self.run(["udevadm", "settle"], timeout=timeout)
        return state

    def reboot(
        self,
        timeout: float = 180.0,
        settle: bool = True,
        by: Sequence[str] = ("systemctl", "reboot"),
    ) -> None:
        """Shut down from inside for a reboot, and start again on the same disks."""
        # Through a new QEMU: in the old one the second boot takes twice as long,
        # for every page of memory is known to hold translated code.
        self.qmp("set-action", reboot="shutdown")
        self.channel.send(by)
        self._end(timeout * patience())
        self.boot(timeout, settle)

    def wait_rebooted(self, boot_id: str, timeout: float = 180.0, settle: bool = True) -> None:
        """Wait until the guest, which reboots by itself, is past the given boot."""
        self._ready(timeout, boot_id, settle)

    @property
    def boot_id(self) -> str:
        """The kernel's name for the present boot."""
        return self.channel.boot_id

    def power_off(self, timeout: float = 60.0) -> None:
        """Shut down from inside; `boot` starts the same machine again."""
        self.channel.send(["systemctl", "poweroff"])
        self._end(timeout * patience())

    def kill(self) -> None:
        """Cut the power."""
        if self._qemu is None:
            return
        try:
            # QEMU writes out what it holds of the overlay, unlike under a signal.
            self.qmp("quit")
            self._end(10.0)
        except (GuestError, OSError):
            self._qemu.kill()
            self._end(10.0)

    def _end(self, timeout: float) -> None:
        assert self._qemu is not None
        try:
            self._qemu.wait(timeout)
        except subprocess.TimeoutExpired:
            raise GuestError("the guest does not end\n" + self.console_tail()) from None
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog.stdin.close()
        for connection in (self._channel, self._monitor):
            if connection is not None:
                connection.close()
        self._qemu = self._watchdog = self._channel = self._monitor = None

    # Commands

    @property
    def channel(self) -> Channel:
        """The command channel of the running guest."""
        if self._channel is None:
            raise GuestError("the guest is off")
        return self._channel

    def run(
        self,
        command: str | Sequence[str],
        input: bytes | str = b"",
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a shell command, or the words of one, as root."""
        given = input.encode() if isinstance(input, str) else input
        return self.channel.call(command, given, env, timeout * patience())

    def check(self, command: str | Sequence[str], **options: Any) -> str:
        """Run a command that must succeed; return what it printed."""
        return self.run(command, **options).check().stdout

    def put(self, path: str, data: bytes | str, mode: int = 0o644) -> None:
        """Write a file, and the directories above it."""
        script = 'mkdir -p "$(dirname "$1")" && umask 077 && cat > "$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], input=data).check()

    def get(self, path: str) -> bytes:
        """Read a file."""
        return self.run(["cat", "--", path]).check().out

    def exists(self, path: str) -> bool:
        """Whether there is something at a path, be it a dead link."""
        return self.run('[ -e "$P" ] || [ -L "$P" ]', env={"P": path}).ok

    # Network

    def ssh_port(self, nic: int = 0) -> int:
        """Return the port on 127.0.0.1 that leads to port 22 of the guest."""
        shown = self.qmp("human-monitor-command", **{"command-line": "info usernet"})
        address = re.escape(self.machine.nics[nic].address)
        found = re.search(rf"HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+{address}\s+22\s", shown)
        if found is None:
            raise GuestError(f"no way to the guest's port 22:\n{shown}")
        return int(found[1])

    def ssh(
        self,
        user: str,
        command: str = "true",
        *,
        key: Path | None = None,
        password: str | None = None,
        nic: int = 0,
        timeout: float = 60.0,
    ) -> Result:
        """Run a command over SSH as a user; status 255 is SSH's own failure."""
        options = dict(_SSH_OPTIONS, PreferredAuthentications="publickey")
        argv, env = [], dict(os.environ)
        if password is not None:
            options["PreferredAuthentications"] = "password,keyboard-interactive"
            argv, env["SSHPASS"] = ["sshpass", "-e"], password
        argv += ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in options.items())]
        argv += ["-i", str(key)] if key else []
        argv += ["-p", str(self.ssh_port(nic)), f"{user}@127.0.0.1", command]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=env,
            timeout=timeout * patience(),
        )
        return Result(f"ssh {user} {command}", done.returncode, done.stdout, done.stderr)

    # Hardware

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Give QEMU a command of its machine protocol."""
        if self._monitor is None:
            raise GuestError("the guest is off")
        return self._monitor.execute(command, arguments)

    def hot_plug(self, drive: Drive, slot: int = 0) -> None:
        """Attach a drive to the running guest, in one of the free slots."""
        if not 0 <= slot < HOT_PLUG_SLOTS:
            raise ValueError(f"there are {HOT_PLUG_SLOTS} slots")
        node = f"hot{slot}"
        where = {} if self.machine.is_old else {"bus": f"slot{slot}"}
        self.qmp("blockdev-add", **drive.blockdev(node))
        if "scsi" in drive.bus:
            controller = f"scsi-{node}"
            self.qmp("device_add", driver="virtio-scsi-pci", id=controller, **where)
            where = {"bus": f"{controller}.0"}
        self.qmp("device_add", **drive.device(node, **where))

    def hot_unplug(self, slot: int = 0) -> None:
        """Detach the drive in a slot, as soon as the guest lets go of it."""
        self._detach(f"dev-hot{slot}")
        # QEMU itself lets go of it a moment later.
        node = {"node-name": f"hot{slot}"}
        self._wait_until(lambda: self._can("blockdev-del", **node), f"hot{slot} is in use")

    def hot_plug_nics(self, *nics: Nic, slot: int = 0) -> None:
        """Attach up to eight cards to the running guest at once, as functions of one device."""
        for function, nic in reversed(tuple(enumerate(nics))):
            # The guest looks when function 0 is there, which is therefore the last one.
            node = f"hotnet{slot}.{function}"
            self.qmp("netdev_add", **nic.netdev(node))
            where: dict[str, Any] = {"bus": f"slot{slot}"}
            if len(nics) > 1:
                where |= {"addr": f"0.{function}", "multifunction": True}
            self.qmp("device_add", **nic.device(node), **where)

    def hot_unplug_nics(self, slot: int = 0, count: int = 1) -> None:
        """Detach the cards in a slot, as soon as the guest lets go of them."""
        self._detach(f"dev-hotnet{slot}.0")
        for function in range(count):
            self.qmp("netdev_del", id=f"hotnet{slot}.{function}")

    def change_medium(self, path: Path | None, drive: int = 0) -> None:
        """Put another CD into one of the CD-ROM drives that the guest booted with, or none."""
        device = f"dev-drive{drive}"
        # One request to let go, as of the drive's button: a second one would eject the new CD.
        self._can("blockdev-open-tray", id=device)
        self._wait_until(lambda: self._is_open(device), f"{device} stays closed")
        if path is None:
            self.qmp("blockdev-remove-medium", id=device)
        else:
            self.qmp("blockdev-change-medium", id=device, filename=str(path), format="raw")

    def _can(self, command: str, **arguments: Any) -> bool:
        try:
            self.qmp(command, **arguments)
        except GuestError:
            return False
        return True

    def _is_open(self, device: str) -> bool:
        drives = self.qmp("query-block")
        return any(item.get("qdev") == device and item["tray_open"] for item in drives)

    def _detach(self, device: str) -> None:
        self.qmp("device_del", id=device)

        def is_gone() -> bool:
            devices = self.qmp("qom-list", path="/machine/peripheral")
            return all(item["name"] != device for item in devices)

        self._wait_until(is_gone, f"the guest does not let go of {device}")

    def _wait_until(self, is_so: Callable[[], bool], otherwise: str, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout * patience()
        while not is_so():
            if time.monotonic() > deadline:
                raise GuestError(otherwise)
            time.sleep(0.2)

    # Looking in

    @property
    def console(self) -> str:
        """Everything that came over the serial console so far."""
        log = self._dir / "console.log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def console_tail(self) -> str:
        """Return the last lines of the console."""
        return "\n".join(self.console.splitlines()[-40:])

    def wait_for(self, command: str | Sequence[str], timeout: float = 30.0) -> Result:
        """Repeat a command until it succeeds."""
        deadline = time.monotonic() + timeout * patience()
        while True:
            result = self.run(command)
            if result.ok or time.monotonic() > deadline:
                return result.check()
            time.sleep(0.2)

    def boot_times(self, *units: str) -> BootTimes:
        """Return when the system and the given units were up, in this boot."""
        names = ("UserspaceTimestampMonotonic", "FinishTimestampMonotonic")
        userspace, finished = self._stamps([], names)
        names = ("InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        times = {unit: self._stamps([unit], names) for unit in units}
        return BootTimes(userspace, finished, times)

    def _stamps(self, unit: list[str], names: tuple[str, str]) -> tuple[float, float]:
        shown = self.check(["systemctl", "show", "-p", ",".join(names), "--", *unit])
        values = dict(line.split("=", 1) for line in shown.splitlines())
        first, second = (int(values[name] or 0) / 1e6 for name in names)
        return first, second
