"""Every case of the table on every network stack, as the stack's own program reads it.

What becomes of a case under a kernel is seen for systemd-networkd here, in namespaces, where no
bond or VLAN is in it; for the rest in booted guests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rig import need

from . import ifupdown_shell, keyfile_reader, netplan_generator, networkd_daemon, networkd_reader
from .allowances import allowed, through_networkmanager
from .case import Case
from .cases import BY_ID, CASES
from .facts import Link, differences, link, route
from .ifupdown_shell import Shell
from .keyfile_reader import Keyfiles
from .produce import Backend, Produced, produce, write


def case_id(case: Case) -> str:
    return case.id


def said_offline(case: Case) -> bool:
    """Whether nothing of a case depends on the guest's NICs: which are there, and their names."""
    primary = any(found.bond and "primary" in dict(found.bond.options) for found in case.links)
    return not case.errors and not case.warnings and not primary


each_case = pytest.mark.parametrize("case", CASES, ids=BY_ID)
each_case_of_nics = pytest.mark.parametrize(
    "case", [case for case in CASES if networkd_daemon.can_show(case)], ids=case_id
)
NETPLAN = "/etc/netplan/90-guestagent.yaml"
INTERFACES = "etc/network/interfaces.d/50-guestagent"
# What networkd says of netplan's words, and what netplan means anyway.
_NETPLANS_OWN = (
    "Scope= is specified for IPv6 route. It will be ignored.",
    "MTUBytes= in [Link] section and UseMTU= in [DHCP] section are set. Disabling UseMTU=.",
)


def made(case: Case, backend: Backend) -> Produced:
    return produce(case.document, backend, policy_routing=case.policy_routing)


def put(case: Case, backend: Backend, root: Path) -> Path:
    produced = made(case, backend)
    write(produced.files, produced.modes, root)
    return root


@pytest.fixture(scope="module")
def keyfiles() -> Iterator[Keyfiles]:
    reason = keyfile_reader.missing()
    need(not reason, reason)
    worker = Keyfiles()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    reason = ifupdown_shell.missing()
    need(not reason, reason)
    found = Shell()
    yield found
    found.close()


@pytest.fixture
def netplan() -> None:
    reason = netplan_generator.missing()
    need(not reason, reason)


@pytest.fixture
def networkd() -> None:
    reason = networkd_daemon.missing()
    need(not reason, reason)


def agrees(case: Case, backend: Backend, found: dict[str, Link]) -> None:
    """Check that links and problems are as expected, but for what the stack cannot say."""
    expected, told = allowed(backend, case.expected)
    assert differences(expected, found) == []
    problems = made(case, backend).problems
    errors = [problem.key for problem in problems if problem.severity == "error"]
    warnings = [problem.key for problem in problems if problem.severity == "warning"]
    assert errors == list(case.errors)
    assert warnings[: len(case.warnings)] == list(case.warnings)
    losses = len(warnings) - len(case.warnings)
    assert losses >= len(told)
    assert bool(losses) == bool(told)


@each_case
def test_networkd(case: Case) -> None:
    agrees(case, "networkd", networkd_reader.links(made(case, "networkd").files))


@each_case
def test_E6_networkmanager(case: Case, keyfiles: Keyfiles) -> None:
    produced = made(case, "networkmanager")
    # NetworkManager ignores a profile that others may read.
    assert set(produced.modes.values()) == {0o600}
    agrees(case, "networkmanager", keyfiles.links(produced.files))


@each_case
def test_ifupdown(case: Case, shell: Shell, tmp_path: Path) -> None:
    put(case, "ifupdown", tmp_path)
    agrees(case, "ifupdown", shell.links(tmp_path / INTERFACES))


@each_case
def test_ifupdown_ng_reads_what_ifupdown_reads(case: Case, tmp_path: Path) -> None:
    for reason in (ifupdown_shell.missing(), ifupdown_shell.missing_ng()):
        need(not reason, reason)
    path = put(case, "ifupdown", tmp_path) / INTERFACES
    assert ifupdown_shell.options_ng(path) == ifupdown_shell.options(path)


@each_case
@pytest.mark.usefixtures("netplan")
def test_E9_netplan(case: Case, tmp_path: Path) -> None:
    # netplan warns of a file that others may read.
    assert made(case, "netplan").modes[NETPLAN] == 0o600
    agrees(case, "netplan", netplan_generator.links(put(case, "netplan", tmp_path)))


@each_case
@pytest.mark.usefixtures("netplan")
def test_netplan_for_networkmanager(case: Case, keyfiles: Keyfiles, tmp_path: Path) -> None:
    profiles = netplan_generator.keyfiles(put(case, "netplan", tmp_path))
    found = through_networkmanager(keyfiles.links(profiles))
    assert differences(through_networkmanager(case.expected), found) == []


@pytest.mark.parametrize("backend", ["networkd", "networkmanager", "netplan"])
@pytest.mark.parametrize("case", [case for case in CASES if said_offline(case)], ids=case_id)
def test_an_image_gets_the_files_that_its_guest_would_get(case: Case, backend: Backend) -> None:
    offline = produce(case.document, backend, policy_routing=case.policy_routing, live=False)
    assert offline == made(case, backend)


