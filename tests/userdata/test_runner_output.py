"""What scripts print: log file and journal; and what the runner refuses to run."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
import rig

from guestagent import defs

from .stage import Stage


class TestOutput:
    def test_B4_log_has_a_header_and_only_root_can_read_it(self, stage: Stage) -> None:
        stage.put("10-instance-a", "echo out; echo err >&2")
        stage.put("20-instance-b", "printf 'no end'")
        done = stage.run()
        lines = stage.log.read_text().splitlines()
        assert [line.split(" ", 2)[::2] for line in lines[::3]] == [
            ["==", "late/10-instance-a"],
            ["==", "late/20-instance-b"],
        ]
        assert [*lines[1:3], lines[4]] == ["out", "err", "no end"]
        assert stat.S_IMODE(stage.log.stat().st_mode) == 0o600
        expected = ["10-instance-a: out", "10-instance-a: err", "20-instance-b: no end"]
        assert done.stdout.splitlines() == expected

    def test_the_log_is_appended_to_and_rotated_once(self, stage: Stage) -> None:
        old = stage.path(f"{defs.SCRIPTS_LOG}.1")
        stage.log.parent.mkdir(parents=True)
        stage.log.write_text("small\n")
        stage.log.chmod(0o644)
        stage.put("10-instance-a")
        stage.run()
        assert stage.log.read_text().startswith("small\n==")
        assert stat.S_IMODE(stage.log.stat().st_mode) == 0o600
        os.truncate(stage.log, defs.SCRIPTS_LOG_LIMIT + 1)
        stage.put("20-instance-b", "echo new")
        done = stage.run()
        assert old.stat().st_size == defs.SCRIPTS_LOG_LIMIT + 1
        assert stage.log.read_text().splitlines()[1:] == ["new"]
        assert done.stdout == "20-instance-b: new\n"

    def test_control_characters_reach_the_file_but_not_the_journal(self, stage: Stage) -> None:
        stage.put("10-instance-a", r"printf '\033[2J<3>forged\0\r\n\tb\377\n'")
        done = stage.run()
        assert b"\x1b[2J<3>forged\0\r\n\tb\xff\n" in stage.log.read_bytes()
        expected = ["10-instance-a: \\x1b[2J<3>forged\\x00", "10-instance-a:         b\ufffd"]
        assert done.stdout.splitlines() == expected

    def test_long_lines_are_broken_and_nothing_is_lost(self, stage: Stage) -> None:
        stage.put("10-instance-a", "printf '%0300000d' 0; echo; echo end")
        *parts, last = stage.run().stdout.splitlines()
        assert sum(part.count("0") for part in parts) - len(parts) == 300000
        assert max(map(len, parts)) < 5000
        assert last == "10-instance-a: end"

    def test_a_flood_reaches_the_file_and_only_its_end_the_journal(self, stage: Stage) -> None:
        stage.put("10-instance-a", f"truncate -s +4000000 {stage.log}; echo; echo end")
        lines = stage.run().stdout.splitlines()
        assert stage.log.stat().st_size > 4000000
        assert re.fullmatch(r"10-instance-a: \(39\d{5} bytes are only in .*\)", lines[0])
        assert lines[-1] == "10-instance-a: end"

    def test_a_script_that_empties_the_log_is_followed_on(self, stage: Stage) -> None:
        stage.put("10-instance-a", f"echo one; : >{stage.log}; echo two")
        assert stage.run().stdout.splitlines()[-1] == "10-instance-a: two"

    @pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "directory"])
    def test_a_log_that_somebody_prepared_is_not_written(self, stage: Stage, kind: str) -> None:
        target = stage.marks.parent / "outside"
        stage.log.parent.mkdir(parents=True)
        match kind:
            case "link":
                stage.log.symlink_to(target)
            case "hard link":
                stage.log.hardlink_to(target)
            case "pipe":
                os.mkfifo(stage.log)
            case "directory":
                stage.log.mkdir()
        stage.put("10-instance-a", "echo words")
        done = stage.run()
        assert target.read_text() == "outside\n"
        assert "words\n" in done.stdout
        assert list(stage.reasons()) == [defs.SCRIPTS_LOG]
        assert stage.results() == {"10-instance-a": 0}

    def test_B3_nothing_of_a_script_is_in_what_the_runner_writes(self, stage: Stage) -> None:
        canary = "CANARY-9c1d"
        stage.put("10-instance-a", f": {canary}; exit 1")
        stage.put("20-instance-b", f": {canary}", first=f"#!/no/{canary}")
        stage.put(f"30-{canary}-c", f": {canary}").chmod(0o777)
        done = stage.run()
        written = [done.stdout, done.stderr.replace(f"30-{canary}-c", "")]
        written += [stage.log.read_text(), stage.path(defs.LEDGER_FILE).read_text()]
        written += [stage.path(defs.REPORT_FILE).read_text().replace(f"30-{canary}-c", "")]
        assert not [text for text in written if canary in text]


class TestTrust:
    """Only what root, or who runs the test, alone controls is run."""

    def refused(self, stage: Stage, path: Path) -> None:
        stage.put("90-instance-last")
        assert stage.run().returncode == 1
        assert stage.ran() == {"90-instance-last": 1}
        assert stage.results() == {path.name: "not started", "90-instance-last": 0}
        assert os.path.lexists(path)

    def test_a_symbolic_link_is_refused(self, stage: Stage) -> None:
        target = stage.put("10-instance-a", stage="early")
        link = stage.file("10-instance-a")
        link.symlink_to(target)
        self.refused(stage, link)

    @pytest.mark.parametrize("mode", [0o720, 0o702])
    def test_a_file_that_others_may_write_is_refused(self, stage: Stage, mode: int) -> None:
        path = stage.put("10-instance-a")
        path.chmod(mode)
        self.refused(stage, path)

    def test_a_file_of_another_user_is_refused(self, stage: Stage) -> None:
        rig.need_root()
        path = stage.put("10-instance-a")
        os.chown(path, 1234, 1234)
        self.refused(stage, path)

    def test_a_pipe_is_refused(self, stage: Stage) -> None:
        path = stage.file("10-instance-a")
        os.mkfifo(path, 0o700)
        self.refused(stage, path)

    @pytest.mark.parametrize(
        "name", ["a", "1-instance-a", "10-daily-a", "10-instance-", "10-instance-a b", "1x-boot-a"]
    )
    def test_another_name_is_refused(self, stage: Stage, name: str) -> None:
        self.refused(stage, stage.put("10-instance-a").rename(stage.file(name)))

    def test_what_is_being_written_is_no_script_yet(self, stage: Stage) -> None:
        stage.put(".guestagent.0123")
        assert stage.run().returncode == 0
        assert stage.ran() == {}

    @pytest.mark.parametrize("which", ["", "late"])
    @pytest.mark.parametrize("mode", [0o770, 0o707])
    def test_a_directory_that_others_may_write_is_refused(
        self, stage: Stage, which: str, mode: int
    ) -> None:
        stage.put("10-instance-a")
        folder = stage.path(f"{defs.STATE_DIR}/{which}")
        folder.chmod(mode)
        assert stage.run().returncode == 1
        assert stage.ran() == {}
        (reason,) = stage.reasons().values()
        assert "writable by root only" in reason

    def test_a_linked_directory_is_refused(self, stage: Stage) -> None:
        late = stage.put("10-instance-a").parent
        late.rename(stage.marks.parent / "elsewhere")
        late.symlink_to(stage.marks.parent / "elsewhere")
        assert stage.run().returncode == 1
        assert stage.ran() == {}
