"""What goes wrong while the daemon listens: storms, drives that are torn out, clocks that jump.

One guest with a drive has all of it, in the order of the tests, and its daemon must be the same
process in the end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from .attached import DAEMON, REFRESH, RUNS, SECOND, Scene, card, grown, runs, static
from .drives import make_vfat
from .guest import Guest, Nic, patience
from .image import GuestImage
from .machine import Drive
from .scenario import report
from .test_daemon import another_key, assert_key_is_exchanged

pytestmark = pytest.mark.vm

LATE, LOCAL = "guestagent-late.service", "guestagent-local.service"
FINISHED = "/var/lib/cloud/instance/boot-finished"
AT_REST = "Listening"
# What udev says again of the drive makes the daemon read the source again.
AGAIN = "echo change >/sys/block/sr0/uevent"
# What udev would tell its listeners of 50 cards and drives that come and go in each second, in the
# form of its messages: udev itself is slower in an emulated guest.
STORM = r"""
import socket, struct, time

def murmur(text, size=0xFFFFFFFF, times=0x5BD1E995):
    value = len(text)
    while len(text) >= 4:
        word = int.from_bytes(text[:4], "little") * times & size
        word = (word ^ word >> 24) * times & size
        value, text = value * times & size ^ word, text[4:]
    if text:
        value = (value ^ int.from_bytes(text, "little")) * times & size
    value = (value ^ value >> 13) * times & size
    return value ^ value >> 15

def message(subsystem, **told):
    told = {"SUBSYSTEM": subsystem, "SEQNUM": "1", "USEC_INITIALIZED": "1", **told}
    text = b"".join(f"{key}={value}".encode() + b"\0" for key, value in told.items())
    hashed = murmur(subsystem.encode())
    head = b"libudev\0" + struct.pack(">I", 0xFEEDCAFE) + struct.pack("III", 40, 40, len(text))
    return head + struct.pack(">IIII", hashed, 0, 0, 0) + text

PCI, CARD = "/devices/pci0000:00/0000:00:1f.7/virtio9", {"INTERFACE": "enp0s31", "IFINDEX": "99"}
DRIVE = {"DEVNAME": "/dev/vdz", "MAJOR": "254", "MINOR": "99", "ID_FS_LABEL": "config-2"}
messages = [
    message("net", ACTION=word, DEVPATH=f"{PCI}/net/enp0s31", **CARD) for word in ("add", "remove")
] + [
    message("block", ACTION=word, DEVPATH=f"{PCI}/block/vdz", ID_FS_TYPE="vfat", **DRIVE)
    for word in ("add", "remove")
]
sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)  # NETLINK_KOBJECT_UEVENT
begin = time.monotonic()
for number in range(20 * 50):
    time.sleep(max(0.0, begin + number / 50 - time.monotonic()))
    sock.sendto(messages[number % 4], (0, 2))  # to all that listen to udev
print(time.monotonic() - begin)
"""
SECTOR = 2048
HOT = "/machine/peripheral/dev-hot0/virtio-backend"  # the first drive that was attached
# Something of the disk is on its way, and the run sleeps until it is there: udev, which reads disks
# too, and before a run does, is idle.
READS = f"""
[ ! -e /run/udev/queue ] || exit 1
grep -q '[1-9]' /sys/block/$DISK/inflight || exit
for pid in $(cat /sys/fs/cgroup/system.slice/{REFRESH}/cgroup.procs); do
    grep -q '^State:.D' /proc/$pid/status && exit
