"""The commands of ``runcmd`` or ``bootcmd`` while one shell runs them: which one fails, and how.

A line after each command notes its exit status, ``$?``, and leaves it as it is for the next one,
also under ``set -e``.  Commands that the shell can only read together, such as those from ``if`` to
``fi``, count as one: ``sh -n`` tells.

The shell opens the files for its notes as descriptors of this process: nothing that a command does
is in their way, and no command inherits them.  The notes are in memory, where a full disk is not in
their way; and in ``/var/lib/guestagent/commands``, for the boot after one that had no end.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.desired.shell_quoting import quote
from guestagent.errors import Refused
from guestagent.record import NamedTuple
from guestagent.system.ownfiles import open_folder, remove, replace
from guestagent.system.tools import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from guestagent.plan.commands import Command
    from guestagent.system.root import Root

_CHECKS = 1000  # runs of sh -n for one script; what is left after them counts as one command
# $1 is an exit status, $2 the number of the command, $3 where people find it.
_FUNCTION = """\
#!/bin/sh
guestagent_ended() {{
    command echo "$2 $1" >>{notes}
    command echo "$2 $1" >>{kept}
    [ "$1" = 0 ] || command echo "== $3: exit status $1" >>{log}
    {then}
}}
"""
_GO_ON = 'return "$1"'
_STOP = '[ "$1" = 0 ] || exit "$1"'
# "set -x" prints nothing of it, to standard error; and no failure before "&&" ends a shell.
_NOTE = '{{ guestagent_ended "$?" {number} {place} && :; }} 2>/dev/null\n'


class Failure(NamedTuple):
    """A command that failed: where people find it, its line (0: not known), its exit status.

    Where the script ended with it, ``rest`` is how many commands were not run after it, and the
    status is that of the script, as a ``ledger.Entry`` has it; otherwise ``rest`` is None.
    """

    place: str
    line: int
    status: int | str
    rest: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what the report has of it."""
        return {"place": self.place, "line": self.line, "status": self.status}


class _Group(NamedTuple):
    """Commands that the shell reads together; ``line`` is that of the first.

    ``whole``: what comes after them is certainly no part of them.
    """

    text: str
    place: str
    line: int
    commands: int
    whole: bool


class Watch:
    """One run of a script of commands; ``path`` is that of what the shell has to read."""

    def __init__(
        self,
        root: Root,
        name: str,
        commands: list[Command],
        log: int | None,
        *,
        stop: bool,
        title: str = "",
    ) -> None:
        """Write what the shell has to read, to a file of that name in the tree's /run.

        ``log`` is an open file that gets a line for each command that fails.  ``stop``: the first
        one that fails ends the script.  ``title`` is what the script is called in the notes that
        outlive the system; without one there are none.  Raises OSError, Refused.
        """
        self._root, self._name = root, name
        self._groups = list(_group(commands))
        self._stop = stop
        self._notes = os.memfd_create("guestagent-notes")
        self._kept = _keep_notes(root, title) if title else None
        self.path = root.outside(f"{defs.RUN_DIR}/{name}")
        content = self._script(os.devnull if log is None else _path(log))
        folder = open_folder(root, defs.RUN_DIR)
        try:
            with root.labelled(folder, name):
                replace(folder, name, content, defs.STEP_MODE, durable=False)
        finally:
            os.close(folder)

    def _script(self, log: str) -> bytes:
        then = _STOP if self._stop else _GO_ON
        kept = os.devnull if self._kept is None else _path(self._kept)
        lines = [_FUNCTION.format(notes=_path(self._notes), kept=kept, log=log, then=then)]
        for number, group in enumerate(self._groups):
            lines.append(group.text)
            if group.whole:
                lines.append(_NOTE.format(number=number, place=quote(group.place)))
        return "".join(lines).encode()

    def failures(self, status: int | str) -> list[Failure]:
        """Return the commands that failed; ``status`` is how the script ended."""
        if status == "not started":
            return []
        notes = self._read_notes()
        found = [self._failure(number, how) for number, how in enumerate(notes) if how != 0]
        stopped = self._stop and bool(found)
        if len(notes) < len(self._groups) and status != 0 and not stopped:
            # It did not come to its note: there is "exit" in it, or "set -e" holds, or it hangs.
            notes.append(1)
            found.append(self._failure(len(notes) - 1, status))
        # Where its status is another one, a trap of the user's on EXIT has ended the script.
        if status != 0 and notes and notes[-1] != 0 and found[-1].status == status:
            rest = sum(group.commands for group in self._groups[len(notes) :])
            found[-1] = found[-1]._replace(rest=rest)
        return found

    def _failure(self, number: int, status: int | str) -> Failure:
        group = self._groups[number]
        return Failure(group.place, group.line, status)

    def _read_notes(self) -> list[int]:
        """Return the exit statuses of the commands that were noted, in their order."""
        return _decode_notes(
            os.pread(self._notes, len(self._groups) * len("99999 255\n"), 0).splitlines()
        )

    def close(self) -> None:
        """Remove the file, and forget the notes."""
        os.close(self._notes)
        if self._kept is not None:
            os.close(self._kept)
            forget_notes(self._root)
        forget(self._root, self._name)


