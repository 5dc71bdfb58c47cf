"""The report of a run: written to /run, told to the journal, shown by ``guestagent status``."""

from __future__ import annotations

import time

from guestagent import VERSION, defs, log
from guestagent.errors import FieldError, Problem, Refused
from guestagent.system import ownfiles
from guestagent.system.jsontext import dumps, loads
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.options import Options


# The report of a guest of which nothing is known but its scripts.
_NOTHING: dict[str, Any] = {
    "exit_status": 0,
    "source": "",
    "instance_id": "",
    "first_boot": False,
    "unchanged": False,
    "changes": [],
    "kept": [],
    "problems": [],
    "scripts": [],
    "steps_ms": {},
    "total_ms": 0.0,
}


def tell(report: dict[str, Any]) -> None:
    """One line for each problem and each change, and one for the whole."""
    for problem in report["problems"]:
        (log.error if problem.severity == "error" else log.warning)(problem.text())
    for name in report["kept"]:
        log.info(f"left alone, changed by an administrator: {name}")
    if report["changes"]:
        from guestagent.report.plan import summary

        for change in report["changes"]:
            log.notice(f"{summary(change)} [{change.why.text()}]")
    log.info(_headline(report))


def _headline(report: dict[str, Any]) -> str:
    source = report["source"] or "no source"
    what = "unchanged" if report["unchanged"] else f"{len(report['changes'])} changes"
    errors = sum(problem.severity == "error" for problem in report["problems"])
    return f"{source}: {what}, {errors} errors, {report['total_ms']:.0f} ms"


def write(root: Root, report: dict[str, Any]) -> None:
    """Leave the report in the tree's /run; a tree that cannot take it is told of, no more."""
    changes: list[dict[str, str]] = []
    if report["changes"]:
        from guestagent.report.plan import summary

        changes = [{"what": summary(c), "why": c.why.text()} for c in report["changes"]]
    problems = [problem._asdict() for problem in report["problems"]]
    try:
        found = {**report, "changes": changes, "problems": problems, **_scripts(root)}
        ownfiles.write(root, defs.REPORT_FILE, found, 0o644)
    except (OSError, Refused) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        log.warning(f"{defs.REPORT_FILE}: cannot be written: {reason}")


def _scripts(root: Root) -> dict[str, Any]:
    """The scripts that ran since the system started, which a later run does not make undone."""
    known = _last(root).get("scripts")
    return {"scripts": known} if known else {}


def add_errors(root: Root, reasons: list[str]) -> None:
    """Add what failed after a run to its report.  Raises OSError, Refused."""
    found = _whole(root)
    problems = [Problem("error", "network", "", "", reason)._asdict() for reason in reasons]
    found["problems"] = [*found["problems"], *problems]
    ownfiles.write(root, defs.REPORT_FILE, {**found, "exit_status": defs.EXIT_ERRORS}, 0o644)


def add_script(root: Root, script: dict[str, Any] | None, problem: Problem | None) -> None:
    """Put a script's result, and what was wrong with it, in the place of an earlier one.

    Raises OSError, Refused.
    """
    found = _whole(root)
    if script:
        place = (script["stage"], script["name"])
        others = [s for s in found["scripts"] if (s["stage"], s["name"]) != place]
        found["scripts"] = [*others, script]
        found["problems"] = [
            known
            for known in found["problems"]
            if (known["source"], known["document"], known["key"]) != ("scripts", *place)
        ]
    if problem:
        found["problems"] = [*found["problems"], problem._asdict()]
        found["exit_status"] = found["exit_status"] or defs.EXIT_ERRORS
    ownfiles.write(root, defs.REPORT_FILE, found, 0o644)


def _whole(root: Root) -> dict[str, Any]:
    """The report with everything that belongs to one."""
    return {**_NOTHING, "version": VERSION, "time": int(time.time()), **_last(root)}


def _last(root: Root) -> dict[str, Any]:
    """The report as it is; empty where there is none that can be understood."""
    try:
        found = loads(root.read(defs.REPORT_FILE) or b"{}")
    except (FieldError, Refused):
        return {}
    return found if isinstance(found, dict) else {}


def show(options: Options) -> int:
    """Print the last report; the exit status is 1 if it tells of errors or there is none."""
    content = Root(options.root).read(defs.REPORT_FILE)
    if content is None:
        log.error("there is no report: guestagent has not run since this system started")
        return defs.EXIT_ERRORS
    report = loads(content)
    if options.json:
        print(dumps(report))
    else:
        _print(report)
    failed = any(script["status"] != 0 for script in report.get("scripts", []))
    return defs.EXIT_ERRORS if report["exit_status"] or failed else defs.EXIT_OK


def _print(report: dict[str, Any]) -> None:
    print(f"source       {log.printable(report['source']) or '(none)'}")
    print(f"instance     {log.printable(report['instance_id']) or '(none)'}")
    print(f"exit status  {report['exit_status']}")
    took = ", ".join(f"{name} {ms:.0f}" for name, ms in report["steps_ms"].items())
    print(f"took         {report['total_ms']:.0f} ms ({took})")
    for problem in report["problems"]:
        found = Problem(**problem)
        print(f"{found.severity}: {log.printable(found.text())}")
    for name in report["kept"]:
        print(f"left alone, changed by an administrator: {log.printable(name)}")
    for change in report["changes"]:
        print(f"changed      {log.printable(change['what'])}")
        print(f"    because  {log.printable(change['why'])}")
    for script in report.get("scripts", []):
        name = log.printable(f"{script['stage']}/{script['name']}")
        status = script["status"]
        how = status if isinstance(status, str) else f"exit status {status}"
        print(f"script       {name}: {how}, {script['seconds']:.1f} s")
    if report["unchanged"]:
        print("nothing had changed since the run before")
