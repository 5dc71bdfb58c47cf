"""One instance whose user data uses every key that touches a live system."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from .machine import Drive
from .scenario import REPORT, Instance, new_instance
from .user_data import multipart

# What the keys need besides the ordinary image.
PACKAGES = (
    *("cloud-guest-utils", "console-setup", "fdisk", "locales", "systemd-timesyncd", "tzdata"),
)
# No source of packages but that of the user data, for the guests reach none; and of the authorities
# of the image only one, for each costs the emulated machine a third of a second.
FILES = {
    "etc/apt/sources.list": "",
    "etc/ca-certificates.conf": "mozilla/ISRG_Root_X1.crt\n",
}
# The image masks apt's own timers: these stand for them, and both are due as soon as they start.
DAILY = ("apt-daily", "apt-daily-upgrade")
for _name in DAILY:
    FILES[f"etc/systemd/system/due-{_name}.timer"] = (
        f"[Timer]\nOnBootSec=1s\nAccuracySec=1s\nUnit={_name}.service\n"
    )
    # What the report says when the daily run begins.
    FILES[f"etc/systemd/system/{_name}.service.d/report.conf"] = (
        f"[Service]\nExecStartPre=cp {REPORT} /run/report-at-{_name}\n"
    )
FILES["etc/systemd/system/timers.target.d/due.conf"] = "[Unit]\nWants=" + " ".join(
    f"due-{_name}.timer" for _name in DAILY
)
ADA, DEBIAN, GRACE = "ada's own words", "the default user's words", "grace's words"
TIME_SERVER = "192.0.2.99"
# Where each script leaves a line when it runs, and what others leave.
RAN = "/root/ran"
GO_ON = "/run/go-on"
DATA, ROOM, EPHEMERAL = "/dev/vdc", "/dev/vdd", "/dev/vde"
_MARK = f"#!/bin/sh\nmkdir -p {RAN}\necho $INSTANCE_ID >>{RAN}/"
SCRIPTS = {
    "hook": "cloud-boothook",
    "each-boot": "x-shellscript-per-boot",
    "each-instance": "x-shellscript-per-instance",
    "only-once": "x-shellscript-per-once",
    "plain": "x-shellscript",
}
# One request is answered, and its body kept.
_RECEIVER = """\
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        open("/root/told", "wb").write(self.path.encode() + b"\\n" + body)
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8000), Handler).handle_request()
"""
# In place of the program with which a node joins a cluster: it keeps what it is told.
_KUBEADM = '#!/bin/sh\necho "$@" >>/root/kubeadm\ncat "$3" >>/root/kubeadm\n'
_JOIN = """\
kind: JoinConfiguration
nodeRegistration:
  name: '{{ local_hostname }}'
  kubeletExtraArgs:
  - {name: provider-id, value: 'openstack:///{{ instance_id }}'}
  - {name: node-ip, value: '{{ local_ipv4 }}'}
  - {name: node-labels, value: 'region={{ v1.region | default(0) }},os={{ distro }}'}
"""
# A template, as Cluster API's bootstrap provider for kubeadm makes it.
_CONFIG = """\
## template: jinja
#cloud-config
hostname: all-keys
fqdn: all-keys.example.org
manage_etc_hosts: true
groups:
  - engineers: [daemon]
  - cloud-users
users:
  - default
  - name: ada
    gecos: Ada Lovelace
    uid: 4242
    groups: engineers, adm
    homedir: /srv/ada
    shell: /bin/dash
    sudo: ALL=(ALL) NOPASSWD:ALL
    lock_passwd: false
    passwd: @ADA@
    ssh_authorized_keys: [@KEY@]
  - name: grace
    plain_text_passwd: @GRACE@
    lock_passwd: false
  - {name: robot, system: true, shell: /usr/sbin/nologin}
chpasswd:
  expire: false
  users: [{name: debian, password: @DEBIAN@}]
ssh_pwauth: true
disable_root: false
ssh_keys: {ed25519_private: @HOST_KEY@, ed25519_public: @HOST_PUBLIC@}
write_files:
  - {path: /srv/owned, content: "hers\\n", owner: "ada:engineers", permissions: "0640"}
  - {path: /etc/motd, content: "and more\\n", append: true}
  - {path: /srv/packed, content: @PACKED@, encoding: gz+b64}
  - {path: /srv/hello/late.conf, content: "late\\n", owner: "hello:hello", defer: true}
  - {path: /srv/repository/Packages, content: @INDEX@}
  - {path: /srv/repository/hello.deb, content: @DEB@, encoding: b64}
  - {path: /root/receiver, content: @RECEIVER@}
  - {path: /usr/local/bin/kubeadm, content: @KUBEADM@, permissions: "0755"}
  - path: /run/kubeadm/kubeadm-join-config.yaml
    owner: root:root
    permissions: '0640'
    content: @JOIN@
  - {path: /run/cluster-api/placeholder, owner: "root:root", content: "for its directory"}
bootcmd:
  - mkdir -p @RAN@; echo "$INSTANCE_ID" >>@RAN@/bootcmd
  - "[ -b @ROOM@1 ] || echo ',16M' | sfdisk -q @ROOM@"
