"""Seeds on ext2, ext3 and ext4, which are read without being mounted; mke2fs(8) makes them.

What each file system holds is known, so that no other reader is needed to compare with.
"""

from __future__ import annotations

import errno
import os
import shutil
import struct
import time
from pathlib import Path
from random import Random

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import GuestagentError, Problems, SourceBroken
from guestagent.parse import layouts
from guestagent.sources import ext
from guestagent.sources.bundle import Bundle, Unreadable
from guestagent.sources.path import open_path

META = b"instance-id: i-seed\nlocal-hostname: seeded\n"
LIMIT = defs.FILE_LIMIT
# Three levels of tables where blocks are 1 KiB: 12 blocks, 256, and more.
LARGE = bytes(range(251)) * 4177
FORMATS = {
    "ext2": ("-t", "ext2"),
    "ext2 with large blocks": ("-t", "ext2", "-b", "4096"),
    "ext2 of 1993": ("-t", "ext2", "-r", "0", "-O", "none"),
    "ext3": ("-t", "ext3"),
    "ext4": (),
    "ext4 with small blocks": ("-b", "1024"),
    "ext4 with large blocks": ("-b", "16384"),
    "ext4 with small inodes": ("-I", "128"),
    "ext4 with large inodes": ("-I", "1024"),
    "ext4 without 64 bits": ("-O", "^64bit"),
    "ext4 without extents": ("-O", "^extent,^64bit"),
    "ext4 without sums": ("-O", "^metadata_csum"),
    "ext4 without groups of groups": ("-O", "^flex_bg"),
    "ext4 without a journal": ("-O", "^has_journal"),
    "ext4 with clusters": ("-O", "bigalloc", "-C", "16384"),
    "ext4 with what newer tools add": ("-O", "metadata_csum_seed,orphan_file,large_dir"),
    "ext4 that ignores case": ("-O", "casefold"),
    "ext4 with many groups": ("-b", "1024", "-g", "1024", "-N", "2048"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir()
    (made / "meta-data").write_bytes(META)
    (made / "user-data").write_bytes(LARGE)
    (made / "vendor-data").write_bytes(b"")
    return made


@pytest.fixture
def image(tree: Path, tmp_path: Path) -> Path:
    return rig.make_ext(tree, tmp_path / "image")


def read(image: Path, name: str, limit: int = LIMIT) -> bytes | None:
    """A document, and a look whether reading it has changed anything."""
    before = image.read_bytes()
    bundle = open_path(str(image))
    try:
        return bundle.get(name, limit)
    finally:
        bundle.close()
        assert image.read_bytes() == before


@pytest.mark.parametrize("title", FORMATS)
def test_all_that_a_seed_has_is_read(title: str, tree: Path, tmp_path: Path) -> None:
    names = [f"a name that is rather long, number {number}" for number in range(200)]
    (tree / "folder").mkdir()
    for name in names:
        (tree / "folder" / name).write_text(name)
    image = rig.make_ext(tree, tmp_path / "image", *FORMATS[title], size="16M")
    before = image.read_bytes()
    bundle = open_path(str(image))
    assert bundle.names("") == ["folder", "meta-data", "user-data", "vendor-data"]
    assert bundle.get("meta-data", LIMIT) == META
    assert bundle.get("user-data", LIMIT) == LARGE
    assert bundle.get("vendor-data", LIMIT) == b""
    assert bundle.get("network-config", LIMIT) is None
    assert bundle.names("folder") == sorted(names)
    assert bundle.names("none") == bundle.names("meta-data") == []
    assert bundle.get(f"folder/{names[-1]}", LIMIT) == names[-1].encode()
    bundle.close()
    assert image.read_bytes() == before


def test_a_large_disk_is_read(tree: Path, tmp_path: Path) -> None:
    image = rig.make_ext(tree, tmp_path / "image", size="64G")
    assert open_path(str(image)).get("user-data", LIMIT) == LARGE


@pytest.mark.parametrize("kind", ["ext3", "ext4"])
def test_what_a_kernel_has_written_is_read(kind: str, tmp_path: Path) -> None:
    """It chooses other places than mke2fs, and the folder has entries that are not in use."""
    rig.need_root()
    rig.need_tools("mount", "unshare")
    (tmp_path / "tree").mkdir()
    (tmp_path / "content").write_bytes(LARGE)
    image = rig.make_ext(tmp_path / "tree", tmp_path / "image", "-t", kind, size="1G")
    script = (
        'mount -o loop image tree; cd tree; for i in $(seq 300); do echo $i > "file $i"; done; '
        'rm "file 7"; mv "file 8" other; cp ../content user-data; cd ..; umount tree'
    )
    rig._quietly("unshare", "--mount", "sh", "-ec", f"cd {tmp_path}; {script}")
    bundle = open_path(str(image))
    names = {f"file {number}" for number in range(1, 301)} - {"file 7", "file 8"}
    assert set(bundle.names("")) == {*names, "other", "user-data"}
    assert bundle.get("user-data", LIMIT) == LARGE
    assert bundle.get("file 300", LIMIT) == b"300\n"
    assert bundle.get("other", LIMIT) == b"8\n"
    assert bundle.get("file 7", LIMIT) is None


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_a_file_in_many_pieces_is_read(kind: str, tree: Path, tmp_path: Path) -> None:
    """So many that its extents are a tree; what was never written is zeros."""
    with (tree / "user-data").open("wb") as file:
        for number in range(250):
            file.seek(number * 4096)
            file.write(b"%d" % number * 100)
        file.truncate(LIMIT)
    expected = (tree / "user-data").read_bytes()
    image = rig.make_ext(tree, tmp_path / "image", "-t", kind, "-b", "1024")
    assert read(image, "user-data") == expected


def test_what_is_allocated_and_not_written_is_zeros(image: Path, tree: Path) -> None:
    """As with fallocate(1): the blocks hold what was there before."""
    rig.change_ext(image, "set_inode_field /vendor-data size 4096", "fallocate /vendor-data 0 3")
    content = image.read_bytes()
    assert read(image, "vendor-data") == bytes(4096)
    with image.open("rb") as file:
        volume = ext._Volume(file.fileno())
        found = volume._find([b"vendor-data"])
        assert found is not None
        extent = found.blocks[12:24]
        place = ext._number(extent, 8) * volume._block_size
    assert ext._number(extent, 4, 2) > 1 << 15
    image.write_bytes(content[:place] + b"x" * 1024 + content[place + 1024 :])
    assert read(image, "vendor-data") == bytes(4096)


def test_a_folder_with_an_index_is_read(tree: Path, tmp_path: Path) -> None:
    names = [f"{number}-{'x' * 200}" for number in range(300)]
    for name in names:
        (tree / name).touch()
    image = rig.make_ext(tree, tmp_path / "image", "-b", "1024", "-N", "512")
    rig.need_tools("e2fsck")
    rig._quietly("e2fsck", "-fyD", str(image))
    with image.open("rb") as file:
        assert ext._Volume(file.fileno())._inode(2).flags & 0x1000
    bundle = open_path(str(image))
    assert bundle.names("") == sorted([*names, "meta-data", "user-data", "vendor-data"])
    assert bundle.get("meta-data", LIMIT) == META


def test_the_layout_of_a_seed_is_read(image: Path) -> None:
    data = layouts.parse(open_path(str(image)), Problems())
    assert data.instance_id is not None
    assert data.instance_id.value == "i-seed"


def test_A4_a_document_is_bounded(image: Path) -> None:
    with pytest.raises(Unreadable, match=r"^larger than 100 bytes$"):
        read(image, "user-data", 100)


@pytest.mark.parametrize("size", ["0x100000001", "0xffffffffffffffff"])
def test_A4_a_file_without_an_end_costs_nothing(image: Path, size: str) -> None:
    rig.change_ext(image, f"set_inode_field /user-data size {size}")
    start = time.monotonic()
    with pytest.raises(Unreadable, match=r"^larger than"):
        read(image, "user-data")
    assert time.monotonic() - start < 5
    assert read(image, "meta-data") == META


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("link", "a symbolic link"),
        ("outside", "a symbolic link"),
        ("long", "a symbolic link"),
        ("folder", "not a regular file"),
        ("fifo", "not a regular file"),
        ("folder-link/meta-data", "a part of its path is not a directory"),
        ("user-data/meta-data", "a part of its path is not a directory"),
    ],
)
def test_A4_no_link_is_followed_and_nothing_but_files_is_read(
    name: str, reason: str, tree: Path, tmp_path: Path
) -> None:
    (tree / "folder").mkdir()
    shutil.copy(tree / "meta-data", tree / "folder/meta-data")
    (tree / "link").symlink_to("meta-data")
    (tree / "outside").symlink_to("/etc/shadow")
    (tree / "long").symlink_to("/" * 100 + "etc/shadow")
    (tree / "folder-link").symlink_to("folder")
    os.mkfifo(tree / "fifo")
    image = rig.make_ext(tree, tmp_path / "image")
    with pytest.raises(Unreadable, match=f"^{reason}$"):
        read(image, name)
    assert read(image, "folder/meta-data") == META
    for path in ("../meta-data", "folder/../meta-data", "./meta-data", "/meta-data", "meta-data/"):
        try:
            assert read(image, path) is None
        except Unreadable:
            pass
    assert open_path(str(image)).names("folder-link") == []


