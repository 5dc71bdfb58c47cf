"""Seeds of NoCloud on the media that people make: their labels, and a config drive beside one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from service.lab import Service

from .drives import make_ext4, make_iso, make_tree, make_vfat
from .guest import Guest
from .image import GuestImage
from .machine import Drive
from .metadata import SERVICE, ServiceNic
from .scenario import (
    NIC,
    PLAIN_MACHINE,
    Instance,
    card,
    new_instance,
    report,
    settings_argument,
)

pytestmark = pytest.mark.vm

# On a machine that is of no cloud, a CD-ROM drive may be known too late.
SETTINGS = "[drive]\nexpected = true\n"
META = "instance-id: iid-seed\nlocal-hostname: seeded.example.org\npublic-keys:\n  - {key}\n"
USER = """#cloud-config
write_files: [{path: /etc/given, content: given}]
runcmd: [touch /run/ran]
"""
NETWORK = f"""version: 2
ethernets:
  lan:
    match: {{macaddress: "{NIC.mac}"}}
    set-name: lan0
    addresses: [{NIC.address}/24]
    routes: [{{to: default, via: {NIC.gateway}}}]
    nameservers: {{addresses: [{NIC.nameserver}], search: [example.org]}}
"""


def seed(instance: Instance, where: Path, kind: str) -> Drive:
    """Make a drive as the tools do: genisoimage with a label in small letters, VFAT in capitals."""
    files: dict[str, bytes | str] = {
        "meta-data": META.format(key=instance.public_key.strip()),
        "user-data": USER,
        "network-config": NETWORK,
    }
    tree = make_tree(where / "seed", files)
    if kind == "vfat":
        return Drive(make_vfat(tree, where / "seed.img", "CIDATA"), "virtio", readonly=False)
    if kind == "ext4":
        return Drive(make_ext4(tree, where / "seed.img"), "virtio", readonly=False)
    return Drive(make_iso(tree, where / "seed.iso", "cidata"), "cdrom-sata")


@pytest.fixture(scope="module", params=["iso9660", "vfat", "ext4"])
def seeded(
    request: pytest.FixtureRequest,
    guest_image: GuestImage,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Guest, Instance]]:
    """A machine of no cloud, after its first boot with a seed."""
    where = tmp_path_factory.mktemp("seed")
    instance = new_instance(where / "keys")
    drive = seed(instance, where, request.param)
    content = drive.path.read_bytes()
    with Guest(
        guest_image,
        drives=[drive],
        nics=[NIC],
        smbios=PLAIN_MACHINE,
        cmdline_extra=settings_argument(SETTINGS),
    ) as guest:
        guest.boot()
        yield guest, instance
        # Bar A2: the kernel's driver for ext4 was not asked.
        device = guest.check("blkid -L cidata || true").strip().removeprefix("/dev/")
        assert f"EXT4-fs ({device})" not in guest.check("journalctl -k -b")
    assert drive.path.read_bytes() == content


def test_a_seed_configures_the_guest(seeded: tuple[Guest, Instance]) -> None:
    guest, instance = seeded
    guest.check("guestagent status --wait 300")
    found = report(guest)
    (problem,) = found["problems"]
    assert problem["reason"].endswith("NICs are not renamed")
    assert found["exit_status"] == 0
    assert (found["instance_id"], found["layout"]) == ("iid-seed", "nocloud")
    assert guest.check("cat /etc/hostname /etc/given") == "seeded\ngiven"
    assert guest.exists("/run/ran")
    assert guest.ssh("debian", "id -un", key=instance.key).check().stdout == "debian\n"
    shown = guest.check(f"ip -4 address show dev {card(guest)}; ip route; resolvectl dns")
    assert f"inet {NIC.address}/24" in shown
    assert f"default via {NIC.gateway}" in shown
    assert NIC.nameserver in shown
    assert "dynamic" not in shown
    told = guest.check("guestagent cloud-init status --long")
    assert "DataSourceNoCloud [source=config drive /dev/" in told


def test_the_next_boot_changes_nothing(seeded: tuple[Guest, Instance]) -> None:
    guest, _ = seeded
    guest.reboot()
    found = report(guest)
    assert (found["exit_status"], found["unchanged"], found["layout"]) == (0, True, "nocloud")


def test_a_config_drive_comes_before_a_seed(guest_image: GuestImage, tmp_path: Path) -> None:
    instance = new_instance(tmp_path / "keys", network="none")
    # The seed comes first on the bus, and neither has the machine's UUID.
    drives = [seed(instance, tmp_path, "vfat"), instance.drive(tmp_path)]
    with Guest(guest_image, drives=drives, nics=[NIC], smbios=PLAIN_MACHINE) as guest:
        guest.boot()
        found = report(guest)
        assert (found["instance_id"], found["layout"]) == (instance.uuid, "openstack")
        assert guest.check("cat /etc/hostname") == "web-1\n"
        reasons = [problem["reason"] for problem in found["problems"]]
        assert any("has the label cidata; not used, because" in reason for reason in reasons)
        assert found["exit_status"] == 0


def test_A5_a_damaged_seed_is_no_missing_one(guest_image: GuestImage, tmp_path: Path) -> None:
    instance = new_instance(tmp_path / "keys")
    torn = seed(instance, tmp_path, "ext4")
    with torn.path.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xff" * 8192)
    with Guest(guest_image, drives=[torn], nics=[NIC], smbios=PLAIN_MACHINE) as guest:
        guest.boot()
        found = report(guest)
        assert found["exit_status"] == 3
        assert "its ext4 file system is damaged" in str(found["problems"])


def test_the_serial_number_names_a_seed_at_a_url(guest_image: GuestImage, tmp_path: Path) -> None:
    instance = new_instance(tmp_path / "keys")
    meta = META.format(key=instance.public_key.strip())
    tree = {"/seed/meta-data": meta, "/seed/user-data": USER}
    service = Service(tmp_path / "service", {"documents": tree})
    card = ServiceNic(port=service.port)
    smbios = {**PLAIN_MACHINE, "serial": f"ds=nocloud;s={SERVICE}/seed/;h=named.example.org"}
    with closing(service), Guest(guest_image, nics=[card], smbios=smbios) as guest:
        guest.boot()
        guest.check("guestagent status --wait 300")
        found = report(guest)
        assert (found["instance_id"], found["layout"]) == ("iid-seed", "nocloud")
        assert found["exit_status"] == 0
        assert guest.check("cat /etc/hostname /etc/given") == "named\ngiven"
        assert guest.exists("/run/ran")
