"""Real network stacks carry out the agent's files: what the kernel has in the end.

One guest for each stack: it boots with a bond and VLANs on its drive, and then goes from one
case of the conformance table to the next, as it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from network.case import (
    Case,
    bonded,
    default4,
    default6,
    document,
    net,
    nic,
    services,
    static4,
    static6,
    via,
    vlan,
)
from network.cases import AT_BOOT, BY_ID, IN_GUESTS
from network.facts import Vlan, bond, link, route
from network.produce import BACKENDS

from .image import Network, guest_image
from .lab import DRIVE, HUBS, Lab, boot_drive
from .scenario import UNIT, report

pytestmark = pytest.mark.vm

BOOTED = BY_ID[AT_BOOT]
STAYING = (
    link(
        "enp0s3",
        "192.0.2.10/24",
        "2001:db8:1::10/64",
        routes=(route("0.0.0.0/0", "192.0.2.1"), route("::/0", "2001:db8:1::1")),
        accept_ra=False,
    ),
    link("enp0s4", "2001:db8:2::10/64", dhcp4=True, accept_ra=False, metric=1074),
)
BEFORE = Case(
    "before",
    "static addresses on one NIC, a lease and a static address on another",
    document(
        [nic(1), nic(2)],
        [
            static4(routes=[default4("192.0.2.1")]),
            static6(routes=[default6("2001:db8:1::1")]),
            net("ipv4_dhcp", "port2"),
            static6("port2", "2001:db8:2::10"),
        ],
    ),
    STAYING,
)
AFTER = Case(
    "after",
    "the same; another address, a route and a DNS server on the first NIC, a third NIC",
    document(
        [nic(1), nic(2), nic(3)],
        [
            static4(routes=[default4("192.0.2.1"), via("10.0.0.0", 8, "192.0.2.254")]),
            static4(address="192.0.2.11", services=services("192.0.2.53")),
            static6(routes=[default6("2001:db8:1::1")]),
            net("ipv4_dhcp", "port2"),
            static6("port2", "2001:db8:2::10"),
            static4("port3", "203.0.113.10"),
        ],
    ),
    (
        STAYING[0]._replace(
            addresses=STAYING[0].addresses | {"192.0.2.11/24"},
            routes=STAYING[0].routes | {route("10.0.0.0/8", "192.0.2.254")},
            dns=("192.0.2.53",),
        ),
        STAYING[1],
        link("enp0s5", "203.0.113.10/24"),
    ),
)
REMADE = Case(
    "remade",
    "the bond of the first boot in another mode, its VLAN as it was",
    document(
        [nic(1), nic(2), bonded("port1", "port2"), vlan(102, "bond")],
        [static4("bond"), static6("vlan102")],
    ),
    (
        link("enp0s3"),
        link("enp0s4"),
        link("bond0", "192.0.2.10/24", bond=bond("active-backup", "enp0s3", "enp0s4")),
        link("vlan102", "2001:db8:1::10/64", accept_ra=False, vlan=Vlan("bond0", 102)),
    ),
)


class Booted(Lab):
    """A laboratory after its boot with a drive: what differed then, and when units were up."""

    def look_back(self) -> None:
        self.differences = self.wait(self.expected(BOOTED))
        self.differences += [self.story()] if self.differences else []
        self.report = report(self.guest)
        self.times = self.guest.boot_times(UNIT, "network-pre.target").units


@pytest.fixture(scope="module", params=BACKENDS)
def lab(
    request: pytest.FixtureRequest, agent_deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Booted]:
    """The guest of each network stack in turn."""
    network: Network = request.param
    drive = boot_drive(tmp_path_factory.mktemp("drive"), BOOTED)
    with Booted(guest_image(agent_deb, network), network, drive) as lab:
        lab.look_back()
        yield lab


def carry_out(lab: Lab, case: Case) -> None:
    """Apply a case, and insist that the kernel has what it asks for."""
    lab.serve(case.expected)
    found = lab.apply(case)
    assert found["exit_status"] == 0, found["said"]
    insist(lab, case)


def insist(lab: Lab, case: Case) -> None:
    """Fail with what differs from a case, and the guest's own story."""
    different = lab.wait(lab.expected(case))
    if different:
        pytest.fail("\n".join([*different, lab.story()]), pytrace=False)


