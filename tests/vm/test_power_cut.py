"""The power fails in a first boot: the next boot ends as an undisturbed one.

One boot is recorded, write by write.  Then the disk is made what it was at some moments of it, with
a part of what was not flushed yet, and booted.  Each takes a boot of its own: ``make test-all``
runs these tests, and GUESTAGENT_POWER_CUTS says at how many moments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .guest import Guest
from .image import GuestImage
from .qcow2 import make_overlay
from .scenario import SETTINGS, Instance, listing, new_instance, report, settings_argument
from .user_data import PATIENCE, lines, machine, multipart, results
from .write_log import Replay

pytestmark = pytest.mark.vm

CUTS = int(os.environ.get("GUESTAGENT_POWER_CUTS", "50"))
PLACES = ("/etc", "/home", "/root", "/srv", "/opt")
# Their contents differ from boot to boot: only name, mode and owner are compared.
OF_EACH_BOOT = ("/etc/ssh/ssh_host_", "/etc/shadow", "/etc/gshadow", "/etc/passwd-", "/etc/group-")
# A tool of shadow writes its process ID there, links the file to its lock, and removes it at once.
UNFINISHED_LOCK = re.compile(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)\.[0-9]+")
CLOUD_CONFIG = """\
#cloud-config
ssh_genkeytypes: [ed25519, ecdsa]
users:
  - default
  - name: ada
    gecos: Ada
    groups: [operators]
    ssh_authorized_keys: ['{key}']
    lock_passwd: false
    plain_text_passwd: {password}
groups: [operators]
write_files:
  - {{path: /opt/plain, content: "plain\\n", permissions: '0640'}}
  - {{path: /home/ada/notes, content: "hers\\n", owner: 'ada:ada'}}
  - {{path: /etc/motd, content: "appended\\n", append: true}}
  - {{path: /opt/late, content: "late\\n", defer: true}}
"""
SCRIPT = "#!/bin/sh\necho ran >>/root/{name}\nsync\n"
SCRIPTS = ("first", "second")


class Recorded(NamedTuple):
    """An undisturbed first boot, and the log of its writes."""

    instance: Instance
    image: GuestImage
    where: Path
    entries: set[str]
    replay: Replay


def user_data(instance: Instance) -> bytes:
    config = CLOUD_CONFIG.format(key=instance.public_key.strip(), password=instance.password)
    scripts = [("x-shellscript", name, SCRIPT.format(name=name)) for name in SCRIPTS]
    return multipart([("cloud-config", "config", config), *scripts])


def entries(guest: Guest) -> set[str]:
    """Return what the guest's files are, but for contents that are made anew in each boot."""
    own = tuple(f"/root/{name}" for name in SCRIPTS)
    found = set()
    for line in listing(guest, *PLACES):
        name = next(word for word in line.split() if word.startswith("/"))
        is_content = len(line.split()[0]) == 64
        if UNFINISHED_LOCK.fullmatch(name):
            continue
        if not name.startswith(own) and not (is_content and name.startswith(OF_EACH_BOOT)):
            found.add(line)
    return found


def boot(instance: Instance, image: GuestImage, where: Path, **more: Any) -> Guest:
    return machine(image, instance, where, cmdline_extra=settings_argument(SETTINGS, "f+"), **more)


@pytest.fixture(scope="module")
def recorded(guest_image: GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    where = tmp_path_factory.mktemp("power")
    bare = new_instance(where / "keys")
    instance = replace(bare, user_data=user_data(bare))
    log = where / "log"
    log.touch()
    with boot(instance, guest_image, where, write_log=log) as guest:
        guest.boot(PATIENCE)
        assert set(results(guest).values()) == {0}, results(guest)
        assert report(guest)["problems"] == []
        found = entries(guest)
        guest.power_off()
    return Recorded(instance, guest_image, where, found, Replay(guest_image.disk, log, where))


@pytest.fixture(params=range(CUTS))
def disk(request: pytest.FixtureRequest, recorded: Recorded) -> Iterator[Path]:
    """The disk after a cut; the cuts are spread evenly over the writes of the boot."""
    count = len(recorded.replay.writes)
    index = (request.param + 1) * count // (CUTS + 1)
    print(f"cut before write {index} of {count}")
    with recorded.replay.cut(index) as raw:
        overlay = recorded.where / f"cut-{request.param}.qcow2"
        make_overlay(overlay, raw)
        yield overlay
        overlay.unlink()


def test_D3_the_boot_after_a_power_cut_ends_as_an_undisturbed_one(
    recorded: Recorded, disk: Path, tmp_path: Path
) -> None:
    instance = recorded.instance
    with boot(instance, recorded.image, tmp_path, overlay=disk) as guest:
        guest.boot(PATIENCE)
        found = report(guest)
        ended = results(guest)
        interrupted = {name for name, status in ended.items() if status == "interrupted"}
        told = {problem["key"] for problem in found["problems"]}
        assert told == {name.partition("/")[2] for name in interrupted}, found["problems"]
        after = entries(guest)
        assert (recorded.entries - after, after - recorded.entries) == (set(), set())
        for name in SCRIPTS:
            ran = lines(guest, f"/root/{name}") if guest.exists(f"/root/{name}") else []
            assert ran in (["ran"], [])
            assert ran or any(one.endswith(name) for one in interrupted), name
        for user in ("debian", "ada"):
            assert guest.ssh(user, "id -un", key=instance.key).check().stdout == f"{user}\n"
            assert guest.ssh(user, password=instance.password).ok