@pytest.mark.usefixtures("networkd")
def test_systemd_knows_every_line_of_every_case(tmp_path: Path) -> None:
    for case in CASES:
        for path, text in made(case, "networkd").files.items():
            (tmp_path / f"{case.id}-{Path(path).name}").write_text(text)
    assert networkd_daemon.complaints(tmp_path) == []


@pytest.mark.usefixtures("networkd", "netplan")
def test_systemd_knows_every_line_that_netplan_makes_of_every_case(tmp_path: Path) -> None:
    everything = tmp_path / "everything"
    everything.mkdir()
    for case in CASES:
        root = put(case, "netplan", tmp_path / case.id)
        for path, text in netplan_generator.generate(root).items():
            (everything / f"{case.id}-{Path(path).name}").write_text(text)
    complaints = networkd_daemon.complaints(everything)
    assert [line for line in complaints if not line.endswith(_NETPLANS_OWN)] == []


@each_case_of_nics
@pytest.mark.usefixtures("networkd")
def test_networkd_brings_the_kernel_there(case: Case, tmp_path: Path) -> None:
    folder = put(case, "networkd", tmp_path) / "etc/systemd/network"
    assert networkd_daemon.difference_in_kernel(folder, case.expected) == ""


@each_case_of_nics
@pytest.mark.usefixtures("networkd", "netplan")
def test_networkd_brings_the_kernel_there_from_netplans_file(case: Case, tmp_path: Path) -> None:
    netplan_generator.generate(put(case, "netplan", tmp_path))
    folder = tmp_path / "run/systemd/network"
    assert networkd_daemon.difference_in_kernel(folder, case.expected) == ""


def test_differing_facts_are_named() -> None:
    one = link("enp0s3", "192.0.2.10/24", routes=(route("0.0.0.0/0", "192.0.2.1"),))
    other = one._replace(mtu=1400, routes=frozenset())
    assert differences({"enp0s3": one}, {"enp0s3": one}) == []
    found = differences({"enp0s3": one, "bond0": one}, {"enp0s3": other, "vlan5": one})
    assert [line.partition(" ")[::2] for line in found] == [
        ("bond0:", "is not there"),
        ("vlan5:", "should not be there"),
        ("enp0s3:", found[2].partition(" ")[2]),
        ("enp0s3:", "mtu should be None, is 1400"),
    ]
    assert found[2].startswith("enp0s3: routes should be {Route(destination='0.0.0.0/0'")


def test_a_line_that_the_reader_does_not_know_is_refused() -> None:
    files = made(BY_ID["nova-full"], "networkd").files
    (path,) = files
    with pytest.raises(networkd_reader.Unread):
        networkd_reader.links({path: files[path].replace("MTUBytes", "MtuBytes")})


@pytest.mark.usefixtures("networkd")
def test_systemd_complains_of_a_line_that_it_does_not_know(tmp_path: Path) -> None:
    text = "[Match]\nName=enp0s3\n[Network]\nAdress=192.0.2.10/24\nAddress=192.0.2.300/24\n"
    (tmp_path / "10-spoiled.network").write_text(text)
    first, second = networkd_daemon.complaints(tmp_path)
    assert "10-spoiled.network:4: Unknown key" in first
    assert "10-spoiled.network:5: " in second


@pytest.mark.usefixtures("networkd")
def test_a_route_that_the_kernel_lacks_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networkd_daemon, "PATIENCE", 1.0)
    case = BY_ID["routes"]
    expected = {
        name: found._replace(routes=found.routes | {route("10.77.0.0/16", "192.0.2.1")})
        for name, found in case.expected.items()
    }
    folder = put(case, "networkd", tmp_path) / "etc/systemd/network"
    assert "10.77.0.0/16" in networkd_daemon.difference_in_kernel(folder, expected)


def test_libnm_complains_of_a_value_that_it_does_not_know(keyfiles: Keyfiles) -> None:
    files = made(BY_ID["nova-full"], "networkmanager").files
    (path,) = files
    with pytest.raises(AssertionError, match=r"192\.0\.2\.300"):
        keyfiles.links({path: files[path].replace("dns=192.0.2.53", "dns=192.0.2.300")})


@pytest.mark.parametrize(
    "line",
    ["up touch /tmp/owned", "down id", "up ip link set dev x up; id", "pre-up $(id) || true"],
)
def test_a_command_that_is_not_expected_is_seen(line: str, tmp_path: Path) -> None:
    reason = ifupdown_shell.missing()
    need(not reason, reason)
    put(BY_ID["nova-full"], "ifupdown", tmp_path)
    path = tmp_path / INTERFACES
    path.write_text(f"{path.read_text()}    {line}\n")
    shell = Shell()
    with pytest.raises(AssertionError, match=r"a command failed: .*not found"):
        shell.links(path)
    shell.close()


@pytest.mark.usefixtures("netplan")
def test_netplan_complains_of_a_key_that_it_does_not_know(tmp_path: Path) -> None:
    put(BY_ID["nova-full"], "netplan", tmp_path)
    (path,) = (tmp_path / "etc/netplan").iterdir()
    path.write_text(path.read_text().replace("accept-ra", "accept-rats"))
    with pytest.raises(AssertionError, match="accept-rats"):
        netplan_generator.links(tmp_path)
