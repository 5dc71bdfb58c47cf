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
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from guestagent.errors import Problem
    from guestagent.system.root import Root


class ScriptResult(NamedTuple):
    """How a script of user data ended.

    ``status`` is its exit status (negative: the signal that killed it), "interrupted", "timeout" or
    "not started".  ``failed_commands`` are those of runcmd or bootcmd: the "place" of each, its
    "line" in the document (0: not known) and its "status".
    """

    stage: str
    name: str
    status: int | str
    seconds: float
    failed_commands: Sequence[dict[str, Any]] = ()


class Fetched(NamedTuple):
    """A document that was fetched for user data.

    ``url`` is as it may be shown.  ``sha256`` is empty where the content is not for everyone.
    """

    url: str
    size: int
    sha256: str

    def text(self) -> str:
        """Return it in one line."""
        digest = f", sha256 {self.sha256}" if self.sha256 else ""
        return f"{self.url}: {self.size} bytes{digest}"


def add_fetched(
    root: Root,
    fetched: Sequence[Fetched],
    problems: Sequence[Problem],
    tried: Sequence[tuple[Origin, str]] = (),
) -> None:
    """Add to the report what was fetched, and what was wrong with it.

    ``tried`` are the origins of all that this run tried, and how problems with each begin: those
    of an earlier run are removed.  Raises OSError, Refused.
    """
    found = _last_or_empty(root)
    found["fetched"] = [*found["fetched"], *(item._asdict() for item in fetched)]
    _drop_problems(
        found,
        lambda origin, reason: any(
            origin == why and reason.startswith(start) for why, start in tried
        ),
    )
    _add_problems(found, problems)
    ownfiles.write(root, defs.REPORT_FILE, found, 0o644)


def add_problems(root: Root, problems: Sequence[Problem]) -> None:
    """Add problems of a later step to the report.  Raises OSError, Refused."""
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
    earlier = Origin("scripts", script.stage, script.name)
    _drop_problems(found, lambda origin, _: origin == earlier)
    _add_problems(found, problems)
    ownfiles.write(root, defs.REPORT_FILE, found, 0o644)


class Unit:
    """A unit of the boot while it works: at the end the report no longer says that it is to come.

    A unit that an error ends is in the report too, so that nobody waits for it.  One that is killed
    has no part in that: see ``note_failed``.
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
            _end((self.name,), self.root, problems, then=self.then)
        except (OSError, GuestagentError) as error:
            log.warning(f"{defs.REPORT_FILE}: still says that {self.name} is to come: {error}")


def note_failed(root: Root, units: Mapping[str, str]) -> None:
    """Have the report wait no longer for units that failed, and tell why each did.

    Raises GuestagentError, OSError.
    """
    problems = [Origin("guestagent", name, "").error(reason) for name, reason in units.items()]
    _end(tuple(units), root, problems)


def _end(
    units: Sequence[str], root: Root, problems: Sequence[Problem], then: Sequence[str] = ()
) -> None:
    """Replace units that are to come by others, ``then``.  Raises GuestagentError, OSError."""
    held = lock(root, wait=defs.LOCK_WAIT_LATE)
    try:
        found = _last_or_empty(root)
        others = [name for name in found["pending"] if name not in units]
        found["pending"] = [*others, *then]
        _add_problems(found, problems)
        ownfiles.write(root, defs.REPORT_FILE, found, 0o644)
        publish(root, found)
    finally:
        os.close(held)


def _drop_problems(found: dict[str, Any], is_settled: Callable[[Origin, str], bool]) -> None:
    """Remove problems from a report as it is in the file; without errors left, it did not fail."""
    left = [
        known
        for known in found["problems"]
        if not is_settled(Origin(known["source"], known["document"], known["key"]), known["reason"])
    ]
    changed = len(left) < len(found["problems"])
    found["problems"] = left
    errors = any(known["severity"] == "error" for known in left)
    if changed and not errors and found["exit_status"] == defs.EXIT_ERRORS:
        found["exit_status"] = defs.EXIT_OK


def _add_problems(found: dict[str, Any], problems: Sequence[Problem]) -> None:
    """Add problems to a report as it is in the file; with an error the run counts as failed."""
    found["problems"] = [*found["problems"], *(problem._asdict() for problem in problems)]
    # A run that failed already keeps its own exit status.
    if any(problem.severity == "error" for problem in problems):
        found["exit_status"] = found["exit_status"] or defs.EXIT_ERRORS


def _last_or_empty(root: Root) -> dict[str, Any]:
    """Return the report in the file; where there is none, that of a run that did nothing.

    The run at boot is to come then, or it was killed.
    """
    nothing = Report(boot_id=read_boot_id(root), pending=(defs.LOCAL_UNIT,))
    return {**as_json(nothing), "scripts": [], "fetched": [], **read(root)}
