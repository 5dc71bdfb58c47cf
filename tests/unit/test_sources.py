"""Reading documents from directories and images, whatever stands on the medium."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.errors import GuestagentError, SourceBroken, UsageError
from guestagent.sources import mount
from guestagent.sources.bundle import Bundle, Unreadable
from guestagent.sources.path import file_system, open_path

LIMIT = 1000


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A directory with one document, and a secret beside it."""
    (tmp_path / "medium/folder").mkdir(parents=True)
    (tmp_path / "medium/folder/document").write_bytes(b"text\n")
    (tmp_path / "secret").write_text("CANARY")
    return tmp_path / "medium"


def test_a_document_a_missing_one_and_a_missing_folder(medium: Path) -> None:
    bundle = open_path(str(medium))
    assert bundle.get("folder/document", LIMIT) == b"text\n"
    assert bundle.get("folder/none", LIMIT) is None
    assert bundle.get("none/none", LIMIT) is None
    assert bundle.names("folder") == ["document"]
    assert bundle.names("none") == []
    assert bundle.label == str(medium)


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 5 << 30)


def _large(path: Path) -> None:
    path.write_bytes(b"x" * (LIMIT + 1))


ODD: dict[str, Callable[[Path], None]] = {
    "link": lambda path: path.symlink_to("document"),
    "link out": lambda path: path.symlink_to("../../secret"),
    "absolute link": lambda path: path.symlink_to("/etc/passwd"),
    "fifo": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
    "huge sparse": _huge,
    "too large": _large,
}


@pytest.mark.parametrize("kind", ODD)
def test_A4_odd_things_are_refused_at_once(medium: Path, kind: str) -> None:
    ODD[kind](medium / "folder/odd")
    start = time.monotonic()
    bundle = open_path(str(medium))
    for _ in range(2):
        with pytest.raises(Unreadable):
            bundle.get("folder/odd", LIMIT)
    assert time.monotonic() - start < 2


def test_A4_a_link_instead_of_a_folder_is_refused(medium: Path) -> None:
    (medium / "link").symlink_to("..")
    bundle = open_path(str(medium))
    with pytest.raises(Unreadable):
        bundle.get("link/secret", LIMIT)
    assert bundle.names("link") == []


def test_a_document_that_is_unreadable_is_part_of_the_fingerprint(medium: Path) -> None:
    _huge(medium / "odd")
    seen = ("odd", "folder/", "folder/document", "none")
    one = open_path(str(medium)).fingerprint(seen, b"salt")
    assert open_path(str(medium)).fingerprint(seen, b"salt") == one
    (medium / "odd").unlink()
    assert open_path(str(medium)).fingerprint(seen, b"salt") != one


class Failing:
    """os.read, failing on its first calls."""

    def __init__(self, times: int, error: int) -> None:
        self.left, self.calls, self.error = times, 0, error
        self.real = os.read

    def __call__(self, fd: int, size: int) -> bytes:
        self.calls += 1
        if self.calls <= self.left:
            raise OSError(self.error, os.strerror(self.error))
        return self.real(fd, size)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOMEDIUM, errno.ESTALE])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_A5_a_medium_that_fails_is_tried_three_times_then_broken(
    medium: Path, monkeypatch: pytest.MonkeyPatch, times: int, error: int
) -> None:
    monkeypatch.setattr(defs, "READ_PAUSE", 0)
    failing = Failing(times, error)
    bundle = open_path(str(medium))
    monkeypatch.setattr(os, "read", failing)
    if times < defs.READ_TRIES:
        assert bundle.get("folder/document", LIMIT) == b"text\n"
    else:
        with pytest.raises(SourceBroken) as caught:
            bundle.get("folder/document", LIMIT)
        assert "folder/document" in str(caught.value)
        assert os.strerror(error) in str(caught.value)
        assert failing.calls == defs.READ_TRIES


