"""System credentials: their layout, and the folder of systemd's that is searched for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Problem, Problems, SourceBroken
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.sources import credentials
from guestagent.sources.bundle import Bundle
from guestagent.sources.path import open_path
from guestagent.system import machine

META = "instance-id: of-meta\nlocal-hostname: of-meta\npublic-keys: [x]\n"


@pytest.fixture
def folder(tmp_path: Path, mocker: MockerFixture) -> Path:
    """systemd's folder, in which nothing is yet; that of the units is not there."""
    found = tmp_path / "@system"
    found.mkdir()
    places = (str(tmp_path / "none"), str(found))
    mocker.patch.object(defs, "CREDENTIAL_DIRS", places)
    return found


def put(folder: Path, **values: str | bytes) -> None:
    """Write credentials; their names have ``_`` for ``-``, and guestagent's start is added."""
    for name, value in values.items():
        content = value.encode() if isinstance(value, str) else value
        (folder / f"guestagent.{name.replace('_', '-')}").write_bytes(content)


def opened() -> Bundle:
    bundle = credentials.open_source(Problems())
    assert bundle is not None
    return bundle


def read(folder: Path, **values: str | bytes) -> tuple[InstanceData, list[Problem]]:
    """Return what credentials say, and the problems."""
    put(folder, **values)
    return rig.collected(layouts.parse, opened())


def places(problems: list[Problem]) -> list[tuple[str, str]]:
    """Where there are problems: credential and key."""
    return [(problem.document, problem.key) for problem in problems]


def test_values_of_their_own_need_no_document(folder: Path) -> None:
    data, problems = read(
        folder, hostname="web-1.example.org\n", ssh_authorized_keys=f"# mine\n{rig.KEY}\n"
    )
    assert problems == []
    assert data.instance_id is None
    assert data.hostname is not None
    assert data.hostname.value == "web-1.example.org"
    assert data.ssh_keys is not None
    assert [key.value for key in data.ssh_keys] == [rig.KEY]
    assert data.hostname.origin.document == "guestagent.hostname"
    assert data.hostname.origin.source == "system credentials"


def test_values_of_their_own_go_before_meta_data(folder: Path) -> None:
    values = {"hostname": "a", "instance_id": "B", "ssh_authorized_keys": rig.KEY}
    data, problems = read(folder, meta_data=META, **values)
    assert problems == []
    assert data.instance_id is not None
    assert data.hostname is not None
    assert data.ssh_keys is not None
    found = [item.value for item in (data.instance_id, data.hostname, *data.ssh_keys)]
    assert found == ["b", "a", rig.KEY]


def test_documents_are_those_of_nocloud(folder: Path) -> None:
    user = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"
    vendor = "#cloud-config\ntimezone: Etc/UTC\n"
    network = "version: 2\nethernets: {enp0s3: {dhcp4: true}}\n"
    meta = META.replace("[x]", f"[{rig.KEY}]")
    data, problems = read(
        folder, meta_data=meta, user_data=user, vendor_data=vendor, network_config=network
    )
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == "of-meta"
    assert data.network is not None
    written, timezone = data.setting("write_files"), data.setting("timezone")
    assert written is not None
    assert timezone is not None
    assert written.origin.document == "guestagent.user-data"
    assert timezone.origin.document == "guestagent.vendor-data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hostname", b"\xff\xfe"),
        ("hostname", "a b;"),
        ("hostname", "a" * 300),
        ("hostname", ""),
        ("instance_id", "../../etc"),
        ("instance_id", "\0"),
        ("ssh_authorized_keys", "not a key"),
        ("ssh_authorized_keys", b"\x80"),
        ("meta_data", b"\xff\0"),
        ("meta_data", "[a]"),
        ("user_data", b"#cloud-config\n\0\xff"),
        ("vendor_data", b"\xff"),
        ("network_config", "version: 2\nethernets: [" + "[" * 5000),
        ("user_data", b"#cloud-config\n" + b"x" * (defs.JSON_LIMIT + 1)),
    ],
)
def test_C10_one_that_cannot_be_used_costs_itself(
    folder: Path, name: str, value: str | bytes
) -> None:
    sound = {"hostname": "web-1", "ssh_authorized_keys": rig.KEY}
    data, problems = read(folder, **{**sound, name: value})
    errors = {problem.document for problem in problems if problem.severity == "error"}
    assert errors == {f"guestagent.{name.replace('_', '-')}"}
    if name != "hostname":
        assert data.hostname is not None
    if name != "ssh_authorized_keys":
        assert data.ssh_keys is not None
        assert [key.value for key in data.ssh_keys] == [rig.KEY]


def test_a_name_that_is_not_known_is_a_warning(folder: Path) -> None:
    (folder / "guestagent.\x1b[2J").write_text("x")
    _, problems = read(folder, hostname="web-1", host_name="SECRET", source="drive")
    assert [problem.severity for problem in problems] == ["warning", "warning"]
    assert set(places(problems)) == {("guestagent.host-name", ""), ("", "")}
    assert all("guestagent.ssh-authorized-keys" in problem.reason for problem in problems)
    assert "SECRET" not in str(problems)


def test_B3_what_is_for_others_is_not_read(folder: Path) -> None:
    (folder / "passwd.hashed-password.root").write_text("SECRET")
    (folder / "meta-data").write_text("instance-id: of-others\n")
    put(folder, hostname="web-1")
    bundle = opened()
    layouts.parse(bundle, Problems())
    before = bundle.fingerprint(tuple(bundle.seen), b"salt")
    assert bundle.names("") == ["guestagent.hostname"]
    (folder / "another").write_text("1")
    again = opened()
    assert again.fingerprint(tuple(bundle.seen), b"salt") == before


def test_without_any_for_guestagent_there_is_no_folder(folder: Path) -> None:
    (folder / "login.motd").write_text("x")
    assert machine.credentials_folder() == ""
    put(folder, hostname="x")
    assert machine.credentials_folder() == str(folder)


def test_the_folder_of_a_unit_goes_first_unless_it_is_empty(folder: Path) -> None:
    mine = Path(defs.CREDENTIAL_DIRS[0])
    mine.mkdir()
    put(folder, hostname="x")
    assert machine.credentials_folder() == str(folder)
    put(mine, hostname="x")
    assert machine.credentials_folder() == str(mine)


def test_who_may_not_see_them_has_none(folder: Path, mocker: MockerFixture) -> None:
    put(folder, hostname="x")
    mocker.patch.object(os, "listdir", side_effect=PermissionError)
    assert machine.credentials_folder() == ""


def test_which_source_to_use_is_no_source(folder: Path) -> None:
    put(folder, source="drive")
    assert credentials.open_source(Problems()) is None
    put(folder, hostname="x")
    bundle = opened()
    assert bundle.own
    assert not bundle.named
    assert not bundle.service


def test_a_folder_that_goes_away_is_an_error(folder: Path, mocker: MockerFixture) -> None:
    mocker.patch.object(credentials, "credentials_folder", return_value=str(folder / "gone"))
    with pytest.raises(SourceBroken, match="gone"):
        credentials.open_source(Problems())


def test_a_symbolic_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (folder / "guestagent.hostname").symlink_to(tmp_path / "secret")
    data, problems = read(folder)
    assert data.hostname is None
    assert places(problems) == [("guestagent.hostname", "")]


def test_the_folder_may_be_named_too(folder: Path) -> None:
    (folder / "login.motd").write_text("x")
    put(folder, hostname="web-1")
    data, problems = rig.collected(layouts.parse, open_path(str(folder)))
    assert problems == []
    assert data.hostname is not None
    assert data.hostname.value == "web-1"
