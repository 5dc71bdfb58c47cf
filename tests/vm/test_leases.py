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
from network.case import MACS, document, net, nic, static4
from network.produce import Backend, Produced, produce, produce_json, write
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
rm -f etc/resolv.conf etc/dhcp/dhclient-*-hooks.d/resolved* usr/sbin/resolvconf
cp -R "$2/files/." .
chown -R root:root etc/NetworkManager etc/network 2>/dev/null || true
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
    found = produce(document([nic(1, mtu=mtu)], [net("ipv4_dhcp")]), stack)
    return lease_of(stack, found, where, host_name=host_name)


def lease_of(
    stack: Backend, found: Produced, where: Path, *, host_name: str, client: str = ""
) -> Lease:
    """Do the same with files for the first NIC, and another DHCP client than the usual one."""
    tree = base_tree(client or STACKS[stack])
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


# Documents by which the first NIC, which has a lease, must not decide on DNS servers.
OTHERS_DECIDE = {
    "the document has servers": document([nic(1)], [net("ipv4_dhcp")], "198.51.100.53"),
    "so it has for another NIC": document([nic(2)], [static4("port2")], "198.51.100.53"),
}


@pytest.mark.parametrize("client", ["isc-dhcp-client", "dhcpcd-base"])
@pytest.mark.parametrize("given", OTHERS_DECIDE)
def test_a_lease_replaces_no_dns_servers_of_the_source(
    given: str, client: str, vm_host: None, tmp_path: Path
) -> None:
    """Without resolvconf, each lease replaces all of resolv.conf."""
    content = json.dumps(OTHERS_DECIDE[given]).encode()
    found = produce_json(content, "ifupdown", resolver="file", other_nics=True)
    taken = lease_of("ifupdown", found, tmp_path, host_name="web", client=client)
    assert taken.resolver == {"nameserver 198.51.100.53"}
