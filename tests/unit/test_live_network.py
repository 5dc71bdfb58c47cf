"""Which programs of which network stack run for which change of its files."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Origin
from guestagent.live import network as live
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.kinds.remove import RemoveFile
from guestagent.stacks import programs as stack_programs
from guestagent.stacks.ifupdown import reload as ifupdown
from guestagent.stacks.rendered import FileChange
from guestagent.system.lock import lock
from guestagent.system.root import Root
from guestagent.system.tools import TIMED_OUT, Result

WHY = Origin("test", "", "")
NETWORKD = f"{defs.NETWORKD_DIR}/10-guestagent-"
MANAGER = f"{defs.NETWORKMANAGER_DIR}/guestagent-"


class Programs:
    """Stands in for every program; ``fails`` and ``output`` are by the command's beginning."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.fails: dict[str, int] = {}
        self.output: dict[str, str] = {}
        self.missing: set[str] = set()

    def find(self, name: str) -> str | None:
        """All are installed but the missing ones."""
        return None if name in self.missing else name

    def run(self, argv: tuple[str, ...] | list[str], timeout: float = 0.0) -> Result:
        """Note what was started."""
        line = " ".join(argv)
        self.started.append(line)
        status = next((code for start, code in self.fails.items() if line.startswith(start)), 0)
        output = next((out for start, out in self.output.items() if line.startswith(start)), "")
        return Result(status, output.encode(), b"it does not work\n", timeout)

    def changing(self) -> list[str]:
        """What was started beyond questions."""
        questions = ("systemctl --quiet is-active", "nmcli -g")
        return [line for line in self.started if not line.startswith(questions)]


@pytest.fixture
def programs(mocker: MockerFixture) -> Programs:
    """No program is really started."""
    found = Programs()
    mocker.patch.object(stack_programs, "find_program", found.find)
    mocker.patch.object(stack_programs, "run", found.run)
    return found


def write(path: str, new: str = "new", old: str | None = None) -> WriteFile:
    """A file that is new or has changed."""
    before = None if old is None else old.encode()
    return WriteFile("write", path, before, new.encode(), None, 0o644, "", WHY, False)


def remove(path: str, old: str = "old") -> RemoveFile:
    """A file that is gone."""
    return RemoveFile("remove", path, old.encode(), 0o644, WHY)


def test_files_of_other_kinds_start_nothing(programs: Programs) -> None:
    changes: list[WriteFile | RemoveFile] = [
        write("/etc/hostname"),
        write("/etc/network/interfaces"),
        remove("/etc/motd"),
    ]
    assert live.network_changes(changes) == []
    assert live.reload(changes) == []
    assert programs.started == []


def test_resolv_conf_belongs_to_the_network_and_needs_no_program(programs: Programs) -> None:
    changes = [write(defs.RESOLV_CONF)]
    assert live.network_changes(changes) == changes
    assert live.reload(changes) == []
    assert programs.started == []


def test_networkd_reads_its_files_again(programs: Programs) -> None:
    changes = [write(f"{NETWORKD}nic1.network"), write(f"{NETWORKD}bond0.netdev", "[NetDev]")]
    assert live.reload(changes) == []
    assert programs.changing() == ["networkctl reload"]


@pytest.mark.parametrize("gone", [True, False])
def test_networkd_makes_a_changed_device_anew(programs: Programs, gone: bool) -> None:
    path, old = f"{NETWORKD}bond0.netdev", "[NetDev]\nName=bond0\nKind=bond\n"
    change = remove(path, old) if gone else write(path, "other", old)
    assert live.reload([change]) == []
    assert programs.changing()[:2] == ["networkctl delete bond0", "networkctl reload"]


def test_a_stack_that_does_not_run_is_told_nothing(programs: Programs) -> None:
    programs.fails["systemctl --quiet is-active"] = 3
    assert live.reload([remove(f"{NETWORKD}a.network"), remove(f"{MANAGER}a")]) == []
    assert programs.changing() == []


@pytest.mark.parametrize("path", [f"{NETWORKD}a.network", f"{MANAGER}a.nmconnection"])
def test_new_files_for_a_stack_that_does_not_run_are_a_failure(
    programs: Programs, path: str
) -> None:
    programs.fails["systemctl --quiet is-active"] = 3
    (failure,) = live.reload([write(path)])
    assert "is not running" in failure
    assert programs.changing() == []