done
exit 1
"""


class Figures(NamedTuple):
    """The daemon: its process, its line in systemctl status, and what it has taken so far.

    ``cpu`` are seconds of its process, ``wakeups`` how often that has gone to sleep.
    """

    pid: int
    restarts: int
    line: str
    cpu: float
    memory: int
    wakeups: int


def figures(guest: Guest) -> Figures:
    """Look at the daemon."""
    names = "MainPID,NRestarts,StatusText,MemoryCurrent"
    shown = guest.check(f"systemctl show -p {names} {DAEMON}")
    said = dict(line.split("=", 1) for line in shown.splitlines())
    pid = int(said["MainPID"])
    found = f"cat /proc/{pid}/schedstat; grep ^voluntary /proc/{pid}/status"
    words = guest.check(found).split()
    memory = int(said["MemoryCurrent"])
    cpu, wakeups = int(words[0]) / 1e9, int(words[4])
    return Figures(pid, int(said["NRestarts"]), said["StatusText"], cpu, memory, wakeups)


def wait_for_line(guest: Guest, words: str, timeout: float = 120) -> None:
    """Wait until systemctl status says something of the daemon."""
    end = time.monotonic() + timeout * patience()
    while not re.search(words, line := figures(guest).line):
        assert time.monotonic() < end, line
        time.sleep(2)


def settle(scene: Scene) -> None:
    """Wait until udev is done and the daemon listens, and nothing is to come but events."""
    scene.guest.run("udevadm settle", timeout=200)
    wait_for_line(scene.guest, f"^{AT_REST}$", 180)
    scene.rest(RUNS)


def cursor(guest: Guest) -> str:
    """Where the journal ends."""
    found = re.search(r"-- cursor: (\S+)", guest.check("journalctl -n 0 --show-cursor"))
    assert found
    return found[1]


def said_since(guest: Guest, begin: str) -> str:
    """What runs have said since then."""
    return guest.check(f"journalctl -o cat --after-cursor='{begin}' -u {REFRESH}")


class Killed(NamedTuple):
    """What was there before and after the killing of the late unit."""

    was_finished: bool
    seconds: float
    status: str


@pytest.fixture(scope="module")
def booted(
    guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Scene, Killed]]:
    """A guest that was configured by a CD; its late script was killed, which would not end."""
    where = tmp_path_factory.mktemp("faults")
    script = b"#!/bin/sh\ntouch /run/late-script\nexec sleep 3600\n"
    instance = replace(grown(where / "keys"), user_data=script)
    cd = instance.drive(where / "first", "cdrom-sata")
    with Guest(guest_image, [cd], [Nic()], instance.smbios) as guest:
        scene = Scene(guest, instance, where)
        guest.boot(settle=False)
        guest.wait_for("[ -e /run/late-script ]", 120)
        was_finished = guest.exists(FINISHED)
        begin = time.monotonic()
        guest.check(f"systemctl kill -s KILL {LATE}")
        guest.wait_for(["test", "-e", FINISHED], 60)
        seconds = time.monotonic() - begin
        guest.settle()
        scene.watch()
        yield scene, Killed(was_finished, seconds, guest.run("guestagent status").stdout)


@pytest.fixture
def scene(booted: tuple[Scene, Killed]) -> Iterator[Scene]:
    """The guest with a drive, whose daemon is at rest; it must still be the same one at the end."""
    scene, _ = booted
    settle(scene)
    before = figures(scene.guest)
    yield scene
    after = figures(scene.guest)
    assert (after.pid, after.restarts) == (before.pid, 0)


def test_a_late_unit_that_is_killed_ends_the_boot_all_the_same(
    booted: tuple[Scene, Killed],
) -> None:
    scene, killed = booted
    assert not killed.was_finished
    assert f"{LATE} failed (signal)" in killed.status
    assert "state        errors" in killed.status
    result = scene.guest.get("/run/cloud-init/result.json").decode()
    assert f"{LATE} failed" in result


def test_a_storm_of_events_is_few_runs_and_little_cpu_time(scene: Scene) -> None:
    guest, before, first = scene.guest, figures(scene.guest), runs(scene.guest)
    guest.put("/run/storm.py", STORM)
    begin = time.monotonic()
    seconds = float(guest.check("python3 /run/storm.py", timeout=120))
    settle(scene)
    elapsed = time.monotonic() - begin
    after, more = figures(guest), runs(guest) - first
    print(f"\n1000 events in {seconds:.0f} s, over after {elapsed:.0f} s: {more} runs, daemon:")
    print(f"{after.cpu - before.cpu:.2f} s, {after.wakeups - before.wakeups} wake-ups")
    assert 2 <= more <= elapsed / 5 + 1
    assert after.cpu - before.cpu < 0.05 * elapsed
    assert after.memory - before.memory < 2 << 20
    assert report(guest)["exit_status"] == 0


def test_ten_cards_at_once_are_one_run(scene: Scene) -> None:
    cards, first = [card(number) for number in range(10, 20)], runs(scene.guest)
    begin = cursor(scene.guest)
    scene.guest.hot_plug_nics(*cards[:8], slot=0)
    scene.guest.hot_plug_nics(*cards[8:], slot=1)
    for nic in cards:
        scene.wait_for_address(nic.address)
    settle(scene)
    more = runs(scene.guest) - first
    told = scene.guest.check(f"journalctl -o short-precise --after-cursor='{begin}' -u {REFRESH}")
    writers = re.findall(r"guestagent(\[\d+\]): guestagent: write ", told)
    print(f"\n{told}")
    assert report(scene.guest)["exit_status"] == 0
    scene.guest.hot_unplug_nics(slot=0, count=8)
    scene.guest.hot_unplug_nics(slot=1, count=2)
    scene.wait_for_first_files()
    assert (len(writers), len(set(writers)), more) == (10, 1, 1)


def rotated(scene: Scene, name: str) -> Path:
    """A drive of the same instance with another key, in place of the one that there is."""
    instance = another_key(scene.instance, scene.where / f"{name}-key")
    path = scene.iso(name, instance)
    scene.guest.change_medium(None)
    settle(scene)
    return path


def assert_a_good_drive_is_read(scene: Scene, name: str) -> None:
    """Insist that the next drive is taken over, and go back to the first one."""
    instance = another_key(scene.instance, scene.where / f"{name}-good-key")
    scene.guest.change_medium(scene.iso(f"{name}-good", instance))
    words = ["grep", instance.public_key.split()[1], "/home/debian/.ssh/authorized_keys"]
    scene.guest.wait_for(words, 120)
    scene.rest()
    assert_key_is_exchanged(scene.guest, scene.instance, instance)
    scene.guest.change_medium(scene.where / "first/drive")
    words[1] = scene.instance.public_key.split()[1]
    scene.guest.wait_for(words, 120)


def throttle(guest: Guest, device: str, a_second: int) -> None:
    """Let a drive do so many reads a second; 0 is as many as it can."""
    rates = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops_rd", "iops_wr"), 0)
    guest.qmp("block_set_io_throttle", id=device, iops=a_second, **rates)


def wait_until_it_reads(guest: Guest, disk: str) -> None:
    """Wait until a run waits for a disk's answer."""
    end = time.monotonic() + 120 * patience()
    while guest.run(READS, env={"DISK": disk}).status:
        assert time.monotonic() < end, guest.check(f"journalctl -b -o cat -n 20 -u {REFRESH}")


