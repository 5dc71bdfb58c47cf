"""The process around the program: its locale, and standard streams that are closed or not read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rig

from guestagent import defs

PACKAGING = rig.REPOSITORY / "packaging/bin/guestagent"
NAME = "/srv/b\u00fccher/\u65e5\u672c\u8a9e.txt"
CONFIG = f"#cloud-config\nwrite_files:\n- path: {NAME}\n  content: x\n"


@pytest.fixture(params=["installed", "python -m"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The two ways to start guestagent, the first with the options of the launcher itself."""
    if request.param == "python -m":
        return [sys.executable, "-m", "guestagent"]
    text = PACKAGING.read_text().replace("/usr/share/guestagent", str(rig.REPOSITORY))
    packages = str(Path(sys.executable).parents[1] / "lib")
    (site,) = Path(packages).glob("python3*/site-packages")
    copy = tmp_path / "launcher"
    copy.write_text(text.replace("/usr/lib/python3/dist-packages", str(site)))
    return [sys.executable, text.partition("\n")[0].split(" ")[1], str(copy)]


def _environment(locale: str) -> dict[str, str]:
    # Without coercion, which would hide what another locale does.
    found = {"PATH": os.environ["PATH"], "LC_ALL": locale, "PYTHONCOERCECLOCALE": "0"}
    return {**found, "PYTHONUTF8": "0", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "de_DE.ISO-8859-1", "xx_XX.none"])
def test_names_of_files_are_the_same_in_any_locale(
    program: list[str], guest: Path, drive: Path, tmp_path: Path, locale: str
) -> None:
    source = tmp_path / "source"
    shutil.copytree(drive, source)
    (source / "openstack/latest/user_data").write_text(CONFIG)
    argv = [*program, "apply", "--source", str(source), "--root", str(guest)]
    environment = _environment(locale)
    shown = subprocess.run(
        [*argv, "--dry-run"], cwd=rig.REPOSITORY, env=environment, capture_output=True
    )
    assert (shown.returncode, shown.stderr) == (defs.EXIT_CHANGES, b"")
    assert f"write {NAME}".encode() in shown.stdout
    done = subprocess.run(argv, cwd=rig.REPOSITORY, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"internal error" not in done.stderr
    assert (guest / NAME[1:]).read_text() == "x"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing(
    program: list[str], guest: Path, drive: Path, closed: str
) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *program]
    for more, status in ((["--dry-run"], defs.EXIT_CHANGES), ([], 0), (["--version"], 0)):
        argv = [*shell, "apply", "--source", str(drive), "--root", str(guest), *more]
        done = subprocess.run(argv, cwd=rig.REPOSITORY, capture_output=True)
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr
        assert b"guestagent: error" not in done.stdout + done.stderr
    # No file of the guest took the number of a stream, and its messages.
    assert (guest / "etc/hostname").read_text() == "web-1\n"


@pytest.mark.parametrize("arguments", [["schema"], ["--version"], ["--help"]])
def test_output_that_is_not_read_ends_quietly(program: list[str], arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*program, *arguments], cwd=rig.REPOSITORY, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (defs.EXIT_UNREAD, b"")


def test_output_that_cannot_be_written_is_an_error_of_one_line(program: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*program, "--version"], cwd=rig.REPOSITORY, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == defs.EXIT_ERRORS
    assert done.stderr.startswith(b"guestagent: error: ")
    assert done.stderr.endswith(b": No space left on device\n")
    assert done.stderr.count(b"\n") == 1


def test_messages_that_are_not_read_end_no_run(
    program: list[str], guest: Path, drive: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [*program, "apply", "--source", str(drive), "--root", str(guest)]
    # With this variable Python would keep nothing that it could not write.
    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(argv, cwd=rig.REPOSITORY, env=environment, stderr=writing)
    os.close(writing)
    assert (guest / "etc/hostname").read_text() == "web-1\n"
    assert done.returncode == 0


def test_a_dry_run_as_an_ordinary_user_says_what_it_cannot_see(
    guest: Path, drive: Path, tmp_path: Path
) -> None:
    """It shows the rest: here a host name that an administrator has changed."""
    rig.need_root()
    rig.need_tools("setpriv")
    for path in (*tmp_path.parents, tmp_path):
        if path.is_relative_to("/tmp/"):
            path.chmod(path.stat().st_mode | 0o055)
    argv = ["apply", "--source", str(drive), "--root", str(guest)]
    program = ["/usr/bin/python3", "-m", "guestagent"]
    subprocess.run([sys.executable, "-m", "guestagent", *argv], cwd=rig.REPOSITORY, check=True)
    (guest / "etc/hostname").write_text("another\n")
    (guest / "etc/ssh/sshd_config").chmod(0o600)
    before = rig.snapshot(guest)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run(
        [*nobody, *program, *argv, "--dry-run"],
        cwd=rig.REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "internal error" not in done.stderr
    assert "change /etc/hostname" in done.stdout, done.stderr
    assert f"{defs.STATE_FILE}: only root can read what earlier runs did" in done.stdout
    assert f"{defs.SSHD_CONFIG}: only root can read it" in done.stdout
    assert "/home/debian/.ssh/authorized_keys: Permission denied" in done.stdout
    assert done.returncode == defs.EXIT_ERRORS
    assert rig.differences(before, rig.snapshot(guest)) == set()
