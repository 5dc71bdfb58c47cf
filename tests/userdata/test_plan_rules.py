"""Rules of sudo and doas: what is taken must be right for sudo's own checker."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent.desired.accounts.rules import _FLAGS, _NUMBERS, doas_rule, sudo_lines
from guestagent.errors import FieldError

_PLACES = (Path("/usr/sbin/visudo"), rig.REPOSITORY / ".venv/sudo/usr/sbin/visudo")
GOOD = [
    "ALL=(ALL) NOPASSWD:ALL",
    "ALL=(ALL:ALL) ALL",
    "ALL = ( ALL : ALL ) NOPASSWD: SETENV: ALL",
    "ALL=NOPASSWD:/bin/ls, NOEXEC: /usr/bin/id -u, !/bin/su",
    "ALL=(root) NOPASSWD: /usr/bin/systemctl restart app@1.service, /usr/bin/systemctl status *",
    "ALL=(www-data,%adm,#1000:docker) /usr/bin/docker ps --format\\=json",
    "ALL=(ALL) sudoedit /etc/hosts",
    'ALL=/usr/local/bin/, /bin/true ""',
    "host1.example.org, !10.0.0.0/8, +net = ALL",
    "ALL=(ALL) ! /bin/su, SERVICES",
    "ALL=/bin/sh -c a\\ b\\,c\\:d; $(id) `id` | x > /y",
]
BAD = [
    "ALL",
    "ALL=",
    "=ALL",
    "ALL=(ALL",
    "ALL=(ALL) ",
    "ALL=ALL,",
    "ALL=NOPASSWD:",
    "ALL=NOPASSWD",
    "ALL=ALL ALL",
    "ALL=bin/ls",
    "ALL=/bin/ls a,b:c",
    "ALL=/bin/ls a:b",
    "ALL=/bin/ls --x=y",
    "ALL=/bin/ls a\\",
    "ALL=/bin/ls a\\q",
    "ALL=/bin/ls ^a",
    'ALL=/bin/ls "a b"',
    "ALL=/usr/bin/ x",
    "ALL=/",
    "TYPE=ALL",
    "ALL=CWD",
    "a b=ALL",
    "ALL=(ALL) ALL\nmallory ALL=(ALL) ALL",
    "ALL=(ALL) ALL\0",
    "ALL=(ALL) /bin/ü",
    "ALL=(ALL) ALL : other = ALL",
    "ALL=(ALL) ALL\nDefaults:ada secure_path=/tmp",
    "ALL=(ALL) ALL\nDefaults:ada",
    "ALL=(ALL) ALL\nDefaults:ada !",
    "ALL=(ALL) ALL\nDefaults@host !requiretty",
    "ALL=(ALL) ALL\nDefaultsx !requiretty",
    "ALL=(ALL) ALL\nDefaults:ada timestamp_timeout=x",
    "ALL=(ALL) ALL\nDefaults:ada env_keep+=a b",
    "ALL=(ALL) ALL\n#include /tmp/x\nALL=(ALL) ALL",
    "ALL=(ALL) ALL\n@include /tmp/x",
    "Defaults:ada !requiretty,",
]
# Texts of several lines, and with comments, and the lines that come of them.
LINES = {
    "ALL=(ALL) NOPASSWD:ALL\nDefaults:ada !requiretty": [
        "ada ALL=(ALL) NOPASSWD:ALL",
        "Defaults:ada !requiretty",
    ],
    "ALL=(#1000) /bin/ls # a comment\n\n# another\nada ALL=(ALL) /bin/id\n": [
        "ada ALL=(#1000) /bin/ls",
        "ada ALL=(ALL) /bin/id",
    ],
    "Defaults !requiretty, timestamp_timeout=15\r\n": [
        "Defaults !requiretty, timestamp_timeout=15"
    ],
    'Defaults:ada env_keep += "HTTP_PROXY NO_PROXY", use_pty, !authenticate': [
        'Defaults:ada env_keep += "HTTP_PROXY NO_PROXY", use_pty, !authenticate'
    ],
    "#only a comment": [],
    "": [],
}


def visudo() -> list[str]:
    """The command that checks a file, with the environment for a program that is not installed."""
    place = next((place for place in _PLACES if place.exists()), None)
    rig.need(place is not None, "needs visudo")
    libraries = Path(str(place)).parents[1] / "libexec/sudo"
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(place), "-c", "-q", "-f"]


def accepted(rules: list[str], folder: Path) -> bool:
    file = folder / "sudoers"
    file.unlink(missing_ok=True)
    file.write_text("".join(f"{rule}\n" for rule in rules))
    file.chmod(0o440)
    done = subprocess.run([*visudo(), str(file)], capture_output=True)
    return done.returncode == 0


@pytest.mark.parametrize("rule", GOOD)
def test_a_usual_rule_is_taken(rule: str) -> None:
    assert sudo_lines(f" {rule}\n", "ada") == [f"ada {rule}"]


@pytest.mark.parametrize(("text", "lines"), LINES.items())
def test_a_text_may_have_several_lines_and_comments(text: str, lines: list[str]) -> None:
    assert sudo_lines(text, "ada") == lines


@pytest.mark.parametrize("option", sorted(_FLAGS))
def test_visudo_knows_the_options(option: str, tmp_path: Path) -> None:
    values = [f"{key}=15" for key in sorted(_NUMBERS)]
    texts = [f"Defaults {option}, !{option}", f"Defaults:ada {option}, {', '.join(values)}"]
    texts += LINES
    assert accepted([line for text in texts for line in sudo_lines(text, "ada")], tmp_path)


@pytest.mark.parametrize("rule", BAD)
def test_a_rule_that_may_break_sudo_is_refused(rule: str) -> None:
    with pytest.raises(FieldError) as caught:
        sudo_lines(rule, "ada")
    assert "mallory" not in str(caught.value)


def test_visudo_takes_what_is_taken(tmp_path: Path) -> None:
    good = [f"ada {rule}" for rule in GOOD]
    assert accepted(good, tmp_path)
    assert not accepted([*good, "ada ALL=(ALL"], tmp_path)
    assert accepted(['"Defaults" ALL=(ALL) ALL', '"ALL" ALL=/bin/ls'], tmp_path)


def test_visudo_takes_whatever_of_many_rules_is_taken(tmp_path: Path) -> None:
    source = random.Random(int(os.environ.get("GUESTAGENT_SEED", "7")))
    letters = "ALaz09 ,:=()!\\\"#%*?[]^$~/._-+@'"
    taken = []
    for _ in range(20000):
        rule = list(source.choice(GOOD))
        for _ in range(source.randint(1, 4)):
            place = source.randrange(len(rule))
            rule[place : place + source.randint(0, 2)] = source.choice(letters)
        try:
            taken += sudo_lines("".join(rule), "ada")
        except FieldError:
            continue
    assert len(taken) > 1000
    if not accepted(taken, tmp_path):
        assert [rule for rule in taken if not accepted([rule], tmp_path)] == []


@pytest.mark.parametrize(
    "rule",
    [
        "permit ada",
        "permit nopass keepenv ada as root",
        "deny ada as root cmd /bin/su",
        "permit nopass ada cmd reboot args -f now",
    ],
)
def test_a_rule_of_doas_is_taken(rule: str) -> None:
    assert doas_rule(rule, "ada") == rule


@pytest.mark.parametrize(
    "rule",
    [
        *("", "permit", "permit ben", "allow ada", "permit ada as", "permit ada root"),
        *("permit ada cmd", "permit ada cmd /bin/ls -l", "permit nopass", "permit ada\npermit ben"),
        *("permit ada as root #", "permit setenv { A=B } ada", 'permit "ada"', "permit :ada"),
    ],
)
def test_a_rule_that_may_break_doas_is_refused(rule: str) -> None:
    with pytest.raises(FieldError):
        doas_rule(rule, "ada")
