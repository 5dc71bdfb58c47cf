"""locale: what is planned, and what a tree then holds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.model import Facts
from userdata.planning import (
    FACTS,
    apply_twice,
    clean_plan,
    dry_run,
    make_drive,
    places,
    plan_of,
    steps,
)

SUPPORTED = (
    "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\nde_DE@euro ISO-8859-15\nar_AE ISO-8859-6\nhi_IN UTF-8\n"
)
DEBIAN = FACTS._replace(
    programs=FACTS.programs | {"locale-gen", "localedef", "setupcon"},
    texts={defs.SUPPORTED_LOCALES: SUPPORTED, defs.TIMEZONE_FILE: "Etc/UTC\n"},
)
FEDORA = FACTS._replace(os_id="fedora")
ALL = """timezone: Europe/Berlin
locale: de_DE.UTF-8
keyboard: {layout: de, variant: nodeadkeys, options: "compose:rwin"}
"""


def blocks(text: str, facts: object = DEBIAN) -> dict[str, tuple[str, ...]]:
    return {item.path: item.lines for item in clean_plan(text, facts=facts) if item.kind == "block"}


def test_the_locale_stands_in_the_file_that_the_distribution_reads() -> None:
    lines = ("LANG=C.UTF-8",)
    assert blocks("locale: C.UTF-8") == {"/etc/default/locale": lines}
    trixie = DEBIAN._replace(links={defs.DEFAULT_LOCALE: "../locale.conf"})
    assert blocks("locale: C.UTF-8", trixie) == {"/etc/locale.conf": lines}
    assert blocks("locale: C.UTF-8", FEDORA) == {"/etc/locale.conf": lines}
    own = "locale: C.UTF-8\nlocale_configfile: /etc/my/locale"
    assert blocks(own) == {"/etc/my/locale": lines}


def test_no_locale_is_left_alone() -> None:
    assert blocks("locale: false\nlocale_configfile: /etc/x") == {}
    assert blocks("locale_configfile: /etc/x") == {}


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("de_DE.UTF-8", "de_DE.UTF-8 UTF-8"),
        ("de_DE.utf8", "de_DE.UTF-8 UTF-8"),
        ("de_DE@euro", "de_DE@euro ISO-8859-15"),
        ("ar_AE", "ar_AE ISO-8859-6"),
        ("hi_IN.UTF-8", "hi_IN UTF-8"),
    ],
)
def test_a_missing_locale_is_made_from_its_line(name: str, line: str) -> None:
    script = steps(clean_plan(f"locale: {name}", facts=DEBIAN))["early/60-instance-locale"].content
    assert f"echo '{line}' >>/etc/locale.gen\nlocale-gen --keep-existing\n" in script.decode()


@pytest.mark.parametrize("name", ["C", "POSIX", "C.UTF-8", "C.utf8"])
def test_what_the_library_has_built_in_is_not_made(name: str) -> None:
    assert steps(clean_plan(f"locale: {name}", facts=DEBIAN)) == {}


@pytest.mark.parametrize("program", ["locale-gen", "no tool"])
def test_a_locale_that_nothing_can_make_is_a_warning(program: str) -> None:
    name = "xx_DE.UTF-8" if program == "locale-gen" else "de_DE.UTF-8"
    resources, problems = plan_of(
        f"locale: {name}", DEBIAN._replace(programs=frozenset((program,)))
    )
    assert places(problems) == [("warning", "locale (line 2, column 1)")]
    assert [item.lines for item in resources if item.kind == "block"] == [(f"LANG={name}",)]


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        (FEDORA._replace(programs=frozenset(("dnf",))), ": install glibc-langpack-xx"),
        (FACTS._replace(programs=frozenset(("apt-get",))), ": install locales"),
        (FACTS, ""),
    ],
)
def test_without_a_list_of_locales_a_step_says_whether_it_is_there(
    facts: Facts, advice: str, tmp_path: Path
) -> None:
    rig.need_tools("locale")
    step = steps(clean_plan("locale: xx_YY.UTF-8", facts=facts))["late/20-instance-locale"]
    done = subprocess.run(["sh", "-c", step.content], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, f"the locale xx_YY.UTF-8 is missing{advice}\n")
    there = step.content.replace(b"xx_YY.UTF-8", b"C.UTF-8")
    done = subprocess.run(["sh", "-c", there], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["'x;id'", '"a\\nB=1"', "'$(id)'", '"a\'b"', "..", "a b"])
def test_what_is_no_locale_is_an_error(name: str) -> None:
    resources, problems = plan_of(f"locale: {name}", DEBIAN)
    assert places(problems) == [("error", "locale (line 2, column 1)")]
    assert "block" not in [item.kind for item in resources]


def test_a_wrong_file_for_the_locale_is_an_error_and_the_usual_one_is_taken() -> None:
    resources, problems = plan_of("locale: C.UTF-8\nlocale_configfile: etc/x", DEBIAN)
    assert places(problems) == [("error", "locale_configfile (line 3, column 1)")]
    assert "/etc/default/locale" in [getattr(item, "path", "") for item in resources]


@pytest.mark.parametrize(
    ("tool", "name"), [("localedef", "fy_DE.UTF-8"), ("locale-gen", "de_AT.utf8")]
)
def test_the_script_makes_a_locale_with_the_systems_own_tool(
    tool: str, name: str, tmp_path: Path
) -> None:
    rig.need_tools(tool, "locale", "unshare")
    rig.need_root()
    supported = Path(defs.SUPPORTED_LOCALES)
    rig.need(supported.exists(), "needs the sources of locales")
    texts = {defs.SUPPORTED_LOCALES: supported.read_text()}
    facts = DEBIAN._replace(programs=frozenset({tool}), texts=texts)
    step = steps(clean_plan(f"locale: {name}", facts=facts))["early/60-instance-locale"]
    (script := tmp_path / "step").write_bytes(step.content)
    (wanted := tmp_path / "locale.gen").touch()
    made = tmp_path / "locales"
    shutil.copytree("/usr/lib/locale/C.utf8", made / "C.utf8")
    binds = f"mount --bind {made} /usr/lib/locale && mount --bind {wanted} {defs.LOCALE_GEN}"
    inner = f"{binds} && sh {script} >&2 && sh {script} >&2 && LC_ALL={name} locale charmap"
    argv = ["unshare", "-m", "sh", "-c", inner]
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert (done.stdout, done.returncode) == ("UTF-8\n", 0), done.stderr
    assert wanted.read_text() == ("de_AT.UTF-8 UTF-8\n" if tool == "locale-gen" else "")


def test_a_tree_gets_all_three_and_keeps_what_it_had(guest: Path, tmp_path: Path) -> None:
    zone = guest / "usr/share/zoneinfo/Europe/Berlin"
    zone.parent.mkdir(parents=True)
    zone.touch()
    (guest / "usr/share/i18n").mkdir()
    (guest / "usr/share/i18n/SUPPORTED").write_text(SUPPORTED)
    (guest / "usr/sbin").mkdir()
    (guest / "usr/sbin/locale-gen").touch(0o755)
    (guest / "etc/default").mkdir()
    (guest / "etc/default/keyboard").write_text('XKBLAYOUT="us"\nBACKSPACE="guess"\n')
    os.symlink("../locale.conf", guest / "etc/default/locale")
    drive = make_drive(tmp_path, ALL)
    plan = dry_run(drive, guest)
    paths = [change.get("path") for change in plan["changes"]]
    assert {"/etc/localtime", "/etc/locale.conf", "/etc/default/keyboard"} <= set(paths)
    apply_twice(drive, guest)
    assert os.readlink(guest / "etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin"
    keyboard = f". {guest}/etc/default/keyboard; echo $XKBLAYOUT $XKBVARIANT $BACKSPACE"
    assert _shell(keyboard) == "de nodeadkeys guess\n"
    assert _shell(f". {guest}/etc/default/locale; echo $LANG") == "de_DE.UTF-8\n"
    step = guest / "var/lib/guestagent/early/60-instance-locale"
    assert subprocess.run(["sh", "-n", step]).returncode == 0
    assert not (guest / "etc/timezone").exists()


def _shell(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout
