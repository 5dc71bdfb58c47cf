"""``guestagent network --render``: the network's files for any back end, on any machine."""

from __future__ import annotations

import sys

from guestagent import defs, log
from guestagent.desired.network import plan
from guestagent.errors import Origin, Problem, Problems
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

    from guestagent.options import Options


def run(options: Options) -> int:
    """Print the files; problems go to standard error.  Returns the exit status.

    With ``--source`` this machine's NICs do not matter: the files find them by MAC address.
    Without it they are what a run on this machine would write, were that its back end.

    Raises GuestagentError where there is nothing to print.
    """
    root = Root("/")
    problems = Problems()
    settings = load(root, problems)
    opened = open_source(options, settings, root, before=State())
    problems.add(*opened.problems)
    if opened.bundle is None:
        log.error(opened.problems[-1].text())
        return defs.EXIT_ERRORS
    bundle = opened.bundle
    found = Problems()
    data = layouts.parse(bundle, found)
    problems.add(*(problem for problem in found.problems if _of_network(problem)))
    if data.network is None:
        problems.error(Origin(bundle.label, "", ""), "describes no network")
    facts = _facts(options, root)
    settings = settings._replace(network_backend=options.render)
    wanted = Wanted()
    plan(Ask(InstanceData(network=data.network), facts, settings), wanted)
    problems.add(*wanted.problems)
    files = [
        {"path": item.path, "mode": f"{item.mode:04o}", "content": item.content.decode()}
        for item in wanted.resources
        if item.kind == "file"
    ]
    if options.json:
        told = [problem._asdict() for problem in problems.problems]
        print(dumps({"files": files, "problems": told}))
    else:
        sys.stdout.write("\n".join(_text(file) for file in files))
        for problem in problems.problems:
            (log.error if problem.severity == "error" else log.warning)(problem.text())
    failed = any(problem.severity == "error" for problem in problems.problems)
    return defs.EXIT_ERRORS if failed else defs.EXIT_OK


def _of_network(problem: Problem) -> bool:
    return "network" in (problem.document[:7], problem.key[:7])


def _facts(options: Options, root: Root) -> Facts:
    """Of this machine what matters here; with a source nothing."""
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


def _text(file: dict[str, Any]) -> str:
    return f"# {file['path']} (mode {file['mode']})\n{file['content']}"