def test_a_cd_that_is_torn_out_while_it_is_read(scene: Scene) -> None:
    guest, path, begin = scene.guest, rotated(scene, "torn"), cursor(scene.guest)
    guest.change_medium(path)
    throttle(guest, "dev-drive0", 2)
    wait_until_it_reads(guest, "sr0")
    guest.qmp("blockdev-open-tray", id="dev-drive0", force=True)
    throttle(guest, "dev-drive0", 0)
    guest.qmp("blockdev-remove-medium", id="dev-drive0")
    settle(scene)
    said = said_since(guest, begin)
    print(f"\n{said}\n{guest.run('guestagent status').stdout}")
    assert re.search("/dev/sr0.*(Input/output error|No medium found)", said)
    assert_a_good_drive_is_read(scene, "torn")


def test_a_disk_that_is_torn_out_while_it_is_read(scene: Scene) -> None:
    guest, path, begin = scene.guest, rotated(scene, "disk"), cursor(scene.guest)
    guest.hot_plug(Drive(path))
    throttle(guest, HOT, 2)
    wait_until_it_reads(guest, "vdb")
    guest.hot_unplug()
    settle(scene)
    said = said_since(guest, begin)
    print(f"\n{said}\n{guest.run('guestagent status').stdout}")
    assert "/dev/vdb" in said
    assert_a_good_drive_is_read(scene, "disk")


