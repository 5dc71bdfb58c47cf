"""What sshd uses of the settings that were written for it, by its own word."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.commit.sshd import PASSWORDS_STAY
from guestagent.errors import Origin, Problem, Problems
from guestagent.live import sshd
from guestagent.plan.kinds.file import WriteFile
from guestagent.plan.kinds.sshd import SetSshd
from guestagent.system.root import Root
from guestagent.system.tools import Result

WHY = Origin("test", "", "")
DROPIN = "PasswordAuthentication no\nPermitRootLogin prohibit-password\nX11Forwarding no\n"
AGREES = "port 22\npasswordauthentication no\npermitrootlogin without-password\n"


class Guest:
    """A guest whose sshd says that it uses some settings."""

    def __init__(self, tree: Path, mocker: MockerFixture) -> None:
        self.tree = tree
        self.says = Result(0, AGREES.encode(), b"")
        self.installed = True
        self.switches_off = False
        self.put(defs.SSHD_DROPIN, DROPIN)
        mocker.patch.object(sshd, "make_run_folder")
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

    def check(self, *, stays: bool = True) -> list[Problem]:
        """All problems with the drop-in that is in the tree, and whether it is there then."""
        new = (self.tree / defs.SSHD_DROPIN[1:]).read_bytes()
        file = WriteFile("write", defs.SSHD_DROPIN, None, new, None, 0o600, "", WHY, False)
        change = SetSshd("set_sshd", file, self.switches_off, key_files=())
        problems = Problems()
        assert sshd.keep_or_take_back(change, Root(str(self.tree)), problems) is stays
        assert (self.tree / defs.SSHD_DROPIN[1:]).exists() is stays
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
    assert guest.check()[0].reason == f"overridden by {defs.SSHD_CONFIG}"  # it includes no other
    included = f"Include {defs.SSHD_DROPINS}/*.conf\nPasswordAuthentication yes\n"
    guest.put(defs.SSHD_CONFIG, included)
    assert guest.check()[0].reason == f"overridden by {defs.SSHD_DROPINS}/50-cloud.conf"
    guest.put(defs.SSHD_CONFIG, f"Include first/*\n{included}")
    guest.put(f"{defs.SSH_DIR}/first/a", "Match User ada\nPasswordAuthentication yes\n")
    guest.put(f"{defs.SSH_DIR}/first/b", "PasswordAuthentication yes\n")
    assert guest.check()[0].reason == f"overridden by {defs.SSH_DIR}/first/b"


def test_a_configuration_that_sshd_does_not_accept_is_an_error(guest: Guest) -> None:
    guest.says = Result(255, b"", b"bad option\n")
    (problem,) = guest.check(stays=False)
    assert (problem.severity, "bad option" in problem.reason) == ("error", True)
    assert problem.reason.endswith("; taken back")


def test_D8_what_fails_to_switch_passwords_off_is_taken_back(guest: Guest) -> None:
    guest.switches_off = True
    assert guest.check() == []
    guest.says = Result(0, AGREES.replace("cation no", "cation yes").encode(), b"")
    guest.put(defs.SSHD_CONFIG, "PasswordAuthentication yes\n")
    (problem,) = guest.check(stays=False)
    assert problem == Problem(
        *("error", "sshd", defs.SSHD_DROPIN, ""),
        f"passwordauthentication: overridden by {defs.SSHD_CONFIG}; taken back: {PASSWORDS_STAY}",
    )


def test_D8_passwords_that_stay_on_for_some_are_told(guest: Guest) -> None:
    guest.switches_off = True
    guest.put(defs.SSHD_CONFIG, "Include old.conf\nMatch Address 192.0.2.0/24\nX11Forwarding no\n")
    guest.put(
        f"{defs.SSH_DIR}/old.conf",
        "Match User ada\nPasswordAuthentication yes\nKbdInteractiveAuthentication YES\n"
        "Match User bob\nPasswordAuthentication no\n",
    )
    (problem,) = guest.check()
    assert problem == Problem(
        *("warning", "sshd", defs.SSHD_DROPIN, "passwordauthentication"),
        "stays on where Match User ada is met, by /etc/ssh/old.conf: remove it there unless it is"
        " wanted",
    )
    guest.switches_off = False
    assert guest.check() == []


def test_what_cannot_be_taken_back_is_told(guest: Guest, mocker: MockerFixture) -> None:
    guest.says = Result(255, b"", b"bad option\n")
    mocker.patch.object(sshd, "take_back", side_effect=OSError(30, "Read-only file system"))
    change = mocker.Mock(switches_off=True, **{"file.new": b""})
    problems = Problems()
    assert not sshd.keep_or_take_back(change, Root(str(guest.tree)), problems)
    assert "taken back, which failed: Read-only file system" in problems.problems[0].reason


def test_without_sshd_there_is_nothing_to_check(guest: Guest) -> None:
    guest.says = Result(255, b"", b"not to be asked\n")
    guest.installed = False
    assert guest.check() == []
