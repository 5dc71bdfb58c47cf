"""The same user data, given to cloud-init and to guestagent: what differs afterwards.

usage: python -m tests.vm.compare [USER-DATA-FILE...]     (as root; else the files in compared/)

Two guests boot one after the other, of the same Debian and with the same config drive, one with
Debian's cloud-init, one with guestagent. When both are done their states are compared (see
trees.py). A difference that the table REASONS explains is listed under its reason, any other in
full; the exit status is 1 if there is any other. docs/migrating.md has more on the reasons.

The guests reach nothing but their own virtual network, so that user data which installs packages
fails on both. Besides the config drive each has a second disk, /dev/vdc, with an ext4 file system
labelled "data", and a third one, /dev/vdd, which is empty. The metadata have a key and value of
whoever made the instance (META). User data that ends the guest (power_state) cannot be compared.
"""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import trees
from .drives import make_iso, make_tree
from .guest import Guest
from .image import GuestImage, build_agent_deb, guest_image
from .machine import Drive, Nic
from .reasons import REASONS
from .scenario import Instance, new_instance, report
from .trees import Difference, State

_REPOSITORY = Path(__file__).parents[2]
_SAMPLES = Path(__file__).parent / "compared"
# What cloud-init depends on or recommends, and what user data is often about: in both guests.
_PACKAGES = """
cloud-guest-utils e2fsprogs eject fdisk gdisk locales lsb-release netcat-openbsd python3-configobj
python3-jinja2 python3-jsonpatch python3-jsonschema python3-oauthlib systemd-timesyncd tzdata
"""
# cloud-init has no locale made that is not in this list, which is empty at first.
_FILES = {"etc/locale.gen": "de_DE.UTF-8 UTF-8\n"}
_CLOUD_INIT_SETTINGS = """\
datasource_list: [ConfigDrive]
system_info: {network: {renderers: [networkd]}}
"""
# What Debian's cloud-init is told about its default user.
_GUESTAGENT_SETTINGS = """\
[user]
gecos = "Debian"
groups = ["adm", "audio", "cdrom", "dialout", "dip", "floppy", "plugdev", "sudo", "video"]
"""
META = (("role", "database"),)
_EMPTY_DISK = 64 << 20  # bytes
_LINES_SHOWN = 12
_NAMES_SHOWN = 8
_AGENTS = ("cloud-init", "guestagent")
_RESOURCES = "ae8f7b866b0347b9af31fe1c80b127c0"  # SD_MESSAGE_UNIT_RESOURCES of sd-messages(3)
# TCG is slow, and user data may do anything.
_PATIENCE = 600.0


def images(where: Path) -> dict[str, GuestImage]:
    """Return an image with each agent, but for that the same."""
    packages = _PACKAGES.split()
    deb = build_agent_deb(_REPOSITORY, where)
    cloud_init = _FILES | {"etc/cloud/cloud.cfg.d/99-compare.cfg": _CLOUD_INIT_SETTINGS}
    ours = _FILES | {"etc/guestagent/guestagent.toml.d/compare.toml": _GUESTAGENT_SETTINGS}
    return {
        "cloud-init": guest_image("cloud-init", packages=packages, files=cloud_init),
        "guestagent": guest_image(deb, packages=packages, files=ours),
    }


def _drives(instance: Instance, user_data: bytes | None, where: Path) -> list[Drive]:
    tree = instance.tree(where / "tree")
    if user_data is not None:
        versions = ("2018-08-27", "latest")
        make_tree(tree, {f"openstack/{version}/user_data": user_data for version in versions})
    data = where / "data"
    data.write_bytes(bytes(16 << 20))
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "data", data], check=True)
    empty = where / "empty"
    with empty.open("wb") as file:
        file.truncate(_EMPTY_DISK)
    made = (make_iso(tree, where / "config"), data, empty)
    return [Drive(disk, readonly=False) for disk in made]


def _await_cloud_init(guest: Guest) -> str:
    return guest.run("cloud-init status --wait --long", timeout=_PATIENCE).stdout


def _await_guestagent(guest: Guest) -> str:
    late = "systemctl show --property=ActiveState --value guestagent-late.service"
    guest.wait_for(f"[ $({late}) != activating ]", timeout=_PATIENCE)
    told = report(guest)
    lines = [f"exit status {told['exit_status']}, {len(told['changes'])} changes"]
    lines.append(f"milliseconds: {told['steps_ms']}")
    lines += [json.dumps(one) for kind in ("problems", "scripts") for one in told.get(kind, [])]
    if told["exit_status"]:
        lines += guest.check("journalctl -b -o cat -u 'guestagent-*' | tail -n 20").splitlines()
    return "\n".join(lines)