class TestAtBoot:
    def test_a_bond_with_vlans_is_made(self, lab: Booted) -> None:
        assert lab.report["exit_status"] == 0, lab.report["problems"]
        assert not lab.differences, "\n".join(lab.differences)

    def test_before_the_network_may_be_configured(self, lab: Booted) -> None:
        _, active = lab.times["network-pre.target"]
        assert 0 < lab.times[UNIT][1] <= active


class TestAtRunTime:
    def test_a_bond_is_made_again_under_its_vlan(self, lab: Booted) -> None:
        carry_out(lab, BOOTED)
        carry_out(lab, REMADE)

    @pytest.mark.parametrize("name", IN_GUESTS)
    def test_the_kernel_has_what_the_document_says(self, lab: Booted, name: str) -> None:
        carry_out(lab, BY_ID[name])

    def test_what_stays_is_never_away(self, lab: Booted) -> None:
        carry_out(lab, BEFORE)
        start = "setsid ip -o monitor address route > /run/lab/monitor 2>&1 & echo $!"
        monitor = lab.guest.check(start).strip()
        lab.apply(AFTER)
        insist(lab, AFTER)
        lab.guest.check(["kill", monitor])
        seen = lab.guest.get("/run/lab/monitor").decode().splitlines()
        assert any("203.0.113.10" in line for line in seen), "the monitor saw nothing"
        staying = ["192.0.2.10/", "default via 192.0.2.1 ", "2001:db8:2::10/", HUBS[1].lease4]
        if lab.network != "networkmanager":
            # It takes IPv6 down and up on a device that gets a changed profile.
            staying += ["2001:db8:1::10/", "default via 2001:db8:1::1 "]
        gone = [line for line in seen if line.startswith("Deleted")]
        found = [line for line in gone if any(word in line for word in staying)]
        assert not found, "\n".join(seen)


TIMER, WAITING = "guestagent-rollback.timer", "/var/lib/guestagent/rollback.json"


class TestConfirming:
    """A change that waits to be confirmed."""

    @pytest.fixture(autouse=True)
    def _nothing_waits(self, lab: Booted) -> Iterator[None]:
        yield
        lab.guest.run("guestagent confirm")

    def test_is_kept_when_confirmed(self, lab: Booted) -> None:
        carry_out(lab, BEFORE)
        found = lab.apply(AFTER, "--confirm", "3600")
        assert found["exit_status"] == 0, found["said"]
        assert lab.guest.run(["systemctl", "is-active", TIMER]).ok
        lab.guest.check("guestagent confirm")
        assert not lab.guest.run(["systemctl", "is-active", TIMER]).ok
        insist(lab, AFTER)

    def test_is_taken_back_when_told(self, lab: Booted) -> None:
        carry_out(lab, BEFORE)
        lab.apply(AFTER, "--confirm", "3600")
        insist(lab, AFTER)
        lab.guest.check("guestagent rollback", timeout=150)
        assert not lab.guest.run(["systemctl", "is-active", TIMER]).ok
        insist(lab, BEFORE)

    def test_comes_back_in_time(self, lab: Booted) -> None:
        carry_out(lab, BEFORE)
        found = lab.apply(AFTER, "--confirm", "10")
        assert (found["exit_status"], bool(found["changes"])) == (0, True), found["said"]
        lab.guest.wait_for(f"[ ! -e {WAITING} ]", timeout=120)
        insist(lab, BEFORE)

    def test_comes_back_although_the_agent_was_killed(self, lab: Booted) -> None:
        carry_out(lab, BEFORE)
        lab.write(AFTER)
        # Killed as soon as the files are there, wherever it is then.
        lab.guest.run(
            f"guestagent apply --confirm 10 --source {DRIVE} & "
            f"until grep -rqs 203.0.113.10 $FILES; do kill -0 $! || exit; done; kill -9 $!",
            env={"FILES": "/etc/systemd /etc/NetworkManager /etc/netplan /etc/network"},
        )
        assert lab.guest.exists(WAITING)
        lab.guest.wait_for(f"[ ! -e {WAITING} ]", timeout=120)
        insist(lab, BEFORE)
        assert lab.guest.run("grep -rqs 203.0.113.10 /etc").status == 1
