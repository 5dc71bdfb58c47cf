"""A config drive configures a guest: seen from outside, on every medium, boot after boot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guestagent.defs import EXIT_TRY_AGAIN, HOST_KEYS_UNIT

from .guest import Guest
from .image import GuestImage
from .machine import Bus
from .scenario import (
    NIC,
    SETTINGS,
    UNIT,
    Instance,
    card,
    holding,
    journal,
    listing,
    new_instance,
    report,
    settings_argument,
)
from .user_data import EARLY, LATE

pytestmark = pytest.mark.vm

FINISHED = "/var/lib/cloud/instance/boot-finished"

MEDIA: dict[str, tuple[Bus, str, str]] = {
    "iso-virtio": ("virtio", "iso9660", "networkd"),
    "iso-cdrom-sata": ("cdrom-sata", "iso9660", "networkd"),
    "iso-cdrom-scsi": ("cdrom-scsi", "iso9660", "networkd"),
    "iso-cdrom-ide": ("cdrom-ide", "iso9660", "networkd"),
    "vfat-virtio": ("virtio", "vfat", "networkd"),
    "ifupdown": ("virtio", "vfat", "ifupdown"),
}
# The kernel's own record of who started whom, from its first second on.
TRACE = "trace_event=sched:sched_process_fork,sched:sched_process_exec trace_buf_size=4M"
KEPT = ("/etc", "/home", "/root")
Boot = tuple[Guest, Instance]


def boot(image: GuestImage, instance: Instance, where: Path, bus: Bus, kind: str) -> Guest:
    return Guest(
        image,
        drives=[instance.drive(where, bus, kind)],
        nics=[NIC],
        smbios=instance.smbios,
        cmdline_extra=f"{settings_argument(SETTINGS)} {TRACE}",
    )


def static_network(guest: Guest) -> tuple[set[str], set[tuple[str, str]], str]:
    """Addresses, default routes and name servers of the guest's card."""
    name = card(guest)
    (link,) = json.loads(guest.check(f"ip -j address show dev {name}"))
    found = (a for a in link["addr_info"] if a["scope"] == "global")
    addresses = {f"{a['local']}/{a['prefixlen']}" for a in found}
    shown = [
        json.loads(guest.check(f"ip -j {family} route show default")) for family in ["-4", "-6"]
    ]
    routes = {(route["gateway"], route["dev"]) for found in shown for route in found}
    return addresses, routes, guest.check("resolvectl dns")


def processes_of_the_agent(guest: Guest) -> list[str]:
    """What the agent started in this boot, by the kernel's record."""
    guest.check("mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing")
    trace = guest.check("cat /sys/kernel/tracing/trace")
    assert "filename=/usr/bin/guestagent" in trace, "the kernel recorded nothing"
    return [line for line in trace.splitlines() if "process_fork: comm=guestagent " in line]


@pytest.fixture(scope="module", params=MEDIA)
def booted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Boot]:
    """A guest after its first boot with a drive, on each medium in turn."""
    bus, kind, network = MEDIA[request.param]
    name = "guest_image" if network == "networkd" else "guest_image_ifupdown"
    where = tmp_path_factory.mktemp("drive")
    instance = new_instance(where / "keys")
    image = request.getfixturevalue(name)
    with boot(image, instance, where, bus, kind) as guest:
        guest.boot()
        yield guest, instance


@pytest.fixture
def guest(booted: Boot) -> Guest:
    return booted[0]


@pytest.fixture
def instance(booted: Boot) -> Instance:
    return booted[1]


