"""Take a change of the network back unless it is confirmed in time.

Before anything changes, the old files are kept in the state directory, and systemd is told to
start ``guestagent rollback`` later, whatever becomes of this process.  A guest that restarts
meanwhile gets the old files back at boot.
"""

from __future__ import annotations

from guestagent import defs, log
from guestagent.commit import commit
from guestagent.errors import FieldError, GuestagentError, Origin, Refused
from guestagent.live.network import network_changes, pack, reload, unpack
from guestagent.memory import applied, state
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.kinds.remove import RemoveFile
from guestagent.system import ownfiles
from guestagent.system.jsontext import has_form, loads_own
from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.plan.difference import Plan
    from guestagent.plan.kinds import Change
    from guestagent.system.root import Root

_WHY = Origin("guestagent", defs.ROLLBACK_FILE, "")
_UNIT = "guestagent-rollback"
_ALL_BITS = 0o7777  # of a mode
_FORM = {"boot": str, "files": list, "rejected": str}
_OPTIONAL = (str, type(None))
_FILE_FORM = {
    "path": str,
    "old": _OPTIONAL,
    "mode": (int, type(None)),
    "recorded": _OPTIONAL,
}


def prepare(root: Root, plan: Plan, record: dict[str, str], seconds: int) -> None:
    """Keep what a plan's network changes replace, and have it put back after ``seconds``.

    ``record`` is the state's from before the plan.  A plan without network changes needs nothing.
    Raises GuestagentError where the change could not be taken back, and OSError.
    """
    kept = [
        {
            "path": change.path,
            "old": pack(change.old),
            "mode": change.old_mode,
            "recorded": record.get(applied.file(change.path)),
        }
        for change in network_changes(plan.changes)
    ]
    if not kept:
        log.notice("the network does not change: no confirmation is needed")
        return
    rejected = applied.network_digest(plan.record)
    found = {"boot": _boot_id(root), "files": kept, "rejected": rejected}
    ownfiles.write(root, defs.ROLLBACK_FILE, found, 0o600)
    try:
        _start_timer(seconds)
    except (GuestagentError, OSError):
        ownfiles.remove(root, defs.ROLLBACK_FILE)
        raise
    log.notice(f"the network changes back in {seconds} s unless you run: guestagent confirm")


def timer_runs(root: Root) -> bool:
    """Tell whether the timer of the waiting change runs: it was started in this boot."""
    return bool(_read(root)["boot"] == _boot_id(root))


def restore(root: Root, *, running: bool) -> list[str]:
    """Put the old files back; return what failed.

    On a ``running`` guest the network takes them over.  Later runs do not make the rejected change
    again, unless ``guestagent apply --confirm`` asks for it, the source describes another network,
    or the instance is a new one.  Raises GuestagentError, OSError.
    """
    kept = _read(root)
    changes: list[Change] = []
    failures = []
    for item in kept["files"]:
        try:
            changes += _changes_back(root, item)
        except (Refused, OSError) as error:
            failures.append(f"{item['path']}: {error}")
    failures += [problem.text() for _, problem in commit(tuple(changes), root)]
    _restore_state(root, kept)
    if running:
        failures += reload(changes)
    ownfiles.remove(root, defs.ROLLBACK_FILE)
    return failures


def _read(root: Root) -> dict[str, Any]:
    """Return what ``prepare`` kept.

    Nothing is kept in a damaged file, which must not stop every later run.
    """
    try:
        kept = loads_own(root.read(defs.ROLLBACK_FILE) or b"")
    except FieldError:
        kept = None
    if _is_sound(kept):
        return dict(kept)
    log.error(f"{defs.ROLLBACK_FILE} is damaged; the network stays as it is")
    return {"boot": "", "files": [], "rejected": ""}


def _is_sound(kept: Any) -> bool:
    """Tell whether a record has all that ``prepare`` puts into one."""
    if not has_form(kept, _FORM):
        return False
    try:
        return all(_is_sound_file(item) for item in kept["files"])
    except ValueError:  # of ``unpack``
        return False


def _is_sound_file(item: Any) -> bool:
    """Tell whether a kept file has all that it needs to be put back.  Raises ValueError."""
    if not has_form(item, _FILE_FORM):
        return False
    content, mode = unpack(item["old"]), item["mode"]
    return (content is None and mode is None) or (mode is not None and 0 <= mode <= _ALL_BITS)


def _changes_back(root: Root, item: dict[str, Any]) -> list[Change]:
    """Return the change that makes a file what it was, if it is not that already."""
    path, old, mode = item["path"], unpack(item["old"]), item["mode"]
    now = root.read(path, follow=False)
    if now == old:
        return []
    if old is None:
        return [RemoveFile("remove", path, now or b"", mode or 0, _WHY)]
    return [WriteFile("write", path, now, old, None, mode, "", _WHY, False)]


def _restore_state(root: Root, kept: dict[str, Any]) -> None:
    """Remember the old files as applied, and the change as rejected."""
    before = state.load(root)
    if before == state.State():
        return  # there was no complete run
    record = dict(before.record)
    for item in kept["files"]:
        key = applied.file(item["path"])
        record.pop(key, None)
        if item["recorded"]:
            record[key] = item["recorded"]
    after = before._replace(record=record, rejected=kept["rejected"], fingerprint="")
    state.save(root, after)


def _boot_id(root: Root) -> str:
    return root.text(defs.BOOT_ID).strip()


def _start_timer(seconds: int) -> None:
    """Have systemd-run(1) start ``guestagent rollback`` later.  Raises GuestagentError, OSError."""
    tool = find_program("systemd-run")
    if tool is None:
        raise GuestagentError("systemd-run is not installed: the change could not be taken back")
    options = (
        *("--quiet", "--collect", f"--unit={_UNIT}", f"--on-active={seconds}"),
        "--timer-property=AccuracySec=1s",
        # While another run holds the lock, the rollback is tried again.
        f"--property=RestartForceExitStatus={defs.EXIT_TRY_AGAIN}",
        "--property=RestartSec=1s",
    )
    result = run([tool, *options, defs.PROGRAM, "rollback"])
    if result.status:
        raise GuestagentError(f"systemd-run: {result.reason()}")


def stop_timer() -> None:
    """End the timer, which has nothing to take back any more."""
    tool = find_program("systemctl")
    if tool is not None:
        run([tool, "stop", f"{_UNIT}.timer"])
