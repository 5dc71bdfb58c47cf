"""A tree with staged scripts, and runners over it in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import rig

from guestagent import defs
from guestagent.memory import state
from guestagent.system.root import Root

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from guestagent.system.root import Root; "
    "from guestagent.scripts.runner import run_stage; "
    "sys.exit(run_stage(Root(sys.argv[2]), sys.argv[3], float(sys.argv[4]), "
    "stop=sys.argv[5] == 'True'))"
)


class Stage:
    """Scripts write to ``mark(name)`` files below ``marks``, a line each time they run."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.marks = tree.parent / "marks"
        self.marks.mkdir()
        self.log = self.path(defs.SCRIPTS_LOG)
        for directory in (defs.STATE_DIR, f"{defs.STATE_DIR}/early", f"{defs.STATE_DIR}/late"):
            self.path(directory).mkdir(0o700, parents=True)
        self.instance("i-1")
        self.boot("boot-1")

    def path(self, path: str) -> Path:
        return self.tree / path[1:]

    def instance(self, name: str) -> None:
        """The instance that the tree is now."""
        state.save(Root(str(self.tree)), state.State(configured=True, instance_id=name))

    def boot(self, name: str) -> None:
        """The system starts anew."""
        path = self.path(defs.BOOT_ID)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")

    def file(self, name: str, stage: str = "late") -> Path:
        return self.path(f"{defs.STATE_DIR}/{stage}/{name}")

    def put(self, name: str, body: str = "", stage: str = "late", first: str = "#!/bin/sh") -> Path:
        """Stage a script that leaves a mark first, then does what ``body`` says."""
        path = self.file(name, stage)
        text = f"{first}\necho ran >>{self.mark(name)}\n{body}\n"
        path.write_text(text.lstrip("\n"))
        path.chmod(0o700)
        return path

    def mark(self, name: str) -> Path:
        return self.marks / name

    def ran(self) -> dict[str, int]:
        """How often each script ran."""
        return {path.name: len(path.read_text().splitlines()) for path in self.marks.iterdir()}

    def waiting(self, stage: str = "late") -> list[str]:
        return sorted(path.name for path in self.path(f"{defs.STATE_DIR}/{stage}").iterdir())

    def command(self, stage: str = "late", limit: float = 0, *, stop: bool = False) -> list[str]:
        arguments = (str(rig.REPOSITORY), str(self.tree), stage, str(limit), str(stop))
        return [sys.executable, "-IBS", "-c", _START, *arguments]

    def run(
        self, stage: str = "late", limit: float = 0, *, stop: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """One runner, to its end."""
        return subprocess.run(
            self.command(stage, limit, stop=stop),
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"CANARY": "in the environment"},
            stdin=subprocess.DEVNULL,
        )

    def report(self) -> dict[str, Any]:
        """The report in the tree's /run."""
        found: dict[str, Any] = json.loads(self.path(defs.REPORT_FILE).read_text())
        return found

    def results(self) -> dict[str, int | str]:
        """What the report says of each script."""
        return {script["name"]: script["status"] for script in self.report()["scripts"]}

    def reasons(self) -> dict[str, str]:
        """The reported problems by what they are about."""
        return {problem["key"]: problem["reason"] for problem in self.report()["problems"]}

    def ledger(self) -> list[dict[str, Any]]:
        """The entries, oldest first."""
        found: list[dict[str, Any]] = json.loads(self.path(defs.LEDGER_FILE).read_text())["entries"]
        return found
