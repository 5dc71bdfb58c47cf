"""User data and vendor data together: what counts, in which order, and what is said of the rest."""

from __future__ import annotations

import base64
import gzip
import subprocess
import sys
from typing import Any

import pytest

from guestagent import defs
from guestagent.errors import Problem, Problems
from guestagent.model import Part, Setting
from guestagent.parse.userdata.read import read

DOCUMENTS = ("user_data", "vendor_data.json", "vendor_data2.json")


class Result:
    def __init__(self, user: str | bytes | None, one: object = None, two: object = None) -> None:
        content = user.encode() if isinstance(user, str) else user
        problems = Problems()
        config, scripts = read(
            content, one, two, source="drive", problems=problems, documents=DOCUMENTS
        )
        self.config: tuple[Setting, ...] = config
        self.scripts: tuple[Part, ...] = scripts
        self.problems: list[Problem] = problems.problems
        assert len({setting.key for setting in config}) == len(config)

    @property
    def values(self) -> dict[str, Any]:
        return {setting.key: setting.value for setting in self.config}

    @property
    def told(self) -> list[str]:
        return [f"{problem.severity}: {problem.text()}" for problem in self.problems]


def config(text: str) -> dict[str, str]:
    return {"cloud-init": f"#cloud-config\n{text}\n"}


@pytest.mark.parametrize("user", [None, b"", b"#cloud-config\n"])
@pytest.mark.parametrize("vendor", [None, {}, {"static": {}}, ""])
def test_nothing_given_is_nothing_said(user: bytes | None, vendor: object) -> None:
    result = Result(user, vendor, vendor)
    assert (result.config, result.scripts, result.problems) == ((), (), [])


