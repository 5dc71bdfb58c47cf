"""The least initramfs that mounts a virtio root disk: busybox and the modules that it takes.

Debian's own takes seconds to unpack and run when a processor is emulated.
"""

from __future__ import annotations

import lzma
import stat
from collections.abc import Iterator
from pathlib import Path

# To find the disk and to mount it; ext4 asks for crc32c by a name that is no module's.
_MODULES = ("virtio_blk", "crc32c_generic", "ext4")
_INIT = """\
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in /modules/*; do $b insmod "$module"; done
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


def _members(busybox: bytes, modules: list[bytes]) -> Iterator[tuple[str, int, bytes]]:
    for directory in ("bin", "dev", "modules", "root"):
        yield directory, stat.S_IFDIR | 0o755, b""
    yield "bin/busybox", stat.S_IFREG | 0o755, busybox
    for number, module in enumerate(modules):
        yield f"modules/{number:02}.ko", stat.S_IFREG | 0o644, module
    yield "init", stat.S_IFREG | 0o755, _INIT.encode()
    yield "TRAILER!!!", 0, b""


def _modules(tree: Path, version: str) -> list[bytes]:
    """The modules of a kernel that it takes, each after those that it needs: modules.dep(5)."""
    top = tree / "usr/lib/modules" / version
    needed: dict[str, list[str]] = {}
    for line in (top / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needed[path] = rest.split()
    found: list[str] = []
    for name in _MODULES:
        for path in needed:
            # What is built into the kernel has no line.
            if Path(path).name.partition(".")[0] == name:
                found += [each for each in (*reversed(needed[path]), path) if each not in found]
    return [_content(top / path) for path in found]


def _content(module: Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def make_initramfs(tree: Path, out: Path, version: str) -> None:
    """Write the initramfs for a kernel of a root tree."""
    members = _members((tree / "usr/bin/busybox").read_bytes(), _modules(tree, version))
    archive = b"".join(_record(*member, n) for n, member in enumerate(members, 1))
    out.write_bytes(archive)
