"""Debian's own ifup, with two NICs and directories of its own, in namespaces.

Only the DHCP client is a stand-in.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rig import REPOSITORY

from guestagent.errors import Problems
from guestagent.model import Interface
from guestagent.stacks.ifupdown import render as ifupdown

from .case import MACS, NAMES

NAME, NAME2 = NAMES[:2]
MAC, MAC2 = MACS[:2]
PATIENCE = 30.0
# What ip(8) and the dynamic linker read of /etc.
_KEPT = ("iproute2", "ld.so.cache", "ld.so.conf", "alternatives", "passwd", "group")
_MAIN_FILE = "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n"
# ifup(8) looks for programs in /usr/local/sbin first.
_SET_UP = f"""
set -e
mount --bind "$1/etc" /etc
mount --bind "$1/bin" /usr/local/sbin
mount -t tmpfs none /run
mount -t sysfs none /sys
mount -t tmpfs none /var/lib
mkdir /var/lib/dhcp
mkdir /run/network
echo 0 >/proc/sys/net/ipv4/conf/default/promote_secondaries
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
for nic in "{NAME} {MAC}" "{NAME2} {MAC2}"; do
    set -- $nic
    ip link add "$1" address "$2" type veth peer name "peer-$1"
    ip link set "peer-$1" up
done
echo ready
exec sleep infinity
"""
# A client as the file starts it: -pf FILE … NAME.  It gets a lease and goes to the background.
_CLIENT = """#!/bin/sh
echo "$*" >>/run/clients
for word; do
    [ "$before" != -pf ] || file=$word
    [ "$before" != -cf ] || cat "$word" >>/run/configurations
    before=$word name=$word
done
sleep infinity >/dev/null 2>&1 &
echo $! >"$file"
ip addr add 192.0.2.77/24 dev "$name" valid_lft 3600 preferred_lft 3600
ip route add default via 192.0.2.1 dev "$name"
"""
_RELOAD = """
import json, sys
sys.path.insert(0, sys.argv[1])
from guestagent import defs
defs.PROGRAM_DIRS = ("/usr/local/sbin",)
from guestagent.stacks.ifupdown.reload import carry_out
print(json.dumps(carry_out(*json.load(sys.stdin))))
"""


class Sandbox:
    """Two NICs, and ifup with directories of its own."""

    def __init__(self, where: Path, ifup: str) -> None:
        self.text = ""
        self.directory = where / "etc/network"
        for name in ("interfaces.d", "if-pre-up.d", "if-up.d", "if-down.d", "if-post-down.d"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / "interfaces").write_text(_MAIN_FILE)
        for name in _KEPT:
            subprocess.run(["cp", "-a", f"/etc/{name}", where / "etc"], stderr=subprocess.DEVNULL)
        (where / "bin").mkdir()
        for name in ("ifup", "ifdown"):
            (where / "bin" / name).symlink_to(ifup)
        (where / "bin/dhclient").write_text(_CLIENT)
        (where / "bin/dhclient").chmod(0o755)
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen(
            [*argv, "sh", "-c", _SET_UP, "sh", str(where)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        pid = children.read_text().strip()
        self.enter = ["nsenter", "--target", pid, "--net", "--mount", "--pid"]

    def run(self, *argv: str, given: str = "") -> str:
        """Run a program inside; what it prints."""
        command = [*self.enter, *argv]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, *interfaces: Interface) -> str:
        """Put the file in place; the text that it had."""
        before = self.text
        files = ifupdown.render(interfaces, Problems())
        self.text = files[0].text if files else ""
        (self.directory / "interfaces.d/50-guestagent").write_text(self.text)
        return before

    def change(self, *interfaces: Interface) -> list[str]:
        """Change the file and have the agent carry it out; the failures."""
        texts = json.dumps([self.write(*interfaces), self.text])
        python = [sys.executable, "-c", _RELOAD, str(REPOSITORY)]
        found: list[str] = json.loads(self.run(*python, given=texts))
        return found

    def ip(self, *words: str) -> Any:
        return json.loads(self.run("ip", "-j", *words) or "[]")

    def addresses(self, name: str = NAME) -> list[str]:
        """Return the addresses in the kernel's order, without those that it makes itself."""
        found = self.ip("addr", "show", "dev", name)[0]["addr_info"]
        shown = (entry for entry in found if entry["scope"] == "global")
        return [f"{entry['local']}/{entry['prefixlen']}" for entry in shown]

    def routes(self, *words: str) -> set[tuple[str, str | None, int]]:
        """Destination, gateway and metric of each route that was set by ifup or a client."""
        return {
            (entry["dst"], entry.get("gateway"), entry.get("metric", 0))
            for entry in self.ip(*words)
            if entry["protocol"] != "kernel"
        }

    def sources(self, version: str) -> list[tuple[str, str]]:
        rules = self.ip(version, "rule")
        return [(rule["src"], rule["table"]) for rule in rules if rule["priority"] == 30000]

    def mtu(self, name: str = NAME) -> int:
        found: int = self.ip("link", "show", "dev", name)[0]["mtu"]
        return found

    def snapshot(self) -> list[Any]:
        words = ("addr", "-4 route show table all", "-6 route show table all", "rule", "-6 rule")
        return [self.ip(*line.split()) for line in words]

    @contextmanager
    def watched(self, log: Path) -> Iterator[list[str]]:
        """Collect the addresses that were removed meanwhile, even if they came back."""
        gone: list[str] = []
        with log.open("w") as file:
            process = subprocess.Popen([*self.enter, "ip", "monitor", "address"], stdout=file)
        self._until(log, "203.0.113.1", "add", "del")  # it listens
        yield gone
        self._until(log, "203.0.113.2", "replace")  # it has seen all
        process.kill()
        process.wait()
        lost = [line for line in log.read_text().splitlines() if line.startswith("Deleted ")]
        gone += [line.split()[4] for line in lost if " lo " not in line]

    def _until(self, log: Path, address: str, *words: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while address not in log.read_text():
            assert time.monotonic() < deadline
            for word in words:
                self.run("ip", "addr", word, f"{address}/32", "dev", "lo")
