"""The resident process: it listens to udev, decides by the agenda, and starts units.

It changes nothing, asks nobody and reads no source: the units do that, each with its own sandbox.
Little is imported, because all that is stays in memory.
"""

from __future__ import annotations

from select import POLLIN, poll

from guestagent import defs
from guestagent.daemon.agenda import CHECK, LATER, POLL, REFRESH, Agenda, concerns
from guestagent.record import NamedTuple
from guestagent.system import resident
from guestagent.system.udev_monitor import Missed, Monitor

_UNITS = {REFRESH: defs.REFRESH_UNIT, CHECK: defs.REFRESH_UNIT, POLL: defs.POLL_UNIT}
# While something is under way, systemd ends this process if it does not go on.  While it only
# listens there is nothing that could hang, and no reason to wake up.
_AWAKE = "WATCHDOG_USEC=60000000\nWATCHDOG=1"
_ASLEEP = "WATCHDOG_USEC=0"
_NO_ANSWER = f'"exit_status": {defs.EXIT_TRY_AGAIN},'.encode()
_TO_APPLY = f'"{defs.APPLY_UNIT}"'.encode()  # among the units that are to come
# Among the problems: at boot it was killed, maybe when it had taken the answer away.
_NOT_APPLIED = b'"document": ' + _TO_APPLY
_OWED = "another run was under way, or the last one was killed: it is made again"
_LINKS = tuple(f"by-label\\x2f{label}" for label in defs.LABELS)
_LOOP = "b7:"  # block devices of this major number
_FROM_DRIVE = b'"source": "config drive'
_NO_MACS = b'"macs": []'  # in a state: where files go by names, or the last run was no complete one


class Wants(NamedTuple):
    """What the settings want of the daemon."""

    nics: bool = True
    drives: bool = True
    poll: float = 0.0


def main() -> None:
    """Listen until a signal ends the process, or return where there is nothing to listen for."""
    wants = read_settings()
    is_asked_again = _has_no_answer() or _awaits_answer() or resident.exists(defs.ANSWER_FILE)
    if not (wants.nics or wants.drives or wants.poll or is_asked_again):
        resident.notify("READY=1\nSTATUS=The settings want nothing to be watched")
        return
    # The monitor listens before the first look, so that nothing is missed between the two.
    monitor = Monitor("net", "block")
    daemon = Daemon(monitor, wants)
    if _has_changed(wants):
        daemon.agenda.notice(resident.now())
        daemon.is_certain = _has_changed(wants._replace(nics=False))
        daemon.has_nic = _has_changed(wants._replace(drives=False))
    if is_asked_again:
        daemon.agenda.check_later(resident.now())
    resident.notify("READY=1")
    while True:
        daemon.step()


def read_settings() -> Wants:
    """Return what the settings say of the daemon.

    As a rule they say nothing, and to understand what they say takes more than the daemon's start.
    """
    names = [name for name in resident.listing(defs.SETTINGS_DROPINS) if name.endswith(".toml")]
    paths = [defs.SETTINGS_FILE, *(f"{defs.SETTINGS_DROPINS}/{name}" for name in names)]
    lines = b"\n".join(map(resident.content, paths)).splitlines()
    if not any(b"daemon" in line and not line.lstrip().startswith(b"#") for line in lines):
        return Wants()
    words = resident.in_child(_settings_as_words).split()
    if len(words) != len(Wants._fields):
        return Wants()
    nics, drives, seconds = words
    return Wants(nics == "True", drives == "True", float(seconds))


def _settings_as_words() -> str:
    from guestagent.errors import Problems
    from guestagent.settings import load
    from guestagent.system.root import Root

    found = load(Root("/"), Problems())  # the runs report what is wrong with them
    return f"{found.daemon_nics} {found.daemon_drives} {found.daemon_poll}"


def _has_no_answer() -> bool:
    """Tell whether the last run ended without an answer of the metadata service, or lost it."""
    report = resident.content(defs.REPORT_FILE)
    return _NO_ANSWER in report or _NOT_APPLIED in report


def _awaits_answer() -> bool:
    """Tell whether a unit of this boot is still to apply what the metadata service says."""
    return _TO_APPLY in resident.content(defs.REPORT_FILE).replace(_NOT_APPLIED, b"")


