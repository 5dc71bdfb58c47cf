"""Which scripts began and how they ended, so that none is run twice.

``/var/lib/guestagent/ledger.json`` is on the disk before a script starts and after it ended.  An
entry without an end is that of a script which was running when the system or the runner died.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import FieldError, Refused
from guestagent.record import NamedTuple
from guestagent.scripts.staged import Script
from guestagent.system.jsontext import loads_own
from guestagent.system.ownfiles import encode, open_folder, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.scripts.staged import Stage
    from guestagent.system.root import Root

_VERSION = 1
# A run of apply may write its own state to the same directory at the same time.
_TEMPORARY = f"{defs.TEMPORARY_PREFIX}ledger.tmp"


class Entry(NamedTuple):
    """One run of a script: in which instance and boot it began, and how it ended.

    ``status`` is its exit status (negative: the signal that killed it), "interrupted",
    "timeout" or "not started", and None as long as it runs.
    """

    script: Script
    instance: str
    boot: str
    status: int | str | None = None
    seconds: float = 0.0


class Ledger:
    """The entries, oldest first, as one runner sees and writes them."""

    def __init__(self, root: Root, instance: str) -> None:
        self.root, self.instance = root, instance
        self.boot = root.text(defs.BOOT_ID).strip()
        self.entries: list[Entry] = []

    def read(self) -> None:
        """Take over what earlier runners wrote.  Raises Refused, OSError, FieldError."""
        content = self.root.read(defs.LEDGER_FILE)
        if content is not None:
            self.entries = _decode(loads_own(content))

    def find(self, script: Script) -> Entry | None:
        """Return the entry because of which a script must not run, or None if it must."""
        return next((entry for entry in self.entries if self._settles(entry, script)), None)

    def _settles(self, entry: Entry, script: Script) -> bool:
        if entry.script != script:
            return False
        if script.frequency == "instance":
            return entry.instance == self.instance
        if script.frequency == "resumed":
            return entry.instance == self.instance and entry.status != "interrupted"
        return script.frequency == "once" or entry.boot == self.boot

    def close_interrupted(self, stage: Stage) -> list[Entry]:
        """Give an end to what began in a stage and has none, and return those entries.

        They are written with the next entry, or by ``write``.
        """
        found = [e for e in self.entries if e.script.stage == stage and e.status is None]
        for entry in found:
            self.entries[self.entries.index(entry)] = entry._replace(status="interrupted")
        return found

    def begin(self, script: Script) -> Entry:
        """Write durably that a script is about to run.

        Raises OSError, Refused; nothing has changed then.
        """
        entry = Entry(script, self.instance, self.boot)
        before = self.entries
        # Not more entries than the limit, this one included: the oldest go.
        kept = [known for known in before if not _is_outdated(known, script)]
        self.entries = [*kept[1 - defs.LEDGER_ENTRIES :], entry]
        try:
            self.write()
        except (OSError, Refused):
            self.entries = before
            raise
        return entry

    def end(self, entry: Entry, status: int | str, seconds: float) -> None:
        """Write how a script ended.  Raises OSError, Refused."""
        ended = entry._replace(status=status, seconds=seconds)
        self.entries = [ended if known is entry else known for known in self.entries]
        self.write()

    def forget(self, entry: Entry) -> None:
        """Remove the entry of a script that did not run after all.  Raises OSError, Refused."""
        self.entries = [known for known in self.entries if known is not entry]
        self.write()

    def write(self) -> None:
        """Write all entries durably.  Raises OSError, Refused."""
        entries = [{**entry._asdict(), "script": entry.script._asdict()} for entry in self.entries]
        content = encode(defs.LEDGER_FILE, {"version": _VERSION, "entries": entries})
        parent, _, name = defs.LEDGER_FILE.rpartition("/")
        directory = open_folder(self.root, parent)
        try:
            with self.root.labelled(directory, name):
                replace(directory, name, content, 0o600, temporary=_TEMPORARY)
        finally:
            os.close(directory)


def _is_outdated(entry: Entry, script: Script) -> bool:
    """Tell whether an entry is of an earlier run of a script that runs at each boot."""
    same = (entry.script.stage, entry.script.name) == (script.stage, script.name)
    return same and script.frequency == "boot"


def _decode(value: Any) -> list[Entry]:
    """Return the entries that a ledger's JSON holds.  Raises FieldError."""
    try:
        if value["version"] != _VERSION:
            raise FieldError("written by another version of guestagent")
        return [_decode_entry(item) for item in value["entries"]]
    except FieldError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise FieldError("not a ledger") from None


def _decode_entry(item: dict[str, Any]) -> Entry:
    fields = [str(item["script"][field]) for field in Script._fields]
    return Entry(
        Script(*fields),  # type: ignore[arg-type]
        str(item["instance"]),
        str(item["boot"]),
        item["status"],
        float(item["seconds"]),
    )
