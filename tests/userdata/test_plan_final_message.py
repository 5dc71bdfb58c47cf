"""final_message: the script, run by a shell among stub programs."""

from __future__ import annotations

import pytest

from userdata.planning import clean_plan, plan_of, steps

from .script_place import MESSAGE, Place, key, step


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
