"""Passwords of cloud-config: whose word counts, hashes of every kind, locks, and secrecy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rig

from guestagent import defs
from guestagent.desired.accounts.passwords import is_hash, password_hash
from guestagent.errors import FieldError, Origin
from guestagent.model import Account, Password, Secret, Text

from .planning import (
    FACTS,
    METADATA,
    SETTINGS,
    apply_twice,
    clean_plan,
    dry_run,
    make_drive,
    places,
    plan_of,
)
from .test_plan_users import KEY, lines_of, real_accounts

if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.account import UserPassword

SHA512 = "$6$saltsalt$" + "a" * 86
ADMIN = Password(Secret("CANARY-admin"), Origin("drive", "meta_data.json", "admin_pass"))
DATA = METADATA._replace(admin_pass=ADMIN)
KEYED = METADATA._replace(ssh_keys=(Text(KEY, Origin("drive", "meta_data.json", "keys")),))
SHOWN = SETTINGS._replace(password_random_to_console=True)
# The forms that crypt(5) lists, as libxcrypt makes them of "word".
HASHES = [
    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    "$gy$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    "$7$DU..../....2Q9obwLhin8qvQl6sisAO/$E1HizYWxBmnIH4sdPkd1UOML9t62Gf.wvNTnt5XFzs8",
    "$2b$05$cmFuZG9tIHNhbHQgZm9ydOlk9sIzDpPwnSR3VhHgX5o6rGnJ1iZnq",
    "$2a$05$cmFuZG9tIHNhbHQgZm9ydOlk9sIzDpPwnSR3VhHgX5o6rGnJ1iZnq",
    "$2y$05$cmFuZG9tIHNhbHQgZm9ydOlk9sIzDpPwnSR3VhHgX5o6rGnJ1iZnq",
    SHA512,
    "$6$rounds=4096$saltsalt$" + "b" * 86,
    "$5$saltsalt$" + "c" * 43,
    "$sha1$248488$saltsalt$" + "d" * 28,
    "$md5,rounds=904$saltsalt$$" + "e" * 22,
    "$md5$saltsalt$" + "e" * 22,
    "$1$saltsalt$" + "f" * 22,
    "$3$$8846f7eaee8fb117ad06bdd830b7586c",
]


def passwords(resources: list[Resource]) -> dict[str, UserPassword]:
    return {item.name: item for item in resources if item.kind == "password"}


def told(resources: list[Resource]) -> dict[str, tuple[str, str]]:
    """Form and text of the passwords by account."""
    found = passwords(resources)
    return {name: (item.form, item.secret.reveal()) for name, item in found.items()}


def states(resources: list[Resource]) -> set[tuple[str, str]]:
    return {(item.name, item.state) for item in resources if item.kind == "password_state"}


class TestChpasswd:
    """The key ``chpasswd``, and ``password``."""

    def test_the_old_list_is_text_or_a_list(self) -> None:
        for text in ('"root:passw0rd\\ndebian:a:b c\\n"', "['root:passw0rd', 'debian:a:b c']"):
            resources = clean_plan(f"chpasswd: {{list: {text}, expire: False}}")
            assert told(resources) == {"root": ("plain", "passw0rd"), "debian": ("plain", "a:b c")}
            assert states(resources) == set()

    def test_passwords_expire_unless_it_says_otherwise(self) -> None:
        text = f"chpasswd: {{users: [{{name: root, password: {SHA512}}}], list: ['debian:x']}}"
        assert states(clean_plan(text)) == {("root", "expired"), ("debian", "expired")}

    def test_types_of_users(self) -> None:
        text = f"""chpasswd:
  expire: false
  users:
  - {{name: root, password: '{SHA512}'}}
  - {{name: debian, password: '$6$no$hash', type: text}}
