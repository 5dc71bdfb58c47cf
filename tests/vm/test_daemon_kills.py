"""The daemon is killed while something comes or goes, alone or with its run, with the same end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from guestagent import defs

from .attached import (
    DAEMON,
    NETWORK_FILES,
    REFRESH,
    SECOND,
    THIRD,
    Grown,
    Scene,
    advertised,
    assert_killed,
    configured_by_cd,
    grown,
    lie_in_wait,
    runs,
    static,
    wait_until_at_rest,
)
from .image import GuestImage
from .machine import Drive
from .metadata import APPLY, RELOAD
from .scenario import report
from .test_daemon import Served, another_key, assert_key_is_exchanged, without_an_answer

pytestmark = pytest.mark.vm

VICTIMS = {"daemon": DAEMON, "daemon and run": f"{REFRESH} {DAEMON}"}
# Nothing but the daemon asks a second time.
BRIEFLY = "[metadata]\nwait = 2\n"


@pytest.fixture(scope="module")
def by_drive(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A guest that was configured by a CD."""
    with configured_by_cd(guest_image, tmp_path_factory.mktemp("drive")) as scene:
        yield scene


@pytest.fixture(scope="class", params=[*VICTIMS.values()], ids=[*VICTIMS])
def killed(request: pytest.FixtureRequest) -> str:
    """Units that are killed while something comes or goes: all of it happens with each."""
    return str(request.param)


class TestWithDrive:
    def test_a_card_that_the_rewritten_drive_describes(self, by_drive: Scene, killed: str) -> None:
        by_drive.start_over()
        more = replace(by_drive.instance, cards=(SECOND,))
        lie_in_wait(by_drive.guest, killed)
        by_drive.guest.hot_plug_nics(SECOND)
        by_drive.guest.change_medium(by_drive.iso("second", more))
        by_drive.wait_for_address(static(SECOND))
        assert_killed(by_drive.guest)
        assert report(by_drive.guest)["exit_status"] == 0

    def test_a_card_that_nothing_describes(self, by_drive: Scene, killed: str) -> None:
        before = by_drive.files()
        lie_in_wait(by_drive.guest, killed)
        by_drive.guest.hot_plug_nics(THIRD, slot=1)
        by_drive.wait_for_other_files(before)
        by_drive.wait_for_address(THIRD.address)
        by_drive.wait_for_address(advertised(THIRD))
        assert_killed(by_drive.guest)
        assert report(by_drive.guest)["exit_status"] == 0

    def test_cards_that_go(self, by_drive: Scene, killed: str) -> None:
        lie_in_wait(by_drive.guest, killed)
        by_drive.guest.hot_unplug_nics()
        by_drive.guest.hot_unplug_nics(slot=1)
        by_drive.guest.change_medium(by_drive.where / "first/drive")
        by_drive.wait_for_first_files()
        assert_killed(by_drive.guest)

    def test_a_drive_with_another_key(self, by_drive: Scene, killed: str) -> None:
        guest, first = by_drive.guest, by_drive.instance
        guest.change_medium(None)
        wait_until_at_rest(guest)
        by_drive.rest()
        rotated = another_key(first, by_drive.where / f"key-{len(killed)}")
        lie_in_wait(guest, killed)
        guest.hot_plug(Drive(by_drive.iso("rotated", rotated)))
        guest.wait_for(
            ["grep", rotated.public_key.split()[1], "/home/debian/.ssh/authorized_keys"], 120
        )
        by_drive.rest()
        assert_killed(guest)
        assert_key_is_exchanged(guest, first, rotated)
        guest.hot_unplug()
        guest.change_medium(by_drive.where / "first/drive")
        guest.wait_for(
            ["grep", first.public_key.split()[1], "/home/debian/.ssh/authorized_keys"], 120
        )
        by_drive.rest()

    def test_a_drive_for_another_instance(self, by_drive: Scene, killed: str) -> None:
        guest, known = by_drive.guest, by_drive.instance.uuid
        guest.change_medium(None)
        wait_until_at_rest(guest)
        other = grown(by_drive.where / f"other-{len(killed)}")
        lie_in_wait(guest, killed)
        guest.hot_plug(Drive(by_drive.iso("other", other)))
        said = f"is for instance {other.uuid}, and this machine is configured as {known};"
        guest.wait_for(f"guestagent status | grep -F '{said}'", 120)
        assert_killed(guest)
        assert report(guest)["instance_id"] == known
        assert guest.ssh("debian", key=other.key).status == 255
        guest.hot_unplug()


