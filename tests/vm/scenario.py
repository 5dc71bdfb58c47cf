"""One instance as a test invents it: what its drive says, and what of it shall be seen outside."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from .drives import make_iso, make_tree, make_vfat
from .guest import Guest, Nic
from .machine import Bus, Drive

UNIT = "guestagent-local.service"
REPORT = "/run/guestagent/report.json"
NIC = Nic()
# A machine of no cloud, for which no drive is waited.
PLAIN_MACHINE = {"manufacturer": "QEMU", "product": "Standard PC (Q35 + ICH9, 2009)"}
# Without a line in /etc/hosts sudo asks the name server for the guest's own name, for seconds.
SETTINGS = '[sshd]\npassword_authentication = "yes"\n[hosts]\nmanage = true\n'


def settings_argument(text: str, kind: str = "f", signers: str = "") -> str:
    """Return the kernel argument that puts a settings drop-in in place before the agent runs.

    It is the credential of tmpfiles.d(5), so that this is the very first boot all the same.
    With the kind "f+" each boot writes the file again: after a power cut it may be empty.
    ``signers`` is the text of the file that says who may sign user data, if there is one.
    """
    files = {"guestagent.toml.d/10-test.toml": text}
    if signers:
        files["allowed_signers"] = signers
    lines = ""
    for name, content in files.items():
        coded = base64.b64encode(content.encode()).decode()
        lines += f"{kind}~ /etc/guestagent/{name} 0644 root root - {coded}\n"
    credential = base64.b64encode(lines.encode()).decode()
    return f"systemd.set_credential_binary=tmpfiles.extra:{credential}"


@dataclass(frozen=True)
class Instance:
    """What OpenStack would know of an instance; `key` is the private half, in a file.

    Without a `password` none is told, and without `user_data` there is no such file.
    """

    key: Path
    hostname: str = "web-1.example.org"
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    password: str = field(default_factory=lambda: "canary-" + secrets.token_hex(12))
    files: tuple[tuple[str, bytes], ...] = (
        ("/etc/motd", "Grüße\n".encode()),
        ("/srv/app/conf.d/app.conf", b"binary \0\xff\n" * 500),
    )
    ipv6: str = "2001:db8:c0de::10"
    network: Literal["static", "none"] = "static"
    user_data: bytes = b""
    # Disks of the flavor, by their names in EC2's block device mapping.
    disks: tuple[tuple[str, str], ...] = ()
    # Metadata that whoever made the instance chose, by their names.
    meta: tuple[tuple[str, str], ...] = ()

    @property
    def smbios(self) -> dict[str, str]:
        """What the hypervisor tells of the instance."""
        return {"uuid": self.uuid, "serial": self.uuid}

    @property
    def public_key(self) -> str:
        return self.key.with_suffix(".pub").read_text()

    def meta_data(self) -> dict[str, Any]:
        """Compose meta_data.json."""
        told: dict[str, Any] = {"admin_pass": self.password} if self.password else {}
        if self.meta:
            told["meta"] = dict(self.meta)
        return {
            **told,
            "uuid": self.uuid,
            "hostname": self.hostname,
            "name": self.hostname.partition(".")[0],
            "launch_index": 0,
            "public_keys": {"test": self.public_key},
            "keys": [{"name": "test", "type": "ssh", "data": self.public_key}],
            "files": [
                {"path": path, "content_path": f"/content/{number:04}"}
                for number, (path, _) in enumerate(self.files)
            ],
            "random_seed": base64.b64encode(secrets.token_bytes(512)).decode(),
        }

    def network_data(self) -> dict[str, Any]:
        """Compose network_data.json: one card, a static address of each family."""
        link = {"id": "tap0", "type": "ovs", "mtu": 1450, "ethernet_mac_address": NIC.mac}
        four = {
            "ip_address": NIC.address,
            "netmask": "255.255.255.0",
            "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": NIC.gateway}],
        }
        gateway = NIC.ipv6_prefix + "2"
        six = {
            "ip_address": self.ipv6,
            "netmask": "ffff:ffff:ffff:ffff::",
            "routes": [{"network": "::", "netmask": "::", "gateway": gateway}],
        }
        networks = [
            {"id": "network0", "type": "ipv4", "link": "tap0", **four},
            {"id": "network1", "type": "ipv6", "link": "tap0", **six},
        ]
        dns = [{"type": "dns", "address": NIC.nameserver}]
        return {"links": [link], "networks": networks, "services": dns}

    def tree(self, where: Path) -> Path:
        """Write the drive's files below a directory."""
        documents: dict[str, bytes | str] = {"meta_data.json": json.dumps(self.meta_data())}
        if self.network == "static":
            documents["network_data.json"] = json.dumps(self.network_data())
        if self.user_data:
            documents["user_data"] = self.user_data
        files: dict[str, bytes | str] = {
            f"openstack/{version}/{name}": text
            for version in ("2018-08-27", "latest")
            for name, text in documents.items()
        }
        if self.disks:
            mapping = {"ami": "vda", "root": "/dev/vda", **dict(self.disks)}
            ec2 = {"instance-id": "i-00000001", "block-device-mapping": mapping}
            files["ec2/latest/meta-data.json"] = json.dumps(ec2)
        for number, (_, content) in enumerate(self.files):
            files[f"openstack/content/{number:04}"] = content
        return make_tree(where, files)

    def drive(self, where: Path, bus: Bus = "virtio", kind: str = "iso9660") -> Drive:
        """Make the drive, in a new directory."""
        tree = self.tree(where / "tree")
        image = where / "drive"
        made = make_vfat(tree, image) if kind == "vfat" else make_iso(tree, image)
        return Drive(made, bus, readonly=False)


