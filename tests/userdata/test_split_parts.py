"""User data of one part: how a document is recognized, unpacked and cleaned up; archives."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rig

from guestagent.desired.fetching import included_urls
from guestagent.errors import Origin
from guestagent.model import Part

from .part_samples import (
    CONFIG,
    SCRIPT,
    WHERE,
    mime,
    only,
    packed,
    refused,
    shapes,
    split,
    wrapped,
)

BOM = b"\xef\xbb\xbf"
ARCHIVE = b"""#cloud-config-archive
- |
  #!/bin/sh
  echo one
- hostname: ignored
- type: text/cloud-config
  filename: base.cfg
  content: |
    hostname: web
- content: |
    #cloud-boothook
    #!/bin/sh
    echo hook
- type: text/x-shellscript-per-boot
  filename: dir/every.sh
  content: "#!/bin/sh\\r\\necho two\\r\\n"
"""


def test_a_cloud_config_is_a_part() -> None:
    part = only(CONFIG)
    assert part == Part("cloud-config", "part-001", CONFIG, Origin(*WHERE, ""))


@pytest.mark.parametrize("line", [b"#!/bin/sh", b"#! /usr/bin/env python3", b"#!/bin/awk -f"])
def test_a_script_of_any_interpreter_is_a_part(line: bytes) -> None:
    part = only(line + b"\nx = 1\n")
    assert (part.kind, part.content) == ("script", line + b"\nx = 1\n")


def test_a_script_keeps_bytes_that_are_no_text() -> None:
    content = b"#!/bin/sh\ntail -c 4 $0 | od\nexit\n\xff\xfe\0\x80"
    assert only(content).content == content


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", BOM, BOM + b"\n"])
def test_nothing_is_no_part_and_no_problem(content: bytes) -> None:
    assert split(content) == ([], [])
    assert split(packed(content)) == ([], [])


def test_a_byte_order_mark_is_dropped() -> None:
    assert only(BOM + CONFIG).content == CONFIG
    assert only(BOM + SCRIPT).content == SCRIPT


def test_a_script_gets_unix_line_ends() -> None:
    assert only(SCRIPT.replace(b"\n", b"\r\n")).content == SCRIPT


def test_a_script_with_unix_line_ends_keeps_what_else_is_in_it() -> None:
    content = b"#!/bin/sh\nprintf 'a\r\n'\n"
    assert only(content).content == content


def test_cloud_config_keeps_its_lines_so_that_places_stay_true() -> None:
    content = b"\r\n\r\n#cloud-config\r\nhostname: web\r\n"
    assert only(content).content == content


def test_a_script_may_stand_below_white_space() -> None:
    assert only(b"\n  \n" + SCRIPT).content == SCRIPT


def test_the_case_of_the_first_line_does_not_matter() -> None:
    assert only(b"#Cloud-Config\nhostname: web\n").kind == "cloud-config"


@pytest.mark.parametrize(
    "line", [b"#cloud-boothook\n", b"#cloud-boothook \r\n\r\n", b"\n#CLOUD-boothook\n\n"]
)
def test_a_boothook_is_the_script_below_its_first_line(line: bytes) -> None:
    part = only(line + SCRIPT)
    assert (part.kind, part.content) == ("boothook", SCRIPT)


@pytest.mark.parametrize("content", [b"#cloud-boothook\necho hi\n", b"#cloud-boothook"])
def test_a_boothook_without_an_interpreter_is_refused(content: bytes) -> None:
    assert "interpreter" in refused(content).reason


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"## template: jinja\n## template: jinja\n#cloud-config\n", "second time"),
        (b"## template: jinja\n#cloud-config\nhostname: {{ v1.name }}\n", "v1 is not given"),
        (b"## template: jinja\nhostname: web\n", "begin"),
        (b"#part-handler\ndef list_types(): pass\n", "Python"),
        (b'#cloud-config-jsonp\n[{"op": "add"}]\n', "JSON patch"),
        (b"#upstart-job\nstart on x\n", "upstart"),
        (b"# cloud-config\nhostname: web\n", "nearly #cloud-config"),
        (b"#!cloud-config\nhostname: web\n", "nearly #cloud-config"),
        (b"#cloud_config\nhostname: web\n", "nearly #cloud-config"),
        (b"cloud-config:\n  hostname: web\n", "nearly #cloud-config"),
        (b"#/bin/sh\necho\n", "nearly that of a script"),
        (b"!#/bin/sh\necho\n", "nearly that of a script"),
        (b'{"ignition": {"version": "3.4.0"}, "passwd": {}}', "Ignition data"),
        (b"variant: flatcar\nversion: 1.0.0\npasswd: {}\n", "Butane"),
        (b"version: v1alpha1\ndebug: false\nmachine:\n  type: worker\n", "Talos"),
        (b"---\napiVersion: v1alpha1\nkind: HostnameConfig\n", "Talos"),
        (b"#ps1_sysnative\nGet-Service\n", "Windows"),
        (b"<powershell>\nGet-Service\n</powershell>\n", "Windows"),
        (b"autoinstall:\n  version: 1\n", "Ubuntu's installer"),
        (b'{"hostname": "web"}', "begin"),
        (b"  variant: x\n  version: 1\n", "begin"),
        (b"hostname: web\n", "begin"),
        (b"#ignored\n", "begin"),
        ("#cloud-config\n".encode("utf-16"), "UTF-16"),
        (b"\x7fELF\2\1\1\0\0", "binary"),
        (b"\xfd7zXZ\0\0", "binary"),
    ],
)
def test_what_is_not_applied_is_refused_with_a_way_out(content: bytes, word: str) -> None:
    for given in (content, packed(content)):
        problem = refused(given)
        assert (problem.source, problem.document, problem.key) == (*WHERE, "")
        assert word in problem.reason


@pytest.mark.parametrize("content", [CONFIG, SCRIPT, ARCHIVE, mime(b"\n" + SCRIPT)])
def test_gzip_and_base64_are_taken_off(content: bytes) -> None:
    plain = split(content)
    assert plain[0]
    assert split(packed(content)) == plain
    assert split(wrapped(content)) == plain
    assert split(wrapped(packed(content))) == plain
    assert split(packed(wrapped(packed(content)))) == plain


def test_base64_without_line_ends_is_taken_off() -> None:
    assert only(wrapped(CONFIG).replace(b"\n", b"")).content == CONFIG


def test_base64_of_something_else_stays_unknown() -> None:
    for content in (b"hello, world", b"\x7fELF\0"):
        assert "begin" in refused(wrapped(content)).reason


def test_what_is_known_is_never_decoded() -> None:
    """A script's own base64 below an interpreter line, or a word that happens to be base64."""
    content = b"#!/bin/cat\n" + wrapped(CONFIG)
    assert only(content).content == content


