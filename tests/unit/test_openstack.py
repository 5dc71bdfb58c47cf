"""The OpenStack layout: every key, its origin, and every way it can be wrong."""

from __future__ import annotations

import base64
import json
import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rig
from rig import KEY, collected

from guestagent import defs
from guestagent.errors import Origin, Problem
from guestagent.model import InstanceData
from guestagent.parse import layouts, openstack
from guestagent.sources.bundle import Bundle
from guestagent.sources.path import open_path

UUID = "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"
GOOD: dict[str, Any] = {
    "uuid": UUID,
    "hostname": "web-1.example.org",
    "name": "web one",
    "public_keys": {"a": KEY},
    "admin_pass": "pass word",
    "files": [{"path": "/etc/motd", "content_path": "/content/0000"}],
    "meta": {"role": "web"},
    "availability_zone": "nova",
    "project_id": "5b1f",
    "random_seed": base64.b64encode(b"seed").decode(),
    "devices": [{"type": "nic", "mac": "52:54:00:00:00:01", "tags": ["x"]}],
}


class Drive:
    """A drive in the making."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.put("content/0000", b"content\n")

    def put(self, name: str, content: bytes | object) -> Drive:
        where = self.path / "openstack" / name
        where.parent.mkdir(parents=True, exist_ok=True)
        is_raw = isinstance(content, bytes)
        where.write_bytes(content if is_raw else json.dumps(content).encode())  # type: ignore[arg-type]
        return self

    def meta(self, **changes: object) -> Drive:
        return self.put("latest/meta_data.json", {**GOOD, **changes})

    def parse(self) -> tuple[InstanceData, list[Problem]]:
        with closing(self.bundle()) as bundle:
            return collected(openstack.parse, bundle)

    def bundle(self) -> Bundle:
        return open_path(str(self.path))


@pytest.fixture
def made(tmp_path: Path) -> Drive:
    (tmp_path / "drive").mkdir()
    return Drive(tmp_path / "drive")


def test_every_key_is_read_with_its_origin(made: Drive) -> None:
    data, problems = made.meta().parse()
    source = str(made.path)
    assert problems == []

    def origin(key: str) -> Origin:
        return Origin(source, "meta_data.json", key)

    assert data.instance_id == (UUID, origin("uuid"))
    assert data.hostname == ("web-1.example.org", origin("hostname"))
    assert data.ssh_keys == ((KEY, origin("public_keys[0]")),)
    assert data.files == (("/etc/motd", b"content\n", origin("files[0]")),)
    assert data.random_seed == (b"seed", origin("random_seed"))
    assert data.availability_zone == ("nova", origin("availability_zone"))
    assert data.project_id == ("5b1f", origin("project_id"))
    assert data.network is None
    assert data.admin_pass is not None
    assert data.admin_pass.secret.reveal() == "pass word"
    assert data.admin_pass.origin == origin("admin_pass")
    assert "pass word" not in repr(data)


def test_keys_of_both_lists_count_once(made: Drive) -> None:
    other = KEY.replace("AAAAIAAx", "AAAAIBBx")
    keys = [{"type": "ssh", "data": KEY}, {"type": "ssh", "data": other}, {"type": "x509"}]
    data, problems = made.meta(keys=keys, public_keys={"a": f"{KEY}\n\n"}).parse()
    assert [(found.severity, found.key) for found in problems] == [("warning", "keys[2].data")]
    assert [key.value for key in data.ssh_keys or ()] == [KEY, other]


def test_no_keys_is_not_the_same_as_an_empty_list(made: Drive) -> None:
    assert made.meta(public_keys=None).parse()[0].ssh_keys is None
    assert made.meta(public_keys={}).parse()[0].ssh_keys == ()


SECOND = KEY.replace("AAAAIAAx", "AAAAIBBx")
PEM = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n"
EACH_LIST_OF_KEYS: list[dict[str, object]] = [
    {"public_keys": [KEY, SECOND]},
    {"public_keys": f"{KEY}\n# comment\n{SECOND}"},
    {"public_keys": {"a": f"{KEY}\r\n{SECOND}\r\n"}},
    {"public_keys": {}, "keys": [{"type": "ssh", "data": f"{KEY}\r\n\r\n{SECOND}"}]},
    {"public_keys": None, "keys": [{"type": "ssh", "data": f"{KEY}\n{SECOND}\n"}]},
]


@pytest.mark.parametrize("given", EACH_LIST_OF_KEYS, ids=range(len(EACH_LIST_OF_KEYS)))
def test_keys_are_read_in_every_form_that_clouds_write(
    made: Drive, given: dict[str, object]
) -> None:
    data, problems = made.meta(**given).parse()
    assert problems == []
    assert [key.value for key in data.ssh_keys or ()] == [KEY, SECOND]


def test_an_x509_pair_is_skipped_with_one_message_and_takes_no_key_away(made: Drive) -> None:
    keys = [{"type": "x509", "data": PEM}]
    data, problems = made.meta(public_keys={"win": PEM}, keys=keys).parse()
    assert [(found.severity, found.key) for found in problems] == [("warning", "public_keys[0]")]
    assert data.ssh_keys is None
    data, _ = made.meta(public_keys={"win": PEM, "a": KEY}, keys=keys).parse()
    assert [key.value for key in data.ssh_keys or ()] == [KEY]


def test_a_key_in_another_format_is_one_error(made: Drive) -> None:
    text = "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\nBBBB\n---- END SSH2 PUBLIC KEY ----\n"
    data, problems = made.meta(public_keys={"putty": text}).parse()
    assert [(found.severity, found.key) for found in problems] == [("error", "public_keys[0]")]
    assert "ssh-keygen -i" in problems[0].reason
    assert data.ssh_keys is None


@pytest.mark.parametrize("kind", [None, "", "SSH", "gpg", 7, []])
def test_a_missing_or_odd_type_of_a_key_is_told_and_the_key_is_used(
    made: Drive, kind: object
) -> None:
    data, problems = made.meta(public_keys=None, keys=[{"type": kind, "data": KEY}]).parse()
    assert [(found.severity, found.key) for found in problems] == [("warning", "keys[0].type")]
    said = "is missing" if kind is None else "is not a known type of key"
    assert said in problems[0].reason
    assert [key.value for key in data.ssh_keys or ()] == [KEY]


@pytest.mark.parametrize("bad", [{"a": "ssh-ed25519 AAAA"}, ["x"], "x", 7, {"a": None}])
def test_bad_keys_are_not_the_same_as_no_keys(made: Drive, bad: object) -> None:
    assert made.meta(public_keys=bad).parse()[0].ssh_keys is None
    assert made.meta(public_keys=None, keys=bad).parse()[0].ssh_keys is None


def test_D8_good_keys_beside_a_bad_one_are_not_all(made: Drive) -> None:
    def read(**given: object) -> tuple[int, bool]:
        data, _ = made.meta(**given).parse()
        return len(data.ssh_keys or ()), data.partial_keys

    assert read() == (1, False)
    assert read(public_keys={"a": KEY, "b": "ssh-nothing AAAA"}) == (1, True)
    assert read(keys=[{"type": "ssh", "data": None}]) == (1, True)
    assert read(public_keys=[KEY, "-----BEGIN PUBLIC KEY-----"]) == (1, True)
    assert read(public_keys=f"{KEY}\nssh-nothing AAAA") == (1, True)
    # No SSH key is lost with a certificate, and none where a type is odd.
    assert read(keys=[{"type": "x509", "data": PEM}]) == (1, False)
    assert read(keys=[{"data": KEY}]) == (1, False)
    many = [f"{KEY} {number}" for number in range(3)]
    assert read(public_keys=many) == (1, False)


@pytest.mark.parametrize(
    ("given", "name", "key"),
    [
        ({"hostname": "a.b", "local-hostname": "c", "name": "d"}, "a.b", "hostname"),
        ({"local-hostname": "c", "local_hostname": "b", "name": "d"}, "c", "local-hostname"),
        ({"local_hostname": "b", "name": "d"}, "b", "local_hostname"),
        ({"hostname": "bad!", "local-hostname": "c"}, "c", "local-hostname"),
        ({"hostname": "bad_name", "name": "d e"}, "d-e", "name"),
        ({"hostname": "bad_name", "name": None}, "bad-name", "hostname"),
        ({"hostname": "localhost", "name": "ü"}, f"server-{UUID}", "uuid"),
        ({"name": "ü"}, f"server-{UUID}", "uuid"),
        ({"hostname": "ubuntu-22.04", "name": "d"}, "ubuntu-22", "hostname"),
        ({"hostname": "12345", "name": "d"}, "12345", "hostname"),
    ],
)
def test_there_is_always_a_host_name(
    made: Drive, given: dict[str, object], name: str, key: str
) -> None:
    data, _ = made.meta(**({"hostname": None, "name": None} | given)).parse()
    assert data.hostname is not None
    assert (data.hostname.value, data.hostname.origin.key) == (name, key)


def test_without_any_host_name_the_image_keeps_its_own(made: Drive) -> None:
    assert made.meta(hostname=None, name=None).parse()[0].hostname is None


def test_the_instance_id_may_have_the_key_of_cloud_init(made: Drive) -> None:
    data, problems = made.meta(**{"uuid": None, "instance-id": "node-1"}).parse()
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == "node-1"


def test_an_injected_file_without_a_slash_is_at_the_root(made: Drive) -> None:
    files = [{"path": "etc/motd", "content_path": "/content/0000"}]
    data, problems = made.meta(files=files).parse()
    assert ([file.path for file in data.files], problems) == (["/etc/motd"], [])


def test_documents_that_are_not_read_are_told(made: Drive) -> None:
    made.meta().put("latest/user-data", b"#!/bin/sh\n").put("latest/.DS_Store", b"")
    _, problems = made.parse()
    assert [(found.severity, found.key) for found in problems] == [("warning", "user-data")]


@pytest.mark.parametrize("text", [{"config": "#cloud-config\n"}, {"x": ["#!/bin/sh"]}])
def test_vendor_data_without_the_key_that_is_read_are_told(made: Drive, text: object) -> None:
    _, problems = made.meta().put("latest/vendor_data.json", text).parse()
    assert [(found.severity, found.document) for found in problems] == [
        ("warning", "vendor_data.json")
    ]


@pytest.mark.parametrize("content", [b"#cloud-config\n", b"text", b'{"a": 1', b'{"a": "b'])
def test_vendor_data_that_are_no_json_are_an_error(made: Drive, content: bytes) -> None:
    _, problems = made.meta().put("latest/vendor_data.json", content).parse()
    assert [(found.severity, found.document) for found in problems] == [
        ("error", "vendor_data.json")
    ]


def test_a_broken_network_document_leaves_the_older_one(made: Drive) -> None:
    eni = b"iface eth0 inet static\n hwaddress 52:54:00:00:00:01\n address 192.0.2.5/24\n"
    made.put("content/0009", eni).meta(network_config={"content_path": "/content/0009"})
    data, problems = made.put("latest/network_data.json", b"{").parse()
    assert [problem.document for problem in problems] == ["network_data.json"]
    assert problems[0].reason.endswith("; nothing of this document is applied: correct it")
    assert data.network is not None
    assert data.network.interfaces[0].addresses == ("192.0.2.5/24",)


def test_the_display_name_stands_in_for_a_host_name(made: Drive) -> None:
    data, _ = made.meta(hostname=None, name="My  server_7 (test)").parse()
    assert data.hostname is not None
    assert data.hostname.value == "My--server-7--test"
    assert data.hostname.origin.key == "name"


def test_latest_comes_before_dated_versions(made: Drive) -> None:
    made.put("2012-08-10/meta_data.json", {"uuid": "old"}).meta()
    assert made.parse()[0].instance_id == (UUID, Origin(str(made.path), "meta_data.json", "uuid"))


def test_only_old_versions_the_newest_is_read(made: Drive) -> None:
    for version in ("2012-08-10", "2013-10-17", "2013-04-04", "9999-x", "notes"):
        made.put(f"{version}/meta_data.json", {**GOOD, "uuid": version})
    made.put("2020-10-14/user_data", b"only")
    data, problems = made.parse()
    assert [(found.severity, found.document) for found in problems] == [
        ("warning", "openstack/2020-10-14")
    ]
    assert data.instance_id is not None
    assert data.instance_id.value == "2013-10-17"


def test_legacy_network_config_is_read(made: Drive) -> None:
    eni = b"iface eth0 inet static\n hwaddress 52:54:00:00:00:01\n address 192.0.2.5/24\n"
    made.put("content/0009", eni).meta(network_config={"content_path": "/content/0009"})
    data, _ = made.parse()
    assert data.network is not None
    assert data.network.interfaces[0].addresses == ("192.0.2.5/24",)
    made.put("latest/network_data.json", {"links": [], "networks": []})
    data, _ = made.parse()
    assert data.network is not None
    assert data.network.interfaces == ()


def test_D4_a_missing_uuid_is_told_and_the_rest_is_read(made: Drive) -> None:
    data, problems = made.meta(uuid=None).parse()
    assert data.instance_id is None
    assert [(problem.key, "is missing" in problem.reason) for problem in problems] == [
        ("uuid", True)
    ]
    assert data.hostname is not None


C = "CANARY"
BAD_VALUES: list[tuple[str, object, str]] = [
    ("uuid", 7, "uuid"),
    ("uuid", f"{C}/../x", "uuid"),
    ("uuid", C * 20, "uuid"),
    *(("hostname", f"{C}{bad}", "hostname") for bad in "\n\r\0;$`'\" /_\x1b\u2028"),
    ("hostname", C + "x" * 300, "hostname"),
    ("hostname", {C: C}, "hostname"),
    ("hostname", "localhost", "hostname"),
    ("public_keys", [C], "public_keys[0]"),
    ("public_keys", C, "public_keys"),
    ("public_keys", 7, "public_keys"),
    ("public_keys", {"a": f"ssh-ed25519 {C}"}, "public_keys[0]"),
    ("public_keys", {C: None}, "public_keys[0]"),
    ("public_keys", {"a": f'command="{C}" {KEY}'}, "public_keys[0]"),
    ("public_keys", {"a": f"{KEY}\x00{C}"}, "public_keys[0]"),
    ("keys", {C: C}, "keys"),
    ("keys", [C], "keys[0]"),
    ("keys", [{"type": "ssh", "data": [C]}], "keys[0].data"),
    ("admin_pass", f"{C}\nroot:x", "admin_pass"),
    ("admin_pass", "", "admin_pass"),
    ("admin_pass", C * 100, "admin_pass"),
    ("admin_pass", [C], "admin_pass"),
    ("files", {C: C}, "files"),
    ("files", [C], "files[0]"),
    ("files", [{"path": f"/../{C}", "content_path": "/content/0000"}], "files[0].path"),
    ("files", [{"path": f"/a\n{C}", "content_path": "/content/0000"}], "files[0].path"),
    ("files", [{"path": "/a", "content_path": f"/content/{C}"}], "files[0].content_path"),
    ("files", [{"path": "/a", "content_path": f"/content/../{C}"}], "files[0].content_path"),
    ("files", [{"path": "/a", "content_path": f"/etc/{C}"}], "files[0].content_path"),
    ("files", [{"path": "/a"}], "files[0].content_path"),
    ("random_seed", f"{C}!", "random_seed"),
    ("random_seed", 1, "random_seed"),
    ("availability_zone", f"a\n{C}", "availability_zone"),
    ("project_id", [C], "project_id"),
    ("network_config", C, "network_config"),
    ("network_config", {"content_path": f"../{C}"}, "network_config.content_path"),
]


@pytest.mark.parametrize(("key", "value", "place"), BAD_VALUES)
def test_a_bad_value_is_named_not_shown_and_the_rest_is_read(
    made: Drive, key: str, value: object, place: str
) -> None:
    data, problems = made.meta(**{key: value}).parse()
    assert [problem.key for problem in problems] == [place]
    (problem,) = problems
    assert (problem.severity, problem.source) == ("error", str(made.path))
    assert problem.document == "meta_data.json"
    assert problem.reason
    assert C not in problem.text()
    good, _ = made.meta().parse()
    others = set(InstanceData._fields) - {
        *(key, "hostname", "instance_id", "ssh_keys", "partial_keys", "network", "admin_pass")
    }
    for other in others:
        assert getattr(data, other) == getattr(good, other)


@pytest.mark.parametrize(("key", "value"), [("meta", [C]), ("devices", {C: C}), ("devices", [C])])
def test_what_nothing_comes_of_is_not_read(made: Drive, key: str, value: object) -> None:
    assert made.meta(**{key: value}).parse() == made.meta().parse()


DOCUMENTS = [
    b"",
    b'{"uuid": "CANARY"',
    b'["CANARY"]',
    b'"CANARY"',
    b'{"a": \xff\xfe"CANARY"}',
    '{"uuid": "CANARY"}'.encode("utf-16"),
    b'{"uuid": "CANARY", "uuid": "x"}',
    b'{"a": NaN, "CANARY": 1}',
    b"[" * 200_000,
    b'{"a": ' + b"9" * 100_000 + b"}",
    b" " * (defs.JSON_LIMIT + 1),
]


@pytest.mark.parametrize("content", DOCUMENTS, ids=range(len(DOCUMENTS)))
@pytest.mark.parametrize("name", ["meta_data.json", "network_data.json"])
def test_C10_a_bad_document_is_one_error(made: Drive, name: str, content: bytes) -> None:
    made.meta().put("latest/network_data.json", {"links": []})
    data, problems = made.put(f"latest/{name}", content).parse()
    errors = [problem for problem in problems if problem.key != "uuid"]
    assert [problem.document for problem in errors] == [name]
    assert C not in errors[0].text()
    assert (data.hostname is None) == (name == "meta_data.json")
    assert data.network is None or name == "meta_data.json"


@pytest.mark.parametrize("bad", [b"\xff", b"\\ud800", b"\n"])
def test_C10_a_name_that_cannot_be_read_is_told_and_the_rest_is_read(
    made: Drive, bad: bytes
) -> None:
    made.meta(bad=1).put("latest/network_data.json", {"networks@": [], "links": []})
    meta, network = (made.path / f"openstack/latest/{n}_data.json" for n in ("meta", "network"))
    meta.write_bytes(meta.read_bytes().replace(b'"bad"', b'"uu' + bad + b'id"'))
    data, problems = made.parse()
    assert [problem.document for problem in problems] == ["meta_data.json"]
    assert problems[0].reason.startswith("has a name with a bad character")
    assert (data.hostname, data.ssh_keys) == made.meta().parse()[0][1:3]
    network.write_bytes(network.read_bytes().replace(b"@", bad))
    data, problems = made.parse()
    assert [problem.document for problem in problems] == ["network_data.json"]
    # On a later boot, all NICs keep what they have.
    assert data.network is not None
    assert data.network.partial


def test_A4_a_100_mb_document_is_refused_unread(made: Drive) -> None:
    made.meta()
    with (made.path / "openstack/latest/meta_data.json").open("r+b") as file:
        file.truncate(100 << 20)
    _, problems = made.parse()
    assert problems[0].reason == f"larger than {defs.JSON_LIMIT} bytes"


def test_all_documents_together_are_bounded(made: Drive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defs, "TOTAL_LIMIT", 3000)
    made.put("content/0001", b"x" * 1500).put("content/0002", b"y" * 1500)
    names = [{"path": f"/{n}", "content_path": f"/content/000{n}"} for n in (1, 2, 0)]
    data, problems = made.meta(files=names).parse()
    assert [file.path for file in data.files] == ["/1", "/0"]
    assert [problem.key for problem in problems] == ["files[1].content_path"]


def test_lists_are_bounded(made: Drive) -> None:
    one = {"path": "/etc/motd", "content_path": "/content/0000"}
    data, problems = made.meta(files=[one] * (defs.MAX_FILES + 1)).parse()
    assert len(data.files) == defs.MAX_FILES
    assert [problem.key for problem in problems] == ["files"]


@pytest.mark.parametrize("names", [(), ("notes",), ("latest/user_data",), ("latest",)])
def test_a_drive_without_meta_data_is_an_error(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / "openstack" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "openstack" / name).write_text("")
    data, problems = collected(layouts.parse, open_path(str(tmp_path)))
    assert data == InstanceData()
    assert [(problem.severity, problem.document) for problem in problems] == [("error", "")]


def test_user_data_is_read_with_what_the_vendor_says(made: Drive) -> None:
    made.meta().put("latest/user_data", b"#cloud-config\ntimezone: UTC\n")
    made.put("latest/vendor_data.json", {"cloud-init": "#cloud-config\ntimezone: Asia/Tokyo\n"})
    made.put("latest/vendor_data2.json", {"static": {"cloud-init": "#!/bin/sh\n"}})
    data, problems = made.parse()
    assert problems == []
    assert [(setting.key, setting.value) for setting in data.config] == [("timezone", "UTC")]
    assert data.config[0].at().document == "user_data"
    assert [part.origin.document for part in data.scripts] == ["vendor_data2.json"]


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_empty_user_data_is_none(made: Drive, content: bytes) -> None:
    made.put("latest/vendor_data.json", {}).put("latest/vendor_data2.json", {"static": {}})
    data, problems = made.meta().put("latest/user_data", content).parse()
    assert (data.config, data.scripts, problems) == ((), (), [])


@pytest.mark.parametrize("content", [b'{"cloud-init": ', b'["cloud-init", 7]', b'"x'])
def test_bad_vendor_data_spoils_only_itself(made: Drive, content: bytes) -> None:
    made.meta().put("latest/user_data", b"#!/bin/sh\n").put("latest/vendor_data.json", content)
    data, problems = made.parse()
    assert {problem.document for problem in problems} == {"vendor_data.json"}
    assert [part.kind for part in data.scripts] == ["script"]


def test_user_data_that_is_too_large_is_told(made: Drive) -> None:
    made.meta().put("latest/user_data", b"#" * (defs.FILE_LIMIT + 1))
    data, (problem,) = made.parse()
    assert (problem.severity, problem.document, data.scripts) == ("error", "user_data", ())
    assert data.hostname


def _mutated(chance: random.Random, value: Any) -> Any:
    """Return the value with one part of it, somewhere, of another kind."""
    odd: tuple[object, ...] = (
        None,
        True,
        0,
        -1,
        1e400,
        "",
        "\n",
        "\x1b[",
        "../",
        "/",
        "x" * 5000,
        [],
        {},
        [[]],
        {"": 1},
    )
    if chance.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return chance.choice(odd)
    if isinstance(value, list):
        place = chance.randrange(len(value))
        return [*value[:place], _mutated(chance, value[place]), *value[place + 1 :]]
    key = chance.choice(list(value))
    return {**value, key: _mutated(chance, value[key])}


def test_C10_values_of_any_kind_raise_nothing(made: Drive) -> None:
    chance = random.Random(10)
    folder = rig.SAMPLES / "docs-sample/drive/openstack/latest"
    meta, network = (
        json.loads((folder / f"{name}_data.json").read_text()) for name in ("meta", "network")
    )
    for _ in range(500):
        bad = _mutated(chance, meta) if chance.random() < 0.6 else meta
        made.put("latest/meta_data.json", bad)
        made.put("latest/network_data.json", _mutated(chance, network))
        data, problems = made.parse()
        assert isinstance(data, InstanceData)
        assert all(problem.text().isprintable() for problem in problems)


def _with_password(made: Drive, content: bytes) -> Drive:
    place = made.path / "cloudstack/password/vm_password.txt"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    return made


def test_cloudstack_has_the_password_in_a_document_of_its_own(made: Drive) -> None:
    data, problems = _with_password(made.meta(admin_pass=None), b"pass word\n").parse()
    assert problems == []
    assert data.admin_pass is not None
    assert data.admin_pass.secret.reveal() == "pass word"
    assert data.admin_pass.origin.document == "cloudstack/password/vm_password.txt"
    data, _ = made.meta().parse()
    assert data.admin_pass is not None
    assert data.admin_pass.origin.document == "meta_data.json"


@pytest.mark.parametrize("content", [b"CANARY\xff", b"CANARY\nroot:x", b"CANARY" * 100, b"\0"])
def test_a_password_of_cloudstack_that_cannot_be_used_is_none(made: Drive, content: bytes) -> None:
    data, problems = _with_password(made.meta(admin_pass=None), content).parse()
    assert data.admin_pass is None
    (problem,) = problems
    assert problem.severity == "error"
    assert "CANARY" not in problem.text()


def test_an_empty_password_of_cloudstack_is_none(made: Drive) -> None:
    data, problems = _with_password(made.meta(admin_pass=None), b"\n").parse()
    assert (data.admin_pass, problems) == (None, [])


def test_metadata_of_nutanix_may_be_yaml(made: Drive) -> None:
    text = f"instance-id: iid-1\nlocal_hostname: web-1\npublic_keys: [{KEY}]\n# a comment\n"
    data, problems = made.put("latest/meta_data.json", text.encode()).parse()
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == "iid-1"
    assert data.hostname is not None
    assert data.hostname.value == "web-1"
    assert data.ssh_keys is not None


@pytest.mark.parametrize(
    "content", [b"", b"{uuid: a}", b"[uuid]", b"- uuid", b"uuid", b"uuid: [", b"uuid: \xff", b"\t{"]
)
def test_metadata_that_are_neither_json_nor_a_mapping_are_an_error(
    made: Drive, content: bytes
) -> None:
    data, problems = made.put("latest/meta_data.json", content).parse()
    assert data.instance_id is None
    assert ("meta_data.json", "") in [(problem.document, problem.key) for problem in problems]
