"""bootcmd, runcmd and scripts: the steps they become, run by real shells."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import rig
from hypothesis import given
from hypothesis import strategies as st

from guestagent.desired.shell_quoting import quote, quote_command
from guestagent.errors import FieldError
from guestagent.plan.kinds.script import Script
from userdata.part_samples import heat
from userdata.planning import (
    SETTINGS,
    apply_twice,
    clean_plan,
    dry_run,
    files,
    make_drive,
    places,
    plan_of,
    steps,
)

EVIL = ["a'b", 'a"b', "$(touch evil)", "`touch evil`", "$HOME", "a\nb", "\\", "*", "", "-n", "é"]
SHELLS = [name for name in ("sh", "dash", "bash") if shutil.which(name)]
BOUNDARY = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=X\n\n"


def step(text: str, name: str) -> Script:
    """The one step of text in which nothing is wrong."""
    found = steps(clean_plan(text))
    assert list(found) == [name]
    return found[name]


def run(script: bytes, folder: Path, shell: str = "sh") -> str:
    """What a script writes, run in an empty folder, in which nothing else may come to be."""
    folder.mkdir(exist_ok=True)
    (folder.parent / "script").write_bytes(script)
    subprocess.run([shell, "-n", folder.parent / "script"], check=True)
    done = subprocess.run(
        [shell, folder.parent / "script"], cwd=folder, capture_output=True, timeout=20
    )
    assert list(folder.iterdir()) == []
    return done.stdout.decode()


@given(st.lists(st.text(st.characters(blacklist_characters="\0", codec="utf-8")), min_size=1))
def test_quoted_words_reach_a_program_as_they_are(words: list[str]) -> None:
    script = quote_command(["printf", "%s\\0", *words]).encode()
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stdout == b"".join(word.encode() + b"\0" for word in words)


def test_no_word_can_hold_a_nul() -> None:
    with pytest.raises(FieldError):
        quote("a\0b")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_words_of_a_list_are_never_read_by_the_shell(tmp_path: Path, shell: str) -> None:
    text = f"runcmd: [{json.dumps(['printf', '<%s>', *EVIL])}]\n"
    script = step(text, "late/50-instance-runcmd").content
    assert run(script, tmp_path / "empty", shell) == "".join(f"<{word}>" for word in EVIL)


def test_commands_are_a_script_as_cloud_init_writes_it(tmp_path: Path) -> None:
    text = "runcmd:\n- echo $((1 + 1)) | tr 2 3\n- null\n- [echo, 5, a b]\n- 'false'\n- echo last\n"
    script = step(text, "late/50-instance-runcmd").content
    first, places, commands = script.split(b"\n", 2)
    assert (first, places[:13]) == (b"#!/bin/sh", b"# guestagent:")
    assert commands == b"echo $((1 + 1)) | tr 2 3\n'echo' '5' 'a b'\nfalse\necho last\n"
    assert run(script, tmp_path / "empty") == "3\n5 a b\nlast\n"


def test_a_command_of_many_lines_is_one_text_for_the_shell(tmp_path: Path) -> None:
    text = "runcmd:\n- |\n  if true; then\n    echo yes\n  fi\n- cat <<E\n\n  a\n\n  E\n"
    assert run(step(text, "late/50-instance-runcmd").content, tmp_path / "empty") == "yes\na\n"


def test_bootcmd_is_run_early_at_each_boot() -> None:
    found = step("bootcmd: ['echo a', [echo, b]]\n", "early/20-boot-bootcmd")
    assert found.content == (
        b'#!/bin/sh\n# guestagent: [[1, "user_data: bootcmd[0] (line 2, column 11)", 2], '
        b'[1, "user_data: bootcmd[1] (line 2, column 21)", 2]]\n'
        b"echo a\n'echo' 'b'\n"
    )
    assert found.why.key == "bootcmd (line 2, column 1)"
    assert found.secret


def test_bootcmd_is_run_late_where_the_image_says_so() -> None:
    settings = SETTINGS._replace(scripts_bootcmd="late")
    text = "bootcmd: [curl http://192.0.2.1/]\nruncmd: [echo a]\n"
    found = steps(clean_plan(text, settings=settings))
    assert list(found) == ["late/05-boot-bootcmd", "late/50-instance-runcmd"]


@pytest.mark.parametrize(
    "command",
    [
        "curl -fsS http://192.0.2.1/ -o /etc/x",
        "[sh, -c, 'a=$(/usr/bin/wget -qO- 192.0.2.1) || exit 0']",
        "apt-get update; true",
        "|\n  if true; then\n    git clone x\n  fi",
    ],
)
def test_a_bootcmd_that_seems_to_need_the_network_is_a_warning(command: str) -> None:
    text = f"bootcmd:\n- echo a\n- {command}\n- dnf -y update\nruncmd: [curl x]\n"
    resources, problems = plan_of(text)
    assert "early/20-boot-bootcmd" in steps(resources)
    assert [(found.severity, found.key) for found in problems] == [
        ("warning", "bootcmd[1] (line 4, column 3)")
    ]
    assert 'scripts.bootcmd = "late"' in problems[0].reason


def test_other_commands_of_bootcmd_are_none() -> None:
    text = (
        "bootcmd:\n- echo deb http://192.0.2.1/ stable main >/etc/apt/sources.list\n"
        "- [cloud-init-per, once, x, mkdir, -p, /etc/apt/y, /opt/curling]\n"
        "- systemctl mask apt-daily.timer\n"
    )
    assert len(steps(clean_plan(text))) == 1


def test_what_heat_s_tools_read_is_written_for_root_alone_and_not_shown() -> None:
    script = ("#!/bin/sh\nexit 0\n", "cfn-userdata", "x-cfninitdata")
    secret = ("[Boto]\nsecret = hush\n", "../cfn-boto-cfg", "x-cfninitdata")
    resources, problems = plan_of(heat(script, secret))
    assert [item.severity for item in problems] == ["warning"]
    found = {
        path: (file.content, file.mode, file.owner, file.secret)
        for path, file in files(resources).items()
        if "heat" in path
    }
    assert found == {
        "/var/lib/heat-cfntools/cfn-init-data": (b'{"os-collect-config": {}}', 0o600, "", True),
        "/var/lib/heat-cfntools/cfn-boto-cfg": (b"[Boto]\nsecret = hush\n", 0o600, "", True),
    }
    assert list(steps(resources)) == [
        "early/10-boot-01-boothook.sh",
        "late/50-instance-cfn-userdata",
    ]


def test_a_boolean_in_place_of_a_program_runs_as_with_cloud_init_and_is_an_error() -> None:
    resources, problems = plan_of("runcmd:\n- echo a\n- [false]\n- echo b\n")
    assert steps(resources)["late/50-instance-runcmd"].content.endswith(b"\n'False'\necho b\n")
    assert [(found.severity, found.key) for found in problems] == [
        ("warning", "runcmd[1][0] (line 4, column 4)"),
        ("error", "runcmd[1] (line 4, column 3)"),
    ]


def test_a_list_without_commands_is_no_step() -> None:
    assert steps(clean_plan("runcmd: []\nbootcmd: [null]\n")) == {}


@pytest.mark.parametrize("bad", ['"a\\0b"', "[a, {}]", "{a: b}", "5", '[a, "b\\0"]'])
def test_a_bad_command_spoils_its_key_and_no_other(bad: str) -> None:
    resources, problems = plan_of(f"runcmd:\n- echo 1\n- {bad}\n- echo 3\nbootcmd: [echo 4]\n")
    assert list(steps(resources)) == ["early/20-boot-bootcmd"]
    (problem,) = problems
    assert problem.severity == "error"
    assert problem.key.startswith("runcmd[1]")
    assert "(line 4, column " in problem.key


def part(kind: str, name: str, body: str) -> str:
    """A part of a MIME message."""
    disposition = f'Content-Disposition: attachment; filename="{name}"\n' if name else ""
    return f"--X\nContent-Type: text/{kind}\n{disposition}\n{body}\n"


def test_scripts_are_steps_by_their_kinds() -> None:
    parts = [
        part("x-shellscript", "", "#!/bin/sh\necho a"),
        part("x-shellscript", "z.sh", "#!/usr/bin/python3\nprint(1)"),
        part("x-shellscript-per-boot", "b", "#!/bin/sh"),
        part("x-shellscript-per-instance", "i", "#!/bin/sh"),
        part("x-shellscript-per-once", "o", "#!/bin/sh"),
        part("cloud-boothook", "second", "#!/bin/sh"),
        part("cloud-boothook", "first", "#!/bin/sh"),
    ]
    found = steps(clean_plan(f"{BOUNDARY}{''.join(parts)}--X--\n".encode()))
    assert list(found) == [
        "early/10-boot-01-second",
        "early/10-boot-02-first",
        "late/41-once-o",
        "late/42-boot-b",
        "late/43-instance-i",
        "late/50-instance-part-001",
        "late/50-instance-z.sh",
    ]
    assert found["late/50-instance-z.sh"].content.startswith(b"#!/usr/bin/python3\nprint(1)")
    assert all(step.secret for step in found.values())


def test_a_script_named_as_runcmd_s_does_not_take_its_place() -> None:
    config = "--X\nContent-Type: text/cloud-config\n\nruncmd: [echo a]\n"
    text = f"{BOUNDARY}{config}{part('x-shellscript', 'runcmd', '#!/bin/sh')}--X--\n"
    found = steps(clean_plan(text.encode()))
    assert list(found) == ["late/50-instance-runcmd", "late/50-instance-runcmd_"]


def test_a_vendor_s_scripts_run_before_the_user_s() -> None:
    vendor = {"cloud-init": "#!/bin/sh\necho vendor\n"}
    found = steps(clean_plan(b"#!/bin/sh\necho user\n", vendor=vendor))
    assert sorted(found) == [
        "late/40-instance-vendor_data.json-part-001",
        "late/50-instance-part-001",
    ]


def test_a_vendor_s_boothook_and_the_user_s_both_count() -> None:
    hook = "#cloud-boothook\n#!/bin/sh\necho a\n"
    found = steps(clean_plan(hook.encode(), vendor={"cloud-init": hook}))
    assert list(found) == [
        "early/10-boot-01-vendor_data.json-part-001",
        "early/10-boot-02-part-001",
    ]


def test_on_a_tree_steps_are_staged_and_not_shown(guest: Path, tmp_path: Path) -> None:
    rig.need_root()
    drive = make_drive(tmp_path, "runcmd:\n- [echo, hush]\nbootcmd:\n- echo hush\n")
    plan = dry_run(drive, guest)
    assert "hush" not in json.dumps(plan)
    summaries = {change["summary"] for change in plan["changes"]}
    assert {"late, once per instance: run runcmd", "early, at each boot: run bootcmd"} <= summaries
    apply_twice(drive, guest)
    for name, content in (
        ("late/50-instance-runcmd", b"'echo' 'hush'\n"),
        ("early/20-boot-bootcmd", b"echo hush\n"),
    ):
        file = guest / "var/lib/guestagent" / name
        assert file.read_bytes().endswith(b"]\n" + content)
        assert file.stat().st_mode & 0o777 == 0o700
        assert file.parents[1].stat().st_mode & 0o777 == 0o700
    assert places(plan["problems"]) == []
