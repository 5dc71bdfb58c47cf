"""Instances that learn from a metadata service what they are: on the host, or inside the guest."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service import documents, server

from .guest import Guest
from .machine import Nic
from .scenario import Instance

SERVICE = "http://169.254.169.254"
# The same service, at an address that no metadata service has.
ELSEWHERE = "192.0.2.99"
UNITS = tuple(f"guestagent-{name}.service" for name in ("fetch", "apply", "reload", "password"))
FETCH, APPLY, RELOAD, PASSWORD = UNITS
_LAB = "/run/lab"


@dataclass(frozen=True)
class ServiceNic(Nic):
    """A card that reaches a service on a port of the host, if any, and nothing else.

    QEMU wants the service's address inside the card's network, which is therefore half the
    Internet.
    """

    network: str = "128.0.0.0/128.0.0.0"
    restrict: bool = True
    port: int | None = None

    def netdev(self, node: str) -> dict[str, Any]:
        """Describe the network to QEMU, which starts a relay for each connection."""
        found = super().netdev(node)
        if self.port is not None:
            relay = [sys.executable, "-IS", str(Path(__file__).with_name("relay.py"))]
            command = shlex.join([*relay, str(self.port)])
            addresses = SERVICE.removeprefix("http://"), ELSEWHERE
            found["guestfwd"] = [{"str": f"tcp:{a}:80-cmd:{command}"} for a in addresses]
        return found


def rsa_instance(where: Path, **more: Any) -> Instance:
    """Invent an instance with an RSA key, in the form that OpenSSL reads too."""
    where.mkdir(parents=True, exist_ok=True)
    key = where / "rsa"
    make = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f"]
    subprocess.run([*make, str(key)], check=True)
    return replace(Instance(key), **more)


def openstack(instance: Instance, user_data: str, gateway: str = "192.0.2.2") -> dict[str, str]:
    """The documents of an instance as Nova serves them, with no password yet, by their paths.

    The network has the address that DHCP gives too, as a static one.
    """
    meta = instance.meta_data()
    for name in ("admin_pass", "files", "random_seed"):  # they are for drives, or the server's
        meta.pop(name, None)
    network = instance.network_data()
    four = network["networks"][0]
    four["netmask"], four["routes"][0]["gateway"] = "128.0.0.0", gateway
    found = {
        documents.META: json.dumps(meta),
        documents.NETWORK: json.dumps(network),
        documents.VENDOR: "{}",
        documents.VENDOR2: '{"static": {}}',
        documents.PASSWORD: "",
    }
    return {**found, documents.USER: user_data} if user_data else found


def decrypted(key: Path, text: str) -> str:
    """A password as ``nova get-password`` shows it."""
    decrypt = ["openssl", "pkeyutl", "-decrypt", "-inkey", str(key)]
    encrypted = base64.b64decode(text, validate=True)
    done = subprocess.run(
        [*decrypt, "-pkeyopt", "rsa_padding_mode:pkcs1"],
        input=encrypted,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode()


def serve_inside(guest: Guest, found: dict[str, str]) -> None:
    """Start the service in the guest's namespace "router", at the link-local address of IPv6."""
    for module in (server, documents):
        path = f"{_LAB}/{module.__name__.replace('.', '/')}.py"
        guest.put(path, Path(module.__file__ or "").read_bytes())
    guest.put(f"{_LAB}/script", json.dumps({"documents": found}))
    guest.check(
        "ip -n router address add fe80::a9fe:a9fe/64 dev hub0 nodad; "
        f"cd {_LAB} && ip netns exec router python3 -m {server.__name__} script log "
        "</dev/null >ready 2>&1 &"
    )


def asked_inside(guest: Guest) -> list[dict[str, Any]]:
    """The requests that the service in the guest had."""
    return [json.loads(line) for line in guest.check(f"cat {_LAB}/log").splitlines()]
