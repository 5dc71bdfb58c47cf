"""An empty copy-on-write disk over another, made without qemu-img."""

from __future__ import annotations

import struct
from pathlib import Path

_CLUSTER_BITS = 16
_CLUSTER = 1 << _CLUSTER_BITS
_RAW_BACKING = 0xE2792ACA
# Everything the header describes lies in the first four clusters, in this order.
_HEADER, _REFCOUNT_TABLE, _REFCOUNTS, _L1 = (n * _CLUSTER for n in range(4))


def _header(backing: bytes, size: int) -> bytes:
    extension = struct.pack(">II8s", _RAW_BACKING, 3, b"raw") + struct.pack(">II", 0, 0)
    l1_entries = -(-size // (_CLUSTER * (_CLUSTER // 8)))
    fixed = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        b"QFI\xfb",
        3,
        104 + len(extension),  # where the backing file's name is
        len(backing),
        _CLUSTER_BITS,
        size,
        0,  # no encryption
        l1_entries,
        _L1,
        _REFCOUNT_TABLE,
        1,  # clusters of the refcount table
        0,  # no snapshots
        0,
        0,  # no incompatible, compatible or autoclear features
        0,
        0,
        4,  # refcounts of 16 bits
        104,
    )
    return fixed + extension + backing


def make_overlay(overlay: Path, backing: Path, size: int = 0) -> None:
    """Make `overlay`, which reads as the raw disk `backing` until it is written to.

    With a `size` in bytes it is larger than that, with zeros behind.
    """
    size = size or backing.stat().st_size
    if size % 512 or size > _CLUSTER * (_CLUSTER // 8) ** 2:
        raise ValueError(f"{backing} has a size that an overlay cannot have: {size}")
    with overlay.open("wb") as disk:
        disk.write(_header(str(backing.absolute()).encode(), size))
        disk.seek(_REFCOUNT_TABLE)
        disk.write(struct.pack(">Q", _REFCOUNTS))
        disk.seek(_REFCOUNTS)
        disk.write(struct.pack(">4H", 1, 1, 1, 1))
        disk.truncate(_L1 + _CLUSTER)
