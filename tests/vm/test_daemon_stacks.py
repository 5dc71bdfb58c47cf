"""The daemon on every network stack: what comes and goes, with a source and without.

With one, and with the daemon killed, systemd-networkd has the same tests in ``test_daemon`` and
``test_daemon_kills``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from network.produce import BACKENDS

from . import test_daemon, test_daemon_kills
from .attached import DAEMON, REFRESH, RUNS, SECOND, THIRD, Scene, advertised, static
from .image import GuestImage
from .image import guest_image as make_image
from .scenario import report

pytestmark = pytest.mark.vm

on_each = pytest.mark.parametrize("guest_image", BACKENDS, indirect=True, scope="module")
on_others = pytest.mark.parametrize("guest_image", BACKENDS[1:], indirect=True, scope="module")

by_drive = test_daemon.by_drive
by_service = test_daemon.by_service
asked_briefly = test_daemon_kills.asked_briefly


@pytest.fixture(scope="module")
def guest_image(request: pytest.FixtureRequest, agent_deb: Path) -> GuestImage:
    """The image whose network is run by a stack."""
    return make_image(agent_deb, request.param)


@pytest.fixture(scope="module")
def killed() -> str:
    """Units that are killed while something comes or goes."""
    return f"{REFRESH} {DAEMON}"


@on_others
class TestWithDrive(test_daemon.TestWithDrive):
    """Cards and drives come and go."""


@on_each
class TestWithoutSource:
    """Cards come and go while there is no drive."""

    def test_a_card_that_comes(self, by_drive: Scene) -> None:
        by_drive.start_over()
        by_drive.guest.change_medium(None)
        by_drive.guest.hot_plug_nics(THIRD)
        by_drive.wait_for_other_files(by_drive.first_files)
        by_drive.wait_for_address(THIRD.address)
        by_drive.wait_for_address(advertised(THIRD))
        assert "proto ra" in by_drive.guest.check("ip -6 route show default")
        assert report(by_drive.guest)["exit_status"] == 0

    def test_a_drive_that_comes_then_describes_it(self, by_drive: Scene) -> None:
        third = replace(by_drive.instance, cards=(THIRD,))
        by_drive.guest.change_medium(by_drive.iso("describes", third))
        by_drive.wait_for_address(static(THIRD))
        by_drive.guest.wait_for(f"! ip -o address | grep -F ' {THIRD.address}/'", 60)
        assert report(by_drive.guest)["exit_status"] == 0

    def test_the_file_of_a_card_that_is_gone_goes(self, by_drive: Scene) -> None:
        before = by_drive.files()
        by_drive.guest.change_medium(None)
        by_drive.guest.hot_plug_nics(SECOND, slot=1)
        by_drive.wait_for_other_files(before)
        by_drive.wait_for_address(SECOND.address)
        by_drive.guest.hot_unplug_nics(slot=1)
        by_drive.guest.wait_for("! ip -o link | grep -F " + SECOND.mac)
        by_drive.wait_until(lambda: by_drive.files() == before)
        by_drive.rest(RUNS)
        by_drive.guest.check(f"ip -o address | grep -F ' {static(THIRD)}/'")

    def test_an_address_that_stays_was_never_away(self, by_drive: Scene) -> None:
        seen = by_drive.seen()
        assert any(static(THIRD) in line for line in seen)
        gone = [line for line in seen if line.startswith("Deleted") and " enp0s3 " in line]
        assert not gone, "\n".join(seen)


@on_others
class TestKilledWithDrive(test_daemon_kills.TestWithDrive):
    """The run and the daemon are killed then."""


@on_others
class TestKilledAlone(test_daemon_kills.TestAlone):
    """A run, or the unit that reloads the network, is killed where its work is half done."""


@on_others
class TestWithService(test_daemon.TestWithService):
    """A service that comes late describes a card, and a key is rotated there."""


@on_others
class TestKilledWithService(test_daemon_kills.TestWithService):
    """The unit that applies its answer and the daemon are killed then."""
