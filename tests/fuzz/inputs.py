"""What the fuzzer tries: mutants of the sample drives, of user data, settings and our own files.

Strings with ``CANARY`` are secrets.  A mutant that is ``sound`` has them where they were.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from gzip import compress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml
from network.cases import CASES

from guestagent.memory.state import State
from guestagent.scripts.ledger import Entry
from guestagent.scripts.staged import Script
from guestagent.sources import downloads
from guestagent.sources.cloud import Cloud
from guestagent.sources.downloads import Downloaded
from guestagent.sources.handover import Answer, Request, encode_answer, request_as_json

from . import outside_samples

CANARY = "CANARY"
_TESTS = Path(__file__).parents[1]
_META = "openstack/latest/meta_data.json"
_USER_DATA = "openstack/latest/user_data"
_VENDOR_DATA = "openstack/latest/vendor_data.json"
_HEAD = "#cloud-config\n"
_ANSWER = b"HTTP/1.1 200 OK"
_SECRETS = f"""{_HEAD}
password: {CANARY}-1
chpasswd: {{expire: false, users: [{{name: root, password: {CANARY}-2, type: text}}]}}
users:
- {{name: ada, plain_text_passwd: {CANARY}-3, lock_passwd: false, sudo: 'ALL=(ALL) ALL'}}
- {{name: eve, ssh_authorized_keys: ['ssh-ed25519 {CANARY} x']}}
ssh_keys: {{ed25519_private: {CANARY}-4, ed25519_public: {CANARY}-5}}
write_files:
- {{path: /etc/token, permissions: '0600', content: {CANARY}-6}}
- {{path: /etc/late, permissions: '0600', content: {CANARY}-7, defer: true}}
- {{path: /etc/more, permissions: '0600', content: {CANARY}-8, append: true}}
runcmd: [[login, {CANARY}-9], [echo, "it's $(id)", "a\nb"]]
bootcmd: [[login, {CANARY}-11], 'login {CANARY}-10']
mounts: [[/dev/vdb, /srv/a b, ext4, 'defaults,noatime', '0', '2']]
swap: {{filename: /swap.img, size: 64M}}
fqdn: web.example.org
manage_etc_hosts: true
timezone: Europe/Berlin
locale: de_DE.UTF-8
keyboard: {{layout: de, variant: nodeadkeys}}
ntp: {{servers: [a.example], pools: [b.example]}}
manage_resolv_conf: true
resolv_conf: {{nameservers: [192.0.2.1], searchdomains: [lan], options: {{rotate: true}}}}
packages: [nginx, [git, 1.0]]
final_message: up $UPTIME
power_state: {{mode: reboot, message: bye, delay: 5}}
phone_home: {{url: 'http://a.example/', post: all, tries: 3}}
"""
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIfSt5ez/khSBR9e8sPH03CaoiFZFdsQj3OhHHYfSbt a"
_META_DATA = {
    "uuid": "i-1",
    "hostname": "web",
    "admin_pass": f"{CANARY}-12",
    "random_seed": "Q0FOQVJZ",
    "public_keys": {"a": _KEY},
    "files": [{"path": "/etc/motd", "content_path": "/content/0000"}],
}
EVERYTHING = {_META: json.dumps(_META_DATA).encode(), _USER_DATA: _SECRETS.encode()}
_EC2 = {
    "instance-id": "i-1",
    "local-hostname": "web-1.example.org",
    "public-keys": {"0": {"openssh-key": _KEY, "_name": "0=sample"}},
    "security-groups": ["default"],
}
_NASTY: tuple[Any, ...] = (
    *("", " ", "\n", "a\nb", "a\rb", "a\0b", "\x85", "\u2028", "\x1b[2J", "\ud800", "ä" * 300),
    *("..", "/..", "../../etc/shadow", "/etc/../x", "/", "//etc//x", "/etc/x/", "-rf", "--root=/x"),
    *("$(id)", "`id`", "'; id; '", '"', "\\", "a b", "a:b:c", "root:x", "%", "# x", "${x}", "*"),
    *(
        "x\nPermitRootLogin yes",
        'x"\nRoot=1',
        "END\nid",
        "a\nb: c",
        "a,b",
        "!x",
        "&x",
        "*x",
        "0x10",
    ),
    *("192.0.2.1", "::1", "fe80::1%eth0", "0.0.0.0/0", "255.255.255.256", "52:54:00:00:01:01"),
    *(
        "ssh-ed25519 AAAA",
        'command="id" ssh-rsa AAAA',
        "x" * 70_000,
        "١٢",
        "1e999",
        "-1",
        "~",
        "ALL",
    ),
    *(0, 1, -1, 7, 65536, 2**31, 2**63, 10**400, 0.5, 1e308, -0.0, True, False, None),
    *([], {}, [[]], {"": ""}, [None], ["a", ["b"]], {"a": {"b": ["c"]}}, ["x"] * 300),
)
_TOKENS = (
    *(value.encode("utf-8", "replace") for value in _NASTY if isinstance(value, str)),
    *(b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\x1f\x8b", b"[" * 3000, b"{" * 3000, b'{"a":' * 500),
    *(b"---\n", b"...\n", b"<<: *x\n", b"&x ", b"!!python/name:os.system ", b"!!binary ", b"? "),
    *(
        b"--==sample==\n",
        b"--==sample==--\n",
        b"MIME-Version: 1.0\n",
        b"#include\n",
        b"#!/bin/sh\n",
    ),
    *(b"Content-Type: multipart/mixed; boundary=x\n\n--x\n", b"Merge-Type: list(append)\n"),
    *(b"Content-Transfer-Encoding: base64\n", b"#cloud-boothook\n", b"## template: jinja\n"),
    *(b"{{ ds.meta_data }}", b"{{ a.b|d(1) }}", b"{% if a %}", b"{% endif %}", b"{# x #}"),
    *(b"\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Content-Length: 5\r\n", b"Location: http://x\xff\r\n", b"Retry-After: 99999\r\n"),
    *(b"Content-Encoding: gzip\r\n", b"HTTP/1.1 302 Found\r\n", b"9" * 5000, b"\n\x0b\x1c\n"),
    *(b"Include /etc/ssh/sshd_config\n", b"source /etc/network/interfaces\n", b"Match user x\n"),
    *(b"2001-99-99", b"!!timestamp 2001-99-99", b"\0", b":::::::", b"0x", b"[Install]\nAlso="),
)
_NAMES = (b"\xff", b"\x1b[2J", b" ", b"*", b"[", b"-x", b"a=b", b"%25", b"\n", b"'", b"x" * 200)
_NAMED = ("drive", "guest", "machine", "staged")  # whose names others may choose


class Input(NamedTuple):
    """Documents for one reader, by their names, of which ``mutated`` is the one that was changed.

    ``variant`` chooses what the guest is like.
    """

    reader: str
    documents: dict[str, bytes]
    mutated: str = ""
    sound: bool = False
    variant: int = 0


def samples() -> list[Input]:
    """Return what the mutants are made of: the samples of all tests."""
    found = [_drive(folder / "drive") for folder in sorted((_TESTS / "cases/samples").iterdir())]
    texts = [path / "user_data" for path in sorted((_TESTS / "cases/user-data").iterdir())]
    for user_data in [_SECRETS.encode(), *(path.read_bytes() for path in texts)]:
        documents = {**EVERYTHING, _USER_DATA: user_data, "openstack/content/0000": b"hello\n"}
        found.append(Input("drive", documents))
    folders = sorted((_TESTS / "cases/samples").iterdir())
    found += [_drive(folder / "root")._replace(reader="guest") for folder in folders]
    found.append(Input("drive", {"ec2/latest/meta-data.json": _json(_EC2)}))
    found += [Input("network", {"network_data.json": _json(case.document)}) for case in CASES]
    found.append(Input("settings", {"guestagent.toml": _settings()}))
    found += [Input("own", {name: content}) for name, content in _own().items()]
    for reader, trees in _OUTSIDE.items():
        found += [Input(reader, documents) for documents in trees()]
    return found


_OUTSIDE = {
    "guest": outside_samples.guests,
    "machine": outside_samples.machines,
    "service": outside_samples.services,
    "post": outside_samples.posts,
    "staged": outside_samples.stages,
    "image": outside_samples.images,
    "lxd": outside_samples.lxds,
    "guestinfo": outside_samples.guestinfos,
    "keyring": outside_samples.keyrings,
    "reload": outside_samples.reloads,
    "template": outside_samples.templates,
}
# How often a reader gets a mutant, compared with the others.
_SHARES = {
    "drive": 12,
    "guest": 6,
    "network": 4,
    "settings": 2,
    "own": 6,
    "machine": 3,
    "service": 4,
    "post": 2,
    "staged": 2,
    "image": 1,
    "lxd": 2,
    "guestinfo": 2,
    "keyring": 2,
    "reload": 2,
    "template": 1,
}


def choose(found: list[Input], random: Random) -> Input:
    """Return one of the samples: first a reader by its share, then one of that reader's."""
    (reader,) = random.choices(list(_SHARES), list(_SHARES.values()))
    return random.choice([sample for sample in found if sample.reader == reader])


