"""What the cloud changes while a guest runs reaches it by itself: the daemon and its units."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from service.documents import META
from service.lab import Service

from .attached import (
    DAEMON,
    REFRESH,
    RUNS,
    SECOND,
    THIRD,
    Grown,
    Scene,
    advertised,
    assert_killed,
    configured_by_cd,
    grown,
    lie_in_wait,
    static,
)
from .guest import Guest, patience
from .image import GuestImage
from .machine import Drive
from .metadata import ServiceNic, openstack
from .scenario import Instance, new_instance, report, settings_argument

pytestmark = pytest.mark.vm


def another_key(instance: Grown, where: Path) -> Grown:
    """The same instance with another key in place of its own."""
    return replace(instance, key=new_instance(where).key)


def assert_key_is_exchanged(guest: Guest, old: Instance, new: Instance) -> None:
    """Insist that the guest takes the key of one and refuses that of another."""
    assert guest.ssh("debian", "hostname", key=new.key).check().stdout == "web-1\n"
    done = guest.ssh("debian", key=old.key)
    assert (done.status, "Permission denied" in done.stderr) == (255, True), done.stderr


@pytest.fixture(scope="module")
def by_drive(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A guest that was configured by a CD, and a monitor of its addresses."""
    with configured_by_cd(guest_image, tmp_path_factory.mktemp("drive")) as scene:
        yield scene


class TestWithDrive:
    def test_a_card_that_the_rewritten_drive_describes(self, by_drive: Scene) -> None:
        more = replace(by_drive.instance, cards=(SECOND,))
        by_drive.guest.hot_plug_nics(SECOND)
        by_drive.guest.change_medium(by_drive.iso("second", more))
        by_drive.wait_for_address(static(SECOND))
        assert report(by_drive.guest)["exit_status"] == 0
        by_drive.second_files = by_drive.files()

    def test_a_card_that_nothing_describes_has_dhcp_and_what_routers_advertise(
        self, by_drive: Scene
    ) -> None:
        before = by_drive.files()
        by_drive.guest.hot_plug_nics(THIRD, slot=1)
        by_drive.wait_for_other_files(before)
        by_drive.wait_for_address(THIRD.address)
        by_drive.wait_for_address(advertised(THIRD))
        routes = by_drive.guest.check("ip -6 route show default")
        assert "proto ra" in routes
        assert report(by_drive.guest)["exit_status"] == 0

    def test_the_files_of_cards_that_are_gone_go_too(self, by_drive: Scene) -> None:
        guest = by_drive.guest
        assert by_drive.files() != by_drive.first_files
        guest.hot_unplug_nics()
        guest.hot_unplug_nics(slot=1)
        guest.change_medium(by_drive.where / "first/drive")
        by_drive.wait_for_first_files()

    def test_a_run_and_the_daemon_are_killed_and_the_end_is_the_same(self, by_drive: Scene) -> None:
        guest = by_drive.guest
        lie_in_wait(guest, f"{REFRESH} {DAEMON}")
        guest.hot_plug_nics(SECOND)
        guest.change_medium(by_drive.where / "second/drive")
        by_drive.wait_for_address(static(SECOND))
        assert_killed(guest)
        assert guest.check(f"systemctl show -P NRestarts {DAEMON}") == "1\n"
        assert report(guest)["exit_status"] == 0
        assert by_drive.files() == by_drive.second_files

    def test_a_drive_for_the_same_instance_exchanges_keys(self, by_drive: Scene) -> None:
        guest, instance = by_drive.guest, by_drive.instance
        rotated = another_key(replace(instance, cards=(SECOND,)), by_drive.where / "rotated-key")
        guest.change_medium(None)
        guest.hot_plug(Drive(by_drive.iso("rotated", rotated)), slot=1)
        guest.wait_for(["grep", rotated.public_key.split()[1], "/home/debian/.ssh/authorized_keys"])
        by_drive.rest()
        assert_key_is_exchanged(guest, instance, rotated)
        guest.hot_unplug(slot=1)

    def test_a_drive_for_another_instance_is_told_of_and_not_obeyed(self, by_drive: Scene) -> None:
        guest, known = by_drive.guest, by_drive.instance.uuid
        other = grown(by_drive.where / "other-key")
        guest.hot_plug(Drive(by_drive.iso("other", other)), slot=1)
        said = f"is for instance {other.uuid}, and this machine is configured as {known};"
        guest.wait_for(f"guestagent status | grep -F '{said}'", 120)
        guest.check(f"journalctl -b -o cat -u {REFRESH} | grep -F '{said}'")
        assert report(guest)["instance_id"] == known
        assert guest.ssh("debian", key=other.key).status == 255
        guest.hot_unplug(slot=1)

    def test_an_address_that_stays_was_never_away(self, by_drive: Scene) -> None:
        seen = by_drive.seen()
        assert any(static(SECOND) in line for line in seen)
        gone = [line for line in seen if line.startswith("Deleted") and " enp0s3 " in line]
        assert not gone, "\n".join(seen)


