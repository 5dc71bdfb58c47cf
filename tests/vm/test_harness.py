"""The harness itself: what the other guest tests take for granted."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import pytest

from .conftest import GuestMaker
from .drives import make_iso, make_tree, make_vfat
from .guest import CommandTimeout, Drive, Guest, GuestError
from .image import GuestImage

pytestmark = pytest.mark.vm

LONG_NAME = "openstack/latest/a-name-too-long.for.eight-and-three_or even thirty-one.json"
FILES = {"openstack/latest/meta_data.json": "{}", "openstack/content/0000": "ä", LONG_NAME: "long"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree", FILES)


class TestChannel:
    def test_reports_how_a_command_ended(self, live_guest: Guest) -> None:
        result = live_guest.run("cat; echo oops >&2; exit 3", input="ab\0c")
        assert (result.status, result.stdout, result.stderr) == (3, "ab\0c", "oops\n")

    def test_takes_words_as_they_are(self, live_guest: Guest) -> None:
        assert live_guest.check(["printf", "%s", "a  $HOME"]) == "a  $HOME"

    def test_says_when_a_program_does_not_exist(self, live_guest: Guest) -> None:
        with pytest.raises(GuestError, match="No such file"):
            live_guest.run(["/no/such/program"])

    def test_kills_a_command_whose_time_is_up(self, live_guest: Guest) -> None:
        with pytest.raises(CommandTimeout):
            live_guest.run("echo started; sleep 987", timeout=1)
        assert not live_guest.run(["pgrep", "-fx", "sleep 987"]).ok

    def test_runs_commands_side_by_side(self, live_guest: Guest) -> None:
        other = threading.Thread(target=live_guest.run, args=("sleep 654",))
        other.start()
        before = time.monotonic()
        live_guest.check("true")
        assert time.monotonic() - before < 654
        live_guest.check(["pkill", "-fx", "sleep 654"])
        other.join()

    def test_carries_files(self, live_guest: Guest) -> None:
        data = bytes(range(256)) * 8192
        live_guest.put("/run/harness-test/file", data, 0o640)
        assert live_guest.get("/run/harness-test/file") == data
        assert live_guest.check("stat -c %a /run/harness-test/file") == "640\n"
        assert not live_guest.exists("/run/harness-test/other")
        live_guest.check("rm -r /run/harness-test")


class TestLiveGuest:
    def test_is_up_without_help_from_the_network(self, live_guest: Guest) -> None:
        assert live_guest.check("cat /sys/class/dmi/id/product_name") == "OpenStack Nova\n"
        assert live_guest.check("ls /sys/class/net") == "enp0s3\nlo\n"

    @pytest.mark.parametrize(("make", "kind"), [(make_iso, "iso9660"), (make_vfat, "vfat")])
    def test_mounts_config_drives(
        self, live_guest: Guest, tree: Path, tmp_path: Path, make: type, kind: str
    ) -> None:
        image = make(tree, tmp_path / "drive")
        live_guest.put("/run/drive", image.read_bytes())
        live_guest.check(f"mount -t {kind} -o loop,ro /run/drive /mnt")
        found = live_guest.check("cd /mnt && find . -type f").splitlines()
        content = live_guest.check(["cat", "/mnt/" + LONG_NAME])
        live_guest.check("umount /mnt && rm /run/drive")
        assert sorted(found) == sorted("./" + name for name in FILES)
        assert content == "long"

    def test_takes_a_drive_while_it_runs(
        self, live_guest: Guest, tree: Path, tmp_path: Path
    ) -> None:
        drive = make_vfat(tree, tmp_path / "drive", label="HOT")
        live_guest.hot_plug(Drive(drive))
        live_guest.wait_for("[ -b /dev/disk/by-label/HOT ]")
        live_guest.hot_unplug()
        live_guest.wait_for("[ ! -e /dev/disk/by-label/HOT ]")

    def test_takes_a_cd_rom_while_it_runs(
        self, live_guest: Guest, tree: Path, tmp_path: Path
    ) -> None:
        drive = make_iso(tree, tmp_path / "drive", label="hot-cd")
        live_guest.hot_plug(Drive(drive, "cdrom-scsi"), slot=1)
        live_guest.wait_for("[ -b /dev/disk/by-label/hot-cd ]")
        live_guest.hot_unplug(slot=1)
        live_guest.wait_for("[ ! -e /dev/disk/by-label/hot-cd ]")


@pytest.mark.parametrize("bus", ["cdrom-ide", "cdrom-sata", "cdrom-scsi"])
def test_cd_rom(
    new_guest: GuestMaker, guest_image_plain: GuestImage, tree: Path, tmp_path: Path, bus: str
) -> None:
    cd = Drive(make_iso(tree, tmp_path / "cd.iso"), bus)  # type: ignore[arg-type]
    disk = Drive(make_vfat(tree, tmp_path / "disk.img"), serial="a-serial")
    guest = new_guest(guest_image_plain, drives=[cd, disk]).boot(settle=False)
    link = guest.wait_for("readlink -e /dev/disk/by-label/config-2").stdout
    assert link == "/dev/sr0\n"
    link = guest.wait_for("readlink -e /dev/disk/by-label/CONFIG-2").stdout
    assert link == "/dev/vdb\n"
    assert guest.check("cat /sys/block/vdb/serial") == "a-serial"


def test_life_of_a_guest(
    new_guest: GuestMaker, guest_image_plain: GuestImage, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    guest = new_guest(guest_image_plain).boot()
    assert guest.settle() == "running"
    guest.put("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_bytes(), 0o600)
    guest.check("useradd -m somebody && echo somebody:secret-word | chpasswd")
    guest.reboot()
    guest.check("ip address add 192.0.2.10/24 dev enp0s3 && ip link set enp0s3 up")
    assert guest.ssh("root", "echo $SSH_CLIENT", key=key).check().stdout.startswith("192.0.2.2 ")
    assert guest.ssh("somebody", "id -un", password="secret-word").stdout == "somebody\n"
    assert guest.ssh("somebody", password="another-word").status == 255
    guest.power_off()
    guest.boot(settle=False)
    assert guest.exists("/home/somebody")


def test_boot_times(live_guest: Guest) -> None:
    times = live_guest.boot_times("harness-channel.service", "no-such.service")
    began, active = times.units["harness-channel.service"]
    assert 0 < times.userspace < began <= active <= times.finished
    assert times.units["no-such.service"] == (0, 0)