def _has_changed(wants: Wants) -> bool:
    """Tell whether NICs or a drive came or went between the last run and this process."""
    if resident.exists(defs.RELOAD_FILE):
        # A run was killed when it had changed files of the network: what it saw is not remembered.
        return True
    state = resident.content(defs.STATE_FILE)
    if not state:
        return False
    watched = _nics_in(state)
    if wants.nics and watched:
        present = _present_nics()
        if {_as_json(name) for name in present} != watched:
            return True
        if _NO_MACS not in state and any(_is_replaced(name, state) for name in present):
            return True
    came = _when_drives_came() if wants.drives else []
    if not came:
        return False
    if _FROM_DRIVE not in resident.content(defs.REPORT_FILE):
        return True
    # One that came later, or whose run was killed with the daemon.
    return max(came) > resident.identity(defs.REPORT_FILE)[1]


def _is_replaced(name: str, state: bytes) -> bool:
    """Tell whether a NIC is not the one that had this name when the last run saw it.

    Its own MAC address tells: that of a NIC below a bond may be another one.
    """
    nic = f"{defs.NET_DIR}/{name}"
    is_own = resident.content(f"{nic}/addr_assign_type").strip() == b"0"
    return is_own and not _has_mac(nic, state)


def _has_mac(nic: str, state: bytes) -> bool:
    """Tell whether the MAC address of a NIC is one of those in the state."""
    mac = resident.content(f"{nic}/address").strip().lower()
    return bool(mac) and b'"%s"' % mac in state


def _are_nics_known() -> bool:
    """Tell whether the NICs that are there are those that the last run has configured.

    Where files go by their names, the state has no MAC addresses.
    """
    state = resident.content(defs.STATE_FILE)
    present = _present_nics()
    if not all(_has_mac(f"{defs.NET_DIR}/{name}", state) for name in present):
        return False
    return {_as_json(name) for name in present} == _nics_in(state)


def _present_nics() -> list[str]:
    """Return the names of the NICs that are there."""
    return [name for name in resident.listing(defs.NET_DIR) if _is_nic(name)]


def _nics_in(state: bytes) -> set[bytes]:
    """Return the names of the NICs that a run has looked at: their files are in its state.

    To read all of that as JSON would take more than the daemon's start.
    """
    start, end = f'"{defs.NET_DIR}/'.encode(), b"/address"
    paths = [part.partition(b'"')[0] for part in state.split(start)[1:]]
    return {path.removesuffix(end) for path in paths if path.endswith(end)}


def _as_json(name: str) -> bytes:
    """Return the name of a NIC as the state has it; the kernel takes bytes that are not UTF-8."""
    return "".join(char if " " <= char <= "~" else f"\\u{ord(char):04x}" for char in name).encode()


def _has_drive() -> bool:
    """Tell whether udev knows a drive with the label of a config drive."""
    return bool(_when_drives_came())


def _when_drives_came() -> list[int]:
    """Return the times of the changes by which drives with the label of a config drive came.

    udev's folder of links has one for each label, and there an entry for each device that claims
    it; the links themselves are in /dev, of which the unit shows this process nothing.
    """
    labels = [
        name for name in resident.listing(defs.UDEV_LINKS_DIR) if name.lower().endswith(_LINKS)
    ]
    folders = [f"{defs.UDEV_LINKS_DIR}/{name}" for name in labels]
    return [resident.identity(path)[1] for path in folders if _has_claim(path)]


def _has_claim(folder: str) -> bool:
    """Tell whether a device claims a link that is no loop device, which is no drive."""
    return any(not name.startswith(_LOOP) for name in resident.listing(folder))


def _is_nic(name: str) -> bool:
    return resident.exists(f"{defs.NET_DIR}/{name}/device")


