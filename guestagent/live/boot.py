"""Whether the stages and scripts of this boot are over, as every user may find out.

The report names the units that are to come, and each of them takes itself from that list.  While
the list is not empty, the service manager is asked too: a unit that was masked or disabled takes
itself from no list, and one that was killed is taken from it by another one, a little later.
"""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.record import NamedTuple
from guestagent.report.run import read
from guestagent.stacks import starts_at_boot
from guestagent.system.machine import why_disabled
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from guestagent.system.root import Root

_PROPERTIES = "Id,ActiveState,Job,Result,ConditionTimestampMonotonic"
_AT_WORK = ("activating", "deactivating", "reloading")


class Boot(NamedTuple):
    """How far this boot has come, and the report of it, empty where there is none.

    ``units`` are waited for where it is "running".  ``reasons`` say why it is "disabled", or what
    was wrong with the units of a boot that is "over".
    """

    state: Literal["running", "over", "disabled"]
    report: dict[str, Any]
    units: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


def wait(root: Root, seconds: float) -> Boot:
    """Return when the boot is not running any more, or after a number of seconds.

    The report's file is looked at every ``defs.STATUS_LOOK`` seconds, which takes one system call;
    a process is started only where it has changed, and every ``defs.STATUS_ASK`` seconds.
    Raises OSError.
    """
    end = time.monotonic() + seconds
    while True:
        seen = _signature(root)
        boot = look(root)
        if boot.state != "running" or time.monotonic() >= end:
            return boot
        ask = min(end, time.monotonic() + defs.STATUS_ASK)
        while (left := ask - time.monotonic()) > 0 and _signature(root) == seen:
            time.sleep(min(left, defs.STATUS_LOOK))


def _signature(root: Root) -> tuple[int, int] | None:
    """Return what is another for each new file of the report."""
    found = root.stat(defs.REPORT_FILE)
    return (found.st_ino, found.st_mtime_ns) if found else None


def look(root: Root) -> Boot:
    """Find out how far this boot has come.  Raises OSError."""
    while True:
        root.start_over()  # /run/guestagent may be another directory by now
        report = read(root)
        units = report["pending"] if report else [defs.LOCAL_UNIT]
        if not root.live or not units:
            return Boot("over", report)
        if not report and (reason := _why_no_run(root)):
            return Boot("disabled", report, reasons=(reason,))
        found = ask(_PROPERTIES, units)
        waited_for = tuple(unit for unit in units if _is_to_come(found.get(unit)))
        if waited_for:
            return Boot("running", report, waited_for)
        # A unit may have ended, as it should, between the two looks.
        if read(root) == report:
            reasons = [_trouble(unit, found[unit]) for unit in units]
            return Boot("over", report, reasons=tuple(filter(None, reasons)))


def find_failed(root: Root) -> dict[str, str]:
    """Return why units failed that the report still waits for, by their names.  Raises OSError."""
    report = read(root)
    units = report["pending"] if report else [defs.LOCAL_UNIT]
    found = ask(_PROPERTIES, units) if units else {}
    over = {unit: said for unit, said in found.items() if not _is_to_come(said)}
    failed = {
        unit: _trouble(unit, said)
        for unit, said in over.items()
        if said.get("ActiveState") == "failed"
    }
    if defs.LATER_UNIT in failed and defs.APPLY_UNIT in over:
        # It was to start that one.
        failed[defs.APPLY_UNIT] = f"{defs.APPLY_UNIT} was not started: {defs.LATER_UNIT} failed"
    return failed


def _why_no_run(root: Root) -> str:
    """Return why no run is made at this boot; an empty string if there is no reason."""
    reason = why_disabled()
    if not reason and not starts_at_boot(root, defs.LOCAL_UNIT):
        reason = f"{defs.LOCAL_UNIT}, which is not enabled, or masked"
    return reason


def ask(properties: str, units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what the service manager says of units, by their names and those of the properties.

    ``units`` may be patterns, systemctl(1).  Nothing is returned where it cannot be asked.

    A user who is not root asks it by way of the message bus, which a small image may not have.
    """
    systemctl = find_program("systemctl")
    if not systemctl or not os.path.isdir(defs.SYSTEMD_DIR):
        return {}
    answer = run([systemctl, "show", f"--property={properties}", "--", *units])
    if answer.status:
        return {}
    found = {}
    for block in answer.output.decode("utf-8", "replace").split("\n\n"):
        lines = (line.partition("=") for line in block.splitlines())
        values = {name: value for name, _, value in lines}
        if "Id" in values:
            found[values["Id"]] = values
    return found


def _is_to_come(said: dict[str, str] | None) -> bool:
    """Tell whether a unit runs or is about to; where nothing is known of it, it may be."""
    if said is None:
        return True
    return said.get("Job", "0") not in ("", "0") or said.get("ActiveState") in _AT_WORK


def trouble(unit: str, result: str) -> str:
    """Return what is said of a unit that failed, with the result that systemd gives."""
    return f"{unit} failed ({result}): see journalctl -u {unit}"


def _trouble(unit: str, said: dict[str, str]) -> str:
    """Return what was wrong with a unit that is over; an empty string for nothing."""
    if said.get("ActiveState") == "failed":
        return trouble(unit, said.get("Result", ""))
    never = said.get("ConditionTimestampMonotonic", "0") == "0"
    if said.get("ActiveState") == "inactive" and never:
        return f"{unit} has work to do and was not started: is it masked, disabled or stopped?"
    return ""
