"""One run of the agent, as its units start it, inside a namespace of the tests.

It may have other limits than the product's (``defs``), and leaves figures of the run in a file.

usage: inguest.py FIGURES LIMITS ARGUMENT…    LIMITS are JSON: {NAME of defs: value}
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from guestagent import defs


def _peak() -> int:
    """The most memory that was resident, in KiB; getrusage(2) would count the parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> int:
    """Run the agent's command line; the rest is what it always does."""
    figures, limits, *arguments = sys.argv[1:]
    for name, value in json.loads(limits).items():
        if name == "CLOCK":  # seconds that each look at the clock of the wall jumps
            _wild(value)
        elif name == "DRIVES":  # block devices: what udev knows of each, by its node
            _attach(value)
        elif name == "LOADED":  # what the interpreter's own place may hide from nobody
            for module in value:
                importlib.import_module(module)
        else:
            setattr(defs, name, value)
    from guestagent.cli import main as agent

    start = time.monotonic()
    status = agent(arguments)
    found = {"seconds": time.monotonic() - start, "peak": _peak(), "loaded": sorted(sys.modules)}
    Path(figures).write_text(json.dumps(found))
    return status


def _attach(drives: dict[str, dict[str, str]]) -> None:
    """Let libudev know these devices; what is mounted of one is the folder beside its node.

    What the kernel is asked to mount is in the file ``mounts`` in the same folder.
    """
    from guestagent.sources import mount
    from guestagent.system import udev_monitor

    class Monitor(udev_monitor.Monitor):
        def __init__(self, subsystem: str) -> None:
            assert subsystem == "block"
            self.fd = os.eventfd(0)  # nothing ever comes

    def block_devices(_: udev_monitor.Database) -> Iterator[udev_monitor.Event]:
        for node, known in drives.items():
            label, file_system = known.get("ID_FS_LABEL", ""), known.get("ID_FS_TYPE", "")
            yield udev_monitor.Event("block", "", "", label, file_system, node)

    def mounted(device: str, file_system: str) -> int:
        with Path(device).with_name("mounts").open("a") as file:
            file.write(f"{Path(device).name} {file_system}\n")
        return os.open(f"{device}.d", os.O_RDONLY | os.O_DIRECTORY)

    udev_monitor.Database.block_devices = block_devices  # type: ignore[method-assign, assignment]
    udev_monitor.Monitor = Monitor  # type: ignore[misc, assignment]
    mount._mount = mounted


def _wild(seconds: float) -> None:
    real, turns = time.time, itertools.count(1)

    def now() -> float:
        turn = next(turns)
        return real() + seconds * (turn if turn % 2 else -turn)

    time.time = now


if __name__ == "__main__":
    sys.exit(main())
