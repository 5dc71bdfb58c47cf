"""A plan for people, as diffs and commands with their reasons, or as JSON for programs.

Secrets and contents that only root may read are masked.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.log import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.errors import Problem
    from guestagent.plan.changes import Change, Plan, WriteFile
    from guestagent.plan.kinds.account import User


def summary(change: Change) -> str:
    """One line that says what a change does."""
    match change.kind:
        case "write":
            word = "write" if change.old is None else "change"
            return f"{word} {change.path} (mode {change.mode:04o}{_owned_by(change)})"
        case "write_later":
            word = "append to" if change.append else "write"
            return f"late: {word} {change.path} (mode {change.mode:04o}{_owned_by(change)})"
        case "step":
            stage, _, name = change.path.removeprefix(f"{defs.STATE_DIR}/").partition("/")
            _, often, called = name.split("-", 2)
            return f"{stage}, {_OFTEN[often]}: run {called}"
        case "link":
            return f"link {change.path} to {change.target}"
        case "remove":
            return f"remove {change.path}"
        case "make_host_keys":
            given = [name for name, _ in change.given if not name.endswith(".pub")]
            return f"make SSH host keys: {', '.join((*change.types, *given))}"
        case "add_entropy":
            return f"add {len(change.content)} bytes to the random pool"
        case _:
            return _account_summary(change)


_OFTEN = {"instance": "once per instance", "boot": "at each boot", "once": "once"}


def _owned_by(change: WriteFile) -> str:
    return f", owner {change.owner}" if change.owner else ""


def _account_summary(change: Change) -> str:
    match change.kind:
        case "add_user":
            return f"add user {change.user.name}"
        case "add_group":
            return f"add group {change.group.name}"
        case "add_member":
            return f"add {change.name} to group {change.group}"
        case "set_password" if change.form == "random":
            told = "written to the console" if change.shown else "told to nobody"
            return f"set a random password of {change.name}, {told}"
        case "set_password":
            return f"set the password of {change.name}"
        case "set_console_password":
            return f"set a random password of {change.name}, and send it encrypted to the service"
        case "expire_password":
            return f"expire the password of {change.name}"
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
        case "add_group":
            return f"groupadd {change.group.name}"
        case "add_member":
            return f"usermod --append --groups {change.group} {change.name}"
        case "set_password":
            form = "--encrypted " if change.form == "hash" else ""
            what = "random" if change.form == "random" else "secret"
            return f"chpasswd {form}  # with {change.name}:({what}, not shown) on standard input"
        case "set_console_password":
            return f"chpasswd   # with {change.name}:(random, not shown) on standard input"
        case "expire_password":
            return f"chage --lastday 0 {change.name}"
        case "lock_password":
            return f"usermod --lock {change.name}"
        case "make_host_keys":
            return "; ".join(f"ssh-keygen -q -t {kind} -N '' …" for kind in change.types)
        case "set_hostname":
            return f"hostname {change.new}   # was {change.old or 'not known'}"
    return ""


def useradd(user: User) -> str:
    """The useradd(8) command of an account."""
    from guestagent.commit.shadow import useradd_arguments

    words = useradd_arguments(user)
    return " ".join(("useradd", *(f"'{word}'" if " " in word else word for word in words)))


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
    if change.kind in ("write", "write_later"):
        lines += _diff(change)
    elif change.kind == "step":
        lines += _script(change)
    elif change.kind == "remove":
        lines += [f"--- {change.path}", "+++ /dev/null"]
    return "\n".join(lines)


def _script(change: WriteFile) -> list[str]:
    """The lines of a script that will run."""
    if change.hidden:
        return [f"(content not shown, {len(change.new)} bytes)"]
    return [f"| {printable(line)}" for line in change.new.decode("utf-8", "replace").splitlines()]


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
        if change.kind == "write_later" and change.append:
            new = old + new
    except UnicodeDecodeError:
        return [*head, f"(binary, {len(change.new)} bytes)"]
    body = unified_diff(old.splitlines(), new.splitlines(), lineterm="")
    return [*head, *(printable(line) for line in list(body)[2:])]


def plan_object(plan: Plan, problems: list[Problem]) -> dict[str, Any]:
    """The whole plan for programs: ``sha256`` names a content also where that is masked."""
    return {
        "changes": [_change_json(change) for change in plan.changes],
        "kept": plan.kept,
        "problems": [problem._asdict() for problem in problems],
    }


def _change_json(change: Change) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": change.kind,
        "summary": summary(change),
        "why": change.why._asdict(),
    }
    if command(change):
        found["command"] = command(change)
    match change.kind:
        case "write" | "write_later" | "step":
            found |= _write_json(change)
        case "remove" | "link":
            found["path"] = change.path
        case "make_host_keys":
            found["types"] = change.types
        case "add_group":
            found["group"] = change.group.name
        case "add_user":
            found["user"] = change.user.name
        case "set_hostname" | "add_entropy":
            pass
        case _:
            found["user"] = change.name
    return found


def _write_json(change: WriteFile) -> dict[str, Any]:
    from hashlib import sha256

    content = None
    if not change.hidden:
        content = change.new.decode("utf-8", "replace")
    return {
        "path": change.path,
        "mode": f"{change.mode:04o}",
        "user": change.user or change.owner.partition(":")[0] or "root",
        "new": change.old is None,
        "size": len(change.new),
        "sha256": sha256(change.new).hexdigest(),
        "content": content,
    }
