"""The default user's password, which only the owner of the instance's private key can read."""

from __future__ import annotations

import json
import subprocess
from binascii import a2b_base64
from pathlib import Path
from typing import NamedTuple

import pytest
import rig
from pytest_mock import MockerFixture

from guestagent import defs
from guestagent.commit import random_password
from guestagent.commit.random_password import encrypt, generate
from guestagent.desired import desired
from guestagent.errors import FieldError, Origin, Refused
from guestagent.facts import gather
from guestagent.model import InstanceData, Secret, Text
from guestagent.parse import fields
from guestagent.plan.kinds.random_password import ConsolePassword, SetRandomPassword
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import Settings
from guestagent.system.root import Root

URL = "http://169.254.169.254/openstack/latest/password"
WHY = Origin("metadata service", "password", "")


class Pair(NamedTuple):
    """A public key line, and the file with its private key."""

    line: str
    private: Path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    """Keys as a user makes them."""
    rig.need_tools("ssh-keygen", "openssl")
    found = {}
    for kind, bits in (("rsa", 1024), ("rsa", 2048), ("rsa", 3072), ("ed25519", 0)):
        private = tmp_path_factory.mktemp("keys") / "key"
        argv = ["ssh-keygen", "-q", "-N", "", "-m", "PEM", "-t", kind, "-f", str(private)]
        argv += ["-b", str(bits)] if bits else []
        subprocess.run(argv, check=True)
        name = f"{kind}{bits or ''}"
        found[name] = Pair(private.with_suffix(".pub").read_text().strip(), private)
    return found


def decrypted(text: str, private: Path) -> str:
    """What ``nova get-password`` shows."""
    argv = ["openssl", "pkeyutl", "-decrypt", "-inkey", str(private)]
    done = subprocess.run(argv, input=a2b_base64(text), capture_output=True, check=True)
    return done.stdout.decode()


@pytest.mark.parametrize("name", ["rsa1024", "rsa2048", "rsa3072"])
def test_the_owner_of_the_key_reads_it_with_openssl(pairs: dict[str, Pair], name: str) -> None:
    for _ in range(5):
        secret = generate()
        text = encrypt(secret, *fields.rsa_key([pairs[name].line]))
        assert len(text) <= defs.POST_LIMIT
        assert decrypted(text, pairs[name].private) == secret.reveal()


def test_no_two_are_alike(pairs: dict[str, Pair]) -> None:
    secrets = {generate().reveal() for _ in range(200)}
    assert len(secrets) == 200
    assert {len(secret) for secret in secrets} == {20}
    letters = set("".join(secrets))
    assert len(letters) > 50
    assert letters.isdisjoint("0O1lI:\n\\\"'$ ")
    key = fields.rsa_key([pairs["rsa2048"].line])
    assert len({encrypt(Secret("x"), *key) for _ in range(20)}) == 20


def test_the_padding_has_no_zero(pairs: dict[str, Pair], mocker: MockerFixture) -> None:
    # Half of what the kernel gives is zero here; the padding must be as long all the same.
    mocker.patch("os.urandom", lambda size: (b"\0\7" * size)[:size])
    pair = pairs["rsa2048"]
    assert decrypted(encrypt(Secret("x"), *fields.rsa_key([pair.line])), pair.private) == "x"


def test_the_first_rsa_key_counts(pairs: dict[str, Pair]) -> None:
    lines = [pairs[name].line for name in ("ed25519", "rsa2048", "rsa3072")]
    assert fields.rsa_key(lines) == fields.rsa_key([pairs["rsa2048"].line])


