"""``guestagent status``: how far the boot has come, and waiting for its end."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rig
from boot_machine import COMING, KILLED, NEVER, NOT_MET, NOW, OVER, WORKING, Machine, machine

from guestagent import defs
from guestagent.errors import Origin
from guestagent.live import boot
from guestagent.options import WITHOUT_LIMIT, Options
from guestagent.report import run as report
from guestagent.report.additions import Unit, add_problems
from guestagent.report.run import Report, units_to_come
from guestagent.scripts import runner
from guestagent.system import ownfiles
from guestagent.system.root import Root
from guestagent.verbs import apply, status

# The conditions in systemd/, and the name below the path that meets each.
MEETS = {
    defs.APPLY_UNIT: ("ConditionPathExists", defs.REQUEST_FILE, ""),
    defs.RELOAD_UNIT: ("ConditionPathExists", defs.RELOAD_FILE, ""),
    defs.EARLY_UNIT: ("ConditionDirectoryNotEmpty", f"|{defs.STATE_DIR}/early", "/50-boot-a"),
    defs.HOST_KEYS_UNIT: ("ConditionPathExists", defs.HOST_KEYS_FILE, ""),
}


@pytest.fixture
def system(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    found = machine(tree, monkeypatch)
    monkeypatch.setattr(status, "Root", lambda _: found.root)
    monkeypatch.setattr(status, "observe", lambda _: None)
    yield found
    found.root.close()


def run(wait: int = 0, *, json_too: bool = False) -> int:
    return status.run(Options("status", wait=wait, json=json_too))


class TestBeforeTheFirstReport:
    @pytest.mark.parametrize("said", [COMING, WORKING])
    def test_the_run_at_boot_is_waited_for(
        self, system: Machine, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.say(local=said)
        assert run(1) == defs.EXIT_TRY_AGAIN
        told = capsys.readouterr().err
        assert "this boot is not over: waits for guestagent-local.service" in told
        assert run() == defs.EXIT_ERRORS

    def test_the_report_of_an_earlier_boot_is_none(self, system: Machine) -> None:
        system.write(boot_id="of another boot")
        system.say(local=WORKING)
        assert boot.look(system.root).state == "running"
        system.say(local=OVER)
        assert run(1) == defs.EXIT_ERRORS

    def test_a_run_that_was_killed_is_not_waited_for(
        self, system: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.say(local=KILLED)
        assert run(WITHOUT_LIMIT) == defs.EXIT_ERRORS
        told = capsys.readouterr().err
        assert "guestagent-local.service failed (timeout)" in told
        assert "there is no report" in told

    def test_what_follows_a_run_that_was_killed_does_not_hide_that(self, system: Machine) -> None:
        system.say(local=KILLED)
        with Unit(system.root, defs.EARLY_UNIT):
            pass
        assert run(WITHOUT_LIMIT) == defs.EXIT_ERRORS


class TestDisabled:
    @pytest.fixture(params=["kernel", "file", "masked", "not enabled"])
    def off(self, request: pytest.FixtureRequest, system: Machine) -> Machine:
        match request.param:
            case "kernel":
                (system.tree / "cmdline").write_text("quiet guestagent=disabled\n")
            case "file":
                Path(defs.OFF_SWITCH).touch()
            case "masked":
                system.wants.parent.with_name(defs.LOCAL_UNIT).symlink_to("/dev/null")
            case "not enabled":
                system.wants.unlink()
        return system

    def test_is_an_answer_of_its_own(
        self, off: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for wait in (0, WITHOUT_LIMIT):
            assert run(wait, json_too=True) == defs.EXIT_DISABLED
            shown = capsys.readouterr()
            assert json.loads(shown.out)["state"] == "disabled"
            assert "no run is made at this boot because of" in shown.err
        assert off.asked() == 0

    def test_for_the_next_boots_says_nothing_of_this_one(self, off: Machine) -> None:
        off.write()
        assert run(WITHOUT_LIMIT) == defs.EXIT_OK


class TestAfterTheRun:
    def test_nothing_to_come_needs_no_process(
        self, system: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.write()
        assert run(WITHOUT_LIMIT) == defs.EXIT_OK
        assert "state        done" in capsys.readouterr().out.splitlines()
        assert system.asked() == 0

    def test_a_unit_to_come_is_waited_for(
        self, system: Machine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.write(defs.EARLY_UNIT)
        system.say(early=COMING)
        assert run() == defs.EXIT_OK
        shown = capsys.readouterr().out.splitlines()
        assert "state        running: waits for guestagent-early.service" in shown
        assert run(1, json_too=True) == defs.EXIT_TRY_AGAIN
        told = json.loads(capsys.readouterr().out)
        assert (told["state"], told["waits_for"]) == ("running", [defs.EARLY_UNIT])

    def test_errors_are_told_at_the_end(self, system: Machine) -> None:
        problem = Origin("drive", "meta_data.json", "hostname").error("too long")
        system.write(problems=(problem,), exit_status=1)
        assert run(WITHOUT_LIMIT) == defs.EXIT_ERRORS

    @pytest.mark.parametrize(
        ("said", "reason"),
        [(KILLED, "failed (timeout)"), (NEVER, "was not started"), (OVER, ""), (NOT_MET, "")],
    )
    def test_a_unit_that_never_says_so_is_over_all_the_same(
        self, system: Machine, said: str, reason: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        system.write(defs.EARLY_UNIT)
        system.say(early=said)
        expected = defs.EXIT_ERRORS if reason else defs.EXIT_OK
        assert run(WITHOUT_LIMIT) == expected
        assert reason in capsys.readouterr().err

    def test_where_nobody_can_be_asked_the_report_alone_counts(
        self, system: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(boot, "find_program", lambda _: None)
        system.write(defs.LATE_UNIT)
        assert run(1) == defs.EXIT_TRY_AGAIN
        system.write()
        assert run(1) == defs.EXIT_OK

    def test_the_end_is_seen_at_once_and_without_processes(self, system: Machine) -> None:
        system.write(defs.EARLY_UNIT)
        system.say(early=WORKING, late=WORKING)

        def work() -> None:
            for unit, then in ((defs.EARLY_UNIT, [defs.LATE_UNIT]), (defs.LATE_UNIT, [])):
                time.sleep(0.3)
                with Unit(Root(str(system.tree)), unit) as working:
                    working.then += then

        worker = threading.Thread(target=work)
        start = time.monotonic()
        worker.start()
        assert run(WITHOUT_LIMIT) == defs.EXIT_OK
        assert time.monotonic() - start < defs.STATUS_ASK
        worker.join()
        assert system.asked() == 2  # at the beginning, and when the report changed

    def test_a_unit_that_ends_between_two_looks_is_not_taken_for_one_that_died(
        self, system: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        system.write(defs.EARLY_UNIT)
        system.say(early=NEVER)
        ask = boot.ask

        def ask_late(properties: str, units: list[str]) -> dict[str, dict[str, str]]:
            found = ask(properties, units)
            system.write()
            return found

        monkeypatch.setattr(boot, "ask", ask_late)
        assert run() == defs.EXIT_OK


class TestUnitsToCome:
    @pytest.mark.parametrize("unit", MEETS)
    def test_are_those_whose_conditions_are_met(self, unit: str, tree: Path) -> None:
        condition, path, name = MEETS[unit]
        lines = (rig.REPOSITORY / "systemd" / unit).read_text().splitlines()
        assert f"{condition}={path}" in lines
        root = Root(str(tree))
        assert units_to_come(root) == ()
        made = tree / (path.removeprefix("|") + name)[1:]
        made.parent.mkdir(parents=True)
        made.touch()
        assert units_to_come(root) == (unit,)
        root.close()

    def test_a_masked_unit_does_not_come(self, tree: Path) -> None:
        for path in (defs.HOST_KEYS_FILE, defs.RELOAD_FILE):
            (tree / path[1:]).parent.mkdir(parents=True)
            (tree / path[1:]).touch()
        mask = tree / defs.UNIT_DIRS[0][1:] / defs.HOST_KEYS_UNIT
        mask.parent.mkdir(parents=True)
        mask.symlink_to("/dev/null")
        root = Root(str(tree))
        assert units_to_come(root) == (defs.RELOAD_UNIT,)
        root.close()

    def test_hidden_names_do_not_count(self, tree: Path) -> None:
        folder = tree / defs.STATE_DIR[1:] / "late"
        folder.mkdir(parents=True)
        (folder / ".guestagent.tmp").touch()
        root = Root(str(tree))
        assert units_to_come(root) == ()
        (folder / "50-boot-a").touch()
        assert units_to_come(root) == (defs.EARLY_UNIT,)
        root.close()

    def test_a_run_at_boot_reports_them_and_one_by_hand_keeps_them(
        self, guest: Path, drive: Path
    ) -> None:
        root = Root(str(guest))

        def apply_now(options: Options) -> list[str]:
            apply._apply(options, root)
            found: list[str] = json.loads((guest / defs.REPORT_FILE[1:]).read_text())["pending"]
            return found

        apply_now(Options(source=str(drive)))
        late = guest / defs.STATE_DIR[1:] / "late"
        late.mkdir(mode=0o700)
        (late / "50-boot-a").touch()
        (guest / defs.HOST_KEYS_FILE[1:]).touch()
        found = apply_now(Options(source=str(drive), boot=True))
        assert found == [defs.EARLY_UNIT, defs.HOST_KEYS_UNIT]
        with Unit(root, defs.EARLY_UNIT) as unit:
            unit.then.append(defs.LATE_UNIT)
        assert apply_now(Options(source=str(drive))) == [defs.HOST_KEYS_UNIT, defs.LATE_UNIT]
        root.close()

    def test_a_fetched_run_says_what_comes_after_it_unless_the_boot_is_over(
        self, system: Machine
    ) -> None:
        for path in (defs.REQUEST_FILE, defs.HOST_KEYS_FILE):
            system.path(path).parent.mkdir(parents=True, exist_ok=True)
            system.path(path).touch()
        for before, after in (((defs.APPLY_UNIT,), [defs.HOST_KEYS_UNIT]), ((), [])):
            system.write(*before)
            apply._apply(Options(fetched=True), system.root)  # nothing was fetched: an error
            found = report.read(system.root)
            assert (found["pending"], found["exit_status"]) == (after, defs.EXIT_TRY_AGAIN)


class TestTheWorkOfAUnit:
    def test_ends_with_an_error_that_is_in_the_report(self, system: Machine) -> None:
        system.write(defs.LATE_UNIT, defs.HOST_KEYS_UNIT)
        with pytest.raises(ValueError, match="secret"), Unit(system.root, defs.LATE_UNIT):
            raise ValueError("secret")
        found = report.read(system.root)
        assert (found["pending"], found["exit_status"]) == ([defs.HOST_KEYS_UNIT], 1)
        (problem,) = found["problems"]
        assert problem["document"] == defs.LATE_UNIT
        assert "secret" not in problem["reason"]

    def test_keeps_what_it_added_itself(self, system: Machine) -> None:
        system.write(defs.RELOAD_UNIT)
        with Unit(system.root, defs.RELOAD_UNIT):
            add_problems(system.root, [Origin("network", "", "").error("no")])
        found = report.read(system.root)
        assert (found["pending"], len(found["problems"])) == ([], 1)

    def test_keeps_the_report_where_it_cannot_know_the_boot(self, system: Machine) -> None:
        system.write(defs.HOST_KEYS_UNIT, source="drive")
        unit = (rig.REPOSITORY / "systemd" / defs.HOST_KEYS_UNIT).read_text()
        assert "ProcSubset=pid" in unit.splitlines()
        system.path(defs.BOOT_ID).unlink()
        with Unit(system.root, defs.HOST_KEYS_UNIT):
            pass
        system.path(defs.BOOT_ID).write_text(NOW)
        found = report.read(system.root)
        assert (found["source"], found["pending"]) == ("drive", [])

    @pytest.mark.parametrize("stage", ["early", "late"])
    def test_of_scripts_is_over_when_they_are(self, system: Machine, stage: Any) -> None:
        units = {"early": defs.EARLY_UNIT, "late": defs.LATE_UNIT}
        system.write(*units.values())
        before = os.getcwd()
        try:
            assert runner.run_unit(system.root, stage, 0) == 0
        finally:
            os.chdir(before)
        assert report.read(system.root)["pending"] == [
            unit for name, unit in units.items() if name != stage
        ]


def test_others_than_root_may_wait(tree: Path) -> None:
    """All that is read can be read by everyone."""
    root = Root(str(tree))
    ownfiles.write(root, defs.REPORT_FILE, {}, 0o600)
    report.write(root, Report(boot_id=report.read_boot_id(root), pending=()))
    root.close()
    assert (tree / defs.REPORT_FILE[1:]).stat().st_mode & 0o777 == 0o644
