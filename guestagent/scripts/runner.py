"""The staged scripts of user data: each run once, in the order of their names.

They wait in ``/var/lib/guestagent/early`` and ``late`` as ``NN-FREQUENCY-NAME``.  ``instance``:
once per instance id; ``boot``: at each boot; ``once``: once in the life of the disk.  Whenever
the system stops, the next start goes on with the next script.
"""

from __future__ import annotations

import os
import time

from guestagent import defs, log
from guestagent.errors import FieldError, GuestagentError, NoPermission, Problem, Problems, Refused
from guestagent.memory import note, state
from guestagent.scripts import process as scriptrun
from guestagent.scripts.ledger import Entry, Ledger, Script
from guestagent.scripts.output import ScriptLog
from guestagent.system.digest import digest
from guestagent.system.lock import lock
from guestagent.system.root import Root, read_at
from guestagent.system.signals import Termination, catch_termination
from guestagent.system.tools import program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from guestagent.options import Options

    Stage = Literal["early", "late"]

_FREQUENCIES = ("instance", "boot", "once")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def run_verb(options: Options) -> int:
    """``run-early`` and ``run-late`` of the command line; returns the exit status.

    Raises GuestagentError, OSError.
    """
    if os.geteuid() != 0:
        raise NoPermission("only root may run the scripts of user data")
    from guestagent.settings import load

    root = Root("/")
    # The run that staged the scripts has reported what is wrong with the settings.
    settings = load(root, Problems())
    if options.verb == "run-late":
        return run_stage(root, "late", settings.scripts_late_limit)
    return run_stage(root, "early", settings.scripts_early_limit)


def run_stage(root: Root, stage: Stage, limit: float) -> int:
    """Run what waits in a stage, each script for at most ``limit`` seconds (0: any time).

    This process is changed for it: working directory, umask, SIGTERM.  The exit status is 1 if
    a script failed, or had been interrupted.  Raises GuestagentError, OSError.
    """
    os.chdir("/")
    os.umask(0o022)
    runner = _Runner(root, stage, limit, catch_termination())
    held = lock(root, defs.SCRIPTS_LOCK_FILE, defs.LOCK_WAIT_LATE)
    try:
        runner.run()
        if stage == "early" and runner.systemd and not runner.is_stopped():
            runner.start_late()
    finally:
        os.close(held)
    return defs.EXIT_ERRORS if runner.failed else defs.EXIT_OK


