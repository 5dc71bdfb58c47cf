"""Things that are dear to build, kept outside the repository and shared by test runs."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

# A shared lock on every entry in use is held until this process ends, so that
# another run which prunes the cache leaves those entries alone.
_held: dict[Path, IO[bytes]] = {}


def cache_root() -> Path:
    """Return the directory of the cache, made if missing."""
    given = os.environ.get("GUESTAGENT_CACHE")
    root = Path(given) if given else Path.home() / ".cache" / "guestagent"
    root.mkdir(parents=True, exist_ok=True)
    return root


def digest(parts: Iterable[str | bytes | Path]) -> str:
    """Name a set of inputs; a path stands for the content of its file."""
    total = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        data = data.encode() if isinstance(data, str) else data
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]


def _lock_file(entry: Path) -> IO[bytes]:
    return entry.with_name(entry.name + ".lock").open("ab")


def _build(entry: Path, build: Callable[[Path], None]) -> None:
    # Under the exclusive lock: whatever a killed build left behind is nobody's.
    unfinished = entry.with_name(entry.name + ".new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir()
    build(unfinished)
    unfinished.rename(entry)


def obtain(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the directory of an entry; `build` fills it when it does not exist yet.

    The entry appears whole or not at all, one process builds it while others
    wait, and it is not pruned as long as this process lives.
    """
    entry = cache_root() / f"{kind}-{key}"
    lock = _held.get(entry) or _lock_file(entry)
    fcntl.flock(lock, fcntl.LOCK_SH)
    while not entry.is_dir():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not entry.is_dir():
            _build(entry, build)
        fcntl.flock(lock, fcntl.LOCK_SH)
    _held[entry] = lock
    os.utime(entry)
    return entry


def prune(kind: str, keep: int) -> None:
    """Keep the `keep` entries of a kind that were used last, and those in use."""
    entries = [path for path in cache_root().glob(f"{kind}-*") if path.suffix == ""]
    entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [*entries[keep:], *cache_root().glob(f"{kind}-*.new")]:
        with _lock_file(path.with_suffix("")) as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