@pytest.mark.parametrize(
    "command",
    [
        "feature needs_recovery",
        "set_super_value state 0",
        "set_super_value state 3",
    ],
)
def test_A5_one_that_was_not_unmounted_is_broken(image: Path, command: str) -> None:
    rig.change_ext(image, command)
    with pytest.raises(SourceBroken, match="was not unmounted cleanly"):
        read(image, "meta-data")


@pytest.mark.parametrize(
    "options", [("-O", "inline_data"), ("-O", "meta_bg,^resize_inode"), ("-O", "encrypt")]
)
def test_A5_what_is_not_known_is_never_guessed(
    options: tuple[str, ...], tree: Path, tmp_path: Path
) -> None:
    image = rig.make_ext(tree, tmp_path / "image", *options)
    with pytest.raises(SourceBroken, match=r"has features that are not read .* defaults of mkfs"):
        read(image, "none")


def test_blocks_of_64_kib_are_no_damage(image: Path) -> None:
    rig.change_ext(image, "set_super_value log_block_size 6")
    with pytest.raises(SourceBroken, match="has blocks of 64 KiB, which are not read: make it"):
        read(image, "none")


@pytest.mark.parametrize(
    "command",
    [
        "set_super_value log_block_size 7",
        "set_super_value inodes_per_group 0",
        "set_super_value inodes_count 1",
        "set_super_value desc_size 4",
        "set_block_group 0 inode_table 0xffffffff",
        "set_block_group 0 inode_table 0xffffffffffffffff",
        "set_inode_field <2> block[0] 0",
        "set_inode_field <2> block[0] 0xfffff30a",
        "set_inode_field <2> block[1] 0x00060004",
        "set_inode_field <2> block[5] 0xfffffff0",
        "set_inode_field <2> size 0x10000",
        "set_inode_field <2> size 0xffffffff",
    ],
)
def test_A5_a_damaged_one_is_broken(image: Path, command: str) -> None:
    rig.change_ext(image, command)
    start = time.monotonic()
    damaged = r"^/.*/image: its ext4 file system is damaged \("
    with pytest.raises(SourceBroken, match=damaged):
        read(image, "none")
    with pytest.raises(SourceBroken, match=damaged):
        open_path(str(image)).names("")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("part", [0.0005, 0.01, 0.3, 0.6, 0.95])
