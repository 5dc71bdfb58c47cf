"""What a reload reads back of the files that the renderers wrote, for every case of the table."""

from __future__ import annotations

from configparser import ConfigParser
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from rig import need

from guestagent.stacks.ifupdown import read_back as ifupdown
from guestagent.stacks.netplan import read_back as netplan
from guestagent.stacks.networkd import read_back as networkd
from guestagent.stacks.networkmanager import read_back as networkmanager

from . import ifupdown_shell
from .allowances import allowed
from .case import MACS, NAMES, Case
from .cases import BY_ID, CASES
from .facts import Link
from .produce import Backend, produce, write

each_case = pytest.mark.parametrize("case", CASES, ids=BY_ID)


def files(case: Case, backend: Backend) -> dict[str, str]:
    """Path → text of what a stack's renderer writes."""
    return produce(case.document, backend, policy_routing=case.policy_routing).files


def stacked(case: Case) -> set[str]:
    """Return the names of the bonds and VLANs of a case."""
    return {link.name for link in case.links if not link.nic}


def members(case: Case) -> set[str]:
    """Return the names of the NICs that are members of a bond."""
    return {name for link in case.links if link.bond for name in link.bond.members}


def link_name(path: str) -> str:
    """Return the name of the interface that a profile is for."""
    label = Path(path).name.removeprefix("guestagent-").removesuffix(".nmconnection")
    labels = [f"nic{mac.replace(':', '')}" for mac in MACS]
    return dict(zip(labels, NAMES, strict=True)).get(label, label)


@each_case
def test_networkd_names_the_devices_that_its_files_make(case: Case) -> None:
    found = [networkd.made_device(path, text) for path, text in files(case, "networkd").items()]
    made = [name for name in found if name]
    assert (sorted(made), len(found)) == (sorted(stacked(case)), len(made) + len(case.links))


@each_case
def test_networkmanagers_profiles_have_a_uuid_and_may_be_members(case: Case) -> None:
    found = files(case, "networkmanager")
    for path, text in found.items():
        profile = ConfigParser(strict=False, interpolation=None)
        profile.read_string(text)
        assert networkmanager.uuid(text) == profile["connection"]["uuid"]
        assert networkmanager.is_member(text) == (link_name(path) in members(case))
    assert len({networkmanager.uuid(text) for text in found.values()}) == len(case.links)


@cache
def made_by_netplan(case_id: str) -> dict[str, dict[str, object]]:
    (text,) = files(BY_ID[case_id], "netplan").values()
    return netplan.made_devices(text)


@cache
def facts_of_netplan(case_id: str) -> dict[str, Link]:
    return allowed("netplan", BY_ID[case_id].expected)[0]


@each_case
def test_netplan_names_the_devices_that_its_file_makes(case: Case) -> None:
    assert made_by_netplan(case.id).keys() == stacked(case)


def test_netplans_devices_differ_where_a_change_makes_them_again() -> None:
    """For each two cases that follow each other: of a bond its members alone may change."""
    differing = 0
    for before, after in product(CASES, repeat=2):
        for name in stacked(before) & stacked(after):
            old, new = facts_of_netplan(before.id)[name], facts_of_netplan(after.id)[name]
            same = (_made_with(old), old.vlan, old.mac) == (_made_with(new), new.vlan, new.mac)
            read = made_by_netplan(before.id)[name] == made_by_netplan(after.id)[name]
            assert read == same, (before.id, after.id, name)
            differing += not same
    assert differing > 100


def _made_with(link: Link) -> object:
    return link.bond and (link.bond.mode, link.bond.options)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "network: 7\n", "network:\n  bonds: [x]\n", "\t", "[" * 3000),
        *('network:\n  bonds: {"a\\0": {}}\n', "? []\n: x\n", "a: !!timestamp x\n"),
    ],
)
def test_of_a_text_that_is_no_file_of_netplan_nothing_is_made(text: str) -> None:
    assert netplan.made_devices(text) == {}


@pytest.mark.parametrize("value", ["!!timestamp x", "2001-99-99", "!!int x", "9" * 5000, "0o9"])
def test_a_value_that_is_none_of_yaml_spoils_nothing_of_netplans_file(value: str) -> None:
    """An administrator may have edited the file that a reload compares with."""
    text = f"network:\n  x: {value}\n  vlans:\n    v: {{id: 7, link: {value}}}\n"
    assert netplan.made_devices(text)["v"]["id"] == "7"


@each_case
def test_ifupdowns_blocks_are_what_ifquery_reads(case: Case, tmp_path: Path) -> None:
    reason = ifupdown_shell.missing()
    need(not reason, reason)
    found = files(case, "ifupdown")
    write(found, dict.fromkeys(found, 0o644), tmp_path)
    ((path, text),) = found.items()
    read = ifupdown_shell.options(tmp_path / path[1:])
    lines = {name: [f"{key} {value}" for key, value in pairs] for name, pairs in read.items()}
    assert ifupdown.blocks(text) == lines


@each_case
def test_ifupdowns_blocks_tell_what_a_change_undoes(case: Case) -> None:
    (text,) = files(case, "ifupdown").values()
    found = ifupdown.blocks(text)
    assert found.keys() == case.expected.keys()
    for name, block in found.items():
        link = case.expected[name]
        assert ifupdown.makes_device(block) == (not link.nic or name in members(case))
        assert ifupdown.loses_dns(block, []) == bool(link.dns or link.search or _has_client(link))
        assert not ifupdown.loses_dns(block, block)
        assert ifupdown.undo_commands(block, block) == []
        assert ifupdown.late_undo_commands(block, block) == []
        commands = [*ifupdown.undo_commands(block, []), *ifupdown.late_undo_commands(block, [])]
        settings = [line for line in block if line.startswith(("up ", "pre-up "))]
        undoing = [line for line in block if line.startswith(("down ", "post-down "))]
        assert sorted(commands) == sorted(line.partition(" ")[2] for line in undoing)
        assert len(settings) + len(undoing) + bool(link.dns) + bool(link.search) == len(block)
        for address in link.addresses:
            assert any(f"addr del {address} " in command for command in commands)


def _has_client(link: Link) -> bool:
    return link.dhcp4 or link.dhcp6 in ("stateless", "stateful")
