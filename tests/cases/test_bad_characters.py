"""One bad character in a JSON document: whatever text or name has it, the others are applied.

Every text and every name in the documents of some samples gets each kind of bad character.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rig

from guestagent.errors import Problem, Problems
from guestagent.memory.state import State
from guestagent.model import InstanceData
from guestagent.parse import layouts
from guestagent.settings import load
from guestagent.sources.path import open_path
from guestagent.system.root import Root
from guestagent.verbs import planning

# Not UTF-8 at all, cut short, a surrogate in UTF-8, the escape of one, control characters raw
# and escaped.
CHARACTERS = (b"\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\\udfff", b"\x01", b"\x1b", b"\\u0000")
MARK = "@@"
# What becomes of each key of meta_data.json.
FIELDS = {
    "uuid": {"instance_id"},
    "hostname": {"hostname"},
    "name": {"hostname"},
    "local-hostname": {"hostname"},
    "public_keys": {"ssh_keys"},
    "keys": {"ssh_keys"},
    "admin_pass": {"admin_pass"},
    "files": {"files"},
    "random_seed": {"random_seed"},
    "availability_zone": {"availability_zone"},
    "project_id": {"project_id"},
    "network_config": {"network"},
}
DOCUMENTS = {
    "network_data.json": {"network"},
    "vendor_data.json": {"config", "scripts"},
    "vendor_data2.json": {"config", "scripts"},
}
SAMPLES = ("nova", "bond", "other-producers", "user-data", "docs-sample")


def spoiled(value: Any) -> Iterator[Any]:
    """The value in every form in which one text or name in it has a mark in its middle."""
    if isinstance(value, str):
        yield value[: len(value) // 2] + MARK + value[len(value) // 2 :]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for bad in spoiled(item):
                yield [*value[:index], bad, *value[index + 1 :]]
    elif isinstance(value, dict):
        pairs = list(value.items())
        for index, (name, item) in enumerate(pairs):
            (bad_name,) = spoiled(name)
            yield dict([*pairs[:index], (bad_name, item), *pairs[index + 1 :]])
            for bad in spoiled(item):
                yield dict([*pairs[:index], (name, bad), *pairs[index + 1 :]])


def concerned(document: str, value: dict[str, Any]) -> set[str]:
    """The fields of the data that may differ where the value has the mark."""
    if document != "meta_data.json":
        return DOCUMENTS[document]
    for name, item in value.items():
        if MARK in name or MARK in json.dumps(item):
            return FIELDS.get(name.replace(MARK, ""), set())
    raise AssertionError(value)


def strings(value: object) -> Iterator[str]:
    """All texts in records, lists and mappings, bytes as Latin-1."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, dict):
        yield from strings(list(value.items()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from strings(item)


def read(drive: Path) -> tuple[InstanceData, list[Problem]]:
    with closing(open_path(str(drive))) as bundle:
        return rig.collected(layouts.parse, bundle)


def make_plan(drive: Path, root: Root) -> object:
    """Return all that comes of a drive on a first boot: changes, record, problems."""
    with closing(open_path(str(drive))) as bundle:
        settings = load(root, Problems())
        said = planning.read(bundle, root, settings)
        planned = planning.make_plan(said, settings, root, before=State())
    return (planned.plan, planned.problems, said.problems)


@pytest.mark.parametrize("sample", SAMPLES)
def test_C10_a_bad_character_spoils_its_own_value_alone(sample: str, tmp_path: Path) -> None:
    shutil.copytree(rig.SAMPLES / sample / "drive", tmp_path / "drive")
    root = Root(str(rig.copy_root(rig.SAMPLES / sample / "root", tmp_path / "root")))
    folder = tmp_path / "drive/openstack/latest"
    good, known = read(tmp_path / "drive")
    assert not any("not JSON" in problem.reason for problem in known)
    usual = set(strings(make_plan(tmp_path / "drive", root)))  # contents of files may be anything
    tried = 0
    for path in sorted(folder.glob("*.json")):
        content = path.read_bytes()
        for number, bad in enumerate(spoiled(json.loads(content))):
            character = CHARACTERS[number % len(CHARACTERS)]
            path.write_bytes(json.dumps(bad).encode().replace(MARK.encode(), character))
            data, _ = read(tmp_path / "drive")
            # Where a name cannot be read, it may be that of keys.
            fields = set(data._fields) - {"partial_keys"}
            different = {name for name in fields if getattr(data, name) != getattr(good, name)}
            assert different <= concerned(path.name, bad), (path.name, bad)
            planned = make_plan(tmp_path / "drive", root)
            for text in set(strings(planned)) - usual:
                assert not {"\0", "\x01", "\x1b", "\udfff"} & set(text), (text, bad)
                assert "internal error" not in text
            tried += 1
        path.write_bytes(content)
    assert tried > 10
