"""What a disk holds after a power cut: the writes of a recorded boot, replayed up to a moment.

QEMU records the writes in the format of the kernel's dm-log-writes (its documentation is in
Documentation/admin-guide/device-mapper/log-writes.rst). A write is sure to be on the disk once a
later flush has ended; until then a cut may lose it, or keep it without those before it.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

_MAGIC = 0x6A736677736872
_FLUSH, _FUA, _DISCARD = 1, 2, 4


class Write(NamedTuple):
    """One entry of the log: where the disk was written, and where in the log the bytes are."""

    offset: int
    length: int
    data_at: int
    flags: int


def read_log(path: Path) -> list[Write]:
    """Return the entries of a log in their order."""
    with path.open("rb") as log:
        magic, _, count, sector = struct.unpack("<QQQI", log.read(28))
        if magic != _MAGIC:
            raise ValueError(f"{path}: no log of writes")
        found = []
        at = sector
        for _ in range(count):
            log.seek(at)
            start, sectors, flags, _ = struct.unpack("<QQQQ", log.read(32))
            at += sector
            length = 0 if flags & _DISCARD else sectors * sector
            found.append(Write(start * sector, length, at, flags))
            at += length
        return found


class Replay:
    """A copy of the disk as it was before the boot, onto which the log is replayed."""

    def __init__(self, base: Path, log: Path, where: Path) -> None:
        self.disk = where / "replay.raw"
        shutil.copyfile(base, self.disk)
        self._log = log
        self.writes = read_log(log)
        self._done = 0

    def _apply(self, disk: BinaryIO, log: BinaryIO, write: Write) -> None:
        log.seek(write.data_at)
        disk.seek(write.offset)
        disk.write(log.read(write.length))

    @contextmanager
    def cut(self, index: int) -> Iterator[Path]:
        """Give the disk after a power cut before entry `index`; indices may only grow.

        Everything up to the last flush is on it, and of what came later a part that depends only
        on the index.
        """
        flushes = (number for number in range(index) if self.writes[number].flags & _FLUSH)
        sure = max(flushes, default=0)
        chance = random.Random(index)
        with self._log.open("rb") as log, self.disk.open("r+b") as disk:
            for write in self.writes[self._done : sure]:
                self._apply(disk, log, write)
            self._done = max(self._done, sure)
            undo = []
            for write in self.writes[sure:index]:
                if write.flags & _FUA or chance.random() < 0.5:
                    disk.seek(write.offset)
                    undo.append((write.offset, disk.read(write.length)))
                    self._apply(disk, log, write)
        yield self.disk
        with self.disk.open("r+b") as disk:
            for offset, old in reversed(undo):
                disk.seek(offset)
                disk.write(old)
