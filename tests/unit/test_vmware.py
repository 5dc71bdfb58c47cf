"""VMware's guestinfo: the tools that are asked, and what the keys say."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Problem, Problems, SourceBroken
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.sources import guestinfo
from guestagent.sources.bundle import Bundle
from guestagent.sources.documents import Documents

META = "instance-id: cloud-vm\nlocal-hostname: vm-1\n"
USER = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"
NETWORK = "{version: 2, ethernets: {ens192: {dhcp4: true}}}"
UUID = "4210a3c1-0000-4000-8000-000000000001"
# As the real tool: what there is on standard output, and otherwise status 1 and a line of its own.
TOOL = """#!/bin/sh
{first}
for word; do key=${{word#info-get }}; done
[ "$#" = {words} ] && [ -e "{place}/$key" ] && exec cat "{place}/$key"
echo "No value found" >&2
exit {status}
"""


def encoded(text: str, encoding: str) -> str:
    content = gzip.compress(text.encode()) if encoding.startswith("gz") else text.encode()
    return base64.b64encode(content).decode()


def read(keys: dict[str, str | bytes]) -> tuple[InstanceData, list[Problem]]:
    """What keys say, and the problems."""
    documents = {
        f"guestinfo.{name}": text.encode() if isinstance(text, str) else text
        for name, text in keys.items()
    }
    return rig.collected(layouts.parse, Bundle("VMware guestinfo", Documents(documents)))


def places(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(p.document, p.key) for p in problems if p.severity == "error"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("public_keys_data", "public-keys-data"), ("networks", "network"), ("hostname", "local-host")],
)
def test_a_misspelt_key_is_told_with_the_right_one(key: str, meant: str) -> None:
    meta = f'{{"instance-id": "i-1", "wait-on-network": {{"ipv4": true}}, "{key}": null}}'
    _, (problem,) = read({"metadata": meta})
    assert (problem.severity, problem.document, problem.key) == (
        "warning",
        "guestinfo.metadata",
        key,
    )
    assert f"if {meant}" in problem.reason


@pytest.mark.parametrize("encoding", ["", " ", "base64", "b64", "gzip+base64", "gz+b64"])
def test_each_encoding_is_read(encoding: str) -> None:
    keys: dict[str, str | bytes] = {}
    for name, text in {"metadata": META, "userdata": USER, "vendordata": "#cloud-config\n"}.items():
        keys[name] = encoded(text, encoding) if encoding.strip() else text
        keys[f"{name}.encoding"] = encoding
    data, problems = read(keys)
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == "cloud-vm"
    assert data.hostname is not None
    assert data.hostname.value == "vm-1"
    written = data.setting("write_files")
    assert written is not None
    assert written.origin.document == "guestinfo.userdata"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("%%%", "base64"),
        ("aGVsbG8=", "gzip+base64"),
        (encoded("x" * (defs.JSON_LIMIT + 1), "gzip"), "gzip+base64"),
        ("aGVsbG8=", "rot13"),
        ("aGVsbG8=", "x" * 1000),
        (b"\xff\xfe", "base64"),
    ],
    ids=["alphabet", "gzip", "bomb", "unknown", "long", "bytes"],
)
def test_what_is_not_as_its_encoding_says_costs_only_itself(
    text: str | bytes, encoding: str
) -> None:
    data, problems = read({"metadata": META, "userdata": text, "userdata.encoding": encoding})
    assert places(problems) == [("guestinfo.userdata", "")]
    assert data.hostname is not None


@pytest.mark.parametrize("form", ["mapping", "key", "base64", "gzip+base64"])
def test_the_network_is_a_part_of_the_metadata(form: str) -> None:
    meta = f"{META}network: {NETWORK}\n"
    if form == "key":
        meta = f"{META}network: {{network: {NETWORK}}}\n"
    elif form != "mapping":
        meta = f"{META}network: {encoded(NETWORK, form)}\nnetwork.encoding: {form}\n"
    data, problems = read({"metadata": meta})
    assert problems == []
    assert data.network is not None
    assert [each.name for each in data.network.interfaces] == ["ens192"]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("[1]", "network"),
        ("{version: 3}", "network.version"),
        ('"%%"\nnetwork.encoding: base64', "network"),
        ('"e30="\nnetwork.encoding: 7', "network"),
    ],
)
def test_a_bad_network_costs_only_itself(value: str, key: str) -> None:
    data, problems = read({"metadata": f"{META}network: {value}\n"})
    assert places(problems) == [("guestinfo.metadata", key)]
    assert data.hostname is not None


def test_keys_are_lines_of_a_text() -> None:
    meta = f"{META}public-keys-data: |\n  {rig.KEY}\n\n  ssh-dss AAAA\n"
    data, problems = read({"metadata": meta})
    assert [key.value for key in data.ssh_keys or ()] == [rig.KEY]
    assert data.partial_keys
    assert places(problems) == [("guestinfo.metadata", "public-keys-data[0]")]


def test_an_id_that_is_missing_is_missing_in_the_metadata() -> None:
    _, problems = read({"metadata": "local-hostname: vm-1\n"})
    assert places(problems) == [("guestinfo.metadata", "instance-id")]


def test_what_was_redacted_is_nothing() -> None:
    meta = f"{META}redact: [userdata]\n"
    data, problems = read({"metadata": meta, "userdata": "---\n", "userdata.encoding": " "})
    (problem,) = problems
    assert (problem.severity, problem.key) == ("warning", "redact")
    assert not data.config


class Scene:
    """A machine of VMware with its tools."""

    def __init__(self, top: Path, mocker: MockerFixture) -> None:
        self.top = top
        (top / "bin").mkdir()
        (top / "keys").mkdir()
        (top / "dmi").mkdir()
        (top / "dmi/product_uuid").write_text(UUID)
        mocker.patch.object(defs, "PROGRAM_DIRS", (str(top / "bin"),))
        mocker.patch.object(defs, "DMI_DIR", str(top / "dmi"))
        mocker.patch.object(defs, "GUESTINFO_TIMEOUT", 2.0)

    def tool(self, name: str, words: int, first: str = "", status: int = 1) -> None:
        """Install a tool; ``words`` is how many it must be given."""
        path = self.top / "bin" / name
        text = TOOL.format(place=self.top / "keys", words=words, first=first, status=status)
        path.write_text(text)
        path.chmod(0o755)

    def say(self, **keys: str) -> None:
        for name, text in keys.items():
            (self.top / "keys" / f"guestinfo.{name.replace('__', '.')}").write_text(text)

    def open(self) -> Bundle | None:
        return guestinfo.open_source(Problems())

    def read(self) -> InstanceData:
        bundle = self.open()
        assert bundle is not None
        data, problems = rig.collected(layouts.parse, bundle)
        assert problems == []
        return data


@pytest.fixture
def scene(tmp_path: Path, mocker: MockerFixture) -> Scene:
    return Scene(tmp_path, mocker)


@pytest.mark.parametrize(("name", "words"), [("vmware-rpctool", 1), ("vmtoolsd", 2)])
def test_each_tool_is_asked_as_it_wants(scene: Scene, name: str, words: int) -> None:
    scene.tool(name, words)
    scene.say(metadata=META, userdata=encoded(USER, "base64"), userdata__encoding="base64")
    data = scene.read()
    assert data.instance_id is not None
    assert data.instance_id.value == "cloud-vm"
    assert data.setting("write_files") is not None


@pytest.mark.parametrize("status", [1, 3])
def test_where_one_tool_is_refused_the_other_is_asked(scene: Scene, status: int) -> None:
    scene.tool("vmware-rpctool", 1, first=f"echo Permission denied; exit {status}")
    scene.tool("vmtoolsd", 2)
    scene.say(metadata=META)
    assert scene.read().hostname is not None


def test_without_an_id_the_machine_s_uuid_is_it(scene: Scene) -> None:
    scene.tool("vmware-rpctool", 1)
    scene.say(userdata=USER)
    data = scene.read()
    assert data.instance_id is not None
    assert data.instance_id.value == UUID


def test_without_keys_or_tools_there_is_no_source(scene: Scene) -> None:
    assert scene.open() is None
    scene.tool("vmware-rpctool", 1)
    assert scene.open() is None
    scene.say(metadata=" ")
    assert scene.open() is None


def test_the_ovf_environment_is_a_key_too(scene: Scene) -> None:
    scene.tool("vmware-rpctool", 1)
    scene.say(ovfEnv=rig.ovf({"instance-id": "i-1", "hostname": "of-ovf"}))
    data = scene.read()
    assert data.hostname is not None
    assert data.hostname.value == "of-ovf"
    assert data.instance_id is not None
    assert data.instance_id.value == "i-1"


def test_every_user_can_write_there(scene: Scene) -> None:
    scene.tool("vmware-rpctool", 1)
    scene.say(metadata=META)
    bundle = scene.open()
    assert bundle is not None
    assert (bundle.writable, bundle.own, bundle.named) == (True, False, False)


@pytest.mark.parametrize("first", ["kill -9 $$", "exit 2", "exec sleep 60"])
def test_a_tool_that_fails_is_never_no_source(scene: Scene, first: str) -> None:
    scene.tool("vmware-rpctool", 1, first=first)
    with pytest.raises(SourceBroken, match=r"guestinfo\.metadata"):
        scene.open()


def test_a_value_without_an_end_costs_only_itself(scene: Scene) -> None:
    first = 'case "$*" in *userdata) exec head -c 3000000 /dev/zero ;; esac'
    scene.tool("vmware-rpctool", 1, first=first)
    scene.say(metadata=META)
    bundle = scene.open()
    assert bundle is not None
    data, problems = rig.collected(layouts.parse, bundle)
    assert places(problems) == [("guestinfo.userdata", "")]
    assert data.hostname is not None
