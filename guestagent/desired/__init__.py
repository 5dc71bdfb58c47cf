"""What shall be true of the guest: pure functions from data, facts and settings.

One module for each thing that is set.  Nothing here reads or writes a file.
"""

from __future__ import annotations

from guestagent.desired import accounts, hostname, sshd
from guestagent.errors import Problem
from guestagent.resources import Entropy, File, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData
    from guestagent.resources import Resource
    from guestagent.settings import Settings


def desired(
    data: InstanceData, facts: Facts, settings: Settings, first: bool
) -> tuple[list[Resource], list[Problem]]:
    """All resources, in the order they are applied, and what could not be planned.

    ``first`` says that this instance was not configured before.
    """
    parts = (
        hostname.plan(data.hostname, facts, settings),
        sshd.plan(data, facts, settings),
        accounts.plan(data, facts, settings),
        _network(data, facts, settings, first),
        _files(data, settings),
        _entropy(data, facts, settings),
    )
    resources = [resource for found, _ in parts for resource in found]
    problems = [problem for _, more in parts for problem in more]
    return _unique(resources, problems), problems


def _network(
    data: InstanceData, facts: Facts, settings: Settings, first: bool
) -> tuple[list[Resource], list[Problem]]:
    if not settings.network_manage:
        return [], []
    if not first and (data.network is None or not data.network.interfaces):
        return [], []  # a configured guest keeps what it has
    from guestagent.desired import network

    return network.plan(data.network, facts, settings)


def _files(data: InstanceData, settings: Settings) -> tuple[list[Resource], list[Problem]]:
    if not settings.files_manage:
        return [], []
    mode = settings.files_mode
    hidden = not mode & 0o004
    return [File("file", f.path, f.content, mode, f.origin, hidden) for f in data.files], []


def _entropy(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    seed = data.random_seed
    if seed is None or not facts.live or not settings.random_seed_manage:
        return [], []
    return [Entropy("entropy", seed.content, seed.origin)], []


def _unique(resources: list[Resource], problems: list[Problem]) -> list[Resource]:
    """Each path once: what comes first stays, and the later one is a problem."""
    found: dict[str, Resource] = {}
    for resource in resources:
        key = getattr(resource, "path", "") or identity(resource)
        if key in found:
            problems.append(Problem("error", *resource.why, "its path is set already; left out"))
        else:
            found[key] = resource
    return list(found.values())