class TestFirstBoot:
    def test_report_tells_of_success(self, guest: Guest, instance: Instance) -> None:
        found = report(guest)
        assert (found["problems"], found["exit_status"]) == ([], 0)
        assert (found["instance_id"], found["first_boot"]) == (instance.uuid, True)
        assert found["changes"]
        # The boot waited for the drive, and asked nobody else.
        assert not guest.exists("/run/guestagent/request.json")
        print(f"first boot: {found['total_ms']} ms, {found['steps_ms']}")

    def test_nothing_has_failed(self, guest: Guest) -> None:
        assert guest.settle() == "running"
        assert guest.check(f"systemctl is-active {UNIT} ssh.service").split() == ["active"] * 2

    def test_without_user_data_no_unit_for_scripts_starts(self, guest: Guest) -> None:
        for unit in (EARLY, LATE):
            assert guest.check(f"systemctl show -P LoadState {unit}") == "loaded\n"
            assert guest.check(f"systemctl show -P ExecMainStartTimestampMonotonic {unit}") == "0\n"

    def test_the_key_opens_the_door(self, guest: Guest, instance: Instance) -> None:
        assert guest.ssh("debian", "id -un", key=instance.key).check().stdout == "debian\n"

    def test_the_password_opens_the_door(self, guest: Guest, instance: Instance) -> None:
        done = guest.ssh("debian", "id -un", password=instance.password)
        assert done.check().stdout == "debian\n"
        assert guest.ssh("debian", password="another").status == 255

    def test_root_stays_outside(self, guest: Guest, instance: Instance) -> None:
        assert guest.ssh("root", key=instance.key).status == 255
        assert guest.ssh("root", password=instance.password).status == 255

    def test_the_default_user_may_become_root(self, guest: Guest, instance: Instance) -> None:
        done = guest.ssh("debian", "sudo -n id -u", key=instance.key)
        assert done.check().stdout == "0\n"
        assert "sudo" in guest.check("id -nG debian").split()

    def test_B4_authorized_keys_belong_to_the_user(self, guest: Guest, instance: Instance) -> None:
        home = "/home/debian"
        shown = guest.check(f"stat -c '%a %U:%G' {home}/.ssh {home}/.ssh/authorized_keys")
        assert shown.splitlines() == ["700 debian:debian", "600 debian:debian"]
        assert instance.public_key.strip() in guest.get(f"{home}/.ssh/authorized_keys").decode()

    def test_the_name_is_static_and_running(self, guest: Guest) -> None:
        assert guest.check("cat /etc/hostname /proc/sys/kernel/hostname") == "web-1\nweb-1\n"
        assert guest.check("getent hosts web-1").split()[1:] == ["web-1.example.org", "web-1"]

    def test_the_network_is_as_told(self, guest: Guest, instance: Instance) -> None:
        addresses, routes, dns = static_network(guest)
        name = card(guest)
        assert addresses == {f"{NIC.address}/24", f"{instance.ipv6}/64"}
        assert routes == {(NIC.gateway, name), (NIC.ipv6_prefix + "2", name)}
        assert NIC.nameserver in dns
        assert guest.check(f"cat /sys/class/net/{name}/mtu") == "1450\n"

    def test_B2_injected_files_are_root_s_and_whole(self, guest: Guest, instance: Instance) -> None:
        for path, content in instance.files:
            assert guest.get(path) == content
            assert guest.check(["stat", "-c", "%a %U:%G", path]) == "600 root:root\n"
        assert guest.check("stat -c '%a %U:%G' /srv/app/conf.d") == "755 root:root\n"

    def test_sshd_works_as_the_settings_say(self, guest: Guest) -> None:
        effective = guest.check("sshd -T").splitlines()
        assert "passwordauthentication yes" in effective
        assert "permitrootlogin without-password" in effective

    def test_host_keys_are_there_and_in_use(self, guest: Guest) -> None:
        shown = guest.check("stat -c '%a %U:%G %n' /etc/ssh/ssh_host_*_key").splitlines()
        kinds = ("ecdsa", "ed25519", "rsa")
        assert shown == [f"600 root:root /etc/ssh/ssh_host_{kind}_key" for kind in kinds]
        for kind in kinds:
            offered = guest.check(f"ssh-keyscan -qt {kind} 127.0.0.1").split()[1:3]
            assert offered == guest.get(f"/etc/ssh/ssh_host_{kind}_key.pub").decode().split()[:2]

    def test_A2_the_drive_is_mounted_nowhere(self, guest: Guest) -> None:
        devices = guest.check("lsblk -nro NAME,LABEL | grep -i config-2").split()[0]
        assert (
            guest.run(f"cat /proc/[0-9]*/mountinfo | grep -E '{devices}|guestagent/drive'").out
            == b""
        )

    def test_B3_the_password_is_in_no_log(self, guest: Guest, instance: Instance) -> None:
        guest.put("/run/control", f"password={instance.password}")
        found = holding(guest, instance.password, ("/run", "/var/log"))
        guest.check("rm /run/control")
        assert found == "/run/control\n"

    def test_B5_the_password_is_at_rest_nowhere(self, guest: Guest, instance: Instance) -> None:
        places = ("/var/lib", "/var/tmp", "/var/cache", "/tmp", "/etc", "/home", "/root")
        assert holding(guest, instance.password, places) == ""

    def test_B7_state_and_report_have_the_right_modes(self, guest: Guest) -> None:
        places = "/var/lib/guestagent /run/guestagent"
        assert guest.check(f"stat -c '%a %U:%G' {places}") == "700 root:root\n755 root:root\n"
        assert guest.check(f"find {places} -perm /022 ! -type l") == ""