def test_a_script_that_writes_mail_is_no_mail() -> None:
    content = b"#!/bin/sh\nsendmail <<E\nMIME-Version: 1.0\nContent-Type: multipart/mixed\nE\n"
    assert only(content).content == content


def test_an_archive_holds_parts() -> None:
    found, problems = split(ARCHIVE)
    assert shapes(found) == [
        ("script", "part-001"),
        ("cloud-config", "base.cfg"),
        ("boothook", "part-004"),
        ("per-boot", "every.sh"),
    ]
    assert [part.content for part in found[2:]] == [
        b"#!/bin/sh\necho hook\n",
        b"#!/bin/sh\necho two\n",
    ]
    assert found[1].origin.key == 'part 3 "base.cfg"'
    # The second entry is a mapping without content.
    assert [(problem.severity, problem.key) for problem in problems] == [("warning", "part 2")]


def test_text_in_an_archive_is_cloud_config_if_it_does_not_say() -> None:
    part = only(b"#cloud-config-archive\n- 'hostname: web'\n")
    assert (part.kind, part.content) == ("cloud-config", b"hostname: web")


def test_an_archive_may_hold_binary_data() -> None:
    data = wrapped(packed(SCRIPT)).replace(b"\n", b"")
    for text in (b"- !!binary " + data, b"- {type: application/gzip, content: !!binary %s}" % data):
        assert only(b"#cloud-config-archive\n" + text).content == SCRIPT


@pytest.mark.parametrize("text", [b"", b"[]\n", b"# nothing\n"])
def test_an_empty_archive_holds_nothing(text: bytes) -> None:
    assert split(b"#cloud-config-archive\n" + text) == ([], [])


@pytest.mark.parametrize("entries", [b"hostname: web", b"just text", b"5"])
def test_an_archive_that_is_no_list_is_refused(entries: bytes) -> None:
    assert "not a list" in refused(b"#cloud-config-archive\n" + entries).reason