def _rsa_line(bits: int) -> str:
    """A public key line of that length; nobody has its private key."""
    from binascii import b2a_base64

    numbers = [b"ssh-rsa", b"\1\0\1", b"\0" + ((1 << bits) - 1).to_bytes(bits // 8, "big")]
    blob = b"".join(len(number).to_bytes(4, "big") + number for number in numbers)
    return f"ssh-rsa {b2a_base64(blob, newline=False).decode()} long"


@pytest.mark.parametrize(
    ("bits", "fits"), [(4096, True), (6120, True), (6144, False), (8192, False)]
)
def test_what_does_not_fit_nova_s_four_columns_is_refused(bits: int, fits: bool) -> None:
    line = fields.ssh_key(_rsa_line(bits))
    if fits:
        assert len(encrypt(generate(), *fields.rsa_key([line]))) <= 1020
    else:
        with pytest.raises(FieldError, match="too long"):
            fields.rsa_key([line])


class Plan(NamedTuple):
    """What a run would do about the password."""

    resources: list[ConsolePassword]
    reasons: list[str]


@pytest.fixture
def planned(guest: Path) -> object:
    facts = gather(Root(str(guest)))

    def plan(*lines: str, post: bool = True, url: bool = True) -> Plan:
        keys = tuple(Text(line, Origin("s", "meta_data.json", "keys")) for line in lines)
        data = InstanceData(ssh_keys=keys or None, password_url=Text(URL, WHY) if url else None)
        settings = Settings(password_post=post, network_manage=False)
        wanted = Wanted()
        desired(Ask(data, facts, settings, first=True), wanted)
        found = [item for item in wanted.resources if isinstance(item, ConsolePassword)]
        return Plan(found, [p.reason for p in wanted.problems if p.document == "password"])

    return plan


def test_it_is_made_by_setting_for_the_default_user(
    planned: object, pairs: dict[str, Pair]
) -> None:
    assert callable(planned)
    found = planned(pairs["rsa2048"].line)
    assert [item.name for item in found.resources] == ["debian"]
    assert found.reasons == []
    assert planned(pairs["rsa2048"].line, post=False) == Plan([], [])
    assert planned(pairs["rsa2048"].line, url=False) == Plan([], [])


def test_why_an_instance_gets_none(planned: object, pairs: dict[str, Pair]) -> None:
    assert callable(planned)
    for lines, reason in (
        ((pairs["ed25519"].line,), "no ssh-rsa key"),
        ((), "no ssh-rsa key"),
        ((_rsa_line(8192),), "too long"),
    ):
        found = planned(*lines)
        assert found.resources == []
        assert len(found.reasons) == 1
        assert reason in found.reasons[0]


def set_password(pair: Pair) -> SetRandomPassword:
    """The change that sets a password for the owner of a key."""
    exponent, modulus = fields.rsa_key([pair.line])
    return SetRandomPassword(
        "set_console_password",
        "debian",
        told="service",
        commands=(("chpasswd",),),
        why=WHY,
        keys=(),
        exponent=exponent,
        modulus=modulus,
        url=URL,
    )


def test_it_stands_nowhere_but_encrypted(
    guest: Path, pairs: dict[str, Pair], mocker: MockerFixture
) -> None:
    pair = pairs["rsa2048"]
    told: list[bytes] = []
    mocker.patch.object(random_password, "run_tool", lambda _, stdin, root: told.append(stdin))
    change = set_password(pair)
    random_password.carry_out(change, Root(str(guest)))
    (line,) = told
    name, _, password = line.decode().strip().partition(":")
    assert name == "debian"
    path = guest / defs.POST_FILE[1:]
    assert path.stat().st_mode & 0o7777 == 0o600
    kept = json.loads(path.read_text())
    assert kept["url"] == URL
    assert decrypted(kept["password"], pair.private) == password
    for file in guest.rglob("*"):
        assert not file.is_file() or password.encode() not in file.read_bytes(), file
    assert password not in repr(change)
    assert password not in repr(generate())


def test_where_it_cannot_be_set_none_is_sent(
    guest: Path, pairs: dict[str, Pair], mocker: MockerFixture
) -> None:
    def refuse(command: object, stdin: bytes, root: Root) -> None:
        raise Refused("no such user")

    mocker.patch.object(random_password, "run_tool", refuse)
    with pytest.raises(Refused):
        random_password.carry_out(set_password(pairs["rsa2048"]), Root(str(guest)))
    assert not (guest / defs.POST_FILE[1:]).exists()
