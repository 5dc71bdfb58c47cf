"""write_files: what is written, in which order it counts, and what is refused."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import defs
from guestagent.errors import Origin, Problem
from guestagent.model import InjectedFile, InstanceData
from guestagent.plan.kinds.file import File
from userdata.planning import FACTS, apply_twice, dry_run, files, make_drive, places, plan_of, steps

FIRST, SECOND = "write_files[0]", "write_files[1]"
EVIL = "a\n'; touch /tmp/evil; $(reboot) `id` \\ \" %s\n"


def items(*given: dict[str, Any]) -> str:
    """The key as YAML, of which JSON is a part."""
    return f"write_files: {json.dumps(given)}\n"


def written(*given: dict[str, Any]) -> list[File]:
    """The files and appends of items in which nothing is wrong."""
    resources, problems = plan_of(items(*given))
    assert problems == []
    return [item for item in resources if isinstance(item, File)]


def one(**item: Any) -> File:
    """What comes of one item for /etc/x."""
    (found,) = written({"path": "/etc/x", **item})
    return found


def wrong(*given: dict[str, Any]) -> tuple[list[tuple[str, str]], set[str]]:
    """Severity and place, without line and column, of each problem, and the paths still written."""
    resources, problems = plan_of(items(*given))
    return keys_of(problems), set(files(resources))


def keys_of(problems: list[Problem]) -> list[tuple[str, str]]:
    """Severity and place of each problem, without line and column."""
    return [(severity, key.partition(" (")[0]) for severity, key in places(problems)]


def packed(text: bytes) -> str:
    return base64.b64encode(gzip.compress(text)).decode()


def test_a_file_has_cloud_init_s_defaults() -> None:
    found = one(content=EVIL)
    assert found == File("file", "/etc/x", EVIL.encode(), 0o644, found.why)
    assert found.why.document == "user_data"
    assert found.why.key.startswith(FIRST + " (line 2")


@pytest.mark.parametrize("encoding", ["b64", "base64"])
def test_base64_is_decoded(encoding: str) -> None:
    assert one(content="aGVs\nbG8=\n", encoding=encoding).content == b"hello"


@pytest.mark.parametrize("encoding", ["gz+base64", "gzip+base64", "gz+b64", "gzip+b64"])
def test_gzip_in_base64_is_unpacked(encoding: str) -> None:
    assert one(content=packed(b"hello"), encoding=encoding).content == b"hello"


@pytest.mark.parametrize("encoding", ["gz", "gzip"])
def test_binary_content_is_unpacked(encoding: str) -> None:
    binary = base64.b64encode(gzip.compress(b"hello")).decode()
    text = f"write_files:\n- path: /etc/x\n  encoding: {encoding}\n  content: !!binary {binary}\n"
    resources, problems = plan_of(text)
    assert (problems, files(resources)["/etc/x"].content) == ([], b"hello")


def test_plain_text_and_no_content_at_all() -> None:
    assert one(content="aGVsbG8=", encoding="text/plain").content == b"aGVsbG8="
    assert one().content == b""


@pytest.mark.parametrize(
    ("written_as", "mode"),
    [("'0600'", 0o600), ("'755'", 0o755), ("'0o640'", 0o640), ("0440", 0o440), ("0o444", 0o444)],
)
def test_permissions_are_octal_however_they_are_written(written_as: str, mode: int) -> None:
    text = f"write_files: [{{path: /etc/x, content: secret, permissions: {written_as}}}]\n"
    resources, problems = plan_of(text)
    file = files(resources)["/etc/x"]
    assert (problems, file.mode, file.secret) == ([], mode, not mode & 0o004)


@pytest.mark.parametrize(
    "bad", ["rw-r--r--", "u=rw", "-644", "6_44", "", "0644\n; id", "888", "77777"]
)
def test_other_permissions_are_a_warning_and_those_of_most_files(bad: str) -> None:
    resources, problems = plan_of(items({"path": "/etc/x", "permissions": bad}))
    assert keys_of(problems) == [("warning", f"{FIRST}.permissions")]
    assert files(resources)["/etc/x"].mode == 0o644


@pytest.mark.parametrize("bad", ["4755", "02755", "01755"])
def test_bits_that_let_a_file_run_as_its_owner_are_left_out(bad: object) -> None:
    resources, problems = plan_of(items({"path": "/etc/x", "permissions": bad}))
    assert keys_of(problems) == [("error", f"{FIRST}.permissions")]
    assert files(resources)["/etc/x"].mode == 0o755


def test_permissions_that_are_no_text_cost_only_themselves() -> None:
    resources, problems = plan_of("write_files: [{path: /etc/x, permissions: [1], content: a}]")
    assert [problem.severity for problem in problems] == ["error"]
    assert (files(resources)["/etc/x"].mode, files(resources)["/etc/x"].content) == (0o644, b"a")


def test_a_secret_that_gets_more_by_an_item_with_odd_fields_stays_one() -> None:
    first = {"path": "/etc/x", "content": "a", "permissions": "0600", "owner": "alice"}
    more = {"path": "/etc/x", "content": "b", "append": True}
    resources, _ = plan_of(items(first, more | {"permissions": "u=rw", "owner": "a b"}))
    file = files(resources)["/etc/x"]
    assert (file.content, file.mode, file.owner, file.secret) == (b"ab", 0o600, "alice", True)


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ("root:root", ""),
        ("root", ""),
        ("www-data:www-data", "www-data:www-data"),
        ("alice", "alice"),
        ("root:adm", "root:adm"),
        ("Debian-exim:root", "Debian-exim"),
    ],
)
def test_an_owner_is_a_user_and_a_group(owner: str, expected: str) -> None:
    assert one(owner=owner).owner == expected


@pytest.mark.parametrize("bad", ["1000:1000", "a b", "a:b:c", "-x", "$(id)", "a\nb", "a/b", "é"])
def test_a_file_with_another_owner_is_root_s(bad: str) -> None:
    resources, problems = plan_of(items({"path": "/etc/x", "owner": bad}))
    assert keys_of(problems) == [("error", f"{FIRST}.owner")]
    assert files(resources)["/etc/x"].owner == ""


@pytest.mark.parametrize(
    "bad",
    [
        *(
            "etc/x",
            "/etc/../x",
            "/etc/x/",
            "/",
            "",
            "/etc/a\nb",
            "/etc/a\0b",
            "/proc/x",
            "/dev/sda",
        ),
        *("/dev/sda", "/var/lib/guestagent/state.json", "/run/guestagent/x"),
    ],
)
def test_a_path_that_no_file_belongs_at_is_refused(bad: str) -> None:
    found, paths = wrong({"path": bad, "content": "x"}, {"path": "/etc/y"})
    assert (found, paths) == ([("error", f"{FIRST}.path")], {"/etc/y"})


@pytest.mark.parametrize(
    "bad",
    [
        {"content": "not base64!", "encoding": "b64"},
        {"content": "plain", "encoding": "gzip"},
        {"content": base64.b64encode(b"plain").decode(), "encoding": "gz+b64"},
        {"content": packed(b"x" * 100)[:20], "encoding": "gz+b64"},
        {"content": packed(b"\0" * (defs.FILE_LIMIT + 1)), "encoding": "gz+b64"},
    ],
)
def test_content_that_cannot_be_unpacked_is_refused(bad: dict[str, str]) -> None:
    found, paths = wrong({"path": "/etc/x", **bad}, {"path": "/etc/y"})
    assert (found, paths) == ([("error", f"{FIRST}.content")], {"/etc/y"})


def test_content_of_an_unknown_encoding_is_taken_as_it_is() -> None:
    odd = {"path": "/etc/x", "content": "x", "encoding": "rot13"}
    found, paths = wrong(odd, {"path": "/etc/y"})
    assert found == [("warning", f"{FIRST}.encoding")]
    assert paths == {"/etc/x", "/etc/y"}


def test_all_files_together_are_bounded() -> None:
    large = {"content": packed(b"\0" * defs.FILE_LIMIT), "encoding": "gz+b64"}
    count = defs.UNPACKED_LIMIT // defs.FILE_LIMIT
    found, paths = wrong(*({"path": f"/etc/{n}", **large} for n in range(count + 1)))
    assert found == [("error", f"write_files[{count}].content")]
    assert paths == {f"/etc/{n}" for n in range(count)}


def test_a_file_from_a_uri_is_refused_and_not_written_empty() -> None:
    source = {"path": "/etc/x", "source": {"uri": "http://example.org/"}}
    found, paths = wrong(source, {"path": "/etc/y"})
    assert found == [("error", f"{FIRST}.source")]
    assert paths == {"/etc/y"}


def test_the_later_of_two_items_for_a_path_counts() -> None:
    first = {"path": "/etc/x", "content": "a", "permissions": "0600", "owner": "alice"}
    resources, problems = plan_of(items(first, {"path": "/etc//x", "content": "b"}))
    file = files(resources)["/etc/x"]
    assert (file.content, file.mode, file.owner, file.secret) == (b"b", 0o644, "", False)
    assert places(problems)[0][0] == "warning"
    assert problems[0].key.startswith(FIRST)


def test_appended_text_becomes_part_of_the_file_that_is_written() -> None:
    more = {"path": "/etc/x", "append": True}
    first = {"path": "/etc/x", "content": "a", "permissions": "0600", "owner": "alice"}
    (found,) = written(first, {**more, "content": "b"}, {**more, "content": "b"})
    assert (found.kind, found.content, found.mode, found.owner) == ("file", b"abb", 0o600, "alice")
    assert found.secret
    (found,) = written(first, {**more, "content": "b", "permissions": "0644", "owner": "bob"})
    assert (found.content, found.mode, found.owner, found.secret) == (b"ab", 0o644, "bob", False)


def test_what_is_appended_to_a_file_of_the_guest_is_one_addition() -> None:
    more = {"path": "/etc/hosts", "append": True, "content": "a\n"}
    (found,) = written(more, more)
    assert (found.kind, found.content) == ("append", b"a\na\n")


def test_a_file_written_after_an_addition_replaces_it() -> None:
    more = {"path": "/etc/x", "append": True, "content": "a"}
    found, paths = wrong(more, {"path": "/etc/x", "content": "b"})
    assert (found, paths) == ([("warning", FIRST)], {"/etc/x"})


def test_a_deferred_file_is_written_late_and_counts_more_than_others() -> None:
    late = {"path": "/etc/x", "content": "late", "defer": True}
    assert one(content="late", defer=True).late
    for given, place in (((late, {"path": "/etc/x"}), SECOND), (({"path": "/etc/x"}, late), FIRST)):
        resources, problems = plan_of(items(*given))
        file = files(resources)["/etc/x"]
        assert (file.content, file.late) == (b"late", True)
        assert [problem.key.partition(" (")[0] for problem in problems] == [place]


def test_a_deferred_addition_is_made_after_the_file_is_written() -> None:
    late = {"path": "/etc/x", "content": "b", "append": True, "defer": True}
    found = written({"path": "/etc/x", "content": "a"}, late)
    assert [(item.kind, item.content, item.late) for item in found] == [
        ("file", b"a", False),
        ("append", b"b", True),
    ]


def test_user_data_counts_more_than_an_injected_file() -> None:
    origin = Origin("drive", "meta_data.json", "files[0]")
    injected = InstanceData(files=(InjectedFile("/etc/x", b"injected", origin),))
    resources, problems = plan_of(items({"path": "/etc/x", "content": "mine"}), data=injected)
    assert files(resources)["/etc/x"].content == b"mine"
    assert places(problems) == [("warning", "files[0]")]


def test_a_file_that_another_key_writes_stays_and_the_item_is_an_error() -> None:
    text = "hostname: web\n" + items({"path": "/etc/hostname", "content": "mine\n"})
    resources, problems = plan_of(text)
    assert files(resources)["/etc/hostname"].content == b"web\n"
    assert [(p.severity, p.key.partition(" (")[0]) for p in problems] == [("error", FIRST)]
    reason = "/etc/hostname is written by hostname (line 2, column 1) already; this is left out"
    assert problems[0].reason == reason


def test_what_is_appended_to_an_injected_file_becomes_part_of_it(
    guest: Path, tmp_path: Path
) -> None:
    origin = Origin("drive", "meta_data.json", "files[0]")
    injected = InstanceData(files=(InjectedFile("/etc/x", b"a\n", origin),))
    text = items({"path": "/etc/x", "append": True, "content": "b\n"})
    resources, problems = plan_of(text, data=injected)
    assert problems == []
    assert files(resources)["/etc/x"].content == b"a\nb\n"
    assert [item.kind for item in resources if isinstance(item, File)] == ["file"]
    rig.need_root()
    named = items({"path": "/etc/hostname", "append": True, "content": "# mine\n"})
    apply_twice(make_drive(tmp_path, named, hostname="web"), guest)
    assert (guest / "etc/hostname").read_text() == "web\n# mine\n"


SCRIPTS = "/var/lib/cloud/scripts"


@pytest.mark.parametrize(
    ("folder", "number"),
    [("per-once", "41-once"), ("per-boot", "42-boot"), ("per-instance", "43-instance")],
)
def test_scripts_that_cloud_init_would_run_are_run(folder: str, number: str) -> None:
    item = {"path": f"{SCRIPTS}/{folder}/00-a b.sh", "content": "#!/bin/sh\nhush\n"}
    resources, problems = plan_of(items(item))
    assert problems == []
    assert list(files(resources)) == [item["path"]]
    (step,) = steps(resources).values()
    assert (step.stage, step.file_name) == ("late", f"{number}-00-a-b.sh")
    assert (step.content, step.secret) == (b"#!/bin/sh\nhush\n", True)


def test_a_script_is_run_once_with_all_that_is_appended_to_it() -> None:
    path = f"{SCRIPTS}/per-boot/a"
    more = {"path": path, "content": "b\n", "append": True}
    resources, _ = plan_of(items({"path": path, "content": "a\n"}, more, {**more, "defer": True}))
    assert [step.content for step in steps(resources).values()] == [b"a\nb\nb\n"]


def test_scripts_of_like_names_are_both_run() -> None:
    given = ({"path": f"{SCRIPTS}/per-boot/{name}"} for name in ("a b", "a*b"))
    resources, problems = plan_of(items(*given))
    assert problems == []
    assert list(steps(resources)) == ["late/42-boot-a-b", "late/42-boot-a-b_"]


@pytest.mark.parametrize("path", [f"{SCRIPTS}/per-boot/x/y", f"{SCRIPTS}/x", f"{SCRIPTS}/vendor/x"])
def test_no_other_file_is_run(path: str) -> None:
    resources, _ = plan_of(items({"path": path}))
    assert steps(resources) == {}


def test_a_file_for_cloud_init_alone_is_written_with_a_warning() -> None:
    path = "/etc/cloud/cloud.cfg.d/99-x.cfg"
    assert wrong({"path": path}, {"path": "/etc/cloudy"}) == (
        [("warning", FIRST)],
        {path, "/etc/cloudy"},
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("etc/x", "must begin with /"),
        ("/etc/x/", "must not end with /"),
        ("/proc/sys/vm/swappiness", "use bootcmd, or /etc/sysctl.d"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(path: str, reason: str) -> None:
    _, (problem,) = plan_of(items({"path": path}))
    assert reason in problem.reason


def test_on_a_tree_files_are_written_once(guest: Path, tmp_path: Path) -> None:
    rig.need_root()
    text = items(
        {"path": "/etc/app/x", "content": EVIL},
        {"path": "/etc/secret", "content": "hush", "permissions": "0640", "owner": "debian:root"},
        {"path": "/etc/app/z", "content": packed(b"z" * 9999), "encoding": "gz+b64"},
        {"path": "/etc/motd", "content": "more\n", "append": True},
        {"path": "/etc/app/late", "content": "late", "defer": True},
        {"path": "/etc/../bad"},
        {"path": f"{SCRIPTS}/per-boot/a", "content": "hush"},
    )
    (guest / "etc/motd").write_text("before\n")
    drive = make_drive(tmp_path, text)
    plan = dry_run(drive, guest)
    changes = {change["path"]: change for change in plan["changes"] if "path" in change}
    assert changes["/etc/app/x"]["content"] == EVIL
    assert json.dumps(plan).count("hush") == 1  # a file for all to read, but not the step
    assert [problem["severity"] for problem in plan["problems"]] == ["error"]
    apply_twice(drive, guest, status=1)
    assert (guest / "etc/app/x").read_text() == EVIL
    secret = rig.snapshot(guest)["/etc/secret"]
    assert (secret.mode, secret.uid, secret.gid) == (0o640, 1000, 0)
    assert (guest / "etc/app/z").read_bytes() == b"z" * 9999
    assert (guest / "etc/motd").read_text() == "before\nmore\n"
    assert not (guest / "etc/app/late").exists()
    assert not (guest / "bad").exists()
    assert (guest / "var/lib/guestagent/late/42-boot-a").read_text() == "hush"


@pytest.mark.parametrize(
    ("path", "late"),
    [
        *(("/usr/lib/systemd/system/x.service", True), ("/bin/x", True), ("/lib64/x", True)),
        *(("/boot/x", True), ("/usr/local/bin/x", False), ("/opt/x", False), ("/library/x", False)),
    ],
)
def test_what_the_early_stage_may_not_write_is_written_late(path: str, late: bool) -> None:
    (found,) = written({"path": path})
    assert found.late is late
    resources, _ = plan_of(items({"path": path}), FACTS._replace(live=False))
    assert [item.late for item in resources if isinstance(item, File)] == [False]
