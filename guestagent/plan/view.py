"""What a kind compares a resource with, and what comes of that."""

from __future__ import annotations

from stat import S_IMODE, S_ISREG

from guestagent.errors import Problems, Refused
from guestagent.memory import applied
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Protocol

    from guestagent.errors import Problem
    from guestagent.model import Facts
    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.file import WriteFile
    from guestagent.system.root import Entry

    class Tree(Protocol):
        """What kinds ask of a file tree: ``system.root.Root`` answers it, and has the details."""

        @property
        def live(self) -> bool:
            """True for the tree of the running system."""

        @property
        def path(self) -> str:
            """The top of the tree."""

        @property
        def trusted(self) -> frozenset[int]:
            """The users whose files count as root's."""

        def look(self, path: str, /) -> Entry | None:
            """Return status and content of what is at a path."""

        def stat(self, path: str, /) -> os.stat_result | None:
            """Return the status of what is at a path."""

        def exists(self, path: str, /) -> bool:
            """Tell whether anything is at a path."""

        def text(self, path: str, /) -> str:
            """Return the text of a file."""

        def readlink(self, path: str, /) -> str | None:
            """Return the target of a symbolic link."""

        def follow(self, path: str, /) -> str:
            """Return where root's own symbolic links lead from a path."""

        def listdir(self, path: str, /) -> list[str]:
            """Return the sorted names in a directory."""

        def outside(self, path: str, /) -> str:
            """Return the path by which other programs reach a file."""


class Outcome(NamedTuple):
    """What a comparison finds: nothing to do, unless there are changes.

    ``kept`` names what an administrator changed, so that it is left alone.  ``record`` is what the
    state remembers of the resource once the changes are made, by the keys of ``memory.applied``.
    ``problems`` are what may surprise in it.
    """

    changes: tuple[Change, ...] = ()
    kept: tuple[str, ...] = ()
    record: dict[str, str] = {}  # noqa: RUF012 - a record's default, never changed
    problems: tuple[Problem, ...] = ()


class FileState(NamedTuple):
    """Content and mode of the regular file at a path; both are None where there is none.

    ``in_order`` tells whether it belongs to the right user; true where the path is free.
    """

    content: bytes | None
    mode: int | None
    in_order: bool


class View:
    """The tree, the facts, what the state remembers, and what is planned already.

    ``first`` tells that the instance is new: everything applies again.  ``lets_in`` tells that
    the plan installs a key with which someone can log in.  ``changes``, ``kept``, ``record``
    and ``problems`` are those of all outcomes so far.
    """

    def __init__(
        self, root: Tree, facts: Facts, recorded: Mapping[str, str], *, first: bool, lets_in: bool
    ) -> None:
        self.root, self.facts, self.recorded = root, facts, recorded
        self.first, self.lets_in = first, lets_in
        self.changes: list[Change] = []
        self.kept: list[str] = []
        self.record: dict[str, str] = {}
        self.problems = Problems()
        self._entries: dict[str, Entry | None] = {}
        self._writes: dict[str, WriteFile] = {}  # those of the changes that write files, by path

    # Memory

    def is_done(self, key: str) -> bool:
        """Tell whether something was done for this instance."""
        return key in self.recorded and not self.first

    def once(self, key: str, *changes: Change) -> Outcome:
        """Return the outcome for what is done once per instance: nothing more if it was done."""
        return Outcome(() if self.is_done(key) else changes, record={key: "done"})

    def remember(self, key: str) -> Outcome:
        """Return the outcome for what was done for this instance and is not undone."""
        if self.first:
            return Outcome()
        names = [name for name in self.recorded if key in (name, applied.marked(name))]
        return Outcome(record={name: self.recorded[name] for name in names})

    def is_edited(self, key: str, now: str) -> bool:
        """Tell whether an administrator changed what guestagent applied for this instance.

        What was in a home that is made again was lost with it.
        """
        if not self.is_done(key) or self.recorded[key] == now:
            return False
        path = applied.split(key)[1]
        homes = [change.home for change in self.changes if change.kind in ("add_user", "make_home")]
        return not any(home and path.startswith(f"{home}/") for home in homes)

    def keep(self, key: str, name: str) -> Outcome:
        """Return the outcome for what an administrator changed."""
        return Outcome(kept=(name,), record={key: self.recorded[key]})

    # The tree, as it will be after the changes before

    def file(self, path: str, owner: str = "") -> FileState:
        """Return the file that will be at a path.  Raises Refused, OSError.

        It must belong to the user who owns its directory, if one does, else to the user named in
        ``owner`` ("user" or "user:group"), else to root.
        """
        write = self._writes.get(path)
        if write is not None:
            return FileState(write.new, write.mode, in_order=True)
        # What two resources see of a path is the same, even if a program changes it meanwhile.
        if path not in self._entries:
            self._entries[path] = self.root.look(path)
        found = self._entries[path]
        if found is None:
            return FileState(None, None, in_order=True)
        if not S_ISREG(found.stat.st_mode):
            return FileState(None, None, in_order=False)
        mode = S_IMODE(found.stat.st_mode)
        return FileState(found.content, mode, in_order=self._in_order(found, owner))

    def follow(self, path: str) -> str:
        """Return the path of a file that is edited in place: where root's own links lead.

        Raises Refused for a link that others control, and for what is no regular file; OSError.
        """
        # A whole file that is planned takes the place of a link.
        target = path if path in self._writes else self.root.follow(path)
        found = self.file(target)
        if found.content is None and not found.in_order:
            raise Refused("not a regular file")
        return target

    def _in_order(self, found: Entry, owner: str) -> bool:
        uid = found.stat.st_uid
        if found.owner is not None:
            return uid == found.owner  # whoever owns the directory can replace the file anyway
        name = owner.partition(":")[0]
        if not name:
            return uid in self.root.trusted
        account = self.facts.account(name)
        return account is not None and uid == account.uid

    def take(self, outcome: Outcome) -> None:
        """Make an outcome part of the plan."""
        for change in outcome.changes:
            self._add(change)
        self.kept += outcome.kept
        self.record.update(outcome.record)
        self.problems.add(*outcome.problems)

    def _add(self, change: Change) -> None:
        """Add a change; an earlier one that writes the same file becomes part of it."""
        if change.kind == "write":
            earlier = self._writes.get(change.path)
            if earlier is not None:
                self.changes.remove(earlier)
                change = change.after(earlier)
            self._writes[change.path] = change
        self.changes.append(change)
