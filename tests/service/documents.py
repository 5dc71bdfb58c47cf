"""What the test server says: an OpenStack tree as Nova makes it, and Nova's EC2 tree.

Shapes: Nova's ``api/metadata/base.py`` (``_metadata_as_json``, ``get_ec2_metadata``,
``ec2_md_print``).
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from os import urandom

UUID = "0c1a9b2e-6f0d-4d3e-9a57-3f1f5e9b7a10"
MAC = "52:54:00:00:01:01"
KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAxh2CNcRISQu7+Apd2MCqD1GcUxrMfJPKQTV1ZEqFK "
    "sample@guestagent"
)
FOLDER = "/openstack/latest"
META, NETWORK = f"{FOLDER}/meta_data.json", f"{FOLDER}/network_data.json"
VENDOR, VENDOR2 = f"{FOLDER}/vendor_data.json", f"{FOLDER}/vendor_data2.json"
USER, PASSWORD = f"{FOLDER}/user_data", f"{FOLDER}/password"
# In the order in which they are asked for.
FIVE = (META, NETWORK, VENDOR, VENDOR2, USER)
IDENTITY = "/latest/dynamic/instance-identity/document"
EC2_ID = "i-00000042"
_EC2_TREE = "/latest/meta-data"


def meta_data(uuid: str = UUID, hostname: str = "web-1.example.org") -> dict[str, object]:
    """``meta_data.json``; the server adds the random seed, which is new at each request."""
    return {
        "uuid": uuid,
        "hostname": hostname,
        "name": "web 1",
        "launch_index": 0,
        "availability_zone": "nova",
        "project_id": "5b1f6c1ddf2a4b0f8a7a3b5cf0f1c9e2",
        "meta": {"role": "web"},
        "public_keys": {"sample": f"{KEY}\n"},
        "keys": [{"name": "sample", "type": "ssh", "data": f"{KEY}\n"}],
        "devices": [],
    }


def network_data(address: str = "192.0.2.10", mac: str = MAC) -> dict[str, object]:
    """One NIC with a static address."""
    route = {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.2"}
    return {
        "links": [{"id": "tap0", "type": "ovs", "mtu": 1450, "ethernet_mac_address": mac}],
        "networks": [
            {
                "id": "network0",
                "type": "ipv4",
                "link": "tap0",
                "ip_address": address,
                "netmask": "255.255.255.0",
                "routes": [route],
            }
        ],
        "services": [{"type": "dns", "address": "192.0.2.3"}],
    }


def with_seed(document: bytes) -> bytes:
    """``meta_data.json`` as Nova answers each request: with another random seed."""
    seed = b2a_base64(urandom(512), newline=False).decode()
    return json.dumps({**json.loads(document), "random_seed": seed}).encode()


def openstack() -> dict[str, str]:
    """The documents of an instance, by their paths."""
    return {
        "/openstack": "2012-08-10\n2018-08-27\nlatest",
        META: json.dumps(meta_data()),
        NETWORK: json.dumps(network_data()),
        VENDOR: "{}",
        VENDOR2: '{"static": {}}',
        USER: "#!/bin/sh\n",
    }


def ec2(key: str = KEY, hostname: str = "ec2-1.example.org") -> dict[str, str]:
    """The same instance as an EC2 tree, with credentials that nobody may ask for."""
    leaves = {
        "ami-id": "ami-1",
        "ami-launch-index": "0",
        "ami-manifest-path": "FIXME",
        "block-device-mapping/ami": "vda",
        "block-device-mapping/root": "/dev/vda",
        "hostname": hostname,
        "iam/security-credentials/role": '{"SecretAccessKey": "CANARY"}',
        "instance-action": "none",
        "instance-id": EC2_ID,
        "instance-type": "m1.small",
        "local-hostname": hostname,
        "local-ipv4": "192.0.2.10",
        "placement/availability-zone": "nova",
        "public-hostname": hostname,
        "public-ipv4": "",
        "public-keys/0/openssh-key": f"{key}\n",
        "reservation-id": "r-1",
        "security-groups": "default",
    }
    found = {f"{_EC2_TREE}/{name}": text for name, text in leaves.items()}
    found |= _listings(leaves)
    found[f"{_EC2_TREE}/public-keys/"] = "0=sample"
    found[IDENTITY] = json.dumps({"availabilityZone": "eu-1a", "instanceId": EC2_ID})
    found["/latest/user-data"] = "#!/bin/sh\n"
    return found


def _listings(leaves: dict[str, str]) -> dict[str, str]:
    """The text that each folder of the tree shows."""
    folders: dict[str, set[str]] = {"": set()}
    for name in leaves:
        parts = name.split("/")
        for depth, part in enumerate(parts):
            slash = "/" if depth + 1 < len(parts) else ""
            folders.setdefault("/".join(parts[:depth]), set()).add(part + slash)
    return {
        f"{_EC2_TREE}/{folder}{'/' if folder else ''}": "\n".join(sorted(names))
        for folder, names in folders.items()
    }
