"""Media without a label: which are looked at, and what is on them."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Problems, SourceBroken
from guestagent.parse import layouts
from guestagent.sources import media, path
from guestagent.sources.bundle import Bundle

USER = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"
OLDER = "#!/bin/sh\necho older\n"
OVF = rig.ovf({"instance-id": "i-1", "hostname": "of-ovf"})


class Scene:
    """A machine with drives, whose devices are image files."""

    def __init__(self, top: Path, mocker: MockerFixture) -> None:
        self.top = top
        for name in ("dmi", "block", "dev"):
            (top / name).mkdir()
        mocker.patch.object(defs, "DMI_DIR", str(top / "dmi"))
        mocker.patch.object(defs, "BLOCK_DIR", str(top / "block"))
        mocker.patch.object(defs, "DEVICES_DIR", str(top / "dev"))
        mocker.patch.object(defs, "FLOPPY", str(top / "dev/fd0"))
        mocker.patch.object(defs, "CLOUD_INFO", str(top / "cloud-info"))
        mocker.patch.object(defs, "UDEV_WAIT", 0.3)
        mocker.patch.object(defs, "DRIVE_WAIT", 0.4)
        mocker.patch.object(defs, "UDEV_QUEUE", str(top / "no-queue"))
        mocker.patch.object(defs, "UDEV_CONTROL", str(top / "control"))
        mocker.patch.object(defs, "UDEV_DATA_DIR", str(top / "data"))
        # An image stands for a device; the one function that differs is that which mounts it.
        mocker.patch.object(media, "open_device", path._open_image)
        self.run: Any = mocker.patch.object(media, "run")

    def be(self, product: str) -> None:
        (self.top / "dmi/product_name").write_text(f"{product}\n")

    def insert(self, device: str, form: str, tree: dict[str, str]) -> None:
        """Put a medium with documents into a drive."""
        place = self.top / f"of-{device}"
        place.mkdir()
        for name, text in tree.items():
            (place / name).write_text(text)
        work = self.top / f"work-{device}"
        work.mkdir()
        rig.make_drive(place, form, work).rename(self.top / "dev" / device)
        (self.top / "block" / device).touch()

    def open(self) -> tuple[Bundle | None, list[str]]:
        problems = Problems()
        bundle = media.open_source(problems)
        return bundle, [problem.source for problem in problems.problems]


@pytest.fixture
def scene(tmp_path: Path, mocker: MockerFixture) -> Scene:
    return Scene(tmp_path, mocker)


@pytest.mark.parametrize("product", ["RHEV Hypervisor", "rhev"])
@pytest.mark.parametrize("name", defs.ALT_CLOUD_NAMES)
def test_a_floppy_disk_has_user_data(scene: Scene, product: str, name: str) -> None:
    scene.be(product)
    scene.insert("fd0", "vfat", {name: USER})
    bundle, _ = scene.open()
    assert bundle is not None
    assert layouts.find_layout(bundle).name == "alt_cloud"
    data, problems = rig.collected(layouts.parse, bundle)
    assert problems == []
    written = data.setting("write_files")
    assert written is not None
    assert written.origin.document == name
    # It does not say for which instance it is, and is believed as such a drive.
    assert (data.instance_id, bundle.named, bundle.own) == (None, False, False)


@pytest.mark.parametrize("product", ["VMware Virtual Platform", "VMware20,1"])
def test_a_cd_has_user_data(scene: Scene, product: str) -> None:
    scene.be(product)
    scene.insert("sr0", "iso", {"user-data.txt": OLDER, "deltacloud-user-data.txt": USER})
    bundle, _ = scene.open()
    assert bundle is not None
    data, _ = rig.collected(layouts.parse, bundle)
    assert data.setting("write_files") is not None
    assert data.scripts == ()


def test_a_cd_has_an_ovf_environment(scene: Scene) -> None:
    scene.be("VMware7,1")
    scene.insert("sr0", "iso", {"readme.txt": "no document"})
    scene.insert("sr1", "iso", {"ovf-env.xml": OVF})
    scene.insert("sr2", "iso", {"user-data.txt": USER})
    bundle, unused = scene.open()
    assert bundle is not None
    data, _ = rig.collected(layouts.parse, bundle)
    assert data.hostname is not None
    assert data.hostname.value == "of-ovf"
    assert unused == [str(scene.top / "dev/sr2")]


@pytest.mark.parametrize(
    ("said", "device"), [("RHEV\n", "fd0"), ("vsphere\n", "sr0"), ("EC2", ""), ("", "")]
)
def test_the_image_may_say_which_cloud_it_is_for(scene: Scene, said: str, device: str) -> None:
    scene.be("Standard PC")
    (scene.top / "cloud-info").write_text(said)
    scene.insert("fd0", "vfat", {"user-data.txt": USER})
    scene.insert("sr0", "iso", {"user-data.txt": USER})
    bundle, _ = scene.open()
    assert (bundle.label if bundle else "").endswith(device)
    assert (bundle is None) == (device == "")


def test_the_floppy_s_driver_is_loaded(scene: Scene, mocker: MockerFixture) -> None:
    """No hardware asks for it.  The drive is there when the start ends, which takes seconds."""
    scene.be("RHEV Hypervisor")
    mocker.patch.object(media, "find_program", return_value="/bin/systemctl")
    assert scene.open() == (None, [])
    command = scene.run.call_args.args[0]
    assert command[-2:] == ["start", "modprobe@floppy.service"]
    assert "--no-block" not in command


@pytest.mark.parametrize("number", [errno.ENXIO, errno.ENOMEDIUM, errno.ENOENT])
def test_a_drive_without_a_medium_is_none(scene: Scene, mocker: MockerFixture, number: int) -> None:
    scene.be("VMware7,1")
    (scene.top / "block/sr0").touch()
    mocker.patch.object(media, "open", side_effect=OSError(number, "x"), create=True)
    assert scene.open() == (None, [])


def test_a_medium_that_cannot_be_read_is_never_none(scene: Scene, mocker: MockerFixture) -> None:
    scene.be("VMware7,1")
    (scene.top / "block/sr0").touch()
    mocker.patch.object(media, "open", side_effect=OSError(errno.EIO, "x"), create=True)
    with pytest.raises(SourceBroken, match="sr0"):
        scene.open()


def test_a_cd_is_waited_for_while_udev_is_busy(scene: Scene, mocker: MockerFixture) -> None:
    scene.be("VMware7,1")
    queue = scene.top / "queue"
    queue.touch()
    mocker.patch.object(defs, "UDEV_QUEUE", str(queue))
    begin = time.monotonic()
    assert scene.open() == (None, [])
    assert time.monotonic() - begin >= defs.DRIVE_WAIT
    pauses = mocker.patch.object(time, "sleep", side_effect=lambda _: queue.unlink())
    assert scene.open() == (None, [])
    assert pauses.call_count == 1


def test_a_cd_is_waited_for_before_udev_has_begun(scene: Scene, mocker: MockerFixture) -> None:
    scene.be("VMware7,1")
    (scene.top / "block/sda").mkdir()
    (scene.top / "block/sda/dev").write_text("8:0\n")
    (scene.top / "control").touch()

    def begin(_: float) -> None:
        (scene.top / "data").mkdir()
        (scene.top / "data/b8:0").touch()

    pauses = mocker.patch.object(time, "sleep", side_effect=begin)
    assert scene.open() == (None, [])
    assert pauses.call_count == 1


@pytest.mark.parametrize("mark", [b"\x53\xef", b"\0\0"])
def test_a_medium_of_another_file_system_is_not_mounted(scene: Scene, mark: bytes) -> None:
    """Nor is one of ext4, which is not mounted anyhow, read for these sources."""
    scene.be("VMware7,1")
    (scene.top / "block/sr0").touch()
    (scene.top / "dev/sr0").write_bytes(bytes(1080) + mark + os.urandom(64 << 10))
    assert scene.open() == (None, [])
