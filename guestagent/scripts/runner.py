"""Run the staged scripts of user data, each once, in the order of their names.

``instance``: once per instance ID; ``boot``: at each boot; ``once``: once in the life of the disk.
If the system stops meanwhile, the next start goes on with the next script: the ledger says which
began.  Only a ``resumed`` one, which may be run twice without harm, is run again.
"""

from __future__ import annotations

import os
import time

from guestagent import defs, log
from guestagent.errors import FieldError, GuestagentError, NoPermission, Origin, Problems, Refused
from guestagent.memory import note, state
from guestagent.plan.commands import split
from guestagent.scripts.commands import Watch, forget, forget_notes, last_noted
from guestagent.scripts.ledger import Entry, Ledger
from guestagent.scripts.outcome import Outcome
from guestagent.scripts.output import ScriptLog
from guestagent.scripts.process import (
    CutShort,
    NeverBegan,
    Process,
    command_line,
    is_system_stopping,
)
from guestagent.scripts.staged import folder_of, list_names, open_folder, read_script
from guestagent.system.lock import lock
from guestagent.system.root import Root
from guestagent.system.signals import Termination, catch_termination
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.errors import Problem
    from guestagent.options import Options
    from guestagent.report.additions import ScriptResult, Unit
    from guestagent.scripts.staged import Script, Stage

_UNFINISHED = "not all of it could be done; the rest is tried in some minutes, or at the next boot"


def run_verb(options: Options) -> int:
    """Carry out ``run-early`` or ``run-late``; return the exit status.

    Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may run the scripts of user data")
    from guestagent.settings import load

    root = Root("/")
    # The run that staged the scripts has reported what is wrong with the settings.
    settings = load(root, Problems())
    stop = settings.scripts_stop_at_failure
    if options.verb == "run-late":
        return run_unit(root, "late", settings.scripts_late_limit, stop=stop)
    return run_unit(root, "early", settings.scripts_early_limit, stop=stop)


def run_unit(root: Root, stage: Stage, limit: float, *, stop: bool = False) -> int:
    """Do the work of a stage's unit, ``run_stage``; the report says when it is over."""
    from guestagent.report.additions import Unit

    with Unit(root, defs.EARLY_UNIT if stage == "early" else defs.LATE_UNIT) as unit:
        return run_stage(root, stage, limit, unit, stop=stop)


def run_stage(
    root: Root, stage: Stage, limit: float, unit: Unit | None = None, *, stop: bool = False
) -> int:
    """Run what waits in a stage, each script for at most ``limit`` seconds (0: any time).

    Where the early stage has had the late one started, ``unit`` is told that this is to come.
    ``stop``: the commands of runcmd or bootcmd end at the first one that fails.  Returns the exit
    status: 1 if a script failed or had been interrupted.  Changes the working directory and the
    umask of this process, and keeps SIGTERM from ending it.  Raises GuestagentError, OSError.
    """
    os.chdir("/")
    os.umask(0o022)
    runner = Runner(root, stage, limit, catch_termination(), stop=stop)
    held = lock(root, defs.SCRIPTS_LOCK_FILE, defs.LOCK_WAIT_LATE)
    try:
        runner.run()
        goes_on = stage == "early" and runner.systemd and not runner.is_stopped()
        if goes_on and runner.start_late_unit() and unit:
            unit.then.append(defs.LATE_UNIT)
    finally:
        os.close(held)
    return defs.EXIT_ERRORS if runner.failed else defs.EXIT_OK


