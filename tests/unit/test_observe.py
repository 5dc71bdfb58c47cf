"""What ``status`` shows of the machine as it is now, to every user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import pyudev
import rig
from boot_machine import Machine, machine

from guestagent import defs
from guestagent.live import observe as module
from guestagent.live.observe import Device, Interface, Mount, Observed, Running, Unit, observe
from guestagent.options import Options
from guestagent.verbs import status

# In a network namespace with NICs of its own, as a user without rights. All modules are imported
# first: such a user may not be able to read the interpreter's library.
_LINKS = """
ip link add nic0 type veth peer name nic1
ip link set nic0 address 52:54:00:12:34:56 mtu 1400 up
ip address add 192.0.2.5/24 dev nic0
ip address add 2001:db8::5/64 dev nic0 nodad
ip link set nic1 up
ip link add nic2 type veth peer name nic3
exec "$@"
"""
_OBSERVE = """
import os, sys; sys.path[:0] = sys.argv[1:]
import psutil, pyudev
from guestagent.live.observe import observe
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
from guestagent.system.jsontext import dumps
print(dumps([item._asdict() for item in observe("").interfaces]))
"""


@pytest.fixture
def system(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    found = machine(tree, monkeypatch)
    monkeypatch.setattr(status, "Root", lambda _: found.root)
    yield found
    found.root.close()


def look(source: str = "") -> Observed:
    found = observe(source)
    assert found is not None
    return found


def test_interfaces_and_their_addresses_as_any_user() -> None:
    rig.need_root()
    libraries = str(Path(psutil.__file__).parents[1])
    python = [sys.executable, "-IBS", "-c", _OBSERVE, str(rig.REPOSITORY), libraries]
    argv = ["unshare", "--net", "sh", "-ec", _LINKS, "sh", *python]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    first, _, second, _ = json.loads(done.stdout)
    assert (first["name"], first["up"], first["mac"]) == ("nic0", True, "52:54:00:12:34:56")
    assert first["mtu"] == 1400
    assert set(first["addresses"]) >= {"192.0.2.5/24", "2001:db8::5/64"}
    assert all("%" not in address for address in first["addresses"])
    assert (second["name"], second["up"], second["addresses"]) == ("nic2", False, [])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Processes of these names; that of sshd has a child, as before OpenSSH 9.8 a session was."""
    shell, sleep = shutil.which("bash"), shutil.which("sleep")
    assert shell
    assert sleep
    found = {}
    for name, program in (("sshd", shell), ("guestagentd", sleep), ("sshd-session", sleep)):
        shutil.copy(program, tmp_path / name)
        words = ["-c", "(read -t 60 <> <(:)); true"] if program == shell else ["60"]
        found[name] = subprocess.Popen([tmp_path / name, *words])
    deadline = time.monotonic() + 10
    while {psutil.Process(item.pid).name() for item in found.values()} != found.keys():
        assert time.monotonic() < deadline
    while not psutil.Process(found["sshd"].pid).children():
        assert time.monotonic() < deadline
    yield found
    for process in found.values():
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        process.wait()


def test_sshd_and_the_agent_s_own_processes(
    running: dict[str, subprocess.Popen[bytes]],
) -> None:
    found = look()
    pids = {item.pid for item in found.sshd}
    assert running["sshd"].pid in pids
    sessions = psutil.Process(running["sshd"].pid).children()
    assert "sshd" in {session.name() for session in sessions}
    assert pids.isdisjoint(session.pid for session in sessions)
    assert running["sshd-session"].pid not in pids
    (own,) = (item for item in found.processes if item.pid == running["guestagentd"].pid)
    assert own.name == "guestagentd"
    assert 0 <= own.cpu_seconds < 10
    assert 0 < own.memory < 64 << 20


def test_this_very_process_is_none_of_the_agent_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OWN", (psutil.Process().name(),))
    assert os.getpid() not in {item.pid for item in look().processes}


def test_units_and_what_systemd_has_counted(system: Machine) -> None:
    system.units = {
        defs.LOCAL_UNIT: "ActiveState=active\nCPUUsageNSec=1540000000\nMemoryPeak=22020096",
        defs.EARLY_UNIT: "ActiveState=inactive\nCPUUsageNSec=[not set]\nMemoryPeak=[not set]",
        defs.LATE_UNIT: "ActiveState=failed\nResult=timeout\nCPUUsageNSec=20000000\n"
        "MemoryPeak=18446744073709551615",
    }
    system.say()
    assert module._units() == (
        Unit(defs.LATE_UNIT, "failed", 0.02, None, "timeout"),
        Unit(defs.LOCAL_UNIT, "active", 1.54, 22020096),
    )


