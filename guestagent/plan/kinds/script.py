"""Scripts that a later unit runs."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin
from guestagent.memory import applied
from guestagent.plan.kinds.file import json_of_file
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.remove import RemoveFile
    from guestagent.plan.view import View

    Stage = Literal["early", "late"]
    Frequency = Literal["instance", "resumed", "boot", "once"]

_STAGES: tuple[Stage, ...] = ("early", "late")
_OFTEN = {
    "instance": "once per instance",
    "resumed": "once per instance",
    "boot": "at each boot",
    "once": "once",
}


class Script(NamedTuple):
    """A script that a later unit runs, as root and not confined.

    ``order`` is its place in the stage, from 0 to 99.  ``frequency``: once per "instance", at each
    "boot", or "once" in the life of the disk; "resumed" is once per instance too, but a run that
    the end of the system interrupted is made again.  ``name`` is what people call it.
    """

    kind: Literal["script"]
    stage: Stage
    order: int
    frequency: Frequency
    name: str
    content: bytes
    why: Origin
    secret: bool = False

    @property
    def file_name(self) -> str:
        """Return the name of its file, by which the scripts of a stage are sorted."""
        return f"{self.order:02}-{self.frequency}-{self.name}"

    @property
    def path(self) -> str:
        """Return the path of its file."""
        return f"{defs.STATE_DIR}/{self.stage}/{self.file_name}"

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.script(self.stage, self.file_name)

    def compare(self, view: View) -> Outcome:
        """Compare with the scripts that wait.  Raises Refused, OSError."""
        if self._has_run(view):
            return Outcome(record={self.key: view.recorded[self.key]})
        want = digest(self.content)
        record = {self.key: want}
        found = view.file(self.path)
        if found.content == self.content and found.mode == defs.STEP_MODE and found.in_order:
            return Outcome(record=record)
        if view.is_done(self.key) and view.recorded[self.key] == want:
            # It was staged and is gone: an administrator does not want it.
            return view.keep(self.key, f"script {self.file_name}")
        change = StageScript("step", self, found.content, (self.key,))
        return Outcome((change,), record=record)

    def _has_run(self, view: View) -> bool:
        """Tell whether the script was staged as often as it must run; the file goes when it ran."""
        if self.frequency == "once":
            return self.key in view.recorded
        return self.frequency != "boot" and view.is_done(self.key)


class StageScript(NamedTuple):
    """A script is put where a later unit finds it; ``old`` is what has its file's name now."""

    kind: Literal["step"]
    script: Script
    old: bytes | None
    keys: tuple[str, ...] = ()

    @property
    def why(self) -> Origin:
        """Return where the script comes from."""
        return self.script.why

    @property
    def path(self) -> str:
        """Return the path of its file."""
        return self.script.path

    @property
    def new(self) -> bytes:
        """Return the content of its file."""
        return self.script.content

    @property
    def mode(self) -> int:
        """Return the permission bits of its file."""
        return defs.STEP_MODE

    @property
    def owner(self) -> str:
        """Return the owner of its file: root."""
        return ""

    @property
    def hidden(self) -> bool:
        """Tell whether plans hide the content."""
        return self.script.secret

    def tell(self) -> str:
        """Say in one line what the change does."""
        script = self.script
        return f"{script.stage}, {_OFTEN[script.frequency]}: run {script.name}"

    def show(self) -> list[str]:
        """Return the lines of the script."""
        if self.hidden:
            return [f"(content not shown, {len(self.new)} bytes)"]
        return [f"| {line}" for line in self.new.decode("utf-8", "replace").splitlines()]

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return json_of_file(self, user="root")


def undo(key: str, view: View) -> Outcome:
    """Remove a script that waits or runs at each boot; remember one that has run."""
    _, place = applied.split(key)
    path = f"{defs.STATE_DIR}/{place}"
    found = view.file(path)
    waits = found.content is not None
    changes: tuple[RemoveFile, ...] = ()
    if not view.first:  # else remove_leftovers() has removed it
        changes = _remove(path, view, applied.origin(key), key)
    often = place.rpartition("/")[2].partition("-")[2].partition("-")[0]
    if often == "boot" or (waits and often != "once"):
        return Outcome(changes)
    if often == "once":
        return Outcome(changes, record={key: view.recorded[key]})
    return view.remember(key)._replace(changes=changes)


def remove_leftovers(resources: Iterable[Resource], view: View) -> Outcome:
    """Remove the scripts that another instance left on this disk before they ran."""
    wanted = {item.path for item in resources if item.kind == "script"}
    changes: list[RemoveFile] = []
    for stage in _STAGES:
        folder = f"{defs.STATE_DIR}/{stage}"
        for name in view.root.listdir(folder):
            path = f"{folder}/{name}"
            if path not in wanted:
                key = applied.script(stage, name)
                changes += _remove(path, view, applied.origin("instance_id"), key)
    return Outcome(tuple(changes))


def _remove(path: str, view: View, why: Origin, key: str) -> tuple[RemoveFile, ...]:
    from guestagent.plan.kinds.remove import RemoveFile

    found = view.file(path)
    if found.content is None or found.mode is None:
        return ()
    return (RemoveFile("remove", path, found.content, found.mode, why, key),)