def _seconds(guest: Guest, agent: str) -> dict[str, float]:
    """The CPU time of an agent's units, and of what they started, as systemd accounts it."""
    pattern = {"cloud-init": "cloud-*.service", "guestagent": "guestagent-*.service"}[agent]
    shown = guest.check(f"systemctl show --all --property=Id,CPUUsageNSec '{pattern}'")
    listed = (unit.strip().splitlines() for unit in shown.split("\n\n"))
    units = [dict(line.split("=", 1) for line in lines) for lines in listed]
    used = {unit["Id"]: unit.get("CPUUsageNSec", "") for unit in units if "Id" in unit}
    # Units that are gone, as scopes of scripts are, have left word of it in the journal.
    gone = guest.run(f"journalctl -b -q -o json MESSAGE_ID={_RESOURCES}").stdout
    for told in (json.loads(line) for line in gone.splitlines()):
        if told.get("UNIT", "").startswith(pattern.partition("-")[0]):
            used[told["UNIT"]] = told["CPU_USAGE_NSEC"]
    # A number that is all ones stands for none.
    return {name: int(n) / 1e9 for name, n in used.items() if n.isdigit() and len(n) < 19}


def observe(
    agent: str, image: GuestImage, instance: Instance, user_data: bytes | None
) -> tuple[State, str, dict[str, float]]:
    """Boot a guest; return its state when the agent is done, what the agent says, its CPU time."""
    wait = {"cloud-init": _await_cloud_init, "guestagent": _await_guestagent}[agent]
    with tempfile.TemporaryDirectory() as name:
        drives = _drives(instance, user_data, Path(name))
        nics = [Nic(restrict=True)]
        with Guest(image, drives, nics, instance.smbios, memory="768M") as guest:
            guest.boot(_PATIENCE)
            said = wait(guest)
            guest.settle(_PATIENCE)
            used = _seconds(guest, agent)
            program = Path(trees.__file__).read_bytes()
            read = guest.check(["python3", "-"], input=program, timeout=_PATIENCE)
            return json.loads(read), said, used


def _changed(left: str, right: str) -> list[str]:
    lines = difflib.unified_diff(left.splitlines(), right.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def _some(items: Sequence[str], most: int) -> list[str]:
    more = [f"... and {len(items) - most} more"] if len(items) > most else []
    return [*items[:most], *more]


def describe(difference: Difference) -> str:
    """Show one difference; lines of cloud-init's have a minus, of guestagent's a plus."""
    _, name, left, right = difference
    if left is None or right is None:
        agent, value = ("guestagent", right) if left is None else ("cloud-init", left)
        heading, lines = f"  {name}: only with {agent}", (value or "").splitlines()
    elif "\n" in left + right:
        heading, lines = f"  {name}:", _changed(left, right)
    else:
        return f"  {name}: {left!r} with cloud-init, {right!r} with guestagent"
    return "\n      ".join([heading, *_some(lines, _LINES_SHOWN)])


def show(differences: Iterable[Difference]) -> bool:
    """Print differences, those without a reason by group; return if there are any of these."""
    explained: dict[str, list[Difference]] = {}
    unexplained: dict[str, list[Difference]] = {}
    for difference in differences:
        why = trees.reason(difference, REASONS)
        known = unexplained if why is None else explained
        known.setdefault(why or difference.group, []).append(difference)
    for why, found in explained.items():
        names = [f"  {one.group}: {one.name}" for one in found]
        print(f"\nexplained: {why}", *_some(names, _NAMES_SHOWN), sep="\n")
    for group, found in unexplained.items():
        print(f"\nUNEXPLAINED: {group}", *(describe(one) for one in found), sep="\n")
    return bool(unexplained)


def main(arguments: Sequence[str]) -> int:
    """Compare for each file; return 1 if anything is left unexplained."""
    files = [Path(name) for name in arguments] or sorted(_SAMPLES.iterdir())
    left_over = False
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        made = images(where)
        for number, file in enumerate(files):
            print(f"==== {file}")
            instance = new_instance(where / f"keys{number}", meta=META)
            states, times = [], []
            for agent in _AGENTS:
                state, said, used = observe(agent, made[agent], instance, file.read_bytes())
                print(f"{agent} says:", *said.splitlines(), sep="\n  ", flush=True)
                states.append(state)
                units = (f"{name.removesuffix('.service')} {n:.1f}" for name, n in used.items())
                times.append(sum(used.values()))
                print(f"CPU seconds: {times[-1]:.1f}: {', '.join(units)}")
            print(f"CPU time, one to the other: {times[0] / times[1]:.1f} to 1")
            left_over |= show(trees.differences(*states))
    return int(left_over)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
