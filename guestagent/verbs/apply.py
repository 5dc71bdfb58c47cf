"""``guestagent apply``: one run, from finding the source to the report.

A run is a row of values, each made from those before it: what was opened, what it said, what is
planned, what was done, and what is remembered.  On most boots nothing differs from the last run:
so nothing that only planning needs is imported before that is known.
"""

from __future__ import annotations

import os
import sys
import time

from guestagent import VERSION, defs, log
from guestagent.errors import (
    GuestagentError,
    NoPermission,
    Origin,
    Problems,
    TryAgain,
    UsageError,
    internal,
)
from guestagent.memory import state
from guestagent.memory.state import State
from guestagent.record import NamedTuple
from guestagent.report.run import Report, tell, write
from guestagent.settings import load as load_settings
from guestagent.system.lock import lock
from guestagent.system.root import Root
from guestagent.verbs.source import describe_age, open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guestagent.errors import Problem
    from guestagent.options import Options
    from guestagent.plan.difference import Plan
    from guestagent.plan.kinds import Change
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.verbs.planning import Planned, Said

_HERE = Origin("guestagent", "", "")


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
        return _show(options, root)
    if root.live and os.geteuid() != 0:
        raise NoPermission("only root may configure the running system")
    held = lock(root)
    try:
        return _apply(options, root)
    finally:
        os.close(held)


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
    )
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
    except Exception as error:
        report = report.failed(defs.EXIT_ERRORS, internal(error))
        raise
    finally:
        tell(report)
        write(root, report)
    return report.exit_status


def _load(options: Options, root: Root) -> State:
    """Return what the last run remembered; with --confirm, nothing that forbids to try again."""
    before = state.load(root)
    if options.confirm and before.rejected:
        return before._replace(rejected="", fingerprint="")
    return before


class _Run(NamedTuple):
    """What all steps of a run have from its beginning on.

    ``settings_files`` are the paths that were looked at for the settings.
    """

    options: Options
    root: Root
    settings: Settings
    settings_files: tuple[str, ...]


def _steps(options: Options, root: Root, before: State, *, report: Report) -> Iterator[Report]:
    """Take the steps of a run, and yield the report after each: a later one may fail."""
    if root.exists(defs.ROLLBACK_FILE):
        problems = _roll_back(options, root)
        before = state.load(root)
        report = report.after("roll back", problems)
        yield report

    root.watched.clear()  # what was looked at so far changes in every run
    found = Problems()
    settings = load_settings(root, found)
    run = _Run(options, root, settings, settings_files=tuple(root.watched))
    report = report.after("settings", found.problems)
    yield report

    opened = open_source(options, settings, root, before=before)
    report = report.after("find", opened.problems)
    if opened.asked and not before.configured:
        yield report
        yield from _fall_back(run, before, report)
        return
    if opened.bundle is None:
        yield report
        return

    report = report._replace(source=opened.bundle.label)
    yield report
    if options.boot and root.live and _is_comparable(opened.bundle, before):
        _wait_for_nics_of(before)
        report = report.after("nics")
    if _is_same(opened.bundle, root, before):
        yield report.after("compare")._replace(unchanged=True)
        return
    report = report.after("compare")
    yield report
    yield from _change(run, opened.bundle, before, report=report)


def _roll_back(options: Options, root: Root) -> list[Problem]:
    """Take back a change of the network that was not confirmed before the system restarted.

    Raises TryAgain while the change may still be confirmed.
    """
    from guestagent.live import rollback

    if not options.boot or rollback.timer_runs(root):
        raise TryAgain("a network change waits for: guestagent confirm")
    failures = rollback.restore(root, running=False)
    reason = "the last change of the network was not confirmed, and is taken back"
    return [_HERE.warning(reason), *(_HERE.error(failure) for failure in failures)]


