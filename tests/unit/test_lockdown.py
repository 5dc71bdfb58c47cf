"""The unit that closes the metadata service to everybody but root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

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


def commands(key: str) -> str:
    """What the unit runs, as a shell would."""
    lines = UNIT.read_text().splitlines()
    return "\n".join(line.partition("=")[2] for line in lines if line.startswith(f"{key}="))


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
