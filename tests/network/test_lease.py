"""What a lease gives is taken: the real dnsmasq, and the real clients on our files.

The table in docs/leases.md says what is measured here, and what is not.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rig import need

from . import netplan_generator, networkd_daemon
from .case import document, net, nic
from .produce import Backend, produce, write

DOMAINS = "lease.example corp.example"
SERVER = """
interface=p-enp0s3
bind-interfaces
port=0
user=root
no-ping
leasefile-ro
pid-file=
dhcp-range=192.0.2.100,192.0.2.150,255.255.255.0,1h
dhcp-option-force=option:router,192.0.2.1
dhcp-option-force=option:dns-server,192.0.2.53
dhcp-option-force=option:domain-name,lease.example
dhcp-option-force=option:domain-search,lease.example,corp.example
dhcp-option-force=option:mtu,1442
dhcp-option-force=option:ntp-server,192.0.2.123
dhcp-option-force=option:classless-static-route,0.0.0.0/0,192.0.2.1,10.9.0.0/16,192.0.2.9
"""


@pytest.fixture(autouse=True)
def _programs() -> None:
    reason = networkd_daemon.missing()
    need(not reason, reason)
    need(bool(shutil.which("dnsmasq")), "needs dnsmasq")


def lease(backend: Backend, where: Path, mtu: int | None = None) -> networkd_daemon.Lease:
    """Return what networkd takes of the lease, with our files or with those that netplan makes."""
    produced = produce(document([nic(1, mtu=mtu)], [net("ipv4_dhcp")]), backend)
    tree = where / "tree"
    write(produced.files, produced.modes, tree)
    folder = tree / "etc/systemd/network"
    if backend == "netplan":
        reason = netplan_generator.missing()
        need(not reason, reason)
        netplan_generator.generate(tree)
        folder = tree / "run/systemd/network"
    server = where / "dnsmasq.conf"
    server.write_text(SERVER)
    return networkd_daemon.lease(folder, server)


@pytest.mark.parametrize("backend", ["networkd", "netplan"])
def test_everything_that_a_lease_gives_is_taken(backend: Backend, tmp_path: Path) -> None:
    found = lease(backend, tmp_path)
    assert found.mtu == 1442
    assert (found.dns, found.domains, found.ntp) == ("192.0.2.53", DOMAINS, "192.0.2.123")
    assert {("default", "192.0.2.1"), ("10.9.0.0/16", "192.0.2.9")} <= found.routes


@pytest.mark.parametrize("backend", ["networkd", "netplan"])
def test_an_mtu_of_the_source_wins_over_that_of_the_lease(backend: Backend, tmp_path: Path) -> None:
    found = lease(backend, tmp_path, mtu=1400)
    assert (found.mtu, found.dns) == (1400, "192.0.2.53")
