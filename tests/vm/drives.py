"""Config drives as OpenStack makes them, from a directory."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

TOOLS = ("xorriso", "mkfs.vfat", "mcopy", "mke2fs")


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with status {done.returncode}: {done.stderr}")


def make_tree(tree: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write files, named by their paths below `tree`, and return `tree`."""
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return tree


def make_iso(tree: Path, out: Path, label: str = "config-2") -> Path:
    """Make a CD image of a directory, with Joliet and Rock Ridge names."""
    options = ("-quiet", "-J", "-r", "-allow-lowercase", "-allow-multidot", "-l", "-ldots")
    _run("xorriso", "-as", "mkisofs", *options, "-V", label, "-o", out, tree)
    return out


def make_vfat(tree: Path, out: Path, label: str = "CONFIG-2", size: str = "4M") -> Path:
    """Make a FAT disk image, without partitions, of a directory; its size is in MiB or KiB."""
    out.unlink(missing_ok=True)
    kib = int(size[:-1]) * (1024 if size.endswith("M") else 1)
    _run("mkfs.vfat", "-n", label, "-C", out, str(kib))
    contents = sorted(tree.iterdir())
    if contents:
        _run("mcopy", "-s", "-m", "-Q", "-i", out, *contents, "::/")
    return out


def make_ext4(tree: Path, out: Path, label: str = "cidata", size: str = "8M") -> Path:
    """Make an ext4 disk image, without partitions, of a directory."""
    out.unlink(missing_ok=True)
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", tree, out, size)
    return out