def _fall_back(run: _Run, before: State, report: Report) -> Iterator[Report]:
    """Give a guest that has no configuration yet the means to ask the metadata service."""
    from guestagent.facts.wait_for_nics import wait_for_nics
    from guestagent.verbs import planning

    if not run.settings.network_manage:
        return
    wait_for_nics(())
    planned = planning.plan_fallback(run.settings, run.root, before.record)
    report = report.after("plan", planned.problems)
    yield report
    done = _carry_out(run, planned.plan, before)
    state.save(run.root, State(record=done.record))
    yield report.after("fall back", done.problems)._replace(changes=done.changes)


def _is_comparable(bundle: Bundle, before: State) -> bool:
    """Tell whether one look can show that nothing differs from what the last run left.

    A metadata service was asked only for what can change in an instance's life, and the bundle says
    whether that did.
    """
    return bool(before.fingerprint) and (bundle.unchanged or not bundle.service)


def _is_same(bundle: Bundle, root: Root, before: State) -> bool:
    """Tell whether source and tree are as the last run left them."""
    return _is_comparable(bundle, before) and (
        _fingerprint(bundle, root, before) == before.fingerprint
    )


def _wait_for_nics_of(before: State) -> None:
    """Wait until udev has named the NICs that the last run looked at."""
    from guestagent.facts.wait_for_nics import nics_of_last_run, wait_for_nics

    wanted = nics_of_last_run(before.watched)
    if wanted:
        wait_for_nics(wanted)


def _fingerprint(bundle: Bundle, root: Root, run: State) -> str:
    """Return the present state of all that a run looked at as one keyed digest.

    It is also that of this version of guestagent: another one may plan differently.
    """
    key = bytes.fromhex(run.salt)
    source = "service" if bundle.service else bundle.fingerprint(run.seen, key)
    return f"{VERSION} {source} {root.fingerprint(run.watched, key)}"


def _change(run: _Run, bundle: Bundle, before: State, *, report: Report) -> Iterator[Report]:
    """Plan what the source asks for, do it, verify and remember it; yield as ``_steps`` does."""
    from guestagent.memory import note
    from guestagent.verbs import planning

    options, root, settings = run.options, run.root, run.settings
    said = planning.read(bundle, root)
    report = report.after("parse", said.problems)
    yield report

    before = planning.of_this_instance(before, said, root)
    report = report._replace(
        first_boot=not before.configured,
        instance_id=said.instance_id or before.instance_id,
        availability_zone=said.availability_zone or before.availability_zone,
        project_id=said.project_id or before.project_id,
    )
    yield report
    if options.boot and root.live and settings.network_manage:
        _wait_for_nics_in(said)
        report = report.after("nics")

    planned = planning.make_plan(said, settings, root, before=before)
    report = report.after("plan", planned.problems)._replace(kept=planned.plan.kept)
    yield report

    done = _carry_out(run, planned.plan, before, instance=report.instance_id)
    report = report.after("apply", done.problems)._replace(changes=done.changes)
    yield report

    root.start_over()
    if not report.errors:
        report = report.after("verify", planning.verify(planned, root, done.record))
    after = _remember(run, said, planned, done=done, before=before, report=report)
    state.save(root, after)
    note.remove(root)
    yield report.after("remember")


def _wait_for_nics_in(said: Said) -> None:
    """Wait until udev has named the NICs that the source speaks of; if of none, for any one."""
    from guestagent.facts.wait_for_nics import wait_for_nics

    interfaces = said.data.network.interfaces if said.data.network else ()
    wait_for_nics({item.mac for item in interfaces if item.mac and not item.stacked})


class Done(NamedTuple):
    """What of a plan was carried out, and what of it failed.

    ``record`` maps resources to digests of what is applied now, without the changes that failed.
    """

    changes: tuple[Change, ...]
    record: dict[str, str]
    problems: tuple[Problem, ...] = ()


