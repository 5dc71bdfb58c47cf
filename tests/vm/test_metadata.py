"""A guest without a drive is configured by its metadata service, boot after boot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from service.documents import META
from service.lab import Service

from .guest import Guest, Nic
from .image import GuestImage
from .metadata import (
    APPLY,
    ELSEWHERE,
    FETCH,
    PASSWORD,
    RELOAD,
    SERVICE,
    UNITS,
    ServiceNic,
    asked_inside,
    decrypted,
    openstack,
    rsa_instance,
    serve_inside,
)
from .scenario import (
    SETTINGS,
    UNIT,
    Instance,
    holding,
    listing,
    new_instance,
    report,
    settings_argument,
    wait_for_answer,
    wait_for_the_end,
)

pytestmark = pytest.mark.vm

POLICY = f"{SETTINGS}[password]\npost = true\n"
LOCKDOWN = "guestagent-lockdown.service"
CANARY = "canary-in-user-data"
FILE = "/etc/systemd/network/10-guestagent-nic525400123456.network"
FALLBACK = "[Match]\nPermanentMACAddress=52:54:00:12:34:56\n[Network]\nDHCP=ipv4\n"
# A second card, without a cable.
UNPLUGGED = Nic(mac="52:54:00:12:34:57", connected=False)
NETWORKD = "systemd-networkd.service"
ONLINE, WAIT_ONLINE = "network-online.target", "systemd-networkd-wait-online.service"
DROP_IN = "/etc/guestagent/guestagent.toml.d/20-test.toml"
ADDRESS, MONITOR = "ip -4 -o address show dev enp0s3", "/run/monitor"


class Life(NamedTuple):
    """A guest, the instance that it is, and its service."""

    guest: Guest
    instance: Instance
    service: Service


def print_times(title: str, guest: Guest) -> None:
    """Seconds since the kernel's start at which each unit began and ended."""
    times = guest.boot_times(UNIT, *UNITS, "ssh.service", "multi-user.target")
    shown = (f"{name} {a:.1f}-{b:.1f}" for name, (a, b) in times.units.items())
    print(f"{title}: user space {times.userspace:.1f}, {', '.join(shown)}")


def seconds_of(guest: Guest, unit: str) -> float:
    began, ended = guest.boot_times(unit).units[unit]
    return ended - began


