"""What sshd uses of the settings that were written for it, by its own word."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.errors import Problem, Problems
from guestagent.live import sshd
from guestagent.system.root import Root
from guestagent.system.tools import Result

DROPIN = "PasswordAuthentication no\nPermitRootLogin prohibit-password\nX11Forwarding no\n"
AGREES = "port 22\npasswordauthentication no\npermitrootlogin without-password\n"


class Guest:
    """A guest whose sshd says that it uses some settings."""

    def __init__(self, tree: Path, mocker: MockerFixture) -> None:
        self.tree = tree
        self.says = Result(0, AGREES.encode(), b"")
        self.installed = True
        self.put(defs.SSHD_DROPIN, DROPIN)
        mocker.patch("guestagent.live.sshd.os.mkdir")
        mocker.patch.object(sshd, "find_program", self.find_program)
        mocker.patch.object(sshd, "run", self.run)

    def find_program(self, name: str) -> str | None:
        return name if self.installed else None

    def run(self, argv: list[str]) -> Result:
        assert argv == ["sshd", "-T"]
        return self.says

    def put(self, path: str, text: str) -> None:
        file = self.tree / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def check(self) -> list[Problem]:
        problems = Problems()
        sshd.check_sshd(Root(str(self.tree)), problems)
        return problems.problems


@pytest.fixture
def guest(tree: Path, mocker: MockerFixture) -> Guest:
    return Guest(tree, mocker)


def test_a_value_by_its_older_name_is_the_same(guest: Guest) -> None:
    assert guest.check() == []


@pytest.mark.parametrize("says", ["passwordauthentication yes", "port 22"])
def test_the_first_file_that_sets_a_keyword_is_named(guest: Guest, says: str) -> None:
    guest.says = Result(0, f"{says}\npermitrootlogin prohibit-password\n".encode(), b"")
    (problem,) = guest.check()
    assert problem == Problem(
        *("warning", "sshd", defs.SSHD_DROPIN, "passwordauthentication"),
        "overridden by another setting",
    )
    guest.put(defs.SSHD_CONFIG, "passwordAuthentication yes\n")
    assert guest.check()[0].reason == f"overridden by {defs.SSHD_CONFIG}"
    guest.put(f"{defs.SSHD_DROPINS}/50-cloud.conf", "# a note\n\nPasswordAuthentication\tyes\n")
    guest.put(f"{defs.SSHD_DROPINS}/00-note.txt", "PasswordAuthentication yes\n")
    assert guest.check()[0].reason == f"overridden by {defs.SSHD_DROPINS}/50-cloud.conf"


def test_a_configuration_that_sshd_does_not_accept_is_an_error(guest: Guest) -> None:
    guest.says = Result(255, b"", b"bad option\n")
    (problem,) = guest.check()
    assert (problem.severity, "bad option" in problem.reason) == ("error", True)


def test_without_sshd_or_settings_of_ours_there_is_nothing_to_check(guest: Guest) -> None:
    guest.says = Result(255, b"", b"not to be asked\n")
    guest.installed = False
    assert guest.check() == []
    guest.installed = True
    guest.put(defs.SSHD_DROPIN, "X11Forwarding no\n")
    assert guest.check() == []
