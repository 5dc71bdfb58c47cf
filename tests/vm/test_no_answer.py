"""sshd does not wait for a service that does not answer, and lets nobody in before it does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from service.lab import Service

from .guest import Guest
from .image import GuestImage
from .metadata import APPLY, FETCH, UNITS, ServiceNic, openstack
from .scenario import UNIT, Instance, new_instance, report, wait_for_the_end

pytestmark = pytest.mark.vm

SSH = "ssh.service"
LATER, TIMER, DAEMON = "guestagent-later.service", "guestagent-again.timer", "guestagentd.service"
CLOSED = "/etc/ssh/sshd_config.d/00-guestagent-closed.conf"
OFF = "guestagent=disabled"
PASSWORD = "canary-of-the-image"
IMAGE_NETWORK = "/etc/systemd/network/50-image.network"
_DHCP = "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n"


class Life(NamedTuple):
    """A guest that is the instance, with what its image had; and its service."""

    guest: Guest
    instance: Instance
    image: Instance
    service: Service
    image_keys: frozenset[str]


def host_keys(guest: Guest) -> frozenset[str]:
    return frozenset(guest.check("cut -d' ' -f2 /etc/ssh/ssh_host_*_key.pub").split())


def enters(life: Life) -> list[str]:
    """By which of the image's ways one gets in."""
    guest = life.guest
    ways = {
        "its key": guest.ssh("imager", key=life.image.key),
        "root's key": guest.ssh("root", key=life.image.key),
        "its password": guest.ssh("imager", password=PASSWORD),
    }
    return [way for way, done in ways.items() if done.status != 255]


def seconds_between(guest: Guest, first: str, second: str) -> float:
    """From the end of one unit to the beginning of another."""
    times = guest.boot_times(first, second).units
    return times[second][0] - times[first][1]


def print_times(title: str, guest: Guest) -> None:
    times = guest.boot_times(UNIT, *UNITS, LATER, SSH, "multi-user.target").units
    print(title, *(f"{name} {a:.1f}-{b:.1f}" for name, (a, b) in times.items()), sep="\n  ")


def try_from_the_beginning(life: Life) -> list[int]:
    """Start the guest, and try the image's key until its sshd says something: all statuses."""
    life.guest.start()
    found = []
    end = time.monotonic() + 600
    while time.monotonic() < end:
        done = life.guest.ssh("imager", key=life.image.key)
        found.append(done.status)
        if b"Permission denied" in done.err or not done.status:
            break
        time.sleep(0.1)
    life.guest.wait_rebooted("")
    return found


