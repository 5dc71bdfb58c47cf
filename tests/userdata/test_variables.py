"""The variables of templates: cloud-init's names, from every source, and no secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent.errors import Problem, Problems
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.parse.userdata.read import read
from guestagent.settings import Settings
from guestagent.sources.bundle import Bundle
from guestagent.sources.documents import Documents
from guestagent.system.root import Root
from guestagent.verbs import planning

UUID = "83679162-1378-4288-a2d4-70e13ec132aa"
META: dict[str, Any] = {
    "uuid": UUID,
    "hostname": "web-1.example.org",
    "name": "web 1",
    "availability_zone": "nova",
    "meta": {"role": "node", "a-b.c": "odd", "admin_pass": "CANARY"},
    "public_keys": {"mine": rig.KEY},
    "keys": [{"name": "mine", "type": "ssh", "data": rig.KEY}],
    "admin_pass": "CANARY-1",
    "random_seed": "Q0FOQVJZ",
    "null": None,
}
NETWORK = {
    "links": [{"id": "a", "ethernet_mac_address": "fa:16:3e:00:00:01", "type": "phy"}],
    "networks": [
        {"id": "n6", "link": "a", "type": "ipv6", "ip_address": "2001:db8::5", "netmask": "64"},
        {
            "id": "n4",
            "link": "a",
            "type": "ipv4",
            "ip_address": "192.0.2.7",
            "netmask": "255.255.255.0",
        },
    ],
    "services": [],
}
EC2 = {
    "instance-id": "i-00000042",
    "local-hostname": "web-1.example.org",
    "local-ipv4": "192.0.2.9",
    "public-keys": {"0": {"openssh-key": rig.KEY}},
}


def openstack(template: str, more: dict[str, Any] | None = None, url: str = "") -> Bundle:
    """A source whose user data write what the template becomes."""
    documents = {"meta_data.json": META, "network_data.json": NETWORK}
    found = {f"openstack/latest/{name}": value for name, value in documents.items()}
    found |= more or {}
    content = {name: json.dumps(value).encode() for name, value in found.items()}
    content["openstack/latest/user_data"] = user_data(template)
    return Bundle("config drive /dev/sr0", Documents(content), url)


def user_data(template: str) -> bytes:
    return f"## template: jinja\n#cloud-config\nwrite_files:\n- {template}\n".encode()


def text_of(bundle: Bundle, **guest: str) -> tuple[str, list[Problem]]:
    """What the template in a source becomes, and the problems with all of the source."""
    problems = Problems()
    data = layouts.parse(bundle, problems, lambda: guest)
    setting = data.setting("write_files")
    return (setting.value[0]["content"] if setting else ""), problems.problems


def value(expression: str, bundle: Bundle | None = None, **guest: str) -> str:
    bundle = bundle or openstack(f"{{path: /x, content: '{{{{ {expression} }}}}'}}")
    return text_of(bundle, **guest)[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("v1.local_hostname", "web-1"),
        ("local_hostname", "web-1"),
        ('v1["local-hostname"]', "web-1"),
        ("ds.meta_data.hostname", "web-1.example.org"),
        ("ds.meta_data.local_hostname", "web-1.example.org"),
        ("ds.meta_data.name", "web 1"),
        ("instance_id", UUID),
        ("v1.instance_id", UUID),
        ("ds.meta_data.uuid", UUID),
        ("ds.meta_data.instance_id", UUID),
        ("availability_zone", "nova"),
        ("v1.availability_zone", "nova"),
        ("cloud_name", "configdrive"),
        ("v1.cloud_id", "configdrive"),
        ("platform", "configdrive"),
        ("subplatform", "config-disk (/dev/sr0)"),
        ("local_ipv4", "192.0.2.7"),
        ("public_ssh_keys[0]", rig.KEY),
        ("ds.meta_data.meta.role", "node"),
        ("ds.meta_data.meta.a_b_c", "odd"),
        ('ds.meta_data.meta["a-b.c"]', "odd"),
        ("ds.meta_data.null", "None"),
        ("ds.network_json.links[0].id", "a"),
        ("distro", "debian"),
        ('v1.region|default("none")', "none"),
        ("machine", "CI_MISSING_JINJA_VAR/machine"),
    ],
)
def test_variables_have_cloud_inits_names(expression: str, expected: str) -> None:
    assert value(expression, distro="debian") == expected


@pytest.mark.parametrize(
    "expression",
    [
        "ds.meta_data.admin_pass",
        "ds.meta_data.random_seed",
        "ds.meta_data.meta.admin_pass",
        "ds.user_data",
        "userdata",
        "vendordata",
    ],
)
def test_B3_secrets_are_no_variables(expression: str) -> None:
    assert value(expression).startswith("CI_MISSING_JINJA_VAR/")


def test_B3_no_way_to_a_secret_is_left() -> None:
    everything, _ = text_of(openstack("{path: /x, content: '{{ ds }} {{ v1 }}'}"))
    assert "CANARY" not in everything
    assert "Q0FOQVJZ" not in everything


def test_the_address_of_a_guest_with_dhcp_is_that_of_the_drives_ec2_tree() -> None:
    more = {"openstack/latest/network_data.json": {}, "ec2/latest/meta-data.json": EC2}
    template = "{path: /x, content: '{{ local_ipv4 }} {{ ds.ec2_metadata.local_ipv4 }}'}"
    assert value("", openstack(template, more)) == "192.0.2.9 192.0.2.9"


def test_the_address_of_a_guest_with_dhcp_is_the_one_that_a_service_tells() -> None:
    more = {"openstack/latest/network_data.json": {}, "ec2/latest/meta-data/local-ipv4": 0}
    template = "{path: /x, content: '{{ local_ipv4 }}'}"
    source = openstack(template, more, url="http://169.254.169.254")
    assert value("", source) == "0"
    source = openstack(template, {"openstack/latest/network_data.json": {}}, url="http://a")
    assert value("", source) == "CI_MISSING_JINJA_VAR/local_ipv4"


@pytest.mark.parametrize("broken", [[], "x", {"local-ipv4": 5}])
def test_an_ec2_document_that_cannot_be_used_spoils_nothing(broken: object) -> None:
    more = {"openstack/latest/network_data.json": {}, "ec2/latest/meta-data.json": broken}
    template = "{path: /x, content: '{{ local_ipv4 }}'}"
    assert value("", openstack(template, more)) == "CI_MISSING_JINJA_VAR/local_ipv4"


def test_a_metadata_service_says_so() -> None:
    template = "{path: /x, content: '{{ cloud_name }} {{ platform }} {{ subplatform }}'}"
    source = openstack(template, url="http://169.254.169.254")
    assert value("", source) == "openstack openstack metadata (http://169.254.169.254)"


@pytest.mark.parametrize("form", ["tree", "file"])
def test_ec2s_layout_has_the_same_names(form: str) -> None:
    content = user_data(
        "{path: /x, content: '{{ ds.meta_data.local_ipv4 }} {{ local_ipv4 }} {{ local_hostname }} "
        "{{ ds.meta_data.local_hostname }} {{ instance_id }} {{ platform }}'}"
    )
    documents = {"ec2/latest/user-data": content}
    if form == "file":
        documents["ec2/latest/meta-data.json"] = json.dumps(EC2).encode()
    else:
        for name in ("instance-id", "local-hostname", "local-ipv4"):
            documents[f"ec2/latest/meta-data/{name}"] = f"{EC2[name]}\n".encode()
    found, problems = text_of(Bundle("drive", Documents(documents)))
    assert problems == []
    assert found == "192.0.2.9 192.0.2.9 web-1 web-1.example.org i-00000042 ec2"


@pytest.mark.parametrize("live", [True, False])
def test_the_guest_is_known_from_its_tree(guest: Path, live: bool) -> None:
    (guest / "etc/os-release").write_text(
        'NAME="Debian"\nID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n'
    )
    template = (
        "{path: /x, content: '{{ distro }} {{ v1.distro_version }} {{ distro_release }} "
        "{{ kernel_release|default(1) }} {{ machine|default(2) }}'}"
    )
    root = Root(str(guest))
    root.live = live
    said = planning.read(openstack(template), root, Settings())
    root.close()
    system = f"{os.uname().release} {os.uname().machine}" if live else "1 2"
    setting = said.data.setting("write_files")
    assert setting
    assert setting.value[0]["content"] == f"debian 13 trixie {system}"


ARCHIVE = "#cloud-config-archive\n- |\n  ## template: jinja\n  #!/bin/sh\n  echo {{ a }}\n"
MULTIPART = (
    "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x\n"
    "Content-Type: text/x-shellscript-per-boot\n\n## template: jinja\n#!/bin/sh\n"
    "echo {{ a }}\n\n--x--\n"
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("## template: jinja\n#!/bin/sh\necho {{ a }}\n", "script"),
        ("## template: jinja\r\n#!/bin/sh\r\necho {{ a }}\r\n", "script"),
        ("## template: jinja\n#cloud-boothook\n#!/bin/sh\necho {{ a }}\n", "boothook"),
        (
            "## template: jinja\n#cloud-config-archive\n- '#!/bin/sh\n\n  echo {{ a }}\n\n  '",
            "script",
        ),
        (ARCHIVE, "script"),
        (MULTIPART, "per-boot"),
    ],
)
@pytest.mark.parametrize("document", ["user_data", "vendor_data"])
def test_templates_are_rendered_in_all_forms(text: str, kind: str, document: str) -> None:
    problems = Problems()
    user, vendor = (
        (text.encode(), None) if document == "user_data" else (None, {"cloud-init": text})
    )
    _, scripts = read(
        *(user, vendor, None), source="drive", problems=problems, variables=lambda: {"a": "one"}
    )
    assert problems.problems == []
    assert [(part.kind, part.content) for part in scripts] == [(kind, b"#!/bin/sh\necho one\n")]


def test_a_template_that_becomes_nothing_is_ignored_with_a_warning() -> None:
    problems = Problems()
    text = b"## template: jinja\n{% if a is defined %}\n#!/bin/sh\n{% endif %}\n"
    found = read(text, None, None, source="drive", problems=problems)
    assert found == ((), ())
    assert [(told.severity, told.key) for told in problems.problems] == [
        ("warning", "the rendered text")
    ]


def test_lines_are_those_of_the_template_where_it_has_no_statements() -> None:
    problems = Problems()
    text = b"## template: jinja\n#cloud-config\nhostname: {{ a }}\ntimezone: [{{ b }}]\n"
    read(text, None, None, source="d", problems=problems, variables=lambda: {"a": "x", "b": "y"})
    assert [told.key for told in problems.problems] == ["timezone (line 4, column 1)"]


def test_without_a_template_nothing_for_them_is_imported_or_asked() -> None:
    def never() -> dict[str, Any]:
        raise AssertionError

    problems = Problems()
    source = Bundle("drive", Documents({"openstack/latest/meta_data.json": b'{"uuid": "u-1"}'}))
    assert isinstance(layouts.parse(source, problems, never), InstanceData)
    read(b"#cloud-config\nhostname: '{{ a }}'\n", None, None, source="d", problems=problems)
    code = (
        "import sys; from guestagent.errors import Problems\n"
        "from guestagent.parse.userdata.read import read\n"
        "read(b'#!/bin/sh\\necho {{ a }}', None, None, source='drive', problems=Problems())\n"
        "print(*[name for name in sys.modules if 'template' in name or 'jinja' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
