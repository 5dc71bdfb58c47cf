"""phone_home, final_message and power_state: the steps, run by a shell among stub programs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.plan.kinds.script import Script
from userdata.planning import METADATA, apply_twice, clean_plan, dry_run, make_drive, plan_of, steps

PHONE, MESSAGE = "80-instance-phone_home", "90-boot-final_message"
POWER = "99-instance-power_state"
EVIL = 'it\'s "$(touch evil)" `touch evil` $HOME \\ %s ;&| é'
STUB = '#!/bin/sh\nprintf "<%s>" "${0##*/}" "$@" >>"$CALLS"\n'


def step(text: str, name: str) -> Script:
    """The one step of text in which nothing is wrong."""
    found = steps(clean_plan(text, data=METADATA))
    assert list(found) == [f"late/{name}"]
    return found[f"late/{name}"]


def key(name: str, value: object) -> str:
    """One key as YAML, of which JSON is a part."""
    return f"{name}: {json.dumps(value)}\n"


class Place:
    """A folder in which a script is run, with stubs in its PATH that note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder / "here", folder / "bin"
        self.calls = folder / "calls"
        self.systemd, self.console = folder / "systemd", folder / "console"
        self.folder.mkdir()
        self.programs.mkdir()
        for name in ("shutdown", "systemd-run"):
            self.stub(name, STUB)
        self.stub("sleep", "#!/bin/sh\n")

    def stub(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def run(self, script: bytes) -> subprocess.CompletedProcess[str]:
        """Run a script; the paths of the system's in it are those of this place."""
        for path, own in (
            (defs.SYSTEMD_DIR, self.systemd),
            (defs.CONSOLE_DEVICE, self.console),
            (defs.PROGRAM, self.programs / "guestagent"),
        ):
            script = script.replace(path.encode(), str(own).encode())
        file = self.folder.parent / "script"
        file.write_bytes(script)
        subprocess.run(["sh", "-n", file], check=True)
        environment = {"PATH": f"{self.programs}:{os.defpath}", "CALLS": str(self.calls)}
        done = subprocess.run(
            ["sh", file], env=environment, cwd=self.folder, capture_output=True, text=True
        )
        assert list(self.folder.iterdir()) == []
        return done

    def called(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# phone_home


def handed(url: str, place: Place, **more: object) -> dict[str, object]:
    """What the step hands to the verb on standard input."""
    place.stub("guestagent", "#!/bin/sh\necho $*\ncat\n")
    script = step(key("phone_home", {"url": url, **more}), PHONE).content
    verb, _, parameters = place.run(script).stdout.partition("\n")
    assert verb == "phone-home"
    found: dict[str, object] = json.loads(parameters)
    return found


def test_phone_home_hands_over_all_that_is_to_be_sent(place: Place) -> None:
    assert handed("http://example.org/$INSTANCE_ID/", place) == {
        "url": "http://example.org/$INSTANCE_ID/",
        "post": [
            *("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519"),
            *("instance_id", "hostname", "fqdn"),
        ],
        "tries": 10,
        "hostname": "meta",
        "fqdn": "meta.example.org",
    }


def test_phone_home_sends_what_it_is_told_to(place: Place) -> None:
    found = handed("https://example.org", place, post=["fqdn", "pub_key_dsa"], tries=3)
    assert (found["post"], found["tries"]) == (["fqdn", "pub_key_dsa"], 3)


def test_no_url_gets_out_of_the_script_s_data(place: Place) -> None:
    url = "http://example.org/'\"$(touch${IFS}evil)`id`;\\END"
    assert handed(url, place)["url"] == url


@pytest.mark.parametrize("url", ["http://user:pass@example.org/", "https://example.org/?token=x"])
def test_a_url_that_may_hold_a_secret_is_not_shown(url: str) -> None:
    assert step(key("phone_home", {"url": url}), PHONE).secret
    assert not step(key("phone_home", {"url": "http://example.org/a"}), PHONE).secret


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.org/", "file:///etc/passwd", "example.org", "http://", "http://:80/"),
        *("http:///x", "http://user@/", "http://a b/", "http://a\nEND\nid", "http://a/\0"),
        *("HTTP:/a", "", "/x"),
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    resources, problems = plan_of(key("phone_home", {"url": url}) + "final_message: a\n")
    assert list(steps(resources)) == [f"late/{MESSAGE}"]
    assert [(p.severity, p.key.partition(" (")[0]) for p in problems] == [
        ("error", "phone_home.url")
    ]


# final_message


def said(text: str, place: Place) -> list[str]:
    """The lines on the console, which are those in the journal."""
    place.stub("guestagent", "#!/bin/sh\necho guestagent 1.2.3\n")
    place.stub("date", '#!/bin/sh\n[ "$*" = -R ] && echo "Thu, 01 Jan 1970 00:00:00 +0000"\n')
    done = place.run(step(key("final_message", text), MESSAGE).content)
    assert (done.returncode, done.stderr) == (0, "")
    assert place.console.read_text() == done.stdout
    return done.stdout.splitlines()


def test_the_message_holds_what_is_known_when_all_is_done(place: Place) -> None:
    text = "v$version\n${TIMESTAMP}\nfrom ${datasource}, $DATASOURCE.\nup $UPTIME"
    version, timestamp, source, uptime = said(text, place)
    assert (version, timestamp) == ("v1.2.3", "Thu, 01 Jan 1970 00:00:00 +0000")
    assert source == "from drive, drive."
    assert float(uptime.removeprefix("up ")) > 0


@pytest.mark.parametrize(
    "text", ['it\'s "done" `touch evil` \\ %s ;&| é', "$(touch evil)", "5 $", "${"]
)
def test_nothing_else_of_the_message_is_read_by_the_shell(text: str, place: Place) -> None:
    assert said(text, place) == [text]


def test_names_that_are_not_known_stay_with_a_warning(place: Place) -> None:
    text = "$HOME ${PATH} $Version $versions"
    resources, problems = plan_of(key("final_message", text))
    assert [problem.severity for problem in problems] == ["warning"]
    assert "HOME" not in problems[0].reason
    script = steps(resources)[f"late/{MESSAGE}"].content
    place.stub("guestagent", "#!/bin/sh\necho guestagent 1.2.3\n")
    assert place.run(script).stdout == f"{text}\n"


def test_a_message_without_a_console_is_in_the_journal_all_the_same(place: Place) -> None:
    place.stub("guestagent", "#!/bin/sh\necho guestagent 1.2.3\n")
    place.console.mkdir()
    done = place.run(step("final_message: done\n", MESSAGE).content)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("head", ["## template: jinja", "##template:jinja", "## TEMPLATE: other"])
def test_a_template_of_another_kind_is_not_printed(head: str) -> None:
    resources, problems = plan_of(key("final_message", f"{head}\nup {{{{uptime}}}}"))
    assert steps(resources) == {}
    assert [(p.severity, p.key) for p in problems] == [
        ("warning", "final_message (line 2, column 1)")
    ]


def test_a_basic_template_is_what_a_message_is_anyway(place: Place) -> None:
    assert said("## template: basic\nv$version", place) == ["v1.2.3"]


def test_a_message_of_control_characters_is_refused() -> None:
    resources, problems = plan_of(key("final_message", "a\x1b[2Jb"))
    assert steps(resources) == {}
    assert [problem.severity for problem in problems] == ["error"]


def test_an_empty_message_is_none() -> None:
    assert steps(clean_plan("final_message: ' '\n")) == {}


# power_state


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