def new_instance(where: Path, **more: Any) -> Instance:
    """Invent an instance, with an SSH key of its own in the given directory."""
    where.mkdir(parents=True, exist_ok=True)
    key = where / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return replace(Instance(key), **more)


def report(guest: Guest) -> dict[str, Any]:
    """Return the agent's report of the present boot."""
    found: dict[str, Any] = json.loads(guest.get(REPORT))
    return found


def wait_for_the_end(guest: Guest) -> None:
    """Wait until the boot is over for the agent too: at later boots it asks a service last."""
    guest.run("guestagent status --wait 100", timeout=120)


def wait_for_answer(guest: Guest) -> None:
    """Wait until a metadata service has been heard, in this boot or while the system runs."""
    heard = ["grep", "-q", '"source": "metadata', REPORT]
    guest.wait_for(heard, timeout=100)
    wait_for_the_end(guest)


def journal(guest: Guest) -> str:
    """Return all that the agent's unit has said in the present boot."""
    return guest.check(f"journalctl -b -a -o cat -u {UNIT}")


def listing(guest: Guest, *places: str) -> list[str]:
    """Return type, mode, owner, name and content of everything below some places."""
    where = " ".join(places)
    names = f"find {where} -xdev -printf '%y %m %U:%G %p %l\\n'"
    sums = f"find {where} -xdev -type f -print0 | xargs -0 sha256sum"
    return sorted(guest.check(f"{names}; {sums}").splitlines())


def card(guest: Guest) -> str:
    """Return the name that the guest's only card has, which depends on the machine."""
    return guest.check(f"grep -lx {NIC.mac} /sys/class/net/*/address").split("/")[4]


def holding(guest: Guest, secret: str, places: Sequence[str]) -> str:
    """Name the files below some places, and the journal, where a secret can be read."""
    search = f"cat > /dev/shm/secret; grep -rlaF -f /dev/shm/secret {' '.join(places)} 2>/dev/null"
    journal = "journalctl -a | grep -aqF -f /dev/shm/secret && echo the journal"
    return guest.run(f"{search}; {journal}; rm /dev/shm/secret", input=secret).stdout
