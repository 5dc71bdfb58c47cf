"""What a run writes of hostile documents, as the programs that read it understand it: bars E.

Each test gives one run all hostile texts, beside one value that is good.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import rig
from logins import World

from guestagent import defs

# Texts that would be a line, a word, an option or a path of their own somewhere.
HOSTILE = (
    *("\n", "\r", "\0", "]", "[X]", "#", ";", "=", "\\", "%", "$(id)", "`id`", " ", "'", '"', ":"),
    *("\u2028", "x" * 300, "\t", "|| reboot", "%i", "/", "../x", "..", "-", "é", "*", "\x1b[2J"),
    *("\nDHCP=yes\n[Network]", "\n192.0.2.66 evil", " evil", "\n    up id", "\\\nup id"),
)
MAC = "52:54:00:12:34:56"
GOOD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Scene:
    """A tree, and a drive that a test writes."""

    def __init__(self, root: Path, drive: Path) -> None:
        self.root, self.drive = root, drive
        self.runs = 0

    def settings(self, text: str) -> None:
        path = self.root / defs.SETTINGS_FILE[1:]
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def apply(self, *, network: Any = None, user_data: str = "", **meta: object) -> rig.Result:
        """Run the agent with these documents, as another instance each time."""
        self.runs += 1
        latest = self.drive / "openstack/latest"
        latest.mkdir(parents=True, exist_ok=True)
        meta = {"uuid": f"i-{self.runs}", **meta}
        (latest / "meta_data.json").write_text(json.dumps(meta))
        if network is not None:
            (latest / "network_data.json").write_text(json.dumps(network))
        if user_data:
            (latest / "user_data").write_text(user_data)
        found = rig.agent("apply", "--source", self.drive, "--root", self.root)
        assert "internal error" not in found.err
        assert "\x1b" not in found.err
        return found

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")


@pytest.fixture
def scene(guest: Path, tmp_path: Path) -> Scene:
    return Scene(guest, tmp_path / "drive")


# /etc/hosts


def test_E2_no_host_name_makes_another_line_or_name(scene: Scene) -> None:
    hosts = scene.path(defs.HOSTS_FILE)
    for name in ("web", *(f"web{text}web" for text in HOSTILE), "localhost", "127.0.0.1", "web.1"):
        hosts.write_text("127.0.0.1 localhost\n192.0.2.7 db\n")
        data = f"#cloud-config\n{json.dumps({'fqdn': name, 'manage_etc_hosts': True})}\n"
        scene.apply(hostname=name, user_data=data)
        lines = [line for line in hosts.read_text().splitlines() if not line.startswith("#")]
        own = [line for line in lines if line.endswith("# guestagent")]
        assert [line for line in lines if line not in own] == [
            "127.0.0.1 localhost",
            "192.0.2.7 db",
        ]
        assert len(own) <= 1
        for line in own:
            assert re.fullmatch(r"127\.0\.1\.1( [A-Za-z0-9.-]+){1,2} # guestagent", line)
    assert rig.resolve(hosts, "evil", "localhost", "db", "192.0.2.66", "x") == [
        *([], ["127.0.0.1", "localhost"], ["192.0.2.7", "db"], [], []),
    ]


# authorized_keys


def _make_key(folder: Path, kind: str) -> str:
    rig.need_tools("ssh-keygen")
    path = folder / f"key-{kind}"
    size = ("-b", "2048") if kind == "rsa" else ()
    argv = ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", f"me@{kind}", "-f", str(path)]
    subprocess.run(argv, check=True)
    return Path(f"{path}.pub").read_text().strip()


def _fingerprints(path: Path) -> list[str]:
    """Size, digest and type of each key that ssh-keygen(1) finds in a file."""
    done = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    return sorted(f"{words[1]} {words[-1]}" for words in found)


def test_E3_ssh_keygen_lists_the_accepted_keys_and_no_other(scene: Scene, tmp_path: Path) -> None:
    good = [_make_key(tmp_path, kind) for kind in ("ed25519", "ecdsa", "rsa")]
    other = tmp_path / "other"
    other.mkdir()
    evil = _make_key(other, "ed25519")
    kind, blob = evil.split()[:2]
    bad = [
        *(f'command="id" {evil}', f"no-pty {evil}", f"cert-authority {evil}", f'from="*" {evil}'),
        *(f"ssh-dss {blob}", f"ssh-rsa {blob}", f"{kind} {blob[:-4]}", f"{kind} {blob[4:]}"),
        *(f"{kind}\u00a0{blob}", f"{kind} {blob}\x1b[2J", f"{kind} {blob} \0", "ssh-ed25519"),
        *(f"{kind} !{blob}", f"@{kind} {blob}", f'{kind} "{blob}"', f"environment=x {evil}"),
    ]
    # What other programs take for a new line makes none; with "\n" there may be several keys.
    bad += [f"# x\r{evil}", f"{good[0]}\u2028{evil}", f"{good[0]} x\x0b{evil}"]
    given = {f"g{place}": key for place, key in enumerate(good)}
    given |= {f"b{place}": key for place, key in enumerate(bad)}
    given["long"] = good[0] + "x" * 5000
    scene.apply(public_keys=given)
    path = scene.path("/home/debian/.ssh/authorized_keys")
    (tmp_path / "wanted").write_text("".join(f"{key}\n" for key in good))
    wanted = _fingerprints(tmp_path / "wanted")
    assert len(wanted) == 3
    assert sorted(set(_fingerprints(path))) == wanted
    for line in path.read_text().splitlines():
        assert line.startswith(("#", *(f"{key.split()[0]} AAAA" for key in good)))
        assert len(line.split(" ", 2)[-1]) <= 256 or line.startswith("#")


# sshd's drop-in


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def _effective(world: World) -> set[str]:
    """What sshd(8) says that it does."""
    argv = world.inside("/usr/sbin/sshd", "-T")
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def test_E4_sshd_is_told_of_passwords_and_root_s_login_and_nothing_else(world: World) -> None:
    subprocess.run(world.inside("ssh-keygen", "-A"), check=True, capture_output=True)
    before = _effective(world)
    seen = set()
    lines = [f"yes{text}PermitEmptyPasswords yes" for text in ("\n", "\r", "\u2028", " ", "#")]
    for value in (True, False, *lines):
        asked = {"ssh_pwauth": value, "disable_root": value, "chpasswd": {"list": ["root:x"]}}
        world.apply(f"{json.dumps(asked)}\n", hostname=f"web{value}")
        after = _effective(world)
        words = {line.split()[0] for line in after ^ before}
        assert words <= {"passwordauthentication", "permitrootlogin"}, (value, after - before)
        for line in world.drop_in().splitlines():
            assert re.fullmatch(r"# .*|(PasswordAuthentication|PermitRootLogin) (yes|no)", line)
        seen |= words
    assert "passwordauthentication" in seen


# The files of network stacks, and the names of files


def _networks(texts: Sequence[str]) -> dict[str, Any]:
    """A NIC with a good network, and hostile texts in each place where text may be."""
    good = {"id": "good", "type": "phy", "ethernet_mac_address": MAC}
    links: list[dict[str, Any]] = [good]
    networks, services = [], []
    for text in texts:
        links += [
            {"id": text, "type": "phy", "name": f"x{text}"},
            {
                "id": f"bond{text}",
                "type": "bond",
                "name": f"b{text}",
                "bond_mode": text,
                "bond_links": ["good", text],
                "bond_primary": text,
            },
            {
                "id": f"vlan{text}",
                "type": "vlan",
                "name": f"../{text}",
                "vlan_id": f"5{text}",
                "vlan_link": f"bond{text}",
                "vlan_mac_address": f"{MAC}{text}",
            },
        ]
        static = {"id": text, "type": "ipv4", "link": "good", "ip_address": "192.0.2.10/24"}
        networks += [
            {**static, "gateway": f"192.0.2.1{text}", "dns_search": [text, f"a{text}b"]},
            {**static, "link": f"bond{text}", "ip_address": f"192.0.2.11{text}"},
        ]
        services.append({"type": "dns", "address": f"192.0.2.53{text}"})
    return {"links": links, "networks": networks, "services": services}


@pytest.mark.parametrize("backend", ["networkd", "networkmanager", "netplan", "ifupdown"])
def test_E12_no_file_is_named_by_text_of_the_source(scene: Scene, backend: str) -> None:
    scene.settings(f'[network]\nbackend = "{backend}"\n')
    before = set(rig.snapshot(scene.root))
    parts = "".join(
        f'--x\nContent-Type: text/x-shellscript\nContent-Disposition: attachment; filename="{name}"'
        f"\n\n#!/bin/sh\n"
        for name in ("../../etc/cron.d/x", "a/b", "..", "-rf", "a\\b", "%i.service", "x y", "$(id)")
    )
    data = f'Content-Type: multipart/mixed; boundary="x"\nMIME-Version: 1.0\n\n{parts}--x--\n'
    for start in range(0, len(HOSTILE), 12):
        scene.apply(network=_networks(HOSTILE[start : start + 12]), user_data=data)
        made = set(rig.snapshot(scene.root)) - before
        for path in made:
            assert GOOD_NAME.fullmatch(path.rpartition("/")[2].removeprefix(".")), path
        staged = {path.rpartition("/")[2] for path in made if "/guestagent/late/" in path}
        assert all(re.fullmatch(r"\d\d-instance-[A-Za-z0-9_.-]+", name) for name in staged)
        folders = {path.rpartition("/")[0] for path in made}
        assert not folders & {"/etc/cron.d", "/etc/systemd/system"}
        for path in made:
            if path.endswith(".env"):
                assert re.fullmatch(
                    r"(#[^\n]*\n|GUESTAGENT_WAIT_ONLINE=[A-Za-z0-9=. -]*\n)*",
                    scene.path(path).read_text(),
                )
