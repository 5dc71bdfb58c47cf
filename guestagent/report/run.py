"""The report of a run: written to /run, sent to the journal, shown by ``guestagent status``.

What happens after the run is added to the file by ``report.additions``.
"""

from __future__ import annotations

import time

from guestagent import VERSION, defs, log
from guestagent.errors import Problem, Refused
from guestagent.record import NamedTuple
from guestagent.system import ownfiles
from guestagent.system.jsontext import has_form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from guestagent.plan.kinds import Change
    from guestagent.system.root import Root

# What the entries of a report's lists are made of.
_FORMS: dict[str, dict[str, Any]] = {
    "problems": dict.fromkeys(Problem._fields, str),
    "changes": {"what": str, "why": str},
    "scripts": {
        "stage": str,
        "name": str,
        "status": (int, str),
        "seconds": (int, float),
        "failed_commands": (list, tuple),
    },
    "fetched": {"url": str, "size": int, "sha256": str},
}
_TEXTS = ("kept", "pending", "signatures")  # lists of texts

NO_REPORT = "there is no report of a run since this system started"


class Report(NamedTuple):
    """What a run found, did, and could not do.

    ``started`` is when the run began, in seconds of the monotonic clock.  ``steps`` are the names
    of the steps that were taken and how many milliseconds each took; ``total_ms`` is the time from
    the start to the end of the last one.  ``kept`` names what an administrator changed, which was
    left alone.  ``boot_id`` is that of the system's start in which the run was made, random(4).
    ``pending`` names the units of this boot that have something to do after the run; None is those
    of the run before.  ``layout`` is the name of the source's layout (``parse.layouts``).
    ``signatures`` are those of user data and vendor data that hold.
    """

    started: float = 0.0
    exit_status: int = defs.EXIT_OK
    source: str = ""
    instance_id: str = ""
    availability_zone: str = ""
    project_id: str = ""
    first_boot: bool = False
    unchanged: bool = False
    changes: tuple[Change, ...] = ()
    kept: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    steps: tuple[tuple[str, float], ...] = ()
    total_ms: float = 0.0
    boot_id: str = ""
    pending: tuple[str, ...] | None = None
    layout: str = ""
    signatures: tuple[str, ...] = ()

    def after(self, step: str, problems: Sequence[Problem] = ()) -> Report:
        """Return the report after a step that ends now, with the problems that it found."""
        total = (time.monotonic() - self.started) * 1000
        return self._replace(
            steps=(*self.steps, (step, round(total - self.total_ms, 1))),
            total_ms=total,
            problems=(*self.problems, *problems),
        )

    def failed(self, status: int, reason: str) -> Report:
        """Return the report of a run that an error ends now, before its work is done."""
        problem = Problem("error", "guestagent", "", "", reason)
        return self._replace(
            exit_status=status,
            problems=(*self.problems, problem),
            total_ms=(time.monotonic() - self.started) * 1000,
        )

    @property
    def errors(self) -> int:
        """The number of things that could not be used or done."""
        return sum(problem.severity == "error" for problem in self.problems)