@pytest.mark.parametrize("name", ["a.network", "b.netdev"])
def test_one_new_file_among_removed_ones_is_a_failure_too(programs: Programs, name: str) -> None:
    programs.fails["systemctl --quiet is-active"] = 3
    changes: list[WriteFile | RemoveFile] = [
        remove(f"{NETWORKD}gone.network"),
        write(f"{NETWORKD}{name}"),
    ]
    assert len(live.reload(changes)) == 1


def test_networkmanager_brings_bonds_up_before_their_members(programs: Programs) -> None:
    member = write(f"{MANAGER}nic1.nmconnection", "uuid=7\nmaster=8\nslave-type=bond\n")
    bond = write(f"{MANAGER}bond0.nmconnection", "uuid=8\n")
    assert live.reload([member, bond]) == []
    assert [line[-6:] for line in programs.changing()[1:]] == ["uuid 8", "uuid 7"]


def test_networkmanager_brings_a_new_profile_up(programs: Programs) -> None:
    assert live.reload([write(f"{MANAGER}nic1.nmconnection", "uuid=7\n")]) == []
    assert programs.changing() == [
        "nmcli connection reload",
        "nmcli --wait 10 connection up uuid 7",
    ]


def test_networkmanager_applies_a_changed_profile_to_the_device_as_it_is(
    programs: Programs,
) -> None:
    programs.output["nmcli -g GENERAL.DEVICES"] = "enp0s3\n"
    assert live.reload([write(f"{MANAGER}nic1.nmconnection", "uuid=7\n", "uuid=7\n#")]) == []
    assert programs.changing() == ["nmcli connection reload", "nmcli device reapply enp0s3"]


def test_where_that_cannot_be_the_profile_comes_up_anew(programs: Programs) -> None:
    programs.output["nmcli -g GENERAL.DEVICES"] = "enp0s3\n"
    programs.fails["nmcli device reapply"] = 4
    assert live.reload([write(f"{MANAGER}nic1.nmconnection", "uuid=7\n", "uuid=7\n#")]) == []
    assert programs.changing()[-1] == "nmcli --wait 10 connection up uuid 7"


def test_a_profile_that_nobody_answers_is_no_failure(programs: Programs) -> None:
    programs.fails["nmcli --wait"] = 3
    assert live.reload([write(f"{MANAGER}nic1.nmconnection", "uuid=7\n")]) == []
    programs.fails["nmcli --wait"] = 4
    assert len(live.reload([write(f"{MANAGER}nic1.nmconnection", "uuid=7\n")])) == 1


def test_a_profile_that_is_gone_needs_only_the_reload(programs: Programs) -> None:
    assert live.reload([remove(f"{MANAGER}nic1.nmconnection")]) == []
    assert programs.changing() == ["nmcli connection reload"]


def test_netplan_applies_its_file(programs: Programs) -> None:
    assert live.reload([write(defs.NETPLAN_FILE)]) == []
    assert programs.changing() == ["netplan apply"]


def test_netplans_networkd_hears_only_of_what_changed(
    programs: Programs, mocker: MockerFixture
) -> None:
    mocker.patch.object(os, "access", return_value=False)
    programs.fails["systemctl --quiet is-active NetworkManager.service"] = 3
    assert live.reload([write(defs.NETPLAN_FILE)]) == []
    assert programs.changing() == ["netplan generate", "networkctl reload"]


def test_netplans_networkd_finds_its_new_files_if_it_crashes_as_a_bond_goes(
    programs: Programs, mocker: MockerFixture
) -> None:
    mocker.patch.object(os, "access", return_value=False)
    programs.fails["systemctl --quiet is-active NetworkManager.service"] = 3
    programs.fails["networkctl"] = 1
    old = 'network:\n  bonds:\n    "bond0":\n      parameters:\n        mode: "802.3ad"\n'
    assert len(live.reload([write(defs.NETPLAN_FILE, "network:\n", old)])) == 1
    assert programs.changing() == [
        *("netplan generate", "ip link delete dev bond0", "networkctl reload"),
        *("systemctl start systemd-networkd.service", "networkctl reload"),
    ]


