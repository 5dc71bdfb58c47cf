"""A place in which scripts of the late stage are run, among stub programs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from guestagent import defs
from guestagent.plan.kinds.script import Script
from userdata.planning import METADATA, clean_plan, steps

PHONE, MESSAGE = "80-instance-phone_home", "90-boot-final_message"
POWER = "99-instance-power_state"
EVIL = 'it\'s "$(touch evil)" `touch evil` $HOME \\ %s ;&| é'
STUB = '#!/bin/sh\nprintf "<%s>" "${0##*/}" "$@" >>"$CALLS"\n'


def step(text: str, name: str) -> Script:
    """The one step of text in which nothing is wrong."""
    found = steps(clean_plan(text, data=METADATA))
    assert list(found) == [f"late/{name}"]
    return found[f"late/{name}"]


def key(name: str, value: object) -> str:
    """One key as YAML, of which JSON is a part."""
    return f"{name}: {json.dumps(value)}\n"


class Place:
    """A folder in which a script is run, with stubs in its PATH that note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder / "here", folder / "bin"
        self.calls = folder / "calls"
        self.systemd, self.console = folder / "systemd", folder / "console"
        self.folder.mkdir()
        self.programs.mkdir()
        for name in ("shutdown", "systemd-run"):
            self.stub(name, STUB)
        self.stub("sleep", "#!/bin/sh\n")

    def stub(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def run(self, script: bytes) -> subprocess.CompletedProcess[str]:
        """Run a script; the paths of the system's in it are those of this place."""
        for path, own in (
            (defs.SYSTEMD_DIR, self.systemd),
            (defs.CONSOLE_DEVICE, self.console),
            (defs.PROGRAM, self.programs / "guestagent"),
        ):
            script = script.replace(path.encode(), str(own).encode())
        file = self.folder.parent / "script"
        file.write_bytes(script)
        subprocess.run(["sh", "-n", file], check=True)
        environment = {"PATH": f"{self.programs}:{os.defpath}", "CALLS": str(self.calls)}
        done = subprocess.run(
            ["sh", file], env=environment, cwd=self.folder, capture_output=True, text=True
        )
        assert list(self.folder.iterdir()) == []
        return done

    def called(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""
