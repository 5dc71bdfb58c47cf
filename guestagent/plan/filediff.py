"""The difference of files: contents, appended bytes, blocks, links, scripts of later units."""

from __future__ import annotations

from stat import S_IMODE, S_ISDIR, S_ISREG

from guestagent import defs
from guestagent.errors import Origin, Refused
from guestagent.memory import note
from guestagent.plan.changes import MakeLink, RemoveFile, WriteFile
from guestagent.plan.kinds.block import body, merged, owned
from guestagent.plan.kinds.script import frequency
from guestagent.system.digest import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from guestagent.errors import Problem
    from guestagent.model import Facts
    from guestagent.plan.changes import Change
    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.block import Block
    from guestagent.plan.kinds.file import File
    from guestagent.plan.kinds.link import Link
    from guestagent.plan.kinds.script import Script
    from guestagent.system.root import Root


class FileDifference:
    """Collects changes of files, what is kept, and what is recorded."""

    def __init__(self, root: Root, facts: Facts, recorded: Mapping[str, str], first: bool) -> None:
        self.root, self.facts, self.recorded, self.first = root, facts, recorded, first
        self.changes: list[Change] = []
        self.kept: list[str] = []
        self.problems: list[Problem] = []
        self.record: dict[str, str] = {}

    def _state(self, path: str, owner: str = "") -> tuple[bytes | None, int | None, bool]:
        """Content and mode of what will stand at a path, and if it belongs to the right user."""
        for change in self.changes:
            if change.kind == "write" and change.path == path:
                return change.new, change.mode, True
        found = self.root.stat(path)
        if found is None:
            return None, None, True
        if not S_ISREG(found.st_mode):
            return None, None, False
        with self.root.place(path) as place:
            above = place.owner
        name = owner.partition(":")[0]
        if above is not None:
            mine = found.st_uid == above
        elif name:
            account = self.facts.account(name)
            mine = account is not None and found.st_uid == account.uid
        else:
            mine = found.st_uid in self.root.trusted
        return self.root.read(path, follow=False), S_IMODE(found.st_mode), mine

    def _write(self, change: WriteFile) -> None:
        """Add a change; what changes the same file before becomes part of it."""
        for number, earlier in enumerate(self.changes):
            if earlier.kind == "write" and earlier.path == change.path:
                change = change._replace(old=earlier.old, old_mode=earlier.old_mode)
                for name in ("user", "hidden", "owner", "append"):
                    if not getattr(change, name):
                        change = change._replace(**{name: getattr(earlier, name)})
                del self.changes[number]
                break
        self.changes.append(change)

    def _file(self, file: File) -> None:
        key = file.key
        old, mode, mine = self._state(file.path, file.owner)
        want = digest(b"%o\n" % file.mode + file.content)
        have = digest(b"%o\n" % (mode or 0) + (old or b""))
        if self.recorded.get(f"replaced:{file.path}"):
            self.record[f"replaced:{file.path}"] = "yes"
        if have == want and old is not None and mine:
            self.record[key] = want
        elif self._changed_since(key, have):
            self._keep(key, file.path)
        else:
            self.record[key] = want
            if old is not None and key not in self.recorded:
                self.record[f"replaced:{file.path}"] = "yes"  # it is not ours to remove
            new = (file.path, old, file.content, mode, file.mode, "", file.why, file.secret)
            self._write(WriteFile("write", *new, file.owner))

    def _append(self, part: File) -> None:
        if self._done(part.key):
            return
        old, mode, _ = self._state(part.path, part.owner)
        appended = note.read(self.root).appended
        if old is not None and appended.get(part.path) == digest(old):
            return  # a run was killed between this and its own record
        modes = (mode, part.mode if mode is None else mode)
        new = (part.path, old, (old or b"") + part.content, *modes, "", part.why, part.secret)
        self._write(WriteFile("write", *new, part.owner if mode is None else "", True))

    def _late(self, file: File) -> None:
        if self._done(file.key):
            return
        old, mode, _ = self._state(file.path, file.owner)
        new = (file.path, old, file.content, mode, file.mode, "", file.why, file.secret)
        change = WriteFile("write_later", *new, file.owner, file.kind == "append")
        self.changes.append(change)

    def _done(self, key: str) -> bool:
        """True for what was done in this instance; it is recorded as done either way."""
        self.record[key] = "done"
        return key in self.recorded and not self.first

    def _changed_since(self, key: str, have: str) -> bool:
        return not self.first and self.recorded.get(key, have) != have

    def _keep(self, key: str, what: str) -> None:
        self.record[key] = self.recorded[key]
        self.kept.append(what)

    def _block(self, block: Block) -> None:
        key = block.key
        old, mode, _ = self._state(block.path)
        have, want = digest(owned(old or b"", block.style)), digest(body(block.lines, block.style))
        if have == want:
            self.record[key] = want
        elif self._changed_since(key, have):
            self._keep(key, block.path)
        else:
            self.record[key] = want
            new = merged(old or b"", body(block.lines, block.style), block.style)
            modes = (mode, block.mode if mode is None else mode)
            self._write(
                WriteFile("write", block.path, old, new, *modes, block.user, block.why, False)
            )

    def _link(self, link: Link) -> None:
        key = link.key
        old = self.root.readlink(link.path) or ""
        found = self.root.stat(link.target)
        if found is None or S_ISDIR(found.st_mode):
            raise Refused(f"{link.target} is not there")
        if old.lstrip("./") == link.target.lstrip("/"):
            self.record[key] = link.target
        elif not self.first and self.recorded.get(key, old) != old:
            self._keep(key, link.path)
        else:
            self.record[key] = link.target
            self.changes.append(MakeLink("link", link.path, old, link.target, link.why))

    def _script(self, script: Script) -> None:
        key, often = script.key, script.frequency
        want, known = digest(script.content), key in self.recorded
        if known and (often == "once" or (often == "instance" and not self.first)):
            self.record[key] = self.recorded[key]
            return
        self.record[key] = want
        old, mode, mine = self._state(script.path)
        if old == script.content and mode == defs.STEP_MODE and mine:
            return
        if not self.first and self.recorded.get(key) == want:
            self.kept.append(f"step {script.file_name}")
            return
        new = (script.path, old, script.content, mode, defs.STEP_MODE, "", script.why)
        self.changes.append(WriteFile("step", *new, script.secret))

    def _step_gone(self, name: str, why: Origin) -> bool:
        """Remove a script that still waits, or runs at each boot; False for one that has run."""
        path = f"{defs.STATE_DIR}/{name}"
        old, mode, _ = self._state(path)
        waits = old is not None and mode is not None
        if old is not None and mode is not None and not self.first:  # else see _leftovers
            self.changes.append(RemoveFile("remove", path, old, mode, why))
        return (waits and frequency(name) != "once") or frequency(name) == "boot"

    def _leftovers(self, resources: list[Resource]) -> None:
        """Scripts that another instance left on this disk before they ran."""
        wanted = {item.path for item in resources if item.kind == "script"}
        for stage in ("early", "late"):
            folder = f"{defs.STATE_DIR}/{stage}"
            for path in (f"{folder}/{name}" for name in self.root.listdir(folder)):
                old, mode, _ = self._state(path)
                if path not in wanted and old is not None and mode is not None:
                    why = Origin("guestagent", defs.STATE_FILE, "instance_id")
                    self.changes.append(RemoveFile("remove", path, old, mode, why))

    def _file_gone(self, key: str, kind: str, path: str, why: Origin) -> None:
        try:
            old, mode, _ = self._state(path)
        except (Refused, OSError):
            return
        if old is None or mode is None or self.recorded.get(f"replaced:{path}"):
            return
        style = "line" if path == defs.HOSTS_FILE else "block"
        have = owned(old, style) if kind == "block" else b"%o\n" % mode + old
        if digest(have) != self.recorded[key]:
            self.kept.append(path)
        elif kind != "block":
            self.changes.append(RemoveFile("remove", path, old, mode, why))
        else:
            new = merged(old, b"", style)
            self._write(WriteFile("write", path, old, new, mode, mode, "", why, False))
