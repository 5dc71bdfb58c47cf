"""``guestagent validate`` and ``guestagent schema``, as people run them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent import defs

CONFIG = """\
#cloud-config
hostname: web1
packages: [nginx]
bootcmd: [modprobe dummy]
runcmd: [systemctl restart nginx]
write_files:
- {path: /srv/a, content: a}
- {path: /srv/b, content: b, defer: true}
"""
BAD = """\
#cloud-config
hostname: web1
users:
- name: alice
- name: "bob:0"
packges: [nginx]
swap: 5
chef: {}
"""
SCRIPT = "#!/bin/sh\necho CANARY\n"
ARCHIVE = """\
#cloud-config-archive
- type: text/cloud-config
  content: "hostname: web1"
- type: text/x-shellscript
  filename: setup.sh
  content: "#!/bin/sh"
"""
MIME = """\
Content-Type: multipart/mixed; boundary=B
MIME-Version: 1.0

--B
Content-Type: text/cloud-config; charset=utf-8

hostname: web1
--B
Content-Type: text/x-shellscript
Content-Disposition: attachment; filename="setup.sh"

#!/bin/sh
--B
Content-Type: text/cloud-config
Content-Disposition: attachment; filename="users.cfg"

runcmd: [ls]
fqdn: "no name"
--B--
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a file by its name; says its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def verdict(*paths: Path | str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and the answer of ``validate --json``."""
    done = rig.agent("validate", "--json", *paths)
    assert done.err == ""
    return done.status, json.loads(done.out)


def summaries(answer: dict[str, Any]) -> list[str]:
    return [change["summary"] for change in answer["changes"]]


START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from guestagent.cli import main; "
    "sys.exit(main(sys.argv[1:]))"
)


def run(*arguments: str, before: tuple[str, ...] = (), content: bytes = b"") -> rig.Result:
    """A run of the agent through another program, or with something on standard input."""
    argv = [*before, sys.executable, "-B", "-c", START, str(rig.REPOSITORY), *arguments]
    done = subprocess.run(argv, input=content, capture_output=True, timeout=60)
    return rig.Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def powerless(*arguments: str) -> rig.Result:
    """A run without root's capabilities; for others than root a run like any other."""
    if os.geteuid() != 0:
        return run(*arguments)
    rig.need_tools("setpriv")
    return run(*arguments, before=("setpriv", "--bounding-set=-all"))


def test_what_will_be_done_is_told_in_the_order_in_which_it_is_done(write: Any) -> None:
    done = rig.agent("validate", write("a.yaml", CONFIG))
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].endswith("a.yaml: 8 things to do")
    heads = [line[2:] for line in lines if line[:2] == "# " and line[2] != " "]
    assert heads == [
        "write /etc/hostname (mode 0644)",
        "set the running host name to web1",
        "write /etc/hosts (mode 0644)",
        "write /srv/a (mode 0644)",
        "early, at each boot: run bootcmd",
        "late, once per instance: run packages",
        "late: write /srv/b (mode 0644)",
        "late, once per instance: run runcmd",
    ]
    assert "why: " in done.out
    assert "packages (line 3, column 1)" in done.out


def test_each_error_and_warning_has_file_key_line_and_column(write: Any) -> None:
    path = write("bad.yaml", BAD)
    done = rig.agent("validate", path)
    lines = done.out.splitlines()
    assert done.status == 1
    assert lines[0] == f"{path}: 4 things to do, 2 things taken away, 2 warnings, 3 errors"
    for severity, place in (
        ("error", "users[1].name (line 5, column 3)"),
        ("warning", "users (line 3, column 1)"),
        ("warning", "packges (line 6, column 1)"),
        ("error", "swap (line 7, column 1)"),
        ("error", "chef (line 8, column 1)"),
    ):
        (line,) = (line for line in lines if line.startswith(f"{severity}: {path}: {place}: "))
        assert not line.endswith(": ")
    assert "did you mean packages?" in done.out
    assert "# add user alice" in lines
    assert "bob" not in done.out


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        ("users: []", ["add user debian; write /etc/sudoers", "authorized_keys"]),
        ("users: [default]", []),
        ("hostname: another", []),
        ("preserve_hostname: true", ["/etc/hostname (mode 0644); set the running host name"]),
        (
            "users: []\nallow_public_ssh_keys: false\npreserve_hostname: true",
            ["add user debian", "authorized_keys", "/etc/hostname"],
        ),
    ],
)
def test_what_a_document_takes_away_is_told(write: Any, keys: str, taken: list[str]) -> None:
    path = write("a", f"#cloud-config\n{keys}\n")
    shown = rig.agent("validate", path).out.splitlines()
    told = [line for line in shown if line.startswith("taken away: ")]
    assert len(told) == len(taken)
    assert all(any(word in line for line in told) for word in taken)
    things = "thing" if len(taken) == 1 else "things"
    assert (f"{len(taken)} {things} taken away" in shown[0]) == bool(taken)
    _, (answer,) = verdict(path)
    assert len(answer["taken_away"]) == len(taken)