class _Runner:
    """One stage, script by script."""

    def __init__(self, root: Root, stage: Stage, limit: float, termination: Termination) -> None:
        self.root, self.stage, self.limit = root, stage, limit
        self.termination = termination
        self.systemd = root.live and os.path.isdir(defs.SYSTEMD_DIR)
        self.stopped = self.failed = False
        self.scopes = 0
        # A run that could not remember all it did has staged its scripts for this one.
        self.instance = note.read(root).instance or state.load(root).instance_id
        self.ledger = Ledger(root, self.instance)
        self.log: ScriptLog | None = None

    def is_stopped(self) -> bool:
        """Tell whether no further script may begin."""
        return self.stopped or self.termination.requested

    def run(self) -> None:
        """Everything that waits, also what one of the scripts adds."""
        self._look_back()
        try:
            folder = _folder(self.root, self.stage)
        except Refused as error:
            self._problem(_path(self.stage), str(error))
            return
        if folder is None:
            return
        try:
            self._open_log()
            done: set[str] = set()
            while waiting := sorted(set(_names(folder)) - done):
                if self.is_stopped() or (done and self._going_down()):
                    log.notice("stopped: the next start goes on with the other scripts")
                    self.stopped = True
                    return
                done.add(waiting[0])
                self._take(folder, waiting[0])
        finally:
            os.close(folder)

    def start_late(self) -> None:
        """Let the service manager start the late stage when its time comes, if it has scripts."""
        try:
            folder = _folder(self.root, "late")
        except Refused as error:
            self._problem(_path("late"), str(error))
            return
        if folder is None:
            return
        names = _names(folder)
        os.close(folder)
        tool = program("systemctl")
        if names and tool:
            result = run([tool, "--no-block", "start", defs.LATE_UNIT])
            if result.status:
                self._problem(defs.LATE_UNIT, result.reason())

    def _look_back(self) -> None:
        """What an earlier runner began and could not see end counts as done, and is told."""
        try:
            self.ledger.read()
        except (FieldError, Refused) as error:
            self._problem(defs.LEDGER_FILE, f"{error}; what ran before is not known")
        found = self.ledger.interrupted(self.stage)
        if found:
            self._record(self.ledger.write)
        for entry in found:
            self._tell(entry.script.name, "interrupted", 0.0)

    def _open_log(self) -> None:
        try:
            self.log = ScriptLog(self.root)
        except (Refused, OSError) as error:
            self._problem(defs.SCRIPTS_LOG, _text(error))

    def _going_down(self) -> bool:
        return self.systemd and scriptrun.going_down()

    def _take(self, folder: int, name: str) -> None:
        """Run one script, unless the ledger says that it ran; away with it if it is done."""
        try:
            script, content = _read(self.root, folder, self.stage, name)
        except (Refused, OSError) as error:
            self._tell(log.printable(name), "not started", 0.0, _text(error))
            return
        known = self.ledger.find(script)
        if known is None and not self._run(script, content):
            return
        if known and script.frequency != "boot" and known.instance == self.instance:
            # Its runner did not come to this, and perhaps not to the report either.
            self._tell(name, known.status or 0, known.seconds)
        if script.frequency != "boot":
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                pass  # it did so itself
            except OSError as error:
                self._problem(name, f"cannot be removed: {error.strerror}")

    def _run(self, script: Script, content: bytes) -> bool:
        """Run a script between its two entries in the ledger; False if it did not begin."""
        entry: Entry | None = None
        try:
            entry = self.ledger.begin(script)
        except (OSError, Refused) as error:
            # On a full disk, what makes room may be one that may run again at the next boot.
            if script.frequency != "boot":
                reason = f"{defs.LEDGER_FILE}: {_text(error)}"
                self._tell(script.name, "not started", 0.0, reason)
                return False
        started = time.monotonic()
        status: int | str
        reason = ""
        try:
            status = self._execute(script, content)
        except scriptrun.Ended as error:
            status = str(error)
        except scriptrun.NeverBegan:
            self.stopped = True
            if entry:
                self._record(self.ledger.forget, entry)
            return False
        except (OSError, ValueError) as error:
            status, reason = "not started", _text(error)
        seconds = round(time.monotonic() - started, 1)
        if entry:
            self._record(self.ledger.end, entry, status, seconds)
        self._tell(script.name, status, seconds, reason)
        return True

    def _record(self, write: Callable[..., None], *arguments: object) -> None:
        """Let the ledger write what cannot be changed any more."""
        try:
            write(*arguments)
        except (OSError, Refused) as error:
            self._problem(defs.LEDGER_FILE, _text(error))

    def _execute(self, script: Script, content: bytes) -> int:
        """The exit status of a script.  Raises Ended, NeverBegan, OSError, ValueError."""
        path = self.root.outside(f"{_path(self.stage)}/{script.name}")
        argv = scriptrun.command(content, path)
        environment = {
            "PATH": defs.SCRIPT_PATH,
            "LANG": "C.UTF-8",
            "HOME": defs.SCRIPT_HOME,
            "INSTANCE_ID": self.instance,
        }
        if self.log:
            self.log.header(f"{self.stage}/{script.name}")
        out = self.log.fd if self.log else 1
        scope = ""
        if self.systemd and program("systemd-run"):
            # A runner before this one may have left scopes with processes in them.
            self.scopes += 1
            scope = f"guestagent-{self.stage}-{os.getpid()}-{self.scopes}.scope"
        if self.is_stopped():
            raise scriptrun.NeverBegan("stopped")
        try:
            process = scriptrun.Process(argv, environment, out, scope)
            return self._wait(process, script.name)
        except scriptrun.NeverBegan:
            if self._going_down():
                raise
        log.warning(f"{script.name}: no scope can be made for it")
        return self._wait(scriptrun.Process(argv, environment, out, ""), script.name)

    def _wait(self, process: scriptrun.Process, name: str) -> int:
        follow = self.log
        if follow is None:
            return process.wait(self.limit, self.termination.fd, bool)
        try:
            return process.wait(self.limit, self.termination.fd, lambda: follow.forward(name))
        finally:
            follow.finish(name)

    def _tell(self, name: str, status: int | str, seconds: float, reason: str = "") -> None:
        """A script's result, to the journal and the report."""
        reason = _reason(status, self.limit, reason)
        problem = Problem("error", "scripts", self.stage, name, reason) if reason else None
        found = {"name": name, "stage": self.stage, "status": status, "seconds": seconds}
        self._report(found, problem)

    def _problem(self, where: str, reason: str) -> None:
        """Something wrong with a file or unit; the scripts go on."""
        self._report(None, Problem("error", "scripts", self.stage, where, reason))

    def _report(self, found: dict[str, Any] | None, problem: Problem | None) -> None:
        from guestagent.report.run import add_script

        if problem:
            self.failed = True
            log.error(problem.text())
        try:
            held = lock(self.root)
            try:
                add_script(self.root, found, problem)
            finally:
                os.close(held)
        except (OSError, GuestagentError) as error:
            log.warning(f"{defs.REPORT_FILE}: cannot be written: {_text(error)}")


