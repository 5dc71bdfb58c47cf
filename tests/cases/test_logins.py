"""Nobody is locked out: a real sshd, and logins with ssh, after runs on a guest in namespaces."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from logins import World

from guestagent import defs

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


class TestWhereSshdReadsKeys:
    """Keys go to a file that sshd reads for the account, or an error says that there is none."""

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("AuthorizedKeysFile /etc/ssh/keys/%u", "etc/ssh/keys/debian"),
            ("AuthorizedKeysFile /etc/ssh/shared .ssh/keys2", "home/debian/.ssh/keys2"),
            ("AuthorizedKeysFile %h/.config/keys", "home/debian/.config/keys"),
            ("AuthorizedKeysFile /etc/ssh/keys/%U/%%k", "etc/ssh/keys/1000/%k"),
            ("AuthorizedKeysFile=.ssh/x .ssh/authorized_keys", "home/debian/.ssh/authorized_keys"),
            (
                "Match User deb*,!debora\n  AuthorizedKeysFile /etc/ssh/keys/%u\nMatch all\n"
                "AuthorizedKeysFile .ssh/no",
                "etc/ssh/keys/debian",
            ),
            (
                "Include /etc/ssh/more/*.conf\nAuthorizedKeysFile .ssh/later",
                "etc/ssh/more-keys/debian",
            ),
            ("Include /etc/ssh/m*/?.conf", "etc/ssh/more-keys/debian"),
            ("Include more/a.conf", "etc/ssh/more-keys/debian"),
            (
                "AuthorizedKeysFile .ssh/no\nMatch all\nAuthorizedKeysFile /etc/ssh/keys/%u",
                "etc/ssh/keys/debian",
            ),
        ],
    )
    def test_D8_the_key_is_where_sshd_reads_it(self, world: World, text: str, path: str) -> None:
        if "Include" in text:
            world.put("etc/ssh/more/a.conf", "AuthorizedKeysFile /etc/ssh/more-keys/%u\n")
        world.sshd_says(f"{text}\n")
        done = world.apply(_OFF)
        assert done.status == 0, done.err
        assert world.problems() == []
        file = world.tree / path
        assert world.public.split()[1] in file.read_text()
        in_home = path.startswith("home")
        assert file.stat().st_mode & 0o777 == (0o600 if in_home else 0o644)
        assert file.stat().st_uid == (1000 if in_home else 0)
        assert world.login("debian") == (True, [""])
        assert _OFF_LINE in world.drop_in()

    @pytest.mark.parametrize("files", ["none", "/etc/ssh/keys", "/etc/ssh/keys/%%u"])
    def test_D8_where_no_file_is_the_account_s_an_error_says_so(
        self, world: World, files: str
    ) -> None:
        world.sshd_says(f"AuthorizedKeysFile {files}\n")
        done = world.apply(_OFF)
        assert done.status != 0
        assert "the key would let no one in; it is not written" in done.err
        assert world.drop_in() == ""
        assert "password" in world.login("debian")[1]

    def test_D8_keys_elsewhere_go_only_where_the_source_says_that_there_are_none(
        self, world: World
    ) -> None:
        world.sshd_says("AuthorizedKeysFile /etc/ssh/keys/%u\n")
        assert world.apply().status == 0
        assert world.apply(keys=False).status == 0
        assert world.login("debian") == (True, [""])
        assert world.apply(keys=False, public_keys={}).status == 0
        assert not world.login("debian")[0]

    @pytest.mark.parametrize("kind", ["folder", "large", "not UTF-8", "a user's link"])
    def test_D8_a_file_of_sshd_s_that_cannot_be_read_keeps_no_key_away(
        self, world: World, kind: str
    ) -> None:
        path = world.tree / "etc/ssh/sshd_config.d/05-image.conf"
        if kind == "folder":
            path.mkdir()
        elif kind == "large":
            path.write_text("#\n" * (defs.GUEST_FILE_LIMIT // 2 + 1))
        elif kind == "not UTF-8":
            path.write_bytes(b"Banner /etc/b\xe4nner\nAuthorizedKeysFile .ssh/\xe4 .ssh/keys2\n")
        else:
            world.put("etc/other.conf", "#")
            path.symlink_to("/etc/other.conf")
            os.lchown(path, 1000, 1000)
        done = world.apply(_OFF)
        assert done.status == 0, done.err
        assert world.problems() == []
        assert world.login("debian") == (True, [""])
        assert _OFF_LINE in world.drop_in()
        assert world.apply(_OFF).status == 0

    def test_D8_sshd_has_the_last_word(self, world: World) -> None:
        # Whoever logs in from this address has other files: that is not known beforehand.
        world.sshd_says("Match Address 127.0.0.1\nAuthorizedKeysFile /etc/ssh/local\n")
        done = world.apply()
        assert done.status != 0
        reason = "sshd does not read this file for debian, but: /etc/ssh/local; so the key lets"
        assert reason in done.err
        for _ in range(2):
            done = world.apply(_OFF)
            assert done.status != 0
            assert "sshd does not read the file of keys that was written" in done.err
            assert world.drop_in() == ""
        assert "password" in world.login("debian")[1]


class TestOtherWays:
    """sshd may let people in without a file of keys."""

    @pytest.mark.parametrize("principals", ["", "/etc/ssh/people/%u", "/etc/ssh/people/debian"])
    def test_D8_certificates_are_a_way_in(self, world: World, principals: str) -> None:
        text = f"TrustedUserCAKeys /etc/ssh/ca.pub\nAuthorizedPrincipalsFile {principals}\n"
        world.sshd_says(text if principals else text.partition("\n")[0])
        for path, content in (("ca.pub", f"{world.public}\n"), ("people/debian", "debian\n")):
            if principals or path == "ca.pub":
                done = world.apply(_OFF, keys=False)
                assert done.status != 0
                assert world.drop_in() == ""
            world.put(f"etc/ssh/{path}", content)
        done = world.apply(_OFF, keys=False)
        assert done.status == 0, done.err
        (problem,) = world.problems()
        assert problem.endswith("log in by certificates (TrustedUserCAKeys /etc/ssh/ca.pub)")
        assert _OFF_LINE in world.drop_in()
        assert world.login("debian")[1] == ["publickey"]
        sign = ("ssh-keygen", "-q", "-s", world.key, "-I", "x", "-n", "debian", f"{world.key}.pub")
        subprocess.run(sign, check=True)
        assert world.login("debian") == (True, [""])

    def test_D8_a_command_that_prints_keys_is_a_way_in(self, world: World) -> None:
        world.sshd_says("AuthorizedKeysCommand /usr/sbin/keys %u\nAuthorizedKeysCommandUser root\n")
        assert world.apply(_OFF, keys=False).status != 0
        assert world.drop_in() == ""
        world.sh(
            f"printf '#!/bin/sh\necho {world.public}\n' >/usr/sbin/keys; chmod 755 /usr/sbin/keys"
        )
        assert world.apply(_OFF, keys=False).status == 0
        (problem,) = world.problems()
        assert problem.endswith("log in by keys that AuthorizedKeysCommand prints (/usr/sbin/keys)")
        assert _OFF_LINE in world.drop_in()
        assert world.login("debian") == (True, [""])

    @pytest.mark.parametrize(
        "text",
        [
            "TrustedUserCAKeys none\n",
            "TrustedUserCAKeys /etc/ssh/ca.pub\nPubkeyAuthentication no\n",
            "TrustedUserCAKeys /etc/ssh/ca.pub\nAllowUsers ada\n",
            "Match Address 10.0.0.0/8\nTrustedUserCAKeys /etc/ssh/ca.pub\n",
            "AuthorizedKeysCommand /bin/true\nAuthorizedKeysCommandUser nobody-here\n",
        ],
    )
    def test_D8_what_lets_no_one_in_is_no_way(self, world: World, text: str) -> None:
        world.put("etc/ssh/ca.pub", f"{world.public}\n")
        world.sshd_says(text)
        assert world.apply(_OFF, keys=False).status != 0
        assert world.drop_in() == ""


class TestObstacles:
    """A setting outside by which a key lets no one in is a warning."""

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("AllowUsers bob", "AllowUsers of sshd does not name it"),
            ("DenyUsers deb*", "DenyUsers of sshd names it"),
            ("AllowGroups wheel", "AllowGroups of sshd does not name it"),
            ("DenyGroups debian", "DenyGroups of sshd names it"),
            ("PubkeyAuthentication no", "PubkeyAuthentication of sshd is off"),
            ("AuthenticationMethods publickey,password", "AuthenticationMethods of sshd want"),
        ],
    )
    def test_D8_a_setting_of_sshd_that_keeps_the_key_out_is_told(
        self, world: World, text: str, reason: str
    ) -> None:
        world.sshd_says(f"{text}\n")
        world.apply()
        (problem,) = world.problems()
        assert problem.startswith(f"warning: maybe lets no one in as debian: {reason}")
        assert not world.login("debian")[0]
        # Passwords may be the way in of someone else, or the second half of this one's.
        for _ in range(2):
            done = world.apply(_OFF)
            assert "no account gets an SSH key that lets it in" in done.err
            assert world.drop_in() == ""
        # An error in the metadata, so that what the run before did stays.
        world.apply(_OFF, hostname=5)
        assert world.drop_in() == ""

    @pytest.mark.parametrize(
        ("path", "mode"), [("home/debian/.ssh", 0o777), ("home/debian", 0o775)]
    )
    def test_D8_what_others_may_write_to_is_told_and_passwords_stay(
        self, world: World, path: str, mode: int
    ) -> None:
        folder = world.tree / path
        folder.mkdir(exist_ok=True)
        os.chown(folder, 1000, 1000)
        folder.chmod(mode)
        for number in (1, 2):
            done = world.apply(_OFF, uuid=f"i-{number}")
            assert f"others may write to /{path}" in done.err
            assert world.drop_in() == ""
            # Debian's sshd lets the account's own group write, others do not.
            assert world.login("debian")[0] == (mode == 0o775)
        world.sshd_says("StrictModes no\n")
        assert world.apply(_OFF, uuid="i-3").status == 0
        world.sshd_says("")
        folder.chmod(0o755)
        assert world.apply(_OFF, uuid="i-4").status == 0
        assert world.problems() == []
        assert _OFF_LINE in world.drop_in()
        assert world.login("debian") == (True, [""])

    def test_D8_a_guest_that_takes_only_root_s_logins_is_told(self, world: World) -> None:
        world.put("etc/nologin", "")
        world.add_to("etc/pam.d/sshd", "account required pam_nologin.so")
        assert world.apply().status == 0
        (problem,) = world.problems()
        assert problem.endswith("only root may log in where /etc/nologin is; remove that")
        assert not world.login("debian")[0]

    def test_D8_a_key_in_no_account_s_home_is_no_way_in(self, world: World) -> None:
        path = "/home/nobody-here/.ssh/authorized_keys"
        files = f"write_files: [{{path: {path}, content: '{world.public}'}}]\n"
        done = world.apply(f"{_OFF}{files}", keys=False)
        assert f"{path} is in the home of no account" in done.err
        assert world.drop_in() == ""

    def test_D8_a_shell_that_takes_no_logins_is_told(self, world: World) -> None:
        file = world.tree / "etc/passwd"
        text = file.read_text().replace("/home/debian:/bin/bash", "/home/debian:/sbin/nologin")
        file.write_text(text)
        world.apply()
        (problem,) = world.problems()
        assert "as debian: its shell takes no logins" in problem
        assert not world.login("debian")[0]

    def test_D8_a_locked_password_without_pam_is_told(self, world: World) -> None:
        text = (world.tree / "etc/ssh/sshd_config").read_text().replace("UsePAM yes", "UsePAM no")
        world.put("etc/ssh/sshd_config", text)
        world.apply(f"users: [default, {{name: ada, ssh_authorized_keys: ['{world.public}']}}]\n")
        found = [item for item in world.problems() if "UsePAM of sshd is off" in item]
        names = [item.partition(" as ")[2].partition(":")[0] for item in found]
        assert names == ["ada", "debian"]  # the one is new, the other is locked
        assert not world.login("ada")[0]
        assert not world.login("debian")[0]
        assert world.apply(uuid="i-2").status == 0
        assert any("as debian: UsePAM of sshd is off" in item for item in world.problems())
        world.sh("sed -i 's/^debian:!*/debian:/' /etc/shadow")
        assert world.apply(uuid="i-3").status == 0
        assert not any("as debian: UsePAM" in item for item in world.problems())
        assert world.login("debian") == (True, [""])

    def test_D8_without_a_word_of_pam_sshd_is_asked(self, world: World) -> None:
        """What holds then depends on how sshd was built: Debian's does not use PAM."""
        text = (world.tree / "etc/ssh/sshd_config").read_text().replace("UsePAM yes", "")
        world.put("etc/ssh/sshd_config", text)
        world.sh("sed -i 's/^debian:\\*/debian:!/' /etc/shadow")
        done = world.apply("users: [{name: debian, lock_passwd: false}]\nssh_pwauth: false\n")
        assert any("as debian: UsePAM of sshd is off" in item for item in world.problems())
        assert not world.login("debian")[0]
        assert "an account whose password is locked" in done.err
        assert "taken back: passwords are not switched off" in done.err
        assert world.drop_in() == ""
        world.sh("sed -i 's/^debian:!/debian:*/' /etc/shadow")
        assert world.apply(_OFF, uuid="i-2").status == 0
        assert not any("UsePAM" in item for item in world.problems())
        assert world.login("debian") == (True, [""])
        assert _OFF_LINE in world.drop_in()

    def test_D8_the_vendor_s_configuration_counts_where_there_is_no_other(
        self, world: World
    ) -> None:
        """As with openSUSE's sshd."""
        main = world.tree / "etc/ssh/sshd_config"
        world.put("usr/etc/ssh/sshd_config", f"{main.read_text()}AllowUsers nobody\n")
        for expected in (0, 1):
            world.apply(uuid=f"i-{expected}")
            found = [item for item in world.problems() if "AllowUsers" in item]
            assert len(found) == expected
            main.unlink(missing_ok=True)

    @pytest.mark.parametrize("value", ["no", "forced-commands-only"])
    def test_D8_the_settings_may_keep_root_s_key_out(self, world: World, value: str) -> None:
        text = f'[sshd]\npermit_root_login = "{value}"\n[ssh]\nkeys_for = ["root"]\n'
        settings = (world.tree / "etc/guestagent/guestagent.toml").read_text()
        world.put("etc/guestagent/guestagent.toml", settings.replace("[ssh]\n", text))
        for number in (1, 2):
            done = world.apply(_OFF, uuid=f"i-{number}")
            assert "no account gets an SSH key that lets it in" in done.err
            reason = f"as root: PermitRootLogin of sshd is {value}"
            assert [item for item in world.problems() if reason in item]
            assert not world.login("root")[0]

    @pytest.mark.parametrize(
        "text",
        [
            "AllowUsers bob debian@127.0.0.1",
            "AllowGroups debian",
            "DenyUsers bob\nPubkeyAuthentication yes",
            "AuthenticationMethods publickey,password publickey",
            "Match User bob\nAllowGroups none",
        ],
    )
    def test_what_lets_the_account_in_is_no_obstacle(self, world: World, text: str) -> None:
        world.sshd_says(f"{text}\n")
        assert world.apply().status == 0
        assert world.problems() == []
        assert world.login("debian") == (True, [""])
