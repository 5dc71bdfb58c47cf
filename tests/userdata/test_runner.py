"""The runner of staged scripts: order, environment, output, results, how often."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.report.run import Report, as_json
from guestagent.scripts.process import command_line
from guestagent.system.jsontext import dumps

from .stage import Stage


class TestOrderAndResults:
    def test_scripts_run_in_the_order_of_their_names(self, stage: Stage) -> None:
        order = stage.marks / "order"
        for name in ("60-instance-a", "10-boot-z", "10-instance-b", "10-once-c"):
            stage.put(name, f"echo {name} >>{order}")
        assert stage.run().returncode == 0
        expected = ["10-boot-z", "10-instance-b", "10-once-c", "60-instance-a"]
        assert order.read_text().split() == expected
        assert list(stage.results()) == expected

    def test_a_failure_is_reported_and_stops_nothing(self, stage: Stage) -> None:
        stage.put("10-instance-bad", "exit 3")
        stage.put("20-instance-killed", "kill -9 $$")
        stage.put("30-instance-good")
        done = stage.run()
        assert done.returncode == 1
        assert stage.results() == {
            "10-instance-bad": 3,
            "20-instance-killed": -9,
            "30-instance-good": 0,
        }
        assert stage.reasons() == {
            "10-instance-bad": "exit status 3",
            "20-instance-killed": "killed by signal 9",
        }
        assert "scripts: late: 10-instance-bad: exit status 3" in done.stderr
        assert stage.waiting() == []

    def test_what_runs_once_runs_in_no_other_boot_and_for_no_other_instance(
        self, stage: Stage
    ) -> None:
        for boot, instance in (("boot-1", "i-1"), ("boot-2", "i-1"), ("boot-3", "i-2")):
            stage.boot(boot)
            stage.instance(instance)
            for often in ("once", "instance", "boot"):
                stage.put(f"10-{often}-a")
            assert stage.run().returncode == 0
        assert stage.ran() == {"10-once-a": 1, "10-instance-a": 2, "10-boot-a": 3}

    def test_a_stage_runs_only_its_own(self, stage: Stage) -> None:
        stage.put("10-instance-early", stage="early")
        stage.put("10-instance-late")
        assert stage.run("early").returncode == 0
        assert stage.ran() == {"10-instance-early": 1}

    def test_nothing_staged_is_no_error(self, stage: Stage) -> None:
        stage.file("").rmdir()
        assert stage.run().returncode == 0
        assert not stage.log.exists()

    def test_what_a_script_stages_runs_too(self, stage: Stage) -> None:
        later = stage.file("20-instance-later")
        mark = stage.mark("20-instance-later")
        body = f"printf '#!/bin/sh\\necho ran >>{mark}\\n' >{later}; chmod 700 {later}"
        stage.put("10-instance-first", body)
        assert stage.run().returncode == 0
        assert stage.ran() == {"10-instance-first": 1, "20-instance-later": 1}

    def test_the_report_of_the_run_before_is_kept_and_results_replaced(self, stage: Stage) -> None:
        report = {**as_json(Report(boot_id="boot-1")), "source": "drive", "scripts": []}
        path = stage.path(defs.REPORT_FILE)
        path.parent.mkdir(parents=True)
        path.write_text(dumps(report))
        stage.put("10-boot-a", "exit 4")
        stage.run()
        assert stage.report()["exit_status"] == 1
        stage.put("10-boot-a", "# is well now")
        assert stage.run().returncode == 0
        assert stage.report()["source"] == "drive"
        assert (stage.results(), stage.reasons()) == ({"10-boot-a": 0}, {})

    def test_status_shows_scripts_also_after_a_later_run(
        self, stage: Stage, guest: Path, drive: Path
    ) -> None:
        there = Stage.__new__(Stage)
        there.tree, there.marks = guest, stage.marks
        assert rig.agent("--root", guest, "--source", drive).status == 0
        for name in ("early", "late"):
            there.path(f"{defs.STATE_DIR}/{name}").mkdir(0o700)
        there.put("10-instance-bad", "exit 3")
        assert there.run().returncode == 1
        assert rig.agent("--root", guest, "--source", drive).status == 0
        shown = rig.agent("status", "--root", guest)
        assert "script       late/10-instance-bad: exit status 3, " in shown.out
        assert shown.status == 1


class TestSurroundings:
    def test_environment_directory_input_and_umask(self, stage: Stage) -> None:
        found = stage.marks / "found"
        body = "/usr/bin/env; pwd; umask; readlink /proc/$$/fd/0"
        stage.put("10-instance-a", f"exec >{found}; {body}")
        assert stage.run().returncode == 0
        *environment, folder, mask, fd = found.read_text().splitlines()
        shells = ("_=", "PWD=", "OLDPWD=", "SHLVL=")
        assert {line for line in environment if not line.startswith(shells)} == {
            f"PATH={defs.SCRIPT_PATH}",
            "LANG=C.UTF-8",
            "HOME=/root",
            "INSTANCE_ID=i-1",
        }
        assert (folder, mask, fd) == ("/", "0022", "/dev/null")

    def test_pipelines_end_as_in_a_login(self, stage: Stage) -> None:
        stage.put("10-instance-a", "set -o pipefail; yes | head -n 1", first="#!/bin/bash")
        stage.run()
        assert stage.results() == {"10-instance-a": 128 + 13}

    def test_no_descriptor_is_left_open(self, stage: Stage) -> None:
        found = stage.marks / "found"
        script = stage.put("10-instance-a", f'open=$(ls -l /proc/$$/fd); echo "$open" >{found}')
        stage.run()
        open_files = re.findall(r"-> (.*)", found.read_text())
        assert str(stage.log) in open_files
        others = set(open_files) - {os.devnull, str(stage.log), str(script)}
        assert [name for name in others if "pipe:" not in name] == []  # the shell's own
        assert len(others) <= 1

    def test_a_script_without_an_interpreter_line_is_the_shells(self, stage: Stage) -> None:
        stage.put("10-instance-a", first="")
        assert stage.run().returncode == 0
        assert stage.ran() == {"10-instance-a": 1}

    @pytest.mark.parametrize("first", ["#!/no/such/shell", "#!", "#!/bin/sh\r", "#!/etc/passwd"])
    def test_a_bad_interpreter_is_reported_and_stops_nothing(
        self, stage: Stage, first: str
    ) -> None:
        stage.put("10-instance-a", first=first)
        stage.put("20-instance-b")
        assert stage.run().returncode == 1
        assert stage.results() == {"10-instance-a": "not started", "20-instance-b": 0}
        assert stage.ran() == {"20-instance-b": 1}
        assert stage.waiting() == []

    @pytest.mark.parametrize(
        ("content", "argv"),
        [
            (b"#!/bin/sh\n", ["/bin/sh", "P"]),
            (b"#! /bin/sh  -e x \necho", ["/bin/sh", "-e x", "P"]),
            (b"#!\t/bin/sh\t-e\n", ["/bin/sh", "-e", "P"]),
            (b"echo\n", ["/bin/sh", "P"]),
            (b"", ["/bin/sh", "P"]),
            (b"\x7fELF\x02", ["P"]),
        ],
    )
    def test_the_first_line_is_read_as_the_kernel_does(
        self, content: bytes, argv: list[str]
    ) -> None:
        assert command_line(content, "P") == argv


class TestTimes:
    def test_a_background_process_holds_nobody_up_and_may_write_later(self, stage: Stage) -> None:
        gate = stage.marks.parent / "gate"
        os.mkfifo(gate)
        stage.put("10-instance-a", f"(read x <{gate}; echo late words) &")
        stage.put("20-instance-b")
        assert stage.run().returncode == 0
        assert stage.results() == {"10-instance-a": 0, "20-instance-b": 0}
        gate.write_text("go\n")
        for _ in range(600):
            if "late words\n" in stage.log.read_text():
                break
            time.sleep(0.05)
        assert stage.log.read_text().endswith("late words\n")

    def test_one_that_takes_too_long_is_ended_and_the_next_goes_on(self, stage: Stage) -> None:
        stage.put("10-instance-a", "sleep 1000 & sleep 1000; echo never")
        stage.put("20-instance-b")
        assert stage.run(limit=0.5).returncode == 1
        assert stage.results() == {"10-instance-a": "timeout", "20-instance-b": 0}
        assert "never" not in stage.log.read_text()
        assert stage.waiting() == []

    def test_endless_output_does_not_defeat_the_limit(self, stage: Stage) -> None:
        stage.put("10-instance-a", "while :; do echo a line; done")
        assert stage.run(limit=0.3).returncode == 1
        assert stage.results() == {"10-instance-a": "timeout"}

    def test_sigterm_ends_the_script_and_leaves_the_others_for_the_next_start(
        self, stage: Stage
    ) -> None:
        stage.put("10-instance-a", "echo begun; exec sleep 1000")
        stage.put("20-instance-b")
        runner = subprocess.Popen(stage.command(), stdout=subprocess.PIPE, text=True)
        assert runner.stdout is not None
        assert runner.stdout.readline() == "10-instance-a: begun\n"
        runner.terminate()
        assert runner.wait(30) == 1
        runner.stdout.close()
        assert stage.results() == {"10-instance-a": "interrupted"}
        assert stage.waiting() == ["20-instance-b"]
        assert stage.run().returncode == 0
        assert stage.ran() == {"10-instance-a": 1, "20-instance-b": 1}

    def test_a_second_runner_waits_for_the_first(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from guestagent.errors import TryAgain
        from guestagent.system.lock import lock
        from guestagent.system.root import Root

        monkeypatch.setattr(defs, "LOCK_WAIT_LATE", 0.0)
        root = Root(str(stage.tree))
        held = lock(root, defs.SCRIPTS_LOCK_FILE)
        with pytest.raises(TryAgain):
            lock(root, defs.SCRIPTS_LOCK_FILE)
        os.close(lock(root))  # a script may be guestagent itself
        os.close(held)


class TestHowOften:
    def test_instance_once_per_instance(self, stage: Stage) -> None:
        for _ in range(2):
            stage.put("10-instance-a")
            assert stage.run().returncode == 0
            assert stage.waiting() == []
        assert stage.ran() == {"10-instance-a": 1}
        stage.instance("i-2")
        stage.put("10-instance-a")
        stage.run()
        assert stage.ran() == {"10-instance-a": 2}

    def test_instance_not_again_after_another_one(self, stage: Stage) -> None:
        for name in ("i-1", "i-2", "i-1"):
            stage.instance(name)
            stage.put("10-instance-a")
            stage.run()
        assert stage.ran() == {"10-instance-a": 2}

    def test_another_content_is_another_script(self, stage: Stage) -> None:
        stage.put("10-instance-a")
        stage.run()
        stage.put("10-instance-a", "# changed")
        stage.run()
        assert stage.ran() == {"10-instance-a": 2}

    def test_boot_once_at_each_boot_and_the_file_stays(self, stage: Stage) -> None:
        stage.put("10-boot-a")
        for boot, times in (("boot-1", 1), ("boot-1", 1), ("boot-2", 2), ("boot-3", 3)):
            stage.boot(boot)
            assert stage.run().returncode == 0
            assert stage.ran() == {"10-boot-a": times}
        assert stage.waiting() == ["10-boot-a"]
        assert len(stage.ledger()) == 1

    def test_once_whatever_the_instance(self, stage: Stage) -> None:
        for name in ("i-1", "i-2"):
            stage.instance(name)
            stage.boot(name)
            stage.put("10-once-a")
            stage.run()
            assert stage.waiting() == []
        assert stage.ran() == {"10-once-a": 1}


class TestDamage:
    def test_a_ledger_that_cannot_be_read_is_told_and_stops_nothing(self, stage: Stage) -> None:
        stage.path(defs.LEDGER_FILE).write_text('{"version": 1, "entries": [{}]}')
        stage.put("10-instance-a")
        assert stage.run().returncode == 1
        assert stage.ran() == {"10-instance-a": 1}
        assert list(stage.reasons()) == [defs.LEDGER_FILE]
        assert stage.ledger()[0]["status"] == 0

    def test_where_nothing_can_be_written_down_only_boot_scripts_run(self, stage: Stage) -> None:
        stage.path(f"{defs.LEDGER_FILE}/x").mkdir(parents=True)
        stage.put("10-boot-a")
        stage.put("20-instance-b")
        assert stage.run().returncode == 1
        assert stage.ran() == {"10-boot-a": 1}
        assert stage.results() == {"10-boot-a": 0, "20-instance-b": "not started"}
        assert stage.waiting() == ["10-boot-a", "20-instance-b"]

    def test_B4_the_ledger_is_roots_alone(self, stage: Stage) -> None:
        stage.put("10-instance-a")
        stage.run()
        assert stat.S_IMODE(stage.path(defs.LEDGER_FILE).stat().st_mode) == 0o600
