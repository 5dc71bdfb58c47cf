"""What the guest's network is like: on scratch trees, as installed, enabled, masked."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig
from network_samples import MAC, MAC2, MAC3
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.facts import network as netfacts
from guestagent.model import Nic
from guestagent.system.libc import permanent_mac
from guestagent.system.root import Root

UNITS = "/usr/lib/systemd/system"
WANTS = "/etc/systemd/system/multi-user.target.wants"
NETWORKD, MANAGER = "systemd-networkd.service", "NetworkManager.service"
IFUPDOWN, RESOLVED = "networking.service", "systemd-resolved.service"
GENERATOR = "/usr/lib/systemd/system-generators/netplan"
MASK = "/etc/systemd/system-generators/netplan"
SOURCE_LINE = "source /etc/network/interfaces.d/*\n"


class Tree:
    """A guest's tree in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, path: str, text: str = "") -> Tree:
        where = self.path / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        return self

    def link(self, path: str, target: str) -> Tree:
        where = self.path / path[1:]
        where.parent.mkdir(parents=True, exist_ok=True)
        where.symlink_to(target)
        return self

    def installed(self, *units: str) -> Tree:
        for unit in units:
            self.put(f"{UNITS}/{unit}")
        return self

    def enabled(self, *units: str, wants: str = WANTS) -> Tree:
        self.installed(*units)
        for unit in units:
            self.link(f"{wants}/{unit}", f"{UNITS}/{unit}")
        return self

    def ifupdown(self, text: str = SOURCE_LINE) -> Tree:
        """All of ifupdown but what starts it at boot."""
        self.put(defs.IFUPDOWN_MAIN, text).put("/usr/sbin/ifup")
        return self.installed(IFUPDOWN)

    def netplan(self) -> Tree:
        return self.put(GENERATOR)

    def nic(self, name: str, mac: str = MAC, kind: str = "0", device: bool = True) -> Tree:
        """A NIC of /sys; ``kind`` is its addr_assign_type."""
        where = f"/sys/devices/{name}"
        self.put(f"{where}/address", f"{mac}\n").put(f"{where}/addr_assign_type", f"{kind}\n")
        if device:
            self.link(f"{where}/device", "../..")
        return self.link(f"{defs.NET_DIR}/{name}", f"../../devices/{name}")

    @property
    def root(self) -> Root:
        return Root(str(self.path))

    @property
    def backend(self) -> str:
        return netfacts.backend(self.root)

    @property
    def nics(self) -> list[Nic]:
        return list(netfacts.nics(self.root))


@pytest.fixture
def there(tree: Path) -> Tree:
    return Tree(tree)


# The stack that will run at boot.


def test_of_an_empty_tree_no_stack_is_known(there: Tree) -> None:
    assert there.backend == ""


@pytest.mark.parametrize(("unit", "backend"), [(NETWORKD, "networkd"), (MANAGER, "networkmanager")])
def test_a_stack_counts_when_enabled_not_when_merely_installed(
    there: Tree, unit: str, backend: str
) -> None:
    assert there.installed(unit).backend == ""
    assert there.enabled(unit).backend == backend


@pytest.mark.parametrize("target", ["sysinit", "multi-user", "network", "network-online"])
@pytest.mark.parametrize("where", ["/etc", "/run", "/usr/lib"])
def test_a_unit_is_enabled_wherever_a_target_wants_it(there: Tree, where: str, target: str) -> None:
    wants = f"{where}/systemd/system/{target}.target.wants"
    assert there.enabled(NETWORKD, wants=wants).backend == "networkd"


def test_networkmanager_stands_before_networkd(there: Tree) -> None:
    assert there.enabled(NETWORKD, MANAGER).backend == "networkmanager"


def test_networkmanager_that_is_merely_installed_does_not_count(there: Tree) -> None:
    assert there.enabled(NETWORKD).installed(MANAGER).backend == "networkd"


@pytest.mark.parametrize("where", ["/etc", "/run"])
def test_a_masked_unit_does_not_run_whoever_wants_it(there: Tree, where: str) -> None:
    there.enabled(NETWORKD).enabled(MANAGER, RESOLVED, wants=f"{UNITS}/multi-user.target.wants")
    for unit in (MANAGER, RESOLVED):
        there.link(f"{where}/systemd/system/{unit}", "/dev/null")
    assert (there.backend, netfacts.resolver(there.root)) == ("networkd", "file")


def test_ifupdown_starts_at_boot_and_reads_the_directory(there: Tree) -> None:
    assert there.ifupdown().backend == ""
    assert there.enabled(IFUPDOWN).backend == "ifupdown"


def test_ifupdown_is_started_by_openrc_too(there: Tree) -> None:
    there.ifupdown().link(defs.OPENRC_NETWORKING, "/etc/init.d/networking")
    assert there.backend == "ifupdown"