class Served(NamedTuple):
    """A guest without a drive, and its service."""

    scene: Scene
    service: Service

    def say(self, instance: Grown) -> None:
        """Have the service speak of an instance from now on."""
        self.service.say({"documents": openstack(instance, "")})

    def asked(self) -> int:
        """How many times the guest has asked."""
        journal = "journalctl -b -o cat -u guestagent-fetch.service"
        return int(self.scene.guest.run(f"{journal} | grep -c ^Starting").stdout)


# The service is asked by the daemon, and soon, instead of at the boot.
POLLED = "[metadata]\nwait = 2\n[daemon]\npoll = 10\n"


@contextmanager
def without_an_answer(image: GuestImage, where: Path, settings: str) -> Iterator[Served]:
    """A guest after a boot in which its service did not answer."""
    instance = grown(where / "keys")
    service = Service(where / "service", {"steps": {"*": [{"reset": "before"}]}})
    nics, extra = [ServiceNic(port=service.port)], settings_argument(settings)
    try:
        with Guest(image, (), nics, instance.smbios, extra) as guest:
            yield Served(Scene(guest.boot(), instance, where), service)
    finally:
        service.close()


@pytest.fixture(scope="class")
def by_service(
    guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A guest whose service did not answer at its boot, and is polled."""
    with without_an_answer(guest_image, tmp_path_factory.mktemp("service"), POLLED) as served:
        yield served


class TestWithService:
    def test_a_service_that_comes_late_finishes_the_first_boot(self, by_service: Served) -> None:
        scene = by_service.scene
        assert report(scene.guest)["exit_status"] == 75
        assert not scene.guest.exists("/home/debian")
        time.sleep(max(0.0, 60 - float(scene.guest.get("/proc/uptime").split()[0])))
        by_service.say(scene.instance)
        scene.guest.wait_for("grep -q '\"exit_status\": 0' /run/guestagent/report.json", 300)
        found = report(scene.guest)
        assert (found["first_boot"], found["instance_id"]) == (True, scene.instance.uuid)
        scene.rest()
        assert scene.guest.ssh("debian", "hostname", key=scene.instance.key).stdout == "web-1\n"

    def test_a_poll_without_a_change_is_one_request(self, by_service: Served) -> None:
        scene, service = by_service.scene, by_service.service
        scene.guest.check(f"systemctl stop {DAEMON}")
        scene.rest(RUNS)
        before = by_service.asked()
        service.forget()
        scene.guest.check(f"systemctl start {DAEMON}")
        deadline = time.monotonic() + 120 * patience()
        while len(service.log()) < 2 and time.monotonic() < deadline:
            time.sleep(0.5)
        scene.guest.check(f"systemctl stop {DAEMON}")
        scene.rest(RUNS)
        assert service.paths() == [META] * (by_service.asked() - before)
        assert len(service.paths()) >= 2
        scene.guest.check(f"systemctl start {DAEMON}")

    def test_a_key_that_is_rotated_at_the_service(self, by_service: Served) -> None:
        scene = by_service.scene
        rotated = another_key(scene.instance, scene.where / "rotated-key")
        by_service.say(rotated)
        words = ["grep", rotated.public_key.split()[1], "/home/debian/.ssh/authorized_keys"]
        scene.guest.wait_for(words, 120)
        assert_key_is_exchanged(scene.guest, scene.instance, rotated)

    def test_a_card_that_the_service_describes(self, by_service: Served) -> None:
        scene = by_service.scene
        by_service.say(replace(scene.instance, cards=(SECOND,)))
        scene.guest.hot_plug_nics(SECOND)
        scene.wait_for_address(static(SECOND))
        assert report(scene.guest)["exit_status"] == 0
