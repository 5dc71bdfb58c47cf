"""EC2's layout, as a service's tree and as the one document of a drive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rig
from rig import collected

from guestagent import defs
from guestagent.errors import Problem
from guestagent.model import InstanceData
from guestagent.parse import ec2, layouts
from guestagent.sources.bundle import Bundle
from guestagent.sources.documents import Documents
from guestagent.sources.path import open_path

TREE = {
    "meta-data/instance-id": "i-00000042",
    "meta-data/local-hostname": "web-1.example.org\n",
    "meta-data/public-keys/0/openssh-key": f"{rig.KEY}\n",
    "dynamic/instance-identity/document": '{"availabilityZone": "eu-1a"}',
}
FILE = {
    "instance-id": "I-00000042",
    "local-hostname": "web-1.example.org",
    "public-keys": {"0": {"openssh-key": rig.KEY, "_name": "0=sample"}},
    "security-groups": ["default"],
    "block-device-mapping": {"ami": "vda"},
}


def tree(changed: dict[str, str | bytes | None] | None = None) -> Bundle:
    """Return a service's tree with some documents changed or missing."""
    found = {**TREE, **(changed or {})}
    return Bundle(
        "service",
        Documents(
            {
                f"ec2/latest/{name}": text.encode() if isinstance(text, str) else text
                for name, text in found.items()
                if text is not None
            }
        ),
    )


