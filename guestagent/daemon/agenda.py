"""When the daemon starts which unit: pure, so that years can be tested in a moment.

All times are seconds of a clock that never jumps and goes on while the machine is suspended.
"""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from guestagent.system.udev_monitor import Event

# What may be due: to read the source again; to look whether the last run had an answer; to ask
# whether keys or host name have changed.
REFRESH, CHECK, POLL = "refresh", "check", "poll"

# From the last event to their run, so that ten NICs are one, and from the first one at most.
GATHER, GATHER_MOST = 1.0, 5.0
SPACING = 5.0  # between the starts of two runs
LATER = 20.0  # Nova's metadata service knows a new NIC only after its cache of 15 s
# Longer than a question takes to a metadata service that does not answer, so that no one is cut
# short.  At a first boot nobody can log in before there is an answer.
CHECK_FIRST, CHECK_MOST = 10.0, 300.0
RETRY_FIRST = 10.0  # another run is over by then, as a rule
_JITTER = 0.1  # of a wait that many machines begin at the same moment

_NIC_ACTIONS = ("add", "remove", "move")
_DRIVE_ACTIONS = ("add", "change", "remove")


def concerns(event: Event, *, nics: bool, drives: bool) -> bool:
    """Tell whether an event may change what the machine is configured by.

    NICs are devices of hardware, and drives those with a config drive's label that are no files by
    losetup(8), as ``sources.find`` has it; both are what udev says of them.
    """
    if event.subsystem == "net":
        is_hardware = not event.devpath.startswith("/devices/virtual/")
        return nics and is_hardware and event.action in _NIC_ACTIONS
    if event.subsystem == "block":
        is_drive = event.file_system in defs.DRIVE_FILE_SYSTEMS.get(event.label.lower(), ())
        is_loop = event.devpath.startswith("/devices/virtual/block/loop")
        return drives and is_drive and not is_loop and event.action in _DRIVE_ACTIONS
    return False


class Agenda:
    """What is due, and when.

    ``poll`` is how many seconds are between two polls, 0 for none.  ``chance`` returns a number
    from 0 to 1, another one each time.
    """

    def __init__(self, now: float, *, poll: float, chance: Callable[[], float]) -> None:
        self.due: dict[str, float] = {}
        self._poll, self._chance = poll, chance
        self._started = now - SPACING
        self._noticed = now  # the first event of those whose run is due
        self._pause, self._retry = CHECK_FIRST, RETRY_FIRST
        if poll:
            self.due[POLL] = now + self._spread(poll)

    def notice(self, now: float, *, delay: float = GATHER) -> None:
        """Have the source read again, because of an event: soon, and once for many events."""
        if not self.gathers(now):
            self._noticed = now
        when = max(now + delay, self._started + SPACING)
        self.due[REFRESH] = min(when, self.due.get(REFRESH, when))

    def gathers(self, now: float) -> bool:
        """Tell whether the source will be read so soon that further events need not be heard."""
        return self.due.get(REFRESH, now + 2 * SPACING) <= now + SPACING

    def put_off(self, now: float) -> bool:
        """Put a run off that is due now, as more events have come; False if it has to be made."""
        if now + GATHER > self._noticed + GATHER_MOST:
            return False
        self.due[REFRESH] = now + GATHER
        return True

    def start(self, now: float) -> str:
        """Return what is due now, and count it as started; an empty string if nothing is."""
        ready = [name for name in (REFRESH, CHECK, POLL) if self.due.get(name, now + 1) <= now]
        if not ready:
            return ""
        name = ready[0]
        del self.due[name]
        if name == REFRESH:
            self.due.pop(CHECK, None)  # a run comes before, and is checked after it
        self._started = now
        if self._poll and POLL not in self.due:
            self.due[POLL] = now + self._spread(self._poll)
        return name

    def check_later(self, now: float) -> None:
        """Look later whether a run had an answer; runs in between do not put that off."""
        self.due.setdefault(CHECK, now + self._spread(self._pause))

    def fail(self) -> None:
        """Note that there was no answer: the next pause is twice as long."""
        self._pause = min(2 * self._pause, CHECK_MOST)

    def retry(self, now: float) -> None:
        """Have the source read again, because a run could not even begin."""
        self.notice(now, delay=self._spread(self._retry))
        self._retry = min(2 * self._retry, CHECK_MOST)

    def succeed(self) -> None:
        """Note that all is well: the next pauses are short ones."""
        self._pause, self._retry = CHECK_FIRST, RETRY_FIRST

    def wait(self, now: float) -> float | None:
        """Return in how many seconds something is due; None if nothing ever is."""
        return max(0.0, min(self.due.values()) - now) if self.due else None

    def _spread(self, seconds: float) -> float:
        """Return about so many seconds."""
        return seconds * (1 - _JITTER + 2 * _JITTER * self._chance())