def tell(report: Report) -> None:
    """Write a line for each problem and each change, and one for the whole run."""
    for problem in report.problems:
        log.problem(problem)
    for signature in report.signatures:
        log.info(f"signed: {signature}")
    for name in report.kept:
        log.info(f"left alone, changed by an administrator: {name}")
    for change in report.changes:
        log.notice(f"{change.tell()} [{change.why.text()}]")
    source = report.source or "no source"
    what = "unchanged" if report.unchanged else _count(len(report.changes), "change")
    log.info(f"{source}: {what}, {_count(report.errors, 'error')}, {report.total_ms:.0f} ms")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def write(root: Root, report: Report) -> None:
    """Write the report into the tree's /run; where that fails, only log a warning."""
    found = as_json(report)
    # What the run did is done, and is in the journal: this is no reason to fail.
    try:
        # What ran and was fetched since the system started stays in the report of a later run.
        last = read(root)
        found |= {key: last[key] for key in ("scripts", "fetched") if last.get(key)}
        if report.pending is None:
            found["pending"] = last.get("pending", [])
        ownfiles.write(root, defs.REPORT_FILE, found, 0o644)
        if root.exists(defs.CLOUD_INIT_INSTANCE):
            from guestagent.report.cloud_init import publish

            publish(root, found)
    except OSError as error:
        log.warning(f"{defs.REPORT_FILE}: cannot be written: {error.strerror}")
    except Refused as error:
        log.warning(f"{defs.REPORT_FILE}: cannot be written: {error}")


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as it is in the file.

    Other programs read the file, so that its keys keep their names and meaning.  Everyone may read
    it: no value of the source that may be secret is in it.
    """
    changes = [{"what": change.tell(), "why": change.why.text()} for change in report.changes]
    return {
        "version": VERSION,
        "time": int(time.time()),
        "exit_status": report.exit_status,
        "source": report.source,
        "layout": report.layout,
        "instance_id": report.instance_id,
        "availability_zone": report.availability_zone,
        "project_id": report.project_id,
        "first_boot": report.first_boot,
        "unchanged": report.unchanged,
        "changes": changes,
        "kept": report.kept,
        "problems": [problem._asdict() for problem in report.problems],
        "steps_ms": dict(report.steps),
        "total_ms": round(report.total_ms, 1),
        "boot_id": report.boot_id,
        "pending": report.pending or (),
        "signatures": report.signatures,
    }


def read(root: Root) -> dict[str, Any]:
    """Return the report in the file; empty where there is none that can be understood.

    One of an earlier boot, in a /run that outlived that, counts as none.  Raises OSError.
    """
    found = ownfiles.read(root, defs.REPORT_FILE)
    if not isinstance(found, dict) or not _is_sound(found):
        return {}
    # A unit with ProcSubset=pid cannot know in which boot it is.
    return found if read_boot_id(root) in (found["boot_id"], "") else {}


def has_failed_scripts(report: dict[str, Any]) -> bool:
    """Tell whether a script ended otherwise than with exit status 0."""
    return any(script["status"] != 0 for script in report.get("scripts", []))


def read_boot_id(root: Root) -> str:
    """Return the ID of this start of the system, random(4); empty where the tree has none."""
    try:
        return root.text(defs.BOOT_ID).strip()
    except (Refused, OSError):
        return ""


def units_to_come(root: Root) -> tuple[str, ...]:
    """Return the units that have something to do in this boot after its first run.

    What is looked at is what their conditions in systemd/ are about.  One that an administrator has
    masked does not come.
    """
    scripts = (f"{defs.STATE_DIR}/early", f"{defs.STATE_DIR}/late")
    later = root.exists(defs.LATER_REQUEST_FILE)
    found = {
        # In this order they are asked about: when the first is over, the other one has begun.
        defs.LATER_UNIT: later,
        defs.APPLY_UNIT: later or root.exists(defs.REQUEST_FILE),
        defs.RELOAD_UNIT: root.exists(defs.RELOAD_FILE),
        defs.EARLY_UNIT: any(_has_visible_names(root, path) for path in scripts),
        defs.HOST_KEYS_UNIT: root.exists(defs.HOST_KEYS_FILE),
    }
    names = [unit for unit, comes in found.items() if comes]
    if not names:
        return ()
    from guestagent.stacks import is_masked

    return tuple(unit for unit in names if not is_masked(root, unit))


def _has_visible_names(root: Root, path: str) -> bool:
    """Tell what systemd's ConditionDirectoryNotEmpty= tells of a directory."""
    try:
        return any(not name.startswith(".") for name in root.listdir(path))
    except (Refused, OSError):
        return False


def _is_sound(found: dict[str, Any]) -> bool:
    """Tell whether a report has all that ``as_json`` and ``report.additions`` put into one."""
    given = {"scripts": [], "fetched": [], **found}
    for key, value in {**as_json(Report()), "scripts": [], "fetched": []}.items():
        types = list if isinstance(value, tuple) else (int, float) if value == 0.0 else type(value)
        if not has_form({key: given.get(key)}, {key: types}):
            return False
    for name, form in _FORMS.items():
        if not all(has_form(entry, form) for entry in given[name]):
            return False
    if not all(isinstance(name, str) for key in _TEXTS for name in given[key]):
        return False
    steps = given["steps_ms"]
    return has_form(steps, dict.fromkeys(steps, (int, float)))
