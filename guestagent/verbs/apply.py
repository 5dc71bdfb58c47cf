"""One run: find, read, compare, apply, verify, remember, report."""

from __future__ import annotations

import os
import sys
import time

from guestagent import VERSION, defs, log
from guestagent.errors import (
    GuestagentError,
    NoPermission,
    Problem,
    Problems,
    TryAgain,
    UsageError,
    internal,
)
from guestagent.memory import state
from guestagent.settings import load as load_settings
from guestagent.system.lock import lock
from guestagent.system.root import Root
from guestagent.verbs.source import age, open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import InstanceData
    from guestagent.options import Options
    from guestagent.plan.changes import Change, Plan
    from guestagent.settings import Settings
    from guestagent.sources.bundle import Bundle
    from guestagent.verbs.source import Opened


def run(options: Options) -> int:
    """Carry out ``apply`` or show what it would do; returns the exit status.

    Raises GuestagentError for what ends a run before there is anything to report.
    """
    if options.boot:
        from guestagent.system.machine import why_disabled

        why = why_disabled()
        if why:
            log.info(f"disabled by {why}")
            return defs.EXIT_OK
    try:
        root = Root(options.root)
    except OSError as error:
        raise UsageError(f"root {options.root}: {error.strerror}") from None
    if not root.live and not options.source:
        raise UsageError("--root needs --source")
    if options.dry_run:
        return _Run(options, root).show()
    if root.live and os.geteuid() != 0:
        raise NoPermission("only root may configure the running system")
    held = lock(root)
    try:
        return _Run(options, root).apply()
    finally:
        os.close(held)