def test_a_card_that_is_torn_out_while_a_run_is_under_way(scene: Scene) -> None:
    guest, more = scene.guest, replace(scene.instance, cards=(SECOND,))
    guest.change_medium(None)
    guest.hot_plug_nics(SECOND)
    scene.wait_for_address(SECOND.address)
    settle(scene)
    path, begin = scene.iso("more", more), cursor(guest)
    guest.change_medium(path)
    throttle(guest, "dev-drive0", 2)
    wait_until_it_reads(guest, "sr0")
    guest.hot_unplug_nics()
    throttle(guest, "dev-drive0", 0)
    settle(scene)
    print(f"\n{said_since(guest, begin)}\n{guest.run('guestagent status').stdout}")
    guest.hot_plug_nics(SECOND)
    scene.wait_for_address(static(SECOND))
    assert report(guest)["exit_status"] == 0
    guest.hot_unplug_nics()
    guest.change_medium(scene.where / "first/drive")
    scene.wait_for_first_files()


def records(image: bytes | bytearray, name: bytes) -> list[int]:
    """Where the directory records of a name begin in a file system of ISO 9660."""
    places = [found.start() - 33 for found in re.finditer(re.escape(name), image)]
    lengths = (len(name), len(name) + 2)  # of a folder, and of a file with its version
    return [at for at in places if image[at + 32] in lengths and image[at] > 33 + len(name)]


def extent(image: bytes | bytearray, at: int) -> int:
    """Where the content of a record's file begins."""
    return int.from_bytes(image[at + 2 : at + 6], "little") * SECTOR


def say_size(image: bytearray, at: int, size: int) -> None:
    """Let a directory record say another size of its file: ECMA-119, 9.1.4."""
    image[at + 10 : at + 18] = size.to_bytes(4, "little") + size.to_bytes(4, "big")


def damaged(path: Path) -> None:
    """Overwrite the folders of a CD; its label and the mark of its file system stay."""
    image = bytearray(path.read_bytes())
    for name in (b"openstack", b"latest"):
        for at in records(image, name):
            begin = extent(image, at)
            image[begin : begin + SECTOR] = b"\xff" * SECTOR
    path.write_bytes(image)


def huge(path: Path) -> None:
    """Let every meta_data.json of a CD have 3 GiB."""
    image, size = bytearray(path.read_bytes()), 3 << 30
    places = records(image, b"meta_data.json")
    assert places
    for at in places:
        say_size(image, at, size)
    path.write_bytes(image)
    with path.open("r+b") as file:
        file.truncate(size + len(image))


def endless(path: Path) -> None:
    """Let every folder of a CD have 4 GiB, in which there are no names but those at its begin."""
    image = bytearray(path.read_bytes())
    top = 16 * SECTOR + 156  # ECMA-119, 8.4.18: the record of the top folder
    folders = [top, *(at for name in (b"openstack", b"latest") for at in records(image, name))]
    size = (1 << 32) - SECTOR
    for place in [extent(image, at) for at in folders]:
        say_size(image, place, size)  # its first record is its own, and Linux goes by that
    path.write_bytes(image)
    with path.open("r+b") as file:
        file.truncate(size + len(image))


