"""A drive that comes while a metadata service is asked: it wins, and nobody waited for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from service.documents import META, NETWORK, USER
from service.lab import Service

from .guest import Guest
from .image import GuestImage
from .metadata import APPLY, FETCH, ServiceNic, openstack
from .scenario import UNIT, Instance, new_instance, report, settings_argument, wait_for_the_end

pytestmark = pytest.mark.vm

NETWORKD, SSH = "systemd-networkd.service", "ssh.service"
# Longer than the unit may take: where it waited for as long, systemd would have ended it.
PATIENT = "[drive]\nwait = 300\n"
# What of the service's answer would be seen if any of it had been applied.
CANARY = "canary-of-the-service"
# The answer is complete, and takes so long that a disk that is attached meanwhile is there before.
SLOW = {"steps": {NETWORK: [{"delay": 8.0}, {}], USER: [{"delay": 8.0}, {}]}}


class Race(NamedTuple):
    """A guest after its first boot, the instance as its drive has it, and as its service has it."""

    guest: Guest
    instance: Instance
    served: Instance
    service: Service


def plug_while_it_asks(guest: Guest, service: Service, race: Race, where: Path) -> None:
    """Attach the drive as soon as the service has been asked."""
    deadline = time.monotonic() + 600
    while META not in service.paths():
        assert time.monotonic() < deadline, guest.console_tail()
        time.sleep(0.05)
    guest.hot_plug(race.instance.drive(where))


@pytest.fixture(scope="module")
def late(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Race]:
    """The drive is attached after the first question, and before the answer is complete."""
    where = tmp_path_factory.mktemp("late")
    instance = new_instance(where / "drive", hostname="by-drive", files=())
    served = new_instance(where / "served", hostname=CANARY, files=(), uuid=instance.uuid)
    documents = openstack(served, f"#!/bin/sh\necho {CANARY} >/etc/canary\n")
    service = Service(where / "service", {"documents": documents, **SLOW})
    nics = [ServiceNic(port=service.port)]
    try:
        with Guest(guest_image, (), nics, instance.smbios) as guest:
            race = Race(guest, instance, served, service)
            guest.start()
            plug_while_it_asks(guest, service, race, where / "image")
            guest.wait_rebooted("")
            yield race
    finally:
        service.close()


def microseconds(guest: Guest, unit: str, what: str) -> int:
    """When something became so with a unit in this boot, since the kernel's start; 0 for never."""
    return int(guest.check(f"systemctl show -P {what}TimestampMonotonic {unit}"))


def said_by(guest: Guest, unit: str) -> str:
    return guest.check(f"journalctl -b -o cat -u {unit}")


class TestDriveWhileTheServiceIsAsked:
    def test_A1_it_came_after_the_search_and_before_the_answer_was_believed(
        self, late: Race
    ) -> None:
        guest = late.guest
        show = "udevadm info --query=property --property=USEC_INITIALIZED --value"
        came = int(guest.check(f"{show} /dev/disk/by-label/config-2"))
        searched = microseconds(guest, UNIT, "ActiveEnter")
        applied = microseconds(guest, APPLY, "InactiveExit")
        print(f"searched until {searched}, came {came}, applied {applied}")
        assert searched < came < applied
        # The answer was whole, and had the service's user data.
        asked = late.service.log()
        assert {line["path"]: line["status"] for line in asked}[USER] == 200
        assert guest.check(f"systemctl show -P Result {FETCH}") == "success\n"

    def test_A1_the_answer_is_not_used(self, late: Race) -> None:
        guest = late.guest
        assert "a config drive came after the metadata service was asked" in said_by(guest, APPLY)
        assert guest.check(f"systemctl show -P ExecMainStatus {APPLY}") == "75\n"
        assert not guest.exists("/etc/canary")
        key = late.served.public_key.split()[1]
        for word in (CANARY, key):
            places = "/etc /home /root /var/lib"
            assert not guest.run(f"grep -rlaF -- {word} {places}").stdout, word
        assert CANARY not in said_by(guest, "systemd-hostnamed")

    def test_the_boot_goes_on(self, late: Race) -> None:
        guest = late.guest
        targets = "network-pre.target sysinit.target multi-user.target"
        assert guest.check(f"systemctl is-active {targets} {SSH}").split() == ["active"] * 4
        # It failed as one that had no answer does, and took nothing down with it.
        failed = guest.check("systemctl list-units --plain --no-legend --state=failed").split("\n")
        assert [line.split()[0] for line in failed if line] in ([], [APPLY])

    def test_A1_the_drive_is_what_configures_the_machine(self, late: Race) -> None:
        guest = late.guest
        guest.wait_for('grep -q \'"source": "config drive\' /run/guestagent/report.json', 200)
        wait_for_the_end(guest)
        found = report(guest)
        assert (found["exit_status"], found["first_boot"]) == (0, True), found["problems"]
        assert (found["instance_id"], guest.check("hostname")) == (late.instance.uuid, "by-drive\n")
        state = json.loads(guest.get("/var/lib/guestagent/state.json"))
        assert (state["source"], state["documents"]) == ("drive", {})

    def test_D4_only_the_drive_s_key_opens_the_door(self, late: Race) -> None:
        guest = late.guest
        # sshd is told without waiting for it.
        guest.wait_for("! sshd -T | grep -i ^denyusers")
        end = time.monotonic() + 120
        while guest.ssh("debian", key=late.instance.key).status and time.monotonic() < end:
            time.sleep(1)
        assert guest.ssh("debian", key=late.instance.key).check()
        assert guest.ssh("debian", key=late.served.key).status == 255


@pytest.fixture(scope="module")
def without(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Race]:
    """The same machine without any drive, with a service that answers."""
    where = tmp_path_factory.mktemp("without")
    instance = new_instance(where / "keys", files=())
    service = Service(where / "service", {"documents": openstack(instance, "")})
    nics, patient = [ServiceNic(port=service.port)], settings_argument(PATIENT)
    try:
        with Guest(guest_image, (), nics, instance.smbios, patient) as guest:
            yield Race(guest.boot(), instance, instance, service)
    finally:
        service.close()


class TestNoDriveAtAll:
    def test_the_network_starts_without_a_wait_for_a_drive(self, without: Race) -> None:
        guest = without.guest
        assert guest.check(f"systemctl show -P Result {UNIT}") == "success\n"
        times = guest.boot_times(UNIT, NETWORKD, FETCH, APPLY, SSH)
        print(f"user space {times.userspace:.1f}", times.units)
        # Of the agent's units, only the one that looks for a drive comes before the network.
        before = set(guest.check(f"systemctl show -P After {NETWORKD} network-pre.target").split())
        assert {unit for unit in before if unit.startswith("guestagent")} == {UNIT}

    def test_the_service_configures_the_machine(self, without: Race) -> None:
        found = report(without.guest)
        assert (found["exit_status"], found["first_boot"]) == (0, True), found["problems"]
        assert (found["instance_id"], found["problems"]) == (without.instance.uuid, [])
        assert "config drive" not in said_by(without.guest, APPLY)
        assert without.guest.ssh("debian", key=without.instance.key).check()