def _drive(folder: Path) -> Input:
    documents = {}
    for path in sorted(path for path in folder.rglob("*") if _is_file(path)):
        # A host name is no secret: what can be used of a bad one is.
        content = path.read_bytes().replace(b'"hostname": "CANARY', b'"hostname": "x')
        documents[str(path.relative_to(folder))] = content
    return Input("drive", documents)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _settings() -> bytes:
    """Return the shipped settings, each one set."""
    text = (_TESTS.parent / "packaging/guestagent.toml").read_text()
    lines = [
        line[1:] for line in text.splitlines() if line.startswith("#") and line[1:2] not in " "
    ]
    return "\n".join(lines).encode()


def _own() -> dict[str, bytes]:
    """Return the files that guestagent writes for itself, and what its processes hand over."""
    record = {"file:/etc/hostname": "0", "block:/etc/hosts": "1", "password:root": "done"}
    state = State(configured=True, instance_id="i-1", record=record, seen=("a", "b/"), salt="00")
    state = state._replace(fingerprint="0 a b", watched=("/etc/hosts", "/etc/"))
    script = Script("late", "10-instance-x", "instance", "0")
    entry = {**Entry(script, "i-1", "b", 0, 1.0)._asdict(), "script": script._asdict()}
    note = {"appended": {"/etc/x": "0"}, "made": ["/etc/y"], "accounts": ["ada"], "instance": "i-1"}
    report: dict[str, Any] = {
        "version": "0",
        "time": 1,
        "exit_status": 0,
        "source": "s",
        "instance_id": "i-1",
        "availability_zone": "",
        "project_id": "",
        "first_boot": True,
        "unchanged": False,
        "changes": [{"what": "a", "why": "b"}],
        "kept": ["x"],
        "total_ms": 1.0,
        "steps_ms": {"plan": 1.0},
        "scripts": [],
        "problems": [dict.fromkeys(("severity", "source", "document", "key", "reason"), "a")],
    }
    kept = {"path": "/etc/x", "old": "eA==", "mode": 0o644, "recorded": "0"}
    return {
        "state.json": _json({"version": 1, **state._asdict()}),
        "ledger.json": _json({"version": 1, "entries": [entry]}),
        "note.json": _json(note),
        "report.json": _json(report),
        "rollback.json": _json({"boot": "b", "files": [kept], "rejected": "0"}),
        "request.json": _json(request_as_json(Request(Cloud("openstack", "x")))),
        **outside_samples.own(),
        "downloaded.json": downloads.encode_answer([Downloaded(b"x"), Downloaded(error="no")]),
        "answer.json": encode_answer(Answer("http://x", {"openstack/latest/user_data": b"x"})),
    }


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def mutate(sample: Input, random: Random) -> Input:
    """Return a mutant of a sample: one to three changes of one of its documents.

    Some user data are packed then, or become vendor data too.
    """
    if sample.reader in _NAMED and random.random() < 0.1:
        return _rename(sample, random)
    names = [name for name, content in sample.documents.items() if content]
    name = random.choice(names or list(sample.documents))
    content = sample.documents[name]
    value = structure(content) if random.random() < 0.6 else None
    if value is not None:
        for _ in range(random.randint(1, 3)):
            value = _mutate_value(value, random)
        changed = in_format(value, content, flow=random.choice((True, False, None)))
    else:
        changed = content
        for _ in range(random.randint(1, 3)):
            changed = _mutate_bytes(changed, random)
    documents = {**sample.documents, name: changed}
    if name == _USER_DATA and random.random() < 0.2:
        name = random.choice((_USER_DATA, _VENDOR_DATA))
        text = _json({"cloud-init": changed.decode("utf-8", "replace")})
        documents[name] = compress(changed, mtime=0) if name == _USER_DATA else text
    return sample._replace(
        documents=documents,
        mutated=name,
        sound=value is not None and documents[name] == changed,
        variant=random.randrange(1 << 16),
    )


