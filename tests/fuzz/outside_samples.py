"""Samples of what readers find on the machine, on the network and in the tree."""

from __future__ import annotations

import base64
import gzip
import json
import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import rig
from network.cases import CASES
from network.produce import BACKENDS, produce

from guestagent import defs
from guestagent.desired.packages import openpgp

CANARY = "CANARY"
_UUID = "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIfSt5ez/khSBR9e8sPH03CaoiFZFdsQj3OhHHYfSbt a"
_INFINIBAND = "80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1"
_NOVA = {
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro guestagent.source=/dev/sr0 quiet",
    "sys/class/dmi/id/product_name": "OpenStack Nova",
    "sys/class/dmi/id/product_uuid": _UUID.upper(),
    "sys/class/dmi/id/chassis_asset_tag": "OpenStack Nova",
    "sys/class/dmi/id/product_serial": _UUID,
    "sys/class/dmi/id/sys_vendor": "OpenStack Foundation",
    "sys/class/net/eth0/address": "52:54:00:00:01:01",
    "sys/class/net/eth0/addr_assign_type": "0",
    "sys/class/net/eth0/flags": "0x1003",
    "sys/class/net/eth0/ifindex": "2",
    "sys/class/net/eth0/device/vendor": "0x1af4",
    "sys/class/net/bond0/flags": "0x1003",
    "sys/class/net/bond0/uevent": "DEVTYPE=bond\nINTERFACE=bond0",
    "sys/class/net/bond0/lower_eth1/flags": "0x1003",
    "sys/class/net/eth1/address": _INFINIBAND,
    "sys/class/net/eth1/addr_assign_type": "3",
    "sys/class/net/eth1/flags": "0x1003",
    "sys/class/net/eth1/ifindex": "3",
    "sys/class/net/eth1/device/vendor": "0x1af4",
    "sys/class/net/eth1/master/flags": "0x1003",
    "sys/class/net/lo/flags": "0x9",
    "run/udev/data/n2": "E:ID_NET_NAME=eth0",
    "proc/self/net/if_inet6": (
        "fe80000000000000505400fffe000101 02 40 20 80     eth0\n"
        "fd000000000000000000000000000001 02 40 00 80     eth0\n"
    ),
    "proc/self/net/route": (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "bond0\tFEA9FEA9\t010200C0\t0007\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n"
    ),
    "proc/self/mountinfo": (
        "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
        "98 22 1:3 / /mnt/a\\040b ro - iso9660 /dev/sr0 ro\n"
    ),
    "etc/resolv.conf": "nameserver 127.0.0.53",
    "var/lib/guestagent/state.json": '{"watched": ["/sys/class/net/eth0/address", "/etc/hosts"]}',
}
_AMAZON = {
    "proc/cmdline": "root=/dev/xvda1 ds=ec2 guestagent.cloud=ec2",
    "proc/1/environ": "HOME=/\0TERM=linux\0product_name=OpenStack Nova\0",
    "proc/1/cmdline": "/sbin/init\0ds=nocloud;h=web;i=i-1\0guestagent.source=/dev/sr0\0",
    "sys/hypervisor/uuid": "ec2a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10",
    "sys/class/dmi/id/product_uuid": "e2ec9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10",
    "sys/class/dmi/id/product_serial": "e2ec9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10",
    "sys/class/dmi/id/sys_vendor": "Amazon EC2",
    "run/systemd/container": "lxc",
    "sys/class/net/eth0/flags": "0x1003",
    "proc/self/net/route": "Iface\neth0\t00000000\t0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n",
}
_SEEDED = {
    **_NOVA,
    "proc/cmdline": "root=/dev/vda1 ds=nocloud;h=web.example.org;i=i-1;x=y quiet",
    "sys/class/dmi/id/product_serial": "ds=nocloud-net;s=http://192.0.2.1/a/;h=web;i=i-2",
}
_CONFIG = """#cloud-config
hostname: web
write_files: [{path: /etc/given, content: given}]
"""
_GUEST = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/sh\n",
    "etc/shadow": "root:!:19000:0:99999:7:::\nada:!*:19000:0:99999:7:::\n",
    "etc/group": "root:x:0:\nsudo:x:27:ada\nada:x:1000:\n",
    "etc/login.defs": "UMASK 022\nHOME_MODE 0700\nENCRYPT_METHOD YESCRYPT\n",
    "etc/default/useradd": "SKEL=/etc/skel\n",
    "etc/skel/.profile": "x\n",
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
    "etc/hostname": "old\n",
    "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 old.example.org old\n",
    "etc/fstab": "UUID=1 / ext4 errors=remount-ro 0 1\n/dev/vdb /srv auto x-guestagent 0 2\n",
    "etc/selinux/config": "SELINUX=permissive\nSELINUXTYPE=targeted\n",
    "etc/timezone": "Etc/UTC\n",
    "etc/locale.gen": "# de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\n",
    "usr/share/i18n/SUPPORTED": "de_DE.UTF-8 UTF-8\nen_US.UTF-8 UTF-8\n",
    "usr/share/zoneinfo/Europe/Berlin": "TZif",
    "etc/chrony/chrony.conf": "pool 2.debian.pool.ntp.org iburst\nmakestep 1 3\n",
    "etc/apt/sources.list": "deb http://deb.debian.org/debian bookworm main\n",
    "etc/apt/sources.list.d/debian.sources": (
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    ),
    "etc/ca-certificates.conf": "mozilla/A.crt\n!mozilla/B.crt\n",
    "etc/resolv.conf": "nameserver 192.0.2.1\n",
    "etc/default/locale": "LANG=en_US.UTF-8\n",
    "etc/default/keyboard": 'XKBLAYOUT="us"\n',
    "etc/ssh/sshd_config": (
        "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM no\nAllowGroups sudo a*\n"
        "AuthorizedKeysFile .ssh/authorized_keys /etc/keys/%u\nMatch User ada\n"
        'AuthenticationMethods "publickey,password" any\nPermitRootLogin no\n'
    ),
    "etc/ssh/sshd_config.d/50-x.conf": "Include extra/*\nTrustedUserCAKeys /etc/ssh/ca.pub\n",
    "etc/ssh/extra/a": "DenyUsers eve\nAuthorizedKeysCommand /usr/bin/keys %u\n",
    "etc/ssh/ca.pub": f"{_KEY}\n",
    "etc/ssh/ssh_host_ed25519_key.pub": f"{_KEY}\n",
    "home/ada/.ssh/authorized_keys": f'command="id" {_KEY}\n',
    "etc/network/interfaces": (
        "source /etc/network/interfaces.d/*\nsource-directory more\nauto eth0\n"
        "iface eth0 inet static\n  address 192.0.2.2/24\n"
    ),
    "etc/network/interfaces.d/a": "auto br0\niface br0 inet manual\n  bridge_ports eth1\n",
    "etc/network/more/b": "source /etc/network/interfaces\n",
    "etc/systemd/system/multi-user.target.wants/networking.service": "",
    "usr/lib/systemd/system/systemd-networkd.service": (
        "[Unit]\n[Install]\nWantedBy=multi-user.target\nAlso=a.socket\nAlias=dbus-x.service\n"
    ),
    "usr/lib/systemd/system/a.socket": "[Install]\nRequiredBy=sockets.target\n",
    **dict.fromkeys(("usr/sbin/ifup", "usr/sbin/sshd", "usr/bin/apt-get", "usr/sbin/chronyd"), ""),
    **dict.fromkeys(("usr/sbin/locale-gen", "usr/bin/sudo", "usr/bin/setupcon"), ""),
    "var/lib/guestagent/commit.json": (
        '{"appended": {"/etc/more": "0"}, "made": ["/etc/late"], "accounts": ["ada"],'
        ' "instance": "i-1"}'
    ),
    "etc/guestagent/guestagent.toml": "[hosts]\nmanage = true\n",
    "etc/guestagent/guestagent.toml.d/a.toml": "[files]\nmode = 0o640\n",
}


