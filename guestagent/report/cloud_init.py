"""The end of the boot in cloud-init's words, for tools that know nothing else.

They look at ``/var/lib/cloud/instance/boot-finished`` and at ``/run/cloud-init/result.json``.  Both
lead to a directory in /run, so that they are of this boot, whatever the disk was copied from.
``cloud-init status`` says the same (``verbs.cloud_init``).  What the files hold is in
cloud-init's documentation, "Reported status" and "Internal files".
"""

from __future__ import annotations

import time

from guestagent import VERSION, defs, log
from guestagent.errors import Problem, Refused
from guestagent.record import NamedTuple
from guestagent.report.run import has_failed_scripts
from guestagent.system import ownfiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from guestagent.system.root import Root

_FINISHED = f"{defs.CLOUD_INIT_DIR}/boot-finished"
_RESULT = f"{defs.CLOUD_INIT_DIR}/result.json"
_STATUS = f"{defs.CLOUD_INIT_DIR}/status.json"
# cloud-init's stages, and the units here by which each is going on.
_STAGES = {
    "init-local": (defs.LOCAL_UNIT,),
    "init": (defs.APPLY_UNIT, defs.RELOAD_UNIT),
    "modules-config": (defs.EARLY_UNIT, defs.HOST_KEYS_UNIT),
    "modules-final": (defs.LATE_UNIT,),
}
# What cloud-init calls a drive of a layout (``parse.layouts``), and a service.
_SOURCES = {
    "openstack": ("ConfigDrive", "OpenStackLocal"),
    "ec2": ("ConfigDrive", "Ec2Local"),
    "nocloud": ("NoCloud", "NoCloud"),
    "lxd": ("LXD", "None"),
    "vmware": ("VMware", "None"),
    "ovf": ("OVF", "None"),
    "alt_cloud": ("AltCloud", "None"),
    "credentials": ("NoCloud", "NoCloud"),
    "no_layout": ("None", "None"),
}
_UNITS = tuple(unit for units in _STAGES.values() for unit in units)


class Words(NamedTuple):
    """How a boot went: ``errors`` make it fail, those that are ``recoverable`` degrade it.

    ``stage`` is the first one that is not over.
    """

    errors: tuple[str, ...]
    recoverable: tuple[str, ...]
    stages: dict[str, Any]
    stage: str | None


def prepare(root: Root, *, wanted: bool) -> None:
    """Let the files lead to where this boot's are, and remove those of an earlier run.

    Where they are not ``wanted``, or cloud-init itself is installed, remove what leads there.  What
    cannot be done is logged: it is no reason for a run to fail.
    """
    wanted = wanted and not _has_cloud_init(root)
    for path in (_FINISHED, _RESULT, _STATUS):
        _try(path, ownfiles.remove, root, path)
    # stat(1) takes a link that leads nowhere for a file, so that links lead to directories, as
    # they do with cloud-init.
    for path, target in defs.CLOUD_INIT_LINKS.items():
        present = root.readlink(path)
        if wanted and present != target:
            _try(path, ownfiles.link, root, path, target)
        elif not wanted and present == target:
            _try(path, ownfiles.remove, root, path)


def _try(path: str, change: Callable[..., None], *arguments: object) -> None:
    try:
        change(*arguments)
    except (OSError, Refused) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        log.warning(f"{path}: {reason}; who waits for cloud-init by it may learn nothing")


def _has_cloud_init(root: Root) -> bool:
    units = (f"{folder}/{defs.CLOUD_INIT_UNIT}" for folder in defs.UNIT_DIRS)
    return any(root.exists(path) for path in units)


def publish(root: Root, report: dict[str, Any]) -> None:
    """Write what a report says for those who wait, where a run at boot has prepared that.

    The file that says that the boot is over comes last.  Raises OSError, Refused.
    """
    if root.readlink(defs.CLOUD_INIT_INSTANCE) != defs.CLOUD_INIT_DIR:
        return
    words = describe(report)
    source = datasource(report)
    status = {"datasource": source, **words.stages, "stage": words.stage}
    ownfiles.write(root, _STATUS, {"v1": status}, 0o644)
    if words.stage:
        ownfiles.remove(root, _FINISHED)
        ownfiles.remove(root, _RESULT)
        return
    result = {"datasource": source, "errors": words.errors}
    ownfiles.write(root, _RESULT, {"v1": result}, 0o644)
    up = time.clock_gettime(time.CLOCK_BOOTTIME)
    with root.place(_FINISHED) as place:
        text = f"{up:.2f} - {date()} - v. guestagent {VERSION}\n"
        with root.labelled(place.fd, place.name):
            ownfiles.replace(place.fd, place.name, text.encode(), 0o644, durable=False)


def describe(report: dict[str, Any], reasons: Sequence[str] = ()) -> Words:
    """Return how far the boot has come, and how it went, from its report.

    ``reasons`` say what is wrong besides that.  A value that could not be used is an error that
    cloud-init would call recoverable: everything else was done.  It is none any more where the run
    did nothing, a script failed or a unit was cut short.
    """
    problems = [Problem(**problem) for problem in report["problems"]]
    errors = tuple(problem.text() for problem in problems if problem.severity == "error")
    of_units = [problem for problem in problems if problem.source == "guestagent"]
    cut_short = any(problem.document in _UNITS for problem in of_units)
    failed = cut_short or has_failed_scripts(report)
    if not reasons and not failed and report["exit_status"] in (defs.EXIT_OK, defs.EXIT_ERRORS):
        errors, recoverable = (), errors
    else:
        errors, recoverable = (*reasons, *errors), ()
    stages: dict[str, Any] = {}
    stage = None
    for name, units in _STAGES.items():
        if any(unit in report["pending"] for unit in units):
            stage = stage or name
        stages[name] = {
            "start": report["time"] - report["total_ms"] / 1000,
            "finished": None if stage else report["time"],
            "errors": (),
            "recoverable_errors": {},
        }
    stages["modules-final"]["errors"] = errors
    if recoverable:
        stages["modules-final"]["recoverable_errors"] = {"ERROR": recoverable}
    return Words(errors, recoverable, stages, stage)


def date(seconds: float | None = None) -> str:
    """Return a time in seconds since 1970, or that of now, as cloud-init writes it, in UTC."""
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(seconds))


def datasource(report: dict[str, Any]) -> str:
    """Return what cloud-init would call the source of a report."""
    source = report["source"]
    if not source:
        return "DataSourceNone"
    drive, service = _SOURCES.get(report["layout"], ("None", "None"))
    kind = service if source.startswith("metadata service") else drive
    return f"DataSource{kind} [source={log.printable(source)}]"