def _rename(sample: Input, random: Random) -> Input:
    """Return a mutant in which a document, or a folder with all that is in it, has another name."""
    parts = random.choice(list(sample.documents)).split("/")
    *above, last = parts[: random.randint(1, len(parts))]
    cut = random.randint(0, len(last))
    new = os.fsdecode(random.choice(_NAMES) + random.choice((b"", *_NAMES)))
    place = len(above)
    documents = {}
    for name, content in sample.documents.items():
        parts = name.split("/")
        if parts[: place + 1] == [*above, last]:
            parts[place] = f"{last[:cut]}{new}{last[cut:]}"[-200:]
        documents["/".join(parts)] = content
    return sample._replace(documents=documents, variant=random.randrange(1 << 16))


def structure(content: bytes) -> Any:
    """Return the value of a document of JSON or cloud-config, or of an answer with JSON.

    It is None for any other.
    """
    try:
        if content.startswith(_HEAD.encode()):
            return yaml.safe_load(content)
        if content.startswith(_ANSWER):
            return json.loads(content.partition(b"\r\n\r\n")[2])
        return json.loads(content)
    except (ValueError, RecursionError, yaml.YAMLError):
        return None


def in_format(value: Any, like: bytes, *, flow: bool | None = None) -> bytes:
    """Return a value in the format of a document."""
    if like.startswith(_HEAD.encode()):
        text = _HEAD + yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
        return text.encode("utf-8", "replace")
    body = json.dumps(value).encode()
    if like.startswith(_ANSWER):
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (_ANSWER, len(body), body)
    return body


