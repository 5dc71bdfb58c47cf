"""What shall be true of the guest: pure functions from data, facts and settings.

One module for each thing that is set.  Nothing here reads or writes a file.
"""

from __future__ import annotations

from guestagent.desired import accounts, hostname, sshd
from guestagent.errors import Problem
from guestagent.plan.kinds.file import File
from guestagent.plan.wanted import Ask, Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings


def desired(ask: Ask, wanted: Wanted) -> None:
    """Plan everything that is asked for, in the order in which it is applied."""
    data, facts, settings, first = ask
    further = Wanted()
    if data.config or data.scripts or (facts.room and settings.disk_grow):
        from guestagent.desired import cloud_config as config
        from guestagent.desired.names import overlay

        data, settings, wrong = overlay(data, settings)
        config.plan(Ask(data, facts, settings, first), further)
        further.problems += wrong
    logins = accounts.plan(data, facts, settings, _given(data, facts, settings))
    parts = (
        hostname.plan(data, facts, settings),
        sshd.plan(data, facts, settings, logins[0]),
        logins,
        _network(data, facts, settings, first, further.resources),
        _files(data, settings, further.resources),
        _entropy(data, facts, settings),
        (further.resources, further.problems),
    )
    wanted.problems += [problem for _, more in parts for problem in more]
    resources = [resource for found, _ in parts for resource in found]
    wanted.want(*sorted(_unique(resources, wanted), key=_running_order))


def _given(data: InstanceData, facts: Facts, settings: Settings) -> accounts.Given | None:
    """What cloud-config says of accounts, if there is any."""
    if not data.config:
        return None
    from guestagent.desired.accounts.users import read

    return read(data, facts, settings)


def _running_order(resource: Resource) -> tuple[str, str]:
    """Steps come last, as they run; all else keeps its place."""
    return (resource.stage, resource.file_name) if resource.kind == "script" else ("", "")


def _network(
    data: InstanceData, facts: Facts, settings: Settings, first: bool, further: list[Resource]
) -> tuple[list[Resource], list[Problem]]:
    """The network, but for a resolv.conf(5) that cloud-config gives whole."""
    if not settings.network_manage:
        return [], []
    if not first and (data.network is None or not data.network.interfaces):
        return [], []  # a configured guest keeps what it has
    from guestagent.desired import network

    wanted = Wanted()
    network.plan(Ask(data, facts, settings, first), wanted)
    paths = {item.path for item in further if item.kind == "file"}
    kept = [item for item in wanted.resources if item.kind != "file" or item.path not in paths]
    return kept, wanted.problems


def _files(
    data: InstanceData, settings: Settings, further: list[Resource]
) -> tuple[list[Resource], list[Problem]]:
    """The injected files, but for those that cloud-config writes too."""
    if not settings.files_manage:
        return [], []
    mode = settings.files_mode
    hidden = not mode & 0o004
    theirs = {item.path for item in further if item.kind == "file"}
    files = [file for file in data.files if file.path not in theirs]
    reason = "is left out: the user data writes the same file"
    problems = [Problem("warning", *f.origin, reason) for f in data.files if f.path in theirs]
    return [File("file", f.path, f.content, mode, f.origin, hidden) for f in files], problems


def _entropy(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    seed = data.random_seed
    if seed is None or not facts.live or not settings.random_seed_manage:
        return [], []
    from guestagent.plan.kinds.entropy import Entropy

    return [Entropy("entropy", seed.content, seed.origin)], []


def _unique(resources: list[Resource], wanted: Wanted) -> list[Resource]:
    """Return the resources with each path once; a later one for the same path is an error."""
    found: dict[str, Resource] = {}
    for resource in resources:
        once = resource.kind == "append"
        key = resource.key if once else getattr(resource, "path", "") or resource.key
        if key in found:
            first = found[key]
            what = first.file_name if first.kind == "script" else getattr(first, "path", "it")
            by = first.why.key or first.why.document
            reason = f"{what} is written by {by} already; this is left out"
            wanted.error(resource.why, reason)
        else:
            found[key] = resource
    return list(found.values())
