"""Files that are written late, when packages are installed: carried by a step of the late stage.

The plan's changes become a script of /bin/sh that hands them back to this program as JSON on
standard input; they are compared with the tree anew, and committed like any others.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from guestagent import defs
from guestagent.errors import Origin
from guestagent.plan.changes import WriteFile
from guestagent.plan.kinds.file import File
from guestagent.system.digest import digest
from guestagent.system.jsontext import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STEP = "30-instance-write_files-"


def step(changes: list[WriteFile], instance: str) -> WriteFile:
    """The step that carries the files, under a name that no other instance's has."""
    files = [
        {
            "path": change.path,
            "content": b2a_base64(change.new, newline=False).decode(),
            "mode": change.mode,
            "owner": change.owner,
            "append": change.append,
            "why": list(change.why),
        }
        for change in changes
    ]
    text = f"#!/bin/sh\nexec {defs.PROGRAM} write-later <<'END'\n{dumps(files)}\nEND\n"
    script = text.encode()
    path = f"{defs.STATE_DIR}/late/{_STEP}{digest(script + instance.encode())[:8]}"
    why = changes[0].why
    return WriteFile("step", path, None, script, None, defs.STEP_MODE, "", why, True)


def resources(content: bytes) -> list[File]:
    """What a step's standard input asks for."""
    return [_resource(item) for item in loads(content)]


def _resource(item: dict[str, Any]) -> File:
    path, content, mode = item["path"], a2b_base64(item["content"]), item["mode"]
    rest = (path, content, mode, Origin(*item["why"]), True, item["owner"])
    return File("append" if item["append"] else "file", *rest)