def _decode_notes(lines: list[bytes]) -> list[int]:
    """Return the exit statuses that notes have, as far as they are in order."""
    notes: list[int] = []
    for line in lines:
        number, _, status = line.partition(b" ")
        if number != b"%d" % len(notes) or not status.isdigit():
            break
        notes.append(int(status))
    return notes


def _keep_notes(root: Root, title: str) -> int | None:
    """Return a new file for notes that outlive the system, open for appending; None without one."""
    parent, _, name = defs.COMMANDS_FILE.rpartition("/")
    try:
        folder = open_folder(root, parent)
        try:
            with root.labelled(folder, name):
                replace(folder, name, f"{title}\n".encode(), 0o600, durable=False)
            return os.open(name, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, dir_fd=folder)
        finally:
            os.close(folder)
    except (OSError, Refused):
        return None  # they are a help, and the script may be what makes room for them


def last_noted(root: Root, title: str, commands: list[Command]) -> str:
    """Return the place of the command that ran last, as far as notes of an earlier boot tell.

    Empty where they do not tell.  It may have been one after it: nobody waits for the disk.
    """
    try:
        lines = (root.read(defs.COMMANDS_FILE) or b"").splitlines()
        groups = list(_group(commands))
    except (OSError, Refused):
        return ""
    if not lines or lines[0] != title.encode():
        return ""
    ended = len(_decode_notes(lines[1:]))
    return groups[ended].place if 0 < ended < len(groups) else ""


def forget_notes(root: Root) -> None:
    """Remove the notes that outlive the system."""
    try:
        remove(root, defs.COMMANDS_FILE)
    except (OSError, Refused):
        pass


def forget(root: Root, name: str) -> None:
    """Remove the file of a run, also of one that was killed; one that stays is for root alone."""
    try:
        remove(root, f"{defs.RUN_DIR}/{name}")
    except (OSError, Refused):
        pass


def _path(fd: int) -> str:
    """Return the path by which the shell opens what this process has open."""
    return f"{defs.PROCESS_DIR}/{os.getpid()}/fd/{fd}"


def _group(commands: list[Command]) -> Iterator[_Group]:
    """Put commands together as the shell has to read them.  Raises OSError."""
    left = _CHECKS
    start = 0
    for end in range(1, len(commands) + 1):
        left -= 1
        whole = left > 0 and _can_be_read(_text(commands[start:end]))
        if whole or end == len(commands):
            first, last = commands[start], commands[end - 1]
            place = first.place if first is last else f"{first.place} to {last.place}"
            yield _Group(_text(commands[start:end]), place, first.line, end - start, whole)
            start = end


def _text(commands: list[Command]) -> str:
    return "".join(f"{command.text}\n" for command in commands)


def _can_be_read(text: str) -> bool:
    """Tell whether the shell can read text without what comes after it."""
    # Of a here-document, a quoted word or a line that goes on, the bracket would be a part.
    done = run([defs.SHELL, "-n"], f"{{\n:\n{text}}}\n".encode())
    return done.status == 0
