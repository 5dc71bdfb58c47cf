"""The OVF environment: properties in XML."""

from __future__ import annotations

import base64

import pytest
import rig

from guestagent import defs
from guestagent.errors import FieldError, Problem
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.parse.ovf import properties
from guestagent.sources.bundle import Bundle
from guestagent.sources.documents import Documents

USER = "#cloud-config\nwrite_files: [{path: /etc/given, content: given}]\n"
NETWORK = "network: {version: 2, ethernets: {ens192: {dhcp4: true}}}\n"
SOUND = {"instance-id": "i-1", "hostname": "of-ovf"}
NAMES = sorted(defs.OVF_NAMES)


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read(content: str | bytes, name: str = NAMES[-1]) -> tuple[InstanceData, list[Problem]]:
    """What a document says, and the problems."""
    content = content.encode() if isinstance(content, str) else content
    return rig.collected(layouts.parse, Bundle("CD-ROM", Documents({name: content})))


def places(problems: list[Problem]) -> list[str]:
    return [p.key for p in problems if p.severity == "error"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_encoded", [True, False])
def test_all_properties_are_read(name: str, is_encoded: bool) -> None:
    more = {
        "public-keys": rig.KEY,
        "password": "correct horse",
        "user-data": in_base64(USER) if is_encoded else USER,
        "network-config": in_base64(NETWORK),
        "seedfrom": "",
        "of.another.program": "x",
    }
    data, problems = read(rig.ovf(SOUND | more), name)
    assert problems == []
    assert data.instance_id is not None
    assert data.instance_id.value == "i-1"
    assert data.hostname is not None
    assert data.hostname.value == "of-ovf"
    assert [key.value for key in data.ssh_keys or ()] == [rig.KEY]
    assert data.admin_pass is not None
    assert data.admin_pass.secret.reveal() == "correct horse"
    assert data.network is not None
    assert [each.name for each in data.network.interfaces] == ["ens192"]
    assert data.setting("write_files") is not None


def test_properties_of_other_machines_do_not_count() -> None:
    other = '<Entity oe:id="b"><PropertySection><Property oe:key="hostname" oe:value="other"/>'
    other += "</PropertySection></Entity>"
    assert properties(rig.ovf({"hostname": "mine"}, more=other).encode()) == {"hostname": "mine"}


def test_elements_of_another_namespace_do_not_count() -> None:
    other = 'xmlns="urn:other"><Property oe:key="hostname" oe:value="other"/></PropertySection>'
    text = rig.ovf({"hostname": "mine"}, more=f"<PropertySection {other}")
    assert properties(text.encode()) == {"hostname": "mine"}


@pytest.mark.parametrize("kind", ["another version", "another element"])
def test_xml_that_is_no_ovf_environment_is_an_error_that_says_so(kind: str) -> None:
    text = rig.ovf(SOUND).replace("ovf/environment/1", "ovf/environment/9")
    data, (problem,) = read(text if kind == "another version" else "<html><p/></html>")
    assert data == InstanceData()
    assert problem.severity == "error"
    assert "its first element is not Environment of http://schemas.dmtf.org/" in problem.reason


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (rig.ovf({}), "no properties"),
        (
            rig.ovf(SOUND).replace("PropertySection", "OtherSection"),
            "no properties",
        ),
        (rig.ovf({"hostname": "", "user-data": ""}), "2 properties"),
        (rig.ovf({"of.another": "CANARY"}), "1 property"),
    ],
    ids=["none", "no section", "empty", "of another program"],
)
def test_an_environment_that_has_nothing_for_us_says_what_it_has(text: str, found: str) -> None:
    data, (problem,) = read(text)
    assert data == InstanceData()
    assert (problem.severity, problem.document) == ("warning", NAMES[-1])
    assert f"this machine has {found}, and nothing for guestagent" in problem.reason
    assert "are instance-id, hostname," in problem.reason
    assert "CANARY" not in problem.reason


def test_a_seed_alone_is_one_error() -> None:
    _, (problem,) = read(rig.ovf({"seedfrom": "http://192.0.2.1/"}))
    assert (problem.severity, problem.key) == ("error", "seedfrom")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_each_encoding_of_xml_is_read(encoding: str) -> None:
    text = rig.ovf({"hostname": "m\u00e9"}).replace("UTF-8", encoding)
    assert properties(text.encode(encoding)) == {"hostname": "m\u00e9"}


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 10}">' for n in range(10))
HOSTILE = {
    "entities": f"<!DOCTYPE x [{BOMB}]><x>&e9;</x>",
    "external": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "doctype": '<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd"><x/>',
    "deep": "<a>" * 100_000,
    "many": rig.ovf({f"p{n}": "x" for n in range(defs.MAX_PROPERTIES + 1)}),
    "cut": rig.ovf(SOUND)[:-20],
    "empty": "",
    "text": "instance-id: x\n",
    "entity": "<x>&undefined;</x>",
    "encoding": '<?xml version="1.0" encoding="x-none"?><x/>',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_document_is_refused(kind: str) -> None:
    with pytest.raises(FieldError):
        properties(HOSTILE[kind].encode())
    data, problems = read(HOSTILE[kind])
    assert len(problems) == 1
    assert "nothing of this document is applied" in problems[0].reason
    assert data == InstanceData()


def test_bytes_that_are_no_text_are_refused() -> None:
    for content in (b"\0" * 100, b"\xff\xfe\xff", rig.ovf(SOUND).encode().replace(b"of", b"\xc3")):
        with pytest.raises(FieldError):
            properties(content)


def test_a_bad_property_costs_only_itself() -> None:
    bad = {
        "instance-id": "../x",
        "hostname": "a b",
        "public-keys": "CANARY",
        "password": "a\nb",
        "network-config": "%%",
        "seedfrom": "http://192.0.2.1/",
        "user-data": USER,
    }
    data, problems = read(rig.ovf(bad))
    assert set(places(problems)) == {
        *("instance-id", "local-hostname", "public-keys[0]", "password", "network-config"),
        "seedfrom",
    }
    assert data.setting("write_files") is not None
    assert "CANARY" not in str(problems)


def test_without_an_id_it_is_for_no_instance() -> None:
    data, problems = read(rig.ovf({"hostname": "x"}))
    assert data.instance_id is None
    assert problems == []