@pytest.fixture(scope="module")
def life(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """A guest after its first boot, with a service behind its only card."""
    where = tmp_path_factory.mktemp("metadata")
    instance = rsa_instance(where / "keys", files=())
    found = openstack(instance, f"#!/bin/sh\n# {CANARY}\n")
    service = Service(where / "service", {"documents": found})
    nics = [ServiceNic(port=service.port), UNPLUGGED]
    extra = f"systemd.wants=network-online.target {settings_argument(POLICY)}"
    try:
        with Guest(guest_image, (), nics, instance.smbios, extra) as guest:
            yield Life(guest.boot(), instance, service)
    finally:
        service.close()


class TestFirstBoot:
    def test_the_report_names_the_service(self, life: Life) -> None:
        found = report(life.guest)
        print_times("first boot", life.guest)
        assert (found["source"], found["exit_status"]) == (f"metadata service {SERVICE}%enp0s3", 0)
        assert (found["instance_id"], found["first_boot"]) == (life.instance.uuid, True)
        assert found["problems"] == []

    def test_C7_six_requests_on_one_connection_are_enough(self, life: Life) -> None:
        asked = [(line["method"], line["connection"]) for line in life.service.log()]
        print(f"first boot: {asked}")
        assert [method for method, _ in asked] == ["GET"] * 6 + ["POST"]
        # The service is connected to by the routing table and over each link: one is used.
        assert len({connection for _, connection in asked[:6]}) == 1

    def test_the_guest_is_configured(self, life: Life) -> None:
        guest = life.guest
        assert guest.settle() == "running"
        assert guest.check("hostname") == "web-1\n"
        done = guest.ssh("debian", "sudo -n id -u", key=life.instance.key)
        assert done.check().stdout == "0\n"

    def test_the_network_is_as_told(self, life: Life) -> None:
        (link,) = json.loads(life.guest.check("ip -j address show dev enp0s3"))
        found = [a for a in link["addr_info"] if a["scope"] == "global"]
        assert {a["local"] for a in found} == {"192.0.2.10", life.instance.ipv6}
        assert not any(a.get("dynamic") for a in found)
        (route,) = json.loads(life.guest.check("ip -j route show default"))
        assert (route["gateway"], route["protocol"]) == ("192.0.2.2", "static")

    def test_the_network_is_online_with_one_of_two_cards(self, life: Life) -> None:
        # By the lease that the first question is asked with.  Without its words the program waits
        # for two minutes, and fails.
        wait = life.guest.check(f"systemctl show -P Result {WAIT_ONLINE}")
        print(f"online after {seconds_of(life.guest, WAIT_ONLINE):.1f} s")
        assert (wait, seconds_of(life.guest, WAIT_ONLINE) < 110) == ("success\n", True)
        assert life.guest.check(f"systemctl is-active {ONLINE}") == "active\n"
        assert "NO-CARRIER" in life.guest.check("ip link show dev enp0s4")


class TestPassword:
    def test_it_opens_the_door_to_the_owner_of_the_key(self, life: Life) -> None:
        assert life.guest.ssh("debian", "id -un", password=self.password(life)).check()
        assert life.guest.ssh("debian", password="another").status == 255

    def test_B3_it_is_written_nowhere(self, life: Life) -> None:
        places = ("/run", "/var", "/etc", "/home", "/root", "/tmp")
        assert holding(life.guest, self.password(life), places) == ""

    def password(self, life: Life) -> str:
        (sent,) = (line["body"] for line in life.service.log() if line["method"] == "POST")
        return decrypted(life.instance.key, sent)


class TestConfinement:
    def test_B4_only_root_can_read_what_was_asked_and_answered(self, life: Life) -> None:
        names = ("request.json", "password")
        shown = life.guest.check("cd /run/guestagent && stat -c '%a %U:%G %n' " + " ".join(names))
        assert shown.splitlines() == [f"600 root:root {name}" for name in names]

    def test_B3_user_data_are_in_no_log(self, life: Life) -> None:
        assert holding(life.guest, CANARY, ("/run/log", "/var", "/etc")) == ""
        assert CANARY not in life.guest.console

    def test_B5_the_answer_is_gone(self, life: Life) -> None:
        assert not life.guest.exists("/run/guestagent/answer.json")

    def test_exposure_of_the_units_stays_below_its_threshold(self, life: Life) -> None:
        confined = " ".join((FETCH, APPLY, PASSWORD))
        life.guest.check(f"systemd-analyze security --threshold=40 {confined} >&2")
        done = life.guest.run(f"systemd-analyze verify --man=no {' '.join(UNITS)} {LOCKDOWN}")
        assert (done.status, done.stdout + done.stderr) == (0, "")

    def test_the_fetching_process_has_no_rights_and_one_destination(self, life: Life) -> None:
        guest, service = life.guest, life.service
        service.forget()
        other = f"http://{ELSEWHERE}"
        request = json.loads(guest.get("/run/guestagent/request.json"))
        request = json.dumps({**request, "urls": [other], "wait": 4})
        guest.put("/run/guestagent/request.json", request, 0o600)
        guest.check(f"systemctl restart --no-block {FETCH}")
        pid = f"$(systemctl show -P MainPID {FETCH})"
        guest.wait_for(f"grep -q guestagent /proc/{pid}/cmdline")
        status = dict(
            line.split(":\t", 1) for line in guest.check(f"cat /proc/{pid}/status").splitlines()
        )
        guest.wait_for(f"systemctl is-active {FETCH}")
        answer = json.loads(guest.get("/run/guestagent/answer.json"))
        assert {int(uid) >= 61184 for uid in status["Uid"].split()} == {True}, "DynamicUser="
        assert {status[f"Cap{name}"] for name in ("Prm", "Eff", "Bnd")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert ("reached" in answer["error"], service.paths()) == (True, [])
        # The same address, by hand, without the unit: it is the unit that keeps it away.
        done = guest.run(f"guestagent --dry-run --source {other}").check()
        assert ("nothing to change" in done.stdout, len(service.paths())) == (True, 5)


@pytest.fixture(scope="module")
def again(life: Life) -> tuple[Life, list[str]]:
    """The second boot of the same guest, and its tree before that."""
    before = listing(life.guest, "/etc", "/home", "/root")
    life.service.forget()
    # The daemon may ask, too: on a slow machine it starts when udev has not named the NICs yet.
    life.guest.machine.cmdline_extra += " systemd.mask=guestagentd.service"
    life.guest.reboot()
    wait_for_the_end(life.guest)
    return life, before


class TestSecondBoot:
    def test_two_requests_tell_that_nothing_has_changed(self, again: Any) -> None:
        life, before = again
        found = report(life.guest)
        print_times("second boot", life.guest)
        assert (found["exit_status"], found["unchanged"], found["changes"]) == (0, True, [])
        assert [line["connection"] for line in life.service.log()] == [
            life.service.log()[0]["connection"]
        ] * 2
        assert listing(life.guest, "/etc", "/home", "/root") == before

    def test_there_is_nothing_to_reload_or_to_send(self, again: Any) -> None:
        guest = again[0].guest
        assert guest.settle() == "running"
        shown = guest.check(f"systemctl show -P ConditionResult {RELOAD} {PASSWORD}")
        assert shown.split() == ["no", "no"]

    def test_B3_what_is_compared_is_secret(self, again: Any) -> None:
        guest = again[0].guest
        request = json.loads(guest.get("/run/guestagent/request.json"))
        assert request["salt"]
        assert holding(guest, request["salt"], ("/run/log", "/var/log", "/etc")) == ""
        assert guest.ssh("debian", key=again[0].instance.key).check()


class TestChangeOfTheNetwork:
    def test_connections_survive_it(self, again: Any) -> None:
        life: Life = again[0]
        guest, now = life.guest, life.guest.get(FILE)
        guest.put(FILE, FALLBACK)
        guest.check(f"networkctl reload; ip -ts -o monitor address >{MONITOR} 2>&1 &")
        guest.wait_for(f"{ADDRESS} | grep dynamic")
        guest.put("/run/guestagent/reload.json", json.dumps([{"path": FILE, "old": None}]), 0o600)
        guest.put(FILE, now)
        wait = f"until {ADDRESS} | grep -qv dynamic; do sleep 0.1; done"
        script = f"sudo -n systemctl restart {RELOAD} && {wait}; echo alive"
        done = guest.ssh("debian", script, key=life.instance.key)
        print(guest.check(f"cat {MONITOR}"))
        assert done.check().stdout == "alive\n"
        assert guest.check(ADDRESS).split()[3] == "192.0.2.10/1"


@pytest.fixture(scope="module")
def alone(again: Any) -> Life:
    """The third boot: the service is gone, and the image's settings leave it 5 s."""
    life: Life = again[0]
    life.guest.put(DROP_IN, "[metadata]\nwait = 5\n")
    life.guest.power_off()
    life.guest.machine.nics = (ServiceNic(),)
    life.service.forget()
    life.guest.boot()
    wait_for_the_end(life.guest)
    life.guest.check(["rm", DROP_IN])
    return life


class TestServiceGone:
    def test_C7_the_report_tells_how_old_the_configuration_is(self, alone: Life) -> None:
        found = report(alone.guest)
        (problem,) = found["problems"]
        print(f"service gone: {problem['reason']}")
        assert (found["exit_status"], found["changes"]) == (75, [])
        assert "the configuration of 20" in problem["reason"]
        assert alone.guest.check(f"systemctl show -P ExecMainStatus {APPLY}") == "75\n"
        assert alone.service.log() == []

    def test_the_wait_is_bounded(self, alone: Life) -> None:
        print_times("service gone", alone.guest)
        # The rest is the interpreter under emulation.
        assert seconds_of(alone.guest, FETCH) < 120

    def test_nothing_is_lost(self, alone: Life) -> None:
        assert alone.guest.check("hostname") == "web-1\n"
        assert alone.guest.ssh("debian", key=alone.instance.key).check()


@pytest.fixture(scope="module")
def renewed(alone: Life, tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The same disk as another instance, whose only key cannot encrypt."""
    new = new_instance(tmp_path_factory.mktemp("new"), hostname="db-2", files=())
    guest, service = alone.guest, alone.service
    service.say({"documents": openstack(new, "")})
    guest.power_off()
    guest.machine.nics, guest.machine.smbios = (ServiceNic(port=service.port),), new.smbios
    return Life(guest.boot(), new, service)


class TestNewInstance:
    def test_the_password_it_cannot_have_is_its_only_problem(self, renewed: Life) -> None:
        found = report(renewed.guest)
        (problem,) = (one for one in found["problems"] if one["severity"] == "error")
        print(f"ed25519 only: {problem}")
        assert (found["exit_status"], found["first_boot"]) == (1, True)
        assert found["instance_id"] == renewed.instance.uuid
        assert (problem["document"], "ssh-rsa" in problem["reason"]) == ("password", True)
        assert [line["method"] for line in renewed.service.log()] == ["GET"] * 6

    def test_it_is_configured_all_the_same(self, renewed: Life, life: Life) -> None:
        assert renewed.guest.check("hostname") == "db-2\n"
        assert renewed.guest.ssh("debian", key=renewed.instance.key).check()
        assert renewed.guest.ssh("debian", key=life.instance.key).status == 255


class TestLockdown:
    def test_C9_users_are_kept_from_the_service(self, renewed: Life) -> None:
        guest = renewed.guest
        assert self.status(guest, "debian") == 0, "anybody can ask, as in any cloud"
        guest.check(f"systemctl start {LOCKDOWN}")
        assert (self.status(guest, "debian"), self.status(guest, "root")) == (1, 0)
        guest.check(f"systemctl stop {LOCKDOWN}")
        assert self.status(guest, "debian") == 0

    def status(self, guest: Guest, user: str) -> int:
        ask = f"import urllib.request as r; r.urlopen('{SERVICE}{META}', timeout=9)"
        return guest.run(["runuser", "-u", user, "--", "python3", "-c", ask]).status


@pytest.fixture(scope="module")
def without_stack(life: Life) -> Life:
    """The same disk as if it had never been booted, and no network stack starts."""
    guest = life.guest
    # The image has ifupdown too: which one to enable has to be said.
    guest.put(DROP_IN, '[network]\nbackend = "networkd"\n')
    guest.check("systemctl disable systemd-networkd.service")
    guest.check("rm -r /var/lib/guestagent /etc/systemd/network/*guestagent*")
    guest.power_off()
    guest.machine.nics = (ServiceNic(port=life.service.port), UNPLUGGED)
    guest.boot()
    wait_for_answer(guest)
    return life


class TestNoStack:
    def test_networkd_is_enabled_and_started_in_this_boot(self, without_stack: Life) -> None:
        guest = without_stack.guest
        assert guest.check(f"systemctl is-enabled {NETWORKD}") == "enabled\n"
        assert guest.check(f"systemctl is-active {NETWORKD}") == "active\n"

    def test_the_service_is_asked_by_its_lease(self, without_stack: Life) -> None:
        found = report(without_stack.guest)
        # Over the routing table or over its link: whichever answers first.
        assert found["source"].startswith(f"metadata service {SERVICE}")
        assert found["first_boot"]
        assert without_stack.guest.check(ADDRESS).split()[3].startswith("192.0.2.10/")

    def test_a_card_that_the_document_does_not_name_has_dhcp(self, without_stack: Life) -> None:
        files = without_stack.guest.check("networkctl status enp0s4 --no-pager")
        assert "/etc/systemd/network/zz-guestagent-nic525400123457.network" in files


@pytest.fixture(scope="module")
def link_local(
    guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Guest, Instance]]:
    """A guest on a link where nobody answers DHCP, and the service has a link-local address."""
    instance = new_instance(tmp_path_factory.mktemp("six"), hostname="six-1", files=())
    nics = [Nic(hub=0), Nic(mac="52:54:00:00:f0:01", hub=0)]
    wants = "systemd.wants=harness-router.service"
    with Guest(guest_image, (), nics, instance.smbios, wants) as guest:
        guest.boot(settle=False)
        serve_inside(guest, openstack(instance, "", gateway="192.0.2.1"))
        wait_for_answer(guest)
        guest.settle()
        yield guest, instance


class TestLinkLocal:
    def test_C8_a_link_without_dhcp_is_enough(self, link_local: tuple[Guest, Instance]) -> None:
        guest, instance = link_local
        found = report(guest)
        print_times("link-local only", guest)
        assert found["source"] == "metadata service http://[fe80::a9fe:a9fe%enp0s3]"
        assert (found["exit_status"], found["problems"]) == (0, [])
        assert (found["instance_id"], found["first_boot"]) == (instance.uuid, True)
        assert guest.settle() == "running"

    def test_C8_the_link_is_not_told_to_the_service(self, link_local: Any) -> None:
        asked = asked_inside(link_local[0])
        assert {line["host"] for line in asked} == {"[fe80::a9fe:a9fe]"}
        assert {line["source"].partition("%")[0] for line in asked} == {"fe80::5054:ff:fe12:3456"}
        assert (len(asked), len({line["connection"] for line in asked})) == (5, 1)

    def test_the_guest_is_configured(self, link_local: tuple[Guest, Instance]) -> None:
        guest, instance = link_local
        guest.put("/run/lab/key", instance.key.read_bytes(), 0o600)
        options = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        for address in ("192.0.2.10", "fe80::5054:ff:fe12:3456%hub0"):
            command = f"ssh {options} -i /run/lab/key debian@{address} hostname"
            assert guest.check(f"ip netns exec router {command}") == "six-1\n"
        assert "DHCPv4 address" not in guest.check("journalctl -b -u systemd-networkd")
