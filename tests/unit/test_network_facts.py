"""Which NICs a guest has, and what writes its resolv.conf: on scratch trees."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig
from network_samples import MAC, MAC2, MAC3
from network_tree import MANAGER, NETWORKD, RESOLVED, Tree
from pytest_mock import MockerFixture

from guestagent import defs, stacks
from guestagent.facts.network import find_nics, find_resolver
from guestagent.model import Nic
from guestagent.system.libc import permanent_mac
from guestagent.system.root import Root


@pytest.fixture
def there(tree: Path) -> Tree:
    return Tree(tree)


# Who writes resolv.conf.


def test_resolv_conf_is_a_file_of_nobody(there: Tree) -> None:
    assert find_resolver(there.root) == "file"
    assert find_resolver(there.put(defs.RESOLV_CONF).root) == "file"


@pytest.mark.parametrize(
    ("target", "resolver"),
    [
        ("../run/systemd/resolve/stub-resolv.conf", "resolved"),
        ("/run/systemd/resolve/resolv.conf", "resolved"),
        ("/usr/lib/systemd/resolv.conf", "resolved"),
        ("../run/resolvconf/resolv.conf", "resolvconf"),
        ("/etc/resolvconf/run/resolv.conf", "resolvconf"),
        ("/run/NetworkManager/resolv.conf", "file"),
    ],
)
def test_the_target_of_resolv_conf_tells_who_writes_it(
    there: Tree, target: str, resolver: str
) -> None:
    assert find_resolver(there.link(defs.RESOLV_CONF, target).root) == resolver


def test_resolved_counts_when_enabled_not_when_merely_installed(there: Tree) -> None:
    assert find_resolver(there.installed(RESOLVED).root) == "file"
    wants = "/etc/systemd/system/sysinit.target.wants"
    assert find_resolver(there.enabled(RESOLVED, wants=wants).root) == "resolved"


def test_resolvconf_is_known_by_its_program(there: Tree) -> None:
    assert find_resolver(there.put("/usr/sbin/resolvconf").root) == "resolvconf"
    assert find_resolver(there.enabled(MANAGER).root) == "networkmanager"
    assert find_resolver(there.enabled(RESOLVED).root) == "resolved"


# NICs.


def test_nics_are_what_is_a_device_in_the_order_of_their_names(there: Tree) -> None:
    there.nic("enp0s4", MAC2).nic("enp0s3").nic("lo", "00:00:00:00:00:00", device=False)
    there.nic("docker0", "02:42:00:00:00:01", device=False)
    assert there.nics == [Nic("enp0s3", MAC), Nic("enp0s4", MAC2)]


def test_what_is_below_sys_is_not_trusted_to_be_a_directory(there: Tree) -> None:
    """``bonding_masters`` is a file among the interfaces."""
    there.nic("enp0s3").put(f"{defs.NET_DIR}/bonding_masters", "bond0\n")
    assert there.nics == [Nic("enp0s3", MAC)]


def test_without_sys_there_are_no_nics(there: Tree) -> None:
    assert there.nics == []


def test_a_mac_address_is_lower_case(there: Tree) -> None:
    assert there.nic("enp0s3", "52:54:00:AA:BB:CC").nics == [Nic("enp0s3", "52:54:00:aa:bb:cc")]


def test_members_of_others_come_last(there: Tree) -> None:
    """A virtual function has the address of the NIC that it speeds up."""
    there.nic("enP1s2").put("/sys/devices/enP1s2/master/ifindex", "2\n")
    there.nic("eth0").nic("eth1", MAC3)
    assert there.nics == [Nic("eth0", MAC), Nic("eth1", MAC3), Nic("enP1s2", MAC, member=True)]


@pytest.fixture
def asked(mocker: MockerFixture) -> list[str]:
    """Collect the NICs whose permanent address the kernel is asked for; it knows enp0s3's."""
    names: list[str] = []

    def permanent_mac(name: str) -> str:
        names.append(name)
        return MAC if name == "enp0s3" else ""

    mocker.patch("guestagent.system.libc.permanent_mac", permanent_mac)
    return names


@pytest.mark.parametrize("kind", ["1", "2", "3"])
def test_of_a_nic_with_another_address_the_permanent_one_counts(
    there: Tree, asked: list[str], kind: str
) -> None:
    there.nic("enp0s3", "02:00:00:00:00:01", kind)
    assert (there.nics, asked) == ([Nic("enp0s3", MAC)], ["enp0s3"])


def test_a_nic_without_a_permanent_address_has_the_one_it_shows(
    there: Tree, asked: list[str]
) -> None:
    assert there.nic("enp0s4", MAC2, "3").nics == [Nic("enp0s4", MAC2)]
    assert asked == ["enp0s4"]


def test_the_kernel_is_not_asked_where_sys_tells_already(there: Tree, asked: list[str]) -> None:
    assert there.nic("enp0s3", MAC2, "0").nics == [Nic("enp0s3", MAC2)]
    assert asked == []


def test_a_nic_that_goes_away_meanwhile_has_no_address(there: Tree, asked: list[str]) -> None:
    there.link("/sys/devices/enp0s5/device", "../..")
    there.link(f"{defs.NET_DIR}/enp0s5", "../../devices/enp0s5")
    assert there.nics == [Nic("enp0s5", "")]


@pytest.mark.parametrize("name", ["lo", "nosuchnic0", "x" * 40, ""])
def test_what_has_no_permanent_address_has_none(name: str) -> None:
    assert permanent_mac(name) == ""


def test_the_kernel_tells_the_permanent_address_of_a_nic() -> None:
    """On this machine, where it has a NIC that still has the address it was made with."""
    root = Root("/")
    places = [f"{defs.NET_DIR}/{name}" for name in root.listdir(defs.NET_DIR)]
    own = [place for place in places if root.exists(f"{place}/device")]
    own = [place for place in own if root.text(f"{place}/addr_assign_type") == "0\n"]
    rig.need(bool(own), "no NIC with its own address")
    for place in own:
        assert permanent_mac(place.rpartition("/")[2]) == root.text(f"{place}/address").strip()


@pytest.mark.parametrize("made", ["bond0", "enp0s3.7", "br0"])
def test_what_the_guest_makes_is_no_nic_of_its_own(there: Tree, made: str) -> None:
    there.nic("enp0s3").nic(made, MAC, "2", device=False)
    assert there.nics == [Nic("enp0s3", MAC)]


def test_all_that_was_looked_at_is_watched(there: Tree) -> None:
    """A later run notices a NIC that came, and a stack that was enabled since."""
    root = there.nic("enp0s3").enabled(NETWORKD).root
    before = [function(root) for function in (find_nics, stacks.in_use, find_resolver)]
    watched = tuple(root.watched)
    assert before == [(Nic("enp0s3", MAC),), "networkd", "file"]
    seen = root.fingerprint(watched, b"salt")
    assert root.fingerprint(watched, b"salt") == seen
    there.nic("enp0s4", MAC2)
    assert root.fingerprint(watched, b"salt") != seen
    seen = root.fingerprint(watched, b"salt")
    there.enabled(MANAGER)
    assert root.fingerprint(watched, b"salt") != seen
