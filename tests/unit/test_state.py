"""What guestagent remembers between runs is read as it was written, or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guestagent import defs
from guestagent.errors import Problem
from guestagent.memory import state
from guestagent.memory.state import State
from guestagent.sources.path import open_path
from guestagent.system.root import Root

STATES = [
    State(
        configured=True,
        instance_id="u-1",
        record={"file:/etc/motd": "ab"},
        seen=("a", "b/"),
        watched=("/etc",),
        salt="0f",
        fingerprint="x",
        source="drive",
    ),
    State(
        rejected="r",
        source="credentials",
        documents={"openstack/latest/meta_data.json": "cd"},
        time=1700000000,
        user_data="ef",
        user_data_salt="12",
        settings={"user_name": "ada", "user_groups": ("a", "b"), "drive_wait": 2.5, "x": True},
        settings_digest="34",
        layout="nocloud",
        problems=(Problem("error", "drive", "user_data", "a", "is wrong"),),
    ),
]


@pytest.fixture
def root(tree: Path) -> Root:
    return Root(str(tree))


def path(root: Root) -> Path:
    return Path(root.path) / defs.STATE_FILE[1:]


@pytest.mark.parametrize("wanted", STATES)
def test_it_is_read_as_it_was_written(root: Root, wanted: State) -> None:
    state.save(root, wanted)
    assert state.load(root) == wanted


def test_only_root_reads_it(root: Root) -> None:
    state.save(root, STATES[0])
    assert path(root).stat().st_mode & 0o7777 == 0o600
    assert path(root).parent.stat().st_mode & 0o7777 == 0o700


def test_another_version_of_guestagent_finds_something_to_do(
    root: Root, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may plan differently, so that what it finds unchanged must be planned again."""
    bundle = open_path(str(drive))
    bundle.get("openstack/latest/meta_data.json", defs.JSON_LIMIT)
    run = State(salt="0f", seen=tuple(bundle.seen), watched=("/etc",))
    run = run._replace(fingerprint=state.fingerprint(run, bundle, root))
    assert state.is_unchanged(run, bundle, root)
    monkeypatch.setattr(state, "VERSION", "9.9")
    assert not state.is_unchanged(run, bundle, root)


def test_nics_can_be_left_out_of_a_comparison_and_nothing_else(root: Root, drive: Path) -> None:
    bundle = open_path(str(drive))
    bundle.get("openstack/latest/meta_data.json", defs.JSON_LIMIT)
    nics = Path(root.path) / defs.NET_DIR[1:]
    motd = Path(root.path) / "motd"
    (nics / "eth0").mkdir(parents=True)
    motd.write_text("x")
    watched = ("/motd", f"{defs.NET_DIR}/", f"{defs.NET_DIR}/eth0/address")
    run = State(salt="0f", seen=tuple(bundle.seen), watched=watched)
    run = run._replace(fingerprint=state.fingerprint(run, bundle, root))
    assert state.is_unchanged(run, bundle, root)
    (nics / "eth0").rename(nics / "ens3")
    assert not state.is_unchanged(run, bundle, root)
    assert state.is_unchanged(run, bundle, root, nics=False)
    motd.unlink()
    assert not state.is_unchanged(run, bundle, root, nics=False)
    # Nor does it show that anything is as it was where the last run did not settle.
    assert not state.is_unchanged(run._replace(fingerprint=""), bundle, root, nics=False)


def test_a_tree_without_one_has_none(root: Root) -> None:
    assert state.load(root) == State()


def damaged() -> list[Any]:
    """What may stand in the file in its place."""
    whole = {"version": 1, **STATES[0]._asdict()}
    found: list[Any] = [None, [], "x", 7, {}]
    found += [{key: whole[key] for key in whole if key != gone} for gone in whole]
    found += [
        {**whole, key: 7}
        for key in ("record", "documents", "seen", "watched", "settings", "problems", "macs")
    ]
    errors: tuple[Any, ...] = ([7], [[]], [["x", "a", "b", "c", "d"]], [["error", "a"]])
    found += [{**whole, "problems": value} for value in errors]
    settings: tuple[Any, ...] = (None, {}, [7], "a\0b")
    found += [{**whole, "settings": {"user_name": value}} for value in settings]
    times: tuple[Any, ...] = (None, [], "x", 1e400, 10**30, 1e308)
    found += [{**whole, "time": value} for value in times]
    found += [{**whole, "source": value} for value in (None, 7, ["drive"], "drvie")]
    return [*found, {**whole, "version": 2}]


@pytest.mark.parametrize("value", damaged(), ids=range(len(damaged())))
def test_a_damaged_one_counts_as_none(root: Root, value: Any) -> None:
    state.save(root, STATES[0])
    path(root).write_text(json.dumps(value))
    assert state.load(root) == State()
