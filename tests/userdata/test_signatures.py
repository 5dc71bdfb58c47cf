"""Signed user data: ``guestagent sign`` makes them, and an image may demand them.

ssh-keygen signs and verifies here as it does in a guest.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import rig

from guestagent import defs
from guestagent.errors import FieldError, Problem, Problems
from guestagent.model import Part, Setting
from guestagent.parse.userdata import keys, signatures
from guestagent.parse.userdata.read import read
from guestagent.parse.userdata.signatures import Signatures
from guestagent.system import ssh_signature
from guestagent.verbs import sign as sign_verb

from .part_samples import CONFIG, SCRIPT, mime, packed, split, wrapped
from .planning import dry_run, make_drive

if TYPE_CHECKING:
    from guestagent.parse.userdata.signatures import Policy

HARMLESS = b"#cloud-config\nhostname: plain\ntimezone: Europe/Vienna\n"
WRITES = b"#cloud-config\nhostname: signed\nwrite_files: [{path: /etc/x, content: mine}]\n"
RUNS = b"#cloud-config\nruncmd: [id]\n"
BOTH = "user-data,vendor-data"
ARCHIVE = (
    b"#cloud-config-archive\n- '#!/bin/sh'\n- {type: text/cloud-config, content: 'hostname: a'}\n"
)


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("key") / "key")


@pytest.fixture(scope="session")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("other") / "key")


def make_key(path: Path, *more: str) -> Path:
    rig.need_tools("ssh-keygen")
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path), *more)
    return path


def keygen(*arguments: str, content: bytes = b"") -> bytes:
    return subprocess.run(
        ["ssh-keygen", *arguments], input=content, capture_output=True, check=True
    ).stdout


def line(key: Path, names: str = BOTH, options: str = "") -> str:
    """A line of allowed_signers, ssh-keygen(1)."""
    return f"{names} {options} {key.with_suffix('.pub').read_text()}"


def demand(signers: str, user: Policy = "required", vendor: Policy = "required") -> Signatures:
    verify = partial(ssh_signature.verify, signers=signers.encode(), path="/etc/signers")
    return Signatures(user, vendor, verify, [])


def read_all(
    content: bytes, rules: Signatures | None, vendor: object = None, vendor2: object = None
) -> tuple[dict[str, Any], tuple[Part, ...], list[Problem]]:
    """The values of cloud-config, the scripts and the problems."""
    problems = Problems()
    found: tuple[tuple[Setting, ...], tuple[Part, ...]] = read(
        content, vendor, vendor2, source="drive", problems=problems, signatures=rules
    )
    return {item.key: item.value for item in found[0]}, found[1], problems.problems


def assert_nothing(content: bytes, rules: Signatures, reason: str) -> None:
    """Nothing of user data is used, and one error says why."""
    config, scripts, problems = read_all(content, rules)
    assert (config, scripts) == ({}, ())
    (problem,) = problems
    assert problem.severity == "error"
    assert reason in problem.reason
    assert rules.verified == []


signed = sign_verb.sign


# The documents that can be signed

DOCUMENTS = {
    "config": WRITES,
    "without a last line end": WRITES.rstrip(),
    "script": SCRIPT,
    "dos": WRITES.replace(b"\n", b"\r\n"),
    "ends in CR": CONFIG + b"\r",
    "binary script": b"#!/bin/sh\ntail -c 4 $0\nexit\n\xff\xfe\0\x80",
    "mime": mime(
        b"Content-Type: text/cloud-config\n\nhostname: a",
        b'Content-Type: text/x-shellscript-per-boot; name="x.sh"\n\n#!/bin/sh\nid',
    ),
    "gzip": packed(WRITES),
    "base64": wrapped(packed(mime(b"Content-Type: text/cloud-config\n\nhostname: a"))),
    "byte order mark": b"\xef\xbb\xbf" + WRITES,
    "archive": ARCHIVE,
    "template": b"## template: jinja\n" + WRITES,
    "like a boundary": WRITES + b"# --=-\n--\n",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_signed_is_read_as_without_a_signature(key: Path, name: str) -> None:
    document = DOCUMENTS[name]
    rules = demand(line(key))
    config, scripts, problems = read_all(signed(document, str(key)), rules)
    plain_config, plain_scripts, plain_problems = read_all(document, None)
    assert config == plain_config
    assert [part[:3] for part in scripts] == [part[:3] for part in plain_scripts]
    assert [problem.reason for problem in problems] == [each.reason for each in plain_problems]
    assert len(rules.verified) == 1


@pytest.mark.parametrize("pack", [packed, wrapped, lambda text: wrapped(packed(text))])
def test_what_is_signed_may_be_packed_as_a_whole(key: Path, pack: Callable[[bytes], bytes]) -> None:
    config, _, problems = read_all(pack(signed(WRITES, str(key))), demand(line(key)))
    assert config["hostname"] == "signed"
    assert problems == []


def test_what_is_signed_is_readable(key: Path) -> None:
    assert WRITES in signed(WRITES, str(key))


def test_without_the_setting_a_signature_is_no_error(key: Path) -> None:
    config, _, problems = read_all(signed(WRITES, str(key)), None)
    assert config["hostname"] == "signed"
    assert [(problem.severity, problem.reason) for problem in problems] == [
        ("warning", signatures.NOT_CHECKED)
    ]


# What an attacker may try where all must be signed

NOT_SIGNED = "is not signed, as the setting signatures.policy demands"


@pytest.mark.parametrize(
    "document",
    [HARMLESS, SCRIPT, ARCHIVE, mime(CONFIG), packed(SCRIPT), b"## template: jinja\n" + SCRIPT],
)
def test_E13_nothing_unsigned_is_used(key: Path, document: bytes) -> None:
    assert_nothing(document, demand(line(key)), NOT_SIGNED)


def test_E13_nothing_of_an_unsigned_document_is_parsed(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        pytest.fail("is parsed")

    monkeypatch.setattr("guestagent.parse.userdata.yamltree.load", fail)
    monkeypatch.setattr("guestagent.parse.userdata.templates.render", fail)
    policies: tuple[Policy, ...] = ("required", "limited")
    for policy in policies:
        template = b"## template: jinja\n" + WRITES
        assert read_all(template, demand(line(key), user=policy))[:2] == ({}, ())
    assert read_all(ARCHIVE, demand(line(key)))[:2] == ({}, ())


@pytest.mark.parametrize("at", range(0, 2000, 7))
def test_E13_no_byte_of_what_is_signed_can_be_changed(key: Path, at: int) -> None:
    """Bytes outside of what is signed and of the signature have no effect on what is used."""
    message = bytearray(signed(WRITES, str(key)))
    if at >= len(message):
        return
    message[at] ^= 1
    config, scripts, _ = read_all(bytes(message), demand(line(key)))
    assert scripts == ()
    assert config in ({}, read_all(WRITES, None)[0])


def test_E13_a_part_beside_a_signed_one_has_no_effect(key: Path) -> None:
    both = mime(signed(WRITES, str(key)), b"Content-Type: text/x-shellscript\n\n" + SCRIPT)
    assert_nothing(both, demand(line(key)), NOT_SIGNED)


def _with_third(message: bytes, third: bytes, first: bool) -> bytes:
    """A signed message with a further part in it."""
    boundary = message.split(b'boundary="')[1].split(b'"')[0]
    mark = b"--" + boundary + b"\n"
    part = mark + third + b"\n"
    if first:
        return message.replace(mark, part + mark, 1)
    return message.replace(b"--" + boundary + b"--", part + b"--" + boundary + b"--")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("policy", ["required", "limited"])
def test_E13_a_part_within_the_signed_message_makes_it_void(
    key: Path, first: bool, policy: Policy
) -> None:
    message = _with_third(signed(WRITES, str(key)), b"Content-Type: text/plain\n\n" + RUNS, first)
    assert_nothing(message, demand(line(key), user=policy), "not of two parts")


# Lines that an attacker may put anywhere into a signed message.
FOREIGN = (
    *(
        b"--B",
        b"--B--",
        b"--in",
        b"--B \t",
        b"--Bx",
        b"",
        b" boundary=in",
        b"\r",
        b"MIME-Version: 1.0",
    ),
    b"Content-Type: multipart/mixed; boundary=B",
    b"Content-Type: multipart/signed; boundary=in",
    b"Content-Type: application/x-ssh-signature",
    b"Content-Transfer-Encoding: base64",
    *(WRITES.replace(b"signed", b"foreign").split(b"\n")),
    b"Content-Type: text/x-shellscript-per-boot\n\n#!/bin/sh\nforeign",
    b"Content-Type: text/cloud-config\nMerge-Type: dict(replace)\n\nruncmd: [foreign]",
    b"#cloud-config-archive\n- '#!/bin/sh\\nforeign'",
)


def _mutant(message: bytes, random: Random) -> bytes:
    """A message some lines of which were added, taken away, doubled, moved or changed."""
    for _ in range(random.randint(1, 4)):
        lines = message.split(b"\n")
        one, two = sorted(random.randrange(len(lines)) for _ in "ab")
        what = random.randrange(6)
        if what == 0:
            lines.insert(one, random.choice(FOREIGN))
        elif what == 1:
            del lines[one]
        elif what == 2:
            lines[one:one] = lines[one:two]
        elif what == 3:
            lines[one], lines[two] = lines[two], lines[one]
        elif what == 4:
            lines[one] += random.choice((b"\r", b" ", b";", b'"', b"--"))
        else:
            both = [b"\n".join(lines), random.choice(FOREIGN)]
            lines = mime(*both[:: random.choice((1, -1))], boundary="out").split(b"\n")
        message = b"\n".join(lines)
    return packed(message) + packed(FOREIGN[-1]) if random.random() < 0.1 else message


@pytest.mark.parametrize("policy", ["required", "limited"])
def test_E13_no_mutant_of_a_message_brings_in_what_is_not_signed(policy: Policy) -> None:
    config = b"Content-Type: text/plain\n\n" + WRITES
    nested = mime(b"Content-Type: text/x-shellscript\n\n" + SCRIPT, CONFIG, boundary="in")
    random = Random(policy)

    def verify(content: bytes, _signature: bytes, _signer: object, _namespace: str) -> str:
        if content in (config, nested):
            return "the key"
        raise FieldError("does not hold")

    uses = 0
    for _ in range(3000):
        original = _message(random.choice((config, nested)))
        found, scripts, _ = read_all(
            _mutant(original, random), Signatures(policy, policy, verify, [])
        )
        uses += bool(found or scripts)
        assert {part.content for part in scripts} <= {SCRIPT}
        assert all(part.kind == "script" for part in scripts)
        if policy == "required":
            assert found in ({}, read_all(WRITES, None)[0], read_all(CONFIG, None)[0])
        written = {key: found[key] for key in found if key not in signatures.HARMLESS}
        assert written in ({}, {"write_files": read_all(WRITES, None)[0]["write_files"]})
    assert uses > 100  # in which the signature holds, and something is used


def _message(entity: bytes) -> bytes:
    """A signed message with a boundary that can be guessed, and a signature that says nothing."""
    signature = b"Content-Type: application/x-ssh-signature\n\nU1NI"
    top = "Content-Type: multipart/signed; boundary=B\nMIME-Version: 1.0\n"
    return top.encode() + b"\n--B\n" + entity + b"\n--B\n" + signature + b"\n--B--\n"


def test_E13_a_signature_is_only_for_what_it_was_made_for(key: Path) -> None:
    one, two = (signed(document, str(key)) for document in (WRITES, SCRIPT))
    stolen = one.split(b"-----BEGIN")[1].split(b"-----END")[0]
    own = two.split(b"-----BEGIN")[1].split(b"-----END")[0]
    reason = "does not hold: it was not made for exactly this"
    assert_nothing(two.replace(own, stolen), demand(line(key)), reason)


def test_E13_a_header_of_the_signed_part_is_signed_too(key: Path) -> None:
    """Another media type would make a script of each boot of one that was to run once."""
    message = signed(SCRIPT, str(key))
    other = message.replace(b"text/plain", b"text/x-shellscript-per-boot")
    assert other != message
    assert_nothing(other, demand(line(key)), "does not hold")


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ("vendor-data", ""),
        ("user-data", 'namespaces="git"'),
        ("user-data", 'valid-before="20200101"'),
        ("user-data", 'valid-after="29990101"'),
        ("user-data", "cert-authority"),
        ("someone@example.org", ""),
    ],
)
def test_E13_a_key_signs_what_the_file_of_signers_admits(
    key: Path, names: str, options: str
) -> None:
    assert_nothing(signed(WRITES, str(key)), demand(line(key, names, options)), "does not hold")


@pytest.mark.parametrize("signers", ["", "junk\n", "user-data\n", "user-data ssh-ed25519 AAAA\n"])
def test_E13_a_file_of_signers_without_the_key_admits_nothing(key: Path, signers: str) -> None:
    assert_nothing(signed(WRITES, str(key)), demand(signers), "does not hold")


def test_E13_another_key_does_not_count(key: Path, other_key: Path) -> None:
    fingerprint = keygen("-lf", str(other_key)).decode().split()[1]
    reason = f"does not hold: /etc/signers does not admit its key, ED25519 key {fingerprint}, for"
    assert_nothing(signed(WRITES, str(other_key)), demand(line(key)), reason)


def test_E13_a_signature_for_another_program_does_not_count(key: Path) -> None:
    """As git's: its user may sign any text, and a commit is one."""
    message = signed(WRITES, str(key))
    mine, _ = _halves(message)
    git = keygen("-q", "-Y", "sign", "-n", "git", "-f", str(key), content=mine)
    assert_nothing(sign_verb._with_signature(mine, git), demand(line(key)), "does not hold")


