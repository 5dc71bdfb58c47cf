"""The command line."""

from __future__ import annotations

import pytest

from guestagent.errors import UsageError
from guestagent.options import USAGE, Options, parse


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("", Options()),
        ("apply", Options()),
        ("--dry-run --json", Options(dry_run=True, json=True)),
        ("apply --source /x --root=/y", Options(source="/x", root="/y")),
        ("--source=a=b apply", Options(source="a=b")),
        ("--root apply", Options(root="apply")),
        ("--boot", Options(boot=True)),
        ("status --json --root /x", Options(verb="status", json=True, root="/x")),
        ("--help", Options(help=True)),
        ("--version", Options(version=True)),
    ],
)
def test_what_is_taken(line: str, options: Options) -> None:
    assert parse(line.split()) == options


@pytest.mark.parametrize(
    "line",
    [
        *("--none", "-h", "aply", "apply apply", "apply status", "--dry-run=yes", "--"),
        *("--source", "--source=", "--root", "--dry-run --dry-run", "--root /a --root=/b"),
        *("status --dry-run", "status --source x", "status --boot", "apply --json", "--json"),
        *("--boot --dry-run", "--boot --root /x", "--dry-run --boot"),
    ],
)
def test_what_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line.split())


def test_the_usage_names_every_option() -> None:
    words = {"apply", "status"} | {f"--{name.replace('_', '-')}" for name in Options._fields[1:]}
    assert all(word in USAGE for word in words)
