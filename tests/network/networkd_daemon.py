"""The real systemd-networkd on our files, in namespaces of its own: its log and the kernel's state.

The NICs are ends of veth pairs, which have no permanent MAC address, so that ``[Match]`` is
changed to the present one; bonds and VLANs are beyond a kernel without these modules, and are
checked in booted guests.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .case import MACS, NAMES, Case
from .facts import KERNEL_METRICS, MAIN_TABLE, Link, Route, Rule, family

DAEMON = "/lib/systemd/systemd-networkd"
PATIENCE = 30.0
# A file that networkd has to complain of.
_CANARY = "/etc/systemd/network/99-canary.network"
# /sys is mounted read-only: networkd then does not wait for udev, whose events go elsewhere.
_SET_UP = f"""
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases
chown -R systemd-network:systemd-network /run/systemd/netif
mount -t sysfs -o ro none /sys
mount -t tmpfs none /etc/systemd/network
chmod 755 /etc/systemd/network
cp "$1"/* /etc/systemd/network
printf '[Canary]\n' > {_CANARY}
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up
shift
while [ $# -gt 0 ]; do
    ip link add "$1" address "$2" type veth peer name "p-$1"
    ip link set "p-$1" up
    shift 2
done
SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console {DAEMON} >&2 &
"""
_STATE = """
while sleep 0.1; do
    ip -j address
    ip -j -4 route show table all
    ip -j -6 route show table all
    ip -j -4 rule
    ip -j -6 rule
done
"""

# The server is in a namespace of its own, as networkd's own address would be in the way.
_LEASE = """
server=$(ls /etc/systemd/network/*.dnsmasq)
unshare --net sleep infinity &
other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link set p-enp0s3 netns $other
nsenter --net --target $other sh -c '
    ip link set lo up
    ip address add 192.0.2.1/24 dev p-enp0s3
    ip address add 2001:db8::1/64 dev p-enp0s3 nodad
    ip link set p-enp0s3 up
'
nsenter --net --target $other dnsmasq --keep-in-foreground --conf-file=$server >&2 &
"""
_SHOW_LEASE = """
while sleep 0.1; do
    ip -j link show enp0s3
    ip -j -4 route show dev enp0s3
    cat /run/systemd/netif/links/* | tr '\\n' '\\t'
    echo
done
"""


class Lease(NamedTuple):
    """What a NIC has of its lease: of routes the destination and the gateway."""

    mtu: int
    dns: str
    domains: str
    ntp: str
    routes: frozenset[tuple[str, str]]


class State(NamedTuple):
    """What the kernel has, as far as it was set on purpose."""

    addresses: dict[str, frozenset[str]]
    routes: dict[str, frozenset[Route]]
    rules: frozenset[Rule]
    mtu: dict[str, int]


def missing() -> str:
    """Why the daemon cannot be started here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists(DAEMON) or not shutil.which("unshare"):
        return f"needs {DAEMON} and unshare"
    return ""


def can_show(case: Case) -> bool:
    """Whether the kernel of any machine has what a case needs."""
    return all(link.nic for link in case.links)


def complaints(folder: Path) -> list[str]:
    """Return what networkd says about the files of a folder while it loads them."""
    with _running(folder, "wait") as process:
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            if "Enumeration completed" in line:
                break
            log.append(line.strip())
        else:
            raise AssertionError("networkd did not start:\n" + "\n".join(log))
    found = [line for line in log if line.startswith("/etc/systemd/network/")]
    assert any(line.startswith(_CANARY) for line in found), "networkd has not read the files"
    return [line for line in found if not line.startswith(_CANARY)]


def difference_in_kernel(folder: Path, expected: dict[str, Link]) -> str:
    """How the kernel's state differs from the NICs expected, once networkd has had its time."""
    nics = [word for pair in zip(NAMES, MACS, strict=True) for word in pair]
    _match_by_present_address(folder)
    found = wanted = None
    deadline = time.monotonic() + PATIENCE
    with _running(folder, _STATE, *nics) as process:
        while time.monotonic() < deadline:
            found, wanted = _state(process, expected), _wanted(expected)
            if found == wanted:
                return ""
    return f"wanted {wanted},\nfound {found}"


def lease(folder: Path, server: Path) -> Lease:
    """Return what the first NIC takes of a lease by dnsmasq, with that configuration."""
    _match_by_present_address(folder)
    shutil.copy(server, folder / "server.dnsmasq")
    found = None
    is_configured = False
    deadline = time.monotonic() + PATIENCE
    with _running(folder, _LEASE + _SHOW_LEASE, NAMES[0], MACS[0]) as process:
        assert process.stdout is not None
        while time.monotonic() < deadline:
            link, routes, text = (process.stdout.readline() for _ in range(3))
            state = dict(pair.split("=", 1) for pair in text.split("\t") if "=" in pair)
            gateways = {(item["dst"], item.get("gateway", "")) for item in json.loads(routes)}
            found = Lease(
                json.loads(link)[0]["mtu"],
                state.get("DNS", ""),
                " ".join(dict.fromkeys(state.get("DOMAINS", "").split())),
                state.get("NTP", ""),
                frozenset(gateways),
            )
            if is_configured:
                return found
            # The link was looked at before its state: the next look is one at what is there then.
            is_configured = state.get("ADMIN_STATE") == "configured"
    raise AssertionError(f"no lease: {found}")


def gets_online(
    folder: Path, server: Path, words: Sequence[str], patience: float = PATIENCE
) -> bool:
    """Tell whether wait-online, with these words, says so in time; the second NIC has no link."""
    _match_by_present_address(folder)
    shutil.copy(server, folder / "server.dnsmasq")
    wait = shlex.join([f"{DAEMON}-wait-online", f"--timeout={patience}", *words])
    script = f"ip link set p-{NAMES[1]} down\n{_LEASE}\n{wait} >&2 && echo online || echo offline\n"
    with _running(folder, script, NAMES[0], MACS[0], NAMES[1], MACS[1]) as process:
        assert process.stdout is not None
        return process.stdout.readline() == "online\n"


@contextmanager
def _running(folder: Path, script: str, *nics: str) -> Iterator[subprocess.Popen[str]]:
    """networkd on a folder; its log is on stderr, what the script prints on stdout."""
    log = subprocess.PIPE if script == "wait" else subprocess.DEVNULL
    argv = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    process = subprocess.Popen(
        [*argv, "sh", "-c", _SET_UP + script, "sh", str(folder), *nics],
        stdout=subprocess.PIPE,
        stderr=log,
        stdin=subprocess.DEVNULL,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _match_by_present_address(folder: Path) -> None:
    for path in folder.glob("*.network"):
        text = path.read_text().replace("PermanentMACAddress=", "MACAddress=")
        path.write_text(text.replace("Kind=!*\n", ""))


def _wanted(expected: dict[str, Link]) -> State:
    return State(
        {name: link.addresses for name, link in expected.items()},
        {name: link.routes for name, link in expected.items()},
        frozenset(rule for link in expected.values() for rule in link.rules),
        {name: link.mtu or 1500 for name, link in expected.items()},
    )


def _state(process: subprocess.Popen[str], expected: dict[str, Link]) -> State:
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    addresses, routes4, routes6, rules4, rules6 = (json.loads(line or "[]") for line in lines)
    devices = {item["ifname"]: item for item in addresses if item["ifname"] in expected}
    routes: dict[str, set[Route]] = {name: set() for name in devices}
    for item, version in [*((r, 4) for r in routes4), *((r, 6) for r in routes6)]:
        if item.get("protocol") == "static" and item["dev"] in routes:
            routes[item["dev"]].add(_route(item, version))
    return State(
        {name: _addresses(item) for name, item in devices.items()},
        {name: frozenset(found) for name, found in routes.items()},
        frozenset(_rule(item) for item in (*rules4, *rules6) if item["src"] != "all"),
        {name: item["mtu"] for name, item in devices.items()},
    )


def _addresses(device: Any) -> frozenset[str]:
    return frozenset(
        f"{item['local']}/{item['prefixlen']}"
        for item in device["addr_info"]
        if item["scope"] == "global"
    )


def _route(item: Any, version: int) -> Route:
    everything = "0.0.0.0/0" if version == 4 else "::/0"
    return Route(
        everything if item["dst"] == "default" else _prefix(item["dst"]),
        item.get("gateway", ""),
        item.get("metric", KERNEL_METRICS[version]),
        "onlink" in item["flags"],
        int(item.get("table", MAIN_TABLE)),
    )


def _rule(item: Any) -> Rule:
    length = item.get("srclen")
    source = item["src"] if length is None else f"{item['src']}/{length}"
    return Rule(_prefix(source), int(item["table"]))


def _prefix(text: str) -> str:
    return text if "/" in text else f"{text}/{32 if family(text) == 4 else 128}"