def _halves(message: bytes) -> tuple[bytes, bytes]:
    from guestagent.parse.userdata.mime import read_entity, split_bodies

    return signatures.divide(split_bodies(read_entity(message), 2)[0])


def test_E13_a_certificate_of_an_authority_counts_for_the_names_in_it(
    key: Path, other_key: Path, tmp_path: Path
) -> None:
    user = make_key(tmp_path / "user")
    rules = line(key, "*", "cert-authority")
    for name, counts in (("user-data", True), ("vendor-data", False)):
        keygen("-q", "-s", str(key), "-I", "id", "-n", name, str(user.with_suffix(".pub")))
        certificate = str(user) + "-cert.pub"
        message = signed(WRITES, certificate)
        assert bool(read_all(message, demand(rules))[0]) == counts
        assert not read_all(message, demand(line(other_key, "*", "cert-authority")))[0]


@pytest.mark.parametrize(
    "signature",
    [b"", b"junk", b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"],
)
def test_E13_what_is_no_signature_admits_nothing(key: Path, signature: bytes) -> None:
    mine, _ = _halves(signed(WRITES, str(key)))
    assert_nothing(sign_verb._with_signature(mine, signature), demand(line(key)), "does not hold")


def test_E13_a_huge_signature_reaches_no_program(key: Path) -> None:
    mine, _ = _halves(signed(WRITES, str(key)))
    message = sign_verb._with_signature(mine, b"x" * (defs.SIGNATURE_LIMIT + 1))
    assert_nothing(message, demand(line(key)), "has a signature of more than 16 KiB")


def test_E13_a_large_key_fits(tmp_path: Path) -> None:
    rig.need_tools("ssh-keygen")
    key = tmp_path / "rsa"
    keygen("-q", "-t", "rsa", "-b", "4096", "-N", "", "-f", str(key))
    assert read_all(signed(WRITES, str(key)), demand(line(key)))[0]


def test_E13_without_ssh_keygen_nothing_is_signed(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = signed(WRITES, str(key))
    monkeypatch.setattr(ssh_signature, "find_program", lambda _: None)
    problems = Problems()
    read(message, None, None, source="drive", problems=problems, signatures=demand(line(key)))
    assert "ssh-keygen is not installed" in problems.problems[0].reason
    assert problems.passing  # the next boot may find it


@pytest.mark.parametrize(("status", "output"), [(0, b""), (1, b'Good "'), (-1, b'Good "')])
def test_E13_only_the_word_of_ssh_keygen_counts(
    key: Path, monkeypatch: pytest.MonkeyPatch, status: int, output: bytes
) -> None:
    from guestagent.system.tools import Result

    message = signed(WRITES, str(key))
    monkeypatch.setattr(ssh_signature, "run", lambda *_: Result(status, output, b""))
    assert_nothing(message, demand(line(key)), "does not hold")


# Vendor data


def test_E13_vendor_data_are_signed_as_user_data(key: Path) -> None:
    text = signed(RUNS, str(key)).decode()
    for form in (text, [text], {"cloud-init": text}, {"static": {"cloud-init": [text]}}):
        config, _, problems = read_all(b"", demand(line(key)), form, form)
        assert ("runcmd" in config, problems) == (True, [])
    bare = RUNS.decode()
    for other in (bare, [bare], {"cloud-init": bare}, {"static": {"cloud-init": [bare]}}):
        config, _, problems = read_all(b"", demand(line(key)), other)
        assert config == {}
        assert NOT_SIGNED in problems[0].reason


def test_E13_a_key_for_user_data_signs_no_vendor_data(key: Path) -> None:
    text = signed(RUNS, str(key)).decode()
    config, _, problems = read_all(b"", demand(line(key, "user-data")), text)
    assert config == {}
    assert ", for vendor-data, or not at this time" in problems[0].reason


def test_vendor_data_may_have_a_policy_of_their_own(key: Path) -> None:
    rules = demand(line(key), vendor="off")
    config, _, _ = read_all(HARMLESS, rules, RUNS.decode())
    assert config.keys() == {"runcmd"}
    rules = demand(line(key), user="off")
    config, _, _ = read_all(HARMLESS, rules, RUNS.decode())
    assert config.keys() == {"hostname", "timezone"}


def test_E13_unsigned_user_data_cannot_switch_off_vendor_data(key: Path) -> None:
    text = signed(RUNS, str(key)).decode()
    switch = b"#cloud-config\nvendor_data: {enabled: false}\n"
    policies: tuple[Policy, ...] = ("limited", "required")
    for policy in policies:
        rules = demand(line(key), user=policy)
        assert "runcmd" in read_all(switch, rules, text)[0]
    # Signed user data can, also those that are not signed, without an error.
    for vendor in (text, RUNS.decode()):
        config, _, problems = read_all(signed(switch, str(key)), demand(line(key)), vendor)
        assert (config, problems) == ({}, [])


# Where what can do no harm may be unsigned


def test_E13_only_harmless_keys_need_no_signature(key: Path) -> None:
    """Whatever is known now or comes later needs one until somebody lists it."""
    every = "".join(f"{name}: x\n" for name in (*keys.KEYS, *keys.OLD_NAMES, *keys.OLD_APT))
    config, _, problems = read_all(
        f"#cloud-config\n{every}vendor_data: {{enabled: false}}\nmade_up: 1\n".encode(),
        demand(line(key), user="limited"),
    )
    assert config.keys() <= set(signatures.HARMLESS)
    refused = {problem.key.partition(" ")[0] for problem in problems if "sign it" in problem.reason}
    written = {*keys.KEYS, *keys.OLD_NAMES, *keys.OLD_APT, "vendor_data", "made_up"}
    assert refused | set(signatures.HARMLESS) >= {
        name for name in written if len(refused) < defs.MAX_PROBLEMS
    }
    assert set(signatures.HARMLESS) <= keys.KEYS.keys()


def test_E13_the_keys_that_need_no_signature_are_these() -> None:
    """A look at SECURITY.md comes before a change here: none runs code or lets anyone in."""
    assert set(signatures.HARMLESS) == {
        *("hostname", "fqdn", "prefer_fqdn_over_hostname", "preserve_hostname"),
        *("timezone", "locale", "keyboard", "growpart", "resize_rootfs"),
    }
    security = (rig.REPOSITORY / "SECURITY.md").read_text()
    assert all(f"`{name}`" in security for name in signatures.HARMLESS)


@pytest.mark.parametrize(
    "document",
    [
        SCRIPT,
        b"#cloud-boothook\n" + SCRIPT,
        b"## template: jinja\n" + HARMLESS,
        b"#include\nhttps://example.org/\n",
        mime(b"Content-Type: text/x-shellscript-per-boot\n\n" + SCRIPT),
        b"#cloud-config-archive\n- {type: text/x-shellscript, content: '#!/bin/sh'}\n",
    ],
)
def test_E13_no_unsigned_part_runs(key: Path, document: bytes) -> None:
    assert_nothing(document, demand(line(key), user="limited"), "is not signed, and without a")


@pytest.mark.parametrize("order", [1, -1])
def test_E13_what_is_signed_wins_over_what_is_not(key: Path, order: int) -> None:
    """In whatever order the parts come, and whatever an unsigned one says of merging."""
    unsigned = HARMLESS + b"merge_how: dict(replace)+list(append)+str(append)\n"
    message = mime(signed(WRITES, str(key)), b"Content-Type: text/cloud-config\n\n" + unsigned)
    parts = [signed(WRITES, str(key)), b"Content-Type: text/cloud-config\n\n" + unsigned]
    message = mime(*parts[::order])
    config, _, problems = read_all(message, demand(line(key), user="limited"))
    assert config["hostname"] == "signed"
    assert config["timezone"] == "Europe/Vienna"
    assert len(config["write_files"]) == 1
    assert problems == []


@pytest.mark.parametrize("unsigned", [HARMLESS, b"#cloud-config\ntimezone: [wrong]\n"])
def test_E13_unsigned_user_data_win_over_no_signed_vendor_data(key: Path, unsigned: bytes) -> None:
    vendor = signed(b"#cloud-config\ntimezone: Europe/Rome\n", str(key)).decode()
    config, _, _ = read_all(unsigned, demand(line(key), user="limited"), vendor)
    assert config["timezone"] == "Europe/Rome"


TEMPLATE = b"""## template: jinja
#cloud-config
hostname: {{ ds.name }}
fqdn: {{ ds.role | default("none.example.org") }}
timezone: {{ ds.list[0] }}
"""


@pytest.mark.parametrize(
    "given", ["a\nruncmd: [id]", "a b", "a$(id)", "a;id", '"', "ä", "a\x85b", b"a$(id)"]
)
def test_E13_unsigned_metadata_add_nothing_to_a_signed_template(
    key: Path, given: str | bytes
) -> None:
    """Whoever starts an instance may choose names and properties, which it is filled with."""
    values = {"ds": {"name": "web-1", "role": given, "list": [given, "UTC"], given: "x"}}
    problems = Problems()
    rules = demand(line(key))
    config, _ = read(
        signed(TEMPLATE, str(key)),
        None,
        None,
        source="drive",
        problems=problems,
        variables=lambda: values,
        signatures=rules,
    )
    found = {item.key: item.value for item in config}
    assert found == {"hostname": "web-1", "fqdn": "none.example.org", "timezone": "UTC"}
    assert problems.problems == []


def test_E13_heat_hides_nothing_that_is_not_signed(key: Path) -> None:
    """Its own files are left out with a warning, the user's script with an error."""
    heat = b"Content-Type: text/x-cfninitdata; name="
    message = mime(heat + b"cfn-userdata\n\n" + SCRIPT, heat + b"part-handler.py\n\nimport os")
    _, scripts, problems = read_all(message, demand(line(key), user="limited"))
    assert scripts == ()
    assert [problem.severity for problem in problems] == ["error", "error"]


def test_E13_what_comes_after_a_signed_part_is_not_signed(key: Path) -> None:
    message = mime(signed(CONFIG, str(key)), b"Content-Type: text/cloud-config\n\nruncmd: [id]")
    config, _, problems = read_all(message, demand(line(key), user="limited"))
    assert config == {"hostname": "web"}
    assert [problem.key.partition(" (")[0] for problem in problems] == ["part 2: runcmd"]


# Whole runs


def link_to_tmp(file: Path) -> None:
    """Put a link in place of a file, to a file of root's where everyone can write."""
    folder = file.parents[2] / "tmp"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    file.rename(folder / "signers")
    file.symlink_to("/tmp/signers")


def image(guest: Path, key: Path, policy: str = "required", more: str = "") -> Path:
    """Demand signatures in a tree; returns the file of signers."""
    folder = guest / "etc/guestagent"
    folder.mkdir(mode=0o755, exist_ok=True)
    (folder / "guestagent.toml").write_text(f'[signatures]\npolicy = "{policy}"\n{more}')
    signers = folder / "allowed_signers"
    signers.write_text(line(key))
    signers.chmod(0o644)
    return signers


def apply(drive: Path, guest: Path) -> rig.Result:
    return rig.agent("apply", "--source", drive, "--root", guest)


def test_E13_a_run_uses_what_is_signed_and_says_by_whom(
    guest: Path, tmp_path: Path, key: Path
) -> None:
    image(guest, key)
    document = tmp_path / "document"
    document.write_bytes(WRITES)
    message = tmp_path / "signed"
    done = rig.agent("sign", "--key", key, "--output", message, document)
    assert (done.status, done.out) == (0, ""), done.err
    assert rig.agent("sign", "--key", key, document).out.encode().count(WRITES) == 1
    drive = make_drive(tmp_path, message.read_bytes())
    fingerprint = keygen("-lf", str(key)).decode().split()[1]

    told = dry_run(drive, guest)
    assert told["signatures"] == [f"{drive}, user_data: ED25519 key {fingerprint}"]
    shown = rig.agent("apply", "--source", drive, "--root", guest, "--dry-run").out
    assert f"signed: {drive}, user_data: ED25519 key {fingerprint}" in shown

    done = apply(drive, guest)
    assert done.status == 0, done.err
    assert fingerprint in done.err
    assert (guest / "etc/x").read_text() == "mine"
    report = json.loads((guest / "run/guestagent/report.json").read_text())
    assert report["signatures"] == told["signatures"]
    assert fingerprint in rig.agent("status", "--root", guest).out

    # The same source is not looked at again.
    assert "unchanged" in apply(drive, guest).err


def test_E13_a_run_uses_nothing_unsigned(guest: Path, tmp_path: Path, key: Path) -> None:
    image(guest, key)
    drive = make_drive(tmp_path, WRITES, hostname="from-metadata", public_keys={"a": rig.KEY})
    vendor = drive / "openstack/latest/vendor_data.json"
    vendor.write_text(json.dumps({"cloud-init": RUNS.decode()}))
    done = apply(drive, guest)
    assert done.status == 1
    assert done.err.count("is not signed, as the setting") == 2
    assert not (guest / "etc/x").exists()
    assert not (guest / "var/lib/guestagent/late").exists()
    # What the metadata say is no user data.
    assert (guest / "etc/hostname").read_text() == "from-metadata\n"


def test_E13_an_image_can_keep_metadata_from_root(guest: Path, tmp_path: Path, key: Path) -> None:
    """By the settings that SECURITY.md names: else keys, sudo and its group are the metadata's."""
    with (guest / "etc/group").open("a") as groups:
        groups.write("sudo:x:27:\nadm:x:4:\n")
    fresh = 'name = "fresh"\n'
    image(guest, key, more=f"[user]\n{fresh}")
    drive = make_drive(tmp_path, b"", public_keys={"a": rig.KEY}, admin_pass="canary-password")
    open_plan = json.dumps(dry_run(drive, guest)["changes"])
    assert all(word in open_plan for word in ("authorized_keys", "sudo"))
    more = f"[ssh]\nkeys_for = []\n[user]\n{fresh}sudo = false\ngroups = []\n"
    image(guest, key, more=more)
    plan = json.dumps(dry_run(drive, guest)["changes"])
    assert "useradd" in plan
    assert not any(word in plan for word in ("authorized_keys", "sudo", "--groups"))


@pytest.mark.parametrize("policy", ["limited", "required"])
def test_E13_an_injected_file_is_not_written(
    guest: Path, tmp_path: Path, key: Path, policy: str
) -> None:
    image(guest, key, policy)
    files = [{"path": "/etc/cron.d/x", "content_path": "/content/0000"}]
    drive = make_drive(tmp_path, b"", files=files)
    content = drive / "openstack/content/0000"
    content.parent.mkdir()
    content.write_text("* * * * * root id\n")
    done = apply(drive, guest)
    assert done.status == 1
    assert "an injected file cannot be signed" in done.err
    assert not (guest / "etc/cron.d/x").exists()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.unlink(), "does not exist"),
        (lambda file: file.chmod(0o666), "others than root can write"),
        (lambda file: file.chmod(0o620), "others than root can write"),
        (lambda file: os.chown(file, 1000, 0), "others than root can write"),
        (lambda file: file.parent.chmod(0o777), "others than root can write"),
        (lambda file: (file.unlink(), file.mkdir()), "not a regular file"),
        (lambda file: link_to_tmp(file), "other users than root can write where it leads"),
    ],
)
def test_E13_a_file_of_signers_that_others_may_change_admits_nothing(
    guest: Path, tmp_path: Path, key: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    rig.need_root()
    spoil(image(guest, key))
    drive = make_drive(tmp_path, signed(WRITES, str(key)))
    done = apply(drive, guest)
    assert done.status == 1
    assert reason in done.err
    assert not (guest / "etc/x").exists()


def test_a_file_of_signers_that_changes_is_noticed(guest: Path, tmp_path: Path, key: Path) -> None:
    signers = image(guest, key)
    text = signers.read_text()
    signers.unlink()
    drive = make_drive(tmp_path, signed(WRITES, str(key)))
    assert apply(drive, guest).status == 1
    signers.write_text(text)
    done = apply(drive, guest)
    assert done.status == 0, done.err
    assert (guest / "etc/x").exists()
    # A key that is taken away later takes nothing back, and is told.
    signers.write_text("")
    done = apply(drive, guest)
    assert done.status == 1
    assert "can no longer be used; all but the network stays as it is" in done.err
    assert (guest / "etc/x").exists()


@pytest.mark.parametrize(
    "text",
    [
        '[signatures]\npolicy = "require"\n',
        '[signatures]\npolicy = "off"\nvendor_polcy = "off"\n',
        "[signatures]\npolicy = true\n",
        'signatures = "required"\n',
        '[signatures]\npolicy = "limited\n',
        b'[signatures]\npolicy = "limited" # \xff\n',
    ],
)
def test_E13_settings_that_cannot_be_used_demand_signatures(
    guest: Path, tmp_path: Path, key: Path, text: str | bytes
) -> None:
    image(guest, key)
    settings = guest / "etc/guestagent/guestagent.toml"
    settings.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = apply(make_drive(tmp_path, WRITES), guest)
    assert "is not signed, as the setting" in done.err
    assert not (guest / "etc/x").exists()


def test_E13_settings_that_cannot_be_read_demand_signatures(
    guest: Path, tmp_path: Path, key: Path
) -> None:
    rig.need_root()
    image(guest, key, "off")
    drive = make_drive(tmp_path, WRITES)
    os.chown(guest / "etc/guestagent", 1000, 0)
    done = apply(drive, guest)
    assert "belongs to another user" in done.err
    assert "is not signed, as the setting" in done.err
    assert not (guest / "etc/x").exists()
    os.chown(guest / "etc/guestagent", 0, 0)
    assert apply(drive, guest).status == 0
    assert (guest / "etc/x").exists()


def test_settings_that_say_nothing_of_signatures_demand_none(guest: Path, tmp_path: Path) -> None:
    shipped = (rig.REPOSITORY / "packaging/guestagent.toml").read_text()
    folder = guest / "etc/guestagent"
    folder.mkdir()
    (folder / "guestagent.toml").write_text(f"{shipped}\n[hosts\n")
    apply(make_drive(tmp_path, WRITES), guest)
    assert (guest / "etc/x").exists()


def test_validate_says_whether_a_signature_holds(tmp_path: Path, key: Path) -> None:
    signers = tmp_path / "signers"
    signers.write_text(line(key))
    file = tmp_path / "document"
    file.write_bytes(signed(WRITES, str(key)))
    done = rig.agent("validate", file)
    assert "is signed; that is not checked here" in done.out
    done = rig.agent("validate", "--signers", signers, file)
    assert (done.status, done.out.count("\nsigned: ")) == (0, 1)
    told = json.loads(rig.agent("validate", "--json", "--signers", signers, file).out)
    assert len(told[0]["signatures"]) == 1
    file.write_bytes(WRITES)
    done = rig.agent("validate", "--signers", signers, file)
    assert (done.status, "is not signed" in done.out) == (1, True)


# Signing


@pytest.mark.parametrize("document", [b"", b" \n", packed(b"x")[:-1]])
def test_what_is_no_document_is_not_signed(tmp_path: Path, key: Path, document: bytes) -> None:
    file = tmp_path / "document"
    file.write_bytes(document)
    done = rig.agent("sign", "--key", key, file)
    assert (done.status, done.out) == (64, "")


def test_a_key_that_cannot_sign_is_an_error(tmp_path: Path, key: Path) -> None:
    file = tmp_path / "document"
    file.write_bytes(WRITES)
    assert rig.agent("sign", "--key", tmp_path / "none", file).status == 1
    assert rig.agent("sign", "--key", key).status == 64
    assert rig.agent("sign", file).status == 64
    assert rig.agent("sign", "--key", key, tmp_path / "none").status == 1


def test_an_agent_signs_for_its_user(tmp_path: Path, key: Path) -> None:
    rig.need_tools("ssh-agent", "ssh-add")
    public = tmp_path / "only.pub"
    public.write_bytes(key.with_suffix(".pub").read_bytes())
    file = tmp_path / "document"
    file.write_bytes(WRITES)
    command = f"ssh-add -q {key} && python3 -m guestagent sign --key {public} {file}"
    done = subprocess.run(
        ["ssh-agent", "sh", "-c", command], capture_output=True, cwd=rig.REPOSITORY, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert read_all(done.stdout, demand(line(key)))[0]["hostname"] == "signed"


def test_ssh_keygen_may_ask_for_the_passphrase_of_a_key(tmp_path: Path) -> None:
    rig.need_tools("ssh-keygen")
    key = tmp_path / "locked"
    keygen("-q", "-t", "ed25519", "-N", "open sesame", "-f", str(key))
    file, output = tmp_path / "document", tmp_path / "signed"
    file.write_bytes(WRITES)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(rig.REPOSITORY)
        argv = ["python3", "-m", "guestagent", "sign", "--key", str(key), "--output", str(output)]
        os.execvp("python3", [*argv, str(file)])
    said = b""
    while b"assphrase" not in said:
        said += os.read(terminal, 100)
    os.write(terminal, b"open sesame\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert status == 0
    assert read_all(output.read_bytes(), demand(line(key)))[0]["hostname"] == "signed"


def test_the_form_of_a_signature_is_checked() -> None:
    for bodies in ([], [b"a"], [b"a", b"b"], [b"a", b"b", b"c"]):
        with pytest.raises(FieldError, match="not of two parts"):
            signatures.divide(bodies)


def test_a_document_without_a_rule_is_split_as_ever() -> None:
    assert all(not part.unsigned for part in split(mime(CONFIG))[0])


# A signature beside the document


def beside(document: bytes, key: Path, namespace: str = signatures.DETACHED) -> bytes:
    """A signature as ssh-keygen itself makes it."""
    return keygen("-Y", "sign", "-n", namespace, "-f", str(key), content=document)


def read_beside(
    content: bytes, signature: bytes, rules: Signatures, **more: Any
) -> tuple[dict[str, Any], tuple[Part, ...], list[Problem]]:
    problems = Problems()
    config, scripts = read(
        content,
        None,
        None,
        source="drive",
        problems=problems,
        signatures=rules,
        signature=signature,
        **more,
    )
    return {item.key: item.value for item in config}, scripts, problems.problems


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("form", ["armor", "line"])
def test_a_document_may_be_signed_beside_it(key: Path, name: str, form: str) -> None:
    document = DOCUMENTS[name]
    made = beside(document, key) if form == "armor" else sign_verb.sign_beside(document, str(key))
    rules = demand(line(key))
    config, scripts, problems = read_beside(document, made, rules)
    plain = read_all(document, None)
    assert (config, scripts) == plain[:2]
    assert [problem.severity for problem in problems] == [one.severity for one in plain[2]]
    assert len(rules.verified) == 1
    assert rules.verified[0].origin.document == "user_data"


@pytest.mark.parametrize("policy", ["required", "limited"])
def test_E13_a_signature_beside_a_document_is_for_every_byte_of_it(
    key: Path, policy: Policy
) -> None:
    made = beside(WRITES, key)
    for changed in (WRITES + b"\n", WRITES[1:], WRITES.replace(b"mine", b"mime"), RUNS, b" "):
        rules = demand(line(key), user=policy)
        config, scripts, problems = read_beside(changed, made, rules)
        assert (config.keys() <= {"hostname"}, scripts, rules.verified) == (True, (), [])
        assert policy == "limited" or not config
        assert "a signature that does not hold" in problems[0].reason or not changed.strip()


@pytest.mark.parametrize(
    "made", [b"", b"\0", b"CANARY", b"-----BEGIN SSH SIGNATURE-----", b"x" * (65 << 10)]
)
def test_E13_what_is_no_signature_beside_a_document_admits_nothing(key: Path, made: bytes) -> None:
    rules = demand(line(key))
    config, scripts, problems = read_beside(WRITES, made, rules)
    assert (config, scripts, rules.verified) == ({}, (), [])
    assert [problem.severity for problem in problems] == ["error", "error"]
    assert "CANARY" not in "".join(problem.text() for problem in problems)


def test_E13_another_key_or_program_signs_nothing_beside_a_document(
    key: Path, other_key: Path
) -> None:
    for made in (
        beside(WRITES, other_key),
        beside(WRITES, key, "git"),
        beside(WRITES, key, "file"),
    ):
        assert read_beside(WRITES, made, demand(line(key)))[0] == {}
    made = beside(WRITES, key)
    assert read_beside(WRITES, made, demand(line(key, "vendor-data")))[0] == {}


def test_E13_a_document_that_was_signed_is_not_read_as_a_part_nor_a_part_as_one(key: Path) -> None:
    """Without a header of its own, a part would begin after the document's first empty line."""
    document = b"#!/bin/sh\n: <<'X'\n\n#cloud-config\nruncmd: [id]\n#X\n"
    made = beside(document, key)
    boundary = b"\n--b\n"
    head = b'Content-Type: multipart/signed; boundary="b"\n\n--b\n'
    kind = f"Content-Type: {signatures.SIGNATURE_TYPE}\n\n".encode()
    assert_nothing(
        head + document + boundary + kind + made + b"\n--b--\n",
        demand(line(key)),
        "a signature that does not hold",
    )
    entity = b"Content-Type: text/plain\n\n" + WRITES
    of_part = beside(entity, key, signatures.IN_MESSAGE)
    assert read_beside(entity, of_part, demand(line(key)))[0] == {}


def test_E13_a_signature_beside_user_data_is_not_for_vendor_data(key: Path) -> None:
    problems = Problems()
    config, _ = read(
        HARMLESS,
        HARMLESS.decode(),
        None,
        source="drive",
        problems=problems,
        signatures=demand(line(key)),
        signature=beside(HARMLESS, key),
    )
    assert {item.key: item.origin.document for item in config} == {
        "hostname": "user_data",
        "timezone": "user_data",
    }
    (problem,) = problems.problems
    assert (problem.document, "is not signed" in problem.reason) == ("vendor_data.json", True)


def test_E13_unsigned_metadata_add_nothing_to_a_template_that_is_signed_beside(key: Path) -> None:
    values = {"ds": {"name": "web-1", "role": "a\nruncmd: [id]", "list": ["a$(id)", "UTC"]}}
    made = beside(TEMPLATE, key)
    config, _, problems = read_beside(TEMPLATE, made, demand(line(key)), variables=lambda: values)
    assert config == {"hostname": "web-1", "fqdn": "none.example.org", "timezone": "UTC"}
    assert problems == []


def test_a_signed_message_needs_none_beside_it(key: Path) -> None:
    message = signed(WRITES, str(key))
    config, _, problems = read_beside(message, beside(WRITES, key), demand(line(key)))
    assert config["hostname"] == "signed"
    assert [problem.severity for problem in problems] == ["error"]


@pytest.mark.parametrize("place", ["file", "metadata", "nocloud"])
def test_E13_a_source_has_the_signature_in_a_file_or_in_the_metadata(
    guest: Path, tmp_path: Path, key: Path, place: str
) -> None:
    image(guest, key)
    document = tmp_path / "document"
    document.write_bytes(WRITES)
    file = tmp_path / "document.sig"
    done = rig.agent("sign", "--detached", "--key", key, "--output", file, document)
    assert (done.status, done.out) == (0, ""), done.err
    text = file.read_text().strip()
    # What a value of OpenStack's metadata can have.
    assert len(text) <= 255
    meta = {"meta": {"user_data_signature": text}} if place == "metadata" else {}
    drive = make_drive(tmp_path, WRITES, **meta)
    if place == "file":
        (drive / "openstack/latest/user_data.sig").write_bytes(beside(WRITES, key))
    if place == "nocloud":
        drive = tmp_path / "seed"
        drive.mkdir()
        (drive / "meta-data").write_text("instance-id: i-1\n")
        (drive / "user-data").write_bytes(WRITES)
        (drive / "user-data.sig").write_text(text)
    done = apply(drive, guest)
    assert done.status == 0, done.err
    assert "ED25519 key" in done.err
    assert (guest / "etc/x").read_text() == "mine"
    assert "unchanged" in apply(drive, guest).err


def test_E13_without_its_signature_a_document_is_not_used(
    guest: Path, tmp_path: Path, key: Path
) -> None:
    """A signature that is taken away later is noticed, too."""
    image(guest, key)
    drive = make_drive(tmp_path, WRITES, meta={"user_data_signature": 5})
    made = drive / "openstack/latest/user_data.sig"
    made.write_bytes(beside(WRITES.replace(b"mine", b"ours"), key))
    assert apply(drive, guest).status == 1
    assert not (guest / "etc/x").exists()
    made.write_bytes(beside(WRITES, key))
    assert apply(drive, guest).status == 0
    assert (guest / "etc/x").exists()
    made.unlink()
    done = apply(drive, guest)
    assert (done.status, "is not signed" in done.err) == (1, True)


def test_without_the_setting_a_signature_beside_a_document_is_not_read(
    guest: Path, tmp_path: Path
) -> None:
    drive = make_drive(tmp_path, WRITES)
    (drive / "openstack/latest/user_data.sig").mkdir()
    assert apply(drive, guest).status == 0


def test_validate_reads_the_signature_beside_a_file(tmp_path: Path, key: Path) -> None:
    signers, file = tmp_path / "signers", tmp_path / "document"
    signers.write_text(line(key))
    file.write_bytes(WRITES)
    assert rig.agent("validate", "--signers", signers, file).status == 1
    (tmp_path / "document.sig").write_bytes(beside(WRITES, key))
    done = rig.agent("validate", "--signers", signers, file)
    assert (done.status, done.out.count("\nsigned: ")) == (0, 1)


@pytest.mark.parametrize("document", [b"", b"x" * ((1 << 20) + 1)])
def test_what_is_no_document_gets_no_signature(tmp_path: Path, key: Path, document: bytes) -> None:
    (tmp_path / "document").write_bytes(document)
    done = rig.agent("sign", "--detached", "--key", key, tmp_path / "document")
    assert (done.status, done.out) == (64, "")
