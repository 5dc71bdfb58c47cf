"""What a lease gives is taken: the real dnsmasq, and the real clients on our files.

The table in docs/leases.md says what is measured here, and what is not.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rig import REPOSITORY, need

from guestagent import defs

from . import netplan_generator, networkd_daemon
from .case import document, net, nic, static4
from .produce import Backend, Produced, produce, write

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

SERVER6 = """
interface=p-enp0s3
bind-interfaces
port=0
user=root
leasefile-ro
pid-file=
enable-ra
dhcp-range=2001:db8::100,2001:db8::1ff,64,1h
dhcp-option=option6:dns-server,[2001:db8::53]
dhcp-option=option6:domain-search,six.example
dhcp-option=option6:ntp-server,[2001:db8::123]
"""


@pytest.fixture(autouse=True)
def _programs() -> None:
    reason = networkd_daemon.missing()
    need(not reason, reason)
    need(bool(shutil.which("dnsmasq")), "needs dnsmasq")


def configured(backend: Backend, found: Produced, where: Path) -> Path:
    """Return the folder with the files for networkd: ours, or those that netplan makes of ours."""
    tree = where / "tree"
    write(found.files, found.modes, tree)
    if backend == "networkd":
        return tree / "etc/systemd/network"
    reason = netplan_generator.missing()
    need(not reason, reason)
    netplan_generator.generate(tree)
    return tree / "run/systemd/network"


def lease(backend: Backend, where: Path, mtu: int | None = None) -> networkd_daemon.Lease:
    """Return what networkd takes of the lease, with our files or with those that netplan makes."""
    produced = produce(document([nic(1, mtu=mtu)], [net("ipv4_dhcp")]), backend)
    folder = configured(backend, produced, where)
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


@pytest.mark.parametrize("backend", ["networkd", "netplan"])
def test_what_dhcpv6_gives_is_taken(backend: Backend, tmp_path: Path) -> None:
    produced = produce(document([nic(1)], [net("ipv6_dhcpv6-stateful")]), backend)
    folder = configured(backend, produced, tmp_path)
    server = tmp_path / "dnsmasq.conf"
    server.write_text(SERVER6)
    found = networkd_daemon.lease(folder, server)
    # The advertisement names the DNS server too.
    assert set(found.dns.split()) == {"2001:db8::53"}
    assert (found.domains, found.ntp) == ("six.example", "2001:db8::123")


# Nothing at all, links without a network, and an address that cannot be used.
WITHOUT_ADDRESS = {
    "nothing": document([], []),
    "links": document([nic(1), nic(2)], []),
    "unusable": document([nic(1)], [static4(address="0.0.0.0")]),
}


@pytest.mark.parametrize("backend", ["networkd", "netplan"])
@pytest.mark.parametrize("given", WITHOUT_ADDRESS)
def test_the_network_is_online_when_one_of_the_nics_is(
    given: str, backend: Backend, tmp_path: Path
) -> None:
    produced = produce(WITHOUT_ADDRESS[given], backend)
    comment, _, line = produced.online.partition("\n")
    name, _, words = line.strip().partition("=")
    assert (comment[:2], name) == ("# ", "GUESTAGENT_WAIT_ONLINE")
    folder = configured(backend, produced, tmp_path)
    server = tmp_path / "dnsmasq.conf"
    server.write_text(SERVER)
    # The second NIC has no link.
    assert networkd_daemon.gets_online(folder, server, words.split())
    # So it is not without these words, for which the drop-in is there.
    assert not networkd_daemon.gets_online(folder, server, [], patience=3)


@pytest.mark.parametrize("backend", ["networkd", "netplan"])
def test_nics_that_a_document_gives_an_address_are_waited_for(backend: Backend) -> None:
    assert produce(document([nic(1)], [net("ipv4_dhcp")]), backend).online == ""


def test_the_drop_in_gives_the_words_to_the_program() -> None:
    text = (REPOSITORY / "systemd/wait-online.conf").read_text()
    assert f"EnvironmentFile=-{defs.WAIT_ONLINE_FILE}\n" in text
    program = "/usr/lib/systemd/systemd-networkd-wait-online"
    assert f"ExecStart=\nExecStart={program} $GUESTAGENT_WAIT_ONLINE\n" in text
    rules = (REPOSITORY / "packaging/debian/rules").read_text()
    assert "systemd-networkd-wait-online.service.d/05-guestagent.conf" in rules
