"""NICs that no document names, such as one that was added to the instance: DHCP, and no harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rig import need

from guestagent import defs

from . import ifupdown_shell, keyfile_reader, netplan_generator, networkd_daemon
from .case import NAMES, bonded, default4, document, net, nic, static4
from .facts import link, route
from .produce import BACKENDS, Backend, Produced, produce_json, write
from .test_properties import Readers

ONE = document([nic(1)], [static4(routes=[default4("192.0.2.1")])])


@pytest.fixture(scope="module")
def all_readers() -> Iterator[Readers]:
    for tool in (keyfile_reader, netplan_generator, ifupdown_shell):
        reason = tool.missing()
        need(not reason, reason)
    found = Readers()
    yield found
    found.close()


def made(text: Any, backend: Backend, *, live: bool = True, other_nics: bool = True) -> Produced:
    return produce_json(json.dumps(text).encode(), backend, live=live, other_nics=other_nics)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_nic_that_no_document_names_gets_dhcp(backend: Backend, all_readers: Readers) -> None:
    produced = made(ONE, backend)
    found = all_readers.links(backend, produced)
    assert produced.problems == ()
    assert set(found) == set(NAMES[:3])
    for name, metric in ((NAMES[1], 20000), (NAMES[2], 20100)):
        other = found[name]
        assert (other.dhcp4, other.accept_ra, other.metric) == (True, True, metric)
        assert (other.addresses, other.routes) == (frozenset(), frozenset())
        # NetworkManager cannot be told not to wait for a NIC.
        assert not other.required or backend == "networkmanager"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_document_names_stays_as_it_is(backend: Backend, all_readers: Readers) -> None:
    alone = all_readers.links(backend, made(ONE, backend, other_nics=False))
    assert set(alone) == {NAMES[0]}
    assert all_readers.links(backend, made(ONE, backend))[NAMES[0]] == alone[NAMES[0]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_members_of_a_bond_are_named(backend: Backend, all_readers: Readers) -> None:
    text = document([nic(1), nic(2), nic(3), bonded("port1", "port2", "port3")], [static4("bond")])
    assert made(text, backend) == made(text, backend, other_nics=False)


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_an_image_and_beside_what_cannot_be_used_nothing_is_added(backend: Backend) -> None:
    unusable = document([nic(1)], [static4(), static4("port9", "192.0.2.11")])
    for text, live in ((ONE, False), (unusable, True)):
        assert made(text, backend, live=live) == made(text, backend, live=live, other_nics=False)


NETWORKD = "[Match]\nName=enp0s4\n[Network]\nAddress=198.51.100.9/24\n"
NETPLAN = """\
network:
  version: 2
  ethernets:
    uplink:
      match: {name: enp0s4}
      addresses: [198.51.100.9/24]
"""
EXPECTED = {
    "enp0s3": link("enp0s3", "192.0.2.10/24", routes=(route("0.0.0.0/0", "192.0.2.1"),)),
    "enp0s4": link("enp0s4", "198.51.100.9/24"),
}


@pytest.mark.parametrize("backend", ["networkd", "netplan"])
def test_what_the_image_says_of_a_nic_has_precedence(backend: Backend, tmp_path: Path) -> None:
    for reason in (networkd_daemon.missing(), netplan_generator.missing()):
        need(not reason, reason)
    produced = made(ONE, backend)
    write(produced.files, produced.modes, tmp_path)
    if backend == "networkd":
        folder = tmp_path / "etc/systemd/network"
        (folder / "99-image.network").write_text(NETWORKD)
    else:
        (tmp_path / "etc/netplan/50-image.yaml").write_text(NETPLAN)
        (tmp_path / "etc/netplan/50-image.yaml").chmod(0o600)
        netplan_generator.generate(tmp_path)
        folder = tmp_path / "run/systemd/network"
    assert networkd_daemon.difference_in_kernel(folder, EXPECTED) == ""


def test_a_profile_of_the_image_has_precedence() -> None:
    """By autoconnect-priority: 0 of people's profiles, -999 of NetworkManager's own."""
    files = made(ONE, "networkmanager").files
    priorities = {
        path[-15:-13]: line.partition("=")[2]
        for path, text in files.items()
        for line in text.splitlines()
        if line.startswith("autoconnect-priority=")
    }
    assert priorities == {"01": "200", "02": "-998", "03": "-998"}


def test_under_netplan_for_networkmanager_too_a_profile_of_the_image_has_precedence(
    tmp_path: Path,
) -> None:
    found = produce_json(
        json.dumps(ONE).encode(), "netplan", other_nics=True, for_networkmanager=True
    )
    write(found.files, found.modes, tmp_path)
    last = {
        path[-15:-13]: "\nautoconnect-priority=-998\n" in text
        for path, text in netplan_generator.keyfiles(tmp_path).items()
    }
    assert last == {"01": False, "02": True, "03": True}


def test_under_netplan_for_networkd_no_setting_is_networkmanager_s() -> None:
    """netplan of Debian 13 refuses the whole file then."""
    (text,) = made(ONE, "netplan").files.values()
    assert "zz-" in text
    assert "networkmanager" not in text


def test_a_document_without_a_usable_network_gives_all_nics_dhcp_once() -> None:
    text = document([], [net("ipv4_dhcp", "nowhere")])
    assert made(text, "networkd") == made(text, "networkd", other_nics=False)
    assert not any(
        path.startswith(defs.NETWORKD_LAST_FILES) for path in made(text, "networkd").files
    )