def test_an_archive_that_is_no_yaml_is_refused_with_its_place() -> None:
    problem = refused(b"#cloud-config-archive\n- [\n")
    assert problem.key == ""
    assert problem.reason.startswith("line 3, column 1")


@pytest.mark.parametrize(
    "bad",
    [
        b"- 5",
        b"- [a]",
        b"- {content: [a]}",
        b"- {content: 5}",
        b"- {content: '#!/bin/sh', type: [a]}",
        b"- {content: a, type: foo/wark}",
        b"- {content: a, type: text/upstart-job}",
        b"- {content: a, type: nonsense}",
        b"- {content: !!binary aGVsbG8=}",
    ],
)
def test_one_bad_entry_spoils_only_itself(bad: bytes) -> None:
    found, problems = split(b"#cloud-config-archive\n" + bad + b"\n- '#!/bin/sh'\n")
    assert shapes(found) == [("script", "part-002")]
    assert [(problem.severity, problem.key) for problem in problems] == [("error", "part 1")]


@pytest.mark.parametrize(
    "content",
    [
        b"#include\nhttps://a.example/x\n\n# https://b.example\nhttps://c.example/y",
        b"#include-once https://a.example/x\n https://c.example/y \n",
        b"#Include\r\nhttps://a.example/x\r\nhttps://c.example/y\r\n",
        mime(b"Content-Type: text/x-include-url\n\nhttps://a.example/x\nhttps://c.example/y"),
        mime(b"Content-Type: text/x-include-once-url\n\nhttps://a.example/x\nhttps://c.example/y"),
    ],
)
def test_an_include_is_a_list_of_urls(content: bytes) -> None:
    part = only(content)
    assert part.kind == "include"
    assert included_urls(part.content) == ["https://a.example/x", "https://c.example/y"]


def test_a_launch_index_is_told_and_the_part_counts() -> None:
    text = b"#cloud-config-archive\n- {content: '#!/bin/sh', launch-index: 1, filename: a.sh}\n"
    found, problems = split(text)
    assert shapes(found) == [("script", "a.sh")]
    assert [(problem.severity, problem.key) for problem in problems] == [
        ("warning", 'part 1 "a.sh"')
    ]


def test_an_archive_in_an_archive_holds_parts() -> None:
    inner = b"- content: |\n    #cloud-config-archive\n    - '#!/bin/one'\n    - '#!/bin/two'\n"
    found, problems = split(b"#cloud-config-archive\n" + inner + b"- '#!/bin/three'\n")
    assert problems == []
    assert [part.content for part in found] == [b"#!/bin/one", b"#!/bin/two", b"#!/bin/three"]
    assert [part.name for part in found] == ["part-001", "part-002", "part-003"]


def test_an_archive_that_is_refused_is_counted_as_a_part() -> None:
    inner = b"- content: |\n    #cloud-config-archive\n    just text\n"
    found, problems = split(b"#cloud-config-archive\n" + inner + b"- '#!/bin/sh'\n")
    assert [problem.key for problem in problems] == ["part 1"]
    assert shapes(found) == [("script", "part-002")]


_TELL = (
    "import sys; sys.path.insert(0, sys.argv[1]); from guestagent.errors import *; "
    "from guestagent.parse.userdata import split_parts; "
    "split_parts.split(bytes.fromhex(sys.argv[2]), Origin('s', 'd', ''), Problems()); "
    "print(*sorted(sys.modules))"
)


def loaded(content: bytes) -> set[str]:
    """The modules that are there after a document was split by a bare interpreter."""
    argv = [sys.executable, "-I", "-S", "-B", "-c", _TELL, str(rig.REPOSITORY), content.hex()]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("content", [CONFIG, SCRIPT, b"", b"#cloud-boothook\n#!/bin/sh\n"])
def test_a_plain_document_needs_no_parser(content: bytes) -> None:
    needless = {"email", "zlib", "gzip", "yaml", "re", "guestagent.parse.userdata.mime"}
    assert loaded(content) & needless == set()


def test_a_multipart_needs_neither_email_nor_zlib() -> None:
    assert loaded(mime(b"\n" + SCRIPT)) & {"email", "zlib", "gzip", "yaml", "re"} == set()
    assert "zlib" in loaded(packed(SCRIPT))