def guests() -> list[dict[str, bytes]]:
    """Return trees that have what the samples of whole runs do not have, one for each stack."""
    whole = {name: text.encode() for name, text in _GUEST.items()}
    without = {name: text for name, text in whole.items() if "networking.service" not in name}
    wants = "etc/systemd/system/multi-user.target.wants"
    return [
        whole,
        without,
        {**without, f"{wants}/systemd-networkd.service": b""},
        {**without, f"{wants}/NetworkManager.service": b""},
    ]


def machines() -> list[dict[str, bytes]]:
    """Return what the kernel, the firmware and udev say of machines."""
    device = os.stat("/").st_dev
    blocks = f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    sizes = {f"{blocks}/size": "2048", f"{blocks}/start": "2048", "sys/dev/block/size": "99999"}
    found = [{**_NOVA, **sizes}, {**_NOVA, **_AMAZON}, _SEEDED]
    found.append({**_SEEDED, "proc/cmdline": "quiet"})
    return [{name: text.encode() for name, text in each.items()} for each in found]


def services() -> list[dict[str, bytes]]:
    """Return the whole answers of metadata services, by method and path, quoted."""
    meta = {"uuid": "i-1", "hostname": "web", "files": [{"content_path": "/content/0000"}]}
    meta["files"][0]["path"] = "/etc/motd"  # type: ignore[index]
    meta["admin_pass"] = f"{CANARY}-1"
    networks = json.dumps(CASES[0].document)
    latest = {
        "/openstack/latest/meta_data.json": json.dumps(meta),
        "/openstack/latest/network_data.json": networks,
        "/openstack/latest/user_data": f"#cloud-config\npassword: {CANARY}-2\n",
        "/openstack/latest/vendor_data.json": '{"cloud-init": "#cloud-config\\n{}"}',
        "/openstack/latest/vendor_data2.json": "{}",
        "/openstack/latest/password": "",
        "/openstack/content/0000": "hello\n",
    }
    dated = {name.replace("latest", "2018-08-27"): text for name, text in latest.items()}
    amazon = {
        "/latest/meta-data/instance-id": "i-1",
        "/latest/meta-data/local-hostname": "web.example.org",
        "/latest/meta-data/public-keys/": "0=a\n1=b",
        "/latest/meta-data/public-keys/0/openssh-key": _KEY,
        "/latest/meta-data/public-keys/1/openssh-key": _KEY,
        "/latest/user-data": f"#!/bin/sh\nlogin {CANARY}-3\n",
        "/latest/dynamic/instance-identity/document": '{"availabilityZone": "a"}',
    }
    found = [latest, {"/openstack": "2012-08-10\n2018-08-27\nlatest/\n", **dated}, amazon]
    found.append({**dated, **amazon, "/openstack": "2018-08-27/\n2099-01-01"})
    token = {quote("PUT /latest/api/token", safe=""): _answer(f"{CANARY}-4", "")}
    each = [dict(_answers(documents)) for documents in found]
    return [*each, *({**answers, **token} for answers in each)]


