"""The steps of a run that finds a difference: plan, carry out, verify, remember."""

from __future__ import annotations

import os
import time

from guestagent import defs
from guestagent.commit import commit
from guestagent.commit.file import was_killed
from guestagent.errors import GuestagentError, Origin, Problems, Refused, TryAgain
from guestagent.memory import applied, note, state
from guestagent.memory.state import State
from guestagent.record import NamedTuple
from guestagent.settings import Known
from guestagent.system.accounts import find_exposed, read_homes
from guestagent.verbs import planning
from guestagent.verbs.new_instance import (
    check_while_running,
    is_closed,
    made_ahead,
    of_this_instance,
    own_host_keys,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from guestagent.errors import Problem
    from guestagent.options import Options
    from guestagent.plan.difference import Plan
    from guestagent.plan.kinds import Change
    from guestagent.report.run import Report
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.system.root import Root
    from guestagent.verbs.planning import Planned, Said


_FORGOTTEN = "what this run did is not remembered, and the next one does it again"
_UNREAD = "maybe sshd refuses to read it, so that the key lets no one in: {reason}"
_CLOSED = f"maybe lets no one in, because only root may log in where {defs.NOLOGIN} is; remove that"
_THIS_RUN = Origin("guestagent", "", "")


class Run(NamedTuple):
    """What a run has from its beginning on.

    ``settings_files`` are the paths that were looked at for the settings, and ``known`` is what was
    found there.
    """

    options: Options
    root: Root
    settings: Settings
    settings_files: tuple[str, ...]
    known: Known = Known()


class Done(NamedTuple):
    """What of a plan was carried out, and what of it failed.

    ``record`` maps resources to digests of what is applied now, without the changes that failed.
    ``unmade`` are the names of accounts that could not be made.
    """

    changes: tuple[Change, ...]
    record: dict[str, str]
    problems: tuple[Problem, ...] = ()
    unmade: tuple[str, ...] = ()


def change(run: Run, bundle: Bundle, before: State, *, report: Report) -> Iterator[Report]:
    """Do what the source asks for, and yield the report after each step."""
    root = run.root
    said = planning.read(bundle, root, run.settings)
    report = report.after("parse", said.problems)._replace(signatures=said.signatures)
    yield report

    options, trusted = run.options, run.settings.daemon_new_instance
    if options.refresh and not trusted:
        check_while_running(before, said)
    trusted = trusted and options.refresh
    before = of_this_instance(before, said, root, named=bundle.named, trusted=trusted)
    report = report._replace(
        first_boot=not before.configured,
        # An answer that says what has changed says nothing of the rest.
        instance_id=said.instance_id or before.instance_id,
        availability_zone=said.availability_zone or before.availability_zone,
        project_id=said.project_id or before.project_id,
        layout=said.layout.name,
    )
    yield report
    if options.boot and root.live and run.settings.network_manage:
        _wait_for_nics_in(said)
        report = report.after("nics")

    refresh = options.refresh
    planned = planning.make_plan(said, run.settings, root, before=before, refresh=refresh)
    report = report.after("plan", planned.problems)._replace(kept=planned.plan.kept)
    yield report

    done = _carry_out(run, planned.plan, before, instance=report.instance_id)
    report = report.after("apply", done.problems)._replace(changes=done.changes)
    yield report

    # What is looked at from here on is what the next run compares.
    root.start_over()
    if run.settings.demands_signatures:
        from guestagent.verbs.signatures import look_at_signers

        look_at_signers(run.settings, root)
    wrong: dict[str, Problem] = {}
    # What of the source cannot be used now cannot be used by the next run either; what failed may.
    settled = said.lasting and planned.lasting and not _errors(done.problems)
    # Where something failed, of course something differs.
    if settled:
        wrong = planning.verify(planned, root, done.record)
        done = _forget(done, wrong)
        problems = Problems()
        problems.add(*wrong.values())
        settled = not wrong
        report = report.after("verify", problems.problems)
        yield report
    watched = tuple(root.watched)
    # Only now: daemons and scripts may change what was written.
    told = _tell_daemons(run, done.changes)
    report = report.after("tell", told)
    yield report
    after = _remember(run, said, planned, done=done, before=before, report=report)
    # Without a fingerprint too: by these the daemon knows which NICs this run has seen.
    after = after._replace(watched=watched)
    if settled and not _errors(told):
        after = _settle(after, run, said, planned, before=before, watched=watched)
    elif not bundle.service:
        after = state.with_source(after, bundle, os.urandom(16).hex())
    undone = _is_undone(bundle, (*done.problems, *wrong.values()))
    after = after._replace(unfinished=undone and (before.unfinished or not before.configured))
    _save(root, after)
    # Only now, because until here the state said less.
    note.finish(root, done.unmade, report.instance_id)
    yield report.after("remember")


def _save(root: Root, after: State) -> None:
    """Save the state.  Raises GuestagentError where that fails: what was done stays done."""
    try:
        state.save(root, after)
    except OSError as error:
        raise GuestagentError(f"{defs.STATE_FILE}: {error.strerror}; {_FORGOTTEN}") from None


def fall_back(run: Run, before: State, *, report: Report) -> Generator[Report, None, bool]:
    """Give a machine that is not configured the means to ask the metadata service.

    At boot that comes before the network and sshd, which lets nobody in from then on: neither an
    image's keys and passwords nor those of the instance that the image was made of.  What that one
    had is taken away.  Yields the report after each step; returns whether sshd lets nobody in.
    """
    # It has these means where an earlier boot gave them to all NICs that are there, named or not.
    network = run.settings.network_manage
    if network and run.options.boot and not before.configured and before.macs:
        from guestagent.system.wait_for_nics import has_only

        network = not has_only(before.macs)
    stays = before.macs if run.settings.network_manage and not network else ()
    if network:
        from guestagent.system.wait_for_nics import wait_for_nics

        wait_for_nics(())
    planned = planning.plan_fallback(
        run.settings,
        run.root,
        before.record,
        first=before.configured,
        closed=run.options.boot or is_closed(before),
        network_stays=bool(stays),
    )
    report = report.after("plan", planned.problems)
    yield report
    from guestagent.system.machine import machine_with_writers

    machine = machine_with_writers(run.root) if run.options.boot else before.machine
    after = State(machine=machine, macs=stays or planned.macs)
    done = _carry_out(run, planned.plan, before)
    yield _remember_and_tell(run, done, report, step="fall back", after=after)
    # Where anything was wrong, even to look at it, what is remembered is no proof.
    return applied.SSHD_CLOSED in done.record and not (planned.problems or done.problems)


def let_in(run: Run, before: State, *, report: Report) -> Iterator[Report]:
    """Let people in by sshd, where no source is to say any more who may.

    The image was made of a machine that waited for its service, or a setting came later that says
    there is none.  Yields the report after that.
    """
    done = _carry_out(run, planning.plan_to_let_in(run.root, before.record), before)
    _save(run.root, before._replace(record=done.record))
    yield report.after("let in", done.problems)._replace(changes=done.changes)


def make_host_keys_ahead(run: Run, before: State, *, report: Report) -> Iterator[Report]:
    """Give a machine that no source has configured host keys of its own: sshd starts next.

    The run that configures it leaves them.  Yields the report after each step.
    """
    record = own_host_keys(before.record, run.root)
    value = made_ahead(run.root)
    planned = planning.plan_host_keys_ahead(run.settings, run.root, record, value)
    report = report.after("plan", planned.problems)
    yield report
    if not planned.plan.changes:
        return
    done = _carry_out(run, planned.plan, before)
    yield _remember_and_tell(run, done, report, step="host keys", after=before)


def note_drive(before: State, root: Root) -> State:
    """Remember that a drive came too late for this boot: the next one waits for it.

    Raises OSError.
    """
    record = {**before.record, applied.SSHD_CLOSED: applied.DRIVE_CAME}
    after = before._replace(record=record)
    state.save(root, after)
    return after


def add_nics(run: Run, before: State, *, report: Report) -> Iterator[Report]:
    """Give NICs that came a network, where no source says which, and forget those that went.

    Yields the report after each step.
    """
    planned = planning.plan_new_nics(run.settings, run.root, before.record)
    report = report.after("plan", planned.problems)
    yield report
    # By these the daemon and the next boot know which NICs this run has seen.
    watched = _with_nics(before.watched, run.root)
    after = before if watched == before.watched else before._replace(watched=watched, macs=())
    # A run that was killed may have made the files, and neither remembered them nor told of them.
    is_left = planned.plan.record != before.record or run.root.exists(defs.RELOAD_FILE)
    if planned.plan.changes or is_left:
        done = _carry_out(run, planned.plan, before)
        yield _remember_and_tell(run, done, report, step="apply", after=after)
    elif after != before:
        _save(run.root, after)


def _with_nics(watched: tuple[str, ...], root: Root) -> tuple[str, ...]:
    """Return the paths that a run has looked at, with the NICs that there are now.

    They stay the same where those are the same, and so does what their fingerprint says.
    """
    from guestagent.system.wait_for_nics import nics_of_last_run

    before, now = nics_of_last_run(watched), nics_of_last_run(root.watched)
    if before == now:
        return watched
    others = (path for path in watched if not nics_of_last_run((path,)))
    return (*others, *(path for path in root.watched if nics_of_last_run((path,))))


def roll_back(options: Options, root: Root) -> list[Problem]:
    """Take back a change of the network that was not confirmed before the system restarted.

    Raises TryAgain while the change may still be confirmed.
    """
    from guestagent.live import rollback

    if not options.boot or rollback.timer_runs(root):
        raise TryAgain("a network change waits for: guestagent confirm")
    # At boot the network's services start after this run, and read the old files.
    failures = rollback.restore(root, running=False)
    reason = "the last change of the network was not confirmed, and is taken back"
    return [_THIS_RUN.warning(reason), *(_THIS_RUN.error(failure) for failure in failures)]


def _wait_for_nics_in(said: Said) -> None:
    """Wait until udev has named the NICs that the source speaks of; if of none, for any one."""
    from guestagent.system.wait_for_nics import wait_for_nics

    interfaces = said.data.network.interfaces if said.data.network else ()
    wait_for_nics({item.mac or item.name for item in interfaces if not item.stacked})


def _remember_and_tell(run: Run, done: Done, report: Report, *, step: str, after: State) -> Report:
    """Remember what was done in the state ``after``, and tell the daemons.

    Returns the report after this step.  Raises GuestagentError, OSError.
    """
    _save(run.root, after._replace(record=done.record))
    problems = (*done.problems, *_tell_daemons(run, done.changes))
    return report.after(step, problems)._replace(changes=done.changes)


def _carry_out(run: Run, plan: Plan, before: State, *, instance: str = "") -> Done:
    """Make the changes of a plan.

    ``instance`` is the id of the instance that they are for.  Raises GuestagentError and OSError
    where it is not known what was done, if anything was.
    """
    options, root = run.options, run.root
    # Files that a killed run has staged are removed by a commit, even by an empty one.
    if not plan.changes and not was_killed(root):
        return Done((), plan.record)
    if options.confirm:
        from guestagent.live import rollback

        rollback.prepare(root, plan, before.record, options.confirm)
    if root.live:
        from guestagent.live.daemons import announce

        announce(plan.changes, options, root)
    failures = commit(plan.changes, root, instance)
    failed = [change for change, _ in failures]
    problems = Problems()
    problems.add(*(problem for _, problem in failures))
    _warn_of_unread(plan.changes, failed, root, problems=problems)
    if root.live:
        failed += _taken_back(plan.changes, failed, root, problems=problems)
    done = without(plan, failed, before.record)
    return done._replace(problems=tuple(problems.problems))


def _warn_of_unread(
    changes: Sequence[Change], failed: Sequence[Change], root: Root, problems: Problems
) -> None:
    """Warn where sshd refuses to read the keys that were written, or takes only root's logins."""
    homes: dict[str, int] = {}
    for change in changes:
        if change.kind != "write" or not any(map(applied.of_ssh_keys, change.keys)):
            continue
        if change in failed:
            continue
        try:
            homes = homes or read_homes(root)
            reason = find_exposed(root, change.path, homes)
            if reason or root.has_policy():
                from guestagent.commit.sshd import why_unread

                reason = why_unread(change.path, root, homes)
            with root.place(defs.NOLOGIN) as place:
                is_closed = place.stat() is not None
        except (Refused, OSError):
            continue
        if reason:
            problems.warn(change.why, f"{change.path}: {_UNREAD.format(reason=reason)}")
        if is_closed and not change.path.startswith("/root/"):
            problems.warn(change.why, f"{change.path}: {_CLOSED}")


def without(plan: Plan, failed: list[Change], before: dict[str, str]) -> Done:
    """Return what was done of a plan, without the changes that failed.

    ``before`` is the record of earlier runs.
    """
    changes = tuple(change for change in plan.changes if change not in failed)
    # What is not recorded is tried again by the next run.
    not_applied = {key for change in failed for key in change.keys}
    record = {key: value for key, value in plan.record.items() if key not in not_applied}
    # What is still recorded is undone by the next run.
    not_undone = {getattr(change, "undoes", "") for change in failed} - {""}
    record |= {key: before.get(key, "not undone") for key in not_undone}
    unmade = tuple(change.name for change in failed if change.kind == "add_user")
    return Done(changes, record, unmade=unmade)


def _forget(done: Done, wrong: Iterable[str]) -> Done:
    """Return what was done without the record of files that are wrong: the next run writes them."""
    paths = set(wrong)
    keys = {key for item in done.changes if getattr(item, "path", "") in paths for key in item.keys}
    return done._replace(record={key: done.record[key] for key in done.record if key not in keys})


def _taken_back(
    changes: Sequence[Change], failed: Sequence[Change], root: Root, problems: Problems
) -> list[Change]:
    """Have sshd check what was written for it; return the change if that was taken back."""
    written = [change for change in changes if change not in failed]
    if any(change.kind == "write" and change.keys_of for change in written):
        from guestagent.live.sshd import check_key_files

        check_key_files(written, root, problems)
    for change in changes:
        if change.kind == "set_sshd" and change not in failed:
            from guestagent.live.sshd import keep_or_take_back

            if not keep_or_take_back(change, root, problems):
                return [change]
    return []


def _tell_daemons(run: Run, changes: Sequence[Change]) -> Sequence[Problem]:
    """Have the daemons of a running system take over what changed; return what they cannot."""
    problems = Problems()
    if run.root.live:
        from guestagent.live.daemons import tell_daemons

        tell_daemons(changes, run.options, run.root, problems)
    return problems.problems


def _errors(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(problem for problem in problems if problem.severity == "error")


def _is_undone(bundle: Bundle, problems: Sequence[Problem]) -> bool:
    """Tell whether a document could not be read, or a change could not be made."""
    return bool(bundle.unread or _errors(problems))


def _machine(root: Root) -> str:
    """Return the UUID of the machine whose system the tree is; empty where it is not known."""
    if not root.live:
        return ""
    from guestagent.system.machine import product_uuid

    return product_uuid()


def _remember(
    run: Run,
    said: Said,
    planned: Planned,
    *,
    done: Done,
    before: State,
    report: Report,
) -> State:
    """Return what the next run must know of this one, whatever became of it."""
    root, bundle, data = run.root, said.bundle, said.data
    after = State(
        configured=True,
        instance_id=report.instance_id,
        availability_zone=report.availability_zone,
        project_id=report.project_id,
        layout=report.layout,
        record=done.record,
        # A source that is named by hand says nothing of what there is at the next boot.
        source=bundle.kind if root.live and not run.options.source else "",
        time=int(time.time()),
        rejected=before.rejected,
        machine=_machine(root),
        imported_keys=before.imported_keys,
        settings=run.known.values,
        settings_digest=run.known.digest,
    )
    held = planned.intent.held or planned.withheld
    if not held and (data.config or data.scripts):
        salt = os.urandom(16).hex()
        digest = bundle.digest(salt, said.layout.user_data)
        after = after._replace(user_data=digest, user_data_salt=salt)
    elif held or bundle.unchanged:
        after = after._replace(user_data=before.user_data, user_data_salt=before.user_data_salt)
    return after


def _settle(
    after: State,
    run: Run,
    said: Said,
    planned: Planned,
    *,
    before: State,
    watched: tuple[str, ...],
) -> State:
    """Return the state with what tells the next run that it would find nothing else to do.

    Without it, that tries again even if nothing changes until then.  ``watched`` are the paths
    whose changes it must notice.
    """
    root, bundle, data = run.root, said.bundle, said.data
    problems = (*said.problems, *planned.problems)
    if bundle.unchanged:
        # The service was not asked for what the problems before were found in.
        problems = tuple(dict.fromkeys((*before.problems, *problems)))
    wrong = bool(_errors(problems))
    if planned.withheld and not bundle.service:
        # The next boot must find a difference, and that the drive is still the one it knows; the
        # daemon must know which NICs this run has seen.
        seen_nics = _with_nics(before.watched, root)
        return after._replace(
            salt=before.salt,
            seen=before.seen,
            watched=seen_nics,
            fingerprint=before.fingerprint,
            problems=before.problems,
            macs=before.macs if seen_nics == before.watched else (),
        )
    after = after._replace(
        salt=os.urandom(16).hex(),
        seen=tuple(bundle.seen),
        watched=(*run.settings_files, *watched),
        problems=problems if wrong else (),
        macs=planned.macs,
    )
    if bundle.service and not planned.withheld:
        documents = said.layout.changing
        # The service is asked for user data again only if plans depend on them, or may when they
        # are corrected: scripts alone were staged by this run.
        if wrong or data.config:
            documents += said.layout.user_data
        after = after._replace(documents=bundle.digests(after.salt, documents))
    return after._replace(fingerprint=state.fingerprint(after, bundle, root))
