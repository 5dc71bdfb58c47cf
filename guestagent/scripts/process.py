"""One script as a process: started in a scope of its own, waited for, ended when it takes too long.

A scope (systemd.scope(5)) keeps what a script leaves running apart from the unit that ran it.
"""

from __future__ import annotations

import os
import time
from select import POLLIN, poll

from guestagent import defs
from guestagent.errors import GuestagentError
from guestagent.system.signals import SIGKILL, SIGPIPE, SIGTERM, SIGXFSZ
from guestagent.system.tools import program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE = 0.25  # seconds between looks at the log file, whose growth poll(2) does not tell
# What Python ignores, and a shell's pipelines need.
_DEFAULT_SIGNALS = (SIGPIPE, SIGXFSZ)


class NeverBegan(GuestagentError):
    """The service manager gave no scope: nothing of the script has run."""


class Ended(GuestagentError):
    """The script's end was not awaited; the text is "timeout" or "interrupted"."""


def command(content: bytes, path: str) -> list[str]:
    """The command line that runs a script, as execve(2) reads its first line.

    A script without ``#!`` is the shell's.  So a script whose interpreter is missing is known
    beforehand, and a file system without ``exec`` is no hindrance.  Raises OSError.
    """
    if content.startswith(b"\x7fELF"):
        return [path]
    if not content.startswith(b"#!"):
        return [defs.SHELL, path]
    line = os.fsdecode(content[2:].partition(b"\n")[0]).strip(" \t")
    interpreter, *argument = line.replace("\t", " ").split(" ", 1)
    os.stat(interpreter)
    return [interpreter, *(word.strip() for word in argument), path]


def going_down() -> bool:
    """True if this system is about to stop: nothing new can begin."""
    tool, bus = program("systemctl"), program("busctl")
    if tool and run([tool, "is-system-running"]).output.strip() == b"stopping":
        return True
    # logind(8) lets programs delay a shutdown that is decided.
    manager = ("org.freedesktop.login1", "/org/freedesktop/login1")
    ask = ("get-property", *manager, f"{manager[0]}.Manager", "PreparingForShutdown")
    return bool(bus) and run([str(bus), "--timeout=2", *ask]).output.strip() == b"b true"


class Process:
    """A running script.  Raises OSError if it cannot be started."""

    def __init__(self, argv: list[str], environment: dict[str, str], out: int, scope: str) -> None:
        """``out`` is where it writes; ``scope`` the unit to make, empty for none."""
        self.scope = scope
        if scope:
            options = ("--scope", "--quiet", "--collect", f"--unit={scope}", "--")
            argv = [program("systemd-run") or "", *options, *argv]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, out, 2),
        ]
        self.pid = os.posix_spawn(
            *(argv[0], argv, environment),
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
        self._fd = os.pidfd_open(self.pid)

    def wait(self, limit: float, stop: int, look: Callable[[], bool]) -> int:
        """The exit status, negative for a signal.

        ``look`` is called again and again meanwhile, and tells if it has more to do at once.
        After ``limit`` seconds (0: never) the script is ended; once ``stop`` can be read it is
        told to end.  Raises Ended then, and NeverBegan.
        """
        poller = poll()
        poller.register(self._fd, POLLIN)
        poller.register(stop, POLLIN)
        deadline = time.monotonic() + limit if limit else float("inf")
        while True:
            more = look()
            left = deadline - time.monotonic()
            if left <= 0:
                self._end()
                raise Ended("timeout")
            ready = [fd for fd, _ in poller.poll(0 if more else min(_PAUSE, left) * 1000)]
            if self._fd in ready:
                return self._status()
            if stop in ready:
                self._signal(SIGTERM)
                raise Ended("interrupted")

    def _status(self) -> int:
        mine = _control_group(os.getpid()) if self.scope else ""
        never = bool(mine) and _control_group(self.pid) == mine
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        if never:
            raise NeverBegan("the service manager gave no scope")
        return os.waitstatus_to_exitcode(status)

    def _end(self) -> None:
        """Ask all of the script's processes to end; those that have not after a while must."""
        poller = poll()
        poller.register(self._fd, POLLIN)
        for number in (SIGTERM, SIGKILL):
            self._signal(number)
            if poller.poll(defs.SCRIPT_GRACE * 1000) and number == SIGTERM:
                self._signal(SIGKILL)  # what it left behind
                break
        os.waitpid(self.pid, os.WNOHANG)
        os.close(self._fd)

    def _signal(self, number: int) -> None:
        tool = program("systemctl") if self.scope else None
        if tool:
            run([tool, "kill", f"--signal={number}", self.scope])
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


def _control_group(pid: int) -> str:
    """The control group of a process, also of one that ended and is not reaped: cgroups(7).

    Empty where that cannot be known: the first version of control groups forgets the dead.
    """
    try:
        with open(f"{defs.PROCESS_DIR}/{pid}/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::/") and line != "0::/"), "")
