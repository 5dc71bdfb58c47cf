"""Which parts of cloud-config are dropped: without them the same is done and the same is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import yaml

from guestagent.plan.commands import split
from guestagent.verbs.validate import Verdict, validate

Path = tuple[str | int, ...]


class Outcome(NamedTuple):
    """What a document comes to, without the places that say why."""

    changes: list[dict[str, Any]]
    problems: list[tuple[str, str]]


def dropped(value: Any, system: str = "debian") -> set[str]:
    """The parts that may be left out without a difference, and that no problem names."""
    verdict, whole = outcome(value, system)
    return {
        written(path)
        for path in paths(value)
        if not _told(verdict, path) and outcome(_without(value, path), system)[1] == whole
    }


def outcome(value: object, system: str) -> tuple[Verdict, Outcome]:
    """The verdict on a value as cloud-config, on a distribution."""
    text = f"#cloud-config\n{yaml.safe_dump(value, sort_keys=False)}"
    # Keys without effect are found here in another way. To look for them takes most of the time.
    with mock.patch("guestagent.verbs.validate._without_effect", return_value=()):
        verdict = validate("example", text.encode(), system)
    changes = [_plain(change) for change in verdict.plan.changes]
    return verdict, Outcome(changes, [(item.severity, item.reason) for item in verdict.problems])


def _plain(value: Any) -> Any:
    """A record as a mapping without its reasons, its secrets revealed, to be compared."""
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items() if name != "why"}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, bytes) and split(value):
        return [command.text for command in split(value)]
    return value.reveal() if hasattr(value, "reveal") else value


def paths(value: object, path: Path = ()) -> Iterator[Path]:
    """The path of every part of a value, keys and items, at any depth."""
    if path:
        yield path
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = [*value.items()]
    elif isinstance(value, list):
        inner = [*enumerate(value)]
    for step, part in inner:
        yield from paths(part, (*path, step))


def _without(value: Any, path: Path) -> Any:
    step, rest = path[0], path[1:]
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    kept = [
        (key, _without(part, rest) if key == step else part)
        for key, part in steps
        if key != step or rest
    ]
    return dict(kept) if isinstance(value, dict) else [part for _, part in kept]


def written(path: Path) -> str:
    """A path as problems name it."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path[1:])
    return "".join((str(path[0]), *steps))


def place(key: str) -> str:
    """A problem's key without line and column."""
    return key.partition(" (line ")[0]


def _told(verdict: Verdict, path: Path) -> bool:
    """True if a problem names the part, or what it is a part of."""
    above = {written(path[:length]) for length in range(1, len(path) + 1)}
    return any(place(problem.key) in above for problem in verdict.problems)
