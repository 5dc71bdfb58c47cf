"""From a document to the files of one network stack, the way the agent does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from guestagent import defs
from guestagent.desired.network import plan
from guestagent.errors import Origin, Problem, Problems
from guestagent.model import Facts, InstanceData, Network, Nic
from guestagent.parse.network.network_data import parse_network_data
from guestagent.plan.kinds.file import File
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import Settings
from guestagent.system.jsontext import loads_of_source

from .case import MACS, NAMES

Backend = Literal["networkd", "networkmanager", "ifupdown", "netplan"]
BACKENDS: tuple[Backend, ...] = ("networkd", "networkmanager", "ifupdown", "netplan")
Resolver = Literal["resolved", "resolvconf", "file"]
NICS = tuple(Nic(name, mac) for name, mac in zip(NAMES, MACS, strict=True))
# With these, the stack alone decides what resolv.conf(5) says.
_RESOLVER: dict[Backend, Resolver] = {
    "networkd": "resolved",
    "networkmanager": "resolved",
    "ifupdown": "resolvconf",
    "netplan": "resolved",
}


class Produced(NamedTuple):
    """Text and mode of each file, by path, and everything that was wrong.

    ``online`` are the lines for systemd-networkd-wait-online, which are no file of the stack.
    """

    files: dict[str, str]
    modes: dict[str, int]
    problems: tuple[Problem, ...]
    online: str = ""


def produce(
    document: Any, backend: Backend, *, policy_routing: bool = False, live: bool = True
) -> Produced:
    """Return the files for a running guest with the three NICs, or for an offline tree.

    The document goes in as the JSON text of a drive.
    """
    return produce_json(
        json.dumps(document).encode(), backend, policy_routing=policy_routing, live=live
    )


def produce_json(
    content: bytes,
    backend: Backend,
    *,
    policy_routing: bool = False,
    live: bool = True,
    resolver: Resolver | None = None,
    other_nics: bool = False,
    for_networkmanager: bool = False,
) -> Produced:
    """Do the same with the bytes of a drive, and another ``resolver`` than the usual one.

    With ``other_nics``, NICs that the document does not name are configured too.
    ``for_networkmanager``: netplan writes for that.
    """
    problems = Problems()
    origin = Origin("test", "network_data.json", "")
    network = parse_network_data(loads_of_source(content)[0], origin, problems)
    return produce_network(
        network,
        problems,
        backend,
        policy_routing=policy_routing,
        live=live,
        resolver=resolver,
        other_nics=other_nics,
        for_networkmanager=for_networkmanager,
    )


def produce_network(
    network: Network,
    problems: Problems,
    backend: Backend,
    *,
    policy_routing: bool = False,
    live: bool = True,
    resolver: Resolver | None = None,
    other_nics: bool = False,
    for_networkmanager: bool = False,
) -> Produced:
    """Do the same with a network that was read from a document, with these problems."""
    facts = Facts(
        live=live,
        os_id="debian",
        hostname=None,
        accounts=(),
        groups=(),
        nics=NICS if live else None,
        stack=backend,
        resolver=resolver or _RESOLVER[backend],
        sshd_dropins=True,
        programs=frozenset(),
        netplan_for_networkmanager=for_networkmanager,
    )
    settings = Settings(network_policy_routing=policy_routing, network_other_nics=other_nics)
    wanted = Wanted()
    plan(Ask(InstanceData(network=network), facts, settings), wanted)
    files, modes = {}, {}
    for resource in wanted.resources:
        assert isinstance(resource, File)
        files[resource.path] = resource.content.decode()
        modes[resource.path] = resource.mode
    online = files.pop(defs.WAIT_ONLINE_FILE, "")
    return Produced(files, modes, (*problems.problems, *wanted.problems), online)


def write(files: dict[str, str], modes: dict[str, int], root: Path) -> None:
    """Put the files below a directory."""
    for path, text in files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(modes[path])