def test_netplans_bonds_and_vlans_are_made_again(programs: Programs) -> None:
    head = "network:\n  version: 2\n  vlans:\n"
    stays = '    "a":\n      id: 5\n      link: "bond0"\n      addresses: ["192.0.2.1/24"]\n'
    goes = '    "b":\n      id: 6\n      link: "bond0"\n'
    bond = '  bonds:\n    "bond0":\n      parameters:\n        mode: "{}"\n'
    old = head + stays + goes + bond.format("802.3ad")
    new = head + stays.replace("192.0.2.1", "192.0.2.2") + bond.format("balance-rr")
    assert live.reload([write(defs.NETPLAN_FILE, new, old)]) == []
    deleted = ["ip link delete dev b", "ip link delete dev bond0"]
    assert programs.changing() == [*deleted, "netplan apply"]


def test_a_failure_tells_command_and_reason(programs: Programs) -> None:
    programs.fails["netplan"] = 78
    (failure,) = live.reload([write(defs.NETPLAN_FILE)])
    assert failure == "netplan apply: exit status 78: it does not work"


def test_a_program_that_hangs_is_a_failure(programs: Programs) -> None:
    programs.fails["netplan"] = TIMED_OUT
    (failure,) = live.reload([write(defs.NETPLAN_FILE)])
    assert failure == f"netplan apply: took longer than {defs.NETWORK_TIMEOUT:.0f} s"


def test_a_missing_program_is_a_failure(programs: Programs) -> None:
    programs.missing.add("netplan")
    assert live.reload([write(defs.NETPLAN_FILE)]) == ["netplan is not installed"]


def test_at_boot_the_stacks_read_their_files_by_themselves(programs: Programs) -> None:
    paths = (f"{NETWORKD}a.network", f"{MANAGER}a.nmconnection", defs.RESOLV_CONF)
    assert live.at_boot([write(path) for path in paths]) == []
    assert programs.started == []


def test_at_boot_netplans_generator_runs_again(programs: Programs, mocker: MockerFixture) -> None:
    mocker.patch.object(os, "access", lambda path, mode: path == "/usr/lib/netplan/generate")
    assert live.at_boot([write(defs.NETPLAN_FILE)]) == []
    assert programs.started == ["/usr/lib/netplan/generate"]
    mocker.patch.object(os, "access", return_value=False)
    assert live.at_boot([remove(defs.NETPLAN_FILE)]) == []
    assert programs.started[1:] == ["netplan generate"]


def test_at_boot_netplans_generator_runs_again_for_a_file_of_one_nic_too(
    programs: Programs, mocker: MockerFixture
) -> None:
    mocker.patch.object(os, "access", return_value=False)
    path = defs.ONE_NETWORK_FILE[defs.NETPLAN_FILE].format(id="a")
    assert live.at_boot([remove(path)]) == []
    assert programs.started == ["netplan generate"]


def test_a_nic_that_moves_to_the_file_of_all_is_not_taken_down(mocker: MockerFixture) -> None:
    started: list[list[str]] = []

    def run(argv: list[str], text: bytes = b"", timeout: float = 0) -> Result:
        started.append([*argv[:2], argv[-1]])
        return Result(0, b"", b"", timeout)

    mocker.patch.object(ifupdown, "find_program", lambda name: name)
    mocker.patch.object(ifupdown, "run", run)
    path = defs.NETWORK_STACK_FILES["ifupdown"]
    one = "auto a\niface a inet manual\n    up true\n"
    other = one.replace("true", "false").replace(" a", " b")
    assert live.reload([write(path, one + other, other), remove(f"{path}-a", one)]) == []
    assert started == []
    assert live.reload([remove(f"{path}-a", one)]) == []
    assert started == [["ifdown", "-i", "a"]]


def test_networkd_may_read_what_netplans_generator_writes(mocker: MockerFixture) -> None:
    masks = []

    def run(argv: tuple[str, ...], timeout: float) -> Result:
        masks.append(os.umask(0o077))
        return Result(0, b"", b"", timeout)

    mocker.patch.object(stack_programs, "find_program", lambda name: name)
    mocker.patch.object(stack_programs, "run", run)
    before = os.umask(0o077)
    try:
        assert live.at_boot([write(defs.NETPLAN_FILE)]) == []
        assert (masks, os.umask(0o077)) == ([0o022], 0o077)
    finally:
        os.umask(before)


