"""The key apt without its sources: configuration, proxies, debconf, and trees."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.desired.packages.openpgp import unarmor
from guestagent.errors import FieldError
from userdata.planning import (
    FACTS,
    apply_twice,
    clean_plan,
    dry_run,
    files,
    make_drive,
    places,
    plan_of,
    steps,
)

APT = FACTS._replace(programs=frozenset({"apt-get", "debconf-set-selections"}))
STEP = "late/10-instance-apt"
PROXY, CONF = defs.APT_PROXY_FILE, defs.APT_CONF_FILE
NAMES = ("proxy", "http_proxy", "https_proxy", "ftp_proxy")


def apt_config(text: bytes, folder: Path) -> list[str]:
    """The lines that apt-config(8) has of text of apt.conf(5) alone."""
    rig.need_tools("apt-config")
    file = folder / "apt.conf"
    file.write_bytes(text)
    environment = {"PATH": "/usr/bin:/bin", "APT_CONFIG": str(file)}
    argv = ["apt-config", "dump", "-o", f"Dir::Etc::parts={folder}/none"]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_a_proxy_is_one_of_apts_own(name: str, tmp_path: Path) -> None:
    resources = clean_plan(f"apt: {{{name}: 'http://proxy.example.org:3128/'}}", facts=APT)
    file = files(resources)[PROXY]
    method = {"proxy": "http"}.get(name, name.removesuffix("_proxy"))
    expected = f'Acquire::{method}::Proxy "http://proxy.example.org:3128/";'
    assert expected in apt_config(file.content, tmp_path)
    assert (file.mode, file.secret) == (0o644, False)


def test_a_proxy_with_a_password_is_for_root_alone_and_not_shown() -> None:
    resources = clean_plan("apt: {proxy: 'http://user:word@proxy.example.org:3128'}", facts=APT)
    file = files(resources)[PROXY]
    assert (file.mode, file.secret) == (0o600, True)


@pytest.mark.parametrize(
    "value",
    ["'http://a\";}'", '"http://a\\nx"', "'http://a b'", "'ssh://a'", "'http://{a}'", "'$(id)'",
     "'http://a\\b'", "'http://a;'", "proxy"],
)  # fmt: skip
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_proxy_is_an_error_for_it_alone(name: str, value: str) -> None:
    text = f"apt:\n  {name}: {value}\n  conf: 'APT::Color 0;'\n"
    resources, problems = plan_of(text, APT)
    assert places(problems) == [("error", f"apt.{name} (line 3, column 3)")]
    assert list(files(resources)) == [CONF]


def test_configuration_is_written_as_it_is(tmp_path: Path) -> None:
    text = 'apt:\n  conf: |\n    APT {\n      Get { Fix-Broken "true"; };\n    };\n'
    file = files(clean_plan(text, facts=APT))[CONF]
    assert 'APT::Get::Fix-Broken "true";' in apt_config(file.content, tmp_path)
    assert (file.mode, file.secret) == (0o644, False)


def test_configuration_with_a_password_is_for_root_alone_and_not_shown() -> None:
    text = "apt: {conf: 'Acquire::http::Proxy \"http://u:p@h\";'}"
    file = files(clean_plan(text, facts=APT))[CONF]
    assert (file.mode, file.secret) == (0o600, True)


def test_configuration_with_control_characters_is_an_error() -> None:
    resources, problems = plan_of('apt: {conf: "a \\e[1m;"}', APT)
    assert places(problems) == [("error", "apt.conf (line 2, column 7)")]
    assert files(resources) == {}


SELECTIONS = """apt:
  debconf_selections:
    set2: |
      # a comment
      pkg-b pkg-b/word password it's $(id) "x"
    set1: pkg-a pkg-a/flag boolean true
