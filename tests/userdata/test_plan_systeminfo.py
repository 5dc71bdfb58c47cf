"""``system_info.default_user``: fields of the default user among cloud-init's own settings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.plan.kinds.account import UserPassword

from .planning import apply_twice, clean_plan, dry_run, files, make_drive, places, plan_of
from .test_plan_users import DATA, KEY, keys, lines_of, real_accounts, users

TEXT = "system_info: {default_user: {name: ha, groups: [sudo], shell: /bin/sh, gecos: Home}}"


def test_it_changes_the_default_user_and_gets_the_metadatas_keys() -> None:
    resources = clean_plan(TEXT, data=DATA)
    made = users(resources)["ha"]
    assert (made.gecos, made.shell, made.groups) == ("Home", "/bin/sh", ("sudo",))
    assert list(keys(resources)) == ["/home/ha/.ssh/authorized_keys"]
    assert b"\nha ALL=(ALL:ALL) NOPASSWD: ALL\n" in files(resources)[defs.SUDOERS_FILE].content
    assert made.why.key.startswith("system_info.default_user (line 2, ")


@pytest.mark.parametrize("name", ["ALL", "ADMINS", "Ada"])
def test_E_a_name_that_sudo_has_a_meaning_for_gives_the_rule_to_nobody_else(
    name: str, tmp_path: Path
) -> None:
    """As sudo itself reads the file: ALL is everyone, and other capitals are an alias."""
    rule = files(clean_plan(f"user: {{name: {name}}}"))[defs.SUDOERS_FILE].content
    assert f'\n"{name}" ALL=(ALL:ALL) NOPASSWD: ALL\n'.encode() in rule
    assert rules_of("debian", rule, tmp_path) == ""
    assert "NOPASSWD: ALL" in rules_of(name, rule, tmp_path)


def rules_of(user: str, rules: bytes, folder: Path) -> str:
    """Return the rules for a user, as cvtsudoers(1) finds them."""
    unpacked = rig.REPOSITORY / ".venv/sudo"
    tool = unpacked / "usr/bin/cvtsudoers"
    rig.need(tool.exists(), "needs cvtsudoers, which make tools unpacks")
    path = folder / "sudoers"
    path.write_bytes(rules)
    libraries = ":".join({str(found.parent) for found in unpacked.rglob("libsudo_util.so.0")})
    argv = [str(tool), "-f", "sudoers", "-c", "/dev/null", "-m", f"user={user}", str(path)]
    done = subprocess.run(
        argv, env={"LD_LIBRARY_PATH": libraries}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_user_wins_over_it_field_by_field() -> None:
    resources = clean_plan(f"{TEXT}\nuser: {{name: ada, shell: /bin/bash}}")
    made = users(resources)["ada"]
    assert (made.gecos, made.shell, made.groups) == ("Home", "/bin/bash", ("sudo",))
    assert "ha" not in users(resources)


@pytest.mark.parametrize("text", ["users: [default]", "users: [default, ada]"])
def test_it_counts_where_users_name_the_default_user(text: str) -> None:
    assert users(clean_plan(f"{TEXT}\n{text}"))["ha"].shell == "/bin/sh"


@pytest.mark.parametrize("text", ["users: []", "users: [ada]"])
def test_users_without_the_default_user_make_none(text: str) -> None:
    assert "ha" not in users(clean_plan(f"{TEXT}\n{text}"))


@pytest.mark.parametrize("text", ["{}", "{default_user: {}}", "{default_user: null}"])
def test_nothing_in_it_makes_nobody(text: str) -> None:
    assert users(clean_plan(f"system_info: {text}")) == {}


def test_its_password_is_set() -> None:
    text = "system_info: {default_user: {plain_text_passwd: hush, lock_passwd: false}}"
    found = [item for item in clean_plan(text) if isinstance(item, UserPassword)]
    assert [(item.name, item.secret.reveal()) for item in found] == [("debian", "hush")]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ("name: 'a:b'", "name"),
        ("name: ha, shell: sh", "shell"),
        ("name: ha, sudo: 'ALL=(ALL ALL'", "sudo[0]"),
    ],
)
def test_a_bad_value_is_an_error_at_its_place(fields: str, place: str) -> None:
    _, problems = plan_of(f"system_info:\n  default_user: {{{fields}}}\n")
    (key,) = [key for severity, key in places(problems) if severity == "error"]
    assert key.startswith(f"system_info.default_user.{place} (line 3, ")


def test_a_tree_gets_that_account_and_its_keys(guest: Path, tmp_path: Path) -> None:
    real_accounts(guest, "sudo")
    drive = make_drive(tmp_path, f"{TEXT}\n", public_keys={"k": KEY})
    planned = {change["summary"] for change in dry_run(drive, guest)["changes"]}
    assert "add user ha" in planned
    apply_twice(drive, guest)
    assert lines_of(guest, "passwd")["ha"][4:] == ["Home", "/home/ha", "/bin/sh"]
    assert KEY in (guest / "home/ha/.ssh/authorized_keys").read_text()