def _mutate_value(value: Any, random: Random) -> Any:
    """Return a value with one change somewhere in it."""
    root = [copy.deepcopy(value)]
    holder, key = random.choice(list(_places(root)))
    held = holder[key]
    match random.randrange(8):
        case 0 | 1 | 2:
            holder[key] = copy.deepcopy(random.choice(_NASTY))
        case 3 if isinstance(held, str) and CANARY not in held:
            cut = random.randint(0, len(held))
            holder[key] = held[:cut] + str(random.choice(_NASTY)) + held[cut:]
        case 4 if holder is not root:
            del holder[key]
        case 5 if isinstance(holder, dict) and CANARY not in str(held):
            holder[str(random.choice(_NASTY))[:100]] = holder.pop(key)
        case 6 if isinstance(held, list):
            held += copy.deepcopy(held) * random.choice((1, 1, 1, 70))
        case 7:
            holder[key] = random.choice(([held], {"a": held}, [held, held], str(held)))
        case _:
            holder[key] = None
    return root[0]


def smaller(value: Any) -> Iterator[Any]:
    """Yield a value without one of its parts, for each part."""
    for place in range(len(list(_places(value)))):
        less = copy.deepcopy(value)
        holder, key = list(_places(less))[place]
        del holder[key]
        yield less


def _places(holder: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each place in a value: what holds it, and its key or index."""
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    for key in keys:
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])


def _mutate_bytes(content: bytes, random: Random) -> bytes:
    """Return content with one change somewhere in it, in its bytes or its lines."""
    start = random.randint(0, len(content))
    end = min(len(content), start + random.choice((1, 2, 8, 100)))
    match random.randrange(7):
        case 0:
            return content[:start] + content[end:]
        case 1:
            return content[:end] + content[start:end] * random.choice((1, 1, 50)) + content[end:]
        case 2 | 3:
            return content[:start] + random.choice(_TOKENS) + content[start:]
        case 4:
            return content[:start] + random.randbytes(random.choice((1, 1, 4))) + content[end:]
        case 5:
            return content[:start]
    lines = content.splitlines(keepends=True)
    random.shuffle(lines)
    return b"".join(lines)
