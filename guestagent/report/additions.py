"""What is added to the report of a run after it: how its scripts ended, and what failed later."""

from __future__ import annotations

from guestagent import defs
from guestagent.record import NamedTuple
from guestagent.report.run import Report, as_json, read
from guestagent.system import ownfiles

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


def _add_problems(found: dict[str, Any], problems: Sequence[Problem]) -> None:
    """Add errors to a report as it is in the file; the run counts as failed then."""
    # A run that failed already keeps its own exit status.
    if problems:
        found["problems"] = [*found["problems"], *(problem._asdict() for problem in problems)]
        found["exit_status"] = found["exit_status"] or defs.EXIT_ERRORS


def _last_or_empty(root: Root) -> dict[str, Any]:
    """Return the report in the file; where there is none, that of a run that did nothing."""
    return {**as_json(Report()), "scripts": [], **read(root)}
