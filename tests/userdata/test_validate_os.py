"""``guestagent validate --os``: the guest that is imagined."""

from __future__ import annotations

from pathlib import Path

import pytest
import rig

from guestagent import defs
from guestagent.options import USAGE
from guestagent.report import plan as show
from guestagent.verbs.imagined_guest import SYSTEMS
from guestagent.verbs.validate import Verdict, validate

TEXT = """\
#cloud-config
users: [default, {name: ada, selinux_user: staff_u}]
packages: [nginx]
locale: de_DE.UTF-8
ca_certs: {remove_defaults: true}
manage_resolv_conf: true
resolv_conf: {nameservers: [192.0.2.1]}
"""


def verdict(text: str, system: str = "debian") -> Verdict:
    return validate("a", text.encode(), system)


def shown(found: Verdict) -> str:
    """The plan as people see it."""
    return show.text(found.plan, [])


@pytest.mark.parametrize(
    ("system", "name"), [("debian", "debian"), ("ubuntu", "ubuntu"), ("rhel", "cloud-user")]
)
def test_the_default_user_is_the_distribution_s(system: str, name: str) -> None:
    text = shown(verdict(TEXT, system))
    assert [line for line in text.splitlines() if line.startswith("# add user")] == [
        "# add user ada",
        f"# add user {name}",
    ]


@pytest.mark.parametrize("system", ["debian", "ubuntu"])
def test_debian_s_kin_has_apt_and_no_selinux(system: str) -> None:
    found = verdict(TEXT, system)
    assert "apt install" in shown(found)
    assert "dnf " not in shown(found)
    assert "locale-gen" in shown(found)
    assert "/etc/default/locale" in shown(found)
    assert [problem.key for problem in found.problems] == [
        "users[1].selinux_user (line 2, column 30)"
    ]


@pytest.mark.parametrize("system", [name for name in SYSTEMS if name not in ("debian", "ubuntu")])
def test_fedora_s_kin_has_dnf_and_selinux(system: str) -> None:
    found = verdict(TEXT, system)
    assert found.problems == ()
    assert "dnf install" in shown(found)
    assert "apt-get" not in shown(found)
    assert "glibc-langpack-de" in shown(found)
    assert "update-ca-trust" in shown(found)
    assert "/etc/locale.conf" in shown(found)
    assert "/etc/resolv.conf" not in shown(found)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("chpasswd: {list: ['pi:word']}", "chpasswd.list[0] (line 2, column 19)"),
        ("chpasswd: {users: [{name: pi, password: word, type: text}]}", "chpasswd.users[0]"),
        ("groups: [lab: [pi]]", "groups.lab[0] (line 2, column 16)"),
    ],
)
def test_an_account_that_an_image_may_have_is_a_warning(text: str, place: str) -> None:
    (problem,) = verdict(f"#cloud-config\n{text}\n").problems
    assert problem.severity == "warning"
    assert problem.key.startswith(place)
    assert problem.reason.endswith("unless the image has it")


def test_no_character_set_is_made_up_for_a_locale() -> None:
    found = verdict("#cloud-config\nlocale: en_US\n")
    assert found.problems == ()
    assert "UTF-8" not in shown(found)


def test_the_command_line_names_the_distribution(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_text(TEXT)
    done = rig.agent("validate", "--os", "rhel", path)
    assert (done.status, done.err) == (0, "")
    assert "add user cloud-user" in done.out
    assert rig.agent("validate", "--os=debian", path) == rig.agent("validate", path)


def test_another_distribution_is_refused_and_the_known_ones_are_told(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_text(TEXT)
    done = rig.agent("validate", "--os", "plan9", path)
    assert (done.status, done.out) == (defs.EXIT_USAGE, "")
    assert all(name in done.err for name in SYSTEMS)
    assert all(name in USAGE for name in SYSTEMS)