def file(value: Any, version: str = "latest") -> Bundle:
    """Return a drive with one document."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Bundle("drive", Documents({f"ec2/{version}/meta-data.json": content}))


def errors(problems: list[Problem]) -> list[tuple[str, str]]:
    """Where there are errors: document and key."""
    return [(p.document, p.key) for p in problems if p.severity == "error"]


@pytest.mark.parametrize("bundle", [tree(), file(FILE)], ids=["tree", "file"])
def test_both_forms_say_the_same(bundle: Bundle) -> None:
    data, problems = collected(layouts.parse, bundle)
    assert problems == []
    assert data.instance_id
    assert data.instance_id.value == "i-00000042"
    assert data.hostname
    assert data.hostname.value == "web-1.example.org"
    assert [key.value for key in data.ssh_keys or ()] == [rig.KEY]
    assert layouts.read_instance_id(bundle) == "i-00000042"
    assert data.network is None
    assert data.admin_pass is None


def test_the_zone_comes_from_the_identity_document() -> None:
    data, _ = collected(ec2.parse, tree())
    assert data.availability_zone
    assert data.availability_zone.value == "eu-1a"
    assert data.availability_zone.origin.document == "dynamic/instance-identity/document"


def test_a_drive_with_both_layouts_is_openstack_s(tmp_path: Path) -> None:
    for name, text in {
        "ec2/latest/meta-data.json": json.dumps(FILE),
        "openstack/latest/meta_data.json": '{"uuid": "u-1"}',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert layouts.read_instance_id(open_path(str(tmp_path))) == "u-1"


def _with_meta_data(top: Path, meta: bytes, ec2_meta: object = FILE) -> Path:
    """Make a drive with both layouts, a network and user data."""
    documents = {
        "openstack/latest/meta_data.json": meta,
        "openstack/latest/network_data.json": b'{"links": [{"id": "a", "type": "phy", '
        b'"ethernet_mac_address": "52:54:00:00:00:01"}], "networks": []}',
        "openstack/latest/user_data": b"#cloud-config\ntimezone: Etc/UTC\n",
        "ec2/latest/user-data": b"#cloud-config\ntimezone: Asia/Tokyo\n",
        "ec2/latest/meta-data.json": json.dumps(ec2_meta).encode(),
    }
    for name, content in documents.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


@pytest.mark.parametrize(
    "meta", [b"", b"{", b"[]", b"\xff", b'{"uuid": "u-1", "a": [}', b" " * 2000000]
)
def test_where_meta_data_json_is_damaged_ec2_s_document_is_read(
    tmp_path: Path, meta: bytes
) -> None:
    disks = {"block-device-mapping": {"root": "/dev/vda", "ephemeral0": "/dev/vdb", "swap": "vdc"}}
    bundle = open_path(str(_with_meta_data(tmp_path, meta, {**FILE, **disks})))
    data, problems = collected(layouts.parse, bundle)
    assert errors(problems) == [("meta_data.json", "")]
    assert "are read from the folder ec2 instead" in problems[1].reason
    assert data.instance_id is None
    assert data.hostname
    assert [key.value for key in data.ssh_keys or ()] == [rig.KEY]
    assert data.partial_keys  # those of an earlier boot stay
    assert [name for name, _ in data.disks] == ["ephemeral0", "swap"]
    assert data.network is not None
    timezone = data.setting("timezone")
    assert timezone
    assert (timezone.value, timezone.origin.document) == ("Etc/UTC", "user_data")
    # Which drive is this machine's is for the uuid to say.
    assert layouts.read_instance_id(open_path(str(tmp_path))) is None


def test_a_sound_meta_data_json_that_says_little_is_not_completed(tmp_path: Path) -> None:
    data, problems = collected(layouts.parse, open_path(str(_with_meta_data(tmp_path, b"{}"))))
    assert errors(problems) == [("meta_data.json", "uuid")]
    assert (data.instance_id, data.hostname, data.ssh_keys) == (None, None, None)


@pytest.mark.parametrize("ec2_meta", [[], {"instance-id": "../x", "public-keys": [7]}, "CANARY"])
def test_where_both_are_damaged_both_are_named(tmp_path: Path, ec2_meta: object) -> None:
    bundle = open_path(str(_with_meta_data(tmp_path, b"{", ec2_meta)))
    data, problems = collected(layouts.parse, bundle)
    assert {document for document, _ in errors(problems)} == {"meta_data.json", "meta-data.json"}
    assert (data.instance_id, data.ssh_keys) == (None, None)
    assert data.network is not None


def test_a_directory_with_ec2_s_tree_is_a_source(tmp_path: Path) -> None:
    for name, text in TREE.items():
        path = tmp_path / "ec2/latest" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data, problems = collected(layouts.parse, open_path(str(tmp_path)))
    assert problems == []
    assert data.ssh_keys


@pytest.mark.parametrize(("versions", "wanted"), [(("2009-04-04", "1.0"), "2009-04-04")])
def test_without_latest_the_highest_version_counts(versions: tuple[str, ...], wanted: str) -> None:
    documents = {
        f"ec2/{version}/meta-data.json": json.dumps({"instance-id": version}).encode()
        for version in versions
    }
    assert ec2.read_instance_id(Bundle("drive", Documents(documents))) == wanted


MISSING = [
    (tree({"meta-data/instance-id": None}), ("meta-data", "instance-id")),
    (file({}), ("meta-data.json", "instance-id")),
    (file({"instance-id": None}), ("meta-data.json", "instance-id")),
    (file({"instance-id": ["i-1"]}), ("meta-data.json", "instance-id")),
]


@pytest.mark.parametrize(("bundle", "place"), MISSING, ids=range(len(MISSING)))
def test_a_missing_id_is_one_error(bundle: Bundle, place: tuple[str, str]) -> None:
    data, problems = collected(ec2.parse, bundle)
    assert data.instance_id is None
    assert errors(problems) == [place]


BAD: list[tuple[dict[str, str | bytes | None], tuple[str, str]]] = [
    ({"meta-data/instance-id": "../i-1"}, ("meta-data", "instance-id")),
    ({"meta-data/instance-id": ""}, ("meta-data", "instance-id")),
    ({"meta-data/instance-id": "i-1\ni-2"}, ("meta-data", "instance-id")),
    ({"meta-data/instance-id": b"\xff"}, ("meta-data", "instance-id")),
    ({"meta-data/local-hostname": "a b"}, ("meta-data", "local-hostname")),
    ({"meta-data/local-hostname": "a\nb"}, ("meta-data", "local-hostname")),
    ({"meta-data/local-hostname": ""}, ("meta-data", "local-hostname")),
    (
        {"meta-data/public-keys/0/openssh-key": 'command="x" ' + rig.KEY},
        ("meta-data", "public-keys/0/openssh-key"),
    ),
    (
        {"meta-data/public-keys/0/openssh-key": "<html>"},
        ("meta-data", "public-keys/0/openssh-key"),
    ),
    (
        {"dynamic/instance-identity/document": "{"},
        ("dynamic/instance-identity/document", ""),
    ),
    (
        {"dynamic/instance-identity/document": '["x"]'},
        ("dynamic/instance-identity/document", ""),
    ),
    (
        {"dynamic/instance-identity/document": '{"availabilityZone": "a\\nb"}'},
        ("dynamic/instance-identity/document", "availabilityZone"),
    ),
]


@pytest.mark.parametrize(("changed", "place"), BAD, ids=range(len(BAD)))
def test_a_bad_value_spoils_only_itself(
    changed: dict[str, str | bytes | None], place: tuple[str, str]
) -> None:
    good, _ = collected(ec2.parse, tree())
    data, problems = collected(ec2.parse, tree(changed))
    assert errors(problems) == [place]
    others = {"instance_id", "hostname", "ssh_keys", "availability_zone"}
    same = {name for name in others if getattr(data, name) == getattr(good, name)}
    assert len(others - same) == 1


def test_several_keys_and_several_lines_of_one() -> None:
    other = rig.KEY.replace("sample@", "other@")
    changed: dict[str, str | bytes | None] = {
        "meta-data/public-keys/1/openssh-key": f"{other}\n\n{rig.KEY}\n"
    }
    data, problems = collected(ec2.parse, tree(changed))
    assert problems == []
    assert [key.value for key in data.ssh_keys or ()] == [rig.KEY, other, rig.KEY]


def test_without_keys_nothing_is_said_of_them() -> None:
    data, _ = collected(ec2.parse, tree({"meta-data/public-keys/0/openssh-key": None}))
    assert data.ssh_keys is None


@pytest.mark.parametrize("value", [None, [], "x"])
def test_keys_of_another_form_are_none(value: object) -> None:
    data, _ = collected(ec2.parse, file({**FILE, "public-keys": value}))
    assert data.ssh_keys is None
    assert data.hostname


@pytest.mark.parametrize("entry", [None, {}, {"openssh-key": 1}])
def test_a_key_that_is_no_text_is_named(entry: object) -> None:
    data, problems = collected(ec2.parse, file({**FILE, "public-keys": {"0": entry}}))
    assert data.ssh_keys is None
    assert errors(problems) == [("meta-data.json", "public-keys/0/openssh-key")]


def test_a_host_name_that_is_no_text_is_named() -> None:
    data, problems = collected(ec2.parse, file({**FILE, "local-hostname": ["a"]}))
    assert data.hostname is None
    assert errors(problems) == [("meta-data.json", "local-hostname")]


def test_D8_good_keys_beside_a_bad_one_are_not_all() -> None:
    second = "meta-data/public-keys/1/openssh-key"
    bad: str | bytes
    for bad in ("ssh-nothing AAAA", b"x" * (defs.JSON_LIMIT + 1)):
        data, _ = collected(ec2.parse, tree({second: bad}))
        assert (len(data.ssh_keys or ()), data.partial_keys) == (1, True)
    keys = {"0": rig.KEY, "1": {"openssh-key": 1}}
    data, _ = collected(ec2.parse, file({**FILE, "public-keys": keys}))
    assert (len(data.ssh_keys or ()), data.partial_keys) == (1, True)
    data, _ = collected(ec2.parse, file(FILE))
    assert not data.partial_keys


def test_a_key_may_stand_by_itself() -> None:
    data, problems = collected(ec2.parse, file({**FILE, "public-keys": {"mine": rig.KEY}}))
    assert problems == []
    assert data.ssh_keys


def test_the_number_of_keys_is_bounded() -> None:
    keys = {str(n): rig.KEY for n in range(defs.MAX_KEYS + 5)}
    data, _ = collected(ec2.parse, file({**FILE, "public-keys": keys}))
    assert len(data.ssh_keys or ()) == defs.MAX_KEYS


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_C10_a_bad_document_is_told_and_says_nothing(content: bytes) -> None:
    data, problems = collected(ec2.parse, file(content))
    assert data == InstanceData()
    assert ("meta-data.json", "") in errors(problems)


def test_user_data_is_read() -> None:
    data, problems = collected(ec2.parse, tree({"user-data": "#cloud-config\nhostname: [a]\n"}))
    assert [(p.severity, p.document) for p in problems] == [("error", "user-data")]
    assert problems[0].key == "hostname (line 2, column 1)"
    data, problems = collected(ec2.parse, tree({"user-data": "#!/bin/sh\n"}))
    assert ([part.kind for part in data.scripts], problems) == (["script"], [])


def test_credentials_are_not_read() -> None:
    name = "meta-data/iam/security-credentials/role"
    bundle = tree({name: "CANARY"})
    collected(ec2.parse, bundle)
    assert not [seen for seen in bundle.seen if "iam" in seen]
