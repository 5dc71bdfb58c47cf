"""power_state: the script, run by a shell among stub programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rig

from userdata.planning import apply_twice, clean_plan, dry_run, make_drive, plan_of, steps

from .script_place import EVIL, MESSAGE, PHONE, POWER, Place, key, step


@pytest.mark.parametrize(("mode", "flag"), [("poweroff", "-P"), ("reboot", "-r"), ("halt", "-H")])
def test_a_delayed_change_is_shutdown_s(mode: str, flag: str, place: Place) -> None:
    text = key("power_state", {"mode": mode, "delay": 5, "message": EVIL})
    assert place.run(step(text, POWER).content).returncode == 0
    assert place.called() == f"<shutdown><{flag}><--><+5><{EVIL}>"


def test_a_change_at_once_waits_for_the_unit_that_runs_the_step(place: Place) -> None:
    place.systemd.mkdir()
    place.run(step("power_state: {mode: poweroff, delay: now, message: pay $5}\n", POWER).content)
    options = "<--quiet><--no-block><--collect><--unit=guestagent-power-state>"
    waits = "<--property=After=guestagent-late.service>"
    # systemd-run(1) makes one $ of two.
    assert place.called() == f"<systemd-run>{options}{waits}<--><shutdown><-P><--><now><pay $$5>"


def test_without_systemd_a_change_at_once_comes_a_little_later(place: Place) -> None:
    place.run(step("power_state: {mode: reboot, message: -c}\n", POWER).content)
    assert place.called() == "<shutdown><-r><--><now><-c>"


@pytest.mark.parametrize(
    ("condition", "status", "happens"),
    [
        ("true", 0, True),
        ("test -d /nowhere", 0, False),
        ("exit 3", 1, False),
        ("if", 1, False),
        (["test", "a b", "=", "a b"], 0, True),
        (["test", "$HOME", "=", "x"], 0, False),
        (["no-such-program"], 1, False),
        (True, 0, True),
    ],
)
def test_a_condition_decides(condition: object, status: int, happens: bool, place: Place) -> None:
    text = key("power_state", {"mode": "halt", "delay": 1, "condition": condition})
    found = step(text, POWER)
    assert found.secret is (condition is not True)
    assert place.run(found.content).returncode == status
    assert bool(place.called()) is happens


def test_a_condition_that_is_false_is_no_step() -> None:
    assert steps(clean_plan("power_state: {mode: halt, condition: false}\n")) == {}


@pytest.mark.parametrize("bad", ['"a\\0b"', "[]"])
def test_a_condition_that_cannot_be_run_is_no_reason_to_switch_off(bad: str) -> None:
    resources, problems = plan_of(f"power_state: {{mode: halt, condition: {bad}}}\n")
    assert steps(resources) == {}
    assert [p.key.partition(" (")[0] for p in problems] == ["power_state.condition"]


def test_a_message_that_cannot_be_told_does_not_hinder(place: Place) -> None:
    resources, problems = plan_of(
        key("power_state", {"mode": "halt", "delay": 2, "message": "\x1b"})
    )
    assert [p.key.partition(" (")[0] for p in problems] == ["power_state.message"]
    place.run(steps(resources)[f"late/{POWER}"].content)
    assert place.called() == "<shutdown><-H><--><+2>"


@pytest.mark.parametrize("bad", ["{mode: sleep}", "{mode: halt, delay: '+5; id'}", "{}", "[]"])
def test_what_is_no_change_of_power_is_refused(bad: str) -> None:
    resources, problems = plan_of(f"power_state: {bad}\n")
    assert steps(resources) == {}
    assert [problem.severity for problem in problems] == ["error"]


def test_on_a_tree_all_three_are_staged_in_their_order(guest: Path, tmp_path: Path) -> None:
    rig.need_root()
    text = (
        "phone_home: {url: 'https://user:hush@example.org/'}\nfinal_message: up $uptime\n"
        "power_state: {mode: reboot, condition: test -f /hush}\n"
    )
    drive = make_drive(tmp_path, text)
    plan = dry_run(drive, guest)
    assert "hush" not in json.dumps(plan)
    assert plan["problems"] == []
    apply_twice(drive, guest)
    staged = sorted(path.name for path in (guest / "var/lib/guestagent/late").iterdir())
    assert staged == [PHONE, MESSAGE, POWER]
