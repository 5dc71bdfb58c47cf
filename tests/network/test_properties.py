"""Any valid document means the same on every network stack; any other does no harm.

The real tools are asked here as well: libnm and a shell in one process each for all documents,
ifquery and netplan's generator in some milliseconds.  Only networkd's files are read by our own
reader, because the daemon takes a tenth of a second for each document; that it knows every key is
seen in ``test_conformance``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from rig import need

from guestagent import defs

from . import ifupdown_shell, keyfile_reader, netplan_generator, networkd_reader
from .allowances import ALLOWANCES, allowed
from .documents import MARK, VALUES, described, spoiled
from .facts import Link, differences
from .grammar import strange
from .ifupdown_shell import Shell
from .keyfile_reader import Keyfiles
from .produce import BACKENDS, Backend, Produced, produce_json, write


class Readers:
    """All back ends' readers."""

    def __init__(self) -> None:
        self._keyfiles = Keyfiles()
        self._shell = Shell()

    def close(self) -> None:
        """End the processes."""
        self._keyfiles.close()
        self._shell.close()

    def links(self, backend: Backend, produced: Produced) -> dict[str, Link]:
        """Return the facts of the files of one back end."""
        match backend:
            case "networkd":
                return networkd_reader.links(produced.files)
            case "networkmanager":
                return self._keyfiles.links(produced.files)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write(produced.files, produced.modes, root)
            if backend == "netplan":
                return netplan_generator.links(root)
            (path,) = produced.files
            return self._shell.links(root / path.lstrip("/"))


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    for tool in (keyfile_reader, netplan_generator, ifupdown_shell):
        reason = tool.missing()
        need(not reason, reason)
    found = Readers()
    yield found
    found.close()


def unified(links: dict[str, Link]) -> dict[str, Link]:
    """Return the links as every stack can have them."""
    found = dict(links)
    for allowance in ALLOWANCES:
        found = {name: allowance.change(link) for name, link in found.items()}
    return found


def _share_an_address(links: dict[str, Link]) -> bool:
    hosts = [
        host
        for link in links.values()
        for host in {address.partition("/")[0] for address in link.addresses}
    ]
    return len(set(hosts)) < len(hosts)


@settings(max_examples=100, deadline=None)
@given(described())
def test_a_valid_document_means_the_same_on_every_stack(
    readers: Readers, document: tuple[Any, dict[str, Link]]
) -> None:
    content, links = json.dumps(document[0]).encode(), document[1]
    for backend in BACKENDS:
        produced = produce_json(content, backend)
        expected, told = allowed(backend, links)
        assert differences(expected, readers.links(backend, produced)) == [], backend
        assert strange(backend, produced.files) == []
        assert {problem.severity for problem in produced.problems} <= {"warning"}
        assert bool(produced.problems) == bool(told or _share_an_address(links))


@settings(max_examples=150, deadline=None)
@given(spoiled())
def test_a_spoiled_document_adds_nothing_to_the_files(readers: Readers, document: Any) -> None:
    content = json.dumps(document).encode()
    harmless("networkd", produce_json(content, "networkd", resolver="file"))
    found = {backend: produce_json(content, backend) for backend in BACKENDS}
    for backend, produced in found.items():
        harmless(backend, produced)
    common = unified(readers.links("networkd", found["networkd"]))
    for backend, produced in found.items():
        assert differences(common, unified(readers.links(backend, produced))) == [], backend


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_arbitrary_json_is_a_problem_and_the_guest_gets_dhcp(document: Any) -> None:
    content = json.dumps(document).encode()
    for backend in BACKENDS:
        produced = produce_json(content, backend)
        assert produced.problems
        harmless(backend, produced)


def harmless(backend: Backend, produced: Produced) -> None:
    """Only files of the agent's own, only lines that it writes, only reasons that can be shown."""
    assert strange(backend, produced.files) == []
    assert produced.files
    assert len(produced.problems) <= 2 * defs.MAX_PROBLEMS + 2
    for problem in produced.problems:
        assert problem.text().isprintable()
        assert MARK not in problem.reason
        assert len(problem.text()) < 300
