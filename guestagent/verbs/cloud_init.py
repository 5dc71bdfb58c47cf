"""``cloud-init``, for tools that call it: guestagent answers in its place.

The package guestagent-cloud-init has a command of that name, which calls this.  ``status`` says in
cloud-init's words, and with its exit statuses, what ``guestagent status`` says; what cloud-init's
other commands are called for has an answer, too.
"""

from __future__ import annotations

import sys
from math import inf

from guestagent import VERSION, defs, log
from guestagent.errors import UsageError
from guestagent.live.boot import look, wait
from guestagent.report.cloud_init import datasource, date, describe
from guestagent.report.run import NO_REPORT
from guestagent.system.jsontext import dumps
from guestagent.system.machine import why_disabled
from guestagent.system.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.live.boot import Boot
    from guestagent.options import Options

_USAGE = "usage: cloud-init status [--wait] [--long] [--format tabular|json|yaml]"
_ERRORS, _RECOVERABLE = 1, 2  # exit statuses of cloud-init
_FORMATS = ("tabular", "json", "yaml")
_SHORT = {"-w": "--wait", "-l": "--long", "-v": "--version", "-h": "--help"}
_INSTEAD = {
    "analyze": "guestagent status shows how long each step took, systemd-analyze the boot",
    "clean": f"remove {defs.STATE_DIR} before an image is made of this machine",
    "collect-logs": "journalctl -t guestagent has what happened, "
    f"{defs.SCRIPTS_LOG} the output of scripts",
    "devel": "guestagent network --render shows network files, guestagent validate user data",
    "features": "guestagent validate says of user data what has an effect",
    "init": "guestagent apply configures this machine, guestagent --dry-run says how",
    "modules": "guestagent apply configures this machine, guestagent --dry-run says how",
    "query": "guestagent status --json has the instance id, the zone and the source",
    "schema": "guestagent validate FILE checks user data",
    "single": "guestagent apply configures this machine, guestagent --dry-run says how",
}


def run(options: Options) -> int:
    """Answer a call of ``cloud-init``; the arguments are the options' files.

    Returns cloud-init's exit status: 0 done, running or disabled; 1 error; 2 recoverable errors.
    Raises UsageError, OSError.
    """
    words = [_SHORT.get(word, word) for word in options.files]
    if "--help" in words:
        print(_USAGE)
        return defs.EXIT_OK
    if "--version" in words:
        print(f"guestagent {VERSION}, in place of cloud-init")
        return defs.EXIT_OK
    # cloud-init has options before its command too, which say nothing here.
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb in _INSTEAD:
        log.error(f"cloud-init {verb}: this machine has guestagent instead; {_INSTEAD[verb]}")
        return _ERRORS
    if verb != "status":
        raise UsageError(_USAGE)
    return _status(words[words.index("status") + 1 :])


def _status(words: list[str]) -> int:
    """Carry out ``cloud-init status``."""
    given = _options(words)
    root = Root("/")
    boot = wait(root, inf) if "--wait" in given else look(root)
    told = tell(boot)
    if given["--format"] == "tabular":
        _print(told, long="--long" in given)
    else:
        print(dumps(told))  # which is YAML, too
    if told["errors"]:
        return _ERRORS
    return _RECOVERABLE if told["recoverable_errors"] else defs.EXIT_OK


def _options(words: list[str]) -> dict[str, str]:
    """Return the options of ``cloud-init status`` and their values.  Raises UsageError."""
    given = {"--format": "tabular"}
    rest = list(words)
    while rest:
        name, _, value = rest.pop(0).partition("=")
        if name == "--format":
            value = value or (rest.pop(0) if rest else "")
        if name not in ("--wait", "--long", "--format") or (value and name != "--format"):
            raise UsageError(_USAGE)
        given[name] = value
    if given["--format"] not in _FORMATS:
        raise UsageError(_USAGE)
    return given


def tell(boot: Boot) -> dict[str, Any]:
    """Return what ``cloud-init status --format json`` says of a boot."""
    nothing: dict[str, Any] = {
        "boot_status_code": "enabled-by-generator",
        "datasource": None,
        "detail": "",
        "errors": [],
        "last_update": "",
        "recoverable_errors": {},
    }
    match boot.state, bool(boot.report):
        case "disabled", _:
            code, why = f"disabled-by-{_how_disabled()}", f"disabled by {boot.reasons[0]}"
            said = {"boot_status_code": code, "detail": why}
            return {**nothing, **said, "status": "disabled", "extended_status": "disabled"}
        case "running", False:
            return {**nothing, "status": "not started", "extended_status": "not started"}
        case _, False:
            reasons = list(boot.reasons) or [NO_REPORT]
            lost = {"errors": reasons, "detail": reasons[0]}
            return {**nothing, **lost, "status": "error", "extended_status": "error - done"}
    words = describe(boot.report, boot.reasons)
    status = extended = "running" if boot.state == "running" else "done"
    if words.errors:
        status, extended = "error", f"error - {status}"
    elif words.recoverable:
        extended = f"degraded {status}"
    source = datasource(boot.report)
    kind = source.partition(" ")[0].removeprefix("DataSource").removesuffix("Local")
    return {
        **nothing,
        **words.stages,
        "status": status,
        "extended_status": extended,
        "datasource": kind.lower(),
        "detail": source,
        "errors": words.errors,
        "recoverable_errors": {"ERROR": words.recoverable} if words.recoverable else {},
        "last_update": date(boot.report["time"]),
        "stage": words.stage,
    }


def _how_disabled() -> str:
    """Return how the boot is disabled, in cloud-init's words."""
    reason = why_disabled()
    if not reason:
        return "generator"  # cloud-init's own way not to enable its units
    return "marker-file" if defs.OFF_SWITCH in reason else "kernel-cmdline"


def _print(told: dict[str, Any], *, long: bool) -> None:
    """Print a status as people and scripts know it from cloud-init."""
    print(f"status: {told['status']}")
    if not long:
        return
    for name in ("extended_status", "boot_status_code", "last_update", "detail"):
        if told[name]:
            print(f"{name}: {log.printable(told[name])}")
    _print_list("errors:", told["errors"], "[]")
    recoverable = told["recoverable_errors"].get("ERROR", ())
    _print_list("recoverable_errors:", recoverable, "{}", "ERROR:\n")
    sys.stdout.flush()


def _print_list(title: str, items: list[str], empty: str, above: str = "") -> None:
    if not items:
        print(f"{title} {empty}")
        return
    print(f"{title}\n{above}" + "\n".join(f"\t- {log.printable(item)}" for item in items))
