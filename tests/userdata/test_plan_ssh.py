"""Keys, host keys and sshd's policy by cloud-config; sshd itself judges what is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.desired.accounts.authorized import key_options
from guestagent.errors import FieldError, Origin, Problems
from guestagent.live import sshd as live_sshd
from guestagent.model import Account, Password, Secret, SshdLine, Text
from guestagent.plan.difference import diff
from guestagent.system.root import Root
from guestagent.system.tools import Result

from .planning import (
    FACTS,
    METADATA,
    SETTINGS,
    clean_plan,
    places,
    plan_of,
    sshd_policy,
)
from .test_plan_users import KEY, OTHER, keys

if TYPE_CHECKING:
    from guestagent.model import InstanceData

DATA = METADATA._replace(ssh_keys=(Text(KEY, Origin("drive", "meta_data.json", "keys")),))
PRACTICE = 'chpasswd: {list: "root:passw0rd\\n", expire: False}\nssh_pwauth: True\n'
HOME, ROOT = "/home/debian/.ssh/authorized_keys", "/root/.ssh/authorized_keys"


def policy(text: str, **more: object) -> list[str]:
    """The lines of the drop-in, without comments."""
    found = sshd_policy(clean_plan(text, **more))
    lines = found.content.decode().splitlines() if found else []
    return [line for line in lines if not line.startswith("#")]


class TestPolicy:
    """ssh_pwauth and disable_root in sshd's drop-in."""

    @pytest.mark.parametrize("word", ["true", "'yes'", "1", "on"])
    def test_passwords_are_switched_on(self, word: str) -> None:
        assert policy(f"ssh_pwauth: {word}") == ["PasswordAuthentication yes"]

    def test_it_comes_before_the_settings_unless_it_says_nothing(self) -> None:
        settings = SETTINGS._replace(sshd_password_authentication="no")
        assert policy("ssh_pwauth: true", settings=settings) == ["PasswordAuthentication yes"]
        kept, problems = plan_of("ssh_pwauth: unchanged", settings=settings, data=DATA)
        found = sshd_policy(kept)
        assert found is not None
        assert b"PasswordAuthentication no" in found.content
        assert found.switches_off
        assert found.key_files == (HOME,)
        assert [item for item in problems if item.severity == "error"] == []

    @pytest.mark.parametrize(
        ("text", "data"),
        [
            ("users: []", DATA),
            ("users: [default, {name: old, ssh_redirect_user: true}]", METADATA),
            ("disable_root: true", METADATA),
            ("users: [{name: eve, plain_text_passwd: word}]", METADATA),
            ("chpasswd: {users: [{name: debian, password: '!'}]}", METADATA),
        ],
    )
    def test_D8_passwords_stay_where_no_key_lets_in(self, text: str, data: InstanceData) -> None:
        settings = SETTINGS._replace(sshd_password_authentication="no")
        resources, problems = plan_of(text, data=data, settings=settings)
        assert sshd_policy(resources) is None
        assert ("warning", "sshd.password_authentication") in places(problems)
        resources, problems = plan_of(f"ssh_pwauth: false\n{text}", data=data)
        assert sshd_policy(resources) is None
        assert ("error", "ssh_pwauth (line 2, column 1)") in places(problems)

    @pytest.mark.parametrize(
        "text",
        [
            f"write_files: [{{path: /home/debian/.ssh/authorized_keys, content: {KEY}}}]",
            f"write_files: [{{path: /root/.ssh/authorized_keys, content: {KEY}, defer: true}}]",
        ],
    )
    def test_a_file_may_bring_the_key_that_lets_in(self, text: str) -> None:
        assert policy(f"ssh_pwauth: false\n{text}") == ["PasswordAuthentication no"]
        settings = SETTINGS._replace(sshd_password_authentication="no")
        assert policy(text, settings=settings) == ["PasswordAuthentication no"]

    @pytest.mark.parametrize(
        "text",
        [
            "ssh_authorized_keys: ['{key}']",
            "users: [{{name: ada, ssh_authorized_keys: ['{key}']}}]",
        ],
    )
    def test_passwords_go_where_the_user_data_bring_a_key(self, text: str) -> None:
        found = policy(f"ssh_pwauth: false\n{text.format(key=KEY)}")
        assert found == ["PasswordAuthentication no"]

    def test_root_may_use_the_password_it_is_given(self) -> None:
        wanted = ["PasswordAuthentication yes", "PermitRootLogin yes"]
        assert policy(PRACTICE) == wanted
        assert policy(f"{PRACTICE}disable_root: false") == wanted
        found = sshd_policy(clean_plan(PRACTICE))
        assert found is not None
        assert found.why.key.startswith("ssh_pwauth (line 3")

    @pytest.mark.parametrize(
        "text",
        [
            f"{PRACTICE}disable_root: true",
            "chpasswd: {list: 'debian:word'}\nssh_pwauth: true",
            "users: [{name: root, plain_text_passwd: x, lock_passwd: true}]\nssh_pwauth: true",
            "chpasswd: {users: [{name: root, password: '*'}]}\nssh_pwauth: true",
        ],
    )
    def test_root_s_login_is_left_alone_otherwise(self, text: str) -> None:
        assert policy(text) == ["PasswordAuthentication yes"]
        assert policy(text.replace("ssh_pwauth: true", "").replace("ssh_pwauth: True", "")) == []

    def test_the_metadata_s_password_does_not_let_root_in_over_ssh(self) -> None:
        settings = SETTINGS._replace(password_for="root")
        password = Password(Secret("word"), Origin("drive", "meta_data.json", "admin_pass"))
        data = METADATA._replace(admin_pass=password)
        found = policy("ssh_pwauth: true", data=data, settings=settings)
        assert found == ["PasswordAuthentication yes"]

    def test_what_the_image_s_builder_set_for_root_stays_unless_it_is_named(self) -> None:
        settings = SETTINGS._replace(sshd_permit_root_login="no")
        resources, problems = plan_of(PRACTICE, settings=settings)
        assert places(problems) == [("warning", "ssh_pwauth (line 3, column 1)")]
        found = sshd_policy(resources)
        assert found is not None
        assert b"PermitRootLogin no" in found.content
        named = policy(f"{PRACTICE}disable_root: false", settings=settings)
        assert "PermitRootLogin yes" in named

    def test_a_guest_that_cannot_have_it_is_told(self) -> None:
        for facts, severity in (
            (FACTS._replace(sshd_dropins=False), "error"),
            (FACTS._replace(programs=frozenset()), "warning"),
        ):
            resources, problems = plan_of("ssh_pwauth: true", facts=facts)
            assert places(problems) == [(severity, "ssh_pwauth (line 2, column 1)")]
            assert sshd_policy(resources) is None


