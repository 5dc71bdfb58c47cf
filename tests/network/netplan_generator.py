"""Facts from netplan's file, by way of what netplan's real generator makes of it for networkd."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import networkd_reader
from .facts import Link

REPOSITORY = Path(__file__).parents[2]
# A library of the package is installed, the rest of it would take over the network.
_PROGRAMS = (
    Path("/usr/libexec/netplan/generate"),
    REPOSITORY / ".venv/netplan/usr/libexec/netplan/generate",
)
_FOLDER = "run/systemd/network"
_KEYFILES = "run/NetworkManager/system-connections"
_RENDERER = "network:\n  version: 2\n  renderer: NetworkManager\n"
# What netplan writes where no metric is given, for DHCP and routers alike.
_OWN_METRIC = 100


def missing() -> str:
    """Why the generator cannot be run here; empty if it can."""
    return "" if _program() else "needs netplan's generator"


def _program() -> Path | None:
    return next((path for path in _PROGRAMS if path.exists()), None)


def keyfiles(root: Path) -> dict[str, str]:
    """Run the generator on a tree whose netplan writes for NetworkManager; the profiles by path."""
    choice = root / "etc/netplan/00-renderer.yaml"
    choice.write_text(_RENDERER)
    choice.chmod(0o600)
    return generate(root, _KEYFILES)


def generate(root: Path, folder: str = _FOLDER, *, quiet: bool = True) -> dict[str, str]:
    """Run the generator on a tree; the files that it writes to a folder, by path.

    Where it is not ``quiet``, it may have something to say.
    """
    done = subprocess.run(
        [str(_program()), "--root-dir", str(root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not quiet or not done.stdout + done.stderr, done.stdout + done.stderr
    return {f"/{folder}/{path.name}": path.read_text() for path in (root / folder).iterdir()}


def links(root: Path, *, quiet: bool = True) -> dict[str, Link]:
    """Return the links that netplan's file in a tree describes."""
    found = networkd_reader.links(generate(root, quiet=quiet))
    return {
        name: link._replace(metric=None) if link.metric == _OWN_METRIC else link
        for name, link in found.items()
    }
