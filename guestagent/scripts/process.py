"""One script as a process: started in a scope, waited for, ended when it takes too long.

A scope (systemd.scope(5)) keeps what a script leaves running apart from the unit that ran it: when
that unit ends, the service manager would kill it.
"""

from __future__ import annotations

import os
import time
from select import POLLIN, poll

from guestagent import defs
from guestagent.errors import GuestagentError
from guestagent.system.signals import SIGKILL, SIGPIPE, SIGTERM, SIGXFSZ
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

_PAUSE = 0.25  # seconds between looks at the log file: poll(2) does not report that a file grew
# Python ignores these, and a child inherits that; pipelines of a shell need them.
_DEFAULT_SIGNALS = (SIGPIPE, SIGXFSZ)
_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


class NeverBegan(GuestagentError):
    """Nothing of the script has run: it got no scope, or the system is about to stop."""


class CutShort(GuestagentError):
    """The script was told to end; ``how`` says why."""

    def __init__(self, how: Literal["timeout", "interrupted"]) -> None:
        super().__init__(how)
        self.how = how


def command_line(content: bytes, path: str) -> list[str]:
    """Return the command line that runs a script, as execve(2) makes it from the first line.

    Without ``#!`` it is a script for the shell.  Running the interpreter by its own name works on
    a file system without ``exec`` too, and shows a missing one beforehand.  Raises OSError.
    """
    if content.startswith(b"\x7fELF"):
        return [path]
    if not content.startswith(b"#!"):
        return [defs.SHELL, path]
    line = os.fsdecode(content[2:].partition(b"\n")[0]).strip(" \t")
    interpreter, *argument = line.replace("\t", " ").split(" ", 1)
    os.stat(interpreter)
    return [interpreter, *(word.strip() for word in argument), path]


def is_system_stopping() -> bool:
    """Tell whether this system is about to stop, so that nothing new can begin."""
    systemctl = find_program("systemctl")
    if systemctl and run([systemctl, "is-system-running"]).output.strip() == b"stopping":
        return True
    # logind(8) lets programs delay a shutdown that is decided already.
    busctl = find_program("busctl")
    if not busctl:
        return False
    answer = run([busctl, "--timeout=2", "get-property", *_LOGIND, "PreparingForShutdown"])
    return answer.output.strip() == b"b true"


class Process:
    """A running script.  Raises OSError if it cannot be started."""

    def __init__(self, argv: list[str], environment: dict[str, str], out: int, scope: str) -> None:
        """Start a script that writes to ``out``; ``scope`` is the unit to make, empty for none."""
        self.scope = scope
        if scope:
            options = ("--scope", "--quiet", "--collect", f"--unit={scope}", "--")
            argv = [find_program("systemd-run") or "", *options, *argv]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, out, 2),
        ]
        self.pid = os.posix_spawn(
            *(argv[0], argv, environment),
            file_actions=actions,
            setsid=True,  # so that a signal to its group reaches the processes that it starts
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
        self._fd = os.pidfd_open(self.pid)

    def wait(self, limit: float, stop: int, look: Callable[[], bool]) -> int:
        """Return the exit status, negative for a signal, once the script has ended.

        ``look`` is called again and again until then, and returns True if it has more to do at
        once.  After ``limit`` seconds (0: never) the script is killed; once the descriptor
        ``stop`` can be read, it is told to end.  Raises CutShort for both, and NeverBegan.
        """
        poller = poll()
        poller.register(self._fd, POLLIN)
        poller.register(stop, POLLIN)
        deadline = time.monotonic() + limit if limit else float("inf")
        while True:
            more = look()
            left = deadline - time.monotonic()
            if left <= 0:
                self._kill()
                raise CutShort("timeout")
            pause = 0.0 if more else min(_PAUSE, left)
            ready = [fd for fd, _ in poller.poll(pause * 1000)]
            if self._fd in ready:
                return self._exit_status()
            if stop in ready:
                self._send(SIGTERM)
                raise CutShort("interrupted")

    def _exit_status(self) -> int:
        """Return the exit status of the script, which has ended.  Raises NeverBegan."""
        # systemd-run(1) also fails if it gets no scope, and is then still in this process's group.
        own = _control_group(os.getpid()) if self.scope else ""
        never_began = bool(own) and _control_group(self.pid) == own
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        if never_began:
            raise NeverBegan("the service manager made no scope")
        return os.waitstatus_to_exitcode(status)

    def _kill(self) -> None:
        """Tell all of the script's processes to end, and kill those that have not after a while."""
        poller = poll()
        poller.register(self._fd, POLLIN)
        self._send(SIGTERM)
        poller.poll(defs.SCRIPT_GRACE * 1000)
        self._send(SIGKILL)  # also where the script has ended: it may have left processes behind
        poller.poll(defs.SCRIPT_GRACE * 1000)
        os.waitpid(self.pid, os.WNOHANG)  # it may hang in the kernel even now
        os.close(self._fd)

    def _send(self, signal: int) -> None:
        """Send a signal to all of the script's processes."""
        systemctl = find_program("systemctl") if self.scope else None
        if systemctl:
            run([systemctl, "kill", f"--signal={signal}", self.scope])
        try:
            os.killpg(self.pid, signal)
        except ProcessLookupError:
            pass


def _control_group(pid: int) -> str:
    """Return the control group of a process, also of one that ended and is not reaped: cgroups(7).

    Returns an empty string where that is not known: version 1 of control groups forgets the dead.
    """
    try:
        with open(f"{defs.PROCESS_DIR}/{pid}/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::/") and line != "0::/"), "")
