"""What is to be true of the guest: pure functions from data, facts and settings.

There is one module for each thing that is set.  None of them reads or writes a file.
"""

from __future__ import annotations

from guestagent.desired import accounts, hostname, sshd
from guestagent.plan.kinds.file import File
from guestagent.plan.wanted import Ask, Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from guestagent.plan.kinds import Resource


def desired(ask: Ask, wanted: Wanted) -> None:
    """Plan everything that is asked for, in the order of each phase of a commit."""
    # What others depend on is planned first, and put in its place in the order below.
    by_config, logins, names, network = Wanted(), Wanted(), Wanted(), Wanted()
    has_disks = bool(ask.data.disks or (ask.facts.room and ask.settings.disk_grow))
    if ask.data.config or ask.data.scripts or has_disks:
        from guestagent.desired import cloud_config

        ask = hostname.overridden(ask, by_config)
        cloud_config.plan(ask, by_config)
    written = {item.path for item in by_config.resources if item.kind == "file"}
    injected = _injected_files(ask, written, wanted)
    ask = ask._replace(planned=(*by_config.resources, *injected))
    # A file may bring SSH keys, so that an account may be locked; sshd depends on both.
    accounts.plan(ask, logins)
    ask = ask._replace(planned=(*ask.planned, *logins.resources))
    hostname.plan(ask, names)
    wanted.include(names)
    sshd.plan(ask, wanted)
    wanted.include(logins)
    _plan_network(ask, written, network)
    wanted.include(network)
    wanted.want(*injected)
    _plan_entropy(ask, wanted)
    wanted.include(by_config)
    wanted.resources = sorted(_each_path_once(wanted), key=_running_order)
    own = (item for item in by_config.resources if item.why.source == "settings")
    refreshed = (*names.resources, *_keys(ask, logins), *network.resources, *own)
    wanted.refreshed = frozenset(item.key for item in refreshed)


def _keys(ask: Ask, logins: Wanted) -> list[Resource]:
    """Return the SSH keys of accounts that exist, in the homes that they have or outside of all."""
    homes = {item.name: item.home.rstrip("/") for item in ask.facts.accounts}
    found: list[Resource] = []
    for item in logins.resources:
        if item.kind != "block" or item.account not in homes:
            continue
        if not item.user or item.path.startswith(f"{homes[item.account]}/"):
            found.append(item)
    return found


def _injected_files(ask: Ask, written: Container[str], wanted: Wanted) -> list[File]:
    """Return the files of the metadata, without those that cloud-config writes."""
    if not ask.settings.files_manage:
        return []
    mode = ask.settings.files_mode
    hidden = not mode & 0o004  # what others may not read is not shown in a plan
    files = []
    for file in ask.data.files:
        if file.path in written:
            wanted.warn(file.origin, "is left out: the user data writes the same file")
        else:
            why = file.origin
            files.append(File("file", file.path, file.content, mode=mode, why=why, secret=hidden))
    return files


def _plan_network(ask: Ask, written: Container[str], wanted: Wanted) -> None:
    """Plan the network, without a resolv.conf(5) that cloud-config writes."""
    if not ask.settings.network_manage:
        return
    data = ask.data.network
    if not ask.first and (data is None or not data.interfaces):
        return  # a guest that has been configured keeps the network it has
    from guestagent.desired import network

    found = Wanted()
    network.plan(ask, found)
    wanted.add_all(found)
    for item in found.resources:
        if item.kind != "file" or item.path not in written:
            wanted.want(item)


def _plan_entropy(ask: Ask, wanted: Wanted) -> None:
    """Plan the seed of the running kernel's random pool."""
    seed = ask.data.random_seed
    if seed is None or not ask.facts.live or not ask.settings.random_seed_manage:
        return
    from guestagent.plan.kinds.entropy import Entropy

    wanted.want(Entropy("entropy", seed.content, seed.origin))


def _each_path_once(wanted: Wanted) -> list[Resource]:
    """Return the resources; each further one for the same path is an error and left out.

    What is appended to a file that is written in the same run becomes part of its content.
    """
    found: dict[str, Resource] = {}
    for resource in wanted.resources:
        key = resource.key
        if resource.kind != "append":  # several may append to one file
            key = getattr(resource, "path", "") or key
        else:
            whole = found.get(resource.path)
            if whole is not None and whole.kind == "file" and whole.late == resource.late:
                found[resource.path] = _extend(whole, resource)
                continue
        if key in found:
            wanted.error(resource.why, _written_by(found[key]))
        else:
            found[key] = resource
    return list(found.values())


def _extend(whole: File, more: File) -> File:
    """Return a whole file with more at its end."""
    secret = whole.secret or more.secret
    return whole._replace(content=whole.content + more.content, secret=secret)


def _written_by(resource: Resource) -> str:
    """Return the reason why nothing else is done to what a resource is for."""
    name = resource.file_name if resource.kind == "script" else getattr(resource, "path", "it")
    writer = resource.why.key or resource.why.document
    return f"{name} is written by {writer} already; this is left out"


def _running_order(resource: Resource) -> tuple[str, str]:
    """Return what to sort by: scripts come last, as they run; all else stays in order."""
    if resource.kind == "script":
        return resource.stage, resource.file_name
    return "", ""