@pytest.fixture(scope="module")
def lives(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boot]:
    """A guest that was configured at its first boot, for the boots that follow."""
    where = tmp_path_factory.mktemp("first")
    instance = new_instance(where / "keys")
    with boot(guest_image, instance, where, "virtio", "iso9660") as guest:
        yield guest.boot(), instance


@pytest.fixture(scope="module")
def again(lives: Boot) -> tuple[Guest, Instance, list[str], list[str]]:
    """The same guest after its second boot; the tree and the processes of the first."""
    guest, instance = lives
    before, started = listing(guest, *KEPT), processes_of_the_agent(guest)
    guest.reboot()
    return guest, instance, before, started


class TestSecondBoot:
    def test_nothing_is_changed(self, again: Any) -> None:
        guest, _, before, _ = again
        found = report(guest)
        assert (found["exit_status"], found["unchanged"], found["changes"]) == (0, True, [])
        assert listing(guest, *KEPT) == before
        print(f"second boot: {found['total_ms']} ms, {found['steps_ms']}")

    def test_no_process_is_started(self, again: Any) -> None:
        guest, _, _, started = again
        assert started, "the first boot is on record"
        assert processes_of_the_agent(guest) == []

    def test_the_unit_for_slow_host_keys_does_not_start(self, again: Any) -> None:
        guest, *_ = again
        assert guest.check(f"systemctl show -P ConditionResult {HOST_KEYS_UNIT}") == "no\n"

    def test_everything_is_as_it_was(self, again: Any) -> None:
        guest, instance, _, _ = again
        assert guest.settle() == "running"
        assert guest.check("hostname") == "web-1\n"
        assert guest.ssh("debian", key=instance.key).check()
        assert guest.ssh("debian", password=instance.password).check()


class HostKeys(NamedTuple):
    """Public host keys by type: of the old instance, and of the new one before and with RSA."""

    old: dict[str, str]
    early: dict[str, str]
    new: dict[str, str]


# An ssh-keygen for the agent alone, which makes a key of RSA when it is told to.
SLOW_RSA = """#!/bin/sh
while [ "$3" = rsa ] && ! [ -e /run/rsa-may-begin ]; do sleep 0.5; done
exec /usr/bin/ssh-keygen "$@"
"""


def public_keys(guest: Guest) -> dict[str, str]:
    lines = guest.check("cat /etc/ssh/ssh_host_*_key.pub").splitlines()
    assert len(lines) == len(guest.check("ls /etc/ssh/ssh_host_*_key").splitlines())
    return {kind: key for kind, key, *_ in (line.split() for line in lines)}


@pytest.fixture(scope="module")
def renewed(
    again: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Guest, Instance, Instance, HostKeys]:
    """The same disk as another instance, which has no network of its own.

    Its key of RSA is made only after the boot is over and sshd was asked for another.
    """
    guest, old, *_ = again
    where = tmp_path_factory.mktemp("other")
    new = new_instance(where / "keys", hostname="db-2", files=(), network="none")
    old_keys = public_keys(guest)
    guest.put("/usr/sbin/ssh-keygen", SLOW_RSA, 0o755)
    guest.power_off()
    guest.machine.drives, guest.machine.smbios = (new.drive(where),), new.smbios
    guest.boot(settle=False)
    guest.wait_for("systemctl is-active multi-user.target", timeout=120)
    guest.wait_for("ssh-keyscan -t ed25519 127.0.0.1 | grep -q ssh-ed25519")
    early = public_keys(guest)
    assert guest.run(f"systemctl is-active {HOST_KEYS_UNIT}").stdout == "activating\n"
    assert guest.run("guestagent status --wait 1").status == EXIT_TRY_AGAIN
    assert guest.run(["stat", FINISHED]).status == 1
    guest.check("touch /run/rsa-may-begin")
    guest.settle()
    guest.check("rm /usr/sbin/ssh-keygen")
    return guest, old, new, HostKeys(old_keys, early, public_keys(guest))


