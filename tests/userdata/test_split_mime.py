"""User data of several parts: MIME as Terraform, Heat and Magnum write it, names, merge types."""

from __future__ import annotations

import base64
import quopri
from collections.abc import Callable
from email.mime.application import MIMEApplication
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from guestagent import defs

from .part_samples import (
    CONFIG,
    SCRIPT,
    WHERE,
    entry,
    heat,
    mime,
    only,
    packed,
    refused,
    shapes,
    split,
    terraform,
    wrapped,
)

KINDS = {
    "text/cloud-config": "cloud-config",
    "text/x-shellscript": "script",
    "text/x-shellscript-per-boot": "per-boot",
    "text/x-shellscript-per-instance": "per-instance",
    "text/x-shellscript-per-once": "per-once",
    "text/cloud-boothook": "boothook",
}
VAGUE = ["text/plain", "application/octet-stream", "TEXT/PLAIN; charset=utf-8", "nonsense", ""]


def sent(media_type: str, content: bytes) -> bytes:
    return entry(media_type, content, "x.sh")


@pytest.mark.parametrize("media_type", KINDS)
def test_the_media_type_tells_the_kind(media_type: str) -> None:
    part = only(mime(sent(media_type, SCRIPT)))
    assert (part.kind, part.name, part.content) == (KINDS[media_type], "x.sh", SCRIPT)
    assert part.origin == (*WHERE, 'part 1 "x.sh"')


@pytest.mark.parametrize("media_type", VAGUE)
@pytest.mark.parametrize(("content", "kind"), [(CONFIG, "cloud-config"), (SCRIPT, "script")])
def test_a_vague_type_leaves_it_to_the_content(media_type: str, content: bytes, kind: str) -> None:
    assert only(mime(sent(media_type, content))).kind == kind


def test_a_part_without_a_header_is_told_by_its_content() -> None:
    for body in (b"\n" + SCRIPT, SCRIPT):
        assert only(mime(body)).content == SCRIPT


def test_a_shell_script_that_is_cloud_config_is_cloud_config() -> None:
    assert only(mime(sent("text/x-shellscript", CONFIG))).kind == "cloud-config"


def test_cloud_config_by_its_type_needs_no_first_line() -> None:
    assert only(mime(sent("text/cloud-config", b"hostname: web\n"))).kind == "cloud-config"


@pytest.mark.parametrize("top", ["", "MIME-Version: 1.0\n", "mime-VERSION: 1.0\nX: y\n", "\n\r\n"])
def test_a_multipart_is_told_by_its_header(top: str) -> None:
    assert only(mime(sent("text/plain", SCRIPT), top=top)).kind == "script"


def test_a_multipart_may_stand_in_a_mailbox() -> None:
    top = "From nobody Thu Mar 10 10:33:00 2016\nMIME-Version: 1.0\n"
    assert only(mime(sent("text/plain", SCRIPT), top=top)).kind == "script"


def test_a_message_of_one_part_is_a_whole_document() -> None:
    part = only(b"MIME-Version: 1.0\n" + entry("text/x-shellscript-per-boot", SCRIPT))
    assert (part.kind, part.content, part.origin.key) == ("per-boot", SCRIPT, "")


def unchanged(content: bytes) -> bytes:
    return content


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *(("base64", wrapped), ("BASE64", wrapped), ("quoted-printable", quopri.encodestring)),
        *(("8bit", unchanged), ("binary", unchanged), ("", unchanged)),
    ],
)
def test_a_transfer_encoding_is_taken_off(name: str, code: Callable[[bytes], bytes]) -> None:
    content = "#!/bin/sh\necho 'grüße = ä'\n".encode()
    field = f"Content-Transfer-Encoding: {name}"
    assert only(mime(entry("text/x-shellscript", code(content), "x", field))).content == content


