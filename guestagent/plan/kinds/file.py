"""Files: a whole content, or bytes at the end of one; at once, or in the late stage."""

from __future__ import annotations

from guestagent.errors import Origin, Refused
from guestagent.memory import applied
from guestagent.plan.view import Outcome
from guestagent.record import NamedTuple
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.plan.kinds.script import StageScript
    from guestagent.plan.view import FileState, View


class File(NamedTuple):
    """A whole file, or bytes to "append", once per instance, to the end of one.

    ``secret`` hides the content in plans; mode is the permission bits.  ``owner`` is "user",
    "user:group" or ":group" by name; empty for root, or for the user who owns the directory.
    ``late``: written once per instance, when packages are installed.
    """

    kind: Literal["file", "append"]
    path: str
    content: bytes
    mode: int
    why: Origin
    secret: bool = False
    owner: str = ""
    late: bool = False

    @property
    def key(self) -> str:
        """Return the key under which the state remembers this."""
        if self.kind == "append":
            return applied.appended(self.path, self.content)
        return applied.late(self.path) if self.late else applied.file(self.path)

    def compare(self, view: View) -> Outcome:
        """Compare with the tree.  Raises Refused, OSError."""
        if self.late:
            return self._compare_late(view)
        if self.kind == "append":
            return self._compare_end(view)
        return self._compare_whole(view)

    def _compare_whole(self, view: View) -> Outcome:
        found = view.file(self.path, self.owner)
        have = _digest(found.mode or 0, found.content or b"")
        want = _digest(self.mode, self.content)
        record = {}
        if self._is_others(view, found):
            record[applied.replaced(self.path)] = "yes"
        if have == want and found.content is not None and found.in_order:
            return Outcome(record={**record, self.key: want})
        if view.is_edited(self.key, have):
            kept = view.keep(self.key, self.path)
            return kept._replace(record={**record, **kept.record})
        change = self.write(found, self.content)
        if view.recorded.get(self.key) != have:
            change = _masked(change, found)
        return Outcome((change,), record={**record, self.key: want})

    def _is_others(self, view: View, found: FileState) -> bool:
        """Tell whether the file was there before guestagent wrote it, so that it must not go.

        It came with the image, or an administrator made it.
        """
        if applied.replaced(self.path) in view.recorded:
            return True
        made_here = self.key in view.recorded or self.path in view.facts.made
        return found.content is not None and not made_here

    def _compare_end(self, view: View) -> Outcome:
        if view.is_done(self.key):
            return view.once(self.key)
        path = view.follow(self.path)
        found = view.file(path, self.owner)
        if found.content is not None:
            expected = view.facts.appended.get(path)
            if expected == digest(found.content):  # a run was killed before it remembered this
                return view.once(self.key)
        change = self.write(found, (found.content or b"") + self.content)
        change = _masked(change._replace(path=path, append=True), found)
        if found.mode is not None:  # mode and owner of a file that exists stay as they are
            change = change._replace(mode=found.mode, owner="", edits=True)
        return view.once(self.key, change)

    def _compare_late(self, view: View) -> Outcome:
        if view.is_done(self.key):
            return view.once(self.key)
        change = self.write(view.file(self.path, self.owner), self.content)
        append = self.kind == "append"
        return view.once(self.key, change._replace(kind="write_later", append=append))

    def write(self, found: FileState, content: bytes) -> WriteFile:
        """Return the change that gives the file found a content."""
        return WriteFile(
            "write",
            self.path,
            found.content,
            content,
            old_mode=found.mode,
            mode=self.mode,
            user="",
            why=self.why,
            hidden=self.secret,
            owner=self.owner,
            keys=(self.key,),
        )