class TestAuthorizedKeys:
    """Who gets which keys."""

    def test_each_file_has_one_block_without_doubles(self) -> None:
        text = f"""ssh_authorized_keys: ['{OTHER}', '{KEY} again']
users: [{{name: default, ssh_authorized_keys: ['{OTHER} own']}}]
"""
        assert keys(clean_plan(text, data=DATA)) == {HOME: (f"{OTHER} own", KEY)}

    def test_the_metadata_s_can_be_left_out(self) -> None:
        text = f"allow_public_ssh_keys: false\nssh_authorized_keys: ['{OTHER}']"
        assert keys(clean_plan(text, data=DATA)) == {HOME: (OTHER,)}

    def test_root_gets_them_only_where_it_is_not_disabled(self) -> None:
        assert list(keys(clean_plan("groups: [lab]", data=DATA))) == [HOME]
        found = keys(clean_plan("disable_root: false", data=DATA))
        assert found == {HOME: (KEY,), ROOT: (KEY,)}
        assert policy("disable_root: false", data=DATA) == []

    def test_a_disabled_root_s_keys_tell_whom_to_log_in_as(self) -> None:
        settings = SETTINGS._replace(ssh_keys_for=("default", "root"))
        assert keys(clean_plan("groups: [lab]", data=DATA, settings=settings))[ROOT] == (KEY,)
        (line,) = keys(clean_plan("disable_root: true", data=DATA, settings=settings))[ROOT]
        assert line.startswith('restrict,command="')
        assert "log in as debian, not as root" in line
        assert line.endswith(f" {KEY}")

    def test_disable_root_opts_come_before_root_s_keys(self) -> None:
        settings = SETTINGS._replace(ssh_keys_for=("root",))
        text = "disable_root_opts: 'no-pty,command=\"echo $USER, not $DISABLE_USER\"'"
        (line,) = keys(clean_plan(text, data=DATA, settings=settings))[ROOT]
        assert line == f'no-pty,command="echo debian, not root" {KEY}'
        resources, problems = plan_of(
            'disable_root_opts: "no-pty\\nssh-rsa"', data=DATA, settings=settings
        )
        assert places(problems) == [("error", "disable_root_opts (line 2, column 1)")]
        assert keys(resources)[ROOT][0].startswith('restrict,command="')

    def test_a_redirected_user_s_keys_name_the_default_user(self) -> None:
        text = "users: [default, {name: old, ssh_redirect_user: true}]"
        (line,) = keys(clean_plan(text, data=DATA))["/home/old/.ssh/authorized_keys"]
        assert "log in as debian, not as old" in line

    def test_nobody_is_redirected_without_a_default_user_or_a_key(self) -> None:
        text = "users: [{name: old, ssh_redirect_user: true}]"
        for more in ({"data": DATA}, {}):
            resources, problems = plan_of(text, **more)  # type: ignore[arg-type]
            told = [item for item in problems if "no account gets" not in item.reason]
            assert places(told) == [("warning", "users[0].ssh_redirect_user (line 2, column 21)")]
            assert keys(resources) == {}

    def test_a_home_elsewhere_is_where_the_keys_go(self) -> None:
        text = f"users: [{{name: ada, homedir: /srv/ada, ssh_authorized_keys: ['{KEY}']}}]"
        assert keys(clean_plan(text)) == {"/srv/ada/.ssh/authorized_keys": (KEY,)}

    def test_user_data_s_keys_may_have_options(self) -> None:
        line = f'from="10.0.0.0/8,!10.0.0.1",no-pty,environment="A=\\"b c\\"" {KEY}'
        assert keys(clean_plan(f"ssh_authorized_keys: ['{line}']")) == {HOME: (line,)}

    @pytest.mark.parametrize(
        "text",
        [
            f"ssh_authorized_keys: |\n  # mine\n  {KEY}\n\n  {OTHER}\n",
            f'ssh_authorized_keys: "{KEY}\\r\\n  {OTHER}  \\r\\n"',
            f"ssh_authorized_keys: ['', '# mine', '{KEY}', \"#\\n{OTHER}\"]",
            f'users: [{{name: debian, ssh_authorized_keys: "{KEY}\\n{OTHER}"}}]',
            f"user: {{ssh_authorized_keys: ['# x', \"{KEY}\\n\\n{OTHER}\\n\"]}}",
        ],
    )
    def test_a_text_may_be_a_whole_file_of_keys(self, text: str) -> None:
        assert keys(clean_plan(text)) == {HOME: (KEY, OTHER)}

    def test_a_bad_line_of_a_text_is_an_error_and_the_others_count(self) -> None:
        text = f'ssh_authorized_keys: "{KEY}\\nCANARY\\n{OTHER}"'
        resources, problems = plan_of(text)
        assert places(problems) == [("error", "ssh_authorized_keys[0] (line 2, column 1)")]
        assert keys(resources) == {HOME: (KEY, OTHER)}

    @pytest.mark.parametrize(
        "line",
        [
            "CANARY",
            "ssh-dss AAAAB3NzaC1kc3MCANARY",
            f'command="x {KEY}',
            f"comm and {KEY}",
            f"{KEY}\\r{OTHER}",
            f"from=10.0.0.1 {KEY}",
        ],
    )
    def test_a_bad_key_is_an_error_and_the_others_count(self, line: str) -> None:
        quoted = line.replace('"', '\\"')
        resources, problems = plan_of(f'ssh_authorized_keys: ["{quoted}", "{OTHER}"]')
        assert places(problems) == [
            ("error", "ssh_authorized_keys[0] (line 2, column 23)"),
        ]
        assert "CANARY" not in problems[0].reason
        assert keys(resources) == {HOME: (OTHER,)}

    @pytest.mark.parametrize(
        "text", ["", ",", "a=b", 'a="b', 'a="b"c d', 'a"b"', "a\nb", "ä", "a=,b"]
    )
    def test_options_must_be_options(self, text: str) -> None:
        with pytest.raises(FieldError):
            key_options(text)


