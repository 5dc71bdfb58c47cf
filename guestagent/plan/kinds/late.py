"""Files that are written late, when packages are installed: scripts of the late stage have them.

A script hands them back to this program as JSON on standard input; they are compared with the
tree again then, and written like any others.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from guestagent import defs
from guestagent.errors import FieldError, Origin
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script, StageScript
from guestagent.system.digest import digest
from guestagent.system.jsontext import dumps, has_form, loads_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.plan.kinds.file import WriteFile

_DAMAGED = "not a list of files as guestagent's own script has it: none of them is written"
_FORM = {"path": str, "content": str, "mode": int, "owner": str, "append": bool, "why": list}
_ALL_BITS = 0o7777  # of a mode
_CARRIED = 2 * defs.FILE_LIMIT


def divide(changes: list[WriteFile]) -> list[list[WriteFile]]:
    """Return the changes in parts, each of which one script can carry.

    A part holds ``_CARRIED`` bytes; as base64 and with the paths that is less than a script or one
    of guestagent's own files may have.  No path is in two changes, so that their order is free.
    """
    parts: list[list[WriteFile]] = []
    room = 0
    for change in changes:
        room -= len(change.new)
        if not parts or room < 0:
            parts.append([])
            room = _CARRIED - len(change.new)
        parts[-1].append(change)
    return parts


def make_carrier(changes: list[WriteFile], instance: str) -> StageScript:
    """Return the script that carries the files, under a name that no other instance's has.

    Everyone may read the name in the report: nothing of the contents is in it, not as a digest.
    """
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
    content = text.encode()
    names = (f"{change.path} {len(change.new)}" for change in changes)
    about = "\0".join((instance, *names))
    script = Script(
        "script",
        "late",
        30,
        frequency="resumed",  # what was written already is found to be right
        name=f"write_files-{digest(about.encode('utf-8', 'surrogateescape'))[:8]}",
        content=content,
        why=changes[0].why,
        secret=True,
    )
    return StageScript("step", script, None)


def read_carried(content: bytes) -> list[File]:
    """Return the files that the script hands over on standard input.  Raises FieldError."""
    found = loads_own(content)
    if not isinstance(found, list):
        raise FieldError(_DAMAGED)
    try:
        return [_file(item) for item in found]
    except ValueError:  # of base64
        raise FieldError(_DAMAGED) from None


def _file(item: dict[str, Any]) -> File:
    """Raise ValueError for what ``make_carrier`` did not write."""
    if not has_form(item, _FORM) or not 0 <= item["mode"] <= _ALL_BITS:
        raise FieldError(_DAMAGED)
    if [type(word) for word in item["why"]] != [str] * 3:
        raise FieldError(_DAMAGED)
    return File(
        "append" if item["append"] else "file",
        item["path"],
        a2b_base64(item["content"]),
        mode=item["mode"],
        why=Origin(*item["why"]),
        secret=True,
        owner=item["owner"],
    )