"""


def test_answers_for_debconf_reach_its_tool_and_nobody_else(tmp_path: Path) -> None:
    step = steps(clean_plan(SELECTIONS, facts=APT))[STEP]
    assert step.secret
    tool = tmp_path / "debconf-set-selections"
    tool.write_text(f"#!/bin/sh\ncat >{tmp_path}/answers\n[ $# = 0 ]\n")
    tool.chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    subprocess.run(["sh", "-c", step.content], check=True, env={"PATH": path})
    assert (tmp_path / "answers").read_text() == (
        'pkg-a pkg-a/flag boolean true\npkg-b pkg-b/word password it\'s $(id) "x"\n'
    )


def test_the_real_debconf_takes_the_answers(tmp_path: Path) -> None:
    rig.need_tools("debconf-set-selections", "debconf-communicate")
    step = steps(clean_plan(SELECTIONS, facts=APT))[STEP]
    config = tmp_path / "debconf.conf"
    config.write_text(
        "Config: all\nTemplates: t\n\n"
        f"Name: all\nDriver: File\nMode: 600\nFilename: {tmp_path}/config.dat\n\n"
        f"Name: t\nDriver: File\nMode: 600\nFilename: {tmp_path}/templates.dat\n"
    )
    environment = {"PATH": os.environ["PATH"], "DEBCONF_SYSTEMRC": str(config)}
    subprocess.run(["sh", "-c", step.content], check=True, env=environment)
    found = (tmp_path / "config.dat").read_text()
    assert 'Value: it\'s $(id) "x"\n' in found
    assert "Name: pkg-a/flag\n" in found


@pytest.mark.parametrize("value", ["one two", '"a b\\ec d"', '"a b \\0 c"'])
def test_an_answer_of_another_form_is_an_error_and_the_others_count(value: str) -> None:
    text = f"apt:\n  debconf_selections:\n    one: a a/b boolean true\n    two: {value}\n"
    resources, problems = plan_of(text, APT)
    assert places(problems) == [("error", "apt.debconf_selections.two (line 5, column 5)")]
    assert b"printf '%s\\n' 'a a/b boolean true' |" in steps(resources)[STEP].content


def test_without_debconf_answers_are_an_error() -> None:
    facts = FACTS._replace(programs=frozenset({"apt-get"}))
    resources, problems = plan_of(SELECTIONS, facts)
    assert places(problems) == [("error", "apt.debconf_selections (line 3, column 3)")]
    assert steps(resources) == {}


def test_elsewhere_the_key_does_nothing() -> None:
    resources, problems = plan_of("apt: {proxy: 'http://a'}", FACTS._replace(os_id="fedora"))
    assert places(problems) == [("warning", "apt (line 2, column 1)")]
    assert files(resources) == {}


def test_what_is_not_done_is_told() -> None:
    text = "apt: {add_apt_repo_match: '^x', generate_mirrorlists: true}"
    _, problems = plan_of(text, APT)
    assert [(severity, key.split()[0]) for severity, key in places(problems)] == [
        ("warning", "apt.add_apt_repo_match"),
        ("error", "apt.generate_mirrorlists"),
    ]


def test_a_tree_hides_passwords_from_the_plan_and_from_others(guest: Path, tmp_path: Path) -> None:
    for name in ("apt-get", "debconf-set-selections"):
        (guest / "usr/bin" / name).touch(0o755)
    text = f"{SELECTIONS}  proxy: 'http://user:hidden-word@proxy.example.org'\n"
    drive = make_drive(tmp_path, text)
    plan = str(dry_run(drive, guest))
    assert PROXY in plan
    assert "hidden-word" not in plan
    assert "pkg-b/word" not in plan
    done = apply_twice(drive, guest)
    assert "hidden-word" not in done.out + done.err
    assert (guest / PROXY[1:]).stat().st_mode & 0o777 == 0o600
    step = guest / "var/lib/guestagent" / STEP
    assert subprocess.run(["sh", "-n", step]).returncode == 0


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A public key in armour, made by gpg(1)."""
    rig.need_tools("gpg")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
    make = ["--quick-generate-key", "test@guestagent", "ed25519", "sign"]
    subprocess.run([*gpg, *make], check=True, capture_output=True)
    done = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    return done.stdout.decode()


def test_a_key_without_its_armour_is_what_gpg_makes_of_it(key: str, tmp_path: Path) -> None:
    argv = ["gpg", "--homedir", str(tmp_path), "--dearmor"]
    done = subprocess.run(argv, input=key.encode(), capture_output=True, check=True)
    assert unarmor(key) == done.stdout
    assert unarmor(f"{key}\n{key}") == done.stdout * 2
    headers = key.replace("\n", "\nVersion: 1\nComment: x y\n", 1).replace("\n", "\r\n")
    assert unarmor(headers) == done.stdout


def test_what_is_no_public_key_is_refused(key: str) -> None:
    lines = key.splitlines(keepends=True)
    checksum = next(line for line in lines if line.startswith("="))
    texts = (
        *("", "F430BBA5", "".join(lines[:-1]), "".join(lines[1:])),
        key.replace(lines[3], ""),
        key.replace(checksum, "=AAAA\n"),
        key.replace("PUBLIC", "PRIVATE"),
        key.replace(lines[3], "$(id)\n"),
        f"-----BEGIN PGP MESSAGE-----\n{key}",
        f"{lines[0]}\nAAAA\n{lines[-1]}",
    )
    for text in texts:
        with pytest.raises(FieldError):
            unarmor(text)