@pytest.fixture(scope="module")
def image(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """A disk as its image is: with host keys, and an account that lets in by key and password."""
    where = tmp_path_factory.mktemp("answer")
    builder, instance = new_instance(where / "image"), new_instance(where / "own", files=())
    service = Service(where / "service", {"steps": {"*": [{"status": 503}]}})
    try:
        with Guest(guest_image, (), [ServiceNic()], instance.smbios, OFF) as guest:
            guest.boot()
            guest.check("ssh-keygen -A; useradd -m -s /bin/bash imager")
            guest.check(f"echo imager:{PASSWORD} | chpasswd")
            for home in ("/home/imager", "/root"):
                guest.check(f"mkdir -p -m 700 {home}/.ssh")
                guest.put(f"{home}/.ssh/authorized_keys", builder.public_key, 0o600)
            guest.check("chown -R imager: /home/imager")
            guest.put(IMAGE_NETWORK, _DHCP)
            guest.check("networkctl reload")
            # Until now it had no host keys; its next try, and the end of that, may be under way.
            guest.wait_for(f"systemctl restart {SSH}")
            guest.wait_for("ip -4 -o address show dev enp0s3 | grep dynamic")
            life = Life(guest, instance, builder, service, host_keys(guest))
            assert enters(life) == ["its key", "root's key", "its password"]
            # Nothing else is to ask in the place of the units of the boot.
            guest.check(f"rm {IMAGE_NETWORK}; systemctl disable {DAEMON}")
            guest.power_off()
            yield life
    finally:
        service.close()


@pytest.fixture(scope="module")
def refused(image: Life) -> tuple[Life, list[int]]:
    """The first boot: nobody listens at the service's address."""
    image.guest.machine.cmdline_extra = ""
    return image, try_from_the_beginning(image)


class TestFirstBootWithoutAnswer:
    def test_D4_nobody_gets_in_from_the_beginning(self, refused: tuple[Life, list[int]]) -> None:
        life, tried = refused
        print_times("refused", life.guest)
        print(f"tried {len(tried)} times")
        assert set(tried) == {255}
        assert enters(life) == []
        assert life.guest.check("sshd -T | grep -i ^denyusers").split() == ["denyusers", "*"]

    def test_D4_it_is_closed_before_sshd_starts(self, refused: tuple[Life, list[int]]) -> None:
        guest = refused[0].guest
        assert guest.check(f"systemctl is-active {SSH}") == "active\n"
        assert seconds_between(guest, UNIT, "network-pre.target") >= 0
        failed = guest.check(f"systemctl show -P ActiveExitTimestampMonotonic {APPLY}")
        began = guest.check(f"systemctl show -P InactiveExitTimestampMonotonic {SSH}")
        assert int(failed or 0) <= int(began)
        written = float(guest.check(f"stat -c %.6W {CLOSED}"))
        started = float(guest.check("stat -c %.6Y /run/sshd.pid"))
        assert written < started

    def test_D4_host_keys_are_new_without_an_answer(self, refused: tuple[Life, list[int]]) -> None:
        life, _ = refused
        assert len(life.image_keys) == 3
        assert not life.image_keys & host_keys(life.guest)
        scan = "ssh-keyscan -t ed25519 127.0.0.1 2>/dev/null | grep -v '^#'"
        offered = life.guest.check(scan)
        assert offered.split()[2] in host_keys(life.guest)

    def test_it_takes_no_longer_than_an_answer_is_likely(
        self, refused: tuple[Life, list[int]]
    ) -> None:
        began, ended = refused[0].guest.boot_times(FETCH).units[FETCH]
        # Two seconds after the first refusal; the rest is the interpreter under emulation.
        assert ended - began < 100
        found = report(refused[0].guest)
        (problem,) = found["problems"]
        print(problem["reason"])
        # What QEMU says of an address that it does not have.
        assert (found["exit_status"], "No route to host" in problem["reason"]) == (75, True)
        assert "sshd lets nobody in until it is" in problem["reason"]

    def test_without_the_daemon_a_timer_asks_again(self, refused: tuple[Life, list[int]]) -> None:
        guest = refused[0].guest
        assert guest.check(f"systemctl is-active {TIMER}") == "active\n"

    def test_no_unit_waits_in_a_circle(self, refused: tuple[Life, list[int]]) -> None:
        guest = refused[0].guest
        assert guest.run("journalctl -b -o cat | grep -i 'ordering cycle'").stdout == ""
        units = guest.check(
            "cd /usr/lib/systemd/system; echo guestagent*.service guestagent*.timer"
        )
        done = guest.run(f"systemd-analyze verify --man=no {units.strip()} multi-user.target")
        assert "guestagent" not in done.stdout + done.stderr


def assert_that_sshd_did_not_wait(guest: Guest) -> None:
    """It was asked after sshd had started, which was closed before."""
    times = guest.boot_times(UNIT, SSH).units
    # Its unit is started again and again.
    first = guest.check(f"journalctl -b -o short-monotonic -u {FETCH} | grep -m 1 ': Starting '")
    asked = float(first[1:].partition("]")[0])
    print(f"closed {times[UNIT][1]}, sshd {times[SSH][1]}, asked {asked}")
    assert 0 < times[UNIT][1] < times[SSH][0] < times[SSH][1] < asked


@pytest.fixture(scope="module")
def late(refused: tuple[Life, list[int]]) -> Life:
    """The second boot: the service is busy, with the same keys, and answers when all is up."""
    life, _ = refused
    guest = life.guest
    before = host_keys(guest)
    guest.check(f"systemctl enable {DAEMON}")
    guest.power_off()
    guest.machine.nics = (ServiceNic(port=life.service.port),)
    tried = try_from_the_beginning(life)
    print_times("busy", guest)
    assert set(tried) == {255}
    assert host_keys(guest) == before
    assert enters(life) == []
    guest.wait_for("grep -q '\"exit_status\": 75' /run/guestagent/report.json", timeout=200)
    assert_that_sshd_did_not_wait(guest)
    life.service.say({"documents": openstack(life.instance, "")})
    guest.wait_for(f"grep -q {life.instance.uuid} /run/guestagent/report.json", timeout=200)
    return life._replace(image_keys=before)


class TestAnswerAfterTheBoot:
    def test_the_daemon_has_it_configured(self, late: Life) -> None:
        found = report(late.guest)
        print(found["problems"])
        assert (found["exit_status"], found["first_boot"]) == (0, True)
        assert late.guest.check("hostname") == "web-1\n"
        # sshd is told without waiting for it.
        end = time.monotonic() + 120
        while late.guest.ssh("debian", key=late.instance.key).status and time.monotonic() < end:
            time.sleep(1)
        assert late.guest.ssh("debian", key=late.instance.key).check()

    def test_the_host_keys_stay(self, late: Life) -> None:
        assert host_keys(late.guest) == late.image_keys

    def test_what_the_image_lets_in_it_does_again(self, late: Life) -> None:
        assert not late.guest.exists(CLOSED)
        assert enters(late) == ["its key", "root's key", "its password"]


@pytest.fixture(scope="module")
def known(late: Life) -> Life:
    """The third boot: the instance is known, and its service refuses."""
    late.guest.check(f"systemctl disable {DAEMON}")
    late.guest.power_off()
    late.guest.machine.nics = (ServiceNic(),)
    late.guest.boot()
    return late


class TestLaterBootWithoutAnswer:
    def test_sshd_does_not_wait_at_all(self, known: Life) -> None:
        guest = known.guest
        assert guest.ssh("debian", key=known.instance.key).check()
        guest.wait_for("grep -q '\"exit_status\": 75' /run/guestagent/report.json", timeout=120)
        print_times("known, refused", guest)
        assert seconds_between(guest, SSH, FETCH) > 0
        assert guest.check("guestagent status --wait 60; echo $?").splitlines()[-1] == "1"

    def test_it_stays_as_it_was(self, known: Life) -> None:
        assert known.guest.check("hostname") == "web-1\n"
        assert host_keys(known.guest) == known.image_keys
        assert not known.guest.exists(CLOSED)


@pytest.fixture(scope="module")
def copied(known: Life, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The disk as another instance, which nobody answers; sshd is started by its socket."""
    guest, new = known.guest, new_instance(tmp_path_factory.mktemp("copy"), files=())
    guest.check("systemctl disable ssh.service && systemctl enable ssh.socket")
    guest.power_off()
    guest.machine.smbios = new.smbios
    guest.boot()
    return known


class TestCopyWithoutAnswer:
    def test_D4_what_opened_the_instance_before_opens_nothing(self, copied: Life) -> None:
        guest = copied.guest
        print_times("copied, refused, by socket", guest)
        assert b"Permission denied" in guest.ssh("debian", key=copied.instance.key).err
        assert enters(copied) == []
        keys = guest.run("cat /home/debian/.ssh/authorized_keys").stdout
        assert copied.instance.public_key.split()[1] not in keys
        assert not copied.image_keys & host_keys(guest)
        assert guest.run("journalctl -b -o cat | grep -i 'ordering cycle'").stdout == ""


@pytest.fixture(scope="module")
def second(
    guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Guest, Instance]]:
    """The second boot of a guest that had no answer has a drive, on a bus slower than the boot."""
    where = tmp_path_factory.mktemp("second")
    instance = new_instance(where / "own", files=())
    with Guest(guest_image, (), [ServiceNic()], instance.smbios) as guest:
        guest.boot()
        guest.wait_for("grep -q '\"exit_status\": 75' /run/guestagent/report.json", 200)
        guest.power_off()
        guest.machine.drives = (instance.drive(where / "drive", "cdrom-sata"),)
        guest.boot()
        yield guest, instance


class TestDriveAfterABootWithoutAnswer:
    def test_A1_it_configures_the_machine(self, second: tuple[Guest, Instance]) -> None:
        guest, instance = second
        guest.wait_for('grep -q \'"source": "config drive\' /run/guestagent/report.json', 200)
        wait_for_the_end(guest)
        print_times("second boot with a drive", guest)
        print(guest.check(f"journalctl -b -o cat -u {UNIT} -u {APPLY} | tail -20"))
        found = report(guest)
        assert (found["exit_status"], found["instance_id"]) == (0, instance.uuid)
        assert found["first_boot"]

    def test_D4_its_key_alone_opens_the_door(self, second: tuple[Guest, Instance]) -> None:
        guest, instance = second
        guest.wait_for("! sshd -T | grep -i ^denyusers")
        end = time.monotonic() + 120
        while guest.ssh("debian", key=instance.key).status and time.monotonic() < end:
            time.sleep(1)
        assert guest.ssh("debian", key=instance.key).check()
        assert not guest.exists(CLOSED)