"""
        assert told(clean_plan(text)) == {
            "root": ("hash", SHA512),
            "debian": ("plain", "$6$no$hash"),
        }

    @pytest.mark.parametrize("value", HASHES, ids=[value[:6] for value in HASHES])
    def test_every_kind_of_hash_is_told_from_a_password(self, value: str) -> None:
        assert is_hash(value)
        assert told(clean_plan(f"chpasswd: {{list: ['root:{value}']}}")) == {
            "root": ("hash", value)
        }
        assert told(clean_plan(f"password: '{value}'")) == {"debian": ("hash", value)}

    @pytest.mark.parametrize("value", ["passw0rd", "$6$", "$ecret$", "$6$a$b:c", "$6$a b$c", "!"])
    def test_what_is_no_hash_is_a_password(self, value: str) -> None:
        assert told(clean_plan(f"chpasswd: {{list: ['root:{value}']}}")) == {
            "root": ("plain", value)
        }

    @pytest.mark.parametrize("value", ["", "word", "$6$a$b:c", "$6$a\nb$c", "$99$a$b", "a" * 14])
    def test_a_hash_must_be_one(self, value: str) -> None:
        with pytest.raises(FieldError):
            password_hash(value)

    @pytest.mark.parametrize(
        "value", [*HASHES, "*", "!", "!!", f"!{SHA512}", "abJnggxhB/yWI", "_" + "a" * 19]
    )
    def test_what_shadow_may_hold_is_taken_as_a_hash(self, value: str) -> None:
        assert password_hash(value) == value

    @pytest.mark.parametrize(
        "text",
        [
            "chpasswd: {list: ['debian:R']}",
            "chpasswd: {list: ['debian:RANDOM']}",
            "chpasswd: {users: [{name: debian, type: RANDOM}]}",
            "password: RANDOM",
        ],
    )
    def test_random_ones_are_shown_by_setting_only(self, text: str) -> None:
        found = passwords(clean_plan(text, settings=SHOWN))["debian"]
        assert (found.form, found.shown) == ("random", True)
        for more in ({}, {"settings": SHOWN, "facts": FACTS._replace(live=False)}):
            resources, problems = plan_of(text, **more)  # type: ignore[arg-type]
            assert [problem.severity for problem in problems] == ["warning"]
            assert "no one will know" in problems[0].reason
            assert not passwords(resources)["debian"].shown

    def test_password_is_the_default_user_s(self) -> None:
        facts = FACTS._replace(accounts=FACTS.accounts[:1])
        resources = clean_plan("password: word", facts=facts)
        assert told(resources) == {"debian": ("plain", "word")}
        assert states(resources) == {("debian", "expired")}
        assert [item.name for item in resources if item.kind == "user"] == ["debian"]

    @pytest.mark.parametrize(
        "text", ["password: word\nchpasswd: {list: ['root:x']}", "users: []\npassword: word"]
    )
    def test_password_without_use_is_a_warning(self, text: str) -> None:
        resources, problems = plan_of(text)
        assert [(item.severity, item.key.split()[0]) for item in problems] == [
            ("warning", "password")
        ]
        assert "debian" not in passwords(resources)

    def test_bad_entries_are_errors_at_their_places(self) -> None:
        text = """chpasswd:
  list:
  - CANARY
  - nobody-here:CANARY
  - root:passw0rd
  - "debian:CANARY\\nroot:CANARY"
  users:
  - {name: "a:b", password: CANARY, type: text}
  - {name: debian, password: CANARY}
"""
        resources, problems = plan_of(text)
        assert places(problems) == [
            ("error", "chpasswd.users[0] (line 9, column 5)"),
            ("error", "chpasswd.users[1] (line 10, column 5)"),
            ("error", "chpasswd.list[0] (line 4, column 5)"),
            ("error", "chpasswd.list[1] (line 5, column 5)"),
            ("error", "chpasswd.list[3] (line 7, column 5)"),
        ]
        assert "CANARY" not in repr(problems)
        assert told(resources) == {"root": ("plain", "passw0rd")}


class TestUsers:
    """Passwords and locks that ``users`` ask for."""

    def test_all_are_locked_unless_they_say_otherwise(self) -> None:
        text = "users: [default, ada, {name: ben, lock_passwd: false}, {name: root}]"
        expected = {("debian", "locked"), ("ada", "locked"), ("root", "locked")}
        assert states(clean_plan(text, data=KEYED)) == expected

    def test_a_lock_that_nobody_asked_for_is_told_with_a_password(self) -> None:
        resources, problems = plan_of("users: [{name: ada, plain_text_passwd: word}]")
        assert places(problems) == [
            ("warning", "users[0].plain_text_passwd (line 2, column 21)"),
        ]
        assert states(resources) == {("ada", "locked")}
        assert "ada" in passwords(resources)

    def test_passwd_is_for_new_accounts_only(self) -> None:
        text = f"""users:
- {{name: ada, passwd: {SHA512}, lock_passwd: false}}
- {{name: debian, passwd: {SHA512}, lock_passwd: false}}
"""
        assert told(clean_plan(text)) == {"ada": ("hash", SHA512)}

    def test_a_hash_comes_before_a_password(self) -> None:
        both = f"plain_text_passwd: x, hashed_passwd: {SHA512}"
        text = f"users: [{{name: debian, lock_passwd: false, {both}}}]"
        assert told(clean_plan(text)) == {"debian": ("hash", SHA512)}

    def test_chpasswd_comes_before_users_and_takes_the_lock_away(self) -> None:
        text = "users: [{name: ada, plain_text_passwd: x, lock_passwd: true}]\n"
        resources = clean_plan(text + "chpasswd: {list: ['ada:word'], expire: false}")
        assert told(resources) == {"ada": ("plain", "word")}
        assert states(resources) == set()

    @pytest.mark.parametrize("field", ["passwd", "hashed_passwd", "plain_text_passwd"])
    def test_a_bad_password_is_an_error_at_its_place(self, field: str) -> None:
        text = f'users: [{{name: ada, lock_passwd: false, {field}: "CANARY\\nroot:x"}}, ben]'
        resources, problems = plan_of(text)
        assert places(problems) == [("error", f"users[0].{field} (line 2, column 41)")]
        assert "CANARY" not in repr(problems)
        assert passwords(resources) == {}


class TestMetadata:
    """The metadata's admin_pass beside user data."""

    def test_user_data_s_password_comes_first(self) -> None:
        resources = clean_plan("password: word", data=DATA)
        assert told(resources) == {"debian": ("plain", "word")}

    def test_it_is_locked_only_where_the_user_data_say_so(self) -> None:
        resources = clean_plan("users: [default]", data=DATA)
        assert told(resources) == {"debian": ("plain", "CANARY-admin")}
        assert states(resources) == set()
        resources = clean_plan("users: [{name: default, lock_passwd: true}]", data=DATA)
        assert (told(resources), states(resources)) == ({}, {("debian", "locked")})

    def test_without_a_default_user_nobody_gets_it(self) -> None:
        assert told(clean_plan("users: [ada]", data=DATA)) == {}