class WriteFile(NamedTuple):
    """A file gets a content and a mode, now or ("write_later") in the late stage.

    ``user`` owns it where a user owns its directory.  ``owner`` is "user:group" by name, either may
    be missing; empty for root.  ``append``: new bytes follow the old content; ``new`` is the
    content with them, but of a "write_later" the new bytes alone.  ``edits``: a file that is there
    keeps its owner, its group, its ACL and its extended attributes.  ``keys_of``: sshd must read
    the file for this account, which is to be checked; empty for other files.
    """

    kind: Literal["write", "write_later"]
    path: str
    old: bytes | None
    new: bytes
    old_mode: int | None
    mode: int
    user: str
    why: Origin
    hidden: bool
    owner: str = ""
    append: bool = False
    edits: bool = False
    keys_of: str = ""
    keys: tuple[str, ...] = ()
    undoes: str = ""

    def after(self, earlier: WriteFile) -> WriteFile:
        """Return this change with an earlier one of the same file as a part of it."""
        return self._replace(
            old=earlier.old,
            old_mode=earlier.old_mode,
            user=self.user or earlier.user,
            hidden=self.hidden or earlier.hidden,
            owner=self.owner or earlier.owner,
            append=self.append or earlier.append,
            edits=self.edits and earlier.edits,
            keys=(*earlier.keys, *self.keys),
            undoes=self.undoes or earlier.undoes,
        )

    def tell(self) -> str:
        """Say in one line what the change does."""
        owner = f", owner {self.owner}" if self.owner else ""
        what = f"{self.path} (mode {self.mode:04o}{owner})"
        if self.kind == "write_later":
            return f"late: {'append to' if self.append else 'write'} {what}"
        return f"{'write' if self.old is None else 'change'} {what}"

    @property
    def shown_in_part(self) -> bool:
        """Tell whether only what changes is shown: not all may read what others have in there."""
        return self.edits and self.old is not None and not (self.old_mode or 0) & 0o004

    def show(self) -> list[str]:
        """Return the lines of the change as a diff."""
        from difflib import unified_diff

        head = [f"--- {'/dev/null' if self.old is None else self.path}", f"+++ {self.path}"]
        if self.old_mode not in (None, self.mode):
            head.append(f"mode {self.old_mode:04o} -> {self.mode:04o}")
        if self.hidden:
            return [*head, f"(content not shown, {len(self.new)} bytes)"]
        old, new = self.old or b"", self.new
        if self.kind == "write_later" and self.append:
            new = old + new
        try:
            before, after = old.decode().splitlines(), new.decode().splitlines()
        except UnicodeDecodeError:
            return [*head, f"(binary, {len(self.new)} bytes)"]
        around = 0 if self.shown_in_part else 3
        return [*head, *list(unified_diff(before, after, lineterm="", n=around))[2:]]

    def json(self) -> dict[str, Any]:
        """Return what programs are told of the change.

        Where only what changes is shown, there is a diff in place of the content.
        """
        user = self.user or self.owner.partition(":")[0] or "root"
        if self.hidden or not self.shown_in_part:
            return json_of_file(self, user=user)
        return {**json_of_file(self._replace(hidden=True), user=user), "diff": self.show()}


def _masked(change: WriteFile, found: FileState) -> WriteFile:
    """Return a change that hides what not everyone may read of a file, and others wrote."""
    if found.mode is None or found.mode & 0o004:
        return change
    return change._replace(hidden=True)


def json_of_file(change: WriteFile | StageScript, user: str) -> dict[str, Any]:
    """Return what programs are told of a file; of a content that is hidden, only the size.

    A digest would tell whether a guess at a short secret is right.
    """
    shown: dict[str, Any] = {"sha256": None, "content": None}
    if not change.hidden:
        from hashlib import sha256

        content = change.new.decode("utf-8", "replace")
        shown = {"sha256": sha256(change.new).hexdigest(), "content": content}
    return {
        "path": change.path,
        "mode": f"{change.mode:04o}",
        "user": user,
        "new": change.old is None,
        "size": len(change.new),
        **shown,
    }


def undo(key: str, view: View) -> Outcome:
    """Remove a file that guestagent made, if it is as it was written."""
    beginning, path = applied.split(key)
    if beginning in ("append", "late"):
        return view.remember(key)
    found = None if beginning == "replaced" else _own_file(key, view)
    if found is None or found.content is None or found.mode is None:
        return Outcome()
    if _digest(found.mode, found.content) != view.recorded[key]:
        return Outcome(kept=(path,))
    from guestagent.plan.kinds.remove import RemoveFile

    why = applied.origin(key)
    return Outcome((RemoveFile("remove", path, found.content, found.mode, why, key),))


def empty(key: str, view: View) -> Outcome:
    """Take the content out of a file that guestagent made, if it is as it was written.

    The source asks for lines in it now, and for nothing else.
    """
    found = _own_file(key, view)
    if found is None or found.content is None or found.mode is None:
        return Outcome()
    if _digest(found.mode, found.content) != view.recorded[key]:
        return Outcome()
    change = WriteFile(
        "write",
        applied.place(key),
        found.content,
        b"",
        old_mode=found.mode,
        mode=found.mode,
        user="",
        why=applied.origin(key),
        hidden=False,
    )
    return Outcome((change,))


def _own_file(key: str, view: View) -> FileState | None:
    """Return the file of a key; None where it was there before, or cannot be reached any more."""
    path = applied.place(key)
    if applied.replaced(path) in view.recorded:
        return None
    try:
        return view.file(path)
    except (Refused, OSError):
        return None


def _digest(mode: int, content: bytes) -> str:
    return digest(b"%o\n" % mode + content)
