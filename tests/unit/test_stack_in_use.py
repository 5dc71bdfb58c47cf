"""Which network stack will run at boot: on scratch trees, as installed, enabled, masked."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_tree import IFUPDOWN, MANAGER, NETWORKD, RESOLVED, SOURCE_LINE, UNITS, Tree

from guestagent import defs, facts
from guestagent.facts import interfaces
from guestagent.facts.network import find_resolver

MASK = "/etc/systemd/system-generators/netplan"


@pytest.fixture
def there(tree: Path) -> Tree:
    return Tree(tree)


def test_of_an_empty_tree_no_stack_is_known(there: Tree) -> None:
    assert there.stack == ""


@pytest.mark.parametrize(("unit", "stack"), [(NETWORKD, "networkd"), (MANAGER, "networkmanager")])
def test_a_stack_counts_when_enabled_not_when_merely_installed(
    there: Tree, unit: str, stack: str
) -> None:
    assert there.installed(unit).stack == ""
    assert there.enabled(unit).stack == stack


@pytest.mark.parametrize("target", ["sysinit", "multi-user", "network", "network-online"])
@pytest.mark.parametrize("where", ["/etc", "/run", "/usr/lib"])
def test_a_unit_is_enabled_wherever_a_target_wants_it(there: Tree, where: str, target: str) -> None:
    wants = f"{where}/systemd/system/{target}.target.wants"
    assert there.enabled(NETWORKD, wants=wants).stack == "networkd"


def test_networkmanager_stands_before_networkd(there: Tree) -> None:
    assert there.enabled(NETWORKD, MANAGER).stack == "networkmanager"


def test_networkmanager_that_is_merely_installed_does_not_count(there: Tree) -> None:
    assert there.enabled(NETWORKD).installed(MANAGER).stack == "networkd"


@pytest.mark.parametrize("where", ["/etc", "/run"])
def test_a_masked_unit_does_not_run_whoever_wants_it(there: Tree, where: str) -> None:
    there.enabled(NETWORKD).enabled(MANAGER, RESOLVED, wants=f"{UNITS}/multi-user.target.wants")
    for unit in (MANAGER, RESOLVED):
        there.link(f"{where}/systemd/system/{unit}", "/dev/null")
    assert (there.stack, find_resolver(there.root)) == ("networkd", "file")


def test_ifupdown_starts_at_boot_and_reads_the_directory(there: Tree) -> None:
    assert there.ifupdown().stack == ""
    assert there.enabled(IFUPDOWN).stack == "ifupdown"


def test_ifupdown_is_started_by_openrc_too(there: Tree) -> None:
    there.ifupdown().link(defs.OPENRC_NETWORKING, "/etc/init.d/networking")
    assert there.stack == "ifupdown"


@pytest.mark.parametrize("text", ["", "auto lo\niface lo inet loopback\n"])
def test_ifupdown_that_does_not_read_the_directory_is_of_no_use(there: Tree, text: str) -> None:
    assert there.ifupdown(text).enabled(IFUPDOWN).stack == ""


def test_ifupdown_needs_its_program(there: Tree) -> None:
    there.put(defs.IFUPDOWN_MAIN, SOURCE_LINE).enabled(IFUPDOWN)
    assert there.stack == ""


@pytest.mark.parametrize(("unit", "stack"), [(NETWORKD, "networkd"), (MANAGER, "networkmanager")])
def test_another_stack_stands_before_ifupdown(there: Tree, unit: str, stack: str) -> None:
    """Debian's image with networkd keeps ifupdown's files."""
    assert there.ifupdown().enabled(IFUPDOWN).installed(unit).stack == "ifupdown"
    assert there.enabled(unit).stack == stack


@pytest.mark.parametrize("unit", [NETWORKD, MANAGER])
def test_netplan_stands_before_the_two_it_writes_for(there: Tree, unit: str) -> None:
    assert there.enabled(unit).netplan().stack == "netplan"


@pytest.mark.parametrize(
    "path", ["/etc/netplan/50.yaml", "/run/netplan/x.yaml", "/usr/lib/netplan/00.yaml"]
)
def test_netplan_with_a_file_of_its_own_needs_no_enabled_unit(there: Tree, path: str) -> None:
    """Its generator has the units of its renderer wanted at boot."""
    assert there.netplan().stack == ""
    assert there.put(path).stack == "netplan"


@pytest.mark.parametrize("path", ["/etc/netplan/README", "/etc/netplan/50.yaml.dpkg-old"])
def test_other_files_of_netplan_say_nothing(there: Tree, path: str) -> None:
    assert there.netplan().put(path).stack == ""


def test_netplan_without_its_generator_does_nothing(there: Tree) -> None:
    there.put("/etc/netplan/50.yaml").put("/usr/sbin/netplan").enabled(NETWORKD)
    assert there.stack == "networkd"


@pytest.mark.parametrize("empty", [True, False])
def test_a_masked_generator_does_nothing(there: Tree, empty: bool) -> None:
    there.netplan().put("/etc/netplan/50.yaml").enabled(NETWORKD)
    assert there.stack == "netplan"
    (there.put(MASK) if empty else there.link(MASK, "/dev/null"))
    assert there.stack == "networkd"


def test_netplan_beside_ifupdown_counts_only_where_it_is_used(there: Tree) -> None:
    assert there.ifupdown().enabled(IFUPDOWN).netplan().stack == "ifupdown"
    assert there.put("/etc/netplan/50.yaml").stack == "netplan"


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        ({}, False),
        ({"01-all": "network:\n  version: 2\n  renderer: NetworkManager\n"}, True),
        ({"01-all": "# x\nnetwork:\n    renderer: 'NetworkManager'  # all\n"}, True),
        ({"01-all": "network:\n  renderer: networkd\n"}, False),
        # One interface's is no choice for the others.
        ({"a": "network:\n  ethernets:\n    eth0:\n      renderer: NetworkManager\n"}, False),
        ({"a": "network: {renderer: NetworkManager}\n"}, False),
        (
            {
                "01-all": "network:\n  renderer: NetworkManager\n",
                "02-mine": "network:\n  renderer: networkd\n",
            },
            False,
        ),
        ({"90-guestagent": "network:\n  renderer: NetworkManager\n"}, False),
    ],
)
def test_what_netplan_writes_for(there: Tree, files: dict[str, str], chosen: bool) -> None:
    there.netplan().enabled(NETWORKD)
    for name, text in files.items():
        there.put(f"/etc/netplan/{name}.yaml", text)
    found = facts.gather(there.root)
    assert (found.stack, found.netplan_for_networkmanager) == ("netplan", chosen)


def test_words_of_the_image_s_own_interfaces_files(there: Tree) -> None:
    there.ifupdown(f"# eth0\nauto eth1\n{SOURCE_LINE}")
    there.put(f"{defs.IFUPDOWN_DIR}/mine", "  bond-slaves eth2 eth3\n")
    there.put(defs.NETWORK_STACK_FILES["ifupdown"], "auto eth4\n")
    there.put(f"{defs.NETWORK_STACK_FILES['ifupdown']}-nic1", "auto eth5\n")
    words = interfaces.own_words(there.root)
    assert {name for name in words if name.startswith("eth")} == {"eth1", "eth2", "eth3"}


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("source-directory /etc/network/image", "/etc/network/image/uplink"),
        ("source-directory image/", "/etc/network/image/uplink"),
        ("source /etc/network/*.cfg", "/etc/network/uplink.cfg"),
        ("source /etc/uplink", "/etc/uplink"),
        ("source no/such/file /etc/uplink", "/etc/uplink"),
    ],
)
def test_files_that_interfaces_sources_are_the_image_s_too(
    line: str, path: str, there: Tree
) -> None:
    there.ifupdown(f"{line}\n{SOURCE_LINE}")
    # It names itself: that has an end.
    there.put(path, f"source {path} {defs.IFUPDOWN_MAIN}\nallow-hotplug eth1\n")
    assert "eth1" in interfaces.own_words(there.root)
    assert path not in interfaces.own_words(there.root)


@pytest.mark.parametrize("path", ["/a" * 5000, "a/" * 5000 + "*", "../" * 5000 + "a"])
def test_C10_a_source_of_thousands_of_folders_spoils_no_run(there: Tree, path: str) -> None:
    there.put(defs.IFUPDOWN_MAIN, f"source {path}\niface eth1 inet dhcp\n")
    assert "eth1" in interfaces.own_words(there.root)


@pytest.mark.parametrize(
    "line",
    [
        "source /etc/network/interfaces.d",
        "source-directory /etc/network/interfaces",
        "source /etc/a\0b /etc/a\0b/*",
        "source",
        "source-directory",
    ],
)
def test_what_is_no_file_of_interfaces_spoils_nothing(line: str, there: Tree) -> None:
    there.ifupdown(f"{line}\nauto eth1\n{SOURCE_LINE}")
    there.put(f"{defs.IFUPDOWN_DIR}/folder/file", "auto eth2\n")
    words = interfaces.own_words(there.root)
    assert ("eth1" in words, "eth2" in words) == (True, False)
    there.root.fingerprint(there.root.watched, b"0")
