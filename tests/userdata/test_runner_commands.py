"""runcmd and bootcmd while they run: each command that fails is named, and the script stays one."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guestagent import defs
from guestagent.plan.commands import Command, join, split
from guestagent.scripts.commands import Failure, Watch, last_noted
from guestagent.system.root import Root
from userdata.planning import clean_plan, steps

from .stage import Stage

NAME = "50-instance-runcmd"
OUTPUT = (
    "its output is in /var/log/guestagent-scripts.log and in journalctl -u guestagent-late.service"
)
SHELLS = [path for name in ("dash", "bash") if (path := shutil.which(name))]


def put(stage: Stage, *commands: str, first_line: int = 3) -> None:
    """Stage the commands as runcmd of a document with one line for each."""
    found = [
        Command(text, f"user_data: runcmd[{number}]", first_line + number)
        for number, text in enumerate(commands)
    ]
    path = stage.file(NAME)
    path.write_bytes(join(found))
    path.chmod(0o700)


def failed(stage: Stage) -> list[tuple[str, int, int | str]]:
    script = stage.report()["scripts"][0]
    return [
        (command["place"].partition(": ")[2], command["line"], command["status"])
        for command in script["failed_commands"]
    ]


def reasons(stage: Stage) -> list[tuple[str, str]]:
    return [(found["severity"], found["reason"]) for found in stage.report()["problems"]]


def printed(stage: Stage) -> list[str]:
    """What is in the log, without the headers of scripts."""
    return stage.log.read_text().splitlines()[1:]


class TestWhatIsSaid:
    def test_all_commands_run_and_each_that_failed_is_named(self, stage: Stage) -> None:
        put(stage, "echo one", "false", "'/bin/sh' '-c' 'exit 3'", "echo four")
        done = stage.run()
        assert done.returncode == 0  # as the script itself ended
        assert printed(stage) == [
            "one",
            "== user_data: runcmd[1]: exit status 1",
            "== user_data: runcmd[2]: exit status 3",
            "four",
        ]
        assert (stage.results(), stage.report()["exit_status"]) == ({NAME: 0}, 0)
        assert failed(stage) == [("runcmd[1]", 4, 1), ("runcmd[2]", 5, 3)]
        went_on = f"and the commands after it were run; {OUTPUT}"
        assert reasons(stage) == [
            ("warning", f"user_data: runcmd[1]: exit status 1, {went_on}"),
            ("warning", f"user_data: runcmd[2]: exit status 3, {went_on}"),
        ]
        assert f"warning: scripts: late: {NAME}: user_data: runcmd[1]: exit status 1" in done.stderr

    def test_the_last_command_is_an_error_as_the_script_fails(self, stage: Stage) -> None:
        put(stage, "true", "(exit 7)")
        assert stage.run().returncode == 1
        assert (stage.results(), stage.report()["exit_status"]) == ({NAME: 7}, 1)
        assert failed(stage) == [("runcmd[1]", 4, 7)]
        assert reasons(stage) == [("error", f"user_data: runcmd[1]: exit status 7; {OUTPUT}")]

    @pytest.mark.parametrize(
        ("commands", "status"),
        [
            (["echo a", "exit 3", "echo b", "echo c"], 3),
            (["set -e", "(exit 4)", "echo b", "echo c"], 4),
            (["echo a", "exec sh -c 'exit 5'", "echo b", "echo c"], 5),
            (["echo a", "kill -9 $$", "echo b", "echo c"], -9),
            (["echo a", "echo )", "echo b", "echo c"], 2),
            (["echo a", "return 6", "echo b", "echo c"], 6),
            (["trap 'echo bye' EXIT", "exit 8", "echo b", "echo c"], 8),
        ],
    )
    def test_the_command_that_ends_the_script_is_named(
        self, stage: Stage, commands: list[str], status: int
    ) -> None:
        put(stage, *commands)
        assert stage.run().returncode == 1
        assert stage.results() == {NAME: status}
        ((place, line, how),) = failed(stage)
        assert (place.split()[0], line, how) == ("runcmd[1]", 4, status)
        how_said = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        ((severity, reason),) = reasons(stage)
        assert severity == "error"
        if commands[1] == "echo )":  # the shell reads nothing after it
            assert reason == f"user_data: runcmd[1] to user_data: runcmd[3]: {how_said}; {OUTPUT}"
        else:
            rest = "; commands after it that were not run: 2"
            assert reason == f"user_data: runcmd[1]: {how_said}{rest}; {OUTPUT}"
        assert "b" not in printed(stage)

    def test_an_end_that_is_meant_is_no_failure(self, stage: Stage) -> None:
        put(stage, "echo a", "exit 0", "echo b")
        assert stage.run().returncode == 0
        assert (failed(stage), reasons(stage), printed(stage)) == ([], [], ["a"])

    def test_the_command_that_took_too_long_is_named(self, stage: Stage) -> None:
        put(stage, "false", "echo a; sleep 60", "echo b")
        assert stage.run(limit=1).returncode == 1
        assert failed(stage) == [("runcmd[0]", 3, 1), ("runcmd[1]", 4, "timeout")]
        rest = "commands after it that were not run: 1"
        assert reasons(stage)[1] == (
            "error",
            f"user_data: runcmd[1]: took longer than 1 s; {rest}; {OUTPUT}",
        )

    def test_where_a_trap_makes_the_status_no_command_is_blamed(self, stage: Stage) -> None:
        put(stage, "trap 'exit 9' EXIT", "true")
        assert stage.run().returncode == 1
        assert (failed(stage), reasons(stage)) == ([], [("error", "exit status 9")])

    def test_B2_the_text_of_a_command_is_in_no_report(self, stage: Stage) -> None:
        text = "runcmd:\n- PASSWORD=canary false\n- [sh, -c, exit 3, canary]\n- exit 4 # canary\n"
        content = steps(clean_plan(text))["late/50-instance-runcmd"].content
        stage.file(NAME).write_bytes(content)
        stage.file(NAME).chmod(0o700)
        done = stage.run()
        assert [status for _, _, status in failed(stage)] == [1, 3, 4]
        assert "canary" not in done.stderr + stage.path(defs.REPORT_FILE).read_text()

    def test_of_very_many_the_last_are_listed_and_the_others_counted(self, stage: Stage) -> None:
        put(stage, *["false"] * 130)
        stage.run()
        assert len(failed(stage)) == 100
        assert reasons(stage)[-1] == ("warning", "commands before these that failed, too: 30")

    def test_a_later_run_replaces_what_was_said(self, stage: Stage) -> None:
        put(stage, "false", "true")
        stage.file(NAME).rename(stage.file("50-boot-runcmd"))
        stage.run()
        assert len(reasons(stage)) == 1
        stage.file("50-boot-runcmd").write_bytes(join([Command("true", "here", 1)]))
        stage.run()
        assert reasons(stage) == []

    def test_they_run_also_where_they_cannot_be_watched(self, stage: Stage) -> None:
        put(stage, "false", "echo a")
        stage.path(f"{defs.RUN_DIR}/{NAME}").mkdir(parents=True)
        done = stage.run()
        assert (done.returncode, printed(stage), failed(stage)) == (0, ["a"], [])
        assert f"warning: {NAME}: not known which commands fail: Is a directory" in done.stderr

    def test_nothing_is_left_in_run(self, stage: Stage) -> None:
        put(stage, f"ls -l {stage.path(defs.RUN_DIR)}", "ls -l /proc/self/fd/")
        stage.run()
        (line,) = [line for line in printed(stage) if NAME in line]
        assert line.startswith("-rwx------")
        assert not any("guestagent-notes" in line for line in printed(stage))
        assert not stage.path(f"{defs.RUN_DIR}/{NAME}").exists()


class TestStopping:
    def test_by_setting_the_first_that_fails_is_the_last(self, stage: Stage) -> None:
        put(stage, "echo a", "(exit 3)", "echo b", "echo c")
        stage.put("60-instance-next")
        assert stage.run(stop=True).returncode == 1
        assert printed(stage)[:2] == ["a", "== user_data: runcmd[1]: exit status 3"]
        assert "b" not in printed(stage)
        assert stage.results() == {NAME: 3, "60-instance-next": 0}
        assert failed(stage) == [("runcmd[1]", 4, 3)]
        rest = "commands after it that were not run: 2"
        assert reasons(stage) == [
            ("error", f"user_data: runcmd[1]: exit status 3; {rest}; {OUTPUT}")
        ]

    def test_nothing_else_changes(self, stage: Stage) -> None:
        put(stage, "! false", "false || true", "if false; then true; fi", "echo end")
        assert stage.run(stop=True).returncode == 0
        assert printed(stage) == ["end"]


class TestSystemThatStopped:
    def test_the_next_boot_tells_which_command_ran_and_where_its_output_is(
        self, stage: Stage
    ) -> None:
        # Runner and shell are killed, as by a power cut.
        kill = f"kill -9 $(cat {stage.tree}/pid) $$"
        put(stage, "echo one", "false", kill, "echo four")
        runner = subprocess.Popen(
            ["/bin/sh", "-c", f'echo $$ >{stage.tree}/pid; exec "$@"', "sh", *stage.command()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert runner.wait(30) == -signal.SIGKILL
        stage.boot("boot-2")
        assert stage.run().returncode == 1
        assert stage.results() == {NAME: "interrupted"}
        where = "the system stopped while it ran, at user_data: runcmd[2] or after it"
        reason = f"interrupted: {where}; it is not run again; {OUTPUT}"
        assert reasons(stage) == [("error", reason)]
        assert not stage.path(defs.COMMANDS_FILE).exists()

    def test_notes_of_another_script_tell_nothing(self, stage: Stage) -> None:
        commands = [Command("true", f"place {number}", number) for number in range(3)]
        root = Root(str(stage.tree))
        notes = stage.path(defs.COMMANDS_FILE)
        for content, place in (
            ("title\n0 0\n", "place 1"),
            ("title\n0 0\n1 1\n", "place 2"),
            ("title\n0 0\n1 1\n2 0\n", ""),
            ("title\n0 0\n7 7\n", "place 1"),
            ("title\n0 0\n\0\0\0", "place 1"),
            ("title\n", ""),
            ("", ""),
            ("other\n0 0\n", ""),
        ):
            notes.write_text(content)
            assert last_noted(root, "title", commands) == place, content
        notes.unlink()
        assert last_noted(root, "title", commands) == ""


def plain(script: bytes, folder: Path, shell: str) -> tuple[int, list[bytes]]:
    """How a script ends by itself, and what it prints."""
    path = folder / "script"
    path.write_bytes(script)
    done = subprocess.run(
        [shell, path], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
    )
    return done.returncode, without_messages(done.stdout)


def without_messages(output: bytes) -> list[bytes]:
    """The lines of an output but for those in which the shell names its script and the line."""
    return [line for line in output.split(b"\n") if not re.match(rb"/tmp/.*: (line )?\d+: ", line)]


def watched(
    commands: list[Command], folder: Path, shell: str
) -> tuple[int, list[bytes], list[Failure]]:
    """The same while its commands are watched."""
    watch = Watch(Root(str(folder)), "commands", commands, None, stop=False)
    try:
        done = subprocess.run(
            [shell, watch.path],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
        )
        status = done.returncode
        return status, without_messages(done.stdout), watch.failures(status)
    finally:
        watch.close()


# Each one stands for a way in which commands depend on those before or after them.
SCRIPTS = {
    "variables": ["A=1; export A", "sh -c 'echo $A'", "echo $A"],
    "directory": ["cd /tmp", "pwd", "cd", "pwd"],
    "functions": ["f() { echo f $1; return 2; }", "f a", "f b || echo c"],
    "status": ["false", "echo $?", "(exit 5)", "echo $?", "true", "echo $?"],
    "errexit": ["set -e", "! true", "echo $?", "false || echo b", "false", "echo c"],
    "unset": ["set -u", "echo $NOTHING", "echo after"],
    "no globs": ["set -f; IFS=0123456789", "(exit 123)", "echo /*", "echo $?"],
    "output": ["exec >out 2>&1", "echo hidden", "exec >/dev/stdout", "false"],
    "positions": ["set -- a b", "echo $# $1", "shift", "echo $# $1"],
    "if over several": ["if true; then", "echo a", "else", "echo b", "fi", "echo c"],
    "loop over several": ["for i in 1 2; do", "echo $i", "false", "done", "echo c"],
    "case over several": ["case a in", "a) echo x;;", "esac"],
    "here-document over several": ["cat <<END", "a $HOME", "false", "END", "echo c"],
    "here-document without its end": ["cat <<END", "a", "b"],
    "here-document in one": ["cat <<END\na\nEND\n", "cat <<-'END'\n\t$b\n\tEND", "echo c"],
    "quotes over several": ["echo 'a", "b'", 'echo "', '"', "echo c"],
    "continued": ["echo a \\", "b", "echo a |", "cat", "true &&", "echo d"],
    "comments": ["# nothing", "", "echo a # b", "# c \\", "echo d", "   "],
    "braces": ["{ echo a; }", "(echo b)", "{", "echo c", "}", "echo }", "echo {"],
    "not a script": ["echo a", "}", "echo b"],
    "closes what is around it": ["echo a", "true\n}\n{ true", "echo b"],
    "in the background": ["sleep 0 &", "wait $!", "echo $?"],
    "exit in a subshell": ["(exit 3)", "echo a", "sh -c 'exit 4'", "echo b"],
    "trap": ["trap 'echo bye $?' EXIT", "false", "echo a", "(exit 6)"],
    "alias": ["alias x='echo aliased'", "x", "echo c"],
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_watched_script_does_what_it_does_by_itself(
    tmp_path: Path, name: str, shell: str
) -> None:
    commands = [Command(text, str(n), n) for n, text in enumerate(SCRIPTS[name])]
    status, output = plain(
        b"\n".join(text.text.encode() for text in commands) + b"\n", tmp_path, shell
    )
    assert watched(commands, tmp_path, shell)[:2] == (status, output)


PIECES = [
    "if true; then",
    "false",
    "fi",
    "echo a",
    "cat <<X",
    "X",
    "'",
    '"',
    "(",
    ")",
    "{",
    "}",
    "#",
]
PIECES += [
    "echo $?",
    "echo b \\",
    "a=b",
    "for i in 1; do",
    "done",
    "true &&",
    "\n",
    "exit 3",
    "set -e",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6))
def test_a_script_of_any_pieces_does_what_it_does_by_itself(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    commands = [Command(text, str(n), n) for n, text in enumerate(pieces)]
    status, output = plain(b"\n".join(p.encode() for p in pieces) + b"\n", folder, "/bin/sh")
    assert watched(commands, folder, "/bin/sh")[:2] == (status, output)


def test_a_script_that_could_not_be_started_blames_no_command(tmp_path: Path) -> None:
    watch = Watch(Root(str(tmp_path)), "x", [Command("false", "here", 1)], None, stop=False)
    assert watch.failures("not started") == []
    assert [failure.place for failure in watch.failures("timeout")] == ["here"]
    watch.close()


def test_places_are_those_of_the_document() -> None:
    text = "timezone: Etc/UTC\nruncmd:\n- null\n- echo one\n- |\n  a\n  b\n- [c, d]\n"
    found = split(steps(clean_plan(text))["late/50-instance-runcmd"].content)
    assert [(command.text, command.line) for command in found] == [
        ("echo one", 5),
        ("a\nb\n", 6),
        ("'c' 'd'", 9),
    ]
    assert [command.place for command in found][:2] == [
        "user_data: runcmd[1] (line 5, column 3)",
        "user_data: runcmd[2] (line 6, column 3)",
    ]


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(), st.integers(0, 9))))
def test_a_script_of_commands_can_be_taken_apart(parts: list[tuple[str, str, int]]) -> None:
    commands = [Command(text, place.replace("\0", ""), line) for text, place, line in parts]
    assert split(join(commands)) == commands


@pytest.mark.parametrize(
    "script",
    [
        b"#!/bin/sh\necho a\n",
        b"#!/bin/sh\n# guestagent: [\necho a\n",
        b'#!/bin/sh\n# guestagent: [[2, "", 1]]\necho a\n',
        b'#!/bin/sh\n# guestagent: [[-1, "", 1]]\necho a\n',
        b"#!/bin/sh\n# guestagent: [5, [1]]\necho a\n",
        b'#!/bin/sh\n# guestagent: [[1, "", 1]]\n\xff\n',
    ],
)
def test_what_is_none_runs_as_it_is(stage: Stage, script: bytes) -> None:
    assert split(script) == []