def test_A5_a_broken_source_ends_the_run_with_its_own_status(
    medium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(defs, "READ_PAUSE", 0)
    bundle = open_path(str(medium))
    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(SourceBroken) as caught:
        bundle.names("folder")
    assert caught.value.status == defs.EXIT_SOURCE_BROKEN


@pytest.fixture(params=["iso", "vfat"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    """An image with names that need the long-name extensions."""
    tree = tmp_path / "tree"
    (tree / "openstack/2018-08-27").mkdir(parents=True)
    (tree / "openstack/content").mkdir()
    (tree / "openstack/content/0000").write_bytes(bytes(range(256)) * 40)
    (tree / "openstack/content/0001").write_bytes(b"")
    (tree / "openstack/2018-08-27/Meta data's.json").write_text("{}")
    return open_path(str(rig.make_drive(tree, request.param, tmp_path)))


def test_documents_of_an_image(image: Bundle) -> None:
    assert image.names("openstack") == ["2018-08-27", "content"]
    assert image.names("openstack/content") == ["0000", "0001"]
    assert image.names("none") == []
    assert image.get("openstack/content/0000", 20_000) == bytes(range(256)) * 40
    assert image.get("openstack/content/0001", 20_000) == b""
    assert image.get("openstack/content/none", 20_000) is None


def test_A4_a_document_of_an_image_is_bounded(image: Bundle) -> None:
    with pytest.raises(Unreadable, match="larger than 100 bytes"):
        image.get("openstack/content/0000", 100)


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 70_000])
def test_what_is_no_image_is_a_broken_source(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(SourceBroken, match="image"):
        open_path(str(tmp_path / "image"))


@pytest.mark.parametrize("form", ["iso", "vfat"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_A5_a_truncated_image_is_broken_or_read_whole(
    tmp_path: Path, form: str, part: float, drive: Path
) -> None:
    path = rig.make_drive(drive, form, tmp_path)
    os.truncate(path, int(path.stat().st_size * part))
    name = "openstack/latest/meta_data.json"
    try:
        content = open_path(str(path)).get(name, defs.JSON_LIMIT)
    except GuestagentError:
        return
    assert content == (drive / name).read_bytes()


@pytest.mark.parametrize("path", ["/none", "/dev/null", "/dev/null/x"])
def test_what_is_no_source_is_wrong_usage(path: str) -> None:
    with pytest.raises(UsageError, match=path):
        open_path(path)


@pytest.mark.parametrize(
    ("at", "mark", "kind"),
    [
        (32769, b"CD001", "iso9660"),
        (54, b"FAT16   ", "vfat"),
        (82, b"FAT32   ", "vfat"),
        (1080, b"\x53\xef", "ext4"),
    ],
)
def test_file_systems_by_their_marks(tmp_path: Path, at: int, mark: bytes, kind: str) -> None:
    content = bytearray(40_000)
    content[at : at + len(mark)] = mark
    content[510:512] = b"\x55\xaa"
    (tmp_path / "image").write_bytes(content)
    assert file_system(str(tmp_path / "image")) == kind


@pytest.mark.parametrize("magic", [(1081, b"\x53\xef"), (0, b"XFSB"), (0, b"hsqs"), (3, b"NTFS")])
def test_A2_other_file_systems_are_never_mounted(tmp_path: Path, magic: tuple[int, bytes]) -> None:
    content = bytearray(40_000)
    content[magic[0] : magic[0] + len(magic[1])] = magic[1]
    content[510:512] = b"\x55\xaa"
    (tmp_path / "image").write_bytes(content)
    with pytest.raises(SourceBroken, match="neither"):
        file_system(str(tmp_path / "image"))


@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "xfs", "btrfs", "auto", "iso9660,vfat", ""])
def test_A2_a_type_that_is_not_listed_reaches_no_driver(kind: str) -> None:
    with pytest.raises(SourceBroken, match="never mounted"):
        mount.mount("/dev/null", kind)


@pytest.mark.parametrize(
    ("shown", "point"),
    [
        (b"/mnt/a\\040b\\011c\\012d", "/mnt/a b\tc\nd"),
        (b"/mnt/\\134040", "/mnt/\\040"),
        (b"/mnt/\xff\xc3\xa4", "/mnt/\udcff\u00e4"),
    ],
)
def test_A1_a_drive_is_read_where_it_is_mounted_whatever_else_is(
    shown: bytes, point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users may mount with fusermount(1) where they like: of a name, the kernel escapes little."""
    table = tmp_path / "mountinfo"
    others = b"22 1 0:1 / /mnt/a\rb rw - x y z\n\n23 1 1:3 /sub /x rw - x y z\n"
    table.write_bytes(others + b"24 1 1:3 / %b ro - iso9660 /dev/sr0 ro\n" % shown)
    monkeypatch.setattr(defs, "MOUNT_TABLE", str(table))
    assert mount.mounted_at(os.devnull) == point
    table.write_bytes(others)
    assert mount.mounted_at(os.devnull) is None


def test_A2_a_drive_is_mounted_with_every_attribute_that_makes_it_harmless() -> None:
    """By the kernel, with a file system that it surely has; what it did is read back."""
    rig.need_root()
    nosymfollow = 0x2000  # statfs(2); Python has no name for it
    attributes = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | nosymfollow
    fd = mount._mount("none", "tmpfs")
    try:
        assert os.fstatvfs(fd).f_flag & attributes == attributes
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("x", dir_fd=fd)
    finally:
        os.close(fd)


_OPEN = (
    "import sys; sys.path.insert(0, sys.argv[1]); from guestagent.sources.path import open_device; "
    "open_device(sys.argv[2])"
)


def _mount_calls(path: Path, log: Path, start: str = _OPEN) -> list[str]:
    """What the kernel is asked to mount for a device, as strace(1) shows it."""
    rig.need_root()
    rig.need_tools("strace")
    calls = "trace=mount,fsopen,fsconfig,fsmount,open_tree,move_mount"
    argv = ["strace", "-f", "-qq", "-s", "4096", "-e", calls, "-o", str(log)]
    subprocess.run(
        [*argv, sys.executable, "-IBS", "-c", start, str(rig.REPOSITORY), str(path)],
        capture_output=True,
        timeout=60,
    )
    return [line.split(None, 1)[1] for line in log.read_text().splitlines()]


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "xfs", "squashfs", "ntfs"])
def test_A2_another_file_system_reaches_no_call_that_mounts(tmp_path: Path, kind: str) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(70_000))
    if kind == "ext4":
        rig.need_tools("mke2fs")
        subprocess.run(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "config-2", str(image), "1M"],
            check=True,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/sbin:/usr/sbin"},
        )
    else:
        marks = {"btrfs": (65600, b"_BHRfS_M"), "xfs": (0, b"XFSB"), "squashfs": (0, b"hsqs")}
        at, mark = marks.get(kind, (3, b"NTFS    "))
        with image.open("r+b") as file:
            os.pwrite(file.fileno(), mark, at)
            os.pwrite(file.fileno(), b"\x55\xaa", 510)
    assert _mount_calls(image, tmp_path / "log") == []


@pytest.mark.parametrize("form", ["iso", "vfat"])
def test_A2_the_kernel_is_told_the_type(tmp_path: Path, drive: Path, form: str) -> None:
    first, *_ = _mount_calls(rig.make_drive(drive, form, tmp_path), tmp_path / "log")
    name = "iso9660" if form == "iso" else "vfat"
    assert first.startswith(f'fsopen("{name}", FSOPEN_CLOEXEC)')


def test_A2_the_file_system_itself_is_read_only(tmp_path: Path) -> None:
    """Not only the mount: a driver would write to the device.  tmpfs is in every kernel."""
    start = _OPEN.replace("path import open_device", "mount import _mount")
    start = start.replace("open_device(sys.argv[2])", "_mount(sys.argv[2], 'tmpfs')")
    calls = _mount_calls(tmp_path, tmp_path / "log", start)
    steps = [call.partition("(")[2].partition(")")[0].split(", ", 1)[1] for call in calls]
    steps[-1] = steps[-1].replace("MOUNT_ATTR_NOSYMFOLLOW", "0x200000")  # of newer strace
    assert steps == [
        "FSOPEN_CLOEXEC",
        f'FSCONFIG_SET_STRING, "source", "{tmp_path}", 0',
        'FSCONFIG_SET_FLAG, "ro", NULL, 0',
        "FSCONFIG_CMD_CREATE, NULL, NULL, 0",
        "FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID|MOUNT_ATTR_NODEV|MOUNT_ATTR_NOEXEC"
        "|0x200000",
    ]
