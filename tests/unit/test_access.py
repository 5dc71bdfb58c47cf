"""Who can log in when a run is over: what counts as a way into the guest, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rig

from guestagent.desired.accounts.access import Access, lets_in, who_gets_in
from guestagent.errors import Origin, Refused
from guestagent.facts import gather, sshd
from guestagent.model import UNREADABLE, Secret
from guestagent.plan.kinds.account import PasswordState, UserPassword
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.random_password import ConsolePassword
from guestagent.system.accounts import find_group, read_accounts
from guestagent.system.root import Root

if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

WHY = Origin("drive", "user_data", "users")
METADATA = Origin("drive", "meta_data.json", "admin_pass")
ADA = "/home/ada/.ssh/authorized_keys"
REFUSAL = f'restrict,command="echo no" {rig.KEY}'
HASH = "$6$saltsalt$" + "a" * 86

KEYS = Block("block", ADA, (rig.KEY,), "block", user="ada", mode=0o600, why=WHY, lets_in=True)
PASSWORD = UserPassword("password", "ada", Secret("word"), WHY)
LOCK = PasswordState("password_state", "ada", "locked", WHY)


def file(path: str, text: str, kind: str = "file", late: bool = False) -> File:
    return File(kind, path, text.encode(), 0o600, WHY, late=late)  # type: ignore[arg-type]


def test_without_keys_and_passwords_no_one_gets_in() -> None:
    access = who_gets_in([])
    assert access == Access(frozenset(), {}, frozenset())
    assert not access.anyone
    assert not access.by_key
    assert not access.by_password


class TestKeys:
    """SSH keys."""

    def test_a_key_of_an_account_lets_in(self) -> None:
        access = who_gets_in([KEYS])
        assert access.key_files == {ADA}
        assert access.by_key
        assert access.anyone
        assert not access.by_password

    def test_lines_that_let_no_one_in_are_none(self) -> None:
        assert not who_gets_in([KEYS._replace(lets_in=False)]).anyone

    def test_a_locked_password_does_not_stop_a_key(self) -> None:
        assert who_gets_in([KEYS, LOCK]).by_key

    @pytest.mark.parametrize("kind", ["file", "append"])
    @pytest.mark.parametrize("late", [False, True])
    def test_a_file_may_bring_the_keys(self, kind: str, late: bool) -> None:
        access = who_gets_in([file("/srv/ada/.ssh/authorized_keys", rig.KEY, kind, late)])
        assert access.key_files == {"/srv/ada/.ssh/authorized_keys"}

    @pytest.mark.parametrize("text", ["", "\n", "# a comment\n", REFUSAL])
    def test_a_file_without_a_usable_key_does_not(self, text: str) -> None:
        assert not who_gets_in([file(ADA, text)]).anyone

    @pytest.mark.parametrize("path", ["/srv/authorized_keys", f"{ADA}.old", "/etc/motd"])
    def test_a_file_elsewhere_does_not(self, path: str) -> None:
        assert not who_gets_in([file(path, rig.KEY)]).anyone

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ([rig.KEY], True),
            ([f'no-pty,from="10.0.0.0/8" {rig.KEY}'], True),
            ([REFUSAL], False),
            ([REFUSAL, rig.KEY], True),
            (["", "# one", f"  # {rig.KEY}"], False),
            ([], False),
        ],
    )
    def test_a_key_that_is_tied_to_a_command_opens_no_session(
        self, lines: list[str], expected: bool
    ) -> None:
        assert lets_in(lines) is expected


class TestPasswords:
    """Passwords, and locks."""

    @pytest.mark.parametrize(
        "password",
        [
            PASSWORD,
            UserPassword("password", "ada", Secret(HASH), WHY, form="hash"),
            UserPassword("password", "ada", Secret(""), WHY, form="random", shown=True),
            ConsolePassword("console_password", "ada", 3, 5, url="http://x/", why=WHY),
        ],
        ids=["plain", "hash", "random and shown", "sent to the service"],
    )
    def test_a_password_that_someone_can_know_lets_in(self, password: Resource) -> None:
        access = who_gets_in([password])
        assert access.by_password == {"ada": WHY}
        assert access.anyone
        assert not access.by_key
        assert not who_gets_in([password, LOCK]).anyone

    @pytest.mark.parametrize(
        "password",
        [
            UserPassword("password", "ada", Secret(""), WHY, form="random"),
            UserPassword("password", "ada", Secret("!"), WHY, form="hash"),
            UserPassword("password", "ada", Secret("*"), WHY, form="hash"),
            UserPassword("password", "ada", Secret(f"!{HASH}"), WHY, form="hash"),
        ],
        ids=["random", "!", "*", "locked hash"],
    )
    def test_one_that_no_one_can_know_does_not(self, password: UserPassword) -> None:
        assert not who_gets_in([password]).anyone

    def test_a_plain_password_may_look_like_a_lock(self) -> None:
        assert who_gets_in([PASSWORD._replace(secret=Secret("!"))]).anyone

    def test_the_lock_counts_wherever_it_is_in_the_plan(self) -> None:
        assert not who_gets_in([LOCK, PASSWORD]).anyone

    def test_another_account_s_lock_does_not_count(self) -> None:
        access = who_gets_in([PASSWORD, LOCK._replace(name="ben")])
        assert access.by_password == {"ada": WHY}
        assert access.locked == {"ben"}

    def test_an_expired_password_lets_in(self) -> None:
        assert who_gets_in([PASSWORD, LOCK._replace(state="expired")]).anyone

    def test_where_a_password_comes_from_is_told(self) -> None:
        root = PASSWORD._replace(name="root", why=METADATA)
        assert who_gets_in([PASSWORD, root]).by_password == {"ada": WHY, "root": METADATA}

    def test_a_password_from_an_earlier_run_still_lets_in(self) -> None:
        assert who_gets_in([], {"ada": METADATA}).by_password == {"ada": METADATA}
        assert not who_gets_in([LOCK], {"ada": METADATA}).anyone

    def test_a_new_password_replaces_the_one_from_an_earlier_run(self) -> None:
        assert who_gets_in([PASSWORD], {"ada": METADATA}).by_password == {"ada": WHY}
        unknown = UserPassword("password", "ada", Secret("*"), WHY, form="hash")
        assert not who_gets_in([unknown], {"ada": METADATA}).anyone


def test_D10_a_damaged_line_of_sshd_is_one_that_cannot_be_read(guest: Path) -> None:
    config = guest / "etc/ssh/sshd_config"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("Include \0/s\nPort 22\n")
    root = Root(str(guest))
    found = sshd.read(root)
    assert [line.keyword for line in found] == [UNREADABLE, "port"]
    assert not any("\0" in path for path in root.watched)


def test_D4_host_keys_that_are_not_made_here_are_known(guest: Path) -> None:
    (guest / "etc/ssh/image_key").write_text("the image's")
    (guest / "var/lib/image_key").write_text("the image's")
    lines = (
        *("UsePAM yes", "HostKey /etc/ssh/ssh_host_rsa_key", "HostKey none"),
        *('HostKey "/etc/ssh/image_key"', "hostkey=/var/lib/image_key", "HostKey /var/lib/later"),
    )
    for count in range(1, len(lines) + 1):
        (guest / "etc/ssh/sshd_config").write_text("".join(f"{line}\n" for line in lines[:count]))
        found = gather(Root(str(guest))).host_keys
        assert found == ("/etc/ssh/image_key", "/var/lib/image_key")[: max(0, min(2, count - 3))]


@pytest.mark.parametrize(
    ("text", "included"),
    [
        ("Include /etc/ssh/sshd_config.d/*.conf\n", True),
        ('include = "sshd_config.d/*"\n', True),
        ("Include /usr/etc/x/*.conf /etc/ssh/sshd_config.d/*.conf\n", True),
        ("Match User x\nBanner none\nMatch all\nInclude /etc/ssh/sshd_config.d/*.conf\n", True),
        ("Match User x\nInclude /etc/ssh/sshd_config.d/*.conf\n", False),
        ("Include /etc/ssh/sshd_config.d/1*.conf\n", False),
        ("Include /etc/ssh/*.conf\n", False),
        ("# Include /etc/ssh/sshd_config.d/*.conf\n\n", False),
    ],
)
def test_D4_drop_ins_count_that_sshd_reads_for_every_connection(
    guest: Path, text: str, included: bool
) -> None:
    (guest / "etc/ssh/sshd_config").write_text(text)
    assert gather(Root(str(guest))).sshd_dropins == included


@pytest.mark.parametrize("number", ["9" * 5000, "4294967296"])
def test_D10_a_number_that_no_user_can_have_makes_a_line_incomplete(
    tmp_path: Path, number: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"a:x:{number}:0::/a:/bin/sh\nb:x:1:0::/b:/bin/sh\n")
    (tmp_path / "etc/group").write_text(f"a:x:{number}:\n")
    root = Root(str(tmp_path))
    assert [account.name for account in read_accounts(root)] == ["b"]
    with pytest.raises(Refused):
        find_group(root, "a")


@pytest.mark.parametrize(
    ("home", "read"),
    [
        *(("/home/ada", "/home/ada"), ("/home//ada/./", "/home/ada"), ("/", "/")),
        *(("", ""), ("ada", ""), ("${x}/ada", ""), ("/home/../ada", ""), ("/a\tb", "")),
    ],
)
def test_B1_a_home_is_a_path_in_the_tree_or_none(tmp_path: Path, home: str, read: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"ada:x:1000:1000::{home}:/bin/sh\n")
    assert [account.home for account in read_accounts(Root(str(tmp_path)))] == [read]