class TestMetadata:
    """A document of OpenStack's metadata is known by its name, and planned alone."""

    def test_network_data(self, write: Any) -> None:
        link = {"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}
        network = {"id": "n", "link": "a", "type": "ipv4", "ip_address": "192.0.2.999"}
        document = {"links": [link], "networks": [network]}
        shown = rig.agent("validate", write("network_data.json", json.dumps(document)))
        assert shown.status == 1
        assert ": network_data.json: networks[0].ip_address" in shown.out
        network["ip_address"], network["netmask"] = "192.0.2.5", "255.255.255.0"
        shown = rig.agent("validate", write("network_data.json", json.dumps(document)))
        assert shown.status == 0
        assert "+Address=192.0.2.5/24" in shown.out.splitlines()
        assert "/etc/hostname" not in shown.out

    def test_meta_data(self, write: Any) -> None:
        files = [{"path": "/etc/motd", "content_path": "/content/0000"}]
        document = {"uuid": "not one", "hostname": "web-1", "files": files}
        shown = rig.agent("validate", write("meta_data.json", json.dumps(document)))
        assert ": meta_data.json: uuid" in shown.out
        assert "+web-1" in shown.out.splitlines()
        assert "content_path" not in shown.out.split("\n\n")[0], "it cannot be known"

    @pytest.mark.parametrize("name", ["vendor_data.json", "vendor_data2.json"])
    def test_vendor_data(self, write: Any, name: str) -> None:
        text = "#cloud-config\ntimezone: Europe/Berlin\nswap: 5\n"
        inner = {"cloud-init": text}
        document = inner if name == "vendor_data.json" else {"static": inner}
        shown = rig.agent("validate", write(name, json.dumps(document)))
        assert (shown.status, shown.out.count("error: ")) == (1, 1)
        assert f": {name}: " in shown.out
        assert "Europe/Berlin" in shown.out

    @pytest.mark.parametrize("name", ["meta_data.json", "network_data.json"])
    def test_what_is_no_json(self, write: Any, name: str) -> None:
        shown = rig.agent("validate", write(name, "{"))
        assert shown.status == 1
        assert f": {name}: not JSON" in shown.out


def test_warnings_alone_are_no_failure(write: Any) -> None:
    status, (answer,) = verdict(write("a", "#cloud-config\nhostnam: a\nhostname: b\n"))
    assert (status, answer["warnings"], answer["errors"]) == (0, 1, 0)


def test_the_answer_for_programs(write: Any) -> None:
    path = write("bad.yaml", BAD)
    status, (answer,) = verdict(path)
    assert status == 1
    assert {key: answer[key] for key in ("file", "errors", "warnings", "without_effect")} == {
        "file": str(path),
        "errors": 3,
        "warnings": 2,
        "without_effect": [],
    }
    assert [
        (problem["severity"], problem["source"], problem["document"], problem["key"])
        for problem in answer["problems"]
        if problem["key"].startswith("swap")
    ] == [("error", str(path), "", "swap (line 7, column 1)")]
    assert answer["changes"][0]["path"] == "/etc/hostname"
    assert answer["changes"][0]["content"] == "web1\n"
    assert answer["changes"][0]["why"]["key"] == "hostname (line 2, column 1)"


def test_several_files_are_told_of_one_by_one_and_one_bad_one_makes_the_status(write: Any) -> None:
    good, bad = write("good", "#cloud-config\nhostname: a\n"), write("bad", "#cloud-config\n- a\n")
    status, answers = verdict(good, bad, good)
    assert (status, [answer["errors"] for answer in answers]) == (1, [0, 1, 0])
    out = rig.agent("validate", good, bad).out
    assert out.index(f"{good}: 3 things to do\n") < out.index(f"\n{bad}: nothing to do, 1 error\n")
    assert verdict(good, good)[0] == 0


def test_a_dash_reads_standard_input() -> None:
    done = run("validate", "-", content=CONFIG.encode())
    assert (done.status, done.out.splitlines()[0]) == (0, "standard input: 8 things to do")


def test_closed_standard_input_is_an_error_of_that_file() -> None:
    done = run("validate", "-", before=("sh", "-c", 'exec "$0" "$@" <&-'))
    assert done.status == 1
    assert "error: standard input: cannot be read: " in done.out


def test_a_file_that_cannot_be_read_is_an_error_and_the_others_count(
    write: Any, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    good = write("good", "#cloud-config\nhostname: a\n")
    paths = [tmp_path / "none", tmp_path, tmp_path / "fifo", Path("/dev/null"), good]
    status, answers = verdict(*paths)
    reasons = [[problem["reason"] for problem in answer["problems"]] for answer in answers]
    assert status == 1
    assert reasons[0] == ["cannot be read: No such file or directory"]
    assert reasons[1] == ["cannot be read: Is a directory"]
    assert reasons[2] == reasons[3]
    assert reasons[2] == ["cannot be read: not a regular file; - reads standard input"]
    assert reasons[4] == []
    assert answers[4]["changes"]


def test_a_file_without_permission_is_an_error(write: Any) -> None:
    path = write("secret", CONFIG)
    path.chmod(0)
    done = powerless("validate", str(path))
    assert done.status == 1
    assert "error: " in done.out
    assert "cannot be read: Permission denied" in done.out


def test_a_file_that_is_too_large_is_an_error_and_not_read_whole(write: Any) -> None:
    limit = defs.USER_DATA_LIMIT
    fits = write("fits", b"#!/bin/sh\n" + b"#" * (limit - 10))
    over = write("over", b"#!/bin/sh\n" + b"#" * (limit - 9))
    os.truncate(write("vast", "#!/bin/sh\n"), 1 << 40)
    status, answers = verdict(fits, over, over.with_name("vast"))
    assert (status, [answer["errors"] for answer in answers]) == (1, [0, 1, 1])
    assert answers[2]["problems"][0]["reason"] == "is larger than 1 MiB"


@pytest.mark.parametrize("content", [b"", b" \n\t\n", b"#cloud-config\n", b"\xef\xbb\xbf"])
def test_an_empty_document_asks_for_nothing(write: Any, content: bytes) -> None:
    path = write("empty", content)
    done = rig.agent("validate", path)
    assert (done.status, done.out) == (0, f"{path}: nothing to do\n")


@pytest.mark.parametrize("content", [os.urandom(512) + b"\x00", b"\x00" * 99, b"\xff\xfe#\x00"])
def test_junk_is_an_error(write: Any, content: bytes) -> None:
    status, (answer,) = verdict(write("junk", content))
    assert (status, answer["errors"], answer["changes"]) == (1, 1, [])


def test_a_script_will_run_late_and_its_text_is_not_shown(write: Any) -> None:
    path = write("a.sh", SCRIPT)
    done = rig.agent("validate", path)
    assert done.status == 0
    assert done.out.splitlines()[0] == f"{path}: 1 thing to do"
    assert "# late, once per instance: run part-001" in done.out
    assert "CANARY" not in done.out


@pytest.mark.parametrize("content", [ARCHIVE, MIME.replace('fqdn: "no name"\n', "")])
def test_parts_are_planned_in_every_packing(write: Any, content: str) -> None:
    packed = gzip.compress(content.encode())
    forms = [content.encode(), packed, base64.b64encode(packed), base64.b64encode(content.encode())]
    status, answers = verdict(*(write(f"{n}", form) for n, form in enumerate(forms)))
    assert status == 0
    assert [answer["changes"][-1]["path"].partition("late/50")[1] for answer in answers] == [
        "late/50" for _ in forms
    ]
    plans = [summaries(answer) for answer in answers]
    assert plans == [plans[0]] * len(forms)
    assert "late, once per instance: run setup.sh" in plans[0]


def test_an_error_in_a_part_names_the_part(write: Any) -> None:
    status, (answer,) = verdict(write("a", MIME))
    assert status == 1
    (problem,) = answer["problems"]
    assert problem["key"] == 'part 3 "users.cfg": fqdn (line 2, column 1)'


def test_keys_that_change_nothing_are_told(write: Any) -> None:
    text = "#cloud-config\npreserve_hostname: false\nhostname: a\npackage_update: false\n"
    path = write("a", text)
    assert verdict(path)[1][0]["without_effect"] == ["preserve_hostname", "package_update"]
    line = "keys without effect: preserve_hostname, package_update\n"
    assert line in rig.agent("validate", path).out


@pytest.mark.parametrize(
    "text",
    [
        "manage_etc_hosts: false",
        "allow_public_ssh_keys: false",
        "preserve_hostname: true",
        "prefer_fqdn_over_hostname: true",
        "disable_root: false",
        "ssh_deletekeys: false",
        "growpart: {mode: off}",
    ],
)
def test_keys_that_only_change_what_happens_anyway_have_an_effect(write: Any, text: str) -> None:
    status, (answer,) = verdict(write("a", f"#cloud-config\n{text}\n"))
    assert (status, answer["without_effect"], answer["errors"]) == (0, [], 0)


SECRETS = """\
#cloud-config
password: CANARY1
chpasswd:
  users:
  - {name: root, password: CANARY2, type: text}
  - {name: games, password: $6$salt$CANARY3CANARY3}
  list: ["mail:CANARY4"]
users:
- {name: a, plain_text_passwd: CANARY5, lock_passwd: false}
- {name: b, passwd: $6$salt$CANARY6, hashed_passwd: $6$CANARY7}
- {name: "CANARY8 \\n", uid: CANARY9}
runcmd: [echo CANARY10, [curl, CANARY11]]
bootcmd: ["mysql -p CANARY12", {a: CANARY13}]
write_files:
- {path: /etc/secret, content: CANARY14, permissions: "0600"}
- {path: /etc/late, content: CANARY15, permissions: "0600", defer: true}
- {path: /etc/coded, content: CANARY16, encoding: base64}
- {path: "CANARY17", content: ""}
ssh_keys: {rsa_private: CANARY18, ed25519_public: CANARY19}
ssh_authorized_keys: [CANARY20]
phone_home: {url: "https://user:CANARY21@example.org/?token=CANARY22"}
power_state: {mode: CANARY23, condition: CANARY24}
apt:
  proxy: "http://user:CANARY25@proxy:3128"
  sources: {a: {source: "CANARY26", key: CANARY27}}
ca_certs: {trusted: [CANARY28]}
ntp: {servers: ["CANARY 29"]}
locale: "CANARY 30"
swap: {size: CANARY31}
mounts: [["CANARY\\n32", /x]]
? [CANARY33]
: x
"""


@pytest.mark.parametrize("dropped", [2, 0])
def test_nothing_secret_is_printed(write: Any, dropped: int) -> None:
    lines = SECRETS.splitlines(keepends=True)
    path = write("a", "".join(lines[: len(lines) - dropped]))
    for form in ((), ("--json",)):
        done = rig.agent("validate", path, *form)
        assert done.status == 1
        assert "CANARY" not in done.out + done.err
    assert len(verdict(path)[1][0]["problems"]) >= (10 if dropped else 1)


def test_the_name_of_a_file_cannot_drive_a_terminal(write: Any) -> None:
    done = rig.agent("validate", write("a\x1b[31m\n", "#cloud-config\nhostname: a b\n"))
    assert "\x1b" not in done.out
    assert "\\x1b[31m\\n: nothing to do, 1 error\n" in done.out


def test_neither_root_nor_capabilities_are_needed(write: Any) -> None:
    path = write("a", CONFIG)
    assert powerless("validate", str(path)) == rig.agent("validate", path)


@pytest.mark.parametrize(
    "arguments",
    [("validate",), ("validate", "--root", "/x", "a"), ("schema", "a"), ("validate", "-x")],
)
def test_a_wrong_command_line(arguments: tuple[str, ...]) -> None:
    done = rig.agent(*arguments)
    assert (done.status, done.out) == (defs.EXIT_USAGE, "")
    assert done.err.startswith("guestagent: error: ")


def test_schema_prints_one_json_schema_that_is_made_for_reading() -> None:
    done = rig.agent("schema")
    assert (done.status, done.err) == (0, "")
    schema = json.loads(done.out)
    assert done.out.startswith('{\n  "$schema": "http://json-schema.org/draft-07/schema#",\n')
    assert {"users", "runcmd", "write_files"} <= schema["properties"].keys()