class _Run:
    """What one run finds out, step by step."""

    def __init__(self, options: Options, root: Root) -> None:
        self.options, self.root = options, root
        self.problems: list[Problem] = []
        self.changes: tuple[Change, ...] = ()
        self.kept: tuple[str, ...] = ()
        self.steps: list[tuple[str, float]] = []
        self.source = self.instance = ""
        self.first = self.unchanged = self.held = False
        self.before = state.load(root)
        self.rejected = "" if options.confirm else self.before.rejected
        self.started = self.clock = time.monotonic()

    def step(self, name: str) -> None:
        """Note how long the step took that ends now."""
        now = time.monotonic()
        self.steps.append((name, round((now - self.clock) * 1000, 1)))
        self.clock = now

    # Reading

    def open(self, settings: Settings) -> Opened:
        """The source, if there is one.  Raises SourceBroken and the like."""
        opened = open_source(self.options, settings, self.root, self.before)
        self.problems += opened.problems
        self.source = opened.bundle.label if opened.bundle else ""
        self.step("find")
        return opened

    def same_as_before(self, bundle: Bundle) -> bool:
        """True where source and tree are as the last complete run left them."""
        before = self.before
        if not before.fingerprint or before.rejected != self.rejected:
            return False
        if bundle.service and not bundle.unchanged:
            return False
        if self.root.live and self.options.boot:
            self.wait_for_nics(None)
        print_now = self.fingerprint(bundle, before.seen, before.watched, before.salt)
        self.unchanged = print_now == before.fingerprint
        self.step("compare")
        return self.unchanged

    def wait_for_nics(self, data: InstanceData | None) -> None:
        """Let udev name the NICs that the data speak of; without data, those of the last run."""
        from guestagent.facts.wait_for_nics import nics_of_last_run, wait_for_nics

        if data is None:
            wanted = nics_of_last_run(self.before.watched)
            waited = bool(wanted) and wait_for_nics(wanted)
        else:
            interfaces = data.network.interfaces if data.network else ()
            wanted = {item.mac for item in interfaces if item.mac and not item.stacked}
            waited = wait_for_nics(wanted)
        if waited:
            self.step("nics")

    def fingerprint(
        self, bundle: Bundle, seen: tuple[str, ...], watched: tuple[str, ...], salt: str
    ) -> str:
        """Source and tree in one keyed digest; also of this version of guestagent.

        A service is compared when it is asked, and only as to what can change.
        """
        key = bytes.fromhex(salt)
        source = "service" if bundle.service else bundle.fingerprint(seen, key)
        return f"{VERSION} {source} {self.root.fingerprint(watched, key)}"

    def plan(self, bundle: Bundle, settings: Settings) -> tuple[Plan, InstanceData]:
        """Parse the source and compare it with the tree.  Raises SourceBroken, WrongSource."""
        from guestagent.verbs.planning import instance_data, is_first, lost_user_data, make_plan

        data, problems = instance_data(bundle, self.root.live)
        self.problems += problems
        self.step("parse")
        if self.root.live and self.options.boot and settings.network_manage:
            self.wait_for_nics(data)
        self.first = is_first(data, self.before, self.root, bundle.service)
        name = data.instance_id.value if data.instance_id else ""
        self.instance = name or self.before.instance_id
        record = self.before.record
        sound = not any(problem.severity == "error" for problem in problems)
        complete = sound and not bundle.unchanged
        if self.first:
            self.rejected = ""
        asked = (data, settings, self.root, record, self.first, complete, self.rejected)
        plan, more = make_plan(*asked)
        self.problems += more
        if not self.first:
            lost = lost_user_data(bundle, data, [*problems, *more], self.before)
            if lost:
                self.held = True
                self.problems.append(lost)
                plan, _ = make_plan(*asked, self.held)
        self.changes, self.kept = plan.changes, plan.kept
        self.step("plan")
        return plan, data

    # Showing

    def show(self) -> int:
        """Print the plan; the tree, and everything else, stays as it is."""
        from guestagent.plan.changes import Plan
        from guestagent.report import plan as show
        from guestagent.system.jsontext import dumps

        found = Problems()
        settings = load_settings(self.root, found)
        self.problems = found.problems
        bundle = self.open(settings).bundle
        plan = Plan((), (), (), {})
        if bundle is not None and not self.same_as_before(bundle):
            plan, _ = self.plan(bundle, settings)
        if self.options.json:
            own = [defs.STATE_FILE, defs.REPORT_FILE, defs.LOCK_FILE]  # for itself
            print(dumps({**show.plan_object(plan, self.problems), "bookkeeping": own}))
        else:
            sys.stdout.write(show.text(plan, self.problems))
        if self.failed():
            return defs.EXIT_ERRORS
        return defs.EXIT_CHANGES if plan.changes else defs.EXIT_OK

    def failed(self) -> bool:
        """True if something was left out or not done."""
        return any(problem.severity == "error" for problem in self.problems)

    # Applying

    def apply(self) -> int:
        """Make the plan true, and write the report whatever happens."""
        status = defs.EXIT_ERRORS
        try:
            self.work()
            status = defs.EXIT_ERRORS if self.failed() else defs.EXIT_OK
        except GuestagentError as error:
            status, reason = error.status, str(error)
            if self.options.fetched:
                reason += f"; {age(self.before)}"
            self.problems.append(Problem("error", "guestagent", "", "", reason))
        except OSError as error:
            reason = f"{error.filename or 'system'}: {error.strerror}"
            self.problems.append(Problem("error", "guestagent", "", "", reason))
        except Exception as error:
            self.problems.append(Problem("error", "guestagent", "", "", internal(error)))
            raise
        finally:
            self.report(status)
        return status

    def work(self) -> None:
        """From settings to state."""
        if self.root.exists(defs.ROLLBACK_FILE):
            self.roll_back()
        found = Problems()
        settings = load_settings(self.root, found)
        self.problems[:0] = found.problems
        opened = self.open(settings)
        bundle = opened.bundle
        if opened.asked and not self.before.configured:
            self.fall_back(settings)
        if bundle is None or self.same_as_before(bundle):
            return
        plan, data = self.plan(bundle, settings)
        record = self.commit(plan)
        self.remember(bundle, data, settings, record)

    def fall_back(self, settings: Settings) -> None:
        """Give a guest that has no configuration yet the means to ask the metadata service."""
        from guestagent.facts.wait_for_nics import wait_for_nics
        from guestagent.verbs.planning import fallback_plan

        if not settings.network_manage:
            return
        wait_for_nics(())
        plan, problems = fallback_plan(settings, self.root, self.before.record)
        self.problems += problems
        self.changes = plan.changes
        record = self.commit(plan)
        state.save(self.root, state.State(record=record))
        self.step("fall back")

    def roll_back(self) -> None:
        """What nobody confirmed before the system started anew goes.  Raises TryAgain."""
        from guestagent.live import rollback

        if not self.options.boot or rollback.timed(self.root):
            raise TryAgain("a network change waits for: guestagent confirm")
        failures = rollback.restore(self.root, running=False)
        self.before = state.load(self.root)
        self.rejected = self.before.rejected
        reason = "the network's last change was not confirmed, and is taken back"
        self.problems.append(Problem("warning", "guestagent", "", "", reason))
        self.problems += [Problem("error", "guestagent", "", "", text) for text in failures]
        self.step("roll back")

    def commit(self, plan: Plan) -> dict[str, str]:
        """Write the changes; returns the record without those that failed."""
        if not plan.changes and not self.root.exists(defs.STAGING_FILE):
            return plan.record
        from guestagent import commit as apply
        from guestagent.verbs.planning import without

        if self.options.confirm:
            from guestagent.live import rollback

            rollback.prepare(self.root, plan, self.before.record, self.options.confirm)
        self.changes = ()  # what a run did that ends here is not known
        failures = apply.commit(plan.changes, self.root, self.instance)
        failed = [change for change, _ in failures]
        self.problems += [problem for _, problem in failures]
        self.changes = tuple(change for change in plan.changes if change not in failed)
        record = plan.record
        for change in failed:
            record = without(record, change)
        self.step("apply")
        if self.root.live:
            self.follow_up()
        return record

    def follow_up(self) -> None:
        """Tell running daemons, and ask sshd if it took over what was written."""
        from guestagent.live import daemons as aftermath

        self.problems += aftermath.tell(self.changes, self.options, self.root)
        paths = [change.path for change in self.changes if change.kind == "write"]
        if defs.SSHD_DROPIN in paths:
            self.problems += aftermath.check_sshd(self.root)

    def remember(
        self, bundle: Bundle, data: InstanceData, settings: Settings, record: dict[str, str]
    ) -> None:
        """Look again: nothing may differ any more.  Then write the state."""
        from guestagent.memory import note
        from guestagent.verbs.planning import make_plan

        self.root.start_over()
        load_settings(self.root, Problems())
        complete = not bundle.unchanged
        again, _ = make_plan(
            *(data, settings, self.root, record, False, complete, self.rejected, self.held)
        )
        failed = self.failed()
        if not failed:
            for change in again.changes:
                where = getattr(change, "path", "") or getattr(change, "name", "")
                reason = f"{where}: still differs after the run ({change.kind})"
                self.problems.append(Problem("error", *change.why, reason))
        salt = os.urandom(16).hex()
        seen, watched = tuple(bundle.seen), tuple(self.root.watched)
        drive = self.root.live and not self.options.source and not bundle.service
        found = "" if self.failed() else self.fingerprint(bundle, seen, watched, salt)
        user_data = bool(data.config)  # scripts alone change nothing of later plans
        applied = ("", "")
        if self.held or bundle.unchanged:
            applied = (self.before.user_data, self.before.user_data_salt)
        if not self.held and (data.config or data.scripts):
            fresh = os.urandom(16).hex()
            applied = (bundle.user_data(fresh), fresh)
        after = state.State(
            configured=True,
            instance_id=self.instance,
            record=record,
            seen=seen,
            watched=watched,
            salt=salt,
            fingerprint=found,
            drive=drive,
            documents=bundle.digests(salt, user_data) if found and bundle.service else {},
            time=int(time.time()),
            user_data=applied[0],
            user_data_salt=applied[1],
            rejected=self.rejected,
        )
        state.save(self.root, after)
        note.remove(self.root)
        self.step("verify")

    def report(self, status: int) -> None:
        """Tell the journal, and leave the report for ``guestagent status``."""
        from guestagent.report.run import tell, write

        found: dict[str, Any] = {
            "version": VERSION,
            "time": int(time.time()),
            "exit_status": status,
            "source": self.source,
            "instance_id": self.instance or self.before.instance_id,
            "first_boot": self.first,
            "unchanged": self.unchanged,
            "changes": self.changes,
            "kept": self.kept,
            "problems": self.problems,
            "steps_ms": dict(self.steps),
            "total_ms": round((time.monotonic() - self.started) * 1000, 1),
        }
        tell(found)
        write(self.root, found)