class Known(NamedTuple):
    """What udev knows of a block device."""

    device_node: str
    properties: dict[str, str]


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[Known]:
    """The block devices, as no udevd runs where this is tested."""
    found: list[Known] = []
    monkeypatch.setattr(pyudev.Context, "list_devices", lambda *_, **__: found)
    return found


def add(devices: list[Known], node: str, kind: str = "", label: str = "") -> None:
    known = {"ID_FS_TYPE": kind, "ID_FS_LABEL": label}
    devices.append(Known(node, {name: value for name, value in known.items() if value}))


def test_what_udev_has_found_on_block_devices(devices: list[Known]) -> None:
    add(devices, "/dev/vda")
    add(devices, "/dev/vda1", "ext4")
    add(devices, "/dev/sr0", "iso9660", "CONFIG-2")
    assert look().devices == (
        Device("/dev/sr0", "iso9660", "CONFIG-2"),
        Device("/dev/vda1", "ext4", ""),
    )


def test_where_a_labelled_drive_is_mounted(devices: list[Known]) -> None:
    entry = psutil.disk_partitions(all=True)[0]
    add(devices, entry.device, "vfat", "cidata")
    assert {mount.device for mount in look().mounts} == {entry.device}


def test_where_the_drive_is_mounted() -> None:
    entry = psutil.disk_partitions(all=True)[0]
    found = look(entry.device)
    assert Mount(entry.device, entry.mountpoint, entry.fstype) in found.mounts
    assert look("/dev/none").mounts == ()


SEEN = Observed(
    (Interface("nic0", True, "52:54:00:12:34:56", 1400, ("192.0.2.5/24",)),),
    (),
    (Running("guestagentd", 7, 10 << 20, 0.25),),
    (Unit(defs.LOCAL_UNIT, "active", 1.54, 21 << 20), Unit(defs.LATE_UNIT, "failed", None, None)),
    (Device("/dev/sr0", "iso9660", "x\x1b"), Device("/dev/vda1", "ext4", "")),
    (Mount("/dev/sr0", "/mnt/\x1b", "iso9660"),),
)


class TestShown:
    @pytest.fixture(autouse=True)
    def seen(self, system: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
        monkeypatch.setattr(status, "observe", lambda _: SEEN)
        system.write()
        return system

    def test_to_people(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert status.run(Options("status")) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown[shown.index("interface    nic0: up, 192.0.2.5/24") :] == [
            "interface    nic0: up, 192.0.2.5/24",
            "sshd         no process; ssh.socket may start it",
            "process      guestagentd, 7: 10.0 MiB, 0.25 s of CPU time",
            "unit         guestagent-local.service: active, 1.54 s of CPU time, 21.0 MiB at most",
            "unit         guestagent-late.service: failed",
            "device       /dev/sr0: iso9660, label x\\x1b",
            "device       /dev/vda1: ext4",
            "mounted      /dev/sr0 on /mnt/\\x1b (iso9660)",
        ]

    def test_to_programs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert status.run(Options("status", json=True)) == 0
        now: dict[str, list[dict[str, Any]]] = json.loads(capsys.readouterr().out)["now"]
        assert now.keys() == set(Observed._fields)
        assert now["interfaces"][0]["addresses"] == ["192.0.2.5/24"]
        assert now["units"][1] == {
            "name": defs.LATE_UNIT,
            "state": "failed",
            "cpu_seconds": None,
            "memory_peak": None,
            "result": "",
        }

    def test_a_run_that_was_killed_left_no_report_and_is_told_of(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        units = (
            Unit(defs.REFRESH_UNIT, "failed", 1.0, None, "timeout"),
            Unit(defs.POLL_UNIT, "failed", 1.0, None, "exit-code"),
        )
        monkeypatch.setattr(status, "observe", lambda _: SEEN._replace(units=units))
        assert status.run(Options("status")) == defs.EXIT_ERRORS
        shown = capsys.readouterr()
        assert "state        errors" in shown.out
        assert "guestagent-refresh.service failed (timeout): see journalctl -u" in shown.err
        assert "guestagent-poll.service" not in shown.err

    @pytest.mark.parametrize("library", ["psutil", "pyudev"])
    def test_not_of_another_tree_nor_without_its_libraries(
        self,
        seen: Machine,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        library: str,
    ) -> None:
        seen.root.live = False
        assert status.run(Options("status", json=True)) == 0
        assert json.loads(capsys.readouterr().out)["now"] == {}
        seen.root.live = True
        monkeypatch.setattr(status, "observe", observe)
        monkeypatch.setitem(sys.modules, library, None)
        assert status.run(Options("status", json=True)) == 0
        assert json.loads(capsys.readouterr().out)["now"] == {}