@pytest.mark.parametrize("charset", ["us-ascii", "utf-8", "utf-16", "no-such-charset"])
def test_the_charset_is_of_no_account(charset: str) -> None:
    part = only(mime(entry(f'text/x-shellscript; charset="{charset}"', SCRIPT)))
    assert part.content == SCRIPT


@pytest.mark.parametrize("media_type", ["application/gzip", "application/x-gzip", "text/plain"])
def test_a_part_may_be_gzip_data(media_type: str) -> None:
    field = "Content-Transfer-Encoding: base64"
    body = entry(media_type, wrapped(packed(CONFIG)), "a.gz", field)
    part = only(mime(body))
    assert (part.kind, part.content, part.name) == ("cloud-config", CONFIG, "a.gz")


def test_gzip_data_keeps_the_type_of_its_part() -> None:
    field = "Content-Transfer-Encoding: base64"
    body = entry("text/x-shellscript-per-once", wrapped(packed(SCRIPT)), "", field)
    assert only(mime(body)).kind == "per-once"


def test_nested_multiparts_are_taken_in_order() -> None:
    inner = mime(sent("text/plain", CONFIG), b"\n" + SCRIPT, boundary="in", top="")
    middle = mime(inner, b"\n" + SCRIPT, boundary="middle", top="")
    found, problems = split(mime(b"\n" + SCRIPT, middle, b"\n" + SCRIPT, boundary="out"))
    assert problems == []
    assert [part.kind for part in found] == ["script", "cloud-config", *["script"] * 3]
    assert [part.name for part in found] == [
        *("part-001", "x.sh", "part-003", "part-004", "part-005"),
    ]


def test_an_archive_may_stand_in_a_multipart() -> None:
    archive = b"- '#!/bin/one'\n- '#!/bin/two'\n"
    body = entry("text/cloud-config-archive", archive, "all.yaml")
    found, problems = split(mime(b"\n" + SCRIPT, body, b"\n" + SCRIPT))
    assert problems == []
    assert [part.origin.key for part in found] == [f"part {number}" for number in range(1, 5)]


@pytest.mark.parametrize(
    ("media_type", "content", "word"),
    [
        ("text/jinja2", b"## template: jinja\n#cloud-config\n{{ a.b }}", "template"),
        ("text/cloud-config", b"## template: jinja\n#cloud-config\n{{ a.b }}", "template"),
        ("text/jinja2", b"hostname: web", "begin"),
        ("text/part-handler", b"#part-handler\n", "Python"),
        ("text/cloud-config-jsonp", b"[]", "JSON patch"),
        ("text/upstart-job", b"start on x", "upstart"),
        ("text/x-shellscript", b"echo hi\n", "interpreter"),
        ("text/x-shellscript-per-boot", b"echo hi\n", "interpreter"),
        ("text/cloud-boothook", b"echo hi\n", "interpreter"),
        ("text/plain", b"hello\n", "begin"),
        ("text/html", SCRIPT, "media type"),
        ("message/rfc822", SCRIPT, "media type"),
        ("image/png", b"\x89PNG\r\n\0", "media type"),
        ("application/octet-stream", b"\x89PNG\r\n\0", "binary"),
    ],
)
def test_one_bad_part_spoils_only_itself(media_type: str, content: bytes, word: str) -> None:
    found, problems = split(mime(b"\n" + SCRIPT, sent(media_type, content), b"\n" + SCRIPT))
    assert shapes(found) == [("script", "part-001"), ("script", "part-003")]
    assert [(problem.severity, problem.key) for problem in problems] == [("error", 'part 2 "x.sh"')]
    assert word in problems[0].reason


def test_an_empty_part_is_ignored_with_a_warning() -> None:
    found, problems = split(mime(sent("text/x-shellscript", b" \n"), b"\n" + SCRIPT))
    assert shapes(found) == [("script", "part-002")]
    assert [(problem.severity, problem.key) for problem in problems] == [
        ("warning", 'part 1 "x.sh"')
    ]


