"""A machine of VMware: what its hypervisor says, and what users of the guest could have it say."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig

from guestagent import defs

from .lab import Lab, Machine, Run

SETTINGS = "[drive]\nwait = 0\n[network]\nmanage = false\n[ssh]\nhost_keys = false\n"
UUID, OTHER = "4210a3c1-0000-4000-8000-000000000001", "4210a3c1-0000-4000-8000-000000000002"


class Guest:
    """A machine with the hypervisor's tool."""

    def __init__(self, lab: Lab, top: Path) -> None:
        tree = rig.copy_root(rig.SAMPLES / "nova" / "root", top / "tree")
        (tree / "etc/hostname").write_text("image\n")
        self.lab, self.top, self.machine = lab, top, Machine(lab, tree, SETTINGS)
        self.be("VMware7,1", UUID)
        tool = top / "vmware-rpctool"
        tool.write_text(f'#!/bin/sh\ncat "{top}/${{1#info-get }}" 2>/dev/null\n')
        tool.chmod(0o755)

    def be(self, product: str, uuid: str) -> None:
        self.lab.space.dmi(product_name=product, product_uuid=uuid)

    def say(self, meta: str, file: str = "given") -> None:
        """Have the keys say this from now on."""
        (self.top / "guestinfo.metadata").write_text(meta)
        user = f"#cloud-config\nwrite_files: [{{path: /etc/{file}, content: x}}]\n"
        (self.top / "guestinfo.userdata").write_text(user)

    def boot(self) -> Run:
        return self.machine.boot(PROGRAM_DIRS=[str(self.top), *defs.PROGRAM_DIRS])[0]

    def name(self) -> str:
        return self.machine.path(defs.HOSTNAME_FILE).read_text().strip()

    def has(self, path: str) -> bool:
        return self.machine.path(path).exists()


@pytest.fixture
def guest(lab: Lab, tmp_path: Path) -> Guest:
    return Guest(lab, tmp_path)


def test_the_hypervisor_configures_the_machine(guest: Guest) -> None:
    guest.say("local-hostname: first\n")
    for _ in range(2):
        assert guest.boot().status == 0
        assert (guest.name(), guest.has("/etc/given")) == ("first", True)
    report = guest.machine.report()
    assert (report["source"], report["layout"]) == ("VMware guestinfo", "vmware")
    assert (report["instance_id"], report["unchanged"]) == (UUID, True)


@pytest.mark.parametrize(
    "meta", ["local-hostname: second\n", "instance-id: new\nlocal-hostname: second\n"]
)
def test_A1_what_users_may_have_changed_is_not_applied(guest: Guest, meta: str) -> None:
    """Every user of the guest can run the tool, and have it set a key."""
    guest.say("local-hostname: first\n")
    assert guest.boot().status == 0
    guest.say(meta, "evil")
    run = guest.boot()
    assert run.status == defs.EXIT_WRONG_SOURCE
    assert "every user" in run.err
    assert (guest.name(), guest.has("/etc/evil")) == ("first", False)
    guest.say("local-hostname: first\n")
    assert guest.boot().status == 0


@pytest.mark.parametrize("settings", ["", '[metadata]\nservice = "openstack"\nwait = 1\n'])
def test_A1_what_comes_after_a_start_without_a_source_may_be_a_users(
    guest: Guest, settings: str
) -> None:
    """It may have been installed by hand, and nobody ever meant to configure it."""
    guest.machine.path(defs.SETTINGS_FILE).write_text(f"{settings}{SETTINGS}")
    guest.boot()
    guest.say("local-hostname: evil\n", "evil")
    for _ in range(2):
        run = guest.boot()
        assert run.status == defs.EXIT_WRONG_SOURCE
        assert "has started before without a source" in run.err
    assert (guest.name(), guest.has("/etc/evil")) == ("image", False)
    # An image that was made of it knows another machine.
    guest.be("VMware7,1", OTHER)
    guest.say("local-hostname: second\n", "other")
    assert guest.boot().status == 0
    assert (guest.name(), guest.has("/etc/other")) == ("second", True)


def test_a_copy_of_the_disk_is_configured_by_its_own_hypervisor(guest: Guest) -> None:
    guest.say("local-hostname: first\n")
    assert guest.boot().status == 0
    guest.be("VMware7,1", OTHER)
    guest.say("local-hostname: second\n", "other")
    assert guest.boot().status == 0
    assert (guest.name(), guest.has("/etc/other")) == ("second", True)
    assert guest.machine.report()["instance_id"] == OTHER


def test_A1_no_other_machine_asks_the_tool(guest: Guest) -> None:
    guest.be("Standard PC", UUID)
    guest.say("local-hostname: first\n")
    assert guest.boot().status == 0
    assert guest.name() == "image"
