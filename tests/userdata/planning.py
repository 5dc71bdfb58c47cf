"""What tests of planners share: from text of cloud-config to resources, and runs of the agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rig

from guestagent.desired import desired
from guestagent.errors import Origin, Problem, Problems
from guestagent.model import Account, Facts, InstanceData, Text
from guestagent.parse.userdata.read import read
from guestagent.plan.kinds.file import File
from guestagent.plan.kinds.script import Script
from guestagent.plan.kinds.sshd import SshdPolicy
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import Settings

if TYPE_CHECKING:
    from guestagent.plan.kinds import Resource

FACTS = Facts(
    live=True,
    os_id="debian",
    hostname="old",
    accounts=(Account("root", 0, 0, "/root"), Account("debian", 1000, 1000, "/home/debian")),
    groups=("root", "sudo", "debian"),
    nics=(),
    stack="networkd",
    resolver="file",
    sshd_dropins=True,
    programs=frozenset(("sshd", "ssh-keygen", "sudo")),
)
SETTINGS = Settings(network_manage=False)
METADATA = InstanceData(
    instance_id=Text("i-1", Origin("drive", "meta_data.json", "uuid")),
    hostname=Text("meta.example.org", Origin("drive", "meta_data.json", "hostname")),
)
EMPTY = InstanceData()


def data_of(
    text: str | bytes, data: InstanceData = EMPTY, vendor: object = None
) -> tuple[InstanceData, list[Problem]]:
    """The data with user data (without ``#cloud-config``, and vendor data) through the parser."""
    content = text if isinstance(text, bytes) else f"#cloud-config\n{text}".encode()
    problems = Problems()
    config, scripts = read(content, vendor, None, source="drive", problems=problems)
    return data._replace(config=config, scripts=scripts), problems.problems


def plan_of(
    text: str | bytes,
    facts: Facts = FACTS,
    settings: Settings = SETTINGS,
    data: InstanceData = EMPTY,
    vendor: object = None,
) -> tuple[list[Resource], list[Problem]]:
    """All resources of text of cloud-config, or bytes of user data, and all problems with it."""
    data, problems = data_of(text, data, vendor)
    wanted = Wanted()
    desired(Ask(data, facts, settings, first=True), wanted)
    return wanted.resources, [*problems, *wanted.problems]


def clean_plan(text: str | bytes, **more: Any) -> list[Resource]:
    """All resources of text in which nothing is wrong."""
    resources, problems = plan_of(text, **more)
    assert problems == []
    return resources


def places(problems: list[Problem]) -> list[tuple[str, str]]:
    """Severity and place of each problem."""
    return [(problem.severity, problem.key) for problem in problems]


def files(resources: list[Resource]) -> dict[str, File]:
    """The files of a plan by their paths."""
    return {resource.path: resource for resource in resources if resource.kind == "file"}


def sshd_policy(resources: list[Resource]) -> SshdPolicy | None:
    """What a plan tells sshd, if anything."""
    found = [resource for resource in resources if resource.kind == "sshd_policy"]
    return found[0] if found else None


def steps(resources: list[Resource]) -> dict[str, Script]:
    """The steps of a plan by stage and name."""
    found = (resource for resource in resources if resource.kind == "script")
    return {f"{step.stage}/{step.file_name}": step for step in found}


def make_drive(folder: Path, user_data: str | bytes, **meta: Any) -> Path:
    """A config drive, as a directory, with user data (text: of cloud-config)."""
    latest = folder / "drive" / "openstack" / "latest"
    latest.mkdir(parents=True, exist_ok=True)
    (latest / "meta_data.json").write_text(json.dumps({"uuid": "i-1", **meta}))
    content = user_data if isinstance(user_data, bytes) else f"#cloud-config\n{user_data}".encode()
    (latest / "user_data").write_bytes(content)
    return folder / "drive"


def dry_run(drive: Path, guest: Path) -> dict[str, Any]:
    """The plan for a tree as ``--dry-run --json`` tells it; nothing is changed."""
    before = rig.snapshot(guest)
    done = rig.agent("apply", "--source", drive, "--root", guest, "--dry-run", "--json")
    assert done.out, done.err
    assert rig.snapshot(guest) == before
    plan: dict[str, Any] = json.loads(done.out)
    return plan


def apply_twice(drive: Path, guest: Path, status: int = 0) -> rig.Result:
    """The result of a run on a tree; a second one must have nothing to do."""
    done = rig.agent("apply", "--source", drive, "--root", guest)
    assert done.status == status, done.err
    after = rig.snapshot(guest)
    again = rig.agent("apply", "--source", drive, "--root", guest, "--dry-run", "--json")
    assert again.out, again.err
    assert json.loads(again.out)["changes"] == [], again.out
    assert rig.snapshot(guest) == after
    return done
