"""The unit that closes the metadata service to everybody but root, also to containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import rig

UNIT = rig.REPOSITORY / "systemd" / "guestagent-lockdown.service"
NOBODY = 65534
# Nobody answers: a route to the service is all it takes.
SETUP = """
ip link add link0 type veth peer name link1
ip link set link1 up
ip link set link0 up
ip addr add 169.254.1.1/16 dev link0
ip addr add fd00:ec2::1/64 dev link0 nodad
"""
ASK = """
import socket, sys, os
if sys.argv[1] == "nobody":
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
for family, host in ((socket.AF_INET, "169.254.169.254"), (socket.AF_INET6, "fd00:ec2::254")):
    plug = socket.socket(family, socket.SOCK_DGRAM)
    try:
        plug.connect((host, 80))
        print("open")
    except OSError as error:
        print(error.strerror)
"""
# Of three namespaces, this one forwards packets between a container and a service that answers.
FORWARDING = """
mount -t tmpfs tmpfs /run
ip netns add container
ip netns add service
ip link add eth0 type veth peer name eth0 netns service
ip link add inner type veth peer name eth0 netns container
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
ip addr add 10.0.0.2/24 dev eth0
ip addr add fd00:a::2/64 dev eth0 nodad
ip addr add 10.9.0.1/24 dev inner
ip addr add fd00:b::1/64 dev inner nodad
ip link set lo up
ip link set eth0 up
ip link set inner up
ip -n service addr add 10.0.0.1/24 dev eth0
ip -n service addr add fd00:a::1/64 dev eth0 nodad
ip -n service link set lo up
ip -n service link set eth0 up
ip -n service addr add 169.254.169.254/32 dev eth0
ip -n service addr add fd00:ec2::254/128 dev eth0 nodad
ip -n service route add default via 10.0.0.2
ip -n service -6 route add default via fd00:a::2
ip -n container addr add 10.9.0.2/24 dev eth0
ip -n container addr add fd00:b::2/64 dev eth0 nodad
ip -n container link set eth0 up
ip -n container route add default via 10.9.0.1
ip -n container -6 route add default via fd00:b::1
ip route add default via 10.0.0.1
ip -6 route add default via fd00:a::1
"""
# Two sockets with a queue answer for as long as the namespaces' script runs.
SERVE = """
import socket, sys, time
four, six = socket.create_server(("", 80)), socket.create_server(("::", 80), family=socket.AF_INET6)
print(flush=True)
sys.stdout.close()
time.sleep(60)
"""
REACH = """
import socket, sys, os
if sys.argv[1] == "nobody":
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
for host in ("169.254.169.254", "fd00:ec2::254", "10.0.0.1", "fd00:a::1"):
    plug = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    plug.settimeout(5)
    try:
        plug.connect((host, 80))
        print("open")
    except OSError:
        print("closed")
"""


def commands(key: str) -> str:
    """What the unit runs, as a shell would."""
    lines = UNIT.read_text().replace("\\\n", "").splitlines()
    found = (line.partition("=")[2] for line in lines if line.startswith(f"{key}="))
    return "\n".join(command.removeprefix("-") for command in found)


def answers(tmp_path: Path, *keys: str) -> list[str]:
    """What root and nobody get, twice each, after the unit's commands."""
    rig.need_root()
    rig.need_tools("ip", "unshare")
    ask = tmp_path / "ask.py"
    ask.write_text(ASK)
    os.chmod(ask, 0o644)
    python = shutil.which("python3") or "python3"
    asks = "\n".join(f"{python} - {who} < {ask}" for who in ("root", "nobody"))
    script = "\n".join(["set -e", SETUP, *(commands(key) for key in keys), asks])
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    argv = ["unshare", "--net", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_C9_the_service_is_closed_to_all_but_root(tmp_path: Path) -> None:
    assert answers(tmp_path) == ["open"] * 4
    assert answers(tmp_path, "ExecStart") == ["open"] * 2 + ["Permission denied"] * 2


def test_C9_stopping_the_unit_opens_it_again(tmp_path: Path) -> None:
    assert answers(tmp_path, "ExecStart", "ExecStop") == ["open"] * 4


def test_C9_networkd_leaves_the_rules_alone() -> None:
    """It removes foreign ones but for those of the kernel's protocol: networkd.conf(5)."""
    rig.need_root()
    rig.need_tools("ip", "unshare")
    script = f"set -e\n{commands('ExecStart')}\nip -4 -d -j rule\nip -6 -d -j rule\n"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    argv = ["unshare", "--net", "sh", "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": path}, check=True)
    rules = [rule for line in done.stdout.splitlines() for rule in json.loads(line)]
    ours = [rule for rule in rules if rule["priority"] in (100, 101, 102)]
    assert [rule["protocol"] for rule in ours] == ["kernel"] * 9


@pytest.mark.parametrize("is_closed", [False, True])
def test_C9_the_service_is_closed_to_containers_and_to_nothing_else(
    tmp_path: Path, is_closed: bool
) -> None:
    rig.need_root()
    rig.need_tools("ip", "unshare", "sysctl")
    for name, text in (("serve.py", SERVE), ("reach.py", REACH)):
        (tmp_path / name).write_text(text)
    python = shutil.which("python3") or "python3"
    reach = f"{tmp_path}/reach.py"
    script = f"""set -e
{FORWARDING}
{commands("ExecStart") if is_closed else ""}
mkfifo {tmp_path}/ready
ip netns exec service {python} {tmp_path}/serve.py > {tmp_path}/ready &
read line < {tmp_path}/ready
{python} {reach} root
{python} - nobody < {reach}
ip netns exec container {python} {reach} root
kill $!
"""
    argv = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script]
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": path})
    assert done.returncode == 0, done.stderr
    service = "closed" if is_closed else "open"
    others = [service, service, "open", "open"]
    assert done.stdout.split() == ["open"] * 4 + others * 2


def test_C9_the_service_is_closed_before_anybody_can_log_in() -> None:
    lines = UNIT.read_text().splitlines()
    before = " ".join(line.partition("=")[2] for line in lines if line.startswith("Before="))
    assert {"ssh.service", "sshd.service", "docker.service"} < set(before.split())