class TestNewInstance:
    def test_it_is_a_first_boot(self, renewed: Any) -> None:
        guest, _, new, _ = renewed
        found = report(guest)
        assert (found["instance_id"], found["first_boot"]) == (new.uuid, True)
        assert found["exit_status"] == 0, found["problems"]
        assert guest.settle() == "running"
        assert guest.check("hostname") == "db-2\n"

    def test_D4_host_keys_are_new_from_the_beginning(self, renewed: Any) -> None:
        *_, keys = renewed
        assert keys.old.keys() == {"ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256"}
        assert not {*keys.old.values()} & {*keys.early.values(), *keys.new.values()}

    def test_sshd_starts_before_the_key_of_rsa_is_made_and_offers_it_then(
        self, renewed: Any
    ) -> None:
        guest, _, _, keys = renewed
        assert keys.early.keys() == {"ssh-ed25519", "ecdsa-sha2-nistp256"}
        assert keys.new == {**keys.early, "ssh-rsa": keys.new["ssh-rsa"]}
        offered = guest.wait_for("ssh-keyscan -t rsa 127.0.0.1 2>&1 | grep ssh-rsa").stdout
        assert offered.split()[1:3] == ["ssh-rsa", keys.new["ssh-rsa"]]
        assert not guest.exists("/var/lib/guestagent/hostkeys.json")
        print(guest.check(f"journalctl -b -u {HOST_KEYS_UNIT} -u ssh.service -o short-monotonic"))

    def test_the_boot_is_over_when_the_last_key_is_made(self, renewed: Any) -> None:
        """The unit that makes it is confined, and cannot know in which boot it is."""
        guest, _, new, _ = renewed
        assert guest.check("guestagent status").splitlines()[0] == "state        done"
        assert "v. guestagent" in guest.check(f"cat {FINISHED}")
        assert report(guest)["instance_id"] == new.uuid
        assert guest.check("guestagent cloud-init status") == "status: done\n"

    def test_the_static_network_is_gone(self, renewed: Any) -> None:
        guest, old, _, _ = renewed
        assert not guest.run(
            ["grep", "-r", f"{NIC.address}\\|{old.ipv6}", "/etc/systemd/network"]
        ).out
        guest.wait_for(["sh", "-c", f"ip address show dev {card(guest)} | grep dynamic"])

    def test_only_the_new_key_and_password_open_the_door(self, renewed: Any) -> None:
        guest, old, new, _ = renewed
        assert guest.ssh("debian", key=new.key).check()
        assert guest.ssh("debian", password=new.password).check()
        assert guest.ssh("debian", key=old.key).status == 255
        assert guest.ssh("debian", password=old.password).status == 255


class TestTwoDrives:
    def test_A1_two_drives_that_differ_change_nothing(
        self, guest_image: GuestImage, tmp_path: Path
    ) -> None:
        """The machine's uuid is that of neither."""
        found = [new_instance(tmp_path / f"keys{number}") for number in (1, 2)]
        drives = [one.drive(tmp_path / f"drive{number}") for number, one in enumerate(found)]
        other = new_instance(tmp_path / "keys3")
        with Guest(guest_image, drives=drives, nics=[NIC], smbios=other.smbios) as guest:
            guest.boot()
            assert guest.check(f"systemctl show -p ExecMainStatus --value {UNIT}") == "6\n"
            assert guest.settle() == "degraded"  # the unit has failed, and the boot went on
            said = journal(guest)
            for device in guest.check("blkid -t LABEL=config-2 -o device").split():
                assert device in said
            words = [word for one in found for word in (one.uuid, one.public_key.split()[1])]
            where = ["/etc", "/home", "/root", "/srv", "/var/lib/guestagent"]
            for word in (*words, "web-1"):
                assert not guest.run(["grep", "-rl", "--", word, *where]).out, word
            assert not guest.exists("/var/lib/guestagent/state.json")