runcmd:
  - mkdir -p @RAN@; echo "$INSTANCE_ID" >>@RAN@/runcmd
  - [sh, -c, 'echo "$1 $2" >>/root/words', sh, "two words", "it's $HOME"]
  - python3 /root/receiver &
  - >-
    kubeadm join --config /run/kubeadm/kubeadm-join-config.yaml
    && echo success > /run/cluster-api/bootstrap-success.complete
timezone: Asia/Tokyo
locale: de_DE.UTF-8
keyboard: {layout: de, variant: nodeadkeys}
ntp: {servers: [@TIME@], pools: []}
growpart: {devices: [/, @ROOM@1]}
resize_rootfs: true
device_aliases: {data: @DATA@}
disk_setup: {data: {table_type: gpt, layout: [50, [50, 82]]}}
fs_setup:
  - {device: data.1, filesystem: ext4, label: data}
  - {device: data, partition: 2, filesystem: swap, label: more}
mounts:
  - [data, /srv/data, ext4, "defaults,nofail", "0", "2"]
  - [data.2, none, swap, "sw,nofail", "0", "0"]
swap: {filename: /swap.img, size: 32M, maxsize: 32M}
ca_certs: {trusted: [@CA@]}
apt: {sources: {local: {source: "deb [trusted=yes] file:/srv/repository ./"}}}
package_update: true
packages: [hello-test]
manage_resolv_conf: true
resolv_conf: {nameservers: [192.0.2.77], searchdomains: [search.example.org]}
phone_home: {url: "http://127.0.0.1:8000/$INSTANCE_ID/", post: all, tries: 20}
final_message: all done by guestagent $version from $datasource
power_state:
  mode: reboot
  condition: while [ ! -e @GO_ON@ ]; do sleep 0.2; done
"""
_POSTINST = "#!/bin/sh\nset -e\nuseradd --system --no-create-home hello\n"


@dataclass(frozen=True)
class Everything:
    """The instance, its further disks, and what of it a guest shall show."""

    instance: Instance
    drives: tuple[Drive, ...]
    host_key: str
    authority: str


def _run(*argv: str | Path, given: str = "") -> str:
    return subprocess.run(argv, input=given, check=True, capture_output=True, text=True).stdout


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _package(where: Path) -> tuple[bytes, str]:
    """A package with a directory and a user of its own, and the index of a repository with it."""
    control = "Package: hello-test\nVersion: 1.0\nArchitecture: all\n"
    control += "Maintainer: Nobody <nobody@example.org>\nDescription: made by a test\n"
    (where / "DEBIAN").mkdir(parents=True)
    (where / "DEBIAN/control").write_text(control)
    script = where / "DEBIAN/postinst"
    script.write_text(_POSTINST)
    script.chmod(0o755)
    (where / "srv/hello").mkdir(parents=True)
    made = where.with_name("hello.deb")
    _run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", where, made)
    content = made.read_bytes()
    sums = f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    return content, f"{control}Filename: ./hello.deb\n{sums}"


def _authority(where: Path) -> str:
    """A certificate of an authority, made for the day."""
    options: list[str | Path] = [
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]
    options += ["-subj", "/CN=authority of a test", "-keyout", where.with_suffix(".key")]
    return _run("openssl", "req", *options, "-days", "3650")


def _hash(password: str) -> str:
    return _run("openssl", "passwd", "-6", "-stdin", given=password).strip()


def _blank(path: Path, size: int) -> Drive:
    with path.open("wb") as disk:
        disk.truncate(size)
    return Drive(path, readonly=False)


def everything(where: Path) -> Everything:
    """Invent the instance, in a new directory."""
    instance = new_instance(where, password="", files=())
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "given", "-f", where / "host")
    host_public = (where / "host.pub").read_text()
    deb, index = _package(where / "hello")
    authority = _authority(where / "authority")
    values = {
        "ADA": _hash(ADA),
        "CA": authority,
        "DEB": _base64(deb),
        "DEBIAN": _hash(DEBIAN),
        "GRACE": GRACE,
        "HOST_KEY": (where / "host").read_text(),
        "HOST_PUBLIC": host_public,
        "INDEX": index,
        "JOIN": _JOIN,
        "KUBEADM": _KUBEADM,
        "KEY": instance.public_key,
        "PACKED": _base64(gzip.compress(b"packed \0\xff")),
        "RECEIVER": _RECEIVER,
    }
    plain = {"DATA": DATA, "GO_ON": GO_ON, "RAN": RAN, "ROOM": ROOM, "TIME": TIME_SERVER}
    config = _CONFIG
    for name, text in (plain | {name: json.dumps(text) for name, text in values.items()}).items():
        config = config.replace(f"@{name}@", text)
    scripts = [(kind, name, f"{_MARK}{name}\n") for name, kind in SCRIPTS.items()]
    packed = gzip.compress(multipart([("cloud-config", "all.yaml", config), *scripts]))
    names = ("data.raw", "room.raw", "ephemeral.raw")
    disks = tuple(_blank(where / name, 64 << 20) for name in names)
    # As Nova makes it, on the host.
    _run("mkfs.ext4", "-q", "-L", "ephemeral0", disks[2].path)
    instance = replace(instance, user_data=packed, disks=(("ephemeral0", EPHEMERAL),))
    return Everything(instance, disks, host_public, authority)
