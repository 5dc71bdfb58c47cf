"""Every key of cloud-config that touches a live system, in one guest and its second boot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from .guest import Guest
from .image import guest_image
from .scenario import NIC, REPORT, UNIT, holding, report
from .user_data import PATIENCE, PLACES, failed_units, larger_disk, lines, machine, results
from .user_data_keys import (
    ADA,
    DAILY,
    DATA,
    DEBIAN,
    EPHEMERAL,
    FILES,
    GO_ON,
    GRACE,
    PACKAGES,
    RAN,
    ROOM,
    TIME_SERVER,
    Everything,
    everything,
)

pytestmark = pytest.mark.vm

MESSAGE = "all done by guestagent "
AT_EACH_BOOT = {
    "early/10-boot-01-hook",
    "early/20-boot-bootcmd",
    "early/30-boot-grow",
    "late/42-boot-each-boot",
    "late/90-boot-final_message",
}
ONCE = {
    "early/35-resumed-disks",
    "early/40-instance-mounts",
    "early/50-instance-swap",
    "early/60-instance-keyboard",
    "early/60-instance-locale",
    "early/70-instance-ca-certificates",
    "early/70-instance-ntp",
    "early/70-instance-resolver",
    "late/10-instance-packages",
    "late/41-once-only-once",
    "late/43-instance-each-instance",
    "late/50-instance-plain",
    "late/50-instance-runcmd",
    "late/80-instance-phone_home",
}
Booted = tuple[Guest, Everything]


@pytest.fixture(scope="module")
def booted(agent_deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """A guest in its first boot, when all is done but the reboot that the user data want."""
    where = tmp_path_factory.mktemp("everything")
    image = guest_image(agent_deb, packages=PACKAGES, files=FILES)
    made = everything(where / "made")
    overlay = larger_disk(image, where)
    with machine(image, made.instance, where, made.drives, overlay=overlay) as guest:
        guest.boot(settle=False)
        done = f"grep -q 90-boot-final_message {REPORT} || systemctl is-failed -q {UNIT}"
        guest.wait_for(done, PATIENCE)
        yield guest, made


@pytest.fixture(scope="module")
def guest(booted: Booted) -> Guest:
    return booted[0]


class TestReport:
    def test_everything_ran_and_ended_well(self, guest: Guest) -> None:
        staged = {name for name in results(guest) if "30-resumed-write_files-" not in name}
        assert staged == AT_EACH_BOOT | ONCE
        assert set(results(guest).values()) == {0}
        assert (report(guest)["problems"], report(guest)["exit_status"]) == ([], 0)
        for script in report(guest)["scripts"]:
            print(f"{script['stage']}/{script['name']}: {script['seconds']} s")

    def test_nothing_has_failed(self, guest: Guest) -> None:
        assert failed_units(guest) == ""

    def test_the_final_message_is_on_the_console(self, guest: Guest) -> None:
        assert guest.console.count(MESSAGE) == 1
        assert " from config drive" in guest.console.partition(MESSAGE)[2].splitlines()[0]

    def test_the_server_was_told(self, booted: Booted) -> None:
        guest, made = booted
        path, form = lines(guest, "/root/told")
        told = {name: value for name, (value,) in parse_qs(form).items()}
        assert path == f"/{made.instance.uuid}/"
        assert (told["hostname"], told["fqdn"]) == ("all-keys", "all-keys.example.org")
        assert told["instance_id"] == made.instance.uuid
        assert told["pub_key_ed25519"].strip() == made.host_key.strip()


class TestAccounts:
    def test_a_user_is_as_told(self, guest: Guest) -> None:
        name, _, number, _, *rest = guest.check("getent passwd ada").strip().split(":")
        assert (name, number, rest) == ("ada", "4242", ["Ada Lovelace", "/srv/ada", "/bin/dash"])
        assert guest.check("id -nG ada").split() == ["ada", "adm", "engineers"]
        assert guest.check("stat -c %U:%G:%a /srv/ada/.ssh") == "ada:ada:700\n"

    def test_a_user_logs_in_by_key_and_becomes_root(self, booted: Booted) -> None:
        guest, made = booted
        assert guest.ssh("ada", "sudo -n id -u", key=made.instance.key).check().stdout == "0\n"

    @pytest.mark.parametrize(("user", "password"), [("ada", ADA), ("debian", DEBIAN)])
    def test_a_hash_lets_in_by_its_password(self, guest: Guest, user: str, password: str) -> None:
        assert guest.ssh(user, "id -un", password=password).check().stdout == f"{user}\n"
        assert guest.ssh(user, password=GRACE).status == 255

    def test_a_plain_password_lets_in(self, guest: Guest) -> None:
        assert guest.ssh("grace", "id -un", password=GRACE).check().stdout == "grace\n"

    def test_root_logs_in_by_key(self, booted: Booted) -> None:
        guest, made = booted
        assert guest.ssh("root", "id -u", key=made.instance.key).check().stdout == "0\n"

    def test_groups_have_their_members(self, guest: Guest) -> None:
        members = guest.check("getent group engineers").strip().rpartition(":")[2]
        assert set(members.split(",")) == {"ada", "daemon"}
        assert guest.check("getent group cloud-users").endswith(":\n")
        assert guest.check("getent passwd robot").endswith(":/usr/sbin/nologin\n")

    def test_passwords_and_keys_are_where_they_belong(self, booted: Booted) -> None:
        guest, made = booted
        private = (made.instance.key.parent / "host").read_text().splitlines()[1]
        assert holding(guest, GRACE, PLACES) == ""
        assert holding(guest, private, PLACES) == "/etc/ssh/ssh_host_ed25519_key\n"

    def test_the_host_key_is_the_given_one(self, booted: Booted) -> None:
        guest, made = booted
        assert guest.check("ls /etc/ssh").count("_key.pub") == 1
        assert (
            guest.check("ssh-keyscan -qt ed25519 127.0.0.1").split()[2] == made.host_key.split()[1]
        )


class TestSystem:
    def test_the_name_is_known(self, guest: Guest) -> None:
        assert guest.check("cat /proc/sys/kernel/hostname") == "all-keys\n"
        assert guest.check("hostname --fqdn") == "all-keys.example.org\n"

    def test_files_have_content_and_owner(self, guest: Guest) -> None:
        assert guest.check("stat -c '%a %U:%G' /srv/owned") == "640 ada:engineers\n"
        assert guest.check("cat /srv/owned") == "hers\n"
        assert guest.get("/srv/packed") == b"packed \0\xff"
        assert guest.get("/etc/motd").endswith(b"and more\n")

    def test_the_deferred_file_belongs_to_the_user_of_a_package(self, guest: Guest) -> None:
        assert guest.check("dpkg-query -W -f '${Status}' hello-test") == "install ok installed"
        assert guest.check("stat -c '%U:%G %s' /srv/hello/late.conf") == "hello:hello 5\n"

    def test_commands_get_the_words_as_given(self, guest: Guest) -> None:
        assert lines(guest, "/root/words") == ["two words it's $HOME"]

    def test_a_node_joins_its_cluster_with_what_the_metadata_say_of_it(
        self, booted: Booted
    ) -> None:
        guest, made = booted
        called, *config = lines(guest, "/root/kubeadm")
        assert called == "join --config /run/kubeadm/kubeadm-join-config.yaml"
        assert [line.strip() for line in config[2:]] == [
            "name: 'web-1'",
            "kubeletExtraArgs:",
            f"- {{name: provider-id, value: 'openstack:///{made.instance.uuid}'}}",
            f"- {{name: node-ip, value: '{NIC.address}'}}",
            "- {name: node-labels, value: 'region=0,os=debian'}",
        ]
        assert guest.check("stat -c %a /run/kubeadm/kubeadm-join-config.yaml") == "640\n"
        assert lines(guest, "/run/cluster-api/bootstrap-success.complete") == ["success"]

    def test_time_zone_locale_and_keyboard(self, guest: Guest) -> None:
        assert guest.check("date +%Z; timedatectl show -P Timezone").split() == [
            "JST",
            "Asia/Tokyo",
        ]
        assert "de_DE.utf8" in guest.check("locale -a").split()
        assert guest.check("LC_ALL=de_DE.UTF-8 locale thousands_sep") == ".\n"
        assert "LANG=de_DE.UTF-8" in guest.check("systemctl show-environment; localectl").split()
        layout = guest.check(". /etc/default/keyboard; echo $XKBLAYOUT $XKBVARIANT")
        assert layout == "de nodeadkeys\n"

    def test_time_servers_are_in_use(self, guest: Guest) -> None:
        servers = guest.check("timedatectl show-timesync -P SystemNTPServers")
        assert servers == f"{TIME_SERVER}\n"

    def test_name_servers_are_in_use(self, guest: Guest) -> None:
        assert "Global: 192.0.2.77" in guest.check("resolvectl dns")
        assert "Global: search.example.org" in guest.check("resolvectl domain")

    def test_the_authority_is_trusted(self, booted: Booted) -> None:
        guest, made = booted
        guest.put("/run/authority", made.authority)
        assert "OK" in guest.check("openssl verify -CApath /etc/ssl/certs /run/authority")
        assert made.authority.strip() in guest.get("/etc/ssl/certs/ca-certificates.crt").decode()

    def test_packages_come_from_the_source_that_is_named(self, guest: Guest) -> None:
        found = guest.get("/etc/apt/sources.list.d/local.sources").decode().splitlines()
        assert {"Types: deb", "URIs: file:/srv/repository", "Suites: ./"} <= set(found)
        assert "file:/srv/repository" in guest.check("apt-cache policy hello-test")

    @pytest.mark.parametrize("name", DAILY)
    def test_a_daily_run_of_apt_that_is_due_waits_for_the_scripts(
        self, guest: Guest, name: str
    ) -> None:
        waiting = guest.check("systemctl list-jobs --no-legend").split()
        assert f"{name}.service" in waiting
        assert guest.check(f"systemctl show -P ExecMainStartTimestampMonotonic {name}") == "0\n"


def assert_disks_are_in_use(guest: Guest) -> None:
    assert guest.check("findmnt -no SOURCE,FSTYPE /srv/data").split() == [f"{DATA}1", "ext4"]
    # The disk of the flavor, of which the user data say nothing.
    assert guest.check("findmnt -no SOURCE,FSTYPE /mnt").split() == [EPHEMERAL, "ext4"]
    swaps = guest.check("swapon --show=NAME,SIZE --bytes --noheadings").splitlines()
    sizes = {name: int(size) for name, size in (line.split() for line in swaps)}
    assert set(sizes) == {"/swap.img", f"{DATA}2"}
    assert 31 << 20 < sizes["/swap.img"] <= 32 << 20
    assert guest.check(f"blkid -s LABEL -o value {DATA}1 {DATA}2").split() == ["data", "more"]


class TestDisks:
    def test_the_root_has_all_the_room_of_its_disk(self, guest: Guest) -> None:
        size = int(guest.check("df --output=size -B 1M / | tail -n 1"))
        assert size > 0.9 * (3 << 10)

    def test_a_partition_has_all_the_room_of_its_disk(self, guest: Guest) -> None:
        assert int(guest.check(f"lsblk -bno SIZE {ROOM}1")) > 60 << 20

    def test_mounts_and_swap_are_in_use_at_once(self, guest: Guest) -> None:
        assert_disks_are_in_use(guest)
        assert guest.run("findmnt --verify").ok
        assert guest.check("stat -c '%a %U:%G' /swap.img") == "600 root:root\n"


@pytest.fixture(scope="module")
def again(booted: Booted) -> Booted:
    """The guest after the reboot that the user data want."""
    guest, made = booted
    guest.put("/srv/data/kept", "from the first boot\n")
    guest.reboot(PATIENCE, by=["touch", GO_ON])
    return guest, made


class TestSecondBoot:
    def test_nothing_is_changed_and_nothing_has_failed(self, again: Booted) -> None:
        guest, _ = again
        found = report(guest)
        assert (found["changes"], found["problems"], found["exit_status"]) == ([], [], 0)
        assert guest.settle() == "running"

    def test_only_what_is_for_each_boot_ran(self, again: Booted) -> None:
        guest, _ = again
        assert results(guest) == dict.fromkeys(AT_EACH_BOOT, 0)

    def test_scripts_ran_as_often_as_their_kind_says(self, again: Booted) -> None:
        guest, made = again
        twice, once = ("bootcmd", "each-boot", "hook"), ("each-instance", "only-once", "plain")
        assert guest.check(f"ls {RAN}").split() == sorted((*twice, *once, "runcmd"))
        for names, times in ((twice, 2), ((*once, "runcmd"), 1)):
            for name in names:
                assert lines(guest, f"{RAN}/{name}") == [made.instance.uuid] * times

    def test_mounts_and_swap_are_there_again(self, again: Booted) -> None:
        guest, _ = again
        assert_disks_are_in_use(guest)
        assert lines(guest, "/srv/data/kept") == ["from the first boot"]

    @pytest.mark.parametrize("name", DAILY)
    def test_the_daily_runs_of_apt_come_after_the_scripts(self, again: Booted, name: str) -> None:
        guest, _ = again
        guest.wait_for(f"[ -s /run/report-at-{name} ]", PATIENCE)
        found = json.loads(guest.check(f"cat /run/report-at-{name}"))
        assert {f"{one['stage']}/{one['name']}" for one in found["scripts"]} == AT_EACH_BOOT

    def test_the_final_message_is_there_again(self, again: Booted) -> None:
        assert again[0].console.count(MESSAGE) == 2

    def test_who_could_log_in_still_can(self, again: Booted) -> None:
        guest, made = again
        assert guest.ssh("ada", key=made.instance.key).check()
        assert guest.ssh("debian", password=DEBIAN).check()

    def test_partitions_grow_without_growpart_too(self, again: Booted) -> None:
        guest, _ = again
        guest.check("chmod -x /usr/bin/growpart")
        guest.check(f"echo 'start=2048, size=16M' | sfdisk -q --wipe=always {ROOM}")
        guest.check("udevadm settle")
        assert int(guest.check(f"lsblk -bno SIZE {ROOM}1")) == 16 << 20
        for _ in range(2):  # where there is nothing to gain, too
            guest.check("/var/lib/guestagent/early/30-boot-grow")
        assert int(guest.check(f"lsblk -bno SIZE {ROOM}1")) > 60 << 20
