"""Have the network of a running guest take over what changed of its files, and nothing else.

At boot the network stack starts later and reads its files by itself: there is little to do.
"""

from __future__ import annotations

import os
from binascii import a2b_base64, b2a_base64

from guestagent import defs
from guestagent.errors import FieldError, Refused, TryAgain
from guestagent.log import printable
from guestagent.stacks.rendered import FileChange
from guestagent.system import ownfiles
from guestagent.system.jsontext import has_form, loads_own
from guestagent.system.lock import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.file import WriteFile
    from guestagent.plan.kinds.remove import RemoveFile
    from guestagent.system.root import Root

    Reload = Callable[[Sequence[FileChange]], list[str]]


_NOT_TOLD = (
    "the running network was not told what changed of {}, and keeps its old settings until the "
    "next boot; restart the guest, or the service of its network"
)


def network_changes(changes: Sequence[Change]) -> list[WriteFile | RemoveFile]:
    """Return those of the changes that are files of a network stack, or resolv.conf."""
    files = [change for change in changes if change.kind in ("write", "remove")]
    return [change for change in files if change.path.startswith(defs.NETWORK_FILES)]


def at_boot(changes: Sequence[Change]) -> list[str]:
    """Do what is needed where the network stack has not started yet; return what failed.

    At boot a generator makes the files of netplan's renderer from netplan's files.  It ran before
    guestagent, so it runs again.
    """
    start = defs.NETWORK_STACK_FILES["netplan"]
    if not any(change.path.startswith(start) for change in network_changes(changes)):
        return []
    from guestagent.stacks.netplan.reload import generate

    return generate()


def reload(changes: Sequence[Change]) -> list[str]:
    """Have the network stack of a running guest carry out the changes; return what failed."""
    return _reload([_as_text(change) for change in network_changes(changes)])


def _as_text(change: WriteFile | RemoveFile) -> FileChange:
    new = change.new if change.kind == "write" else None
    return FileChange(change.path, _decode(change.old), _decode(new))


def _decode(content: bytes | None) -> str | None:
    """Return a file as text; what no argument of a program can hold, a NUL, is replaced too."""
    return None if content is None else content.decode("utf-8", "replace").replace("\0", "\ufffd")


def _reload(changes: Sequence[FileChange]) -> list[str]:
    failures = []
    for stack, prefix in defs.NETWORK_STACK_FILES.items():
        prefixes = (prefix, defs.NETWORKD_LAST_FILES) if stack == "networkd" else prefix
        of_stack = [change for change in changes if change.path.startswith(prefixes)]
        if of_stack:
            failures += _reloader(stack)(of_stack)
    return failures


def _reloader(stack: str) -> Reload:
    """Return the function that has a network stack carry out changes of its files."""
    match stack:
        case "networkd":
            from guestagent.stacks.networkd import reload as networkd

            return networkd.reload
        case "networkmanager":
            from guestagent.stacks.networkmanager import reload as networkmanager

            return networkmanager.reload
        case "netplan":
            from guestagent.stacks.netplan import reload as netplan

            return netplan.reload
        case "ifupdown":
            from guestagent.stacks.ifupdown import reload as ifupdown

            return ifupdown.reload
    raise AssertionError(stack)


def postpone(root: Root, changes: Sequence[Change]) -> None:
    """Leave the changes to ``reload_postponed``.  Raises OSError, Refused."""
    old = {item.path: item.old for item in network_changes(changes)}
    try:
        # What an earlier run has left there is what the network's services still have.
        old |= _read_postponed(root.read(defs.RELOAD_FILE) or b"[]")
    except ValueError:
        pass  # a damaged file says nothing
    kept = [{"path": path, "old": pack(content)} for path, content in old.items()]
    ownfiles.write(root, defs.RELOAD_FILE, kept, 0o600)


def reload_postponed(root: Root) -> list[str]:
    """Carry out what was postponed, and what a run adds meanwhile; return what failed.

    Until that is done, the file that says what is to be done stays: where this process is killed,
    the next start of its unit does it.  Raises GuestagentError, OSError.
    """
    failures: list[str] = []
    reloaded: dict[str, bytes | None] = {}
    seen: os.stat_result | None = None
    held = [lock(root, defs.RELOAD_LOCK_FILE)]
    try:
        while True:
            # A run holds this lock from before it leaves RELOAD_FILE until it has changed all files
            # of the network.
            held.append(lock(root, wait=defs.LOCK_WAIT_LATE))
            found = root.stat(defs.RELOAD_FILE)
            if found is None or (seen and _is_same_file(found, seen)):
                ownfiles.remove(root, defs.RELOAD_FILE)
                return failures
            seen = found
            changes = _list_postponed(root, reloaded, failures)
            os.close(held.pop())
            failures += _reload(changes)
    finally:
        # The lock of runs is closed last: a run that finds RELOAD_LOCK_FILE locked leaves all to
        # this process.
        for fd in held:
            os.close(fd)


def is_reloading(root: Root) -> bool:
    """Tell whether ``reload_postponed`` is at work.

    If so, and the caller holds the lock of runs, it will carry out what the caller's run leaves,
    too.  Raises OSError.
    """
    try:
        os.close(lock(root, defs.RELOAD_LOCK_FILE, wait=0))
    except TryAgain:
        return True
    return False


def _is_same_file(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_mtime_ns) == (other.st_ino, other.st_mtime_ns)


def _list_postponed(
    root: Root, reloaded: dict[str, bytes | None], failures: list[str]
) -> list[FileChange]:
    """Return what is postponed now; add to the failures what cannot be read.

    ``reloaded`` has the contents of files that the network's services were told of before; those
    that are read now are added.  Raises OSError.
    """
    try:
        kept = _read_postponed(root.read(defs.RELOAD_FILE) or b"")
    except ValueError:
        failures.append(f"{defs.RELOAD_FILE} is damaged: {_NOT_TOLD.format('its files')}")
        return []
    changes = []
    for path, before in kept.items():
        try:
            new = root.read(path, follow=False)
        except Refused as error:
            failures.append(f"{printable(path)}: {error}; {_NOT_TOLD.format('it')}")
            continue
        old = reloaded.get(path, before)
        reloaded[path] = new
        if new != old:  # else it came and went, or the run was killed before it changed this
            changes.append(FileChange(path, _decode(old), _decode(new)))
    return changes


def _read_postponed(content: bytes) -> dict[str, bytes | None]:
    """Return the old contents of files, by their paths.  Raises ValueError for other JSON."""
    kept = loads_own(content)
    form = {"path": str, "old": (str, type(None))}
    if not isinstance(kept, list) or not all(has_form(item, form) for item in kept):
        raise FieldError("not what postpone() left")
    return {item["path"]: unpack(item["old"]) for item in kept}


def pack(content: bytes | None) -> str | None:
    """Return the content of a file as JSON can hold it; None for no file."""
    return None if content is None else b2a_base64(content, newline=False).decode()


def unpack(text: str | None) -> bytes | None:
    """Return the content of a file from what ``pack`` returned."""
    return None if text is None else a2b_base64(text)
