"""What runs on this machine now, beside what the report says: for ``status`` alone.

Every user may see it.  psutil and pyudev, each of which costs as much to import as three starts of
the interpreter, serve here, where nobody waits for a boot.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.live.boot import ask, trouble
from guestagent.record import NamedTuple
from guestagent.sources.find import rank
from guestagent.system.libc import packed_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

_OWN = ("guestagent", "guestagentd")  # names of processes
_PROPERTIES = "Id,ActiveState,Result,CPUUsageNSec,MemoryPeak"
_TOLD = ("", "success", "exit-code")  # one that ends by itself says why
_NANO = 1_000_000_000


class Interface(NamedTuple):
    """A NIC: its addresses with their prefix lengths, without scopes."""

    name: str
    up: bool
    mac: str
    mtu: int
    addresses: tuple[str, ...]


class Running(NamedTuple):
    """A process: its memory that is not swapped out, in bytes, and the CPU time that it took."""

    name: str
    pid: int
    memory: int
    cpu_seconds: float


class Unit(NamedTuple):
    """A unit of guestagent; None is what systemd does not count.

    ``result`` says how the last start ended, systemd.exec(5): "success", "exit-code", "timeout", …
    """

    name: str
    state: str
    cpu_seconds: float | None
    memory_peak: int | None
    result: str = ""


class Device(NamedTuple):
    """A block device with a file system: its type and label as udev found them."""

    node: str
    type: str
    label: str


class Mount(NamedTuple):
    """A place where the drive is mounted."""

    device: str
    path: str
    type: str


class Observed(NamedTuple):
    """What was found.  ``sshd`` is without the processes of its sessions."""

    interfaces: tuple[Interface, ...]
    sshd: tuple[Running, ...]
    processes: tuple[Running, ...]
    units: tuple[Unit, ...]
    devices: tuple[Device, ...]
    mounts: tuple[Mount, ...]


def observe(source: str) -> Observed | None:
    """Look at this machine; ``source`` is that of the report.

    Return None where psutil or pyudev is not installed.
    """
    try:
        import psutil
        import pyudev
    except ImportError:
        return None
    sshd, own = _processes(psutil)
    devices = _devices(pyudev)
    mounts = _mounts(psutil, source, devices)
    return Observed(_interfaces(psutil), sshd, own, _units(), devices, mounts)


def _interfaces(psutil: ModuleType) -> tuple[Interface, ...]:
    """Return all NICs but the loopback one, in the order of their names."""
    states = psutil.net_if_stats()
    found = []
    for name, entries in sorted(psutil.net_if_addrs().items()):
        if name == "lo":
            continue
        macs = [entry.address for entry in entries if entry.family == psutil.AF_LINK]
        addresses = [
            f"{entry.address.partition('%')[0]}/{_prefix_length(entry.netmask)}"
            for entry in entries
            if entry.family != psutil.AF_LINK and entry.netmask
        ]
        state = states.get(name)
        up, mtu = (state.isup, state.mtu) if state else (False, 0)
        mac = macs[0] if macs else ""
        found.append(Interface(name, up, mac, mtu, tuple(addresses)))
    return tuple(found)


def _prefix_length(mask: str) -> int:
    return int.from_bytes(packed_address(mask), "big").bit_count()


def _processes(psutil: ModuleType) -> tuple[tuple[Running, ...], tuple[Running, ...]]:
    """Return the processes of sshd that listen, and guestagent's own without this one."""
    sshd: list[Running] = []
    own: list[Running] = []
    names: dict[int, str] = {}
    parents: dict[int, int] = {}
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                name = names[process.pid] = process.name()
                parents[process.pid] = process.ppid()
                if name != "sshd" and (name not in _OWN or process.pid == os.getpid()):
                    continue
                times = process.cpu_times()
                memory = process.memory_info().rss
        except psutil.Error:
            continue  # it has ended, or /proc hides it from this user
        seconds = round(times.user + times.system, 2)
        running = Running(name, process.pid, memory, seconds)
        (sshd if name == "sshd" else own).append(running)
    listening = [item for item in sshd if names.get(parents[item.pid]) != "sshd"]
    return tuple(listening), tuple(own)


def _units() -> tuple[Unit, ...]:
    """Return what systemd has counted for guestagent's units; none where it cannot be asked."""
    found = []
    for name, said in ask(_PROPERTIES, ["guestagent*"]).items():
        state = said.get("ActiveState", "")
        cpu, peak = (_number(said.get(key, "")) for key in ("CPUUsageNSec", "MemoryPeak"))
        if cpu or state != "inactive":  # else it has not run in this boot
            seconds = None if cpu is None else round(cpu / _NANO, 2)
            found.append(Unit(name, state, seconds, peak, said.get("Result", "")))
    return tuple(sorted(found))


def killed_units(observed: Observed) -> list[str]:
    """Return what is wrong with units that were killed: a run that was has left no report."""
    return [
        trouble(unit.name, unit.result)
        for unit in observed.units
        if unit.state == "failed" and unit.result not in _TOLD
    ]


def _number(text: str) -> int | None:
    """Return a number that systemd gives; None for "[not set]" and for its greatest number."""
    return int(text) if text.isdigit() and int(text) < (1 << 64) - 1 else None


def _devices(pyudev: ModuleType) -> tuple[Device, ...]:
    """Return the block devices in which udev has found a file system: a drive is one of them."""
    found = []
    for device in pyudev.Context().list_devices(subsystem="block"):
        known = device.properties
        kind = known.get("ID_FS_TYPE")
        if kind:
            found.append(Device(device.device_node, kind, known.get("ID_FS_LABEL", "")))
    return tuple(sorted(found))


def _mounts(psutil: ModuleType, source: str, devices: tuple[Device, ...]) -> tuple[Mount, ...]:
    """Return where the drive that is the source, or is labelled as one, is mounted."""
    labelled = (device for device in devices if rank(device.label, defs.LABELS) is not None)
    drives = {source, *(device.node for device in labelled)}
    return tuple(
        Mount(entry.device, entry.mountpoint, entry.fstype)
        for entry in psutil.disk_partitions(all=True)
        if entry.device in drives
    )
