"""``guestagent status``: show the report of the last run."""

from __future__ import annotations

from guestagent import defs, log
from guestagent.errors import Problem
from guestagent.report.run import read
from guestagent.system.jsontext import dumps
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.options import Options

_SPOILED = (
    "is damaged, or of another version: what the last run did is not known from it; "
    "look at journalctl -t guestagent, or run guestagent apply, which writes a new one"
)


def run(options: Options) -> int:
    """Print the last report.  Return 1 if there is none, or if it has errors, else 0.

    Raises OSError.
    """
    root = Root(options.root)
    report = read(root)
    if not report and root.exists(defs.REPORT_FILE):
        log.error(f"{defs.REPORT_FILE} {_SPOILED}")
        return defs.EXIT_ERRORS
    if not report:
        log.error("there is no report of a run since this system started")
        return defs.EXIT_ERRORS
    if options.json:
        print(dumps(report))
    else:
        _print(report)
    if report["exit_status"] != defs.EXIT_OK:
        return defs.EXIT_ERRORS
    failed = any(script["status"] != 0 for script in report.get("scripts", []))
    return defs.EXIT_ERRORS if failed else defs.EXIT_OK


def _print(report: dict[str, Any]) -> None:
    """Print a report for people; nothing of a source in it can drive their terminal."""
    print(f"source       {log.printable(report['source']) or '(none)'}")
    print(f"instance     {log.printable(report['instance_id']) or '(none)'}")
    if report["availability_zone"]:
        print(f"zone         {log.printable(report['availability_zone'])}")
    if report["project_id"]:
        print(f"project      {log.printable(report['project_id'])}")
    print(f"exit status  {report['exit_status']}")
    steps = ", ".join(f"{name} {ms:.0f}" for name, ms in report["steps_ms"].items())
    print(f"took         {report['total_ms']:.0f} ms ({steps})")
    for problem in report["problems"]:
        found = Problem(**problem)
        print(f"{found.severity}: {log.printable(found.text())}")
    for name in report["kept"]:
        print(f"left alone, changed by an administrator: {log.printable(name)}")
    for change in report["changes"]:
        print(f"changed      {log.printable(change['what'])}")
        print(f"    because  {log.printable(change['why'])}")
    for script in report.get("scripts", []):
        _print_script(script)
    if report["unchanged"]:
        print("nothing had changed since the run before")


def _print_script(script: dict[str, Any]) -> None:
    name = log.printable(f"{script['stage']}/{script['name']}")
    how = script["status"]
    if isinstance(how, int):
        how = f"exit status {how}"
    print(f"script       {name}: {how}, {script['seconds']:.1f} s")
