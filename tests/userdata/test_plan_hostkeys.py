"""Host keys of cloud-config, and all of ssh in a tree; sshd itself judges what is written."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rig

from guestagent import defs

from .planning import (
    FACTS,
    SETTINGS,
    apply_twice,
    clean_plan,
    dry_run,
    make_drive,
    places,
    plan_of,
    sshd_policy,
)
from .test_plan_ssh import HOME, PRACTICE, policy
from .test_plan_users import KEY, OTHER, lines_of, real_accounts

if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.host_keys import HostKeys


def host_keys(resources: list[Resource]) -> HostKeys | None:
    return next((item for item in resources if item.kind == "host_keys"), None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Host keys and a certificate as ssh-keygen(1) makes them."""
    rig.need_tools("ssh-keygen")
    folder = tmp_path_factory.mktemp("keys")
    for name, *how in (
        ("ca", "-t", "ed25519"),
        ("ed25519", "-t", "ed25519"),
        ("rsa", "-t", "rsa", "-b", "2048", "-m", "PEM"),
        ("ecdsa", "-t", "ecdsa", "-m", "PEM"),
        ("locked", "-t", "ed25519"),
    ):
        word = "word" if name == "locked" else ""
        _run("ssh-keygen", "-q", *how, "-N", word, "-C", "here", "-f", str(folder / name))
    rsa = (folder / "rsa").read_text().splitlines()
    (folder / "short").write_text("\n".join((*rsa[:2], rsa[-1])))
    sign = ("-s", str(folder / "ca"), "-I", "host", "-h", str(folder / "ed25519.pub"))
    _run("ssh-keygen", "-q", *sign)
    return folder


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def given(folder: Path, **names: str) -> str:
    """The key ssh_keys with the contents of files."""
    text = "ssh_keys:\n"
    for key, name in names.items():
        lines = (folder / name).read_text().splitlines()
        text += "".join([f"  {key}: |\n", *(f"    {line}\n" for line in lines)])
    return text


class TestHostKeys:
    """ssh_keys, ssh_deletekeys, ssh_genkeytypes."""

    def test_ready_keys_are_used_instead_of_new_ones(self, made: Path) -> None:
        found = host_keys(clean_plan(given(made, ed25519_private="ed25519")))
        assert found is not None
        assert (found.types, found.others) == ((), "removed")
        contents = {name: secret.reveal() for name, secret in found.given}
        assert contents["ssh_host_ed25519_key"] == (made / "ed25519").read_text()
        public = (made / "ed25519.pub").read_text().split()[:2]
        assert contents["ssh_host_ed25519_key.pub"].split()[:2] == public

    def test_a_certificate_is_named_in_the_drop_in(self, made: Path) -> None:
        text = given(made, ed25519_private="ed25519", ed25519_certificate="ed25519-cert.pub")
        path = f"{defs.SSH_DIR}/ssh_host_ed25519_key-cert.pub"
        assert policy(text) == [f"HostCertificate {path}"]
        found = host_keys(clean_plan(text))
        assert found is not None
        assert path.rpartition("/")[2] in dict(found.given)

    def test_a_certificate_without_a_drop_in_is_an_error_of_the_keys(self, made: Path) -> None:
        text = given(made, ed25519_private="ed25519", ed25519_certificate="ed25519-cert.pub")
        _, problems = plan_of(text, facts=FACTS._replace(sshd_dropins=False))
        assert places(problems) == [("error", "ssh_keys (line 2, column 1)")]

    def test_an_rsa_key_of_the_older_format_is_as_good(self, made: Path) -> None:
        found = host_keys(clean_plan(given(made, rsa_private="rsa")))
        assert found is not None
        contents = {name: secret.reveal() for name, secret in found.given}
        assert contents["ssh_host_rsa_key"] == (made / "rsa").read_text()
        public = (made / "rsa.pub").read_text().split()[:2]
        assert contents["ssh_host_rsa_key.pub"].split()[:2] == public

    def test_another_key_of_the_older_format_needs_its_public_key(self, made: Path) -> None:
        text = given(made, ecdsa_private="ecdsa", ecdsa_public="ecdsa.pub")
        found = host_keys(clean_plan(text))
        assert found is not None
        names = ["ssh_host_ecdsa_key", "ssh_host_ecdsa_key.pub"]
        assert [name for name, _ in found.given] == names
        resources, problems = plan_of(given(made, ecdsa_private="ecdsa"))
        assert places(problems) == [("warning", "ssh_keys.ecdsa_private (line 3, column 3)")]
        found = host_keys(resources)
        assert found is not None
        assert [name for name, _ in found.given] == names[:1]

    @pytest.mark.parametrize(
        ("key", "name"),
        [
            ("ed25519_private", "locked"),
            ("rsa_private", "short"),
            ("ed25519_private", "ed25519.pub"),
            ("ecdsa_private", "ed25519"),
            ("ed25519_public", "rsa.pub"),
            ("rsa_certificate", "ed25519-cert.pub"),
            ("ed25519_certificate", "ed25519.pub"),
        ],
    )
    def test_D8_without_a_usable_one_keys_are_made_all_the_same(
        self, made: Path, key: str, name: str
    ) -> None:
        resources, problems = plan_of(given(made, **{key: name}))
        assert ("error", f"ssh_keys.{key} (line 3, column 3)") in places(problems)
        assert ("error", "ssh_keys (line 2, column 1)") in places(problems)
        assert "AAAA" not in repr(problems)
        found = host_keys(resources)
        assert found is not None
        assert (found.types, found.given) == (SETTINGS.ssh_host_key_types, ())

    def test_a_wrong_certificate_or_public_key_is_left_out_alone(self, made: Path) -> None:
        wrong = {"ed25519_public": "ca.pub", "ed25519_certificate": "ed25519.pub"}
        resources, problems = plan_of(given(made, ed25519_private="ed25519", **wrong))
        assert [place.split()[0] for _, place in places(problems)] == [
            "ssh_keys.ed25519_public",
            "ssh_keys.ed25519_certificate",
        ]
        found = host_keys(resources)
        assert found is not None
        contents = {name: secret.reveal() for name, secret in found.given}
        assert list(contents) == ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]
        assert contents["ssh_host_ed25519_key.pub"].split()[1] in (made / "ed25519.pub").read_text()
        assert sshd_policy(resources) is None

    def test_types_to_make(self) -> None:
        found = host_keys(clean_plan("ssh_genkeytypes: [ecdsa, rsa]"))
        assert found is not None
        assert found.types == ("ecdsa", "rsa")

    @pytest.mark.parametrize("types", ["[]", "[dsa]"])
    def test_D8_no_type_at_all_leaves_those_of_the_settings(self, types: str) -> None:
        resources, problems = plan_of(f"ssh_genkeytypes: {types}")
        assert ("error", "ssh_genkeytypes (line 2, column 1)") in places(problems)
        found = host_keys(resources)
        assert found is not None
        assert found.types == SETTINGS.ssh_host_key_types

    def test_the_image_s_keys_can_stay(self) -> None:
        texts = {f"{defs.SSH_DIR}/ssh_host_rsa_key.pub": "ssh-rsa AAAA\n"}
        resources = clean_plan("ssh_deletekeys: false", facts=FACTS._replace(texts=texts))
        found = host_keys(resources)
        assert found is not None
        assert (found.types, found.others) == (("ed25519", "ecdsa"), "kept")

    @pytest.mark.parametrize("text", ["", "ssh_deletekeys: true"])
    def test_D4_keys_of_the_image_that_are_elsewhere_are_an_error(self, text: str) -> None:
        facts = FACTS._replace(host_keys=("/var/lib/image_key",))
        resources, problems = plan_of(text, facts=facts)
        assert host_keys(resources) is not None
        (problem,) = problems
        assert problem.severity == "error"
        assert "every instance's (/var/lib/image_key)" in problem.reason
        clean_plan("ssh_deletekeys: false", facts=facts)
        clean_plan("", facts=facts, settings=SETTINGS._replace(ssh_host_keys=False))

    def test_user_data_comes_before_the_settings(self, made: Path) -> None:
        settings = SETTINGS._replace(ssh_host_keys=False)
        assert host_keys(clean_plan("ssh_pwauth: true", settings=settings)) is None
        assert host_keys(clean_plan("ssh_deletekeys: true", settings=settings)) is not None
        text = given(made, ed25519_private="ed25519")
        assert host_keys(clean_plan(text, settings=settings)) is not None