@pytest.mark.parametrize("field", ["Launch-Index: 3", "launch-index: no number"])
def test_a_launch_index_is_told_and_the_part_counts(field: str) -> None:
    found, problems = split(mime(entry("text/x-shellscript", SCRIPT, "", field)))
    assert len(found) == 1
    assert [(problem.severity, problem.key) for problem in problems] == [("warning", "part 1")]
    assert "launch index" in problems[0].reason


@pytest.mark.parametrize("rule", ["list(append)+dict(recurse_array)+str()", "dict()", "x", ""])
@pytest.mark.parametrize("field", ["Merge-Type", "x-merge-type"])
def test_a_merge_type_goes_with_its_part(field: str, rule: str) -> None:
    body = entry("text/cloud-config", CONFIG, "a.cfg", f"{field}: {rule}")
    found, problems = split(mime(body, b"\n" + CONFIG))
    assert problems == []
    assert [part.merge_type for part in found] == [rule, ""]


def test_a_merge_type_means_nothing_to_a_script() -> None:
    assert only(mime(entry("text/x-shellscript", SCRIPT, "", "Merge-Type: list(append)")))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("10-a_b.sh", "10-a_b.sh"),
        ("dir/setup.sh", "setup.sh"),
        ("C:\\\\dir\\\\setup.sh", "setup.sh"),
        ("../../etc/passwd", "passwd"),
        ("..", "part-001"),
        ("a/", "part-001"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("my script (1).sh", "myscript1.sh"),
        ("скрипт", "part-001"),
        ("$(id);`id`", "idid"),
        ("x" * 100, "x" * 64),
        (defs.TEMPORARY_PREFIX + "x", "guestagent.x"),
    ],
)
def test_a_name_is_made_safe(given: str, name: str) -> None:
    part = only(mime(entry("text/x-shellscript", SCRIPT, given)))
    assert part.name == name


def test_names_are_unique() -> None:
    long = "y" * 64
    given = ["a.sh", "a.sh", "b/a.sh", "a.sh-02", "", "part-005", "", long, long]
    found, problems = split(mime(*(entry("text/x-shellscript", SCRIPT, name) for name in given)))
    assert problems == []
    assert [part.name for part in found] == [
        *("a.sh", "a.sh-02", "a.sh-03", "a.sh-02-02"),
        *("part-005", "part-005-02", "part-007", long, "y" * 61 + "-02"),
    ]


def test_a_name_may_be_an_extended_parameter() -> None:
    field = "Content-Disposition: attachment; filename*=utf-8''my%20se%CC%88tup.sh"
    assert only(mime(entry("text/x-shellscript", SCRIPT, "", field))).name == "mysetup.sh"


@pytest.mark.parametrize("blank", [True, False])
def test_what_terraform_renders_is_taken(blank: bool) -> None:
    plain = terraform(
        ("text/cloud-config", "cloud-config.yaml", "#cloud-config\nhostname: wéb\n"),
        ("text/x-shellscript", "hello-script.sh", "#!/bin/bash\r\necho hello\r\n"),
        ("text/plain", "", "#!/bin/sh\nexit 0"),
        blank=blank,
    )
    for document in (plain, packed(plain), base64.b64encode(packed(plain))):
        found, problems = split(document)
        assert problems == []
        assert shapes(found) == [
            ("cloud-config", "cloud-config.yaml"),
            ("script", "hello-script.sh"),
            ("script", "part-003"),
        ]
        assert [part.content for part in found] == [
            "#cloud-config\nhostname: wéb\n".encode(),
            b"#!/bin/bash\necho hello\n",
            b"#!/bin/sh\nexit 0",
        ]


