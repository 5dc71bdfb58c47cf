"""On every network stack nobody gets in before a first boot has set policy, keys and passwords."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from network.produce import BACKENDS
from service.lab import Service

from .guest import Guest, Nic
from .image import NETWORK_UNITS, Network, guest_image
from .metadata import APPLY, FETCH, ServiceNic, openstack
from .scenario import UNIT, Instance, new_instance, report, settings_argument

pytestmark = pytest.mark.vm

SSH, SOCKET = "ssh.service", "ssh.socket"
POLICY = '[sshd]\npassword_authentication = "yes"\npermit_root_login = "no"\n'
IMAGE_DROP_IN = {"etc/ssh/sshd_config.d/50-image.conf": "PermitRootLogin yes\n"}
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
DROP_IN = "/etc/ssh/sshd_config.d/10-guestagent.conf"
KEYS = "/home/debian/.ssh/authorized_keys"


class First(NamedTuple):
    """A guest after its first boot, and how all tries to get in have ended since it was started.

    ``root`` has those with a key that the image lets in as root, ``user`` those with the
    instance's own; -1 stands for one that reached no sshd.
    """

    guest: Guest
    network: Network
    instance: Instance
    source: str
    root: list[int]
    user: list[int]


def image_s_key(image: Instance) -> str:
    """Return the kernel argument by which root has a key when the agent begins, as in an image."""
    key = base64.b64encode(image.public_key.encode()).decode()
    return f"systemd.set_credential_binary=ssh.authorized_keys.root:{key}"


def try_to_enter(guest: Guest, user: str, instance: Instance) -> int:
    done = guest.ssh(user, key=instance.key)
    return -1 if done.status == 255 and b"Permission denied" not in done.err else done.status


def enter_from_the_beginning(first: First, image: Instance) -> None:
    """Start the guest, and try both keys until sshd has taken or refused each."""
    first.guest.start()
    end = time.monotonic() + 600
    while time.monotonic() < end and (set(first.root) <= {-1} or set(first.user) <= {-1}):
        first.root.append(try_to_enter(first.guest, "root", image))
        first.user.append(try_to_enter(first.guest, "debian", first.instance))
        time.sleep(0.1)
    first.guest.wait_rebooted("")


@pytest.fixture(scope="module", params=BACKENDS)
def stack(request: pytest.FixtureRequest) -> Network:
    found: Network = request.param
    return found


@pytest.fixture(scope="module", params=["drive", "service"])
def first(
    stack: Network,
    request: pytest.FixtureRequest,
    agent_deb: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[First]:
    """A guest of each stack in turn, by a drive, and by a service while systemd has sshd's socket.

    sshd is as an image may have it: it lets root in.
    """
    where = tmp_path_factory.mktemp("orders")
    image, instance = new_instance(where / "image"), new_instance(where / "own", files=())
    service = Service(where / "service", {"documents": openstack(instance, "")})
    extra = f"{settings_argument(POLICY)} {image_s_key(image)}"
    disk = guest_image(agent_deb, stack, files=IMAGE_DROP_IN)
    by_drive = request.param == "drive"
    drives = [instance.drive(where / "drive")] if by_drive else []
    nic = Nic() if by_drive else ServiceNic(port=service.port)
    extra += "" if by_drive else f" systemd.wants={SOCKET}"
    try:
        with Guest(disk, drives, [nic], instance.smbios, extra) as guest:
            made = First(guest, stack, instance, request.param, [], [])
            enter_from_the_beginning(made, image)
            yield made
    finally:
        service.close()


def ancestors(guest: Guest, unit: str) -> set[str]:
    """Return all units that a unit comes after, directly or by others."""
    # By their names also those that systemd has let go.
    shown = guest.check(f"systemctl show -p Id -p After '*' {FETCH} {APPLY}", timeout=120)
    after = {}
    for block in shown.split("\n\n"):
        told = dict(line.split("=", 1) for line in block.splitlines())
        after[told["Id"]] = told.get("After", "").split()
    found: set[str] = set()
    waiting = [unit]
    while waiting:
        new = set(after.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


def test_it_is_configured(first: First) -> None:
    found = report(first.guest)
    print(f"{first.network}, {first.source}: {found['steps_ms']}")
    assert (found["exit_status"], found["first_boot"]) == (0, True), found["problems"]
    assert first.source in found["source"]


def test_D4_the_image_s_key_never_opened_the_door(first: First) -> None:
    """Although sshd has let root in by it until the policy came."""
    assert set(first.root) <= {-1, 255}
    assert 255 in first.root
    assert first.guest.exists("/root/.ssh/authorized_keys")


def test_sshd_lets_the_instance_s_key_in_as_soon_as_it_answers(first: First) -> None:
    print(f"{len(first.user)} tries")
    assert set(first.user) <= {-1, 0}
    assert 0 in first.user


def test_D4_all_that_decides_who_gets_in_is_older_than_sshd(first: First) -> None:
    guest = first.guest
    show = f"systemctl show -P ExecMainStartTimestamp --timestamp=us+utc {SSH}"
    started = float(guest.check(f'date +%s.%6N -d "$({show})"'))
    for path in (DROP_IN, HOST_KEY, KEYS, "/etc/shadow"):
        assert float(guest.check(f"stat -c %.6W {path}")) < started, path


def test_D4_what_lets_people_in_is_ordered_after_the_agent(first: First) -> None:
    guest = first.guest
    for unit in (SSH, SOCKET, "systemd-user-sessions.service"):
        if unit != SOCKET or first.source == "service":
            assert UNIT in ancestors(guest, unit), unit
    assert {FETCH, APPLY} <= ancestors(guest, SSH)


def test_the_network_is_ordered_after_the_agent_and_the_question_after_it(first: First) -> None:
    guest, unit = first.guest, NETWORK_UNITS[first.network]
    assert {UNIT, "network-pre.target"} <= ancestors(guest, unit)
    assert unit in ancestors(guest, FETCH)
    times = guest.boot_times(UNIT, unit).units
    assert times[UNIT][1] <= times[unit][0]


def test_no_unit_waits_in_a_circle(first: First) -> None:
    guest = first.guest
    assert not guest.run("journalctl -b -o cat | grep -i 'ordering cycle'").stdout
    failed = guest.check("systemctl list-units --plain --no-legend --state=failed")
    assert (guest.settle(), failed) == ("running", "")
