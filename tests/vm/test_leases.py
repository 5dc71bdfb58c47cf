"""What a lease gives is taken by NetworkManager and ifupdown too, on the files that we write.

The programs are those of the guests' trees, in namespaces of this machine: nothing is booted.  For
systemd-networkd see tests/network/test_lease.py; the table is in docs/leases.md.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from network.case import MACS, document, net, nic
from network.produce import Backend, produce, write
from network.test_lease import SERVER

from .base import base_tree

pytestmark = pytest.mark.vm

PATIENCE = 60.0
STACKS: dict[Backend, str] = {
    "networkmanager": "network-manager",
    "ifupdown": "isc-dhcp-client",
}
HOST_NAME = "dhcp-option-force=12,leased-name\n"
# Arguments: tree, our files, dnsmasq's configuration, MAC address, stack, host name.  A read-only
# /sys tells NetworkManager that no udev runs; nothing of systemd-resolved runs either.
_RUN = """
set -e
mount -t tmpfs none "$2/scratch"
mkdir "$2/scratch/upper" "$2/scratch/work"
mount -t overlay -o "lowerdir=$1,upperdir=$2/scratch/upper,workdir=$2/scratch/work" none "$2/root"
cd "$2/root"
mount -t proc none proc
mount -t sysfs -o ro none sys
mount -t tmpfs none run
mount --rbind /dev dev
mkdir -p run/dbus run/network
cp -R "$2/files/." .
chown -R root:root etc/NetworkManager etc/network 2>/dev/null || true
rm -f etc/resolv.conf etc/dhcp/dhclient-*-hooks.d/resolved*
echo "$6" >etc/hostname
hostname "$6"
ip link set lo up
ip link add enp0s3 address "$4" type veth peer name p-enp0s3
unshare --net sleep infinity &
other=$!
until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link set p-enp0s3 netns $other
nsenter --net --target $other sh -c '
    ip address add 192.0.2.1/24 dev p-enp0s3
    ip link set p-enp0s3 up
'
nsenter --net --target $other dnsmasq --keep-in-foreground --conf-file="$3" >&2 &
if [ "$5" = networkmanager ]; then
    printf '[main]\ndns=default\nrc-manager=file\n' >etc/NetworkManager/conf.d/test.conf
    chroot . dbus-daemon --system --fork
    chroot . NetworkManager --no-daemon >&2 &
else
    chroot . ifup enp0s3 >&2 &
fi
while sleep 0.5; do
    ip -j link show enp0s3
    ip -j -4 route show dev enp0s3
    hostname
    cat etc/resolv.conf 2>/dev/null | tr '\\n' ';'
    echo
done
"""


class Lease(NamedTuple):
    """What the guest has of its lease: of routes the destination and the gateway."""

    mtu: int
    routes: frozenset[tuple[str, str]]
    host_name: str
    resolver: frozenset[str]


def lease(stack: Backend, where: Path, *, host_name: str, mtu: int | None = None) -> Lease:
    """Return what there is once the lease's routes and name servers are in place."""
    tree = base_tree(STACKS[stack])
    found = produce(document([nic(1, mtu=mtu)], [net("ipv4_dhcp")]), stack)
    write(found.files, found.modes, where / "files")
    for name in ("scratch", "root"):
        (where / name).mkdir()
    server = where / "dnsmasq.conf"
    server.write_text(SERVER + HOST_NAME)
    spaces = ["--mount", "--net", "--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]
    given = [str(tree), str(where), str(server), MACS[0], stack, host_name]
    argv = ["unshare", *spaces, "sh", "-c", _RUN, "sh", *given]
    deadline = time.monotonic() + PATIENCE
    with (where / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            while time.monotonic() < deadline:
                now = _read(process)
                if ("10.9.0.0/16", "192.0.2.9") in now.routes and now.resolver:
                    return _read(process)  # once more: the rest may come a moment later
        finally:
            process.kill()
            process.communicate()
    raise AssertionError(f"no lease: {(where / 'log').read_text()[-2000:]}")


def _read(process: subprocess.Popen[str]) -> Lease:
    """Return what the script shows next."""
    assert process.stdout is not None
    link, routes, name, resolver = (process.stdout.readline() for _ in range(4))
    assert link, "the script has ended"
    return Lease(
        json.loads(link)[0]["mtu"],
        frozenset((route["dst"], route.get("gateway", "")) for route in json.loads(routes)),
        name.strip(),
        frozenset(line for line in resolver.strip().split(";") if line and line[0] != "#"),
    )


@pytest.mark.parametrize("stack", STACKS)
def test_everything_that_a_lease_gives_is_taken(
    stack: Backend, vm_host: None, tmp_path: Path
) -> None:
    found = lease(stack, tmp_path, host_name="localhost")
    assert found.mtu == 1442
    assert ("default", "192.0.2.1") in found.routes
    assert "nameserver 192.0.2.53" in found.resolver
    (search,) = (line for line in found.resolver if line.startswith("search "))
    assert {word.rstrip(".") for word in search.split()[1:]} == {"lease.example", "corp.example"}
    assert found.host_name == "leased-name"


@pytest.mark.parametrize("stack", STACKS)
def test_mtu_and_host_name_of_the_source_win(stack: Backend, vm_host: None, tmp_path: Path) -> None:
    found = lease(stack, tmp_path, host_name="web", mtu=1400)
    assert (found.mtu, found.host_name) == (1400, "web")
