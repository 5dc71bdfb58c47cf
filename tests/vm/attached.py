"""A guest to which its cloud attaches cards and drives: what the tests of the daemon share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .guest import Guest, Nic, patience
from .image import GuestImage
from .machine import HOT_PLUG_SLOTS
from .scenario import Instance, new_instance

DAEMON, REFRESH = "guestagentd.service", "guestagent-refresh.service"
RUNS = f"{REFRESH} guestagent-fetch.service guestagent-apply.service guestagent-reload.service"
# A run may have sshd begin anew, which does not listen for a moment then.
ALL = f"{RUNS} guestagent-host-keys.service ssh.service"
NETWORK_FILES = (
    "/etc/systemd/network",
    "/etc/NetworkManager/system-connections",
    "/etc/netplan",
    "/etc/network",
)
_MONITOR = "/run/monitor"
# Waits until a unit is at work, and kills others with it; what is there then says that it did.
_KILLER = """
until [ "$(systemctl show -P ActiveState {busy})" = activating ]; do :; done
systemctl kill -s KILL {killed}; systemctl show -P ActiveState {busy} >/run/killed
"""


def card(number: int) -> Nic:
    """One of the cards that are attached later, each on a network of its own."""
    net = f"198.18.{number}."
    return Nic(
        mac=f"52:54:00:12:35:{number:02x}",
        address=f"{net}10",
        network=f"{net}0/24",
        gateway=f"{net}2",
        nameserver=f"{net}3",
        ipv6_prefix=f"2001:db8:{number}::",
    )


SECOND, THIRD = card(2), card(3)


def static(nic: Nic) -> str:
    """The address that the source gives such a card; a lease has another one."""
    return nic.address.replace(".10", ".77")


def advertised(nic: Nic) -> str:
    """The address that a card makes of what its router advertises."""
    return f"{nic.ipv6_prefix[:-1]}0:5054:ff:fe12:35{nic.mac[-2:]}"


@dataclass(frozen=True)
class Grown(Instance):
    """An instance that may have more cards, each with a static address."""

    cards: tuple[Nic, ...] = ()

    def network_data(self) -> dict[str, Any]:
        """Compose network_data.json."""
        found = super().network_data()
        for nic in self.cards:
            link = {"id": nic.mac, "type": "phy", "ethernet_mac_address": nic.mac}
            network = {"id": f"of {nic.mac}", "type": "ipv4", "link": nic.mac}
            address = {"ip_address": static(nic), "netmask": "255.255.255.0"}
            found["links"].append(link)
            found["networks"].append(network | address)
        return found


def grown(where: Path) -> Grown:
    """Invent an instance of which there is nothing to know but how it is reached."""
    return Grown(new_instance(where).key, password="", files=())


@dataclass
class Scene:
    """A guest, and what its cloud says of it at first."""

    guest: Guest
    instance: Grown
    where: Path
    first_files: list[str] = field(default_factory=list)
    second_files: list[str] = field(default_factory=list)  # with the second card

    def iso(self, name: str, instance: Instance) -> Path:
        """Make a drive for an instance."""
        return instance.drive(self.where / name).path

    def rest(self, units: str = ALL) -> None:
        """Wait until no unit is at work or about to be."""
        shown = f"systemctl show -P ActiveState -P Job {units}"
        self.guest.wait_for(f"! {shown} | grep -E 'ing$|^[1-9]'", 120)

    def wait_for_address(self, address: str) -> None:
        """Wait until the guest has an address, and whoever gave it is done."""
        self.guest.wait_for(f"ip -o address | grep -F ' {address}/' | grep -v tentative", 120)
        self.rest(RUNS)

    def files(self) -> list[str]:
        """The network's files, and what is in them."""
        # Some of these folders are another stack's, and files may go meanwhile.
        sums = f"find {' '.join(NETWORK_FILES)} -type f -exec sha256sum {{}} + 2>/dev/null"
        return sorted(self.guest.run(sums).stdout.splitlines())

    def wait_for_other_files(self, before: list[str]) -> None:
        """Wait until a run has changed the network's files.

        NetworkManager has a profile of its own for a card, before there is one.
        """
        self.wait_until(lambda: self.files() != before)
        self.rest(RUNS)

    def wait_for_first_files(self) -> None:
        """Wait until the network's files are those of the boot again."""
        self.wait_until(lambda: self.files() == self.first_files)
        self.rest(RUNS)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + 120 * patience()
        while not is_so():
            assert time.monotonic() < deadline, self.files()
            time.sleep(0.5)

    def boot(self) -> None:
        """Boot the guest with its drive, and watch its addresses from then on."""
        self.guest.boot()
        self.watch()

    def watch(self) -> None:
        """Remember the network's files as they are, and watch addresses from now on."""
        self.first_files = self.files()
        self.guest.check(f"setsid ip -o monitor address >{_MONITOR} 2>&1 & echo $! >{_MONITOR}.pid")

    def start_over(self) -> None:
        """Go back to the drive and the cards of the boot."""
        self.guest.change_medium(self.where / "first/drive")
        devices = self.guest.qmp("qom-list", path="/machine/peripheral")
        for slot in range(HOT_PLUG_SLOTS):
            if any(item["name"] == f"dev-hotnet{slot}.0" for item in devices):
                self.guest.hot_unplug_nics(slot)
        self.wait_for_first_files()

    def seen(self) -> list[str]:
        """All that happened to addresses since the boot; fails if nobody watched them."""
        self.guest.check(f"kill -0 $(cat {_MONITOR}.pid)")
        return self.guest.get(_MONITOR).decode().splitlines()


def lie_in_wait(guest: Guest, killed: str, busy: str = REFRESH) -> None:
    """Have units killed as soon as one is at work."""
    guest.check("rm -f /run/killed")
    guest.check(f"({_KILLER.format(busy=busy, killed=killed)}) >/dev/null 2>&1 &")


def assert_killed(guest: Guest) -> None:
    """Insist that they were, and that there is a daemon again."""
    guest.wait_for(["test", "-e", "/run/killed"])
    wait_until_at_rest(guest)


def wait_until_at_rest(guest: Guest) -> None:
    """Wait until the daemon waits for nothing but events."""
    guest.wait_for(f"systemctl show -P StatusText {DAEMON} | grep -x Listening", 120)


def runs(guest: Guest) -> int:
    """How many times the source was read again since the boot."""
    journal = f"journalctl -b -o cat -u {REFRESH}"
    return int(guest.run(f"{journal} | grep -c ^Starting").stdout)


@contextmanager
def configured_by_cd(image: GuestImage, where: Path) -> Iterator[Scene]:
    """A guest that was configured by a CD, and a monitor of its addresses."""
    instance = grown(where / "keys")
    cd = instance.drive(where / "first", "cdrom-sata")
    with Guest(image, [cd], [Nic()], instance.smbios) as guest:
        scene = Scene(guest, instance, where)
        scene.boot()
        yield scene
