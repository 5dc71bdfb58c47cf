"""What system credentials may do to a machine at its first boot, and later."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import rig

from guestagent import defs

from .lab import Lab, Machine, Run

SETTINGS = "[drive]\nwait = 0\n[network]\nmanage = false\n[ssh]\nhost_keys = false\n"
USER = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"
PLACE = defs.CREDENTIAL_DIRS[1]
MACHINE = "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"
COPY = "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a11"


class Guest:
    """A machine of no cloud, and what its hypervisor gives it."""

    def __init__(self, lab: Lab, tree: Path) -> None:
        lab.space.dmi(product_name="KVM", product_serial="none", product_uuid=MACHINE)
        self.lab, self.machine = lab, Machine(lab, tree, SETTINGS)
        self.folder = self.machine.path(PLACE)
        self.folder.mkdir(parents=True)

    def boot(self, **values: str) -> Run:
        """Boot with these credentials, whose names have ``_`` for ``-``, and no others."""
        for old in self.folder.glob(f"{defs.CREDENTIAL_PREFIX}*"):
            old.unlink()
        for name, value in values.items():
            name = f"{defs.CREDENTIAL_PREFIX}{name.replace('_', '-')}"
            (self.folder / name).write_text(value)
        return self.machine.boot()[0]

    def name(self) -> str:
        return self.machine.path(defs.HOSTNAME_FILE).read_text().strip()

    def has_user_data(self) -> bool:
        return self.machine.path("/etc/given").exists()


@pytest.fixture
def guest(lab: Lab, tmp_path: Path) -> Guest:
    return Guest(lab, rig.copy_root(rig.SAMPLES / "nova" / "root", tmp_path / "tree"))


def test_one_credential_is_a_source(guest: Guest) -> None:
    assert guest.boot(user_data=USER).status == 0
    assert guest.has_user_data()
    report = guest.machine.report()
    assert (report["source"], report["layout"]) == ("system credentials", "credentials")
    # What others are given is no part of it.
    (guest.folder / "login.motd").write_text("x")
    assert guest.boot(user_data=USER).status == 0
    assert guest.machine.report()["unchanged"]


def test_A1_other_credentials_without_an_id_are_not_obeyed(guest: Guest) -> None:
    assert guest.boot(hostname="first").status == 0
    run = guest.boot(hostname="second", user_data=USER)
    assert run.status == defs.EXIT_WRONG_SOURCE
    assert "does not say which instance it is for" in run.err
    assert (guest.name(), guest.has_user_data()) == ("first", False)
    assert guest.boot(hostname="first").status == 0


def test_D2_what_could_not_be_done_is_done_later_without_an_id_too(guest: Guest) -> None:
    in_the_way = guest.machine.path("/etc/given")
    in_the_way.mkdir()
    (in_the_way / "file").touch()
    for _ in range(2):
        run = guest.boot(hostname="first", user_data=USER)
        assert run.status == 1
        assert "/etc/given" in run.err
    other = guest.boot(hostname="second", user_data=USER)
    assert other.status == defs.EXIT_WRONG_SOURCE
    shutil.rmtree(in_the_way)
    assert guest.boot(hostname="first", user_data=USER).status == 0
    assert in_the_way.is_file()


def test_A1_credentials_of_the_same_instance_change_all(guest: Guest) -> None:
    assert guest.boot(hostname="first", instance_id="i-1").status == 0
    assert guest.boot(hostname="second", user_data=USER, instance_id="i-1").status == 0
    assert (guest.name(), guest.has_user_data()) == ("second", True)


def test_A1_credentials_with_another_id_are_a_new_instance(guest: Guest) -> None:
    assert guest.boot(hostname="first", user_data=USER, instance_id="i-1").status == 0
    assert guest.boot(hostname="second", instance_id="i-2").status == 0
    assert guest.name() == "second"
    assert guest.machine.report()["instance_id"] == "i-2"


@pytest.mark.parametrize("name", ["first", "second"])
def test_D4_a_copy_of_the_disk_is_another_instance_without_an_id_too(
    guest: Guest, name: str
) -> None:
    assert guest.boot(hostname="first").status == 0
    guest.lab.space.dmi(product_name="KVM", product_uuid=COPY)
    assert guest.boot(hostname=name).status == 0
    report = guest.machine.report()
    assert (guest.name(), report["unchanged"], report["first_boot"]) == (name, False, True)
    assert guest.boot(hostname=name).status == 0
    assert guest.machine.report()["unchanged"]


def test_A1_nothing_takes_the_place_of_credentials_that_are_gone(guest: Guest) -> None:
    """Neither a seed, which has the same id, nor a service."""
    seed = guest.machine.path(defs.SEED_DIRS[0])
    seed.mkdir(parents=True)
    (seed / "meta-data").write_text("instance-id: i-1\nlocal-hostname: seeded\n")
    service = guest.lab.serve(guest.lab.link())
    guest.lab.space.dmi(product_name="OpenStack Nova", product_uuid=MACHINE)
    assert guest.boot(hostname="first", instance_id="i-1").status == 0
    for _ in range(2):
        run = guest.boot()
        assert (run.status, guest.name(), service.log()) == (0, "first", [])
        assert "credentials configured this machine, and there is no system credential" in run.err
        (problem,) = guest.machine.report()["problems"]
        assert problem["severity"] == "warning"
        assert not guest.machine.path(defs.REQUEST_FILE).exists()
    # They come back, or somebody names another source.
    assert guest.boot(hostname="second", instance_id="i-1").status == 0
    assert guest.name() == "second"
    assert guest.boot(source="seed").status == 0
    assert guest.name() == "seeded"
    # From then on that one is the machine's.
    (seed / "meta-data").write_text("instance-id: i-1\nlocal-hostname: again\n")
    assert guest.boot().status == 0
    assert (guest.name(), guest.machine.report()["problems"]) == ("again", [])


def test_A1_a_copy_of_the_disk_without_its_credentials_is_another_source_s(guest: Guest) -> None:
    seed = guest.machine.path(defs.SEED_DIRS[0])
    seed.mkdir(parents=True)
    (seed / "meta-data").write_text("instance-id: i-2\nlocal-hostname: seeded\n")
    assert guest.boot(hostname="first").status == 0
    guest.lab.space.dmi(product_name="KVM", product_uuid=COPY)
    assert guest.boot().status == 0
    assert (guest.name(), guest.machine.report()["first_boot"]) == ("seeded", True)


def test_one_may_switch_the_search_off(guest: Guest) -> None:
    run = guest.boot(source="none", user_data=USER)
    assert (run.status, guest.has_user_data()) == (0, False)


@pytest.mark.parametrize("value", [b"/a\0b", b"/a\nb", b"\x1b[31m"])
def test_E1_a_source_with_a_control_character_is_none(guest: Guest, value: bytes) -> None:
    (guest.folder / defs.SOURCE_CREDENTIAL).write_bytes(value)
    run = guest.machine.boot()[0]
    assert run.status == defs.EXIT_USAGE
    assert "guestagent.source names no source" in run.err


def test_one_may_name_another_source(guest: Guest) -> None:
    seed = guest.machine.path("/var/lib/elsewhere")
    seed.mkdir(parents=True)
    (seed / "meta-data").write_text("instance-id: i-1\nlocal-hostname: elsewhere\n")
    assert guest.boot(source="/var/lib/elsewhere", hostname="here").status == 0
    assert guest.name() == "elsewhere"


def test_B3_no_value_is_in_a_message(guest: Guest) -> None:
    secret = "SECRET-4711"
    run = guest.boot(
        hostname="a b;",
        user_data=f"#cloud-config\nchpasswd: [{secret}\n",
        meta_data=f"{secret}: [",
        instance_id=f"/{secret}",
        ssh_authorized_keys=f"ssh-rsa {secret}",
        what=secret,
    )
    assert run.status == 1
    for name in ("hostname", "user-data", "meta-data", "instance-id", "ssh-authorized-keys"):
        assert f"guestagent.{name}" in run.err
    assert secret not in run.err
    assert secret not in guest.machine.path(defs.REPORT_FILE).read_text()
