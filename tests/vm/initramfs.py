"""The least initramfs that mounts a virtio root disk: busybox and one module.

Debian's own takes seconds to unpack and run when a processor is emulated.
"""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterator
from pathlib import Path

_INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b insmod /virtio_blk.ko
n=0
while [ ! -b /dev/vda ] && [ $n -lt 100 ]; do $b usleep 50000; n=$((n + 1)); done
$b mount -t ext4 /dev/vda /root || exec $b sh
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/init
"""


def _record(name: str, mode: int, data: bytes, inode: int) -> bytes:
    # The "newc" form of cpio: thirteen numbers of eight hex digits, name, data,
    # the latter two padded to four bytes.
    path = name.encode() + b"\0"
    numbers = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    head = header + path
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def _members(busybox: bytes, module: bytes) -> Iterator[tuple[str, int, bytes]]:
    for directory in ("bin", "dev", "root"):
        yield directory, stat.S_IFDIR | 0o755, b""
    yield "bin/busybox", stat.S_IFREG | 0o755, busybox
    yield "virtio_blk.ko", stat.S_IFREG | 0o644, module
    yield "init", stat.S_IFREG | 0o755, _INIT.encode()
    yield "TRAILER!!!", 0, b""


def _module(tree: Path, name: str) -> bytes:
    (found,) = (tree / "usr/lib/modules").glob(f"*/kernel/**/{name}.ko*")
    data = found.read_bytes()
    return lzma.decompress(data) if found.suffix == ".xz" else data


def make_initramfs(tree: Path, out: Path) -> None:
    """Write the initramfs for the kernel of a root tree."""
    members = _members((tree / "usr/bin/busybox").read_bytes(), _module(tree, "virtio_blk"))
    archive = b"".join(_record(*member, n) for n, member in enumerate(members, 1))
    out.write_bytes(archive)