@pytest.mark.parametrize(
    ("says", "winner"),
    [("permitrootlogin yes", ""), ("permitrootlogin without-password", "00-image.conf")],
)
def test_the_run_tells_what_overrides_user_data_s_policy(
    guest: Path, mocker: MockerFixture, says: str, winner: str
) -> None:
    folder = guest / defs.SSHD_DROPINS[1:]
    (folder / "00-image.conf").write_text("PermitRootLogin prohibit-password\n")
    root = Root(str(guest))
    found = sshd_policy(clean_plan(PRACTICE))
    assert found is not None
    (change,) = diff([found], root, FACTS, recorded={}, first=True, complete=True).changes
    assert change.kind == "set_sshd"
    output = f"port 22\npasswordauthentication yes\n{says}\n".encode()
    mocker.patch.object(live_sshd, "make_run_folder")
    mocker.patch.object(live_sshd, "find_program", lambda name: name)
    mocker.patch.object(live_sshd, "run", return_value=Result(0, output, b""))
    problems = Problems()
    assert live_sshd.keep_or_take_back(change, root, problems)
    expected = [("permitrootlogin", f"overridden by {defs.SSHD_DROPINS}/{winner}")]
    assert [(item.key, item.reason) for item in problems.problems] == (expected if winner else [])


@pytest.mark.parametrize("sshd", [(), (SshdLine("usepam", "yes"),)], ids=["no sshd", "sshd"])
def test_B1_keys_of_an_account_without_a_home_go_nowhere(sshd: tuple[SshdLine, ...]) -> None:
    facts = FACTS._replace(accounts=(FACTS.accounts[0], Account("debian", 1000, 1000, "")))
    text = f"ssh_authorized_keys: ['{KEY}']"
    resources, problems = plan_of(text, facts=facts._replace(sshd=sshd))
    assert [problem.severity for problem in problems] == ["error"]
    assert "no absolute path" in problems[0].reason
    assert not [item for item in resources if item.kind == "block"]
