"""``guestagent apply``: one run, from finding the source to the report.

A run is a row of values, each made from those before it: what was opened, what it said, what is
planned, what was done, and what is remembered.  On most boots nothing differs from the last run:
so nothing that only planning needs is imported before that is known.
"""

from __future__ import annotations

import os
import time

from guestagent import defs, log
from guestagent.errors import GuestagentError, NoPermission, Problems, UsageError, internal
from guestagent.memory import state
from guestagent.report.run import Report, read, read_boot_id, tell, units_to_come, write
from guestagent.settings import Known, load_known
from guestagent.system.lock import lock
from guestagent.system.root import Root
from guestagent.verbs.source import describe_age, open_source, remove_fetched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from guestagent.memory.state import State
    from guestagent.options import Options

_ASKED = "ask"  # the name of the step that has other units ask a metadata service
_INTERRUPTED = "interrupted: some changes may have been made; the next run makes the others"


def run(options: Options) -> int:
    """Apply what the source asks for, or show what that would be.  Return the exit status.

    Raises GuestagentError for what ends a run before there is anything to report.
    """
    reason = _why_disabled(options)
    if reason:
        log.info(f"disabled at boot by {reason}; nothing is done")
        return defs.EXIT_OK
    try:
        root = Root(options.root)
    except OSError as error:
        raise UsageError(f"root {options.root}: {error.strerror}") from None
    if not root.live and not options.source:
        raise UsageError("--root needs --source")
    if options.dry_run:
        from guestagent.verbs.dry_run import show

        return show(options, root)
    if root.live and os.geteuid() != 0:
        raise NoPermission("only root may configure the running system")
    try:
        held = lock(root)  # until it is closed
        try:
            return _apply(options, root)
        finally:
            os.close(held)
    finally:
        if options.fetched:
            remove_fetched(root)  # what ended this run may have come before it was read


def _why_disabled(options: Options) -> str:
    """Return why this run at boot must do nothing, or an empty string."""
    if not options.boot:
        return ""
    from guestagent.system.machine import why_disabled

    return why_disabled()


def _apply(options: Options, root: Root) -> int:
    """Take all steps of a run, and write the report however they end.  Return the exit status."""
    before = _load(options, root)
    report = Report(
        started=time.monotonic(),
        exit_status=defs.EXIT_ERRORS,
        instance_id=before.instance_id,
        availability_zone=before.availability_zone,
        project_id=before.project_id,
        boot_id=read_boot_id(root),
    )
    # What is known when a step fails is in the report that the step before has yielded.
    try:
        for latest in _steps(options, root, before, report=report):
            report = latest
        status = defs.EXIT_ERRORS if report.errors else defs.EXIT_OK
        report = report._replace(exit_status=status)
    except GuestagentError as error:
        reason = str(error)
        if options.fetched:
            reason += f"; {describe_age(before)}"
        report = report.failed(error.status, reason)
    except OSError as error:
        reason = f"{error.filename or 'system'}: {error.strerror}"
        report = report.failed(defs.EXIT_ERRORS, reason)
    except KeyboardInterrupt:
        report = report.failed(defs.EXIT_INTERRUPTED, _INTERRUPTED)
        raise
    except Exception as error:
        # Its text may hold a secret, so that only its kind and place are told.
        report = report.failed(defs.EXIT_ERRORS, internal(error))
        raise
    finally:
        report = report._replace(pending=_units_to_come(options, root))
        tell(report)
        if not _says_nothing_new(options, root, report):
            write(root, report)
    return report.exit_status


def _units_to_come(options: Options, root: Root) -> tuple[str, ...] | None:
    """Return the units of this boot that come after this run; None for those of the last report."""
    if options.boot:
        return units_to_come(root)
    # Such a run may also come when the boot is over.
    if options.fetched and defs.APPLY_UNIT in read(root).get("pending", ()):
        return tuple(unit for unit in units_to_come(root) if unit != defs.APPLY_UNIT)
    return None


def _says_nothing_new(options: Options, root: Root, report: Report) -> bool:
    """Tell whether the report of an earlier run stays: what that changed is worth more.

    Such runs are those that find nothing to do while the system runs, maybe every minute.
    """
    if not options.refresh and not options.fetched:
        return False
    if any(name == _ASKED for name, _ in report.steps):
        return True  # the unit that applies the answer writes the report
    if report.changes or report.problems or (report.source and not report.unchanged):
        return False
    last = read(root)
    return bool(last) and last["exit_status"] == defs.EXIT_OK and last["source"] == report.source


def _load(options: Options, root: Root) -> State:
    """Return what the last run remembered; with --confirm, nothing that forbids to try again."""
    before = state.load(root)
    if options.confirm and before.rejected:
        return before._replace(rejected="", fingerprint="")
    return before


def _steps(options: Options, root: Root, before: State, *, report: Report) -> Iterator[Report]:
    """Take the steps of a run, and yield the report after each: a later one may fail."""
    if root.exists(defs.ROLLBACK_FILE):
        from guestagent.verbs.change import roll_back

        problems = roll_back(options, root)
        before = state.load(root)
        report = report.after("roll back", problems)
        yield report

    found = Problems()
    lost = state.explain_loss(root, before)
    if lost is not None:
        found.add(lost)
    root.watched.clear()  # what was looked at so far changes in every run
    known = Known(before.settings, before.settings_digest)
    settings, known = load_known(root, found, known)
    settings_files = tuple(root.watched)
    if options.boot:
        from guestagent.report.cloud_init import prepare

        prepare(root, wanted=settings.cloud_init_files)
    report = report.after("settings", found.problems)
    yield report

    opened = open_source(options, settings, root, before=before)
    report = report.after("find", opened.problems)
    if opened.bundle is not None:
        report = report._replace(source=opened.bundle.label)
    yield report

    if opened.bundle is None:
        if opened.asked and not before.configured:
            from guestagent.verbs.change import Run, fall_back

            run = Run(options, root, settings, settings_files, known=known)
            yield from fall_back(run, before, report=report)
        if options.refresh and opened.asked:
            from guestagent.live.daemons import ask_again

            ask_again()
            yield report.after(_ASKED)
        elif options.refresh and before.configured and not options.poll:
            from guestagent.verbs.change import Run, add_nics

            run = Run(options, root, settings, settings_files, known=known)
            yield from add_nics(run, before, report=report)
        return

    # A NIC that has no name yet would look like a change.
    if options.boot and root.live and state.can_compare(before, opened.bundle):
        _wait_for_nics_of(before)
        report = report.after("nics")
    if state.is_unchanged(before, opened.bundle, root):
        yield report.after("compare", before.problems)._replace(unchanged=True)
        return

    from guestagent.verbs.change import Run, change

    run = Run(options, root, settings, settings_files, known=known)
    yield from change(run, opened.bundle, before, report=report.after("compare"))


def _wait_for_nics_of(before: State) -> None:
    """Wait until udev has named the NICs that the last run looked at."""
    from guestagent.system.wait_for_nics import nics_of_last_run, wait_for_nics

    wanted = nics_of_last_run(before.watched)
    if wanted:
        wait_for_nics(wanted)
