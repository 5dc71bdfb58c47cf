"""Which scripts began and how they ended, so that none is run twice.

``/var/lib/guestagent/ledger.json`` is on the disk before a script starts and after it ended; an
entry without an end is one that the system or the runner did not live to see.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import FieldError, Refused
from guestagent.record import NamedTuple
from guestagent.system.jsontext import dumps, loads
from guestagent.system.ownfiles import open_folder
from guestagent.system.privsep import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from guestagent.system.root import Root

_VERSION = 1
# A run of apply may write its own state to the same directory at the same time.
_TEMPORARY = f"{defs.TEMPORARY_PREFIX}ledger.tmp"


class Script(NamedTuple):
    """A staged script: ``name`` is its file's, ``digest`` of its content.

    ``frequency`` says when it runs: once per instance, at each boot, or once in all.
    """

    stage: Literal["early", "late"]
    name: str
    frequency: Literal["instance", "boot", "once"]
    digest: str


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
            self.entries = _decode(loads(content))

    def find(self, script: Script) -> Entry | None:
        """The entry because of which a script is not to run, or None."""
        return next((entry for entry in self.entries if self._settles(entry, script)), None)

    def _settles(self, entry: Entry, script: Script) -> bool:
        if entry.script != script:
            return False
        if script.frequency == "instance":
            return entry.instance == self.instance
        return script.frequency == "once" or entry.boot == self.boot

    def interrupted(self, stage: str) -> list[Entry]:
        """Give an end to what began in a stage and has none, to be written with the next entry."""
        found = [e for e in self.entries if e.script.stage == stage and e.status is None]
        for entry in found:
            self.entries[self.entries.index(entry)] = entry._replace(status="interrupted")
        return found

    def begin(self, script: Script) -> Entry:
        """Write durably that a script is about to run.  Raises OSError, Refused: then it is not."""
        entry = Entry(script, self.instance, self.boot)
        before = self.entries
        self.entries = [e for e in before if not _outdated(e, script)][1 - defs.LEDGER_ENTRIES :]
        self.entries.append(entry)
        try:
            self.write()
        except (OSError, Refused):
            self.entries = before
            raise
        return entry

    def end(self, entry: Entry, status: int | str, seconds: float) -> None:
        """Write how a script ended.  Raises OSError, Refused."""
        ended = entry._replace(status=status, seconds=seconds)
        self.entries = [ended if found is entry else found for found in self.entries]
        self.write()

    def forget(self, entry: Entry) -> None:
        """A script that began did not run after all.  Raises OSError, Refused."""
        self.entries = [found for found in self.entries if found is not entry]
        self.write()

    def write(self) -> None:
        """Write all entries durably.  Raises OSError, Refused."""
        entries = [{**entry._asdict(), "script": entry.script._asdict()} for entry in self.entries]
        content = f"{dumps({'version': _VERSION, 'entries': entries})}\n".encode()
        parent, _, name = defs.LEDGER_FILE.rpartition("/")
        directory = open_folder(self.root, parent)
        try:
            replace(directory, name, content, 0o600, temporary=_TEMPORARY)
        finally:
            os.close(directory)


def _outdated(entry: Entry, script: Script) -> bool:
    """True for an earlier boot's run of a script that runs at each boot."""
    place = (entry.script.stage, entry.script.name)
    return script.frequency == "boot" and place == (script.stage, script.name)


def _decode(value: Any) -> list[Entry]:
    try:
        if value["version"] != _VERSION:
            raise FieldError("of another version")
        return [
            Entry(
                Script(*(str(item["script"][field]) for field in Script._fields)),  # type: ignore[arg-type]
                str(item["instance"]),
                str(item["boot"]),
                item["status"],
                float(item["seconds"]),
            )
            for item in value["entries"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FieldError("not a ledger") from None
