"""A first boot whose service does not answer: how long sshd waits, and who gets in meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.memory import applied
from guestagent.sources import remote

from . import documents
from .documents import KEY, META
from .lab import IPV4, Lab, Machine, Namespace, Scene

KEYS = "/home/debian/.ssh/authorized_keys"
NETWORK = "/etc/systemd/network/10-guestagent-nic525400000101.network"
UUID = "22222222-2222-4333-8444-555555555555"
BUSY = {"steps": {"*": [{"status": 503}]}}
NO_SERVICE = '[drive]\nwait = 0\n[metadata]\nservice = "none"\n'
# What the tests wait for, in place of the seconds of the product.
SHORT = {"METADATA_PATIENCE": 1.0, "METADATA_AFTER_LEASE": 0.5, "METADATA_AFTER_REFUSAL": 0.5}


class Guest(Scene):
    """A machine with sshd, whose image has host keys, a link, and a service that may come."""

    def __init__(self, machine: Machine, lab: Lab) -> None:
        self.lab, self.far = lab, lab.link()
        super().__init__(machine, lab.serve(self.far, BUSY))
        sshd = shutil.which("sshd")
        rig.need(sshd is not None, "sshd is not installed")
        assert sshd
        layers = f"lowerdir={Path(sshd).parent}:/usr/sbin"
        lab.space.run("mount", "-t", "overlay", "-o", layers, "overlay", "/usr/sbin")
        lab.space.run("ssh-keygen", "-A")
        with self.machine.path("/etc/passwd").open("a") as file:
            file.write("sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n")  # sshd drops to it
        main = self.machine.path(defs.SSHD_CONFIG)
        main.write_text(f"Include {defs.SSHD_DROPINS}/*.conf\nUsePAM yes\nMatch all\nDenyUsers x\n")

    def start(self, **limits: float) -> list[int]:
        """Boot with short waits; the exit statuses of the units."""
        self.service.forget()
        self.runs = self.machine.boot(**{**SHORT, **limits})
        return [run.status for run in self.runs]

    def host_keys(self) -> dict[str, str]:
        """The public host keys by type."""
        found = sorted(self.machine.path("/etc/ssh").glob("ssh_host_*_key.pub"))
        return {path.name.split("_")[2]: path.read_text() for path in found}

    @property
    def closed(self) -> bool:
        """Whether sshd lets nobody in, by what it says itself."""
        sshd = "/usr/sbin/sshd -T -C user=debian,host=x,addr=192.0.2.1"
        said = self.lab.space.sh(f"mkdir -p /run/sshd; {sshd}")
        return "denyusers *" in said.splitlines()


def begin(guest: Guest) -> None:
    """Boot as far as the unit before the network goes."""
    shutil.rmtree(guest.machine.tree / "run/guestagent")
    run = guest.lab.guest.agent("apply", "--boot")
    assert run.status in (0, defs.EXIT_ERRORS), run.err


def waits(guest: Guest) -> bool:
    """Whether sshd waits: the units before it look for this file."""
    return guest.machine.path(defs.REQUEST_FILE).exists()


def _forget(guest: Guest, key: str, value: str | None = None) -> None:
    """Take a key out of what the state records, or give it another value."""
    path = guest.machine.path(defs.STATE_FILE)
    state = json.loads(path.read_text())
    state["record"].pop(key)
    if value is not None:
        state["record"][key] = value
    path.write_text(json.dumps(state))


def _enable(guest: Guest, unit: str) -> None:
    wants = guest.machine.path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(parents=True, exist_ok=True)
    (wants / unit).symlink_to("/dev/null")


def _cannot_write(guest: Guest) -> None:
    guest.machine.path(defs.SSHD_CLOSED).unlink()
    mount = f"mount --bind {defs.SSHD_DROPINS} {defs.SSHD_DROPINS}"
    guest.lab.space.sh(f"{mount}; mount -o remount,ro,bind {defs.SSHD_DROPINS}")


def _cannot_look(guest: Guest) -> None:
    """Follow no link that a user controls; the state says all the same that it is closed."""
    folder = guest.machine.path(defs.SSHD_DROPINS)
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")
    os.lchown(folder, 1000, 1000)


# What may have become of a machine since its first boot.
UNPROVEN: dict[str, Callable[[Guest], object]] = {
    "a copy": lambda guest: guest.lab.space.dmi(product_uuid=UUID),
    "no uuid": lambda guest: guest.lab.space.dmi(product_uuid=""),
    "a cloud whose uuids are not those of instances": lambda guest: guest.lab.space.dmi(
        product_name="x", chassis_asset_tag="HUAWEICLOUD"
    ),
    "sshd reads no drop-ins": lambda guest: guest.machine.path(defs.SSHD_CONFIG).write_text(""),
    "no file can be written": _cannot_write,
    "something is in the way": _cannot_look,
    "the state is lost": lambda guest: guest.machine.path(defs.STATE_FILE).unlink(),
    "no host keys were made": lambda guest: _forget(guest, applied.HOST_KEYS),
    "host keys of another machine": lambda guest: _forget(
        guest, applied.HOST_KEYS, applied.ahead(UUID)
    ),
    "it was not closed": lambda guest: _forget(guest, applied.SSHD_CLOSED),
    "a drive came too late": lambda guest: _forget(guest, applied.SSHD_CLOSED, applied.DRIVE_CAME),
    "the service is closed to others": lambda guest: _enable(guest, defs.LOCKDOWN_UNIT),
}


@pytest.fixture
def guest(machine: Machine, lab: Lab) -> Guest:
    """A guest before its first boot."""
    return Guest(machine, lab)


def black_hole(lab: Lab, far: Namespace) -> None:
    """Leave the addresses of the service to a neighbour who drops what is not for him."""
    mac = far.run("cat", f"{far.top}/sysfs/class/net/eth0/address").strip()
    far.sh(f"ip address delete {IPV4}/16 dev eth0")
    lab.space.sh(f"ip neighbour replace 192.0.0.1 lladdr {mac} dev enp0s3 nud permanent")


class TestPatience:
    """``fetch`` alone: how long a first answer is waited for."""

    def test_a_service_that_refuses_has_answered(self, lab: Lab) -> None:
        lab.link()
        run = lab.guest.fetch(limits=SHORT)
        assert run.answer.again
        assert run.answer.error.endswith(f"http://{IPV4}: Connection refused")
        assert 0.5 <= run.seconds < 10

    def test_one_that_comes_up_after_its_network_is_not_missed(self, lab: Lab) -> None:
        far = lab.link()
        threading.Timer(1.0, lab.serve, (far,)).start()
        run = lab.guest.fetch(limits={"METADATA_AFTER_REFUSAL": 15.0})
        assert run.answer.error == ""

    def test_a_black_hole_is_given_up_after_the_lease(self, lab: Lab) -> None:
        black_hole(lab, lab.link())
        run = lab.guest.fetch(patience=0.2, limits={**SHORT, "METADATA_AFTER_LEASE": 2.0})
        assert (run.answer.again, 2.0 <= run.seconds < 12) == (True, True)

    def test_without_a_lease_there_is_patience_and_no_more(self, lab: Lab) -> None:
        lab.link(ipv4=False)
        run = lab.guest.fetch(patience=1.5)
        assert (run.answer.again, 1.0 <= run.seconds < 12) == (True, True)

    def test_a_service_that_took_the_connection_has_the_time_of_an_answer(self, lab: Lab) -> None:
        lab.serve(lab.link(), {"steps": {META: [{"delay": 2.0}]}})
        run = lab.guest.fetch(patience=0.5, limits={"METADATA_AFTER_LEASE": 0.5})
        assert run.answer.error == ""

    def test_one_that_is_busy_has_no_more_than_that(self, lab: Lab) -> None:
        lab.serve(lab.link(), BUSY)
        run = lab.guest.fetch(patience=0.5, limits={**SHORT, "READ_TIMEOUT": 1.0})
        assert "HTTP status 503" in run.answer.error
        assert run.seconds < 12

    def test_documents_have_their_time_once_there_is_an_answer(self, lab: Lab) -> None:
        steps = {documents.USER: [{"status": 503, "for": 3.0}, {}]}
        lab.serve(lab.link(), {"steps": steps})
        run = lab.guest.fetch(patience=0.5, limits=SHORT)
        assert (run.answer.error, run.answer.failed) == ("", {})


class TestClosed:
    """Whole boots: who gets in while no source has said who may."""

    def test_D4_nobody_gets_in_before_there_is_an_answer(self, guest: Guest) -> None:
        assert not guest.closed
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN], guest.runs[-1].err
        assert guest.closed
        # Whoever is at the console has all of it in one line.
        (line,) = [line for line in guest.runs[-1].err.splitlines() if "error:" in line]
        assert "no metadata service answered: http://169.254.169.254: HTTP status 503" in line
        assert "sshd lets nobody in until it is; the service is asked again" in line
        assert f"remove {defs.SSHD_CLOSED} and reload sshd" in line

    def test_D4_it_is_closed_by_the_unit_before_the_network(self, guest: Guest) -> None:
        run = guest.lab.guest.agent("apply", "--boot")
        assert (run.status, guest.closed) == (0, True)

    def test_D4_host_keys_are_made_without_an_answer_and_once(self, guest: Guest) -> None:
        image = guest.host_keys()
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN]
        first = guest.host_keys()
        assert not set(first.values()) & set(image.values())
        assert {"ed25519", "ecdsa"} <= first.keys()
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN]
        assert guest.host_keys() == first
        guest.service.say({})
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        assert guest.machine.report()["first_boot"]
        assert guest.host_keys() == first

    def test_an_answer_opens_it(self, guest: Guest) -> None:
        guest.start()
        guest.service.say({})
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        assert not guest.closed
        assert KEY in guest.text(KEYS)
        assert not guest.machine.path(defs.SSHD_CLOSED).exists()
        # What closes it is no reason to think that the key lets no one in.
        assert guest.machine.report()["problems"] == []

    def test_D4_an_answer_for_another_machine_leaves_it_closed(self, guest: Guest) -> None:
        other = json.dumps(documents.meta_data(UUID, "evil"))
        guest.service.say({"documents": {**documents.openstack(), META: other}})
        image = guest.host_keys()
        assert guest.start() == [0, 0, defs.EXIT_WRONG_SOURCE]
        assert guest.closed
        assert not set(guest.host_keys().values()) & set(image.values())

    def test_D4_a_copy_of_the_disk_opens_to_nobody_of_the_one_before(self, guest: Guest) -> None:
        guest.service.say({})
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        old = guest.host_keys()
        guest.lab.space.dmi(product_uuid=UUID)
        guest.service.say(BUSY)
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN]
        assert guest.closed
        assert KEY not in guest.text(KEYS)
        assert not set(old.values()) & set(guest.host_keys().values())
        assert "DHCP=ipv4" in guest.text(NETWORK)
        guest.service.say({})
        meta = json.dumps(documents.meta_data(UUID, "copy"))
        guest.service.say({"documents": {**documents.openstack(), META: meta}})
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        assert (guest.closed, guest.text("/etc/hostname")) == (False, "copy\n")

    def test_D4_a_copy_of_a_closed_machine_has_host_keys_of_its_own(self, guest: Guest) -> None:
        guest.start()
        old = guest.host_keys()
        guest.lab.space.dmi(product_uuid=UUID)
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN]
        assert not set(old.values()) & set(guest.host_keys().values())
        again = guest.host_keys()
        meta = json.dumps(documents.meta_data(UUID, "copy"))
        guest.service.say({"documents": {**documents.openstack(), META: meta}})
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        assert guest.host_keys() == again

    def test_an_image_of_a_closed_machine_without_its_state_is_opened(self, guest: Guest) -> None:
        guest.start()
        guest.machine.path(defs.STATE_FILE).unlink()
        drive = guest.machine.path("/var/lib/drive")
        for path in documents.FIVE:
            (drive / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (drive / path[1:]).write_text(documents.openstack()[path])
        run = guest.lab.guest.agent("apply", "--source", "/var/lib/drive")
        assert f"remove {defs.SSHD_CLOSED}" in run.err
        assert not guest.closed

    def test_D4_one_that_was_opened_by_hand_is_closed_at_the_next_boot(self, guest: Guest) -> None:
        """That may be the boot of a copy of its disk."""
        guest.start()
        guest.machine.path(defs.SSHD_CLOSED).write_text("# DenyUsers *\n")
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN]
        assert guest.closed
        guest.machine.path(defs.SSHD_CLOSED).unlink()
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN]
        assert guest.closed

    def test_an_image_of_a_closed_machine_without_its_state_is_opened_by_an_answer(
        self, guest: Guest
    ) -> None:
        guest.start()
        shutil.rmtree(guest.machine.path(defs.STATE_DIR))
        assert guest.start() == [0, 0, defs.EXIT_TRY_AGAIN]
        guest.service.say({})
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        assert not guest.closed

    def test_one_that_asks_nobody_any_more_is_opened(self, guest: Guest) -> None:
        guest.start()
        guest.machine.path(defs.SETTINGS_FILE).write_text(NO_SERVICE)
        run = guest.lab.guest.agent("apply", "--boot")
        assert (run.status, guest.closed) == (0, False)
        assert f"remove {defs.SSHD_CLOSED}" in run.err
        assert "sshd_closed" not in guest.text(defs.STATE_FILE)

    def test_what_failed_to_open_is_opened_later_whatever_is_wrong(self, guest: Guest) -> None:
        guest.start()
        broken = {**documents.openstack(), documents.USER: "#cloud-config\nusers: [\n"}
        guest.service.say({"documents": broken})
        mount = f"mount --bind {defs.SSHD_DROPINS} {defs.SSHD_DROPINS}"
        guest.lab.space.sh(f"{mount}; mount -o remount,ro,bind {defs.SSHD_DROPINS}")
        assert guest.start() == [0, 0, defs.EXIT_ERRORS]
        assert f"{defs.SSHD_CLOSED}: Read-only file system" in guest.runs[-1].err
        assert guest.closed
        guest.lab.space.sh(f"umount {defs.SSHD_DROPINS}")
        assert guest.start() == [0, 0, defs.EXIT_ERRORS]
        assert not guest.closed

    def test_one_that_is_back_after_a_crash_goes_at_the_next_boot(self, guest: Guest) -> None:
        """Its removal may be lost with the power, while the state on another disk is not."""
        guest.start()
        written = guest.machine.path(defs.SSHD_CLOSED).read_text()
        guest.service.say({})
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        guest.machine.path(defs.SSHD_CLOSED).write_text(written)
        assert guest.start() == [0, 0, 0], guest.runs[-1].err
        assert not guest.closed

    def test_sshd_that_reads_it_for_some_alone_is_told_of(self, guest: Guest) -> None:
        text = f"UsePAM yes\nMatch User x\nInclude {defs.SSHD_DROPINS}/*.conf\n"
        guest.machine.path(defs.SSHD_CONFIG).write_text(text)
        guest.start()
        assert not guest.closed
        assert "keys and passwords of the image let in over ssh" in guest.runs[0].err


class TestSecondBoot:
    """A machine that had no answer at its first boot: once it is closed, sshd need not wait."""

    def test_D4_it_is_closed_with_its_own_host_keys_before_sshd_starts(self, guest: Guest) -> None:
        image = guest.host_keys()
        guest.start()
        own = guest.host_keys()
        guest.machine.path(defs.SSHD_CLOSED).unlink()  # opened by hand
        begin(guest)
        assert (waits(guest), guest.closed) == (False, True)
        assert guest.host_keys() == own
        assert not set(own.values()) & set(image.values())
        assert guest.machine.report()["pending"][:2] == [defs.LATER_UNIT, defs.APPLY_UNIT]

    def test_no_nic_is_waited_for_and_the_network_of_the_boot_before_stays(
        self, guest: Guest
    ) -> None:
        """udev may load its driver later; guestagentd sees to NICs then."""
        _enable(guest, defs.DAEMON_UNIT)
        guest.start()
        known = guest.text(NETWORK)
        guest.lab.space.sh("ip link delete enp0s3")
        guest.lab.space.show_links()
        begin(guest)
        assert guest.text(NETWORK) == known
        assert (waits(guest), guest.machine.report()["changes"]) == (False, [])

    @pytest.mark.parametrize("daemon", [True, False])
    def test_a_nic_that_came_gets_a_network(self, guest: Guest, daemon: bool) -> None:
        if daemon:
            _enable(guest, defs.DAEMON_UNIT)
        guest.start()
        guest.lab.link()
        begin(guest)
        files = sorted(guest.machine.path(NETWORK).parent.glob("10-guestagent-nic*"))
        assert len(files) == 2
        assert not waits(guest)

    def test_A1_a_drive_is_looked_for_before_the_answer_is_believed(self, guest: Guest) -> None:
        guest.start()
        begin(guest)
        request = remote.read_request(str(guest.machine.path(defs.LATER_REQUEST_FILE)))
        assert 0 < request.since <= time.monotonic()

    @pytest.mark.parametrize("title", UNPROVEN)
    def test_D4_sshd_waits_where_that_is_not_proven(self, guest: Guest, title: str) -> None:
        guest.start()
        UNPROVEN[title](guest)
        begin(guest)
        assert waits(guest)
        assert not guest.machine.path(defs.LATER_REQUEST_FILE).exists()


class TestKnown:
    def test_sshd_does_not_wait_for_an_instance_that_is_known(self, guest: Guest) -> None:
        guest.service.say({})
        assert guest.start() == [0, 0, 0]
        guest.service.say(BUSY)
        shutil.rmtree(guest.machine.tree / "run/guestagent")
        assert guest.lab.guest.agent("apply", "--boot").status == 0
        # The units before sshd look for the one file, the one after the boot for the other.
        assert not guest.machine.path(defs.REQUEST_FILE).exists()
        assert guest.machine.path(defs.LATER_REQUEST_FILE).exists()
        assert guest.machine.report()["pending"][:2] == [defs.LATER_UNIT, defs.APPLY_UNIT]
        assert not guest.closed

    def test_the_answer_comes_first_where_it_is_to_be_closed_to_others(self, guest: Guest) -> None:
        guest.service.say({})
        assert guest.start() == [0, 0, 0]
        _enable(guest, defs.LOCKDOWN_UNIT)
        shutil.rmtree(guest.machine.tree / "run/guestagent")
        assert guest.lab.guest.agent("apply", "--boot").status == 0
        assert guest.machine.path(defs.REQUEST_FILE).exists()
