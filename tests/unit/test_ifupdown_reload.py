"""What a changed interfaces(5) file of ours has a running guest do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from network_samples import LABEL2, MAC, MAC2, bond, interface, member, rendered, vlan

from guestagent import defs
from guestagent.model import Interface
from guestagent.stacks.ifupdown import reload
from guestagent.system.tools import TIMED_OUT, Result

NAME, NAME2 = "enp0s3", "enp0s4"


class Guest:
    """A guest that notes what it is told: "enp0s3: COMMAND", "ifup enp0s3", "ifdown enp0s3"."""

    def __init__(self, devices: Path) -> None:
        self.devices = devices
        self.told: list[str] = []
        self.texts: list[str] = []
        self.answers: dict[str, Result] = {}
        self.tools = {"ifup", "ifdown"}

    def program(self, name: str) -> str | None:
        return f"/sbin/{name}" if name in self.tools else None

    def run(self, argv: Sequence[str], stdin: bytes = b"", timeout: float = 0) -> Result:
        assert timeout == defs.NETWORK_TIMEOUT
        tool = argv[0].rpartition("/")[2]
        if tool == "sh":
            command = argv[2].removeprefix("IFACE=$0; ")
            if "promote_secondaries" not in command:
                self.told.append(f"{argv[3]}: {command}")
            if command.startswith("ip link del dev "):
                self._delete(command.split()[4])
            return Result(2, b"", b"nothing to undo")
        self.told.append(f"{tool} {argv[-1]}")
        self.texts.append(stdin.decode())
        assert list(argv[1:-1]) == (["--force"] if tool == "ifup" else ["-i", "/dev/stdin"])
        return self.answers.get(self.told[-1], Result(0, b"", b""))

    def _delete(self, name: str) -> None:
        """A device goes, and the VLAN on it."""
        for gone in (name, "vlan7") if name == "bond0" else (name,):
            (self.devices / gone).unlink(missing_ok=True)


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    made = Guest(tmp_path)
    for name in (NAME, NAME2, "bond0", "vlan7"):
        (tmp_path / name).touch()
    monkeypatch.setattr(defs, "NET_DIR", str(tmp_path))
    monkeypatch.setattr(reload, "find_program", made.program)
    monkeypatch.setattr(reload, "run", made.run)
    return made


def text(*interfaces: Interface) -> str:
    return "".join(file.text for file in rendered("ifupdown", *interfaces)[0])


def nic(**changes: object) -> Interface:
    return interface(**({"name": NAME} | changes))


def second(**changes: object) -> Interface:
    return interface(**({"name": NAME2, "mac": MAC2, "addresses": ("198.51.100.7/24",)} | changes))


def stacked(options: object = (("miimon", "100"),), **changes: object) -> tuple[Interface, ...]:
    """A bond of both NICs, and a VLAN on it that is changed as told."""
    members = (member(MAC, name=NAME), member(MAC2, name=NAME2))
    return (*members, bond(options=options), vlan("bond0", **({"dhcp4": True} | changes)))


def test_the_same_text_needs_nothing(guest: Guest) -> None:
    assert reload.carry_out(text(nic()), text(nic())) == []
    assert reload.carry_out("", "") == []
    assert guest.told == []


def test_a_new_interface_comes_up(guest: Guest) -> None:
    assert reload.carry_out(text(nic()), text(nic(), second())) == []
    assert guest.told == ["ifup enp0s4"]


def test_interfaces_that_are_gone_go_down_by_their_old_text_the_topmost_first(
    guest: Guest,
) -> None:
    old = text(*stacked())
    assert reload.carry_out(old, "") == []
    assert guest.told == ["ifdown vlan7", "ifdown bond0", "ifdown enp0s4", "ifdown enp0s3"]
    assert guest.texts == [old] * 4


def test_only_what_the_new_text_lacks_is_undone_and_then_ifup_sets_the_rest(guest: Guest) -> None:
    old = nic(addresses=("192.0.2.5/24", "192.0.2.6/24"))
    reload.carry_out(text(old, second()), text(nic(addresses=("192.0.2.5/24",)), second()))
    undo = 'ip -4 addr del 192.0.2.6/24 dev "$IFACE" 2>/dev/null || true'
    assert guest.told == [f"enp0s3: {undo}", "ifup enp0s3"]


def test_an_address_leaves_one_interface_before_it_comes_to_another(guest: Guest) -> None:
    both = text(nic(), second())
    reload.carry_out(both, text(nic(addresses=("198.51.100.7/24",)), second(addresses=())))
    kinds = [line.split()[0] for line in guest.told]
    assert kinds == ["enp0s4:", "enp0s3:", "ifup", "ifup"]


def test_a_client_that_stays_is_left_alone(guest: Guest) -> None:
    more = ("192.0.2.5/24", "198.51.100.7/24")
    reload.carry_out(text(nic(dhcp4=True)), text(nic(dhcp4=True, addresses=more)))
    assert guest.told == ["ifup enp0s3"]


def test_a_client_is_ended_that_would_set_the_mtu_of_its_lease_again(guest: Guest) -> None:
    reload.carry_out(text(nic(dhcp4=True)), text(nic(dhcp4=True, mtu=1400)))
    assert guest.told[0].startswith("enp0s3: kill -9 ")
    assert guest.told[-1] == "ifup enp0s3"


def test_what_a_client_left_goes_after_the_new_addresses_have_come(guest: Guest) -> None:
    reload.carry_out(text(nic(dhcp4=True, addresses=())), text(nic()))
    first, forgotten, then, last = guest.told
    assert first.startswith("enp0s3: kill -9 ")
    assert "/etc/network/if-down.d/resolved" in forgotten
    assert then == "ifup enp0s3"
    assert last == 'enp0s3: ip -4 addr flush dev "$IFACE" dynamic || true'


def test_a_client_with_another_metric_is_ended_and_keeps_its_address(guest: Guest) -> None:
    reload.carry_out(text(nic(dhcp4=True)), text(nic(dhcp4=True, metric=1074)))
    first, forgotten, then = guest.told
    assert first.startswith("enp0s3: kill -9 ")
    assert "/etc/network/if-down.d/resolved" in forgotten
    assert then == "ifup enp0s3"


def test_name_servers_that_are_no_more_are_forgotten(guest: Guest) -> None:
    reload.carry_out(text(nic(dns=("192.0.2.53",))), text(nic()))
    forgotten, then = guest.told
    assert "/etc/network/if-down.d/resolved" in forgotten
    assert then == "ifup enp0s3"


def test_name_servers_of_a_client_that_stays_are_kept(guest: Guest) -> None:
    reload.carry_out(text(nic(dhcp4=True, dns=("192.0.2.53",))), text(nic(dhcp4=True)))
    assert guest.told == ["ifup enp0s3"]


def test_a_vlan_with_another_tag_is_made_anew(guest: Guest) -> None:
    old, new = (text(nic(), vlan(tag=tag, name="vlan7")) for tag in (7, 8))
    reload.carry_out(old, new)
    assert guest.told == ["vlan7: ip link del dev vlan7 || true", "ifup vlan7"]


def test_a_bond_with_other_options_is_made_anew_and_all_on_it_is_done_again(guest: Guest) -> None:
    reload.carry_out(text(*stacked()), text(*stacked(options=(("miimon", "200"),))))
    told = [line for line in guest.told if line.startswith(("ifup", "bond0:"))]
    assert told == [
        "bond0: ip link del dev bond0 || true",
        *("ifup enp0s3", "ifup enp0s4", "ifup bond0", "ifup vlan7"),
    ]
    before = guest.told[: guest.told.index("ifup vlan7")]
    assert any(line.startswith("vlan7: kill -9 ") for line in before)


def test_a_member_leaves_its_bond_without_the_bond_being_made_anew(guest: Guest) -> None:
    members = (member(MAC, name=NAME), member(MAC2, name=NAME2))
    reload.carry_out(text(*members, bond()), text(*members, bond(LABEL2)))
    assert guest.told == ['enp0s3: ip link set dev "$IFACE" nomaster || true', "ifup enp0s3"]


def test_another_primary_member_is_a_change_of_the_members_only(guest: Guest) -> None:
    old, new = (
        text(*stacked(options=(("miimon", "100"), ("primary", label))))
        for label in (LABEL2, "nic525400000101")
    )
    reload.carry_out(old, new)
    assert guest.told == [
        f"enp0s4: echo >{defs.NET_DIR}/bond0/bonding/primary || true",
        *("ifup enp0s3", "ifup enp0s4"),
    ]


def test_nics_that_had_no_name_are_done_again_and_nothing_is_undone(guest: Guest) -> None:
    reload.carry_out(text(nic(name="")), text(nic(mtu=1400), second(name=NAME2)))
    assert guest.told == ["ifup enp0s3", "ifup enp0s4"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Result(1, b"", b"ifup: failed to bring up enp0s3\n"), "failed to bring up enp0s3"),
        (Result(TIMED_OUT, b"", b"", 90.0), "took longer than 90 s"),
        (Result(0, b"", b"Error: Nexthop has invalid gateway.\n"), "Nexthop has invalid gateway"),
        (Result(0, b"", b"RTNETLINK answers: No route to host\n"), "No route to host"),
    ],
)
def test_failures_name_the_interface_and_the_rest_goes_on(
    guest: Guest, answer: Result, reason: str
) -> None:
    guest.answers["ifup enp0s3"] = answer
    (failure,) = reload.carry_out("", text(nic(), second()))
    assert failure.startswith("ifup enp0s3: ")
    assert reason in failure
    assert guest.told[-1] == "ifup enp0s4"


@pytest.mark.parametrize(
    "said", [b"RTNETLINK answers: File exists\n", b"Error: ipv4: Address already assigned.\n", b"x"]
)
def test_what_is_there_already_is_no_failure(guest: Guest, said: bytes) -> None:
    guest.answers["ifup enp0s3"] = Result(0, b"", said)
    assert reload.carry_out("", text(nic())) == []


def test_a_failed_ifdown_is_a_failure(guest: Guest) -> None:
    guest.answers["ifdown enp0s3"] = Result(1, b"", b"ifdown: no such file\n")
    (failure,) = reload.carry_out(text(nic()), "")
    assert failure.startswith("ifdown enp0s3: ")


def test_without_ifup_there_is_a_failure(guest: Guest) -> None:
    guest.tools.clear()
    assert reload.carry_out("", text(nic())) == ["ifup is not installed"]


def test_lines_of_a_person_between_ours_are_no_settings(guest: Guest) -> None:
    changed = text(nic()).replace("    up", "# a note\n\n    up", 1)
    reload.carry_out(changed, text(nic()))
    assert guest.told == []
