"""System credentials: a guest is configured by options of QEMU, with no medium and no network.

systemd reads strings of SMBIOS type 11 for them, and has users of its own for some.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .guest import Guest
from .image import GuestImage
from .scenario import NIC, PLAIN_MACHINE, Instance, new_instance, report

pytestmark = pytest.mark.vm

USER = '#cloud-config\nwrite_files: [{path: /etc/given, content: "given, too"}]\n'
NETWORK = f"""version: 2
ethernets:
  lan: {{match: {{macaddress: "{NIC.mac}"}}, addresses: [{NIC.address}/24]}}
"""
CANARY = "canary-4711"


def text(name: str, value: str) -> str:
    """Return the string that is a credential, for what has no line breaks."""
    return f"io.systemd.credential:{name}={value}"


def binary(name: str, value: str | bytes) -> str:
    """Return the string that is a credential, in base64."""
    coded = base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
    return f"io.systemd.credential.binary:{name}={coded}"


def strings(instance: Instance, user: str = USER, **more: str) -> list[str]:
    """Return the strings for an instance: all that it is told is in them."""
    return [
        text("guestagent.hostname", "smbios-1.example.org"),
        text("guestagent.ssh-authorized-keys", instance.public_key.strip()),
        binary("guestagent.user-data", user),
        binary("guestagent.network-config", NETWORK),
        *(text(name.replace("_", "."), value) for name, value in more.items()),
    ]


@pytest.fixture(scope="module")
def configured(
    guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Guest, Instance]]:
    """A machine of no cloud after its first boot, with credentials of systemd's own beside ours."""
    instance = new_instance(tmp_path_factory.mktemp("credentials") / "keys")
    others = [
        text("system.hostname", "by-systemd"),
        text("firstboot.timezone", "Europe/Berlin"),
        binary("ssh.authorized_keys.root", instance.public_key),
        text("other.secret", CANARY),
    ]
    told = [*strings(instance), *others]
    with Guest(guest_image, nics=[NIC], smbios=PLAIN_MACHINE, strings=told) as guest:
        guest.boot()
        yield guest, instance


def test_credentials_configure_the_guest(configured: tuple[Guest, Instance]) -> None:
    guest, instance = configured
    guest.check("guestagent status --wait 300")
    found = report(guest)
    assert (found["exit_status"], found["problems"]) == (0, [])
    assert (found["source"], found["layout"]) == ("system credentials", "credentials")
    assert guest.check("cat /etc/hostname /etc/given") == "smbios-1\ngiven, too"
    # The name of the running kernel is ours too, not that of system.hostname.
    assert guest.check("hostname") == "smbios-1\n"
    assert guest.ssh("debian", "id -un", key=instance.key).check().stdout == "debian\n"
    assert f"inet {NIC.address}/24" in guest.check("ip -4 address show")


def test_what_systemd_sets_by_credentials_stays(configured: tuple[Guest, Instance]) -> None:
    guest, instance = configured
    assert instance.public_key in guest.get("/root/.ssh/authorized_keys").decode()


def test_the_next_boot_changes_nothing(configured: tuple[Guest, Instance]) -> None:
    guest, instance = configured
    # Credentials for others are not part of what is compared.
    guest.machine.strings = [*strings(instance), text("other.new", "1")]
    guest.reboot()
    found = report(guest)
    assert (found["exit_status"], found["unchanged"]) == (0, True)


def test_a_running_system_reads_them_too(configured: tuple[Guest, Instance]) -> None:
    guest, _ = configured
    guest.check("systemctl start guestagent-refresh.service")
    # Without any source, one by hand has an error.
    assert json.loads(guest.check("guestagent --dry-run --json"))["problems"] == []
    assert report(guest)["exit_status"] == 0


def test_A1_other_credentials_without_an_id_change_nothing(
    configured: tuple[Guest, Instance],
) -> None:
    guest, instance = configured
    other = USER.replace("given, too", CANARY)
    guest.machine.strings = strings(instance, other)
    guest.reboot()
    found = report(guest)
    assert found["exit_status"] == 6
    assert guest.check("cat /etc/given") == "given, too"
    # An id makes them those of another instance.
    guest.machine.strings = [*strings(instance, other), text("guestagent.instance-id", "i-2")]
    guest.reboot()
    guest.check("guestagent status --wait 300")
    found = report(guest)
    assert (found["exit_status"], found["instance_id"]) == (0, "i-2")
    assert guest.check("cat /etc/given") == CANARY
    assert CANARY not in guest.check("journalctl -b -o cat -u 'guestagent*'")


def test_A1_without_its_credentials_the_guest_stays_as_it_is(
    configured: tuple[Guest, Instance],
) -> None:
    guest, _ = configured
    given = guest.check("cat /etc/given")
    guest.machine.strings = []
    guest.reboot()
    found = report(guest)
    (problem,) = found["problems"]
    assert (found["exit_status"], found["source"], problem["severity"]) == (0, "", "warning")
    assert "credentials configured this machine, and there is no" in problem["reason"]
    assert guest.check("cat /etc/given") == given


def test_what_cannot_be_used_costs_itself(guest_image: GuestImage, tmp_path: Path) -> None:
    instance = new_instance(tmp_path / "keys")
    told = [
        text("guestagent.hostname", "-\x01-"),
        text("guestagent.ssh-authorized-keys", instance.public_key.strip()),
        binary("guestagent.user-data", b"#cloud-config\n\0\xff" + CANARY.encode()),
        binary("guestagent.meta-data", b"\xff\xfe" + bytes(range(256))),
        binary("guestagent.network-config", "version: 2\nethernets: [" + "[" * 9000),
        binary("guestagent.vendor-data", ("#cloud-config\nx: " + "y" * 30_000)),
        text("guestagent.unknown", CANARY),
        text("guestagent.instance-id", "../../etc"),
        "io.systemd.credential.binary:guestagent.broken=%%%",
        "io.systemd.credential:guestagent./../x=1",
        "io.systemd.credential:guestagent.empty=",
    ]
    with Guest(guest_image, nics=[NIC], smbios=PLAIN_MACHINE, strings=told) as guest:
        guest.boot()
        guest.check("guestagent status --wait 300 || true")
        found = report(guest)
        assert (found["exit_status"], found["source"]) == (1, "system credentials")
        places = {problem["document"] for problem in found["problems"]}
        names = ("hostname", "user-data", "meta-data", "network-config", "unknown", "instance-id")
        assert {f"guestagent.{name}" for name in names} <= places
        assert guest.ssh("debian", "id -un", key=instance.key).check().stdout == "debian\n"
        assert CANARY not in guest.check("journalctl -b -o cat -u 'guestagent*'")
        assert CANARY not in guest.check("cat /run/guestagent/report.json")