def _answers(documents: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield names and whole answers, every second one in chunks."""
    for number, (path, text) in enumerate(documents.items()):
        name = quote(f"GET {path}", safe="")
        yield name, _answer(text, "chunked" if number % 2 else "")


def _answer(text: str, transfer: str, first: str = "HTTP/1.1 200 OK") -> bytes:
    """Return a whole answer; its headers have secrets too."""
    body = text.encode()
    length = f"Content-Length: {len(body)}"
    if transfer:
        length = f"Transfer-Encoding: {transfer}"
        body = b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    head = f"{first}\r\nServer: {CANARY}-5\r\nContent-Type: text/plain\r\n{length}\r\n\r\n"
    return head.encode() + body


def posts() -> list[dict[str, bytes]]:
    """Return what is posted, and what is answered."""
    form = {
        "url": f"http://{CANARY}:{CANARY}@a.example/$INSTANCE_ID/?{CANARY}",
        "post": ["pub_key_ed25519", "instance_id", "hostname", "fqdn"],
        "tries": 2,
        "hostname": "",
        "fqdn": "web.example.org",
    }
    password = {"url": "http://metadata.example/openstack/latest/password", "password": "eA=="}
    given = {"form": json.dumps(form).encode(), "password": json.dumps(password).encode()}
    there = quote("POST /openstack/latest/password", safe="")
    paths = [quote(f"POST /{path}?{CANARY}", safe="") for path in ("/", "")]
    target = quote("POST /next", safe="")
    moved = f"HTTP/1.1 307 Moved\r\nLocation: http://{CANARY}.example/next"
    return [
        {**given, there: _answer("", ""), **{path: _answer("", "", moved) for path in paths}}
        | {target: _answer("", "", first)}
        for first in ("HTTP/1.1 200 OK", "HTTP/1.1 303 See Other\r\nLocation: /", moved)
    ]


def stages() -> list[dict[str, bytes]]:
    """Return scripts that wait, and what one prints."""
    return [
        {
            "10-instance-a": b"#!/bin/sh -e\nid\n",
            "20-resumed-write_files-1": b"#!/usr/bin/env\tbash\n",
            "30-boot-b.sh": b"id\n",
            "40-once-c": b"\x7fELF",
            "printed": b"one\ntwo\r\n\x1b[2J\xff\tthree\n" + b"x" * 5000 + b"\nlast",
        }
    ]


def images() -> list[dict[str, bytes]]:
    """Return the marks of images, what tools list of them, and the content of their files."""
    iso = bytes(16 * 2048) + b"\1CD001\1" + bytes(100)
    fat = bytearray(600)
    fat[54:57], fat[510:512] = b"FAT", b"\x55\xaa"
    names = ("openstack/latest/meta_data.json", "openstack/2018-08-27/meta_data.json", "x")
    meta = b'{"uuid": "i-1", "hostname": "web"}'
    quoted = "".join(f"'/{name}'\n" for name in names)
    plain = "".join(f"::/{name}\n" for name in ("openstack/", *names))
    return [
        {"volume": iso, "listing": f"xorriso : x\n{quoted}".encode(), "content": meta},
        {"volume": bytes(fat), "listing": plain.encode(), "content": meta},
        {"volume": _ext("meta-data", f"instance-id: i-1\npublic-keys: [{_KEY}]\n".encode())},
    ]


def _ext(name: str, content: bytes) -> bytes:
    """Return a file system of ext2 with one file, in blocks of 1 KiB.

    They are: nothing, the superblock, the groups, the inodes, the top folder, the file.
    """
    blocks = [bytearray(1024) for _ in range(6)]
    entry = struct.pack("<IHH", 3, 1024, len(name)) + name.encode()
    blocks[4][: len(entry)], blocks[5][: len(content)] = entry, content
    for block, at, form, value in (
        *((1, 0, "<I", 8), (1, 0x28, "<I", 8), (1, 0x38, "<H", 0xEF53), (1, 0x3A, "<H", 1)),
        (2, 8, "<I", 3),
    ):
        struct.pack_into(form, blocks[block], at, value)
    for number, mode, size, place in ((2, 0o40755, 1024, 4), (3, 0o100644, len(content), 5)):
        at = 128 * (number - 1)
        struct.pack_into("<HHI", blocks[3], at, mode, 0, size)
        struct.pack_into("<I", blocks[3], at + 0x28, place)
    return b"".join(blocks)


def lxds() -> list[dict[str, bytes]]:
    """Return the whole answers of LXD's socket, by their paths."""
    keys = ("cloud-init.user-data", "user.vendor-data", "user.network-config")
    texts = {
        "1.0/meta-data": f"instance-id: i-1\nlocal-hostname: web\npublic-keys: |\n  {_KEY}\n",
        "1.0/config": json.dumps([f"/1.0/config/{key}" for key in keys]),
        f"1.0/config/{keys[0]}": _CONFIG,
        f"1.0/config/{keys[1]}": _CONFIG,
        f"1.0/config/{keys[2]}": "version: 2\nethernets: {eth0: {dhcp4: true}}\n",
    }
    return [{path: _answer(text, "") for path, text in texts.items()}]


def guestinfos() -> list[dict[str, bytes]]:
    """Return what VMware's tool prints for each key."""
    network = "version: 2\nethernets: {eth0: {addresses: [192.0.2.7/24]}}\n"
    metadata = {
        "instance-id": "i-1",
        "local-hostname": "web",
        "public-keys-data": _KEY,
        "network": base64.b64encode(network.encode()).decode(),
        "network.encoding": "base64",
    }
    keys = {
        "guestinfo.metadata": json.dumps(metadata).encode(),
        "guestinfo.userdata": base64.b64encode(_CONFIG.encode()),
        "guestinfo.userdata.encoding": b"base64\n",
        "guestinfo.vendordata": base64.b64encode(gzip.compress(_CONFIG.encode(), mtime=0)),
        "guestinfo.vendordata.encoding": b"gzip+base64",
    }
    environment = rig.ovf({"instance-id": "i-1", "hostname": "web", "user-data": _CONFIG})
    return [keys, {"guestinfo.ovfEnv": environment.encode()}]


def keyrings() -> list[dict[str, bytes]]:
    """Return what a server of keys sends, and the id of the key that is wanted."""
    keys = [b"\x04" + bytes((number,)) * 40 for number in (1, 2)]
    ring = b""
    for number, key in enumerate(keys):
        name = b"a@example.org" + bytes(200 * number)
        for packet, body in ((6, key), (13, name), (2, bytes(90)), (14, key), (2, bytes(90))):
            ring += openpgp._encode(packet, body)
    # The same with lengths of other forms: sections 4.2.1 and 4.2.2 of RFC 9580.
    short = b"\xc6\x29" + keys[0] + b"\xcd\xc0\x08" + bytes(200) + b"\x99\x00\x29" + keys[1]
    lines = base64.encodebytes(ring).decode()
    armour = f"{openpgp._BEGIN}\nVersion: x\n\n{lines}{openpgp._END}\n".encode()
    wanted = openpgp._fingerprint(keys[0])
    return [
        {"keys": content, "keyid": identity.encode()}
        for content in (ring, armour, short)
        for identity in (wanted, wanted[-16:])
    ]


def reloads() -> list[dict[str, bytes]]:
    """Return the files of network stacks before and after a run."""
    found = []
    for backend in BACKENDS:
        for case, other in pairwise(CASES[::12]):
            old = _files(case.document, backend)
            new = _files(other.document, backend)
            if old and new:
                found.append(
                    {f"old{path}": text for path, text in old.items()}
                    | {f"new{path}": text for path, text in new.items()}
                )
    return found


def _files(document: Any, backend: Any) -> dict[str, bytes]:
    return {path: text.encode() for path, text in produce(document, backend).files.items()}


def templates() -> list[dict[str, bytes]]:
    """Return what the child that renders templates answers."""
    refused = b'{"line": 1, "reason": "is not valid in Jinja"}'
    return [{"answer": b'{"missing": ["a"], "size": 3}\nb c'}, {"answer": refused}]


def own() -> dict[str, bytes]:
    """Return those of guestagent's own files that no reader of a source has."""
    later = {"path": "/etc/late", "content": "eA==", "mode": 0o600, "owner": "", "append": False}
    more = {**later, "path": "/etc/hosts", "append": True, "why": ["user data", "x", "y"]}
    kept = [{"path": f"{defs.NETWORKD_DIR}/10-guestagent-x.network", "old": "eA=="}]
    values: dict[str, Any] = {
        "staging.json": ["/etc/.guestagent.0", "/var/lib/.guestagent.1"],
        "hostkeys.json": ["rsa", "ecdsa"],
        "reload.json": kept,
        "password": {"url": "http://metadata.example/password", "password": "eA=="},
        "later": [{**later, "why": ["user data", "x", "y"]}, more],
    }
    return {name: json.dumps(value).encode() for name, value in values.items()}