def test_A5_a_truncated_one_is_broken_or_read_whole(image: Path, part: float) -> None:
    os.truncate(image, int(image.stat().st_size * part))
    try:
        content = read(image, "user-data")
    except SourceBroken:
        return
    assert content == LARGE


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<IHBB", 2, 0, 1, 1) + b"x",
        struct.pack("<IHBB", 2, 4, 0, 1),
        struct.pack("<IHBB", 2, 12, 200, 1) + b"x",
        struct.pack("<IHBB", 2, 0xFFFC, 1, 1) + b"x",
        struct.pack("<IHBB", 2, 1024, 3, 1) + b"a/b",
        struct.pack("<IHBB", 2, 1024, 3, 1) + b"a\0b",
        struct.pack("<IHBB", 2, 1024, 0, 1),
        struct.pack("<IHBB", 2, 1020, 1, 1) + b"x",
    ],
)
def test_A5_a_folder_that_is_damaged_is_broken(tree: Path, tmp_path: Path, entry: bytes) -> None:
    image = rig.make_ext(tree, tmp_path / "image", "-b", "1024")
    block = struct.pack("<IHBB", 2, 12, 1, 2) + b".\0\0\0"
    content = image.read_bytes()
    assert content.count(block) == 1
    at = content.index(block)
    image.write_bytes(content[:at] + entry + content[at + len(entry) :])
    with pytest.raises(SourceBroken, match="is damaged"):
        open_path(str(image)).names("")


def test_A5_a_tree_of_extents_that_leads_to_itself_ends(tree: Path, tmp_path: Path) -> None:
    block = 3000  # a file's block, which is a node that names itself
    node = struct.pack("<HHHHIIIHH", 0xF30A, 1, 4, 5, 0, 0, block, 0, 0)
    image = rig.make_ext(tree, tmp_path / "image", "-b", "1024")
    words = [*struct.unpack("<15I", node.ljust(60, b"\0"))]
    rig.change_ext(
        image, *(f"set_inode_field /user-data block[{n}] {word}" for n, word in enumerate(words))
    )
    with image.open("r+b") as file:
        os.pwrite(file.fileno(), node, block * 1024)
    with pytest.raises(SourceBroken, match="a tree of extents"):
        read(image, "user-data")


