"""``guestagent status``: show the report of the last run, and wait for the end of the boot."""

from __future__ import annotations

from math import inf

from guestagent import defs, log
from guestagent.errors import Problem
from guestagent.live.boot import look, wait
from guestagent.live.observe import killed_units, observe
from guestagent.options import WITHOUT_LIMIT
from guestagent.report.additions import Fetched
from guestagent.report.run import NO_REPORT, has_failed_scripts
from guestagent.system.jsontext import dumps
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.live.boot import Boot
    from guestagent.live.observe import Observed
    from guestagent.options import Options

_SPOILED = (
    "is damaged, or of another version or boot: what the last run did is not known from it; "
    "look at journalctl -t guestagent, or run guestagent apply, which writes a new one"
)


def run(options: Options) -> int:
    """Print how far this boot has come, and the report.  Return the exit status.

    It is 0 where all is well so far; 1 without a report, or if something went wrong; 4 if no run is
    made at this boot; 75 if the boot is not over at the end of ``--wait``.  Raises OSError.
    """
    root = Root(options.root)
    if options.wait:
        boot = wait(root, inf if options.wait == WITHOUT_LIMIT else options.wait)
    else:
        boot = look(root)
    reasons = _reasons(boot, root, waited=bool(options.wait))
    observed = observe(boot.report.get("source", "")) if root.live else None
    if observed and boot.state == "over":
        reasons = list(dict.fromkeys((*reasons, *killed_units(observed))))
    state: str = boot.state
    if boot.state == "over":
        state = "errors" if reasons or has_errors(boot.report) else "done"
    if options.json:
        told = {"state": state, "waits_for": boot.units, "reasons": reasons}
        print(dumps({**boot.report, **told, "now": _as_json(observed)}))
    elif boot.report:
        print(f"state        {state}{_waiting(boot)}")
        _print(boot.report)
    if observed and not options.json:
        _print_observed(observed)
    for reason in reasons:
        log.error(reason)
    if boot.state == "disabled":
        return defs.EXIT_DISABLED
    if boot.state == "running" and options.wait:
        return defs.EXIT_TRY_AGAIN
    return defs.EXIT_ERRORS if reasons or has_errors(boot.report) else defs.EXIT_OK


def has_errors(report: dict[str, Any]) -> bool:
    """Tell whether a report is that of a run, or of scripts, in which something went wrong."""
    return has_failed_scripts(report) or report.get("exit_status") != defs.EXIT_OK


def _reasons(boot: Boot, root: Root, *, waited: bool) -> list[str]:
    """Return what is to be said besides the report."""
    if boot.state == "disabled":
        return [f"no run is made at this boot because of {reason}" for reason in boot.reasons]
    if boot.state == "running" and (waited or not boot.report):
        return [f"this boot is not over{_waiting(boot)}"]
    if boot.report or boot.state == "running":
        return list(boot.reasons)
    spoiled = root.exists(defs.REPORT_FILE)
    return [*boot.reasons, f"{defs.REPORT_FILE} {_SPOILED}" if spoiled else NO_REPORT]


def _waiting(boot: Boot) -> str:
    return f": waits for {', '.join(boot.units)}" if boot.units else ""


def _print(report: dict[str, Any]) -> None:
    """Print a report for people; nothing of a source in it can drive their terminal."""
    print(f"source       {log.printable(report['source']) or '(none)'}")
    print(f"instance     {log.printable(report['instance_id']) or '(none)'}")
    if report["availability_zone"]:
        print(f"zone         {log.printable(report['availability_zone'])}")
    if report["project_id"]:
        print(f"project      {log.printable(report['project_id'])}")
    print(f"exit status  {report['exit_status']}")
    steps = ", ".join(f"{log.printable(name)} {ms:.0f}" for name, ms in report["steps_ms"].items())
    print(f"took         {report['total_ms']:.0f} ms ({steps})")
    for problem in report["problems"]:
        found = Problem(**problem)
        print(f"{found.severity}: {log.printable(found.text())}")
    for signature in report["signatures"]:
        print(f"signed       {log.printable(signature)}")
    for name in report["kept"]:
        print(f"left alone, changed by an administrator: {log.printable(name)}")
    for change in report["changes"]:
        print(f"changed      {log.printable(change['what'])}")
        print(f"    because  {log.printable(change['why'])}")
    for fetched in report.get("fetched", []):
        print(f"fetched      {log.printable(Fetched(**fetched).text())}")
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


def _as_json(observed: Observed | None) -> dict[str, Any]:
    """Return what runs now by its names; nothing where it is not known."""
    if observed is None:
        return {}
    kinds = observed._asdict().items()
    return {kind: [item._asdict() for item in items] for kind, items in kinds}


def _print_observed(observed: Observed) -> None:
    """Print what runs on this machine now."""
    for nic in observed.interfaces:
        addresses = "".join(f", {address}" for address in nic.addresses)
        print(f"interface    {log.printable(nic.name)}: {'up' if nic.up else 'down'}{addresses}")
    for process in observed.sshd:
        print(f"sshd         running, process {process.pid}")
    if not observed.sshd:
        print("sshd         no process; ssh.socket may start it")
    for process in observed.processes:
        used = f"{_mebibytes(process.memory)}, {process.cpu_seconds} s of CPU time"
        print(f"process      {process.name}, {process.pid}: {used}")
    for unit in observed.units:
        cpu = "" if unit.cpu_seconds is None else f", {unit.cpu_seconds} s of CPU time"
        peak = "" if unit.memory_peak is None else f", {_mebibytes(unit.memory_peak)} at most"
        print(f"unit         {log.printable(unit.name)}: {unit.state}{cpu}{peak}")
    for device in observed.devices:
        label = f", label {device.label}" if device.label else ""
        print(f"device       {log.printable(f'{device.node}: {device.type}{label}')}")
    for mount in observed.mounts:
        print(f"mounted      {log.printable(f'{mount.device} on {mount.path} ({mount.type})')}")


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