@pytest.fixture
def root(tree: Path) -> Root:
    """The root of a guest's tree."""
    return Root(str(tree))


def put(root: Root, path: str, text: str) -> None:
    """Put a file into the tree."""
    file = Path(root.path) / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_what_is_postponed_is_carried_out_once(programs: Programs, root: Root) -> None:
    path, old = f"{NETWORKD}bond0.netdev", "[NetDev]\nName=bond0\n"
    live.postpone(root, [write(path, "[NetDev]\nName=bond0\n# new", old), write("/etc/hostname")])
    assert programs.started == []
    put(root, path, "[NetDev]\nName=bond0\n# new")
    assert live.reload_postponed(root) == []
    assert programs.changing() == ["networkctl delete bond0", "networkctl reload"]
    assert live.reload_postponed(root) == []
    assert len(programs.changing()) == 2


def test_what_two_runs_postpone_is_carried_out_from_what_the_services_have(
    programs: Programs, root: Root
) -> None:
    path = f"{NETWORKD}bond0.netdev"
    live.postpone(root, [write(path, "[NetDev]\nName=bond1\n", "[NetDev]\nName=bond0\n")])
    live.postpone(root, [write(path, "[NetDev]\nName=bond2\n", "[NetDev]\nName=bond1\n")])
    put(root, path, "[NetDev]\nName=bond2\n")
    assert live.reload_postponed(root) == []
    assert programs.changing() == ["networkctl delete bond0", "networkctl reload"]


class Killed(BaseException):
    """The process is ended in the middle of its work."""


def test_a_reload_that_is_killed_is_made_again_by_the_next_start_of_its_unit(
    programs: Programs, root: Root, mocker: MockerFixture
) -> None:
    path = f"{NETWORKD}bond0.netdev"
    live.postpone(root, [remove(path, "[NetDev]\nName=bond0\n")])
    killed = mocker.patch.object(live, "_reload", side_effect=Killed)
    with pytest.raises(Killed):
        live.reload_postponed(root)
    mocker.stop(killed)
    assert not live.is_reloading(root)
    assert live.reload_postponed(root) == []
    assert programs.changing() == ["networkctl delete bond0", "networkctl reload"]
    assert not root.exists(defs.RELOAD_FILE)


def test_what_a_run_leaves_while_the_network_is_reloaded_is_carried_out_too(
    programs: Programs, root: Root, mocker: MockerFixture
) -> None:
    """The same path too, from what the services have by then; the same note makes no difference."""
    path = f"{NETWORKD}bond0.netdev"
    bonds = [f"[NetDev]\nName=bond{number}\n" for number in range(3)]
    note = [write(path, bonds[1], bonds[0])]
    live.postpone(root, note)
    put(root, path, bonds[1])
    carry_out = live._reload

    def and_a_run_comes(changes: Sequence[FileChange]) -> list[str]:
        if len(programs.changing()) == 0:
            assert live.is_reloading(root)
            live.postpone(root, note)
            put(root, path, bonds[2])
        return carry_out(changes)

    mocker.patch.object(live, "_reload", and_a_run_comes)
    assert live.reload_postponed(root) == []
    reloads = [f"networkctl {words}" for words in ("delete bond0", "reload", "delete bond1")]
    assert programs.changing() == [*reloads, "networkctl reload"]
    assert not root.exists(defs.RELOAD_FILE)


def test_a_reload_that_begins_in_the_middle_of_a_run_has_all_that_it_changes(
    programs: Programs, root: Root
) -> None:
    """The run leaves word, changes the files after that, and starts no other reload."""
    path = f"{NETWORKD}bond0.netdev"
    run = lock(root)
    live.postpone(root, [write(path, "[NetDev]\nName=bond1\n", "[NetDev]\nName=bond0\n")])
    put(root, path, "[NetDev]\nName=bond0\n")
    with ThreadPoolExecutor() as threads:
        reload = threads.submit(live.reload_postponed, root)
        time.sleep(0.5)  # it would have read the file by now
        is_reloading = live.is_reloading(root)
        put(root, path, "[NetDev]\nName=bond1\n")
        os.close(run)
        assert is_reloading
        assert reload.result() == []
    assert programs.changing() == ["networkctl delete bond0", "networkctl reload"]
    assert not root.exists(defs.RELOAD_FILE)


