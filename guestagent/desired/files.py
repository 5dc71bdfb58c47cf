"""``write_files``: whole files, and text added to files."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.parse import fields
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.errors import Origin
    from guestagent.model import Facts, InstanceData, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.script import Frequency
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_MODE = 0o644
_MODE_TEXT = 'must be octal digits from 0000 to 0777, in quotes, such as "0644"'
_BITS_TEXT = "setuid, setgid and sticky bits are refused: use runcmd with chmod"
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_TOO_LARGE = f"is larger than {defs.FILE_LIMIT >> 20} MiB"
_REPLACED = "is of no effect: another item writes the same file after it"
_CLOUD_INIT_ONLY = "is read by cloud-init only"
_SCRIPTS: dict[str, tuple[int, Frequency]] = {
    f"{defs.CLOUD_SCRIPTS_DIR}/per-once": (41, "once"),
    f"{defs.CLOUD_SCRIPTS_DIR}/per-boot": (42, "boot"),
    f"{defs.CLOUD_SCRIPTS_DIR}/per-instance": (43, "instance"),
}


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """Each path once: a later item replaces an earlier one, or is added to its content.

    What is deferred is written late, after all others, to files of a run of its own; so is what
    lies in the operating system itself, to which the early stage may not write.
    """
    setting = data.setting("write_files")
    if setting is None:
        return [], []
    writer = _Writer(setting, facts.live)
    for index, item in enumerate(setting.value):
        try:
            writer.take(index, item)
        except _BadField as bad:
            place = setting.at(index, bad.field) if bad.field in item else setting.at(index)
            writer.problems.append(Problem("error", *place, bad.reason))
    found = list(writer.found.values())
    for file in found:
        if file.path.startswith(f"{defs.CLOUD_CONFIG_DIR}/"):
            writer.problems.append(Problem("warning", *file.why, _CLOUD_INIT_ONLY))
    return [*found, *_scripts(found)], writer.problems


def _scripts(files: list[File]) -> list[Script]:
    """Steps for the files in folders whose scripts cloud-init runs, executable or not."""
    contents: dict[str, tuple[bytes, Origin]] = {}
    for file in files:
        if file.path.rpartition("/")[0] in _SCRIPTS:
            before, why = contents.get(file.path, (b"", file.why))
            contents[file.path] = before + file.content, why
    scripts: dict[str, Script] = {}
    for path, (content, why) in contents.items():
        folder, _, name = path.rpartition("/")
        plain = "".join(char if char in _NAME_LETTERS else "-" for char in name)[:64]
        order, often = _SCRIPTS[folder]
        script = Script("script", "late", order, often, plain, content, why, True)
        while script.file_name in scripts:  # of a name that differs in other letters
            script = script._replace(name=f"{script.name}_")
        scripts[script.file_name] = script
    return list(scripts.values())


class _BadField(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


class _Writer:
    def __init__(self, setting: Setting, confined: bool) -> None:
        self.setting, self.confined = setting, confined
        self.found: dict[tuple[str, bool], File] = {}
        self.problems: list[Problem] = []
        self.room = defs.UNPACKED_LIMIT

    def take(self, index: int, item: dict[str, Any]) -> None:
        """Add one item to what is found.  Raises _BadField."""
        path = _field("path", fields.guest_path, item["path"])
        mode = _field("permissions", _mode, item["permissions"]) if "permissions" in item else _MODE
        owner = _field("owner", _owner, item.get("owner", ""))
        content = _field("content", _content, item)
        self.room -= len(content)
        if self.room < 0:
            limit = defs.UNPACKED_LIMIT >> 20
            raise _BadField("content", f"makes all files together larger than {limit} MiB")
        closed = path.startswith(defs.SYSTEM_TREES) and not path.startswith(defs.OWN_TREES)
        late = item.get("defer", False) or (self.confined and closed)
        why = self.setting.at(index)
        rest = (why, not mode & 0o004, owner, late)
        if item.get("append", False):
            self._append(File("append", path, content, mode, *rest), item)
            return
        new = File("file", path, content, mode, *rest)
        deferred = self.found.get((path, True))
        if not late and deferred and deferred.kind == "file":
            self._replaced(new)
            return
        for key in ((path, False), (path, True)) if late else ((path, False),):
            if key in self.found:
                self._replaced(self.found.pop(key))
        self.found[path, late] = new

    def _replaced(self, item: File) -> None:
        self.problems.append(Problem("warning", *item.why, _REPLACED))

    def _append(self, new: File, item: dict[str, Any]) -> None:
        """Add to what an earlier item writes at the same time, so that each path is written once.

        Mode and owner change only where the item gives them.
        """
        key = (new.path, new.late)
        earlier = self.found.get(key)
        if earlier is None:
            self.found[key] = new
            return
        mode = new.mode if "permissions" in item else earlier.mode
        self.found[key] = earlier._replace(
            content=earlier.content + new.content,
            mode=mode,
            secret=not mode & 0o004,
            owner=new.owner if "owner" in item else earlier.owner,
        )


def _field(name: str, check: Any, value: Any) -> Any:
    try:
        return check(value)
    except FieldError as error:
        raise _BadField(name, str(error)) from None


def _mode(text: str) -> int:
    """Permission bits from octal digits; those that let a file run as its owner are refused."""
    digits = text.strip().removeprefix("0o")
    if not 0 < len(digits) <= 5 or not frozenset("01234567").issuperset(digits):
        raise FieldError(_MODE_TEXT)
    mode = int(digits, 8)
    if mode > 0o777:
        raise FieldError(_BITS_TEXT if mode <= 0o7777 else _MODE_TEXT)
    return mode


def _owner(text: str) -> str:
    """``user``, ``user:group`` or ``:group``, empty for root's own."""
    user, _, group = text.strip().partition(":")
    for name in (user, group):
        sound = _NAME_LETTERS.issuperset(name) and name[:1] not in ("-", ".") and len(name) < 33
        if not sound or name.isdigit():
            raise FieldError("must be user:group, both by their names")
    user, group = (name if name != "root" else "" for name in (user, group))
    return f"{user or 'root'}:{group}" if group else user


def _content(item: dict[str, Any]) -> bytes:
    """The content, unpacked as its encoding says, at most as long as an injected file."""
    content, encoding = item.get("content", ""), item.get("encoding", "text/plain")
    if encoding in ("base64", "gzip+base64"):
        text = content if isinstance(content, str) else content.decode("ascii", "replace")
        content = fields.base64(text)
    elif isinstance(content, str):
        content = content.encode()
    if encoding in ("gzip", "gzip+base64"):
        if not content.startswith(b"\x1f\x8b"):
            raise FieldError("is not gzip data")
        content = fields.gunzipped(content, defs.FILE_LIMIT)
    if len(content) > defs.FILE_LIMIT:
        raise FieldError(_TOO_LARGE)
    return bytes(content)
