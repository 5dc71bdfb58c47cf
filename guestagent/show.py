"""A plan for people, as diffs and commands with their reasons, or as JSON for programs.

Secrets and contents that only root may read are masked.
"""

from __future__ import annotations

from guestagent.jsontext import dumps
from guestagent.log import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.changes import Change, Plan, WriteFile
    from guestagent.errors import Problem
    from guestagent.resources import User


def summary(change: Change) -> str:
    """One line that says what a change does."""
    match change.kind:
        case "write":
            word = "write" if change.old is None else "change"
            return f"{word} {change.path} (mode {change.mode:04o})"
        case "remove":
            return f"remove {change.path}"
        case "make_host_keys":
            return f"make SSH host keys: {', '.join(change.types)}"
        case "add_entropy":
            return f"add {len(change.content)} bytes to the random pool"
        case _:
            return _account_summary(change)


def _account_summary(change: Change) -> str:
    match change.kind:
        case "add_user":
            return f"add user {change.user.name}"
        case "set_password":
            return f"set the password of {change.name}"
        case "set_console_password":
            return f"set a random password of {change.name}, and send it encrypted to the service"
        case "lock_password":
            return f"lock the password of {change.name}"
        case "set_hostname":
            return f"set the running host name to {change.new}"
    raise AssertionError(change.kind)


def command(change: Change) -> str:
    """The program a change starts, as it would be typed; empty where it starts none."""
    match change.kind:
        case "add_user":
            return useradd(change.user)
        case "set_password":
            return f"chpasswd   # with {change.name}:(secret, not shown) on standard input"
        case "set_console_password":
            return f"chpasswd   # with {change.name}:(random, not shown) on standard input"
        case "lock_password":
            return f"usermod --lock {change.name}"
        case "make_host_keys":
            return "; ".join(f"ssh-keygen -q -t {kind} -N '' …" for kind in change.types)
        case "set_hostname":
            return f"hostname {change.new}   # was {change.old or 'not known'}"
    return ""


def useradd(user: User) -> str:
    """The useradd(8) command of an account."""
    groups = f" --groups {','.join(user.groups)}" if user.groups else ""
    home = f"--create-home --shell {user.shell} --comment '{user.gecos}'"
    return f"useradd {home}{groups} {user.name}"


def text(plan: Plan, problems: list[Problem]) -> str:
    """The whole plan for people."""
    parts = [f"{problem.severity}: {printable(problem.text())}" for problem in problems]
    parts += [f"left alone, changed by an administrator: {name}" for name in plan.kept]
    parts += [_change_text(change) for change in plan.changes]
    if not plan.changes:
        parts.append("nothing to change")
    return "\n".join(part for part in parts) + "\n"


def _change_text(change: Change) -> str:
    lines = ["", f"# {printable(summary(change))}", f"#   why: {printable(change.why.text())}"]
    started = command(change)
    if started:
        lines.append(f"$ {printable(started)}")
    if change.kind == "write":
        lines += _diff(change)
    elif change.kind == "remove":
        lines += [f"--- {change.path}", "+++ /dev/null"]
    return "\n".join(lines)


def _diff(change: WriteFile) -> list[str]:
    from difflib import unified_diff

    old_name = "/dev/null" if change.old is None else change.path
    head = [f"--- {printable(old_name)}", f"+++ {printable(change.path)}"]
    if change.old_mode not in (None, change.mode):
        head.append(f"mode {change.old_mode:04o} -> {change.mode:04o}")
    if change.hidden:
        return [*head, f"(content not shown, {len(change.new)} bytes)"]
    try:
        old, new = (change.old or b"").decode(), change.new.decode()
    except UnicodeDecodeError:
        return [*head, f"(binary, {len(change.new)} bytes)"]
    body = unified_diff(old.splitlines(), new.splitlines(), lineterm="")
    return [*head, *(printable(line) for line in list(body)[2:])]


def plan_json(plan: Plan, problems: list[Problem], bookkeeping: list[str]) -> str:
    """The whole plan for programs.

    ``sha256`` names a new content also where the content itself is masked.  ``bookkeeping``
    lists the files that guestagent writes for itself.
    """
    return dumps(
        {
            "changes": [_change_json(change) for change in plan.changes],
            "kept": plan.kept,
            "problems": [problem._asdict() for problem in problems],
            "bookkeeping": bookkeeping,
        }
    )


def _change_json(change: Change) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": change.kind,
        "summary": summary(change),
        "why": change.why._asdict(),
    }
    if command(change):
        found["command"] = command(change)
    if change.kind == "write":
        found |= _write_json(change)
    elif change.kind == "remove":
        found["path"] = change.path
    elif change.kind == "make_host_keys":
        found["types"] = change.types
    elif change.kind in ("set_password", "set_console_password", "lock_password"):
        found["user"] = change.name
    elif change.kind == "add_user":
        found["user"] = change.user.name
    return found


def _write_json(change: WriteFile) -> dict[str, Any]:
    from hashlib import sha256

    content = None
    if not change.hidden:
        content = change.new.decode("utf-8", "replace")
    return {
        "path": change.path,
        "mode": f"{change.mode:04o}",
        "user": change.user or "root",
        "new": change.old is None,
        "size": len(change.new),
        "sha256": sha256(change.new).hexdigest(),
        "content": content,
    }
