"""Network namespaces with a guest and metadata services, and runs of the agent in the guest.

Nothing here touches this machine's own network: every interface is made inside a namespace of
the tests, whose processes end when the tests do.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import rig

from guestagent import defs
from guestagent.sources.cloud import Cloud
from guestagent.sources.handover import Answer, Request, decode_answer, request_as_json
from guestagent.sources.remote import answer_to

from . import documents
from .server import BEGIN

REPOSITORY = Path(__file__).parents[2]
IPV4, IPV6 = "169.254.169.254", "fe80::a9fe:a9fe"
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
# What the agent may see of the machine: its own NICs, and the DMI that a test says.
_SETUP = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir -p "$1/sysfs" "$1/sys/real" "$1/sys/class/dmi/id" "$1/sys/class/net" "$1/sys/devices"
mount -t sysfs sysfs "$1/sysfs"
mount --bind "$1/sysfs" "$1/sys/real"
mount --rbind "$1/sysfs/devices" "$1/sys/devices"
mount --rbind "$1/sys" /sys
: > "$1/cmdline"
mount --bind "$1/cmdline" /proc/cmdline
ip link set lo up
echo ready
exec cat
"""


def documents_and(changed: dict[str, str | None]) -> dict[str, str]:
    """The OpenStack documents, some of them changed or missing."""
    found = {**documents.openstack(), **changed}
    return {path: text for path, text in found.items() if text is not None}


class Closing(Protocol):
    """What has an end."""

    def close(self) -> None:
        """End it."""


class Namespace:
    """Network, mounts and host name of their own, held by a process."""

    def __init__(self, top: Path) -> None:
        top.mkdir()
        self.top = top
        argv = ["unshare", "--net", "--mount", "--uts", "--propagation", "private"]
        argv += ["sh", "-c", _SETUP, "sh", str(top)]
        self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        self.pid = self._holder.pid

    def enter(self, *argv: str) -> list[str]:
        """The command line that runs another one inside."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", *argv]

    def run(self, *argv: str) -> str:
        """Run a program inside; returns its output.  Raises CalledProcessError."""
        done = subprocess.run(self.enter(*argv), check=True, capture_output=True, text=True)
        return done.stdout

    def sh(self, script: str) -> str:
        """Run lines of shell inside; any failure is one."""
        return self.run("sh", "-ec", script)

    def put(self, name: str, text: str) -> None:
        """Write a file of the namespace's own /sys or command line."""
        self.run("sh", "-ec", 'printf %s "$2" > "$1"', "sh", f"{self.top}/{name}", text)

    def dmi(self, **values: str) -> None:
        """Say what the hypervisor says."""
        for name, text in values.items():
            self.put(f"sys/class/dmi/id/{name}", f"{text}\n")

    def show_links(self) -> None:
        """Show the links that there are now in /sys/class/net."""
        self.run("sh", "-ec", _LINKS, "sh", str(self.top))

    def close(self) -> None:
        """End the holder; the namespaces go with it."""
        assert self._holder.stdin
        assert self._holder.stdout
        self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()


# /sys/class/net as it is, except that links with a NIC's name are NICs: what is there instead, one
# end of a veth pair, has neither a device behind it nor a permanent address.
_LINKS = """
rm -rf "$1"/sys/class/net/*
for place in "$1"/sysfs/class/net/*; do
    name=${place##*/}
    mkdir "$1/sys/class/net/$name"
    cd "$1/sys/class/net/$name"
    ln -s /sys/real/class/net/"$name"/* .
    rm -f ifindex address
    cat "$place/ifindex" > ifindex
    cat "$place/address" > address
    case $name in
        enp*) rm -f addr_assign_type; mkdir device; echo 0 > addr_assign_type ;;
    esac
done
"""