def test_a_run_never_sees_a_reload_at_work_that_would_miss_what_it_leaves(
    root: Root, mocker: MockerFixture
) -> None:
    """One that has found nothing more gives its own lock up before the one that a run waits for."""
    closed: list[str] = []
    kept = os.close

    def close(fd: int) -> None:
        closed.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        kept(fd)

    mocker.patch.object(live, "os", mocker.Mock(wraps=os, close=close))
    assert live.reload_postponed(root) == []
    assert closed == [Path(path).name for path in (defs.RELOAD_LOCK_FILE, defs.LOCK_FILE)]


def test_a_file_that_cannot_be_read_spoils_the_reload_of_no_other(
    programs: Programs, root: Root
) -> None:
    one, other = f"{NETWORKD}bond0.netdev", f"{NETWORKD}bond1.netdev"
    live.postpone(root, [write(one), remove(other, "[NetDev]\nName=bond1\n")])
    Path(root.path + one).parent.mkdir(parents=True)
    Path(root.path + one).symlink_to("/dev/null")
    (failure,) = live.reload_postponed(root)
    assert failure.startswith(f"{one}: ")
    assert "; the running network was not told what changed of it" in failure
    assert programs.changing() == ["networkctl delete bond1", "networkctl reload"]
    assert live.reload_postponed(root) == []


@pytest.mark.parametrize("text", ["7", '["a"]', '[{"path": "/etc/a"}]', "{", "\0"])
def test_D5_what_is_postponed_onto_a_damaged_file_is_carried_out(
    programs: Programs, root: Root, text: str
) -> None:
    put(root, defs.RELOAD_FILE, text)
    live.postpone(root, [remove(f"{NETWORKD}bond0.netdev", "[NetDev]\nName=bond0\n")])
    assert live.reload_postponed(root) == []
    assert programs.changing() == ["networkctl delete bond0", "networkctl reload"]


def test_a_file_that_is_removed_is_postponed_too(programs: Programs, root: Root) -> None:
    live.postpone(root, [remove(f"{NETWORKD}bond0.netdev", "Name=bond0\n")])
    assert live.reload_postponed(root) == []
    assert programs.changing() == ["networkctl delete bond0", "networkctl reload"]


def test_a_nul_in_an_old_file_ends_no_reload(programs: Programs, root: Root) -> None:
    path = f"{NETWORKD}bond0.netdev"
    live.postpone(root, [write(path, "new", "[NetDev]\nName=a\0b\n")])
    put(root, path, "new")
    assert live.reload_postponed(root) == []
    assert programs.changing() == ["networkctl delete a\ufffdb", "networkctl reload"]


def test_a_file_that_came_and_went_meanwhile_is_no_change(programs: Programs, root: Root) -> None:
    live.postpone(root, [write(f"{NETWORKD}a.network")])
    assert live.reload_postponed(root) == []
    assert programs.started == []


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]]", "7", "{}", "[7]", '[{"path": "/x"}]', '[{"path": 7, "old": null}]'),
        *('[{"path": "/x", "old": 7}]', '[{"path": "/x", "old": "a"}]'),
        '[{"path": "/\\u0000", "old": null}]',
    ],
)
def test_a_damaged_file_of_what_is_postponed_is_a_failure(
    content: str, programs: Programs, root: Root
) -> None:
    put(root, defs.RELOAD_FILE, content)
    (failure,) = live.reload_postponed(root)
    assert failure.startswith(f"{defs.RELOAD_FILE} is damaged: the running network was not told")
    assert programs.started == []
    assert live.reload_postponed(root) == []


@pytest.mark.parametrize("content", [None, b"", b"text\n", bytes(range(256))])
def test_the_content_of_a_file_is_unpacked_as_it_was_packed(content: bytes | None) -> None:
    assert live.unpack(live.pack(content)) == content