def _reason(status: int | str, limit: float, reason: str) -> str:
    """What was wrong with a script that ended so; empty for one that was right."""
    match status:
        case 0:
            return ""
        case "interrupted":
            return "interrupted: the system stopped while it ran; it is not run again"
        case "timeout":
            return f"took longer than {limit:.0f} s"
        case "not started":
            return f"cannot be run: {reason}"
        case _ if isinstance(status, int) and status < 0:
            return f"killed by signal {-status}"
    return f"exit status {status}"


def _text(error: Exception) -> str:
    """Why something failed, without anything of a script."""
    if isinstance(error, OSError):
        return error.strerror or "input/output error"
    return str(error) if isinstance(error, GuestagentError | FieldError) else "not a command line"


def _path(stage: Stage) -> str:
    return f"{defs.STATE_DIR}/{stage}"


def _folder(root: Root, stage: Stage) -> int | None:
    """A stage's directory, open; None where there is none.  Raises Refused, OSError."""
    try:
        with root.place(_path(stage)) as place:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            if not _own(root, os.fstat(place.fd)) or place.owner is not None:
                raise Refused(f"{defs.STATE_DIR} is not root's alone")
            found = place.stat()
            if found is None:
                return None
            if not _own(root, found):
                raise Refused("the directory is not root's alone")
            return os.open(place.name, flags, dir_fd=place.fd)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise Refused("not a directory") from None


def _own(root: Root, found: os.stat_result) -> bool:
    """True for what root owns and nobody else may write to."""
    return found.st_uid in root.trusted and not found.st_mode & 0o022


def _names(folder: int) -> list[str]:
    """The files of a stage, but for those that are being written."""
    return [name for name in os.listdir(folder) if not name.startswith(defs.TEMPORARY_PREFIX)]


def _read(root: Root, folder: int, stage: Stage, name: str) -> tuple[Script, bytes]:
    """A staged script and its content.  Raises Refused, OSError."""
    number, _, rest = name.partition("-")
    frequency, _, rest = rest.partition("-")
    numbered = len(number) == 2 and number.isdigit()
    if not numbered or frequency not in _FREQUENCIES or not rest or not _NAME.issuperset(name):
        raise Refused("not a script's name")
    if not _own(root, os.stat(name, dir_fd=folder, follow_symlinks=False)):
        raise Refused("not root's alone")
    content = read_at(folder, name, defs.GUEST_FILE_LIMIT)
    return Script(stage, name, frequency, digest(content)), content  # type: ignore[arg-type]