def test_a_tree_gets_keys_and_a_policy_that_sshd_takes(
    guest: Path, tmp_path: Path, made: Path
) -> None:
    real_accounts(guest, "sshd")
    text = PRACTICE + given(made, ed25519_private="ed25519", ed25519_certificate="ed25519-cert.pub")
    drive = make_drive(
        tmp_path, text + f"ssh_authorized_keys: ['{OTHER}']\n", public_keys={"k": KEY}
    )
    plan = dry_run(drive, guest)
    assert (made / "ed25519").read_text().splitlines()[2] not in str(plan)
    apply_twice(drive, guest)
    assert lines_of(guest, "shadow")["root"][1].startswith("$6$")
    own = (guest / HOME[1:]).read_text()
    assert [line for line in own.splitlines() if line.startswith("ssh-")] == [KEY, OTHER]
    ssh = guest / "etc/ssh"
    modes = {path.name: path.stat().st_mode & 0o7777 for path in ssh.glob("ssh_host_*")}
    assert modes == {
        "ssh_host_ed25519_key": 0o600,
        "ssh_host_ed25519_key.pub": 0o644,
        "ssh_host_ed25519_key-cert.pub": 0o644,
    }
    told = effective(ssh, tmp_path)
    assert told["passwordauthentication"] == "yes"
    assert told["permitrootlogin"] == "yes"
    assert told["hostcertificate"].endswith("/ssh_host_ed25519_key-cert.pub")


_IN_NAMESPACE = """\
mount --bind "$1" /etc/passwd && mount -t tmpfs none /run && mkdir -m 755 /run/sshd && \
exec "$2" -T -f "$3"
"""


def effective(ssh: Path, folder: Path) -> dict[str, str]:
    """What sshd makes of a tree's configuration; its paths lead into the tree.

    sshd wants an account of its own, which this machine need not have.
    """
    rig.need_tools("unshare", "mount")
    path = f"{os.environ['PATH']}:/usr/sbin:{rig.REPOSITORY}/.venv/sshd/usr/sbin"
    sshd = shutil.which("sshd", path=path)
    rig.need(sshd is not None, "needs sshd")
    text = (ssh / "sshd_config.d/10-guestagent.conf").read_text()
    config, accounts = folder / "sshd_config", folder / "passwd"
    key = ssh / "ssh_host_ed25519_key"
    config.write_text(f"HostKey {key}\n" + text.replace("/etc/ssh", str(ssh)))
    accounts.write_text("root:x:0:0::/root:/bin/sh\nsshd:x:74:74::/run/sshd:/bin/false\n")
    shell = ("sh", "-c", _IN_NAMESPACE, "sh", str(accounts), str(sshd), str(config))
    lines = _run("unshare", "--mount", *shell).splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)
