"""A tree that stands in for a running system, whose boot goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guestagent import defs
from guestagent.live import boot
from guestagent.report import run as report
from guestagent.report.run import Report
from guestagent.system.root import Root

NOW = "7d1c0f8e-0000-4000-8000-000000000002"
COMING = "ActiveState=inactive\nJob=7\nResult=success\nConditionTimestampMonotonic=0"
WORKING = "ActiveState=activating\nJob=7\nResult=success\nConditionTimestampMonotonic=5"
OVER = "ActiveState=active\nResult=success\nConditionTimestampMonotonic=5"
NOT_MET = "ActiveState=inactive\nResult=success\nConditionTimestampMonotonic=5"
NEVER = "ActiveState=inactive\nResult=success\nConditionTimestampMonotonic=0"
KILLED = "ActiveState=failed\nResult=timeout\nConditionTimestampMonotonic=5"


class Machine:
    """A tree that counts as the running system, and what its service manager says of units."""

    def __init__(self, tree: Path, programs: Path) -> None:
        self.tree, self.programs = tree, programs
        self.root = Root(str(tree))
        self.root.live = True
        self.path(defs.BOOT_ID).parent.mkdir(parents=True)
        self.path(defs.BOOT_ID).write_text(f"{NOW}\n")
        self.path(defs.RUN_DIR).mkdir(parents=True)
        self.wants = self.path("/etc/systemd/system/sysinit.target.wants") / defs.LOCAL_UNIT
        self.wants.parent.mkdir(parents=True)
        self.wants.touch()
        self.units: dict[str, str] = {}
        self.say()

    def path(self, path: str) -> Path:
        return self.tree / path[1:]

    def say(self, **units: str) -> None:
        """What the service manager says from now on, by the unit's name without its first word."""
        self.units |= {f"guestagent-{name}.service": text for name, text in units.items()}
        blocks = [f"Id={name}\n{text}\n" for name, text in self.units.items()]
        (self.programs / "answer").write_text("\n".join(blocks))

    def asked(self) -> int:
        """How often the service manager was asked."""
        log = self.programs / "asked"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def write(self, *pending: str, boot_id: str = NOW, **fields: Any) -> None:
        """Write the report of a run, after which units are to come."""
        report.write(self.root, Report(boot_id=boot_id, pending=pending, **fields))


def machine(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make one; modules that make a root of their own must be given this one's."""
    programs = tree.parent / "programs"
    programs.mkdir()
    found = Machine(tree, programs)
    systemctl = programs / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho >>{programs}/asked\ncat {programs}/answer\n")
    systemctl.chmod(0o755)
    monkeypatch.setattr(boot, "find_program", lambda _: str(systemctl))
    monkeypatch.setattr(defs, "SYSTEMD_DIR", str(programs))
    monkeypatch.setattr(defs, "STATUS_LOOK", 0.02)
    (tree / "cmdline").write_text("quiet\n")
    monkeypatch.setattr(defs, "KERNEL_COMMAND_LINE", str(tree / "cmdline"))
    monkeypatch.setattr(defs, "CONTAINER_FILE", str(tree / "container"))
    monkeypatch.setattr(defs, "OFF_SWITCH", str(found.path("/etc/off")))
    return found