def test_A4_too_many_names_are_an_error_of_the_source(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defs, "MAX_NAMES", 20)
    for number in range(18):
        (tree / str(number)).touch()
    bundle = open_path(str(rig.make_ext(tree, tmp_path / "image")))
    with pytest.raises(SourceBroken, match="has more than 20 names"):
        bundle.names("")
    monkeypatch.setattr(defs, "MAX_NAMES", 21)
    assert len(bundle.names("")) == 21


def test_C10_no_mutant_is_more_than_an_error(tree: Path, tmp_path: Path) -> None:
    """Of each, all that is not content is changed somewhere."""
    random = Random(17)
    for options in ((), ("-t", "ext2", "-b", "1024")):
        image = rig.make_ext(tree, tmp_path / "image", *options)
        content = image.read_bytes()
        used = [at for at in range(0, len(content), 16) if any(content[at : at + 16])]
        used = [at for at in used if content[at : at + 8] not in LARGE]
        fd = os.open(image, os.O_RDWR)
        for _ in range(300):
            at = random.choice(used) + random.randrange(16)
            new = random.choice((b"\0", b"\xff", b"\xff\xff\xff\xff", random.randbytes(4)))
            os.pwrite(fd, new, at)
            for work in (
                lambda volume: volume.list_names([]),
                lambda volume: volume.read([b"user-data"], LIMIT),
            ):
                answer = ext._answer(fd, work)
                assert answer[:1] in (b"+", b"-", b"u", b"b"), answer[:100]
                assert len(answer) <= LIMIT + 1
            os.pwrite(fd, content[at : at + len(new)], at)
        os.close(fd)


class TestChild:
    """Who reads: a child that has no rights, and that ends."""

    def test_A2_it_is_nobody_who_cannot_open_the_device(
        self, image: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.need_root()

        def tell(volume: ext._Volume, path: list[bytes], limit: int) -> bytes:
            try:
                os.close(os.open(f"/proc/self/fd/{volume._fd}", os.O_RDONLY))
            except PermissionError:
                status = Path("/proc/self/status").read_text().split()
                return f"{os.getresuid()} {os.getgroups()} {status[-1] != ''}".encode()
            return b"opened"

        image.chmod(0o600)
        monkeypatch.setattr(ext._Volume, "read", tell)
        assert read(image, "meta-data") == b"(65534, 65534, 65534) [] True"

    @pytest.mark.parametrize(
        "work",
        [
            lambda *_: time.sleep(60),
            lambda *_: bytes(1 << 28)[:1],
            lambda *_: bytes(LIMIT + 2000),
            lambda *_: os._exit(0),
            lambda *_: 1 // 0,
        ],
    )
    def test_A4_it_has_an_end(
        self, image: Path, monkeypatch: pytest.MonkeyPatch, work: object
    ) -> None:
        monkeypatch.setattr(ext._Volume, "read", work)
        monkeypatch.setattr(defs, "EXT_TIMEOUT", 0.5)
        start = time.monotonic()
        with pytest.raises(SourceBroken, match="reading it failed, or takes too much"):
            read(image, "meta-data")
        assert time.monotonic() - start < 10

    def test_A5_a_medium_that_fails_is_tried_again(
        self, image: Path, mocker: MockerFixture
    ) -> None:
        def fail(*_: object) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

        bundle = open_path(str(image))
        mocker.patch.object(defs, "READ_PAUSE", 0)
        mocker.patch.object(os, "pread", fail)
        ask = mocker.spy(ext, "ask_as_nobody")
        with pytest.raises(SourceBroken, match="meta-data: Input/output error, 3 times") as caught:
            bundle.get("meta-data", LIMIT)
        assert caught.value.status == defs.EXIT_SOURCE_BROKEN
        assert ask.call_count == defs.READ_TRIES

    @pytest.mark.parametrize(
        "answer", [b"", b"x", b"fx", b"f", b"f" + b"9" * 99, b"b\xff\n", b"u\xff\n"]
    )
    def test_A2_what_it_says_is_not_believed(
        self, image: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
    ) -> None:
        monkeypatch.setattr(ext, "ask_as_nobody", lambda *_, **__: answer)
        bundle = Bundle("x", ext.Ext(str(image)))
        with pytest.raises(GuestagentError) as caught:
            bundle.get("meta-data", LIMIT)
        assert str(caught.value).isprintable()
