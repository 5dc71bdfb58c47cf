"""NoCloud's layout: documents at the top of a drive or folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.errors import Problem
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.sources.path import open_path

META = f"instance-id: iid-1\nlocal-hostname: web-1.example.org\npublic-keys: [{rig.KEY}]\n"
CONFIG = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"


def seed(top: Path, **documents: str | bytes) -> Path:
    """Make a seed; the names of its documents have ``_`` for ``-``."""
    top.mkdir(exist_ok=True)
    for name, text in documents.items():
        content = text.encode() if isinstance(text, str) else text
        (top / name.replace("_", "-")).write_bytes(content)
    return top


def read(top: Path, **documents: str | bytes) -> tuple[InstanceData, list[Problem]]:
    """Return what a seed says, and the problems."""
    return rig.collected(layouts.parse, open_path(str(seed(top / "seed", **documents))))


def places(problems: list[Problem]) -> list[tuple[str, str]]:
    """Where there are errors: document and key."""
    return [(p.document, p.key) for p in problems if p.severity == "error"]


def test_all_values_are_read(tmp_path: Path) -> None:
    vendor = "#cloud-config\ntimezone: Etc/UTC\n"
    data, problems = read(tmp_path, meta_data=META, user_data=CONFIG, vendor_data=vendor)
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == "iid-1"
    assert data.hostname is not None
    assert data.hostname.value == "web-1.example.org"
    assert data.ssh_keys is not None
    assert [key.value for key in data.ssh_keys] == [rig.KEY]
    assert not data.partial_keys
    assert data.network is None
    written, timezone = data.setting("write_files"), data.setting("timezone")
    assert written is not None
    assert timezone is not None
    assert (written.origin.document, timezone.origin.document) == ("user-data", "vendor-data")


def test_the_instance_id_is_read_alone(tmp_path: Path) -> None:
    top = seed(tmp_path / "seed", meta_data="instance-id: IID-Upper\n")
    assert layouts.read_instance_id(open_path(str(top))) == "iid-upper"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("instance_id", "instance-id"),
        ("Instance-ID", "instance-id"),
        ("instanceid", "instance-id"),
        ("instnace-id", "instance-id"),
        ("local_hostname", "local-hostname"),
        ("local-hostnam", "local-hostname"),
        ("hostname", "local-hostname"),
        ("host_name", "local-hostname"),
        ("public_keys", "public-keys"),
        ("public_key", "public-keys"),
        ("pubilc-keys", "public-keys"),
        ("network_interfaces", "network-interfaces"),
        ("network-interface", "network-interfaces"),
    ],
)
def test_a_key_that_looks_like_a_known_one_is_told_with_that(
    tmp_path: Path, key: str, meant: str
) -> None:
    good = {"instance-id": "i-1", "local-hostname": "web", "public-keys": [], "dsmode": "local"}
    good.pop(meant, None)
    _, problems = read(tmp_path, meta_data=json.dumps({**good, key: "CANARY"}))
    warnings = [problem for problem in problems if problem.severity == "warning"]
    assert [(problem.document, problem.key) for problem in warnings] == [("meta-data", key)]
    assert f"ignored; if {meant} is meant, write that" in warnings[0].reason
    assert "CANARY" not in str(problems)


# What platforms and cloud-init's tools are known to write, beside the keys that count.
OF_PLATFORMS = {
    "instance-id": "i-1",
    "local-hostname": "web",
    "hostname": "web",
    **dict.fromkeys(("dsmode", "region", "availability-zone", "cloud-name", "platform"), "x"),
    **dict.fromkeys(("instance-type", "instance-data", "cluster-name", "shasta-role"), "x"),
    **dict.fromkeys(("local-ipv4", "public-ipv4", "public-hostname", "ami-id", "network"), "x"),
    **dict.fromkeys(("wait-on-network", "provider", "uuid", "name", "tags", "devices"), "x"),
}


def test_a_key_of_a_platform_is_no_misspelt_one(tmp_path: Path) -> None:
    assert read(tmp_path, meta_data=json.dumps(OF_PLATFORMS))[1] == []


def test_a_key_beside_the_one_that_counts_is_no_misspelt_one(tmp_path: Path) -> None:
    both = {"instance-id": "i-1", "instance_id": "i-1", "public-keys": [], "public_keys": []}
    assert read(tmp_path, meta_data=json.dumps(both))[1] == []


def test_many_keys_cost_no_more_than_some(tmp_path: Path) -> None:
    meta = {"instance-id": "i-1", **{f"k{number}": 1 for number in range(100)}, "public_keys": []}
    assert read(tmp_path, meta_data=json.dumps(meta))[1] == []


def test_a_key_that_is_no_text_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, meta_data="{instance-id: i-1, 1: x, null: y}")[1] == []


def test_a_seed_elsewhere_that_metadata_name_is_an_error(tmp_path: Path) -> None:
    data, problems = read(tmp_path, meta_data=f"{META}seedfrom: http://192.0.2.1/\n")
    assert places(problems) == [("meta-data", "seedfrom")]
    assert data.hostname is not None


def test_an_id_of_digits_needs_no_quotes(tmp_path: Path) -> None:
    data, problems = read(tmp_path, meta_data="instance-id: 12345\n")
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == "12345"


def test_a_missing_id_is_an_error_that_says_what_for(tmp_path: Path) -> None:
    data, problems = read(tmp_path, meta_data="local-hostname: web\n")
    assert data.hostname is not None
    (problem,) = problems
    assert (problem.severity, problem.key) == ("error", "instance-id")
    assert "a guest that was configured before needs it" in problem.reason


@pytest.mark.parametrize("value", ["{web: 1}", "[web]", "true", "1.5"])
def test_a_host_name_that_is_no_text_makes_no_name(tmp_path: Path, value: str) -> None:
    data, problems = read(tmp_path, meta_data=f"instance-id: i-1\nlocal-hostname: {value}\n")
    assert places(problems) == [("meta-data", "local-hostname")]
    assert data.hostname is not None
    assert data.hostname.value == "i-1"


def test_metadata_may_be_json(tmp_path: Path) -> None:
    data, problems = read(tmp_path, meta_data=json.dumps({"instance-id": "i", "dsmode": "net"}))
    assert problems == []
    assert data.instance_id is not None


@pytest.mark.parametrize(
    "given",
    [
        f"\n  - {rig.KEY}\n",
        f" {rig.KEY}\n",
        f" |\n  # of a file\n  {rig.KEY}\n",
        f"\n  mine: {rig.KEY}\n",
        f"\n  0: {{openssh-key: {rig.KEY}}}\n",
    ],
    ids=["list", "text", "lines", "mapping", "EC2"],
)
def test_keys_are_read_in_each_form(tmp_path: Path, given: str) -> None:
    data, problems = read(tmp_path, meta_data=f"instance-id: i\npublic-keys:{given}")
    assert problems == []
    assert data.ssh_keys is not None
    assert [key.value for key in data.ssh_keys] == [rig.KEY]


def test_good_keys_beside_a_bad_one_are_not_all(tmp_path: Path) -> None:
    meta = f"instance-id: i\npublic-keys: [{rig.KEY}, ssh-dss AAAA]\n"
    data, problems = read(tmp_path, meta_data=meta)
    assert places(problems) == [("meta-data", "public-keys[1]")]
    assert data.ssh_keys is not None
    assert data.partial_keys


def test_an_empty_list_of_keys_is_given_and_bad_ones_are_not(tmp_path: Path) -> None:
    assert read(tmp_path, meta_data="instance-id: i\npublic-keys: []\n")[0].ssh_keys == ()
    assert read(tmp_path, meta_data="instance-id: i\npublic-keys: [x]\n")[0].ssh_keys is None


@pytest.mark.parametrize("meta", ["", "a: [", "- list\n", "\0", b"\xff\xfe", "local-hostname: x\n"])
def test_metadata_that_cannot_be_used_are_no_reason_to_lose_user_data(
    tmp_path: Path, meta: str | bytes
) -> None:
    data, problems = read(tmp_path, meta_data=meta, user_data=CONFIG)
    assert {document for document, _ in places(problems)} == {"meta-data"}
    assert ("meta-data", "instance-id") in places(problems)
    assert data.instance_id is None
    assert data.setting("write_files") is not None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"instance-id": 7}'])
def test_a_file_with_the_name_of_given_values_does_no_harm(tmp_path: Path, content: bytes) -> None:
    top = seed(tmp_path / "seed", meta_data=META)
    (top / defs.SEED_VALUES).write_bytes(content)
    data, problems = rig.collected(layouts.parse, open_path(str(top)))
    assert [document for document, _ in places(problems)] == [defs.SEED_VALUES]
    assert data.hostname is not None
    assert layouts.read_instance_id(open_path(str(top))) in ("iid-1", None)


def test_interfaces_text_is_read(tmp_path: Path) -> None:
    lines = ("auto eth0", "iface eth0 inet static", "address 192.0.2.5/24")
    text = "".join(f"  {line}\n" for line in lines)
    data, problems = read(tmp_path, meta_data=f"instance-id: i\nnetwork-interfaces: |\n{text}")
    assert problems == []
    assert data.network is not None
    assert data.network.interfaces[0].addresses == ("192.0.2.5/24",)


def test_network_config_comes_before_interfaces_text(tmp_path: Path) -> None:
    config = "version: 2\nethernets: {enp0s3: {addresses: [192.0.2.6/24], wifi: 1}}\n"
    text = "instance-id: i\nnetwork-interfaces: iface eth0 inet dhcp\n"
    data, problems = read(tmp_path, meta_data=text, network_config=config)
    assert places(problems) == [("network-config", "ethernets.enp0s3.wifi")]
    assert [p.key for p in problems if p.severity == "warning"] == ["network-interfaces"]
    assert data.network is not None
    assert data.network.interfaces[0].addresses == ("192.0.2.6/24",)


def test_an_empty_network_config_says_nothing(tmp_path: Path) -> None:
    data, problems = read(tmp_path, meta_data=META, network_config="\n")
    assert (problems, data.network) == ([], None)


@pytest.mark.parametrize("config", ["version: 2\nethernets: {enp0s3: [", b"\xff"])
def test_a_network_config_that_cannot_be_read_changes_no_network(
    tmp_path: Path, config: str | bytes
) -> None:
    data, problems = read(tmp_path, meta_data=META, network_config=config)
    assert places(problems) == [("network-config", "")]
    assert data.hostname is not None
    assert data.network is not None
    assert data.network.partial  # what a boot before has applied stays


def test_a_drive_with_both_layouts_is_openstack_s(tmp_path: Path, drive: Path) -> None:
    seed(drive, meta_data=META)
    of_openstack = open_path(str(drive))
    assert layouts.read_instance_id(of_openstack) not in (None, "iid-1")


def run(source: Path, guest: Path) -> tuple[int, str]:
    """Apply a source to a tree; return the exit status and the messages."""
    found = rig.agent("apply", "--source", source, "--root", guest)
    return found.status, found.err


def test_each_layout_gives_the_same_guest(guest: Path, tmp_path: Path) -> None:
    openstack = tmp_path / "openstack-drive/openstack/latest"
    ec2 = tmp_path / "ec2-drive/ec2/latest"
    for folder in (openstack, ec2):
        folder.mkdir(parents=True)
    name = "web-1.example.org"
    (openstack / "meta_data.json").write_text(
        json.dumps({"uuid": "iid-1", "hostname": name, "public_keys": {"k": rig.KEY}})
    )
    (openstack / "user_data").write_text(CONFIG)
    (ec2 / "meta-data.json").write_text(
        json.dumps({"instance-id": "iid-1", "local-hostname": name, "public-keys": {"0": rig.KEY}})
    )
    (ec2 / "user-data").write_text(CONFIG)
    nocloud = seed(tmp_path / "nocloud-drive", meta_data=META, user_data=CONFIG)

    before = rig.snapshot(guest / "etc")
    trees = []
    for source in (openstack.parents[1], ec2.parents[1], nocloud):
        root = rig.copy_root(guest, tmp_path / f"root-of-{source.name}")
        assert run(source, root)[0] == defs.EXIT_OK
        trees.append((root, rig.snapshot(root / "etc")))
    assert (trees[-1][0] / "etc/given").read_text() == "given"
    assert rig.differences(before, trees[0][1])
    for _, tree in trees[1:]:
        changed = rig.differences(trees[0][1], tree)
        assert {path for path in changed if "ssh_host" not in path} == set()


def test_a_second_run_changes_nothing_and_lost_user_data_stay_applied(
    guest: Path, tmp_path: Path
) -> None:
    top = seed(tmp_path / "seed", meta_data=META, user_data=CONFIG)
    assert run(top, guest)[0] == defs.EXIT_OK
    before = rig.snapshot(guest / "etc")
    assert run(top, guest)[0] == defs.EXIT_OK
    (top / "user-data").unlink()
    assert "user-data: is no longer in the source" in run(top, guest)[1]
    assert rig.differences(before, rig.snapshot(guest / "etc")) == set()


@pytest.mark.parametrize("name", ["user-data", "vendor-data"])
def test_other_user_data_with_errors_are_not_applied(
    guest: Path, tmp_path: Path, name: str
) -> None:
    top = seed(tmp_path / "seed", meta_data=META)
    (top / name).write_text(CONFIG)
    assert run(top, guest)[0] == defs.EXIT_OK
    wrong = "#cloud-config\nwrite_files: [{path: /etc/other, content: x}, {path: relative}]\n"
    (top / name).write_text(wrong)
    status, messages = run(top, guest)
    assert status == defs.EXIT_ERRORS
    assert f"{name}: differs from what was applied, and has errors" in messages
    assert (guest / "etc/given").exists()
    assert not (guest / "etc/other").exists()