def _carry_out(run: _Run, plan: Plan, before: State, *, instance: str = "") -> Done:
    """Make the changes of a plan, and tell running daemons of them.

    Raises GuestagentError and OSError where nothing, or not all that is known, was done.
    """
    options, root = run.options, run.root
    if not plan.changes and not root.exists(defs.STAGING_FILE):
        return Done((), plan.record)
    from guestagent.commit import commit

    if options.confirm:
        from guestagent.live import rollback

        rollback.prepare(root, plan, before.record, options.confirm)
    failures = commit(plan.changes, root, instance)
    failed = [change for change, _ in failures]
    problems = [problem for _, problem in failures]
    changes = tuple(change for change in plan.changes if change not in failed)
    not_applied = {key for change in failed for key in change.keys}
    record = {key: value for key, value in plan.record.items() if key not in not_applied}
    if root.live:
        problems += _follow_up(changes, options, root)
    return Done(changes, record, tuple(problems))


def _follow_up(changes: Sequence[Change], options: Options, root: Root) -> list[Problem]:
    """Tell running daemons what changed; check that sshd took over what was written for it."""
    from guestagent.live.daemons import tell_daemons

    problems = Problems()
    tell_daemons(changes, options, root, problems)
    written = [change.path for change in changes if change.kind == "write"]
    if defs.SSHD_DROPIN in written:
        from guestagent.live.sshd import check_sshd

        check_sshd(root, problems)
    return problems.problems


def _remember(
    run: _Run, said: Said, planned: Planned, *, done: Done, before: State, report: Report
) -> State:
    """Return what the next run must know of this one."""
    bundle, data, held = said.bundle, said.data, planned.intent.held
    after = State(
        configured=True,
        instance_id=report.instance_id,
        availability_zone=report.availability_zone,
        project_id=report.project_id,
        record=done.record,
        drive=run.root.live and not run.options.source and not bundle.service,
        time=int(time.time()),
        rejected=before.rejected,
    )
    if not held and (data.config or data.scripts):
        salt = os.urandom(16).hex()
        after = after._replace(user_data=bundle.user_data(salt), user_data_salt=salt)
    elif held or bundle.unchanged:
        after = after._replace(user_data=before.user_data, user_data_salt=before.user_data_salt)
    if report.errors:
        return after  # the next run must try again, whether or not anything changes until then
    after = after._replace(
        salt=os.urandom(16).hex(),
        seen=tuple(bundle.seen),
        watched=(*run.settings_files, *run.root.watched),
    )
    if bundle.service:
        # Scripts alone change nothing of later plans, cloud-config does.
        documents = bundle.digests(after.salt, with_user_data=bool(data.config))
        after = after._replace(documents=documents)
    return after._replace(fingerprint=_fingerprint(bundle, run.root, after))


def _show(options: Options, root: Root) -> int:
    """Print the plan of a run, and change nothing.  Return the exit status."""
    from guestagent.plan.difference import Plan
    from guestagent.report.plan import plan_object, text
    from guestagent.system.jsontext import dumps

    before = state.load(root)
    found = Problems()
    settings = load_settings(root, found)
    opened = open_source(options, settings, root, before=before)
    found.add(*opened.problems)
    plan = Plan()
    if opened.bundle is not None and not _is_same(opened.bundle, root, before):
        from guestagent.verbs import planning

        said = planning.read(opened.bundle, root)
        before = planning.of_this_instance(before, said, root)
        planned = planning.make_plan(said, settings, root, before=before)
        found.add(*said.problems, *planned.problems)
        plan = planned.plan
    if options.json:
        own = [defs.STATE_FILE, defs.REPORT_FILE, defs.LOCK_FILE]  # for itself
        print(dumps({**plan_object(plan, found.problems), "bookkeeping": own}))
    else:
        sys.stdout.write(text(plan, found.problems))
    if any(problem.severity == "error" for problem in found.problems):
        return defs.EXIT_ERRORS
    return defs.EXIT_CHANGES if plan.changes else defs.EXIT_OK
