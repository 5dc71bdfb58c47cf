"""When the daemon starts what: years, storms and suspensions, in a moment."""

from __future__ import annotations

from itertools import pairwise

import pytest

from guestagent.daemon.agenda import (
    CHECK,
    CHECK_MOST,
    GATHER,
    POLL,
    REFRESH,
    SPACING,
    Agenda,
    concerns,
)
from guestagent.system.udev_monitor import Event

PCI = "/devices/pci0000:00/0000:00:03.0/virtio0/net/enp0s3"
DISK = "/devices/pci0000:00/0000:00:09.0/virtio1/block/vdb"


def agenda(poll: float = 0.0, chance: float = 0.5) -> Agenda:
    return Agenda(1000.0, poll=poll, chance=lambda: chance)


def starts(given: Agenda, begin: float, end: float) -> list[tuple[float, str]]:
    """What is started from one time to another by a process that sleeps until something is due."""
    found, now = [], begin
    while (wait := given.wait(now)) is not None and now + wait <= end:
        now += wait
        name = given.start(now)
        if name:
            found.append((now, name))
    return found


def test_an_idle_hour_has_no_wake_up() -> None:
    assert agenda().wait(1000.0) is None
    assert agenda().wait(4600.0) is None


def test_ten_nics_at_once_are_one_run() -> None:
    one = agenda()
    for number in range(10):
        one.notice(1000.0 + number * 0.05)
    assert starts(one, 1000.0, 2000.0) == [(1000.0 + GATHER, REFRESH)]


def test_D11_a_storm_of_events_starts_a_run_every_5_seconds_at_most() -> None:
    one, found = agenda(), []
    for number in range(10_000):
        now = 1000.0 + number / 1000
        found += starts(one, now, now)
        one.notice(now)
    found += starts(one, 1010.0, 1100.0)
    assert [name for _, name in found] == [REFRESH] * 3
    times = [time for time, _ in found]
    assert all(b - a >= SPACING for a, b in pairwise(times))


def test_events_do_not_put_off_a_run_that_is_due() -> None:
    one = agenda()
    one.notice(1000.0)
    one.notice(1000.9)
    assert one.wait(1000.9) == pytest.approx(GATHER - 0.9)


def test_D11_after_a_suspension_of_10_hours_there_is_one_poll() -> None:
    one = agenda(poll=300)
    assert [name for _, name in starts(one, 1000.0, 1650.0)] == [POLL, POLL]
    now = 1650.0 + 36_000
    assert one.start(now) == POLL
    assert one.start(now) == ""
    assert one.wait(now) == 300


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_polls_of_many_machines_spread(chance: float) -> None:
    one = agenda(poll=300, chance=chance)
    assert one.wait(1000.0) == pytest.approx(300 * (0.9 + 0.2 * chance))


def test_an_answer_that_does_not_come_is_asked_for_ever_less_often() -> None:
    one, times = agenda(), [1000.0]
    one.check_later(1000.0)
    for _ in range(6):
        ((now, name),) = starts(one, times[-1], times[-1] + 1000)
        assert name == CHECK
        times.append(now)
        one.fail()
        one.check_later(now)
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0]
    assert max(pauses) == CHECK_MOST
    assert one.start(5000.0) == CHECK
    one.succeed()
    one.check_later(5000.0)
    assert one.wait(5000.0) == 10.0


def test_polls_do_not_put_off_the_look_for_an_answer() -> None:
    one, found = agenda(poll=10), []
    one.check_later(1000.0)
    one.fail()
    one.fail()
    for now in range(1000, 1060):
        for time, name in starts(one, now, now):
            found.append((time, name))
            one.check_later(time)
    assert (1010.0, CHECK) in found
    assert [name for _, name in found].count(POLL) == 5


def test_once_there_is_an_answer_nothing_is_due_any_more() -> None:
    one = agenda()
    one.check_later(1000.0)
    assert starts(one, 1000.0, 2000.0) == [(1010.0, CHECK)]
    assert one.wait(2000.0) is None


def test_a_run_makes_the_look_at_the_one_before_needless() -> None:
    one = agenda()
    one.check_later(1000.0)
    one.notice(1000.0)
    assert starts(one, 1000.0, 2000.0) == [(1001.0, REFRESH)]


def test_a_run_that_could_not_begin_is_tried_again_later() -> None:
    one = agenda()
    one.retry(1000.0)
    one.retry(1000.0)
    assert starts(one, 1000.0, 2000.0) == [(1010.0, REFRESH)]
    one.retry(2000.0)
    assert one.wait(2000.0) == 40.0
    one.succeed()


@pytest.mark.parametrize("action", ["add", "remove", "move"])
def test_nics_that_come_go_and_get_their_names_matter(action: str) -> None:
    event = Event("net", action, PCI)
    assert concerns(event, nics=True, drives=True)
    assert not concerns(event, nics=False, drives=True)


@pytest.mark.parametrize("action", ["add", "change", "remove"])
@pytest.mark.parametrize("label", ["config-2", "CONFIG-2"])
def test_drives_with_the_label_matter(action: str, label: str) -> None:
    event = Event("block", action, DISK, label, "iso9660")
    assert concerns(event, nics=True, drives=True)
    assert not concerns(event, nics=True, drives=False)


@pytest.mark.parametrize("kind", ["vfat", "ext2", "ext3", "ext4"])
def test_seeds_matter_with_whatever_is_read_of_them(kind: str) -> None:
    assert concerns(Event("block", "add", DISK, "CIDATA", kind), nics=True, drives=True)


@pytest.mark.parametrize(
    "event",
    [
        Event("net", "change", PCI),
        Event("net", "add", "/devices/virtual/net/veth0"),
        Event("net", "remove", "/devices/virtual/net/docker0"),
        Event("block", "add", DISK),
        Event("block", "change", DISK, "data", "ext4"),
        Event("block", "add", DISK, "config-2", "ext4"),
        Event("block", "add", DISK, "cidata", "xfs"),
        Event("block", "bind", DISK, "config-2", "vfat"),
        # A user may have made it.
        Event("block", "change", "/devices/virtual/block/loop0", "config-2", "iso9660"),
        Event("usb", "add", "/devices/pci0000:00/usb1"),
        # Names decide nothing: this is what a file in /dev may be called.
        Event("block", "add", "/devices/pci0000:00/config-2"),
    ],
)
def test_D11_everything_else_starts_nothing(event: Event) -> None:
    assert not concerns(event, nics=True, drives=True)