def test_what_heat_packs_around_software_configs_is_taken() -> None:
    found, problems = split(
        heat(
            ("#!/bin/bash\necho grüße\n", "one.sh", "x-shellscript"),
            ("#cloud-config\npackages: [git]\n", "two.yaml", "cloud-config"),
        )
    )
    assert shapes(found) == [
        ("cloud-config", "cloud-config"),
        ("boothook", "boothook.sh"),
        ("script", "one.sh"),
        ("cloud-config", "two.yaml"),
        ("heat", "cfn-init-data"),
    ]
    assert found[2].content == "#!/bin/bash\necho grüße\n".encode()
    assert found[4].content == b'{"os-collect-config": {}}'
    assert [(problem.severity, problem.key) for problem in problems] == [
        ("warning", 'part 3 "part-handler.py"'),
    ]


def test_heat_s_user_data_is_taken_from_among_its_own_files() -> None:
    logs = ("#!/usr/bin/env python3\n", "loguserdata.py", "x-shellscript")
    found, problems = split(heat(("#!/bin/sh\nexit 0\n", "cfn-userdata", "x-cfninitdata"), logs))
    assert ("script", "cfn-userdata") in shapes(found)
    assert "loguserdata.py" not in [part.name for part in found]  # would run it once more
    assert [(problem.severity, problem.key) for problem in problems] == [
        ("warning", 'part 3 "part-handler.py"'),
        ("warning", 'part 5 "loguserdata.py"'),
    ]


@pytest.mark.parametrize("content", ["just text", "\x7fELF", "{}"])
def test_heat_s_user_data_that_say_no_type_are_a_file_as_with_heat_s_own_handler(
    content: str,
) -> None:
    found, problems = split(heat((content, "cfn-userdata", "x-cfninitdata")))
    assert ("heat", "cfn-userdata") in shapes(found)
    assert [problem.severity for problem in problems] == ["warning"]


def test_what_is_wrong_with_a_part_of_heat_s_is_told() -> None:
    wrong = ("## template: jinja\n{% nonsense %}", "cfn-userdata", "x-cfninitdata")
    _, problems = split(heat(wrong))
    assert ("error", 'part 4 "cfn-userdata"') in [(item.severity, item.key) for item in problems]


def test_heat_s_names_mean_nothing_without_heat() -> None:
    found, (problem,) = split(
        mime(
            entry("text/x-shellscript", SCRIPT, "loguserdata.py"),
            entry("text/part-handler", b"#part-handler\n", "part-handler.py"),
        )
    )
    assert shapes(found) == [("script", "loguserdata.py")]
    assert problem.severity == "error"


def test_what_magnum_makes_of_fragments_is_taken() -> None:
    """Its fragments are Heat software configs: MIMEText of unequal types, written twice over."""
    whole = MIMEMultipart()
    names = ["write-heat-params", "configure-etcd", "make-cert", "enable-services", "wc-notify"]
    for name in names:
        whole.attach(MIMEText(f"#!/bin/sh\n. /etc/sysconfig/heat-params\necho {name}\n"))
    whole.attach(MIMEText("#cloud-config\nsystem_info:\n  default_user:\n    name: minion\n"))
    found, problems = split(whole.as_bytes())
    assert problems == []
    assert [part.kind for part in found] == ["script"] * 5 + ["cloud-config"]
    assert [part.name for part in found] == [f"part-{number:03}" for number in range(1, 7)]


def test_what_python_s_email_package_writes_is_taken() -> None:
    whole = MIMEMultipart("alternative")
    whole.attach(MIMEApplication(packed(SCRIPT), "gzip"))
    octets = MIMEBase("application", "octet-stream")
    octets.set_payload(CONFIG)
    whole.attach(octets)
    found, problems = split(whole.as_bytes().replace(b"\n", b"\r\n"))
    assert problems == []
    assert [part.kind for part in found] == ["script", "cloud-config"]


def test_a_document_that_names_no_boundary_is_refused() -> None:
    assert "boundary" in refused(b"Content-Type: multipart/mixed\n\n--B\n\n#!/bin/sh\n").reason
