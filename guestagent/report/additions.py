"""What is added to the report of a run after it: how its scripts ended, and what failed later."""

from __future__ import annotations

import os

from guestagent import defs, log
from guestagent.errors import GuestagentError, Origin
from guestagent.record import NamedTuple
from guestagent.report.cloud_init import publish
from guestagent.report.run import Report, as_json, read, read_boot_id
from guestagent.system import ownfiles
from guestagent.system.lock import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from guestagent.errors import Problem
    from guestagent.system.root import Root


class ScriptResult(NamedTuple):
    """How a script of user data ended.

    ``status`` is its exit status (negative: the signal that killed it), "interrupted", "timeout" or
    "not started".
    """

    stage: str
    name: str
    status: int | str
    seconds: float


def add_problems(root: Root, problems: Sequence[Problem]) -> None:
    """Add errors of a later step to the report.  Raises OSError, Refused."""
    found = _last_or_empty(root)
    _add_problems(found, problems)
    ownfiles.write(root, defs.REPORT_FILE, found, 0o644)


def add_script(root: Root, script: ScriptResult, problems: Sequence[Problem]) -> None:
    """Add the result of a script to the report, instead of an earlier one of the same script.

    ``problems`` are the errors that this run of the script caused; those of an earlier run are
    removed.  Raises OSError, Refused.
    """
    found = _last_or_empty(root)
    found["scripts"] = [
        known
        for known in found["scripts"]
        if (known["stage"], known["name"]) != (script.stage, script.name)
    ]
    found["scripts"].append(script._asdict())
    earlier = ("scripts", script.stage, script.name)
    found["problems"] = [
        known
        for known in found["problems"]
        if (known["source"], known["document"], known["key"]) != earlier
    ]
    _add_problems(found, problems)
    ownfiles.write(root, defs.REPORT_FILE, found, 0o644)


class Unit:
    """A unit of the boot while it works: at the end the report no longer says that it is to come.

    A unit that an error ends is in the report too, so that nobody waits for it.  One that is killed
    has no part in that: ``live.boot`` asks the service manager.
    """

    def __init__(self, root: Root, name: str) -> None:
        self.root, self.name = root, name
        self.then: list[str] = []  # units that this one has had started

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        reason = f"ended before its work was done; journalctl -u {self.name} says why"
        problems = [Origin("guestagent", self.name, "").error(reason)] if kind else []
        try:
            held = lock(self.root, wait=defs.LOCK_WAIT_LATE)
            try:
                self._write(problems)
            finally:
                os.close(held)
        except (OSError, GuestagentError) as error:
            log.warning(f"{defs.REPORT_FILE}: still says that {self.name} is to come: {error}")

    def _write(self, problems: Sequence[Problem]) -> None:
        found = _last_or_empty(self.root)
        others = [name for name in found["pending"] if name != self.name]
        found["pending"] = [*others, *self.then]
        _add_problems(found, problems)
        ownfiles.write(self.root, defs.REPORT_FILE, found, 0o644)
        publish(self.root, found)


def _add_problems(found: dict[str, Any], problems: Sequence[Problem]) -> None:
    """Add errors to a report as it is in the file; the run counts as failed then."""
    # A run that failed already keeps its own exit status.
    if problems:
        found["problems"] = [*found["problems"], *(problem._asdict() for problem in problems)]
        found["exit_status"] = found["exit_status"] or defs.EXIT_ERRORS


def _last_or_empty(root: Root) -> dict[str, Any]:
    """Return the report in the file; where there is none, that of a run that did nothing.

    The run at boot is to come then, or it was killed.
    """
    nothing = Report(boot_id=read_boot_id(root), pending=(defs.LOCAL_UNIT,))
    return {**as_json(nothing), "scripts": [], **read(root)}