class Service:
    """A fault server, in a namespace or on this machine's loopback."""

    def __init__(
        self, place: Path, script: dict[str, Any], inside: Namespace | None = None
    ) -> None:
        place.mkdir(exist_ok=True)
        self._script, self._log = place / "script", place / "log"
        self._log.touch()
        self.say(script)
        argv = [sys.executable, "-m", "tests.service.server", str(self._script), str(self._log)]
        argv += [] if inside else ["0"]
        self._process = subprocess.Popen(
            inside.enter(*argv) if inside else argv,
            env={**_ENVIRONMENT, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def say(self, script: dict[str, Any]) -> None:
        """Replace the script; steps begin anew."""
        new = self._script.with_suffix(".new")
        new.write_text(json.dumps({"documents": documents.openstack(), **script}))
        new.rename(self._script)

    def steps(self, **paths: list[dict[str, Any]]) -> None:
        """The OpenStack documents, with steps for some of them (``_`` stands for ``*``)."""
        self.say({"steps": {"*" if path == "_" else path: steps for path, steps in paths.items()}})

    def log(self) -> list[dict[str, Any]]:
        """The requests so far."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def paths(self) -> list[str]:
        """Their paths."""
        return [line["path"] for line in self.log()]

    def begin(self) -> None:
        """Have no request count that was sent before."""
        with socket.create_connection(("127.0.0.1", self.port)) as plug:
            plug.sendall(f"{BEGIN} / HTTP/1.1\r\n\r\n".encode())
            assert plug.recv(1) == b""

    def forget(self) -> None:
        """Empty the log."""
        os.truncate(self._log, 0)

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()


class Run(NamedTuple):
    """How a run of the agent ended, and its figures."""

    status: int
    out: bytes
    err: str
    seconds: float = 0.0
    peak: int = 0
    loaded: tuple[str, ...] = ()

    @property
    def answer(self) -> Answer:
        """What ``fetch`` wrote."""
        return decode_answer(self.out)


class Guest:
    """A place to run the agent in: a namespace, or none for services on loopback."""

    def __init__(self, place: Path, inside: Namespace | None = None) -> None:
        self.place, self.inside = place, inside

    def agent(
        self,
        *arguments: str,
        limits: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        wrapped: tuple[str, ...] = (),
    ) -> Run:
        """A run of the agent as a process, with its own limits and environment."""
        if self.inside is None:
            rig.spare_this_machine(*arguments)
        figures = self.place / "figures"
        figures.unlink(missing_ok=True)
        script = str(Path(__file__).with_name("inguest.py"))
        argv = [*wrapped, sys.executable, "-B", script, str(figures), json.dumps(limits or {})]
        argv += arguments
        done = subprocess.run(
            self.inside.enter(*argv) if self.inside else argv,
            env={**_ENVIRONMENT, **(environment or {})},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=100,
        )
        err = done.stderr.decode()
        if not figures.exists():
            return Run(done.returncode, done.stdout, err)
        found = json.loads(figures.read_text())
        return Run(
            *(done.returncode, done.stdout, err),
            *(found["seconds"], found["peak"], tuple(found["loaded"])),
        )

    def fetch(self, *, wrapped: tuple[str, ...] = (), **more: Any) -> Run:
        """``guestagent fetch``; what is no field of a request goes to ``agent``."""
        options = {key: more.pop(key) for key in ("limits", "environment") if key in more}
        cloud = {**OPENSTACK._asdict(), **more.pop("cloud", {})}
        usual = request_as_json(Request(OPENSTACK, wait=20.0))
        request = {**usual, "cloud": cloud, **more}
        path = self.place / "request.json"
        path.write_text(json.dumps(request))
        return self.agent("fetch", "--source", str(path), wrapped=wrapped, **options)


class Lab:
    """A guest, and the services at its links."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.space = Namespace(place / "guest")
        self.guest = Guest(place, self.space)
        self._open: list[Closing] = [self.space]
        self.links = 0

    def link(self, ipv4: bool = True, ipv6: bool = False, guest_ipv6: bool = True) -> Namespace:
        """A NIC of the guest and what stands behind it: metadata addresses that are up at once.

        The guest's IPv4 is as a lease would give it, with a route to the service.
        """
        name, number = f"enp0s{self.links + 3}", self.links
        self.links += 1
        far = Namespace(self.place / f"far{number}")
        self._open.append(far)
        mac = f"52:54:00:00:01:{number + 1:02x}"
        self.space.sh(
            f"ip link add {name} address {mac} type veth peer name eth0 netns {far.pid}\n"
            f"echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad\n"
            + ("" if guest_ipv6 else f"echo 1 > /proc/sys/net/ipv6/conf/{name}/disable_ipv6\n")
        )
        far.sh("echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad\nip link set eth0 up")
        self.space.sh(f"ip link set {name} up")
        if ipv4:
            far.sh(
                f"ip address add {IPV4}/16 dev eth0\nip address add 192.0.{number}.1/24 dev eth0"
            )
            metric = 100 + number
            self.space.sh(
                f"ip address add 192.0.{number}.10/24 dev {name}\n"
                f"ip route add {IPV4}/32 via 192.0.{number}.1 dev {name} metric {metric}"
            )
        if ipv6:
            far.sh(f"ip -6 address add {IPV6}/64 dev eth0")
        self.space.show_links()
        return far

    def serve(self, far: Namespace, script: dict[str, Any] | None = None) -> Service:
        """A server at the far end of a link."""
        service = Service(self.place / f"service{len(self._open)}", script or {}, far)
        self._open.append(service)
        return service

    def settle(self) -> None:
        """Wait until each link has an IPv6 address of its own that may be used."""
        wanted = f"grep -c ' 20 80 *enp' /proc/net/if_inet6 | grep -qx {self.links}"
        self.space.sh(f"for _ in $(seq 100); do {wanted} && exit; sleep 0.05; done; exit 1")

    def hold(self, item: Closing) -> None:
        """End something with everything else."""
        self._open.append(item)

    def close(self) -> None:
        """End everything, the last first."""
        for item in reversed(self._open):
            item.close()


class Machine:
    """The lab's guest with a root file system of its own: the live system of its runs."""

    def __init__(self, lab: Lab, tree: Path, settings: str = "[drive]\nwait = 0\n") -> None:
        self.lab, self.tree = lab, tree
        (tree / "etc/guestagent").mkdir()
        (tree / "etc/guestagent/guestagent.toml").write_text(settings)
        # The machine's own /root is seen inside, because the interpreter may be below it.
        passwd = tree / "etc/passwd"
        passwd.write_text(passwd.read_text().replace(":/root:", ":/home/root:"))
        (tree / "home/root").mkdir(mode=0o700, parents=True)
        shutil.copy("/etc/ld.so.cache", tree / "etc/ld.so.cache")  # how libudev is found
        for name in ("etc", "home", "run", "var/lib"):
            (tree / name).mkdir(parents=True, exist_ok=True)
            lab.space.run("mount", "--bind", str(tree / name), f"/{name}")

    def boot(self, **limits: Any) -> list[Run]:
        """What the units do at boot, in their order, as far as they have something to do."""
        shutil.rmtree(self.tree / "run/guestagent", ignore_errors=True)
        runs = [self.lab.guest.agent("apply", "--boot", limits=limits)]
        request = "/run/guestagent/request.json"
        later = self.path("/run/guestagent/later.json")
        if later.exists():
            later.rename(self.path(request))
        if self.path(request).exists():
            runs.append(self.lab.guest.agent("fetch", "--source", request, limits=limits))
            self.path("/run/guestagent/answer.json").write_bytes(runs[-1].out)
            runs.append(self.lab.guest.agent("apply", "--fetched", limits=limits))
        return runs

    def path(self, name: str) -> Path:
        """Where a file of the guest is."""
        return self.tree / name.lstrip("/")

    def report(self) -> dict[str, Any]:
        """The report of the last run."""
        found: dict[str, Any] = json.loads(self.path("/run/guestagent/report.json").read_text())
        return found


OPENSTACK = Cloud("openstack", "a test")
EC2 = Cloud("ec2", "a test", tokens=True)


def ask(service: Service, cloud: Cloud = OPENSTACK, **more: Any) -> Answer:
    """The same as ``fetch``, in this process, from a service on loopback."""
    return answer_to(Request(cloud, **{"urls": (service.url,), "wait": 20.0, **more}))


class Scene:
    """A machine and its service."""

    def __init__(self, machine: Machine, service: Service) -> None:
        self.machine, self.service = machine, service

    def boot(self) -> list[int]:
        """Exit statuses of what ran at a boot, with an empty log before."""
        self.service.forget()
        self.runs: list[Run] = self.machine.boot()
        return [run.status for run in self.runs]

    def text(self, path: str) -> str:
        """A file of the guest."""
        return self.machine.path(path).read_text()

    def say(self, changed: dict[str, str | None]) -> None:
        """Let the service say something else from now on."""
        self.service.say({"documents": documents_and(changed)})

    def hurry(self) -> None:
        """Wait a second for the service, no longer."""
        self.machine.path(defs.SETTINGS_FILE).write_text(
            "[drive]\nwait = 0\n[metadata]\nwait = 1\n"
        )

    def snapshot(self) -> dict[str, rig.Entry]:
        """The guest's files, without those of the agent itself."""
        return rig.snapshot_of_others(self.machine.tree)