def test_without_cloud_config_yaml_is_not_imported() -> None:
    code = (
        "import sys; from guestagent.errors import Problems\n"
        "from guestagent.parse.userdata.read import read\n"
        "read(None, None, {'static': {}}, source='drive', problems=Problems())\n"
        "read(b'#!/bin/sh\\n', {}, {}, source='drive', problems=Problems())\n"
        "assert not {'yaml', 'email', 'gzip', 'zlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_user_data_wins_over_vendor_data2_and_that_over_vendor_data() -> None:
    result = Result(
        "#cloud-config\nhostname: user\nntp: {enabled: false}\n",
        config("hostname: one\ntimezone: Europe/Rome\nlocale: C.UTF-8\nntp: {pools: [p.org]}"),
        {"static": config("hostname: two\ntimezone: Europe/Oslo")},
    )
    assert result.problems == []
    assert result.values["hostname"] == "user"
    assert result.values["timezone"] == "Europe/Oslo"
    assert result.values["locale"] == "C.UTF-8"
    assert result.values["ntp"] == {"enabled": False, "pools": ["p.org"]}
    places = {setting.key: setting.at() for setting in result.config}
    assert places["hostname"].text() == "drive, user_data, hostname (line 2, column 1)"
    oslo = "drive, vendor_data2.json, static.cloud-init: timezone (line 3, column 1)"
    assert places["timezone"].text() == oslo


def test_parts_of_one_document_replace_and_those_of_others_fill() -> None:
    archive = (
        '#cloud-config-archive\n- {type: text/cloud-config, content: "ntp: {enabled: true}"}\n'
        '- {type: text/cloud-config, content: "ntp: {servers: [a.org]}"}\n'
    )
    result = Result(archive, config("ntp: {pools: [b.org]}"))
    assert result.values == {"ntp": {"servers": ["a.org"], "pools": ["b.org"]}}


def test_a_part_that_asks_for_it_in_its_header_adds_to_those_before_it() -> None:
    archive = (
        "#cloud-config-archive\n- {type: text/cloud-config, content: 'runcmd: [a]'}\n"
        "- {type: text/cloud-config, content: '[', filename: bad.cfg}\n"
        "- {type: text/cloud-config, content: 'runcmd: [b]',\n"
        "   X-Merge-Type: 'list(append)+dict(recurse_array)+str()'}\n"
        "- {type: text/cloud-config, content: 'runcmd: [c]', Merge-Type: CANARY}\n"
    )
    result = Result(archive)
    assert result.values == {"runcmd": ["a", "b"]}
    assert [told.split(": ")[3] for told in result.told] == ['part 2 "bad.cfg"', "part 4"]
    assert "CANARY" not in "".join(result.told)


def test_values_are_bounded_over_all_parts_of_a_document() -> None:
    half = ",".join(["1"] * (defs.YAML_NODES // 2))
    archive = "#cloud-config-archive\n" + "".join(
        f"- '#cloud-config\n\n  k{number}: {value}'\n"
        for number, value in enumerate((f"[{half}]", f"[{half}]", "[1]"))
    )
    result = Result(archive, config(f"v: [{half}]"))
    told = [text for text in result.told if text.startswith("error")]
    assert len(told) == 1
    assert told[0].startswith("error: drive: user_data: part 2: line 2, column ")
    assert told[0].endswith("expanded, together with the parts before")
    assert sum("is unknown" in text for text in result.told) == 3


@pytest.mark.parametrize("word", ["false", "'no'", "off", "null", "0", "maybe"])
def test_user_data_can_leave_either_vendor_data_out(word: str) -> None:
    one, two = config("hostname: one"), config("timezone: Europe/Oslo")
    for name, left in (("vendor_data", {"timezone"}), ("vendor_data2", {"hostname"})):
        result = Result(f"#cloud-config\n{name}: {{enabled: {word}}}\n", one, two)
        assert set(result.values) == left
        assert result.problems == []


@pytest.mark.parametrize("value", ["{enabled: true}", "{}", "{enabled: 'on', prefix: []}"])
def test_user_data_can_let_vendor_data_in(value: str) -> None:
    result = Result(f"#cloud-config\nvendor_data: {value}\n", config("hostname: one"))
    assert result.values == {"hostname": "one"}
    assert result.problems == []


@pytest.mark.parametrize("name", ["vendor_data", "vendor_data2"])
@pytest.mark.parametrize(
    ("value", "place", "reason"),
    [
        ("false", "", "must be a mapping such as {enabled: false}"),
        ("null", "", "must be a mapping such as {enabled: false}"),
        ("{prefix: [/CANARY]}", ".prefix", "only enabled is supported here"),
        ("{disabled_handlers: [CANARY]}", ".disabled_handlers", "only enabled is supported here"),
        ("{enable: false}", ".enable", "only enabled is supported here"),
        ("{'CANARY 1': 1}", "", "only enabled is supported here"),
    ],
)
def test_what_user_data_says_of_vendor_data_and_is_not_known_leaves_it_out(
    name: str, value: str, place: str, reason: str
) -> None:
    for given in (None, {"cloud-init": "#!/bin/sh\n"}):
        result = Result(f"#cloud-config\n{name}: {value}\nhostname: a\n", given, given)
        (told,) = result.told
        assert told.startswith(f"error: drive: user_data: {name}{place} (line 2, column ")
        assert told.endswith(f"{reason}; this vendor data is ignored")
        assert "CANARY" not in told
        assert len(result.scripts) == (given is not None)
        assert result.values == {"hostname": "a"}


def test_vendor_data_has_no_word_on_vendor_data() -> None:
    result = Result(None, config("hostname: one"), config("vendor_data: {enabled: false}"))
    assert result.values == {"hostname": "one"}
    assert result.problems == []


def test_scripts_come_vendor_first_and_keep_kind_name_and_document() -> None:
    result = Result(
        "#!/bin/sh\necho user\n",
        {"cloud-init": "#!/bin/sh\necho one\n"},
        {"join": {"cloud-init": ["#!/bin/sh\necho two\n", "#cloud-boothook\n#!/bin/sh\ntrue\n"]}},
    )
    found = [(part.kind, part.origin.document, part.origin.key) for part in result.scripts]
    assert found == [
        ("script", "vendor_data.json", "cloud-init"),
        ("script", "vendor_data2.json", "join.cloud-init[0]"),
        ("boothook", "vendor_data2.json", "join.cloud-init[1]"),
        ("script", "user_data", ""),
    ]
    assert [part.content.split()[-1] for part in result.scripts] == [
        b"one",
        b"two",
        b"true",
        b"user",
    ]
    names = [part.name for part in result.scripts]
    assert names[0] == names[3] == "part-001"
    assert names[1:3] == ["part-001", "part-002"]


def test_names_are_unique_in_a_document_and_in_the_order_of_its_texts() -> None:
    plain = "#!/bin/sh\necho %d\n"
    two = "#cloud-config-archive\n- '#!/bin/a'\n- {content: '#!/bin/b', filename: hi}\n"
    result = Result(None, {"x": {"cloud-init": [two, two, plain % 1, plain % 2]}})
    names = [part.name for part in result.scripts]
    assert len(set(names)) == len(names) == 6
    unnamed = [name for name in names if name.startswith("part-")]
    assert len(unnamed) == 4
    assert unnamed == sorted(unnamed)
    assert [name for name in names if name.endswith("hi")] == ["hi", "1-hi"]


def test_errors_name_the_document_the_key_the_line_and_the_column() -> None:
    result = Result(
        "#cloud-config\nhostname: [CANARY]\ntimezone: Europe/Oslo\n",
        {"static": {"cloud-init": "#cloud-config\nusers:\n- name: a\n  lock_passwd: [CANARY]\n"}},
        {"cloud-init": ["#cloud-config\na: 'CANARY\n", {"CANARY": 1}]},
    )
    assert result.values["timezone"] == "Europe/Oslo"
    starts = [
        "error: drive: user_data: hostname (line 2, column 1): ",
        "error: drive: vendor_data2.json: cloud-init[1]: must be a string",
        "error: drive: vendor_data2.json: cloud-init[0]: line 2, column 4: text in quotes",
        "error: drive: vendor_data.json: static.cloud-init: users[0].lock_passwd "
        "(line 4, column 3): ",
    ]
    assert len(result.told) == len(starts)
    for told, start in zip(result.told, starts, strict=True):
        assert told.startswith(start)
        assert "CANARY" not in told


def test_a_key_that_is_wrong_is_not_taken_from_below() -> None:
    result = Result("#cloud-config\nssh_pwauth: [no]\n", config("ssh_pwauth: true\nhostname: a"))
    assert result.values == {"hostname": "a"}
    (told,) = result.told
    assert told.startswith("error: drive: user_data: ssh_pwauth (line 2, column 1): ")


def test_a_key_given_as_null_stays_open_to_none() -> None:
    assert Result("#cloud-config\nhostname:\n", config("hostname: a")).values == {}


def test_a_vendor_document_is_bounded_over_all_its_texts() -> None:
    archive = "#cloud-config-archive\n" + "- '#!/bin/sh'\n" * (defs.MAX_PARTS // 2 + 1)
    result = Result("#cloud-config\nhostname: a\n", [archive, archive], [archive])
    assert result.values == {"hostname": "a"}
    assert len(result.scripts) == defs.MAX_PARTS // 2 + 1
    limit = f"more than {defs.MAX_PARTS} parts or 4 MiB in all"
    assert result.told == [f"error: drive: vendor_data.json: holds {limit}"]
    large = base64.b64encode(gzip.compress(b"#!/bin/sh\n".ljust(3 << 20))).decode()
    assert len(Result(None, [large]).scripts) == 1
    result = Result(None, [large, large])
    assert result.scripts == ()
    assert result.told == [f"error: drive: vendor_data.json: holds {limit}"]
