"""A machine of LXD or Incus, which has a socket of its host."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import rig
from lxd_server import ANSWERS, served

from guestagent import defs

from .lab import Lab, Machine, Run

SETTINGS = "[drive]\nwait = 0\n[network]\nmanage = false\n[ssh]\nhost_keys = false\n"
UUID = "4c9e1e37-0d6f-4b0e-9a63-000000000001"
KEY = "/1.0/config/cloud-init.user-data"


class Guest:
    """A machine, and what its host says."""

    def __init__(self, lab: Lab, tree: Path, path: str, answers: ANSWERS) -> None:
        lab.space.dmi(
            product_name="Standard PC", product_uuid="4c9e1e37-0d6f-4b0e-9a63-000000000001"
        )
        (tree / "etc/hostname").write_text("image\n")
        self.lab, self.path, self.answers = lab, path, answers
        self.machine = Machine(lab, tree, SETTINGS)

    def say(self, identity: str, name: str, file: str = "given") -> None:
        """Have the host say this from now on."""
        self.answers.clear()
        self.answers["/1.0/meta-data"] = f"instance-id: {identity}\nlocal-hostname: {name}\n"
        self.answers["/1.0/config"] = json.dumps([KEY])
        user = f"#cloud-config\nwrite_files: [{{path: /etc/{file}, content: x}}]\n"
        self.answers[KEY] = user

    def boot(self) -> Run:
        return self.machine.boot(LXD_SOCKETS=[self.path], READ_PAUSE=0.01)[0]

    def name(self) -> str:
        return self.machine.path(defs.HOSTNAME_FILE).read_text().strip()

    def has(self, path: str) -> bool:
        return self.machine.path(path).exists()


@pytest.fixture
def guest(lab: Lab, tmp_path: Path) -> Iterator[Guest]:
    answers: ANSWERS = {}
    tree = rig.copy_root(rig.SAMPLES / "nova" / "root", tmp_path / "tree")
    with served(tmp_path / "lxd", answers) as (path, _):
        made = Guest(lab, tree, path, answers)
        made.say("id-1", "first")
        yield made


def test_the_host_configures_the_machine_at_each_boot(guest: Guest) -> None:
    for _ in range(2):
        assert guest.boot().status == 0
        assert (guest.name(), guest.has("/etc/given")) == ("first", True)
    report = guest.machine.report()
    assert (report["source"], report["layout"]) == (f"LXD {guest.path}", "lxd")
    assert (report["instance_id"], report["unchanged"]) == ("id-1", True)
    guest.say("id-1", "renamed", "other")
    assert guest.boot().status == 0
    assert (guest.name(), guest.has("/etc/given"), guest.has("/etc/other")) == (
        *("renamed", False),
        True,
    )


def test_A1_another_id_of_the_host_is_a_new_instance(guest: Guest) -> None:
    """LXD gives a machine another one when its configuration is changed."""
    assert guest.boot().status == 0
    guest.say("id-2", "second")
    assert guest.boot().status == 0
    assert (guest.name(), guest.machine.report()["instance_id"]) == ("second", "id-2")


def test_A1_a_socket_of_another_user_ends_the_run(guest: Guest) -> None:
    os.chown(guest.path, 1000, 1000)
    run = guest.boot()
    assert run.status == defs.EXIT_SOURCE_BROKEN
    assert "may not be the host's" in run.err
    assert (guest.name(), guest.has("/etc/given")) == ("image", False)


def test_a_host_that_fails_is_never_no_source(guest: Guest) -> None:
    assert guest.boot().status == 0
    guest.answers["/1.0/meta-data"] = 500
    seed = guest.machine.path(defs.SEED_DIRS[2])
    seed.mkdir(parents=True)
    (seed / "meta-data").write_text("instance-id: id-1\nlocal-hostname: seeded\n")
    run = guest.boot()
    assert (run.status, guest.name()) == (defs.EXIT_SOURCE_BROKEN, "first")
    assert "meta-data: HTTP status 500" in run.err


def test_the_directory_that_the_host_wrote_is_named(guest: Guest) -> None:
    """Its template is filled when the instance is made; the socket has what it says now."""
    seed = guest.machine.path(defs.SEED_DIRS[2])
    seed.mkdir(parents=True)
    (seed / "meta-data").write_text("instance-id: made\nlocal-hostname: made\n")
    run = guest.boot()
    assert (run.status, guest.name()) == (0, "first")
    assert f"{defs.SEED_DIRS[2]}: is not used, because LXD {guest.path} is" in run.err
    guest.path = "/nonexistent"
    guest.machine.path(defs.STATE_FILE).unlink()
    assert (guest.boot().status, guest.name()) == (0, "made")