class Runner:
    """One stage, script by script.

    ``failed`` says that something went wrong, ``stopped`` that the system is about to stop, and
    ``unfinished`` that a script wants to be run again in a while.
    """

    def __init__(
        self,
        root: Root,
        stage: Stage,
        limit: float,
        termination: Termination,
        *,
        stop: bool = False,
    ) -> None:
        self.root, self.stage, self.limit = root, stage, limit
        self.termination, self.stop = termination, stop
        self.systemd = root.live and os.path.isdir(defs.SYSTEMD_DIR)
        self.stopped = self.failed = self.unfinished = False
        self.scopes = 0
        self.told: set[str] = set()  # interrupted scripts that are reported already
        # A run that could not remember all it did has staged its scripts for this one.
        self.instance = note.read(root).instance or state.load(root).instance_id
        self.ledger = Ledger(root, self.instance)
        self.log: ScriptLog | None = None

    def is_stopped(self) -> bool:
        """Tell whether no further script may begin."""
        return self.stopped or self.termination.requested

    def run(self) -> None:
        """Run all scripts that wait, those included that one of them stages meanwhile."""
        self._read_ledger()
        folder = self._open_folder(self.stage)
        if folder is None:
            return
        try:
            self._open_log()
            self._run_waiting(folder)
        finally:
            os.close(folder)
        if self.unfinished and self.systemd and not self.is_stopped():
            self._start_late_timer()

    def start_late_unit(self) -> bool:
        """Have the service manager start the late stage in its turn, if scripts wait for it.

        Return False if it does not start.
        """
        folder = self._open_folder("late")
        if folder is None:
            return False
        names = list_names(folder)
        os.close(folder)
        systemctl = find_program("systemctl")
        if not names or not systemctl:
            return False
        result = run([systemctl, "--no-block", "start", defs.LATE_UNIT])
        if result.status:
            self._report_error(defs.LATE_UNIT, result.reason())
        return result.status == 0

    def _start_late_timer(self) -> None:
        """Have the late stage run again in a while."""
        systemctl = find_program("systemctl")
        if systemctl:
            result = run([systemctl, "--no-block", "restart", defs.LATE_TIMER])
            if result.status:
                self._report_error(defs.LATE_TIMER, result.reason())

    def _read_ledger(self) -> None:
        """Read the ledger, and report the scripts that were running when their runner died."""
        try:
            self.ledger.read()
        except (FieldError, Refused) as error:
            reason = f"{error}; scripts that ran before may run again"
            self._report_error(defs.LEDGER_FILE, reason)
        interrupted = self.ledger.close_interrupted(self.stage)
        if interrupted:
            self._write_down(self.ledger.write)
        for entry in interrupted:
            if entry.script.frequency != "resumed":
                outcome = Outcome("interrupted", reason=self._where(entry.script))
                self._report_outcome(entry.script.name, outcome)
                self.told.add(entry.script.name)
        if interrupted:
            forget_notes(self.root)

    def _where(self, script: Script) -> str:
        """Return the place of the command that ran when the system stopped, if that is known."""
        try:
            folder = open_folder(self.root, self.stage)
            if folder is None:
                return ""
            try:
                found, content = read_script(self.root, folder, self.stage, script.name)
            finally:
                os.close(folder)
        except (Refused, OSError):
            return ""
        commands = split(content) if found == script else []
        return last_noted(self.root, _title(script), commands) if commands else ""

    def _open_folder(self, stage: Stage) -> int | None:
        """Return a descriptor of a stage's directory; None if no script in it can be run."""
        try:
            return open_folder(self.root, stage)
        except Refused as error:
            self._report_error(folder_of(stage), str(error))
            return None

    def _open_log(self) -> None:
        try:
            self.log = ScriptLog(self.root)
        except (Refused, OSError) as error:
            self._report_error(defs.SCRIPTS_LOG, _text(error))

    def _run_waiting(self, folder: int) -> None:
        seen: set[str] = set()
        while waiting := sorted(set(list_names(folder)) - seen):
            # Asking the system costs time, and before the first script nothing can have changed.
            if self.is_stopped() or (seen and self._is_system_stopping()):
                log.notice("stopped: the next start goes on with the other scripts")
                self.stopped = True
                return
            name = waiting[0]
            seen.add(name)
            self._take(folder, name)

    def _is_system_stopping(self) -> bool:
        return self.systemd and is_system_stopping()

    def _take(self, folder: int, name: str) -> None:
        """Run one script unless the ledger says that it ran, and remove it if it is done."""
        try:
            script, content = read_script(self.root, folder, self.stage, name)
        except (Refused, OSError) as error:
            outcome = Outcome("not started", reason=_text(error))
            self._report_outcome(log.printable(name), outcome)
            return
        entry = self.ledger.find(script)
        if entry is None:
            if not self._run(script, content):
                return
        elif name in self.told:
            pass
        elif script.frequency != "boot" and entry.instance == self.instance:
            # Its runner was killed before it removed the file, and perhaps before it reported.
            self._report_outcome(name, Outcome(entry.status or 0, entry.seconds))
        if script.frequency != "boot":
            self._remove(folder, name)

    def _remove(self, folder: int, name: str) -> None:
        forget(self.root, name)
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass  # the script removed itself
        except OSError as error:
            self._report_error(name, f"cannot be removed: {error.strerror}")

    def _run(self, script: Script, content: bytes) -> bool:
        """Run a script between its two entries in the ledger.

        Return False if it did not begin, or is to be resumed: it stays for the next start.
        """
        entry: Entry | None = None
        try:
            entry = self.ledger.begin(script)
        except (OSError, Refused) as error:
            # Without an entry it might run twice, which only a script for each boot may.  On a
            # full disk that one may be what makes room.
            if script.frequency != "boot":
                reason = f"{defs.LEDGER_FILE}: {_text(error)}"
                self._report_outcome(script.name, Outcome("not started", reason=reason))
                return False
        try:
            outcome = self._execute(script, content)
        except NeverBegan:
            self.stopped = True
            if entry is not None:
                self._write_down(self.ledger.forget, entry)
            return False
        if script.frequency == "resumed" and outcome.status != 0 and self._may_have_been_stopped():
            outcome = outcome._replace(status="interrupted")
        if entry is not None:
            self._write_down(self.ledger.end, entry, outcome.status, outcome.seconds)
        if outcome.status == "interrupted" and script.frequency == "resumed":
            return False
        late = script.stage == "late" and script.frequency == "resumed"
        if late and outcome.status == defs.EXIT_TRY_AGAIN:
            # It has put another script in its own place, for what is left.
            self.unfinished = True
            self._report_outcome(script.name, outcome._replace(reason=_UNFINISHED))
            return False
        self._report_outcome(script.name, outcome)
        return True

    def _may_have_been_stopped(self) -> bool:
        """Tell whether a script may have failed because the system is about to stop.

        The service manager ends scripts, and what they have started, before it tells the runner.
        """
        return self.is_stopped() or self._is_system_stopping()

    def _write_down(self, write: Callable[..., None], *arguments: object) -> None:
        """Have the ledger write what has happened; a failure is reported and changes nothing."""
        try:
            write(*arguments)
        except (OSError, Refused) as error:
            self._report_error(defs.LEDGER_FILE, _text(error))

    def _execute(self, script: Script, content: bytes) -> Outcome:
        """Run a script to its end.  Raises NeverBegan."""
        start = time.monotonic()
        status: int | str
        reason = ""
        watch = self._watch(script, content)
        try:
            try:
                status = self._exit_status(script, content, watch)
            except CutShort as error:
                status = error.how
            except (OSError, ValueError) as error:
                status, reason = "not started", _text(error)
            failures = watch.failures(status) if watch else []
        finally:
            if watch:
                watch.close()
        return Outcome(status, round(time.monotonic() - start, 1), reason, tuple(failures))

    def _watch(self, script: Script, content: bytes) -> Watch | None:
        """Return what tells how each command of runcmd or bootcmd ends; None for other scripts."""
        commands = split(content)
        if not commands:
            return None
        log_fd = self.log.fd if self.log else None
        try:
            # Steps for disks, which are resumed, do not build on each other.
            stop = self.stop and script.frequency != "resumed"
            title = _title(script)
            return Watch(self.root, script.name, commands, log_fd, stop=stop, title=title)
        except (OSError, Refused) as error:
            # It runs all the same: on a full disk it may be what makes room.
            log.warning(f"{script.name}: not known which commands fail: {_text(error)}")
            return None

    def _exit_status(self, script: Script, content: bytes, watch: Watch | None) -> int:
        """Run a script, in a scope if one can be made, and return its exit status.

        Raises CutShort, NeverBegan, OSError, ValueError.
        """
        if watch:
            argv = [defs.SHELL, watch.path]
        else:
            path = self.root.outside(f"{folder_of(self.stage)}/{script.name}")
            argv = command_line(content, path)
        if self.log:
            self.log.begin(f"{self.stage}/{script.name}")
        scope = self._new_scope()
        if self.is_stopped():
            raise NeverBegan("told to end")
        try:
            return self._wait(script, argv, scope)
        except NeverBegan:
            # A service manager that is stopping makes no scopes; the next boot runs the script.
            if self._is_system_stopping():
                raise
        log.warning(f"{script.name}: no scope can be made for it; it runs without one")
        return self._wait(script, argv, "")

    def _new_scope(self) -> str:
        """Return a name for a scope, or an empty string if none can be made."""
        if not self.systemd or not find_program("systemd-run"):
            return ""
        # The process ID, because scopes of an earlier runner may still hold processes.
        self.scopes += 1
        return f"guestagent-{self.stage}-{os.getpid()}-{self.scopes}.scope"

    def _wait(self, script: Script, argv: list[str], scope: str) -> int:
        """Start a script, forward its output, and return its exit status."""
        environment = {
            "PATH": defs.SCRIPT_PATH,
            "LANG": "C.UTF-8",
            "HOME": defs.SCRIPT_HOME,
            "INSTANCE_ID": self.instance,
        }
        output = self.log
        if output is None:
            process = Process(argv, environment, 1, scope)
            return process.wait(self.limit, self.termination.fd, lambda: False)
        process = Process(argv, environment, output.fd, scope)
        try:
            return process.wait(
                self.limit, self.termination.fd, lambda: output.forward(script.name)
            )
        finally:
            output.finish(script.name)

    def _report_outcome(self, name: str, outcome: Outcome) -> None:
        """Write how a script ended to the report, and to the journal if it failed."""
        from guestagent.report.additions import ScriptResult

        commands = [failure.as_json() for failure in outcome.listed]
        result = ScriptResult(self.stage, name, outcome.status, outcome.seconds, commands)
        self._report(result, list(outcome.problems(self.stage, name, self.limit)))

    def _report_error(self, where: str, reason: str) -> None:
        """Write to report and journal that a file or unit cannot be used; the scripts go on."""
        self._report(None, [Origin("scripts", self.stage, where).error(reason)])

    def _report(self, result: ScriptResult | None, problems: list[Problem]) -> None:
        from guestagent.report.additions import add_problems, add_script

        for problem in problems:
            log.problem(problem)
            self.failed |= problem.severity == "error"
        try:
            held = lock(self.root)
            try:
                if result:
                    add_script(self.root, result, problems)
                else:
                    add_problems(self.root, problems)
            finally:
                os.close(held)
        except (OSError, GuestagentError) as error:
            log.warning(f"{defs.REPORT_FILE}: cannot be written: {_text(error)}")


def _title(script: Script) -> str:
    """Return what the notes of a script's commands are called: no other script has the same."""
    return f"{script.stage}/{script.name} {script.digest}"


def _text(error: Exception) -> str:
    """Return why something failed, without any text of a script."""
    if isinstance(error, OSError):
        return error.strerror or "input/output error"
    if isinstance(error, GuestagentError | FieldError):
        return str(error)
    return "its first line is not a command line"  # a ValueError of posix_spawn
