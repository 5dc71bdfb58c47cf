"""``guestagent network``: print the network's files for any back end, on any machine."""

from __future__ import annotations

import sys

from guestagent import defs, log
from guestagent.desired.network import plan
from guestagent.errors import Origin, Problems
from guestagent.facts.network import find_nics, find_resolver
from guestagent.memory.state import State
from guestagent.model import Facts, InstanceData
from guestagent.parse import layouts
from guestagent.plan.wanted import Ask, Wanted
from guestagent.settings import load
from guestagent.system.jsontext import dumps
from guestagent.system.root import Root
from guestagent.verbs.source import open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.errors import Problem
    from guestagent.model import Network
    from guestagent.options import Options
    from guestagent.plan.kinds.file import File
    from guestagent.sources.bundle import Bundle


def run(options: Options) -> int:
    """Print the files, and log what cannot be used.  Return the exit status.

    With ``--source`` this machine's NICs do not matter: the files find theirs by MAC addresses.
    Without it they are what a run on this machine would write if that were its back end.

    Raises GuestagentError and OSError where there is nothing to print.
    """
    root, problems = Root("/"), Problems()
    settings = load(root, problems)._replace(network_backend=options.render)
    opened = open_source(options, settings, root, before=State())
    problems.add(*opened.problems)
    if opened.bundle is None:
        log.problem(opened.problems[-1])
        return defs.EXIT_ERRORS
    network = _read_network(opened.bundle, problems)
    wanted = Wanted()
    plan(Ask(InstanceData(network=network), _facts(options, root), settings), wanted)
    problems.add_all(wanted)
    files = [item for item in wanted.resources if item.kind == "file"]
    if options.json:
        print(dumps(_as_json(files, problems.problems)))
    else:
        sys.stdout.write("\n".join(_text(file) for file in files))
        for problem in problems.problems:
            log.problem(problem)
    failed = any(problem.severity == "error" for problem in problems.problems)
    return defs.EXIT_ERRORS if failed else defs.EXIT_OK


def _read_network(bundle: Bundle, problems: Problems) -> Network | None:
    """Return the network that a source describes; keep only the problems that are about it."""
    found = Problems()
    data = layouts.parse(bundle, found)
    for problem in found.problems:
        if problem.document.startswith("network") or problem.key.startswith("network"):
            problems.add(problem)
    if data.network is None:
        problems.error(Origin(bundle.label, "", ""), "describes no network")
    return data.network


def _facts(options: Options, root: Root) -> Facts:
    """Return what matters of this machine: with a source that is named, nothing."""
    here = not options.source
    return Facts(
        live=here,
        os_id="",
        hostname=None,
        accounts=(),
        groups=(),
        nics=find_nics(root) if here else None,
        stack="",
        resolver=find_resolver(root) if here else "resolved",
        sshd_dropins=False,
        programs=frozenset(),
    )


def _as_json(files: list[File], problems: list[Problem]) -> dict[str, Any]:
    return {
        "files": [
            {"path": file.path, "mode": f"{file.mode:04o}", "content": file.content.decode()}
            for file in files
        ],
        "problems": [problem._asdict() for problem in problems],
    }


def _text(file: File) -> str:
    return f"# {file.path} (mode {file.mode:04o})\n{file.content.decode()}"
