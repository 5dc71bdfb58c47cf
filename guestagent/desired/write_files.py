"""``write_files``: whole files, and text added to files."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse import fields
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.errors import Origin
    from guestagent.model import Setting
    from guestagent.plan.kinds.script import Frequency
    from guestagent.plan.wanted import Ask, Wanted

    # The files found so far by path and by ``File.late``.
    Found = dict[tuple[str, bool], File]

_MODE = 0o644
_MODE_TEXT = (
    'must be octal digits from 0000 to 0777, in quotes, such as "0644"; the file gets mode 0644'
)
_BITS_TEXT = "setuid, setgid and sticky bits are not allowed, and left out: use runcmd with chmod"
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_NAME_LIMIT = 32  # of useradd(8)
_TOO_LARGE = f"is larger than {defs.FILE_LIMIT >> 20} MiB"
_TOO_LARGE_IN_ALL = f"makes the file larger than {defs.FILE_LIMIT >> 20} MiB; left out"
_TOO_LARGE_TOGETHER = f"makes all files together larger than {defs.UNPACKED_LIMIT >> 20} MiB"
_REPLACED = "has no effect: a later item writes the same file"
_CLOUD_INIT_ONLY = "is read by cloud-init only"
_GZIP_MAGIC = b"\x1f\x8b"

# The folders whose scripts cloud-init runs: order among the late scripts, and frequency.
_SCRIPT_FOLDERS: dict[str, tuple[int, Frequency]] = {
    f"{defs.CLOUD_SCRIPTS_DIR}/per-once": (41, "once"),
    f"{defs.CLOUD_SCRIPTS_DIR}/per-boot": (42, "boot"),
    f"{defs.CLOUD_SCRIPTS_DIR}/per-instance": (43, "instance"),
}
_SCRIPT_NAME_LIMIT = 64


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the key ``write_files``.

    Each path is planned once for each time of writing: a later item replaces an earlier one, or is
    appended to its content.
    """
    setting = ask.data.setting("write_files")
    if setting is None:
        return
    found: Found = {}
    room = defs.UNPACKED_LIMIT
    for index, item in enumerate(setting.value):
        if "source" in item and (ask.settings.fetch_enable or "content" not in item):
            continue  # desired.fetching plans it
        file = read_item(setting, index, wanted, live=ask.facts.live)
        if file is None:
            continue
        room -= len(file.content)
        if room < 0:
            wanted.error(_content_origin(setting, index), _TOO_LARGE_TOGETHER)
        elif file.kind == "append" and not _has_room(file, found):
            wanted.error(_content_origin(setting, index), _TOO_LARGE_IN_ALL)
        elif file.kind == "append":
            _append(file, item, found)
        else:
            _replace(file, found, wanted)
    files = list(found.values())
    for file in files:
        if file.path.startswith(f"{defs.CLOUD_CONFIG_DIR}/"):
            wanted.warn(file.why, _CLOUD_INIT_ONLY)
    wanted.want(*files, *_scripts_in(files))


def read_item(setting: Setting, index: int, wanted: Wanted, *, live: bool) -> File | None:
    """Return the file of one item; None if its path or its content cannot be used."""
    item: dict[str, Any] = setting.value[index]
    path = wanted.take(setting.at(index, "path"), fields.guest_path, item["path"])
    if path is None:
        return None
    mode = _mode(setting, index, wanted)
    owner = wanted.take(setting.at(index, "owner"), _read_owner, item.get("owner", "")) or ""
    content = wanted.take(_content_origin(setting, index), _read_content, item)
    if content is None:
        return None
    # The local unit may not write to the operating system itself; an offline tree is all ours.
    in_system = path.startswith(defs.SYSTEM_TREES) and not path.startswith(defs.OWN_TREES)
    late = item.get("defer", False) or (live and in_system)
    return File(
        "append" if item.get("append", False) else "file",
        path,
        content,
        mode,
        why=setting.at(index),
        secret=_is_secret(mode),
        owner=owner,
        late=late,
    )


def _mode(setting: Setting, index: int, wanted: Wanted) -> int:
    """Return the permission bits of an item: the usual ones where it gives none that are usable."""
    item: dict[str, Any] = setting.value[index]
    mode = _given_mode(item)
    if mode is None:
        if "permissions" in item:
            wanted.warn(setting.at(index, "permissions"), _MODE_TEXT)
        return _MODE
    if mode > 0o777:
        wanted.error(setting.at(index, "permissions"), _BITS_TEXT)
    return mode & 0o777


def _given_mode(item: dict[str, Any]) -> int | None:
    """Return what an item's octal digits say; None where it has none."""
    digits = item.get("permissions", "").strip().removeprefix("0o")
    if not 0 < len(digits) <= 5 or not frozenset("01234567").issuperset(digits):
        return None
    mode = int(digits, 8)
    return mode if mode <= 0o7777 else None


