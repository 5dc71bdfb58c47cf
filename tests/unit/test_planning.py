"""From data and a tree to a plan: what a later run leaves alone, and a new instance does not."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, Literal

import pytest
from network_samples import ORIGIN, bond, interface, member, network

from guestagent import defs
from guestagent.desired import _keys as desired_keys
from guestagent.errors import Origin, Problem, WrongSource
from guestagent.facts import keycheck
from guestagent.memory.applied import network_digest
from guestagent.memory.state import State
from guestagent.model import Account, InstanceData, Network, Text
from guestagent.parse import layouts
from guestagent.parse.layouts import LAYOUTS
from guestagent.plan.difference import Plan
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.remove import RemoveFile
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import Settings
from guestagent.sources.bundle import Bundle
from guestagent.sources.documents import Documents
from guestagent.sources.path import open_path
from guestagent.system import machine
from guestagent.system.digest import digest
from guestagent.system.root import Root
from guestagent.verbs.new_instance import check_while_running, of_this_instance
from guestagent.verbs.planning import Intent, Said, compare, read

NETWORK = f"{defs.NETWORKD_DIR}/10-guestagent-nic525400123456.network"
NETWORK_FILES = [
    NETWORK,
    f"{defs.NETWORKD_DIR}/10-guestagent-bond0.netdev",
    f"{defs.NETWORKMANAGER_DIR}/guestagent-nic525400123456.nmconnection",
    defs.NETPLAN_FILE,
    f"{defs.IFUPDOWN_DIR}/50-guestagent",
    defs.RESOLV_CONF,
]
TEXT = Text("a key", Origin("drive", "meta_data.json", "public_keys"))
DATA = InstanceData(hostname=Text("web", Origin("drive", "meta_data.json", "hostname")))
CONTENT = b"[Network]\nDHCP=yes\n"
SETTINGS = Settings(network_backend="networkd", hosts_manage=False)


def put(root: Root, path: str) -> dict[str, str]:
    """Write a file as an earlier run did; returns what that recorded."""
    file = Path(root.path) / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(CONTENT)
    file.chmod(0o644)
    return {f"file:{path}": digest(b"644\n" + CONTENT)}


def planned(root: Root, record: dict[str, str], data: InstanceData, **how: Any) -> Plan:
    """The plan of a run after one that has left the record."""
    return compare(Intent(data, SETTINGS, **how), root, record).plan


@pytest.fixture
def root(tree: Path) -> Root:
    return Root(str(tree))


@pytest.mark.parametrize("path", NETWORK_FILES)
@pytest.mark.parametrize("data", [DATA, DATA._replace(network=Network((), ORIGIN))])
def test_a_later_run_without_network_data_keeps_the_network(
    root: Root, data: InstanceData, path: str
) -> None:
    record = {**put(root, path), f"replaced:{path}": "yes"}
    plan = planned(root, record, data)
    assert [change.kind for change in plan.changes] == ["write"]
    assert plan.record.items() >= record.items()


@pytest.mark.parametrize("path", NETWORK_FILES)
def test_a_new_instance_does_not_keep_the_old_one_s_network(root: Root, path: str) -> None:
    record = put(root, path)
    plan = planned(root, record, DATA, first=True)
    assert [change.kind for change in plan.changes] == ["write", "remove"]
    assert not plan.record.keys() & record.keys()


@pytest.mark.parametrize("path", NETWORK_FILES)
def test_files_that_the_network_needs_no_more_go_on_a_later_run(root: Root, path: str) -> None:
    """Those of a port that is gone, and of a network stack that is no longer in use."""
    record = put(root, path)
    data = DATA._replace(network=network(interface()))
    plan = planned(root, record, data)
    assert [change.kind for change in plan.changes] == ["write", "write", "remove"]
    gone = plan.changes[-1]
    assert isinstance(gone, RemoveFile)
    assert (gone.path, gone.old, gone.old_mode) == (path, CONTENT, 0o644)
    assert not plan.record.keys() & record.keys()


@pytest.mark.parametrize("path", NETWORK_FILES)
@pytest.mark.parametrize("partial", ["interface", "network"])
@pytest.mark.parametrize("known", [True, False])
def test_D8_a_nic_whose_network_cannot_be_used_keeps_what_it_had(
    root: Root, path: str, partial: str, known: bool
) -> None:
    """On every stack; a new instance has nothing to keep."""
    label = interface().id
    path = path.replace("nic525400123456", label)
    record = put(root, path)
    starts = defs.NETWORK_STACK_FILES.items()
    stack = next((name for name, start in starts if path.startswith(start)), "networkd")
    found = network(interface(addresses=(), dhcp4=True, partial=partial == "interface"))
    found = found._replace(partial=partial == "network")
    data = DATA._replace(network=found)
    intent = Intent(data, SETTINGS._replace(network_backend=stack), complete=False, first=not known)
    plan = compare(intent, root, record).plan
    changed = {getattr(change, "path", "") for change in plan.changes}
    assert (path in changed) == (not known)
    assert (plan.record.items() >= record.items()) == known


def test_D8_other_nics_get_what_the_source_says(root: Root) -> None:
    record = put(root, NETWORK.replace("nic525400123456", interface().id))
    other = interface(mac="52:54:00:00:01:02", id="b", origin=ORIGIN.under("links[1]"))
    found = network(interface(partial=True, origin=ORIGIN.under("links[0]")), other)
    planned_now = compare(
        Intent(DATA._replace(network=found), SETTINGS, complete=False), root, record
    )
    changed = [getattr(change, "path", "") for change in planned_now.plan.changes]
    assert NETWORK.replace("123456", "000102") in changed
    assert planned_now.plan.record.items() >= record.items()
    assert any("boot before" in problem.reason for problem in planned_now.problems)


@pytest.mark.parametrize("usable", [0, 1, 2])
def test_D8_a_key_that_ssh_keygen_refuses_is_not_no_key(
    drive: Path, monkeypatch: pytest.MonkeyPatch, usable: int
) -> None:
    bundle = open_path(str(drive))
    monkeypatch.setattr(keycheck, "usable_keys", lambda keys, _: (*keys, *keys)[:usable])
    monkeypatch.setattr(layouts, "parse", lambda *_: DATA._replace(ssh_keys=(TEXT, TEXT)))
    data = read(bundle, Root("/"), Settings()).data
    assert (data.ssh_keys, data.partial_keys) == ((TEXT,) * usable or None, usable == 1)


@pytest.mark.parametrize("unchanged", [False, True])
@pytest.mark.parametrize("severity", ["error", "warning", ""])
def test_D8_a_source_with_errors_is_not_complete(
    drive: Path, unchanged: bool, severity: Literal["error", "warning", ""]
) -> None:
    """Nor is one that was asked only for what can change."""
    bundle = open_path(str(drive))
    bundle.unchanged = unchanged
    problems = (Problem(severity, "drive", "meta_data.json", "", "x"),) if severity else ()
    assert Said(bundle, DATA, problems, LAYOUTS[0]).complete == (
        severity != "error" and not unchanged
    )


@pytest.mark.parametrize(("uuid", "configured"), [("i-1", True), ("i-1", False), ("i-3", True)])
def test_D4_the_drive_of_another_instance_is_not_applied_to_this_machine(
    drive: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, uuid: str, configured: bool
) -> None:
    """The hypervisor says that the machine is the instance that is known: exit status 6."""
    monkeypatch.setattr(machine, "product_uuid", lambda: uuid)
    other = DATA._replace(instance_id=TEXT._replace(value="i-2"))
    before = State(configured=configured, instance_id="i-1", record={"a": "b"}, time=7)
    said, root = Said(open_path(str(drive)), other, (), LAYOUTS[0]), Root(str(tree))
    root.live = True
    if uuid == "i-1" and configured:
        with pytest.raises(WrongSource) as caught:
            of_this_instance(before, said, root, named=True)
        assert caught.value.status == 6
        return
    expected = State(record=before.record) if configured else before
    assert of_this_instance(before, said, root, named=True) == expected


def test_a_file_that_an_administrator_changed_stays(root: Root) -> None:
    record = dict.fromkeys(put(root, NETWORK), "another digest")
    plan = planned(root, record, DATA._replace(network=network(interface())))
    assert plan.kept == (NETWORK,)
    assert [change.kind for change in plan.changes] == ["write", "write"]


def test_a_digest_names_the_network_and_nothing_else_of_a_record(root: Root) -> None:
    plain, stacked = network(interface()), network(member("52:54:00:00:01:02"), bond())
    records = [
        planned(root, {}, DATA._replace(network=found), first=True).record
        for found in (plain, plain._replace(origin=DATA.hostname.origin), stacked)  # type: ignore[union-attr]
    ]
    digests = [network_digest(record) for record in records]
    assert digests[0] == digests[1] != digests[2]
    assert network_digest(records[0] | {"file:/etc/hostname": "other"}) == digests[0]


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_network_that_nobody_confirmed_is_not_tried_again(root: Root, confirmed: bool) -> None:
    record = put(root, NETWORK)
    data = DATA._replace(network=network(interface()))
    wanted = planned(root, record, data)
    rejected = "" if confirmed else network_digest(wanted.record)
    plan = planned(root, record, data, rejected=rejected)
    if confirmed:
        assert (plan.changes, plan.kept) == (wanted.changes, ())
    else:
        assert [getattr(change, "path", "") for change in plan.changes] == ["/etc/hostname"]
        assert plan.kept == ("the network (this change was not confirmed)",)
        assert plan.record.items() >= record.items()


DRIVE = {"meta": b"{}"}


def _nameless(documents: dict[str, bytes], service: str = "") -> Said:
    """What a source says that does not say for which instance it is."""
    bundle = Bundle("config drive /dev/vdb", Documents(documents), service)
    bundle.get("meta", 100)
    return Said(bundle, DATA, (), LAYOUTS[0])


def _configured(instance: str = "i-1") -> State:
    """The state after a run from ``DRIVE``, with no tree."""
    state = State(configured=True, instance_id=instance, salt="0f", seen=("meta",))
    source = _nameless(DRIVE).bundle.fingerprint(("meta",), b"\x0f")
    return state._replace(fingerprint=f"0 {source} x")


@pytest.mark.parametrize("instance", ["i-1", ""])
@pytest.mark.parametrize("service", ["", "http://192.0.2.1"])
def test_A1_a_source_without_a_uuid_changes_nothing_of_a_configured_machine(
    tree: Path, monkeypatch: pytest.MonkeyPatch, instance: str, service: str
) -> None:
    monkeypatch.setattr(machine, "product_uuid", lambda: "")
    said, root = _nameless({"meta": b"[]"}, service), Root(str(tree))
    root.live = True
    for before in (_configured(instance), _configured(instance)._replace(fingerprint="")):
        with pytest.raises(WrongSource) as caught:
            of_this_instance(before, said, root, named=False)
        assert caught.value.status == 6
    assert of_this_instance(State(), said, root, named=False) == State()
    # Who names it answers for it.
    assert of_this_instance(before, said, root, named=True) == before


def test_A1_a_drive_without_a_uuid_that_was_applied_is_still_the_machines(tree: Path) -> None:
    before, root = _configured(""), Root(str(tree))
    root.live = True
    assert of_this_instance(before, _nameless(DRIVE), root, named=False) == before


@pytest.mark.parametrize(
    ("own", "told", "service", "refused"),
    [
        ("hw-1", "i-2", "", True),  # a volume that somebody attached
        ("hw-1", "i-2", "http://192.0.2.1", True),
        ("hw-1", "hw-1", "", False),  # the hypervisor's, where a service was asked before
        ("hw-1", "hw-1", "http://192.0.2.1", True),
        ("hw-2", "i-2", "", False),  # a copy of the disk
        ("", "i-2", "", False),
    ],
)
def test_A1_another_instance_on_the_machine_that_was_configured(
    tree: Path, monkeypatch: pytest.MonkeyPatch, own: str, told: str, service: str, refused: bool
) -> None:
    """Its UUID need not be that of its instance (Ironic, EC2)."""
    monkeypatch.setattr(machine, "product_uuid", lambda: own)
    said = _nameless(DRIVE, service)
    said = said._replace(data=DATA._replace(instance_id=TEXT._replace(value=told)))
    before, root = _configured()._replace(machine="hw-1"), Root(str(tree))
    root.live = True
    if refused:
        with pytest.raises(WrongSource):
            of_this_instance(before, said, root, named=True)
    else:
        assert of_this_instance(before, said, root, named=True) == State(record=before.record)


@pytest.mark.parametrize(
    ("told", "service", "own", "refused"),
    [
        ("i-2", "", False, True),  # a volume that somebody attached
        ("hw-1", "", False, False),
        ("i-2", "", True, False),  # credentials, which have got an id
        ("i-2", "http://192.0.2.1", False, False),  # the id that could not be read before
    ],
)
def test_A1_a_machine_that_no_source_has_named_is_not_another_s(
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    service: str,
    own: bool,
    refused: bool,
) -> None:
    """Credentials, Alt Cloud and an OVF environment need not say for which instance they are."""
    monkeypatch.setattr(machine, "product_uuid", lambda: "hw-1")
    said = _nameless({"meta": b"[]"}, service)
    said.bundle.own = own
    said = said._replace(data=DATA._replace(instance_id=TEXT._replace(value=told)))
    before, root = _configured("")._replace(machine="hw-1"), Root(str(tree))
    root.live = True
    if refused:
        with pytest.raises(WrongSource, match=r"for instance i-2, .* did not name"):
            of_this_instance(before, said, root, named=False)
    else:
        assert of_this_instance(before, said, root, named=False) == before
    assert of_this_instance(before, said, root, named=True) == before


@pytest.mark.parametrize(("known", "told"), [("", ""), ("i-1", ""), ("", "i-2")])
def test_D4_a_copy_of_a_machine_without_an_id_is_another_instance(
    tree: Path, monkeypatch: pytest.MonkeyPatch, known: str, told: str
) -> None:
    monkeypatch.setattr(machine, "product_uuid", lambda: "hw-2")
    said = _nameless(DRIVE)
    if told:
        said = said._replace(data=DATA._replace(instance_id=TEXT._replace(value=told)))
    before, root = _configured(known)._replace(machine="hw-1"), Root(str(tree))
    root.live = True
    assert of_this_instance(before, said, root, named=False) == State(record=before.record)


@pytest.mark.parametrize("told", ["hw-1", "i-2"])
def test_A1_a_running_system_is_not_configured_by_what_users_can_write(
    monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """They know the machine's UUID, too."""
    monkeypatch.setattr(machine, "product_uuid", lambda: "hw-1")
    said = _nameless(DRIVE)
    said.bundle.writable = True
    said = said._replace(data=DATA._replace(instance_id=TEXT._replace(value=told)))
    with pytest.raises(WrongSource):
        check_while_running(State(), said)


@pytest.mark.parametrize(
    ("user", "path", "may"),
    [
        ("debian", "/home/debian/.ssh/authorized_keys", True),
        ("debian", "/root/.ssh/authorized_keys", False),
        ("nobody-else", "/home/nobody-else/.ssh/authorized_keys", False),
    ],
)
def test_C1_keys_go_to_homes_of_accounts_that_exist(user: str, path: str, may: bool) -> None:
    """User data may describe an account that was cut short, and name any directory as its home."""
    accounts = (Account("debian", 1000, 1000, "/home/debian"),)
    facts = types.SimpleNamespace(accounts=accounts)
    ask = Ask(DATA, facts, SETTINGS)  # type: ignore[arg-type]
    logins = Wanted()
    block = Block("block", path, ("x",), style="block", user=user, mode=0o600, why=ORIGIN)
    logins.want(block._replace(account=user))
    assert bool(desired_keys(ask, logins)) == may