class TestAlone:
    """A run, or the unit that reloads the network, is killed where its work is half done."""

    def test_a_run_is_killed_when_it_has_written_the_files_of_a_card(self, by_drive: Scene) -> None:
        """The next run finds no difference, and has the network told of them all the same."""
        by_drive.start_over()
        guest, more = by_drive.guest, replace(by_drive.instance, cards=(SECOND,))
        folders = " ".join(NETWORK_FILES)
        until = f"until grep -rqF {static(SECOND)} {folders}; do :; done"
        guest.check("rm -f /run/killed")
        killer = f"{until}; systemctl kill -s KILL {REFRESH} && touch /run/killed"
        guest.change_medium(by_drive.iso("files", more))
        wait_until_at_rest(guest)
        guest.check(f"({killer}) >/dev/null 2>&1 &")
        guest.hot_plug_nics(SECOND)
        by_drive.wait_for_address(static(SECOND))
        assert_killed(guest)

    def test_the_unit_that_reloads_the_network_is_killed(self, by_drive: Scene) -> None:
        """It begins again by itself: no further run is made."""
        guest, more = by_drive.guest, replace(by_drive.instance, cards=(SECOND, THIRD))
        guest.change_medium(by_drive.iso("third", more))
        wait_until_at_rest(guest)
        first = runs(guest)
        lie_in_wait(guest, RELOAD, busy=RELOAD)
        guest.hot_plug_nics(THIRD, slot=1)
        by_drive.wait_for_address(static(THIRD))
        assert_killed(guest)
        assert runs(guest) == first + 1
        guest.check(f"journalctl -b -o cat -u {RELOAD} | grep 'Scheduled restart job'")
        assert not guest.exists(defs.RELOAD_FILE)
        assert report(guest)["exit_status"] == 0


@pytest.fixture(scope="class")
def asked_briefly(
    guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A guest whose service did not answer at its boot, and is not polled."""
    with without_an_answer(guest_image, tmp_path_factory.mktemp("service"), BRIEFLY) as served:
        yield served


class TestWithService:
    def test_the_unit_that_applies_the_first_answer_is_killed(self, asked_briefly: Served) -> None:
        scene = asked_briefly.scene
        assert report(scene.guest)["exit_status"] == 75
        lie_in_wait(scene.guest, f"{APPLY} {DAEMON}", busy=APPLY)
        asked_briefly.say(scene.instance)
        scene.guest.wait_for("[ -e /run/killed ]", 300)
        assert_configured(scene, scene.instance)

    def test_a_card_that_the_service_describes(self, asked_briefly: Served) -> None:
        scene = asked_briefly.scene
        asked_briefly.say(replace(scene.instance, cards=(SECOND,)))
        lie_in_wait(scene.guest, f"{APPLY} {DAEMON}", busy=APPLY)
        scene.guest.hot_plug_nics(SECOND)
        scene.wait_for_address(static(SECOND))
        assert_killed(scene.guest)
        assert report(scene.guest)["exit_status"] == 0

    def test_a_key_that_is_rotated_at_the_service(self, asked_briefly: Served) -> None:
        scene = asked_briefly.scene
        rotated = another_key(scene.instance, scene.where / "rotated-key")
        asked_briefly.say(replace(rotated, cards=(SECOND,)))
        lie_in_wait(scene.guest, f"{APPLY} {DAEMON}", busy=APPLY)
        scene.guest.check(f"systemctl start {REFRESH}")
        words = ["grep", rotated.public_key.split()[1], "/home/debian/.ssh/authorized_keys"]
        scene.guest.wait_for(words, 180)
        scene.rest()
        assert_killed(scene.guest)
        assert_key_is_exchanged(scene.guest, scene.instance, rotated)

    def test_a_service_that_hangs_when_a_card_comes(self, asked_briefly: Served) -> None:
        scene, instance = asked_briefly.scene, asked_briefly.scene.instance
        before = scene.guest.check(f"systemctl show -P MainPID {DAEMON}")
        asked_briefly.service.say({"steps": {"*": [{"hang": True}]}})
        scene.guest.hot_plug_nics(THIRD, slot=1)
        scene.guest.wait_for("guestagent status | grep '^error: .*169.254.169.254'", 180)
        print(f"\n{scene.guest.run('guestagent status').stdout}")
        assert report(scene.guest)["exit_status"] == 75
        scene.rest()
        asked_briefly.say(replace(instance, cards=(SECOND, THIRD)))
        scene.wait_for_address(static(THIRD))
        assert scene.guest.check(f"systemctl show -P MainPID {DAEMON}") == before


def assert_configured(scene: Scene, instance: Grown) -> None:
    """Insist that the first boot is over, and its key lets in."""
    scene.guest.wait_for("grep -q '\"exit_status\": 0' /run/guestagent/report.json", 300)
    found = report(scene.guest)
    assert (found["first_boot"], found["instance_id"]) == (True, instance.uuid)
    scene.rest()
    assert scene.guest.ssh("debian", "hostname", key=instance.key).stdout == "web-1\n"
