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
        ("apply --confirm 30", Options(confirm=30)),
        ("--confirm=3600 --source /x", Options(confirm=3600, source="/x")),
        ("confirm", Options(verb="confirm")),
        ("rollback", Options(verb="rollback")),
        ("network --render netplan", Options(verb="network", render="netplan")),
        (
            "network --json --render=ifupdown --source /x",
            Options(verb="network", json=True, render="ifupdown", source="/x"),
        ),
        ("refresh", Options(verb="refresh")),
        ("refresh --confined", Options(verb="refresh", confined=True)),
        ("refresh --confined --poll", Options(verb="refresh", confined=True, poll=True)),
        ("run-early", Options(verb="run-early")),
        ("run-late", Options(verb="run-late")),
        ("validate a - --json", Options(verb="validate", json=True, files=("a", "-"))),
        ("validate a --os rhel", Options(verb="validate", files=("a",), os="rhel")),
        ("validate status", Options(verb="validate", files=("status",))),
        ("schema", Options(verb="schema")),
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
        *("--confirm", "--confirm 4", "--confirm 3601", "--confirm 1e3", "--confirm -5"),
        *("--confirm 9 --dry-run", "--confirm 9 --boot", "--confirm 9 --root /x"),
        *("confirm 9", "confirm --json", "rollback --root /x", "status --confirm 9"),
        *("refresh --root /x", "refresh --source x", "refresh --boot", "apply --confined"),
        *("run-early --root /x", "run-late --json", "run-late --dry-run"),
        *("network", "network --render", "network --render none", "--render networkd"),
        *("network --render networkd --root /x", "network --render networkd --dry-run"),
        *("validate", "validate --json", "validate -x", "validate a --root /x", "status a"),
        *("validate --os", "apply --os rhel", "schema a", "schema --json", "a validate"),
    ],
)
def test_what_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line.split())


def test_the_usage_names_every_option() -> None:
    verbs = {"apply", "confirm", "network", "rollback", "schema", "status", "validate FILE..."}
    words = verbs | {
        f"--{name.replace('_', '-')}" for name in Options._fields[1:] if name != "files"
    }
    assert all(word in USAGE for word in words)
