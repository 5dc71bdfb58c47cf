"""The only writer: carries out a plan, phase by phase.

Files are committed in two phases.  All new contents are staged as temporary files, with
their final owner and mode, and synced; only then are they renamed into place and synced
again.  A failure while staging leaves the tree as it was; a run that is killed leaves
each file old or new, and the next run removes what was staged and finishes.

The effect of a change is ``carry_out(change, root)`` in the module that has the name of its kind.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.commit import file
from guestagent.errors import GuestagentError, Refused
from guestagent.memory import note
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from guestagent.errors import Problem
    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.account import Command, RunTool
    from guestagent.plan.kinds.file import WriteFile
    from guestagent.plan.kinds.script import StageScript
    from guestagent.system.root import Root

    C = TypeVar("C", bound=Change)

_FILES = ("write", "step", "write_later")
# In this order: a new account may be a member of a new group, and files may belong to it.
_ACCOUNTS = ("add_group", "add_user", "make_home", "add_member")
# These wait where their account could not be made: a later run makes it, and then does these.
_OF_ACCOUNTS = (
    "add_member",
    "set_password",
    "set_console_password",
    "expire_password",
    "lock_password",
)


class AccountsLocked(GuestagentError):
    """The user database is locked by another program."""

    status = defs.EXIT_ACCOUNTS_LOCKED


class PartFailed(Refused):
    """A part of a change failed: its resources by the keys ``keys``; the others were made."""

    def __init__(self, reason: str, keys: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.keys = keys


def commit(
    changes: tuple[Change, ...], root: Root, instance: str = ""
) -> list[tuple[Change, Problem]]:
    """Carry out all changes; return those that failed, each with its problem.

    ``instance`` is the id of the instance that the changes are for.  Raises OSError where files
    cannot be staged: nothing has changed then.  Raises AccountsLocked where another program holds
    the lock of the user database while accounts are made.
    """
    file.clean(root)
    return _Commit(changes, root, instance).run()


class _Commit:
    def __init__(self, changes: tuple[Change, ...], root: Root, instance: str) -> None:
        self.changes, self.root, self.instance = changes, root, instance
        self.failed: list[tuple[Change, Problem]] = []
        self.locked: AccountsLocked | None = None

    def run(self) -> list[tuple[Change, Problem]]:
        """Go through the phases."""
        carriers = self._make_carriers()
        files = [change for change in self.changes if change.kind in ("write", "step")]
        files += [script for script, _ in carriers]
        homes = [change.home for change in self.changes if change.kind in ("add_user", "make_home")]
        own, users = file.divide_by_writer(files, self.root, homes)
        users = self._write_own(own, users)
        file.write_as_users(users, self.root, self._fail)
        for script, part in carriers:
            self._fail_with(script, part)
        self._set_passwords()
        self._do_the_rest({change.path for change in own})
        self._tell_sshd()
        self._open_sshd()
        return self.failed

    def _make_carriers(self) -> list[tuple[StageScript, list[WriteFile]]]:
        """Return the scripts that write files late, each with its files."""
        late = [change for change in self.changes if change.kind == "write_later"]
        if not late:
            return []
        from guestagent.plan.kinds.late import divide, make_carrier

        return [(make_carrier(part, self.instance), part) for part in divide(late)]

    def _write_own(
        self, own: list[WriteFile | StageScript], users: list[WriteFile]
    ) -> list[WriteFile]:
        """Write root's files in two phases, and make the accounts between these.

        Return the files of users without those that must not be written.  Raises OSError,
        AccountsLocked.
        """
        staging = file.Staging(self.root, self._fail)
        try:
            staging.stage(own)
            lost = self._leave_note()
            if lost is not None:
                users = [change for change in users if not self._must_not_append(change, lost)]
                staging.leave_out(lambda change: self._must_not_append(change, lost))
            self._make_accounts()
            staging.give_to_owners()
            staging.rename()
        finally:
            staging.end()
        return users

    def _fail_with(self, script: Change, late: list[WriteFile]) -> None:
        """Let the files that a script carries fail with it."""
        for change, problem in tuple(self.failed):
            if change is script:
                self.failed += [(item, item.why.error(problem.reason)) for item in late]

    def _leave_note(self) -> OSError | None:
        """Leave a note of what a later run could not tell, if this one is killed.

        Return why that is not possible, if only the directory of the state cannot be written.
        Raises OSError for anything else.
        """
        new = self._make_note()
        # Scripts that start before the state is written have their instance from the note.
        has_scripts = any(change.kind in ("step", "write_later") for change in self.changes)
        if not (new.appended or new.made or new.accounts or has_scripts):
            return None
        before = note.read(self.root, self.instance)
        whole = note.Note(
            appended=before.appended | new.appended,
            made=tuple(sorted({*before.made, *new.made})),
            accounts=tuple(sorted({*before.accounts, *new.accounts})),
            instance=self.instance,
        )
        try:
            note.write(self.root, whole)
        except OSError as error:
            if not file.is_apart(self.root, defs.STATE_DIR, error):
                raise
            return error
        return None

    def _make_note(self) -> note.Note:
        """Return the note of the changes of this run alone."""
        appended = {}
        made = []
        accounts = []
        for change in self.changes:
            written = change.file if change.kind == "set_sshd" else change
            if written.kind == "write" and written.append:
                appended[written.path] = digest(written.new)
            elif written.kind == "write" and written.old is None:
                made.append(written.path)
            elif change.kind == "add_user":
                accounts.append(change.name)
        return note.Note(appended, tuple(made), tuple(accounts), self.instance)

    def _must_not_append(self, change: Change, lost: OSError) -> bool:
        """Tell whether a change appends, which each later run would do again, and let it fail."""
        if change.kind != "write" or not change.append:
            return False
        reason = f"not appended, because it cannot be remembered: {defs.STATE_DIR}: {lost.strerror}"
        self._fail(change, Refused(reason))
        return True

    def _make_accounts(self) -> None:
        """Make groups, accounts and memberships.  Raises AccountsLocked."""
        homes = []
        for kind in _ACCOUNTS:
            for change in self.changes:
                if change.kind != kind:
                    continue
                self._attempt(change, _effect(change), (Refused, OSError))
                if change.kind == "add_user" and change.home and not self._is_unmade(change):
                    # What is left of it to do fails by itself: the account is made.
                    from guestagent.plan.kinds.home import MakeHome

                    home = MakeHome("make_home", change.name, change.home, change.why)
                    self._attempt(home, _effect(home), (Refused, OSError))
                if change.kind in ("add_user", "make_home") and change.home:
                    homes.append(change.home)
        if homes:
            from guestagent.commit.home import sync

            sync(self.root, homes)

    def _is_unmade(self, change: Change) -> bool:
        """Tell whether a change is one of an account that could not be made."""
        name = getattr(change, "name", "")
        return any(item.kind == "add_user" and item.name == name for item, _ in self.failed)

    def _set_passwords(self) -> None:
        """Set all passwords, those that one command can set by one run of it.

        Where that fails, each is set by itself, so that one that is refused spoils no other.
        """
        wanted = [change for change in self.changes if change.kind == "set_password"]
        if not wanted:
            return
        from guestagent.plan.kinds.account import RunTool

        alone: list[Change] = []
        together: dict[Command, list[RunTool]] = {}
        for change in wanted:
            if isinstance(change, RunTool) and not self._is_unmade(change):
                together.setdefault(change.commands[0], []).append(change)
            else:
                alone.append(change)
        for command, changes in together.items():
            if not self._are_set(command, changes):
                alone += changes
        for item in alone:
            self._attempt(item, _effect(item), (Refused, OSError, AccountsLocked))

    def _are_set(self, command: Command, changes: list[RunTool]) -> bool:
        """Set several passwords by one run of a command; tell whether all of them are set."""
        if len(changes) == 1 or self.locked is not None:
            return False
        from guestagent.commit.account import set_passwords

        try:
            set_passwords(command, changes, self.root)
        except AccountsLocked as error:
            self.locked = error
        except (Refused, OSError):
            return False  # each by itself says which of them it was, and why
        return self.locked is None

    def _do_the_rest(self, written: set[str]) -> None:
        """Do what is neither a file nor an account, in the order of the plan.

        A lock of the user database is the problem of some changes here: the files are in place, and
        what they are for must be remembered.
        """
        for change in self.changes:
            if change.kind in (*_FILES, *_ACCOUNTS, "set_password", "set_sshd"):
                continue
            if change.kind == "remove" and change.path in (*written, defs.SSHD_CLOSED):
                continue
            self._attempt(change, _effect(change), (Refused, OSError, AccountsLocked))

    def _tell_sshd(self) -> None:
        """Write what sshd is told, last: it may take a way in away that others had to open."""
        for change in self.changes:
            if change.kind == "set_sshd":
                self._attempt(change, _effect(change), (Refused, OSError))

    def _open_sshd(self) -> None:
        """Let sshd let people in again: only now those are gone who may not."""
        for change in self.changes:
            if change.kind == "remove" and change.path == defs.SSHD_CLOSED:
                self._attempt(change, _effect(change), (Refused, OSError))

    def _attempt(
        self, change: C, effect: Callable[[C, Root], None], errors: tuple[type[Exception], ...]
    ) -> None:
        try:
            if change.kind in _OF_ACCOUNTS and self._is_unmade(change):
                raise Refused("the account could not be made; the next run tries again")
            if change.kind in _OF_ACCOUNTS and self.locked is not None:
                raise self.locked  # one wait is enough for a run: each other one would be as long
            effect(change, self.root)
        except PartFailed as error:
            self._fail_in_part(change, error)
        except errors as error:
            if isinstance(error, AccountsLocked):
                self.locked = error
            self._fail(change, error)

    def _fail_in_part(self, change: Change, error: PartFailed) -> None:
        """Keep the problem of a change of which only the part with some keys has failed."""
        if change.kind == "make_host_keys":
            self._fail(change._replace(keys=error.keys), error)

    def _fail(self, change: Change, error: Exception) -> None:
        """Keep the problem of a change."""
        path = getattr(change, "path", "")
        reason = str(error)
        if isinstance(error, OSError):
            reason = error.strerror or "input/output error"
            path = path or error.filename or ""
        text = f"{path}: {reason}" if path else reason
        self.failed.append((change, change.why.error(text)))


def _effect(change: C) -> Callable[[C, Root], None]:
    """Return the effect of a change, from the module of the same name as its kind's."""
    kind = type(change).__module__.rpartition(".")[2]
    module = __import__(f"guestagent.commit.{kind}", fromlist=["carry_out"])
    effect: Callable[[C, Root], None] = module.carry_out
    return effect