def _given_owner(item: dict[str, Any]) -> str | None:
    """Return an item's owner as ``_read_owner`` does; None where it gives none that is usable."""
    try:
        return _read_owner(item["owner"])
    except (KeyError, FieldError):
        return None


def _content_origin(setting: Setting, index: int) -> Origin:
    """Return the origin of an item's content, or of the item if it has none."""
    if "content" in setting.value[index]:
        return setting.at(index, "content")
    return setting.at(index)


def _is_secret(mode: int) -> bool:
    """Tell whether plans must hide a file: others may not read it."""
    return not mode & 0o004


def _replace(new: File, found: Found, wanted: Wanted) -> None:
    """Put a whole file in the place of what earlier items write to its path.

    A file written early has no effect where a deferred one is written to the same path after it.
    """
    deferred = found.get((new.path, True))
    if not new.late and deferred is not None and deferred.kind == "file":
        wanted.warn(new.why, _REPLACED)
        return
    replaced = [found.pop((new.path, False), None)]
    if new.late:
        replaced.append(found.pop((new.path, True), None))
    for earlier in replaced:
        if earlier is not None:
            wanted.warn(earlier.why, _REPLACED)
    found[new.path, new.late] = new


def _has_room(new: File, found: Found) -> bool:
    """Tell whether a file that gets more is not larger than any other may be."""
    earlier = found.get((new.path, new.late))
    return earlier is None or len(earlier.content) + len(new.content) <= defs.FILE_LIMIT


def _append(new: File, item: dict[str, Any], found: Found) -> None:
    """Add to what an earlier item writes at the same time, so that each path is written once.

    Mode and owner change only where the item gives them.
    """
    place = (new.path, new.late)
    earlier = found.get(place)
    if earlier is None:
        found[place] = new
        return
    mode = earlier.mode if _given_mode(item) is None else new.mode
    owner = earlier.owner if _given_owner(item) is None else new.owner
    content = earlier.content + new.content
    found[place] = earlier._replace(
        content=content, mode=mode, owner=owner, secret=_is_secret(mode)
    )


def _read_owner(text: str) -> str:
    """Return ``user``, ``user:group`` or ``:group``; empty for root's own.

    Raise FieldError for what is not a name, numbers included.
    """
    user, _, group = text.strip().partition(":")
    for name in (user, group):
        letters = _NAME_LETTERS.issuperset(name) and not name.startswith(("-", "."))
        if not letters or len(name) > _NAME_LIMIT or name.isdigit():
            raise FieldError("must be user:group, both by their names; the file belongs to root")
    if user == "root":
        user = ""
    if group in ("", "root"):
        return user
    return f"{user or 'root'}:{group}"


def _read_content(item: dict[str, Any]) -> bytes:
    """Return the content of an item, decoded as its ``encoding`` says.

    Raise FieldError for what cannot be decoded, or is longer than an injected file may be.
    """
    content: str | bytes = item.get("content", "")
    encoding = item.get("encoding", "text/plain")
    if encoding in ("base64", "gzip+base64"):
        text = content if isinstance(content, str) else content.decode("ascii", "replace")
        content = fields.base64(text)
    if isinstance(content, str):
        content = content.encode()
    if encoding in ("gzip", "gzip+base64"):
        if not content.startswith(_GZIP_MAGIC):
            raise FieldError("is not gzip data")
        content = fields.gunzipped(content, defs.FILE_LIMIT)
    if len(content) > defs.FILE_LIMIT:
        raise FieldError(_TOO_LARGE)
    return content


def _scripts_in(files: list[File]) -> list[Script]:
    """Return scripts for the files in the folders whose scripts cloud-init runs.

    cloud-init runs them executable or not.
    """
    contents: dict[str, bytes] = {}
    origins: dict[str, Origin] = {}
    for file in files:
        folder = file.path.rpartition("/")[0]
        if folder in _SCRIPT_FOLDERS:
            # A path has two entries where an item is deferred and another is not.
            contents[file.path] = contents.get(file.path, b"") + file.content
            origins.setdefault(file.path, file.why)
    scripts: dict[str, Script] = {}
    for path, content in contents.items():
        folder, _, name = path.rpartition("/")
        order, frequency = _SCRIPT_FOLDERS[folder]
        plain = "".join(char if char in _NAME_LETTERS else "-" for char in name)
        script = Script(
            "script",
            "late",
            order,
            frequency,
            name=plain[:_SCRIPT_NAME_LIMIT],
            content=content,
            why=origins[path],
            secret=True,
        )
        while script.file_name in scripts:
            # Two names can differ in letters that a plain name does not have.
            script = script._replace(name=f"{script.name}_")
        scripts[script.file_name] = script
    return list(scripts.values())
