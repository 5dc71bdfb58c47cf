"""Documents on an ext2, ext3 or ext4 file system as a source, read without mounting it.

The kernel's driver trusts what it finds in a file system, and somebody else has made this one.  So
the blocks are read here, in a child that has become the user nobody.  That cannot open the device,
and need not, because it has a descriptor; debugfs(8) would open the device again, by its path.

Source: "ext4 Data Structures and Algorithms" of the kernel's documentation.  Symbolic links are not
followed.  The journal is not replayed, so that a file system that was not unmounted is refused.
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISLNK, S_ISREG

from guestagent import defs
from guestagent.errors import NoPermission, SourceBroken
from guestagent.log import printable
from guestagent.record import NamedTuple
from guestagent.sources.bundle import Unreadable
from guestagent.sources.directory import TOP, read_patiently, too_many_names
from guestagent.system.privsep import ask_as_nobody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What an answer of the child begins with, and what comes after that: the content of a document or
# the names in a folder, nothing, a reason, a reason, the number of an error.
_CONTENT, _MISSING, _UNREADABLE, _BROKEN, _FAILED = b"+", b"-", b"u", b"b", b"f"
_REASON_LIMIT = 1000  # bytes
_LONGEST_NUMBER = 4  # digits, of an error
_FAILED_CHILD = "reading it failed, or takes too much time or memory"

_SUPERBLOCK = 1024  # where it is, and how long
_MAGIC = 0xEF53
_CLEAN, _HAS_ERRORS = 0x1, 0x2  # of its state
_MOST_OF_BLOCK_BITS = 5  # blocks of 32 KiB
_ROOT = 2  # the number of the inode
_DESCRIPTOR = 32  # bytes of one of a group of blocks, without its later half
_INODE = 128  # bytes of one that matter here, and all of one in revision 0
# The "incompatible" features that are read here: any other may change where files are.
_READ_FEATURES = {
    "filetype": 0x2,
    "extents": 0x40,
    "64bit": 0x80,
    "mmp": 0x100,
    "flex_bg": 0x200,
    "ea_inode": 0x400,
    "metadata_csum_seed": 0x2000,
    "large_dir": 0x4000,
    "casefold": 0x20000,
}
_64BIT = _READ_FEATURES["64bit"]
_NEEDS_RECOVERY = 0x4
_HAS_EXTENTS = 0x80000  # of the flags of an inode
_EXTENTS_MAGIC = 0xF30A
_EXTENT = 12  # bytes of one, of an index and of what is before them
_MOST_DEPTH = 5
_MOST_OF_EXTENT = 1 << 15  # blocks; of a longer one that is allocated, and has not been written
_DIRECT = 12  # blocks that an inode names itself, where it has no extents
_ENTRY = 8  # bytes of one in a folder, without its name
_NOT_NAMES = (b".", b"..", b"lost+found")

_NOT_CLEAN = (
    "was not unmounted cleanly, so that files may be missing or old: unmount it where it was "
    "written, or run e2fsck"
)
_OTHER_FEATURES = "has features that are not read ({:#x}): make it with the defaults of mkfs.ext4"
_LARGE_BLOCKS = "has blocks of 64 KiB, which are not read: make it with blocks of 4 KiB"
_DAMAGED = "its ext4 file system is damaged ({}): make it again, or run e2fsck"


class _Broken(Exception):
    """A file system of which nothing can be read; the text says why."""


class _Inode(NamedTuple):
    """A file of any kind; ``blocks`` is where its blocks are."""

    mode: int
    size: int
    flags: int
    blocks: bytes


class Ext:
    """A transport over a device or an image with such a file system."""

    def __init__(self, path: str) -> None:
        """Open it.  Raises SourceBroken, NoPermission."""
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise NoPermission(f"{path}: no permission to read it") from None
        except OSError as error:
            raise SourceBroken(f"{path}: {error.strerror}") from None

    def fetch(self, name: str, limit: int) -> bytes | None:
        """Return a document; see ``Transport``."""
        parts = os.fsencode(name).split(b"/")
        return self._ask(name, lambda volume: volume.read(parts, limit), limit)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        parts = os.fsencode(folder).split(b"/") if folder else []
        found = self._ask(folder, lambda volume: volume.list_names(parts), defs.FOLDER_LIMIT)
        return sorted(os.fsdecode(name) for name in found.split(b"\0")) if found else []

    def close(self) -> None:
        """Close the device."""
        os.close(self._fd)

    def _ask(self, name: str, read: Callable[[_Volume], bytes | None], limit: int) -> bytes | None:
        """Return what a child reads.  Raises Unreadable, SourceBroken."""

        def ask() -> bytes | None:
            answer = ask_as_nobody(
                lambda: _answer(self._fd, read),
                limit + _REASON_LIMIT,
                defs.EXT_TIMEOUT,
                memory=defs.EXT_MEMORY,
            )
            return self._understand(answer)

        return read_patiently(f"{self._path}: {name or TOP}", ask)

    def _understand(self, answer: bytes) -> bytes | None:
        """Return what a child has read.  Raises Unreadable, SourceBroken, OSError."""
        kind, said = answer[:1], answer[1:]
        if kind == _CONTENT:
            return said
        if kind == _MISSING:
            return None
        if kind == _FAILED and said.isdigit() and len(said) <= _LONGEST_NUMBER:
            raise OSError(int(said), os.strerror(int(said)))
        reason = printable(said[:_REASON_LIMIT].decode("utf-8", "replace"))
        if kind == _UNREADABLE:
            raise Unreadable(reason)
        raise SourceBroken(f"{self._path}: {reason if kind == _BROKEN else _FAILED_CHILD}")


def _answer(fd: int, read: Callable[[_Volume], bytes | None]) -> bytes:
    """Return the answer of a child: what it reads of a file system, or why it cannot."""
    try:
        content = read(_Volume(fd))
        return _MISSING if content is None else _CONTENT + content
    except Unreadable as error:
        return _UNREADABLE + str(error).encode()
    except (_Broken, SourceBroken) as error:
        return _BROKEN + str(error).encode()
    except OSError as error:
        return _FAILED + str(error.errno).encode()


def _damaged(what: str) -> _Broken:
    return _Broken(_DAMAGED.format(what))


class _Volume:
    """A file system, of which nothing is believed.  All methods raise _Broken, OSError."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = os.lseek(fd, 0, os.SEEK_END)
        head = self._read_at(_SUPERBLOCK, _SUPERBLOCK)
        if _number(head, 0x38, 2) != _MAGIC:
            raise _damaged("no superblock")
        state, features = _number(head, 0x3A, 2), _number(head, 0x60)
        if features & _NEEDS_RECOVERY or not state & _CLEAN or state & _HAS_ERRORS:
            raise _Broken(_NOT_CLEAN)
        others = features & ~sum(_READ_FEATURES.values())
        if others:
            raise _Broken(_OTHER_FEATURES.format(others))
        self._inodes, self._inodes_per_group = _number(head, 0x0), _number(head, 0x28)
        self._inode_size = _number(head, 0x58, 2) if _number(head, 0x4C) else _INODE
        self._descriptor_size = _number(head, 0xFE, 2) if features & _64BIT else _DESCRIPTOR
        bits = _number(head, 0x18)
        if bits == _MOST_OF_BLOCK_BITS + 1:
            raise _Broken(_LARGE_BLOCKS)
        if bits > _MOST_OF_BLOCK_BITS or not self._inodes_per_group:
            raise _damaged("its superblock")
        self._block_size = 1024 << bits

    def read(self, path: list[bytes], limit: int) -> bytes | None:
        """Return the content of a file; None if there is none.  Raises Unreadable."""
        inode = self._find(path)
        if inode is None:
            return None
        if S_ISLNK(inode.mode):
            raise Unreadable("a symbolic link")
        if not S_ISREG(inode.mode):
            raise Unreadable("not a regular file")
        if inode.size > limit:
            raise Unreadable(f"larger than {limit} bytes")
        return b"".join(self._blocks_of(inode))[: inode.size]

    def list_names(self, path: list[bytes]) -> bytes | None:
        """Return the names in a folder, with a NUL between them; None if there is no folder."""
        try:
            inode = self._find(path)
        except Unreadable:  # a file or a symbolic link, in which no document can be
            return None
        if inode is None or not S_ISDIR(inode.mode):
            return None
        names = []
        for name, _ in self._entries(inode):
            names.append(name)
            if len(names) > defs.MAX_NAMES:
                raise too_many_names(os.fsdecode(b"/".join(path)))
        return b"\0".join(names)

    def _find(self, path: list[bytes]) -> _Inode | None:
        """Return the inode of a path, no link followed; None if there is none.

        Raises Unreadable.
        """
        here = self._inode(_ROOT)
        for part in path:
            if not S_ISDIR(here.mode):
                raise Unreadable("a part of its path is not a directory")
            number = next((number for name, number in self._entries(here) if name == part), 0)
            if not number:
                return None
            here = self._inode(number)
        return here

    def _entries(self, folder: _Inode) -> Iterator[tuple[bytes, int]]:
        """Yield the names in a folder, and the numbers of their inodes.

        The index that a large folder has looks like entries that are not in use.
        """
        if folder.size > defs.FOLDER_LIMIT:
            raise _damaged(f"a folder claims to have {folder.size} bytes, as none of a drive has")
        for block in self._blocks_of(folder):
            at = 0
            while at < len(block):
                number, length = _number(block, at), _number(block, at + 4, 2)
                size = _number(block, at + 6, 1)
                # That is so in a block of a folder that is nowhere, too.
                if length < _ENTRY + size or at + length > len(block):
                    raise _damaged("an entry of a folder")
                name = block[at + _ENTRY :][:size]
                if number and name not in _NOT_NAMES:
                    if not name or b"/" in name or b"\0" in name:
                        raise _damaged("a name in a folder")
                    yield name, number
                at += length

    def _inode(self, number: int) -> _Inode:
        if not 0 < number <= self._inodes:
            raise _damaged("the number of an inode")
        group, index = divmod(number - 1, self._inodes_per_group)
        # The descriptors of groups begin in the block after the superblock's.
        first = max(2 * _SUPERBLOCK, self._block_size)
        length = self._descriptor_size
        descriptor = self._read_at(first + group * length, length)
        table = _number(descriptor, 0x8)
        if length > _DESCRIPTOR:
            table += _number(descriptor, 0x28) << 32
        found = self._read_at(table * self._block_size + index * self._inode_size, _INODE)
        mode, size = _number(found, 0x0, 2), _number(found, 0x4)
        if S_ISREG(mode):  # a folder may have something else there
            size += _number(found, 0x6C) << 32
        return _Inode(mode, size, _number(found, 0x20), found[0x28:0x64])

    def _blocks_of(self, inode: _Inode) -> Iterator[bytes]:
        """Yield the blocks of a file or folder; one that is nowhere is full of zeros."""
        find = self._find_by_extents if inode.flags & _HAS_EXTENTS else self._find_by_table
        for number in range(-(-inode.size // self._block_size)):
            place = find(inode.blocks, number)
            yield self._block(place) if place else bytes(self._block_size)

    def _find_by_extents(self, node: bytes, number: int) -> int:
        """Return where a block of a file is, by a tree of extents; 0 for nowhere."""
        above = _MOST_DEPTH + 1
        while True:
            count, depth = _number(node, 2, 2), _number(node, 6, 2)
            if _number(node, 0, 2) != _EXTENTS_MAGIC or depth >= above:
                raise _damaged("a tree of extents")
            places = range(_EXTENT, _EXTENT * (count + 1), _EXTENT)
            at = max((at for at in places if _number(node, at) <= number), default=0)
            if not at:
                return 0
            if depth == 0:
                return _place_in_extent(node[at:], number)
            place = _number(node, at + 4) + (_number(node, at + 8, 2) << 32)
            node, above = self._block(place), depth

    def _find_by_table(self, table: bytes, number: int) -> int:
        """Return where a block of a file is, by tables of blocks; 0 for nowhere.

        After the direct blocks, an inode has the places of a table, of a table of tables, and of
        one more level.
        """
        if number < _DIRECT:
            return _number(table, 4 * number)
        number -= _DIRECT
        in_table = self._block_size // 4
        for level in (1, 2, 3):
            if number < in_table**level:
                place = _number(table, 4 * (_DIRECT + level - 1))
                for power in reversed(range(level)):
                    if place:
                        index = number // in_table**power % in_table
                        place = _number(self._block(place), 4 * index)
                return place
            number -= in_table**level
        raise _damaged("a file is larger than its tables")

    def _block(self, number: int) -> bytes:
        return self._read_at(number * self._block_size, self._block_size)

    def _read_at(self, place: int, size: int) -> bytes:
        """Return so many bytes that begin at a place."""
        # A number may be larger than pread(2) takes.
        found = os.pread(self._fd, size, place) if place + size <= self._size else b""
        if len(found) != size:
            raise _damaged("it is cut short, or names a block after its end")
        return found


def _place_in_extent(extent: bytes, number: int) -> int:
    """Return where a block of a file is, by the last extent before it; 0 for nowhere."""
    first, length = _number(extent, 0), _number(extent, 4, 2)
    if number >= first + length or length > _MOST_OF_EXTENT:
        return 0
    return _number(extent, 8) + (_number(extent, 6, 2) << 32) + number - first


def _number(table: bytes, at: int, size: int = 4) -> int:
    """Return a number of so many bytes that is in a table.  Raises _Broken."""
    found = table[at : at + size]
    if len(found) != size:
        raise _damaged("a table is cut short")
    return int.from_bytes(found, "little")
