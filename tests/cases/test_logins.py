"""Nobody is locked out: a real sshd, and logins with ssh, after runs on a guest in namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from logins import World

_OFF = "ssh_pwauth: false\n"
_OFF_LINE = "PasswordAuthentication no\n"
_PASSWORDS_OFF = '[sshd]\npassword_authentication = "no"\n'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_D8_the_default_user_listed_by_its_name_gets_the_instance_s_key(world: World) -> None:
    done = world.apply("users: [{name: debian, lock_passwd: false}]\n")
    assert done.status == 0
    assert world.problems() == []
    assert world.login("debian") == (True, [""])


def test_D8_a_key_that_no_account_gets_is_in_the_report(world: World) -> None:
    done = world.apply("users: [{name: bob}]\n")
    assert done.status == 0
    (problem,) = world.problems()
    assert problem.startswith("warning: lists neither default nor the default user by name")
    assert problem.endswith("maybe no one can log in")
    assert not world.login("bob")[0]
    assert not world.login("debian")[0]


class TestPasswordsOff:
    """Passwords are switched off last, and only where a key is in place."""

    @pytest.mark.parametrize("by", ["user data", "settings"])
    def test_D8_passwords_go_where_the_key_lets_in(self, world: World, by: str) -> None:
        if by == "settings":
            world.add_to("etc/guestagent/guestagent.toml", _PASSWORDS_OFF)
        done = world.apply(_OFF if by == "user data" else "")
        assert done.status == 0, done.err
        assert _OFF_LINE in world.drop_in()
        assert world.login("debian") == (True, [""])
        assert world.login("root") == (False, ["publickey"])
        assert world.problems() == []
        assert world.apply(_OFF if by == "user data" else "").status == 0
        assert _OFF_LINE in world.drop_in()

    @pytest.mark.parametrize("user_data", [_OFF, f"{_OFF}password: word\n"])
    def test_D8_passwords_stay_where_no_account_gets_a_key(
        self, world: World, user_data: str
    ) -> None:
        done = world.apply(user_data, keys=False)
        assert done.status != 0
        assert "passwords are not switched off, because no account gets an SSH key" in done.err
        assert world.drop_in() == ""
        assert world.login("debian") == (False, ["publickey", "password"])

    def test_D8_passwords_stay_where_the_key_cannot_be_written(self, world: World) -> None:
        world.sh("mount -t tmpfs -o ro tmpfs /home/debian")
        done = world.apply(_OFF)
        assert done.status != 0
        reason = "because no account has its SSH key in place; passwords are not switched off"
        assert reason in done.err
        assert world.drop_in() == ""
        assert world.login("debian") == (False, ["publickey", "password"])
        world.sh("umount /home/debian")
        assert world.apply(_OFF).status == 0
        assert _OFF_LINE in world.drop_in()
        assert world.login("debian") == (True, [""])

    def test_D8_passwords_stay_where_the_account_cannot_be_made(self, world: World) -> None:
        text = f"{_OFF}users: [{{name: ada, ssh_authorized_keys: ['{world.public}']}}]\n"
        world.sh("mount --bind /bin/false /usr/sbin/useradd")
        assert world.apply(text, keys=False).status != 0
        assert world.drop_in() == ""
        world.sh("umount /usr/sbin/useradd")
        assert world.apply(text, keys=False).status == 0
        assert _OFF_LINE in world.drop_in()
        assert world.login("ada") == (True, [""])

    def test_D8_an_earlier_file_that_keeps_passwords_on_has_it_taken_back(
        self, world: World
    ) -> None:
        world.sshd_says("PasswordAuthentication yes\n")
        done = world.apply(_OFF)
        assert done.status != 0
        assert "overridden by /etc/ssh/sshd_config.d/05-image.conf; taken back" in done.err
        assert world.drop_in() == ""
        world.sshd_says("")
        assert world.apply(_OFF).status == 0
        assert _OFF_LINE in world.drop_in()

    def test_D8_what_was_there_before_comes_back(self, world: World) -> None:
        assert world.apply("ssh_pwauth: true\n").status == 0
        before = world.drop_in()
        world.sshd_says("PasswordAuthentication yes\n")
        assert world.apply(_OFF).status != 0
        assert world.drop_in() == before != ""

    def test_another_way_to_use_a_password_is_a_warning(self, world: World) -> None:
        world.sshd_says("KbdInteractiveAuthentication yes\n")
        assert world.apply(_OFF).status == 0
        (problem,) = world.problems()
        assert problem.startswith("warning: KbdInteractiveAuthentication is on, and UsePAM")
        assert world.login("root") == (False, ["publickey", "keyboard-interactive"])

    def test_D8_a_configuration_that_sshd_does_not_accept_is_no_reason_to_lock_out(
        self, world: World
    ) -> None:
        world.sshd_says("NoSuchWord yes\n")
        done = world.apply(_OFF)
        assert done.status != 0
        assert "sshd does not accept its configuration with it" in done.err
        assert world.drop_in() == ""

    def test_D8_a_run_that_was_killed_before_sshd_was_asked_is_made_up_for(
        self, world: World
    ) -> None:
        world.sshd_says("PasswordAuthentication yes\n")
        path = "etc/ssh/sshd_config.d/10-guestagent.conf"
        world.put(path, "# Written by guestagent.\nPasswordAuthentication no\n")
        (world.tree / path).chmod(0o600)
        assert world.apply(_OFF).status != 0
        assert world.drop_in() == ""

    def test_D8_a_run_that_says_nothing_of_keys_switches_nothing_back_on(
        self, world: World
    ) -> None:
        more = f'{_PASSWORDS_OFF}permit_root_login = "no"\n'
        world.add_to("etc/guestagent/guestagent.toml", more)
        assert world.apply().status == 0
        before = world.drop_in()
        assert _OFF_LINE in before
        # An error in the metadata, so that nothing that is missing is taken for "none".
        world.apply(keys=False, hostname=5)
        assert world.drop_in() == before
        assert world.login("debian") == (True, [""])
