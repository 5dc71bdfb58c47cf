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
from guestagent.verbs.source import (
    DriveCame,
    describe_age,
    open_source,
    postpone,
    remove_fetched,
)

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
        layout=before.layout,
        boot_id=read_boot_id(root),
    )
    # What is known when a step fails is in the report that the step before has yielded.
    try:
        for latest in _steps(options, root, before, report=report):
            report = latest
        status = defs.EXIT_ERRORS if report.errors else defs.EXIT_OK
        report = report._replace(exit_status=status)
    except GuestagentError as error:
        reason = f"{error}; {describe_age(before)}" if options.fetched else str(error)
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
    if options.fetched:
        _ask_again_later(report.exit_status, root)
    return report.exit_status


def _ask_again_later(status: int, root: Root) -> None:
    """Have a service asked again that gave no answer, where no daemon does so.

    While sshd lets nobody in, that holds for one that gave a wrong answer too, which may be that of
    a neighbour: nobody could log in and ask it again, and the daemon does not.
    """
    if not root.live or status == defs.EXIT_OK:
        return
    from guestagent.stacks import starts_at_boot
    from guestagent.verbs.new_instance import is_closed

    if status == defs.EXIT_TRY_AGAIN:
        is_due = not starts_at_boot(root, defs.DAEMON_UNIT)
    else:
        is_due = is_closed(state.load(root))
    if is_due:
        from guestagent.live.daemons import start_timer

        start_timer()


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
        # The unit that applies the answer writes the report.  But a run that fails and leaves none
        # is taken by the daemon for one that could not begin, and repeated for ever.
        return not report.errors
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
    """Take the steps of a run, and yield the report after each: a later one may fail.

    Where a metadata service has not said who this machine is, sshd starts all the same, and not
    with the host keys of its image.
    """
    latest = report
    try:
        for latest in _attempt(options, root, before, report=report):
            yield latest
    except (GuestagentError, OSError) as error:
        if options.fetched and not before.configured:
            from guestagent.verbs.change import Run, make_host_keys_ahead, note_drive
            from guestagent.verbs.new_instance import is_closed

            if is_closed(before):
                if isinstance(error, DriveCame):
                    before = note_drive(before, root)
                settings, _ = load_known(root, Problems(), Known())
                run = Run(options, root, settings, ())
                yield from make_host_keys_ahead(run, before, report=latest)
        raise


def _attempt(options: Options, root: Root, before: State, *, report: Report) -> Iterator[Report]:
    """Take the steps of a run as far as nothing ends it; yield the report after each."""
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
        if options.boot and not before.configured:
            before = _note_start(before, root)
        if opened.asked and (opened.stranger if options.boot else not before.configured):
            from guestagent.verbs.change import Run, fall_back

            run = Run(options, root, settings, settings_files, known=known)
            is_closed = yield from fall_back(run, before, report=report)
            if opened.deferrable and is_closed:
                postpone(root)
        if options.boot and not opened.asked and root.exists(defs.SSHD_CLOSED):
            from guestagent.verbs.change import Run, let_in

            run = Run(options, root, settings, settings_files, known=known)
            yield from let_in(run, before, report=report)
        if options.refresh and opened.asked:
            from guestagent.live.daemons import ask_again

            ask_again()
            yield report.after(_ASKED)
        elif _are_nics_due(options, root, before, asked=opened.asked):
            from guestagent.verbs.change import Run, add_nics

            run = Run(options, root, settings, settings_files, known=known)
            yield from add_nics(run, before, report=report)
        return

    nics = True
    if options.boot and root.live and state.can_compare(before, opened.bundle):
        nics = not _is_by_mac(before)
        report = report.after("nics")
    if state.is_unchanged(before, opened.bundle, root, nics=nics) and not _is_copy(before, root):
        if options.confined:
            from guestagent.live.daemons import reload_what_is_left

            reload_what_is_left(root)
        yield report.after("compare", before.problems)._replace(unchanged=True)
        return

    from guestagent.verbs.change import Run, change

    run = Run(options, root, settings, settings_files, known=known)
    yield from change(run, opened.bundle, before, report=report.after("compare"))


def _note_start(before: State, root: Root) -> State:
    """Remember that a machine whose users can write to a source has started without any.

    Raises OSError.
    """
    from guestagent.system.machine import machine_with_writers

    own = machine_with_writers(root)
    if not own or own == before.machine:
        return before
    after = before._replace(machine=own)
    state.save(root, after)
    return after


def _is_copy(before: State, root: Root) -> bool:
    """Tell whether this is a copy of a machine whose source did not say which instance it is.

    Where it does, the source of a copy says something else.
    """
    if before.instance_id or not before.machine or not root.live:
        return False
    from guestagent.verbs.new_instance import is_other_machine

    return is_other_machine(before)


def _are_nics_due(options: Options, root: Root, before: State, *, asked: bool) -> bool:
    """Tell whether a run without a source has to see to NICs that came or went.

    At boot that is so only where others are there than the last run has looked at.
    """
    if not before.configured or asked or not root.live:
        return False
    if options.refresh:
        return not options.poll
    if not options.boot:
        return False
    from guestagent.system import wait_for_nics

    known = wait_for_nics.nics_of_last_run(before.watched)
    if not known or wait_for_nics.present_macs() == set(before.macs):
        return False
    # A driver may still be on its way.
    wait_for_nics.wait_for_nics(known)
    return wait_for_nics.present_nics() not in (known, set())


def _is_by_mac(before: State) -> bool:
    """Tell whether the NICs are known by their MAC addresses, whatever udev names them.

    Otherwise wait until it has named those that the last run looked at: one that has no name yet
    would look like a change.
    """
    from guestagent.system.wait_for_nics import has_only, nics_of_last_run, wait_for_nics

    if before.macs:
        return has_only(before.macs)
    wanted = nics_of_last_run(before.watched)
    if wanted:
        wait_for_nics(wanted)
    return False
