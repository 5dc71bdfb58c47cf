"""Prints what each directive of a unit's sandbox costs: CPU and wall time, in milliseconds.

    python3 sandbox_cost.py UNIT...     as root, in a guest that may be thrown away; files that
                                        LoadCredential= names must be there

For each unit: with all directives of its sandbox, without any, and without one after the other.
The program in it is true(1), so that what is measured is systemd's work and the kernel's. The
figures are medians; most useful under QEMU's -icount, where they repeat to 1 %.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 5
UNITS = Path("/run/systemd/system")
# What is about the unit's life and not about its sandbox.
NO_SANDBOX = {
    *("Type", "RemainAfterExit", "ExecStart", "KillMode", "Restart", "RestartSec", "WatchdogSec"),
    *("TimeoutStartSec", "TimeoutStopSec", "StandardOutput", "StandardError"),
}


def read_sandbox(path: Path) -> list[tuple[str, str]]:
    """Return the key and the line of each directive of the sandbox, in order."""
    _, service = path.read_text().replace("\\\n", "").split("[Service]\n", 1)
    lines = [line for line in service.split("\n[", 1)[0].splitlines() if line[:1] not in ("", "#")]
    pairs = [(line.partition("=")[0], line) for line in lines]
    return [(key, line) for key, line in pairs if key not in NO_SANDBOX]


def read_cpu_time() -> float:
    """Return the CPU time that the machine has used, in milliseconds."""
    words = Path("/sys/fs/cgroup/cpu.stat").read_text().split()
    return int(words[words.index("usage_usec") + 1]) / 1000


def measure(lines: list[str]) -> tuple[float, float]:
    """Return the CPU and wall time of starting a unit with these directives, in milliseconds."""
    name = "sandbox-cost.service"
    text = "[Service]\nType=oneshot\nExecStart=/bin/true\n" + "\n".join(lines) + "\n"
    (UNITS / name).write_text(text)
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "start", name], check=True)
    found = []
    for _ in range(ROUNDS):
        began = read_cpu_time(), time.monotonic()
        subprocess.run(["systemctl", "start", name], check=True)
        found.append((read_cpu_time() - began[0], (time.monotonic() - began[1]) * 1000))
    cpu, wall = zip(*found, strict=True)
    return statistics.median(cpu), statistics.median(wall)


def print_costs(path: Path) -> None:
    sandbox = read_sandbox(path)
    everything = measure([line for _, line in sandbox])
    for title, figures in (("all", everything), ("none", measure([]))):
        print(f"{path.name} {title}: CPU {figures[0]:.1f} ms, wall {figures[1]:.1f} ms")
    for key in dict.fromkeys(key for key, _ in sandbox):
        cpu, wall = measure([line for other, line in sandbox if other != key])
        saved = everything[0] - cpu, everything[1] - wall
        print(f"{path.name} {key}: CPU {saved[0]:.1f} ms, wall {saved[1]:.1f} ms", flush=True)


if __name__ == "__main__":
    if os.geteuid() or len(sys.argv) < 2:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        print_costs(Path(argument))
