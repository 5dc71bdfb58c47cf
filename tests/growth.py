"""Config drives that ask for much: what a run costs for them must grow as they do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parent / "cases/samples/nova"
_HASH = "$6$saltsalt$" + "a" * 86
# What the tools of shadow(5) must find in a tree.
_DATABASE = {
    "shadow": "root:*:19000:0:99999:7:::\ndebian:*:19000::::::\n",
    "gshadow": "root:*::\nsudo:*::\ndebian:!::\n",
    "login.defs": "UID_MIN 1000\nGID_MIN 1000\nUSERGROUPS_ENAB yes\nSHA_CRYPT_MIN_ROUNDS 1000\n",
}


def make_drive(place: Path, kind: str, number: int) -> Path:
    """The sample's drive with so many "files", files in a "home", "users" or "nics"."""
    shutil.copytree(SAMPLE / "drive", place)
    latest = place / "openstack/latest"
    shutil.rmtree(place / "openstack/2018-08-27")  # the same again
    if kind == "nics":
        (latest / "network_data.json").write_text(json.dumps(_network(number)))
    else:
        config = _users(number) if kind == "users" else {"write_files": _files(kind, number)}
        (latest / "user_data").write_text(f"#cloud-config\n{json.dumps(config)}\n")
    return place


def make_tree(place: Path) -> Path:
    """The sample's tree; its user database is complete."""
    shutil.copytree(SAMPLE / "root", place, symlinks=True)
    for name, text in _DATABASE.items():
        (place / "etc" / name).write_text(text)
        (place / "etc" / name).chmod(0o600)
    return place


def _files(kind: str, number: int) -> list[dict[str, str]]:
    if kind == "home":
        return [{"path": f"/home/debian/many/{i}", "content": "new\n"} for i in range(number)]
    return [
        {"path": f"/etc/many/{i % 10}/{i}", "content": "new\n", "owner": "debian:debian"}
        for i in range(number)
    ]


def _users(number: int) -> dict[str, Any]:
    """Accounts with a key each, and with passwords, of which every other one is a hash."""
    metadata = json.loads((SAMPLE / "drive/openstack/latest/meta_data.json").read_text())
    key = metadata["public_keys"]["sample"].strip()
    names = [f"user{i}" for i in range(number)]
    passwords = [
        {"name": name, "password": _HASH, "type": "hash"}
        if i % 2
        else {"name": name, "password": "correct horse", "type": "text"}
        for i, name in enumerate(names)
    ]
    return {
        "users": [{"name": name, "ssh_authorized_keys": [key]} for name in names],
        "chpasswd": {"expire": False, "users": passwords},
    }


def _network(number: int) -> dict[str, Any]:
    links = [
        {"id": f"l{i}", "type": "ovs", "ethernet_mac_address": f"52:54:00:12:34:{i:02x}"}
        for i in range(number)
    ]
    networks = [
        {
            "id": f"n{i}",
            "type": "ipv4",
            "link": f"l{i}",
            "network_id": "x",
            "ip_address": f"192.0.{i}.10",
            "netmask": "255.255.255.0",
        }
        for i in range(number)
    ]
    return {"links": links, "networks": networks, "services": []}