def test_a_name_with_a_dot_is_a_name() -> None:
    facts = FACTS._replace(accounts=(*FACTS.accounts, Account("Ada.L", 1001, 1001, "/home/Ada.L")))
    found = told(clean_plan("chpasswd: {list: ['Ada.L:word']}", facts=facts))
    assert found == {"Ada.L": ("plain", "word")}


TREE = f"""users:
- {{name: ada, plain_text_passwd: CANARY-ada, lock_passwd: false}}
- {{name: ben, passwd: {SHA512}, lock_passwd: true}}
- {{name: cyd, hashed_passwd: '{HASHES[0]}', lock_passwd: false}}
- {{name: dee}}
chpasswd:
  users: [{{name: root, password: CANARY-root, type: text}}]
  list: ['dee:{SHA512}', 'debian:RANDOM']
"""


@pytest.fixture
def accounts(guest: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A tree with databases, and a drive with the passwords above."""
    return real_accounts(guest), make_drive(tmp_path, TREE)


def test_B6_a_tree_gets_passwords_locks_and_dates(accounts: tuple[Path, Path]) -> None:
    guest, drive = accounts
    plan = dry_run(drive, guest)
    assert "CANARY" not in str(plan)
    assert SHA512 not in str(plan)
    assert "lock the password of ben" in {change["summary"] for change in plan["changes"]}
    done = apply_twice(drive, guest)
    assert "CANARY" not in done.out + done.err
    shadow = lines_of(guest, "shadow")
    assert shadow["ada"][1].startswith("$6$")
    assert shadow["ben"][1] == f"!{SHA512}"
    assert shadow["cyd"][1] == HASHES[0]
    assert shadow["dee"][1] == SHA512
    assert shadow["root"][1].startswith("$6$")
    assert shadow["debian"][1].startswith("$6$")
    expired = {name for name, parts in shadow.items() if parts[2] == "0"}
    assert expired == {"root", "dee", "debian"}


def test_B3_no_secret_is_in_a_command_line_or_left_behind(
    accounts: tuple[Path, Path], tmp_path: Path
) -> None:
    guest, drive = accounts
    rig.need_tools("strace")
    log = tmp_path / "strace"
    code = "import sys; sys.path += sys.argv[1:3]; del sys.argv[1:3]; "
    code += "from guestagent.cli import main; sys.exit(main(sys.argv[1:]))"
    agent = [sys.executable, "-IBS", "-c", code, str(rig.REPOSITORY), rig.LIBRARIES]
    agent += ["apply", "--source", str(drive), "--root", str(guest)]
    trace = ["strace", "-f", "-qq", "-e", "trace=execve", "-s", "65536", "-v", "-o", str(log)]
    done = subprocess.run([*trace, *agent], capture_output=True)
    assert done.returncode == 0, done.stderr
    started = log.read_text()
    assert "chpasswd" in started
    places_of = [path for path in guest.rglob("*") if path.is_file()]
    left = [path for path in places_of if b"CANARY" in path.read_bytes()]
    assert left == []
    for secret in ("CANARY", SHA512, HASHES[0]):
        assert secret not in started
        assert secret.encode() not in done.stdout + done.stderr


def test_D1_an_account_that_a_killed_run_had_made_still_gets_its_password(
    guest: Path, tmp_path: Path
) -> None:
    real_accounts(guest)
    drive = make_drive(tmp_path, f"users: [{{name: app, lock_passwd: false, passwd: {SHA512}}}]")
    subprocess.run(["useradd", "--root", guest, "--create-home", "app"], check=True)
    note = guest / defs.NOTE_FILE[1:]
    note.parent.mkdir(mode=0o700, parents=True)
    note.write_text('{"appended": {}, "made": [], "accounts": ["app"], "instance": "i-1"}')
    apply_twice(drive, guest)
    assert lines_of(guest, "shadow")["app"][1] == SHA512
    assert not note.exists()