@pytest.mark.parametrize("text", ["", "auto lo\niface lo inet loopback\n"])
def test_ifupdown_that_does_not_read_the_directory_is_of_no_use(there: Tree, text: str) -> None:
    assert there.ifupdown(text).enabled(IFUPDOWN).backend == ""


def test_ifupdown_needs_its_program(there: Tree) -> None:
    there.put(defs.IFUPDOWN_MAIN, SOURCE_LINE).enabled(IFUPDOWN)
    assert there.backend == ""


@pytest.mark.parametrize(("unit", "backend"), [(NETWORKD, "networkd"), (MANAGER, "networkmanager")])
def test_another_stack_stands_before_ifupdown(there: Tree, unit: str, backend: str) -> None:
    """Debian's image with networkd keeps ifupdown's files."""
    assert there.ifupdown().enabled(IFUPDOWN).installed(unit).backend == "ifupdown"
    assert there.enabled(unit).backend == backend


@pytest.mark.parametrize("unit", [NETWORKD, MANAGER])
def test_netplan_stands_before_the_two_it_writes_for(there: Tree, unit: str) -> None:
    assert there.enabled(unit).netplan().backend == "netplan"


@pytest.mark.parametrize(
    "path", ["/etc/netplan/50.yaml", "/run/netplan/x.yaml", "/usr/lib/netplan/00.yaml"]
)
def test_netplan_with_a_file_of_its_own_needs_no_enabled_unit(there: Tree, path: str) -> None:
    """Its generator has the units of its renderer wanted at boot."""
    assert there.netplan().backend == ""
    assert there.put(path).backend == "netplan"


@pytest.mark.parametrize("path", ["/etc/netplan/README", "/etc/netplan/50.yaml.dpkg-old"])
def test_other_files_of_netplan_say_nothing(there: Tree, path: str) -> None:
    assert there.netplan().put(path).backend == ""


def test_netplan_without_its_generator_does_nothing(there: Tree) -> None:
    there.put("/etc/netplan/50.yaml").put("/usr/sbin/netplan").enabled(NETWORKD)
    assert there.backend == "networkd"


@pytest.mark.parametrize("empty", [True, False])
def test_a_masked_generator_does_nothing(there: Tree, empty: bool) -> None:
    there.netplan().put("/etc/netplan/50.yaml").enabled(NETWORKD)
    assert there.backend == "netplan"
    (there.put(MASK) if empty else there.link(MASK, "/dev/null"))
    assert there.backend == "networkd"


def test_netplan_beside_ifupdown_counts_only_where_it_is_used(there: Tree) -> None:
    assert there.ifupdown().enabled(IFUPDOWN).netplan().backend == "ifupdown"
    assert there.put("/etc/netplan/50.yaml").backend == "netplan"


# Who writes resolv.conf.


def test_resolv_conf_is_a_file_of_nobody(there: Tree) -> None:
    assert netfacts.resolver(there.root) == "file"
    assert netfacts.resolver(there.put(defs.RESOLV_CONF).root) == "file"


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
    assert netfacts.resolver(there.link(defs.RESOLV_CONF, target).root) == resolver


def test_resolved_counts_when_enabled_not_when_merely_installed(there: Tree) -> None:
    assert netfacts.resolver(there.installed(RESOLVED).root) == "file"
    wants = "/etc/systemd/system/sysinit.target.wants"
    assert netfacts.resolver(there.enabled(RESOLVED, wants=wants).root) == "resolved"


def test_resolvconf_is_known_by_its_program(there: Tree) -> None:
    assert netfacts.resolver(there.put("/usr/sbin/resolvconf").root) == "resolvconf"
    assert netfacts.resolver(there.enabled(MANAGER).root) == "networkmanager"
    assert netfacts.resolver(there.enabled(RESOLVED).root) == "resolved"


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
    assert there.nics == [Nic("eth0", MAC), Nic("eth1", MAC3), Nic("enP1s2", MAC)]


@pytest.fixture
def asked(mocker: MockerFixture) -> list[str]:
    """The NICs whose permanent address the kernel was asked for; it knows enp0s3's only."""
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
    before = [function(root) for function in (netfacts.nics, netfacts.backend, netfacts.resolver)]
    watched = tuple(root.watched)
    assert before == [(Nic("enp0s3", MAC),), "networkd", "file"]
    seen = root.fingerprint(watched, b"salt")
    assert root.fingerprint(watched, b"salt") == seen
    there.nic("enp0s4", MAC2)
    assert root.fingerprint(watched, b"salt") != seen
    seen = root.fingerprint(watched, b"salt")
    there.enabled(MANAGER)
    assert root.fingerprint(watched, b"salt") != seen
