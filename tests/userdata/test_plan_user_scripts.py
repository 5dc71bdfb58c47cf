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
from userdata.planning import apply_twice, clean_plan, dry_run, make_drive, places, plan_of, steps

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
    assert script == b"#!/bin/sh\necho $((1 + 1)) | tr 2 3\n'echo' '5' 'a b'\nfalse\necho last\n"
    assert run(script, tmp_path / "empty") == "3\n5 a b\nlast\n"


def test_a_command_of_many_lines_is_one_text_for_the_shell(tmp_path: Path) -> None:
    text = "runcmd:\n- |\n  if true; then\n    echo yes\n  fi\n- cat <<E\n\n  a\n\n  E\n"
    assert run(step(text, "late/50-instance-runcmd").content, tmp_path / "empty") == "yes\na\n"


def test_bootcmd_is_run_early_at_each_boot() -> None:
    found = step("bootcmd: ['echo a', [echo, b]]\n", "early/20-boot-bootcmd")
    assert found.content == b"#!/bin/sh\necho a\n'echo' 'b'\n"
    assert found.why.key == "bootcmd (line 2, column 1)"
    assert found.secret


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
        ("late/50-instance-runcmd", b"#!/bin/sh\n'echo' 'hush'\n"),
        ("early/20-boot-bootcmd", b"#!/bin/sh\necho hush\n"),
    ):
        file = guest / "var/lib/guestagent" / name
        assert (file.read_bytes(), file.stat().st_mode & 0o777) == (content, 0o700)
        assert file.parents[1].stat().st_mode & 0o777 == 0o700
    assert places(plan["problems"]) == []
