"""A network change that takes itself back unless somebody confirms it in time.

Before anything changes, the files as they are stand in the state directory, and systemd is told
to start ``guestagent rollback`` later, whatever becomes of this process.  A guest that is
started anew meanwhile gets them back at boot.
"""

from __future__ import annotations

from guestagent import commit as apply
from guestagent import defs, log
from guestagent.errors import FieldError, GuestagentError, Origin, Refused
from guestagent.live.network import network_changes, pack, reload, unpack
from guestagent.memory import applied, state
from guestagent.plan.changes import RemoveFile, WriteFile
from guestagent.system import ownfiles
from guestagent.system.jsontext import loads
from guestagent.system.root import Root
from guestagent.system.tools import program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.plan.changes import Change, Plan

_WHY = Origin("guestagent", defs.ROLLBACK_FILE, "")
_UNIT = "guestagent-rollback"


def prepare(root: Root, plan: Plan, record: dict[str, str], seconds: int) -> None:
    """Keep what a plan's network changes replace, and have it put back after a time.

    ``record`` is the state's from before the plan.  Without network changes nothing is done.
    Raises GuestagentError where the way back cannot be secured, and OSError.
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
        log.notice("the network does not change: there is nothing to confirm")
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


def timed(root: Root) -> bool:
    """True while a change waits whose timer runs: it was made since the system started."""
    return bool(_read(root)["boot"] == _boot_id(root))


def restore(root: Root, running: bool) -> list[str]:
    """Put the kept files back; on a ``running`` guest the network follows.  Returns failures.

    Later runs leave the network so, until somebody asks for the same change again, the source
    asks for another, or the instance is a new one.  Raises GuestagentError, OSError.
    """
    found = _read(root)
    changes: list[Change] = []
    failures = []
    for item in found["files"]:
        try:
            changes += _back(root, item)
        except (Refused, OSError) as error:
            failures.append(f"{item['path']}: {error}")
    failures += [problem.text() for _, problem in apply.commit(tuple(changes), root)]
    before = state.load(root)
    if before != state.State():
        record = dict(before.record)
        for item in found["files"]:
            key = applied.file(item["path"])
            record.pop(key, None)
            if item["recorded"]:
                record[key] = item["recorded"]
        after = before._replace(record=record, rejected=found["rejected"], fingerprint="")
        state.save(root, after)
    if running:
        failures += reload(changes)
    ownfiles.remove(root, defs.ROLLBACK_FILE)
    return failures


def _read(root: Root) -> dict[str, Any]:
    """What ``prepare`` kept; nothing where that was damaged, which must not stop every run."""
    try:
        found = loads(root.read(defs.ROLLBACK_FILE) or b"")
    except FieldError:
        found = None
    if isinstance(found, dict):
        return found
    log.error(f"{defs.ROLLBACK_FILE} cannot be understood; nothing is put back")
    return {"boot": "", "files": [], "rejected": ""}


def _back(root: Root, item: dict[str, Any]) -> list[Change]:
    """The change that makes a file what it was; none if it is that."""
    path, mode = item["path"], item["mode"]
    old = unpack(item["old"])
    now = root.read(path, follow=False)
    if now == old:
        return []
    if old is None:
        return [RemoveFile("remove", path, now or b"", mode or 0, _WHY)]
    return [WriteFile("write", path, now, old, None, mode, "", _WHY, False)]


def _boot_id(root: Root) -> str:
    return root.text(defs.BOOT_ID).strip()


def _start_timer(seconds: int) -> None:
    """systemd-run(1); a run that finds another one going on is started again.

    Raises GuestagentError, OSError.
    """
    tool = program("systemd-run")
    if tool is None:
        raise GuestagentError("systemd-run is not installed: nothing could take the change back")
    options = (
        *("--quiet", "--collect", f"--unit={_UNIT}", f"--on-active={seconds}"),
        *("--timer-property=AccuracySec=1s", "--property=RestartSec=1s"),
        f"--property=RestartForceExitStatus={defs.EXIT_TRY_AGAIN}",
    )
    result = run([tool, *options, defs.PROGRAM, "rollback"])
    if result.status:
        raise GuestagentError(f"systemd-run: {result.reason()}")


def stop_timer() -> None:
    """Stop the timer that would take the change back."""
    tool = program("systemctl")
    if tool is not None:
        run([tool, "stop", f"{_UNIT}.timer"])
