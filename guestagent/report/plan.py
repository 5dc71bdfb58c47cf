"""A plan for people, as diffs and commands with their reasons, or as JSON for programs.

What a change does, and which of it is secret, is known by its kind alone (``plan.kinds``).
"""

from __future__ import annotations

from guestagent.log import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from guestagent.errors import Problem
    from guestagent.plan.difference import Plan
    from guestagent.plan.kinds import Change
    from guestagent.plan.kinds.account import Command

_SHELL_SAFE = frozenset("%+,-./:=@_") | frozenset(
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)


def text(plan: Plan, problems: Sequence[Problem], signatures: Sequence[str] = ()) -> str:
    """Return the whole plan for people; ``signatures`` are those of the source that hold."""
    lines = [f"{problem.severity}: {problem.text()}" for problem in problems]
    lines += [f"signed: {signature}" for signature in signatures]
    lines += [f"left alone, changed by an administrator: {name}" for name in plan.kept]
    for change in plan.changes:
        lines += _change_lines(change)
    if not plan.changes:
        lines.append("nothing to change")
    return "".join(f"{printable(line)}\n" for line in lines)


def _change_lines(change: Change) -> list[str]:
    commands = [f"$ {_typed(command)}" for command in _commands(change)]
    return ["", f"# {change.tell()}", f"#   why: {change.why.text()}", *commands, *change.show()]


def _commands(change: Change) -> tuple[Command, ...]:
    """Return the commands that the change runs; none for a change that starts no program."""
    commands: tuple[Command, ...] = getattr(change, "commands", ())
    return commands


def _typed(command: Command) -> str:
    """Return a command as one types it in a shell."""
    words = []
    for word in command:
        if word and _SHELL_SAFE.issuperset(word):
            words.append(word)
        else:
            words.append("'" + word.replace("'", "'\\''") + "'")
    return " ".join(words)


def plan_object(plan: Plan, problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the whole plan for programs."""
    return {
        "changes": [_change_object(change) for change in plan.changes],
        "kept": plan.kept,
        "problems": [problem._asdict() for problem in problems],
    }


def _change_object(change: Change) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": change.kind,
        "summary": change.tell(),
        "why": change.why._asdict(),
        **change.json(),
    }
    commands = _commands(change)
    if commands:
        found["commands"] = commands
    return found
