"""The drop-in of sshd_config(5), which is written last: it may take a way into the guest away."""

from __future__ import annotations

from stat import S_IMODE

from guestagent import defs
from guestagent.errors import Origin, Refused
from guestagent.memory import applied
from guestagent.plan.kinds.file import File, WriteFile
from guestagent.plan.view import FileState, Outcome
from guestagent.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.plan.kinds.remove import RemoveFile
    from guestagent.plan.view import Tree, View

_MODE = 0o600
_OPENED = Origin("guestagent", "", "sshd")


class SshdPolicy(NamedTuple):
    """What the drop-in says.

    ``switches_off``: it switches passwords off, so that it waits for a key in one of the files
    ``key_files``.  Where a run says nothing of keys there are none of these: then what an earlier
    run wrote stays, and nothing is written.  ``asked`` are pairs of such a file and its account, of
    which sshd is asked whether it reads the file for it.  ``others`` are ways in without a file of
    keys: for each the files that must all be there.
    """

    kind: Literal["sshd_policy"]
    content: bytes
    why: Origin
    switches_off: bool = False
    key_files: tuple[str, ...] = ()
    asked: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, ...], ...] = ()

    @property
    def path(self) -> str:
        """Return the path of the drop-in."""
        return defs.SSHD_DROPIN

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this: that of a file."""
        return applied.file(self.path)

    def compare(self, view: View) -> Outcome:
        """Compare with the tree.  Raises Refused, OSError."""
        file = File("file", self.path, self.content, mode=_MODE, why=self.why)
        outcome = file.compare(view)
        changes = [change for change in outcome.changes if change.kind == "write"]
        if not changes and not outcome.kept and not view.is_done(self.key):
            # A run that was killed wrote it, and did not ask sshd; or it is another instance's,
            # and a key of this one is not in place yet.
            changes.append(file.write(view.file(self.path), self.content))
        ways = self.key_files, self.asked, self.others
        found = (SetSshd("set_sshd", change, self.switches_off, *ways) for change in changes)
        return outcome._replace(changes=tuple(found))


class SshdClosed(NamedTuple):
    """Nobody gets in by sshd, as a drop-in says that comes before all others.

    The file is guestagent's own whoever wrote it: one of an image that was made of a guest where
    this was so is as good as a new one, and must go like that.  One that an administrator removed
    or changed is written again at the next boot, which may be that of a copy of the disk.
    """

    kind: Literal["sshd_closed"]
    content: bytes
    why: Origin

    @property
    def path(self) -> str:
        """Return the path of the drop-in."""
        return defs.SSHD_CLOSED

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        return applied.SSHD_CLOSED

    def compare(self, view: View) -> Outcome:
        """Compare with the tree.  Raises Refused, OSError."""
        record = {self.key: applied.CLOSED}
        found = view.file(self.path)
        if found == FileState(self.content, _MODE, in_order=True):
            return Outcome(record=record)
        file = File("file", self.path, self.content, mode=_MODE, why=self.why)
        change = file.write(found, self.content)._replace(keys=(self.key,))
        return Outcome((change,), record=record)


def undo(key: str, view: View) -> Outcome:
    """Let people in where there is no sshd any more that could be told whom to keep out."""
    del key  # there is one
    return Outcome(open_again(view.root))


def open_again(root: Tree) -> tuple[RemoveFile, ...]:
    """Return the change that lets people in, where sshd lets nobody in; otherwise none."""
    try:
        found = root.look(defs.SSHD_CLOSED)
    except (Refused, OSError):
        return ()  # not a file of guestagent's
    if found is None:
        return ()
    from guestagent.plan.kinds.remove import RemoveFile

    mode, content = S_IMODE(found.stat.st_mode), found.content or b""
    undoes = applied.SSHD_CLOSED
    return (RemoveFile("remove", defs.SSHD_CLOSED, content, mode, _OPENED, undoes),)


class SetSshd(NamedTuple):
    """The drop-in is written as ``file`` says, once a key is in place where it needs one."""

    kind: Literal["set_sshd"]
    file: WriteFile
    switches_off: bool
    key_files: tuple[str, ...]
    asked: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, ...], ...] = ()

    @property
    def path(self) -> str:
        """Return the path of the drop-in."""
        return self.file.path

    @property
    def why(self) -> Origin:
        """Return the origin of most of what it says."""
        return self.file.why

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys by which a change that fails is forgotten."""
        return self.file.keys

    def tell(self) -> str:
        """Say in one line what the change does."""
        return self.file.tell()

    def show(self) -> list[str]:
        """Return the lines of the change as a diff."""
        return self.file.show()

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change."""
        return self.file.json()