def looped(path: Path) -> None:
    """Make it a VFAT disk, of which a folder goes on with itself."""
    make_vfat(path.parent / "tree", path, size="40M")  # large enough for 16 bits a cluster
    image = bytearray(path.read_bytes())
    # Microsoft's FAT specification: the boot sector, and entries of a folder.
    sector, reserved, length = (int.from_bytes(image[at : at + 2], "little") for at in (11, 14, 22))
    tables = [(reserved + number * length) * sector for number in range(image[16])]
    assert image[54:59] == b"FAT16"
    entry = image.index(b"OPENST~1", tables[-1] + length * sector)
    cluster = image[entry + 26 : entry + 28]
    for table in tables:
        at = table + 2 * int.from_bytes(cluster, "little")
        image[at : at + 2] = cluster
    path.write_bytes(image)


@pytest.mark.parametrize(
    "spoil", [damaged, huge, endless, looped], ids=lambda spoil: str(spoil.__name__)
)
def test_a_drive_that_cannot_be_read_is_told_of(
    scene: Scene, spoil: Callable[[Path], None]
) -> None:
    name = spoil.__name__
    guest, path, begin = scene.guest, rotated(scene, name), cursor(scene.guest)
    spoil(path)
    guest.hot_plug(Drive(path))
    guest.wait_for("guestagent status | grep '^error: .*/dev/vdb'", 120)
    settle(scene)
    said = said_since(guest, begin)
    print(f"\n{said}\n{guest.run('guestagent status').stdout}")
    assert "/dev/vdb" in said
    assert guest.check(f"systemctl show -P Result {REFRESH}") != "timeout\n"
    guest.hot_unplug()
    assert_a_good_drive_is_read(scene, name)


def test_a_run_by_hand_holds_the_lock(scene: Scene) -> None:
    guest, begin, first = scene.guest, cursor(scene.guest), runs(scene.guest)
    guest.check("setsid flock /run/guestagent/lock sleep 40 >/dev/null 2>&1 &")
    guest.check(AGAIN)
    wait_for_line(guest, "another run was under way.*is made again", 60)
    settle(scene)
    assert "another run is going on" in said_since(guest, begin)
    assert 2 <= runs(guest) - first <= 4
    assert guest.check(f"systemctl show -P Result {REFRESH}") == "success\n"


def test_a_machine_that_was_paused_and_whose_clock_jumps_does_nothing_twice(scene: Scene) -> None:
    guest, before, first = scene.guest, figures(scene.guest), runs(scene.guest)
    guest.qmp("stop")
    time.sleep(20)
    guest.qmp("cont")
    guest.check("date -s '+10 days'")
    time.sleep(15)
    guest.check("date -s '-20 days'")
    time.sleep(15)
    assert runs(guest) == first
    assert figures(guest).wakeups == before.wakeups
    guest.check("date -s '+10 days'")
    # It is not deaf either.
    guest.check(AGAIN)
    guest.wait_for(f"[ $(journalctl -b -o cat -u {REFRESH} | grep -c ^Starting) -gt {first} ]", 60)
    settle(scene)
    assert runs(guest) == first + 1


def test_an_address_that_stays_was_never_away(booted: tuple[Scene, Killed]) -> None:
    scene, _ = booted
    seen = scene.seen()
    gone = [line for line in seen if line.startswith("Deleted") and " enp0s3 " in line]
    assert not gone, "\n".join(seen)


def test_a_drive_with_endless_folders_at_boot_costs_that_no_minute(
    guest_image: GuestImage, tmp_path: Path
) -> None:
    instance = grown(tmp_path / "keys")
    cd = instance.drive(tmp_path / "first", "cdrom-sata")
    endless(cd.path)
    with Guest(guest_image, [cd], [Nic()], instance.smbios) as guest:
        guest.boot()
        times = "-P ExecMainStartTimestampMonotonic -P ExecMainExitTimestampMonotonic"
        begin, end = map(int, guest.check(f"systemctl show {times} {LOCAL}").split())
        status = guest.run("guestagent status").stdout
        print(f"\n{(end - begin) / 1e6:.1f} s\n{status}")
        assert re.search("^error: .*/dev/sr0.*claims to be a folder of", status, re.M)
        assert (end - begin) / 1e6 < 10 * patience()
        wait_for_line(guest, AT_REST)
