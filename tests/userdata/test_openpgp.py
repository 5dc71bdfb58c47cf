"""The one key of a file that an id names: taken out of it, as gpg and gpgv see it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from email.utils import formatdate
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
import rig
from openpgp_keys import Keys

from guestagent.desired.packages import openpgp
from guestagent.desired.packages.openpgp import key_id, select
from guestagent.errors import FieldError


class Made(NamedTuple):
    """Two keys, the first with a subkey, and a signature by each of the three."""

    keys: Keys
    shop: str
    subkey: str
    other: str
    binary: bytes
    armored: bytes
    signatures: dict[str, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    keys = Keys(tmp_path_factory.mktemp("gpg") / "home")
    shop, subkey = keys.make("shop", subkey=True)
    (other,) = keys.make("other")
    signatures = {
        name: keys.gpg("--detach-sign", "--local-user", f"{name}!", given=b"text")
        for name in (shop, subkey, other)
    }
    both = ("--export", shop, other)
    yield Made(keys, shop, subkey, other, keys.gpg(*both), keys.gpg("--armor", *both), signatures)
    keys.close()


def test_C11_only_the_named_key_of_several_is_taken(made: Made) -> None:
    """As a key server or the host of a URL may send keys of its own besides."""
    for content in (made.binary, made.armored):
        for name in (made.shop, made.shop[-16:]):
            found = select(content, name)
            assert made.keys.fingerprints(found) == [made.shop, made.subkey]
            accepted = {
                signer: made.keys.verifies(found, signature, b"text")
                for signer, signature in made.signatures.items()
            }
            assert accepted == {made.shop: True, made.subkey: True, made.other: False}
        assert made.keys.fingerprints(select(content, made.other)) == [made.other]


def test_apt_takes_a_repository_that_the_named_key_has_signed(made: Made, tmp_path: Path) -> None:
    """What is written is a keyring to apt-get itself, and vouches for that key alone."""
    rig.need_tools("apt-get")
    suite = tmp_path / "repository/dists/stable"
    (suite / "main/binary-all").mkdir(parents=True)
    (suite / "main/binary-all/Packages").touch()
    release = (
        "Suite: stable\nCodename: stable\nComponents: main\nArchitectures: all\n"
        f"Date: {formatdate(usegmt=True)}\n"
        f"SHA256:\n {sha256().hexdigest()} 0 main/binary-all/Packages\n"
    )
    signed = made.keys.gpg("--clearsign", "--local-user", f"{made.shop}!", given=release.encode())
    (suite / "InRelease").write_bytes(signed)
    accepted = {}
    for name in (made.shop, made.other):
        keyring = tmp_path / f"{name}.gpg"
        keyring.write_bytes(select(made.binary, name))
        accepted[name] = updates(tmp_path / name, keyring, tmp_path / "repository")
    assert accepted == {made.shop: True, made.other: False}


def updates(folder: Path, keyring: Path, repository: Path) -> bool:
    """Tell whether apt-get accepts a repository by a keyring."""
    for name in ("parts", "lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    stanza = f"Types: deb\nURIs: file:{repository}\nSuites: stable\nComponents: main\n"
    (folder / "parts/x.sources").write_text(f"{stanza}Architectures: all\nSigned-By: {keyring}\n")
    options = {
        "APT::Sandbox::User": "root",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{folder}/parts",
        "Dir::State::Lists": f"{folder}/lists",
        "Dir::Cache": f"{folder}/cache",
    }
    argv = ["apt-get", *(f"-o{name}={value}" for name, value in options.items()), "update"]
    return subprocess.run(argv, capture_output=True).returncode == 0


def test_C11_a_file_without_the_named_key_is_refused(made: Made) -> None:
    """The id of a subkey is not enough: whoever sends keys can put it beside their own."""
    for name in ("0" * 40, "0" * 16, made.subkey, made.subkey[-16:]):
        with pytest.raises(FieldError, match="does not have the key that keyid names"):
            select(made.binary, name)


def test_C11_a_strangers_subkey_beside_the_named_key_verifies_nothing(made: Made) -> None:
    """It has no signature of the key; gpgv finds that out, so that it need not be done twice."""
    (stranger,) = made.keys.fingerprints(select(made.binary, made.other))
    public = select(made.binary, made.other)
    size = int.from_bytes(public[2:6], "big")
    as_subkey = bytes((0xC0 | 14,)) + public[1 : 6 + size]
    found = select(select(made.binary, made.shop) + as_subkey, made.shop)
    assert as_subkey in found
    assert not made.keys.verifies(found, made.signatures[stranger], b"text")
    assert made.keys.verifies(found, made.signatures[made.shop], b"text")


def test_a_key_that_is_cut_off_or_garbled_is_an_error_or_still_the_named_one(made: Made) -> None:
    rng = random.Random(16)
    key = select(made.binary, made.shop)
    broken = [key[:size] for size in range(len(key))]
    for _ in range(2000):
        garbled = bytearray(key)
        for _ in range(rng.randint(1, 3)):
            garbled[rng.randrange(len(key))] = rng.randrange(256)
        broken.append(bytes(garbled))
    primary = key[: 6 + int.from_bytes(key[2:6], "big")]
    for content in broken:
        try:
            found = select(content, made.shop)
        except FieldError:
            continue
        assert found.startswith(primary)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>not found</html>",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        b"\x99",
        b"\x9b\x04",  # a length that is not given
        b"\xc6\xe1\x04",  # a part of a packet
        b"\xc6\xff\xff\xff\xff\xff\x04",
        b"\xc6\x01\x03",  # a version that has no such fingerprint
    ],
)
def test_what_is_no_key_is_an_error(content: bytes) -> None:
    with pytest.raises(FieldError):
        select(content, "0" * 40)


def test_a_key_of_version_6_has_the_fingerprint_of_the_specification() -> None:
    """RFC 9580, A.3: the public key of its sample, and the fingerprint that it gives."""
    numbers = "f94da7bb48d60a61e567706a6587d0331999bb9d891a08242ead84543df895a3"
    body = bytes.fromhex(f"06 63877fe3 1b 00000020 {numbers}")
    fingerprint = "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9"
    packet = bytes((0xC6, len(body))) + body
    assert select(packet, fingerprint).endswith(body)
    assert select(packet, fingerprint[:16]).endswith(body)
    with pytest.raises(FieldError):
        select(packet, fingerprint[-16:])


def test_C11_two_keys_with_the_key_id_are_told_apart_by_the_fingerprint_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody may make a key with an id of 64 bits; here a stand-in for the digest does."""
    monkeypatch.setattr(openpgp, "_fingerprint", lambda body: f"{body[-1]:024X}{'AB' * 8}")
    first, second = (bytes((0xC6, 2, 4, number)) for number in (1, 2))
    with pytest.raises(FieldError, match="more than one key with this key id"):
        select(first + second, "AB" * 8)
    assert select(first + second, f"{2:024X}{'AB' * 8}").endswith(b"\x04\x02")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0x" + "ab" * 20, "AB" * 20),
        ("ABCD EF01 2345 6789 ABCD  EF01 2345 6789 ABCD EF01", "ABCDEF0123456789" * 2 + "ABCDEF01"),
        ("0123456789abcdef", "0123456789ABCDEF"),
        ("f" * 64, "F" * 64),
    ],
)
def test_an_id_is_read_as_people_write_it(text: str, found: str) -> None:
    assert key_id(text) == found


@pytest.mark.parametrize("text", ["", "0x", "F430BBA", "G" * 40, "a" * 39, "é" * 40, "--help"])
def test_C11_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="must be the fingerprint"):
        key_id(text)


def test_C11_a_short_id_is_refused_because_it_can_be_forged() -> None:
    with pytest.raises(FieldError, match="which others can give their keys"):
        key_id("F430BBA5")