class Daemon:
    """What is listened to, what is due, and the run that is under way."""

    def __init__(self, monitor: Monitor, wants: Wants) -> None:
        self.monitor, self.wants = monitor, wants
        self.agenda = Agenda(resident.now(), poll=wants.poll, chance=resident.chance)
        self._run: tuple[int, int] | None = None  # process ID, and a descriptor for its end
        self._report = self._answer = resident.NOTHING
        self.has_nic = False  # that one came or went, of which a service may know a little later
        self.is_certain = False  # that something has come for the run that is due
        self._is_owed = False  # a run that could not begin, or was killed

    def step(self) -> None:
        """Wait for the next thing to do, and do it."""
        now = resident.now()
        self._tell(now)
        poller = poll()
        wait = self.agenda.wait(now)
        if self._run:
            # Its end decides what comes next.  Events wait in the socket meanwhile.
            poller.register(self._run[1], POLLIN)
            wait = None
        elif not self.agenda.gathers(now):
            # Once something has come, it is enough to look at the rest when the run is due: events
            # by the thousand wake this process no more often than one.
            poller.register(self.monitor.fd, POLLIN)
        ready = poller.poll(None if wait is None else int(wait * 1000) + 1)
        resident.notify(_AWAKE)
        if self._run:
            self._finish()
        elif ready and self._drain():
            self.agenda.notice(resident.now())
        else:
            self._start()

    def _drain(self) -> bool:
        """Take all events that have come; tell whether one of them matters."""
        found = False
        while True:
            try:
                event = self.monitor.receive()
            except Missed:
                # Nobody knows what they said.
                found = self.has_nic = self.is_certain = True
                continue
            if event is None:
                return found
            if concerns(event, nics=self.wants.nics, drives=self.wants.drives):
                found = True
                self.has_nic |= event.subsystem == "net"
                self.is_certain |= event.subsystem != "net" or event.action != "add"

    def _start(self) -> None:
        """Start the unit of what is due."""
        now = resident.now()
        # What comes one after the other, as ten NICs do, is for one run; udev may still be at it.
        is_due = self.agenda.due.get(REFRESH, now + 1) <= now
        more = is_due and (self._drain() or resident.exists(defs.UDEV_QUEUE))
        if more and self.agenda.put_off(now):
            return
        if is_due and not self.is_certain and not self._is_owed and _are_nics_known():
            # udev has loaded the driver of a NIC when all else of the boot was over.
            self.has_nic = False
            del self.agenda.due[REFRESH]
            return
        name = self.agenda.start(now)
        if name == CHECK and (_awaits_answer() or self._is_under_way()):
            self.agenda.fail()
            self.agenda.check_later(resident.now())
            return
        if name == CHECK and not _has_no_answer() and self._answer == resident.NOTHING:
            self.agenda.succeed()
            return
        if name == POLL and _has_no_answer():
            self.agenda.check_later(resident.now())  # it is asked ever less often
            return
        if not name:
            return
        if name == CHECK:
            self.agenda.fail()
        if name == REFRESH:
            self._is_owed = self.is_certain = False
        self._report = resident.identity(defs.REPORT_FILE)
        try:
            self._run = resident.start("systemctl", ("start", _UNITS[name]))
        except OSError as error:
            resident.log(f"systemctl: {error.strerror}")
            self.agenda.check_later(resident.now())

    def _is_under_way(self) -> bool:
        """Tell whether a service has been asked, or has answered, since the last look.

        A unit takes the answer away when it has applied it.  One that stays as it is was left by a
        unit that was killed; one that still works is not cut short by the next run, which waits.
        """
        before, self._answer = self._answer, resident.identity(defs.ANSWER_FILE)
        return self._answer not in (before, resident.NOTHING)

    def _finish(self) -> None:
        """Take note of how a run has ended."""
        assert self._run
        status = resident.end(*self._run)
        self._run = None
        now = resident.now()
        if status and self._report == resident.identity(defs.REPORT_FILE):
            # It could not even begin, because another run was going on, or it was killed.
            self.agenda.retry(now)
            self._is_owed = True
            return
        if REFRESH not in self.agenda.due:  # else this was a poll, and that run is still to come
            if self.has_nic and not _has_drive():
                self.agenda.notice(now, delay=LATER)
                self.is_certain = True  # that the service may have more to say by then
            self.has_nic = False
        self.agenda.check_later(now)

    def _tell(self, now: float) -> None:
        """Tell the service manager what is waited for."""
        wait = self.agenda.wait(now)
        if self._run:
            text = "Waiting for the end of a run"
        elif wait is None:
            text = "Listening"
        elif self._is_owed:
            left = max(0.0, self.agenda.due[REFRESH] - now)
            text = f"Listening; {_OWED} in {left:.0f} s"
        else:
            text = f"Listening; the next run or look at the last one is in {wait:.0f} s"
        resident.notify(f"{_ASLEEP}\nSTATUS={text}")
