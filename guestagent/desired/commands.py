"""``bootcmd``, ``runcmd`` and the scripts among the parts: steps that hold what users wrote.

Names order them as cloud-init does: boothooks in the order of the parts, then bootcmd; late the
vendor's scripts, those of the per-once, per-boot and per-instance kinds, and last, in the order
of their names, the other scripts and runcmd.
"""

from __future__ import annotations

from guestagent.desired.shell import command, quoted
from guestagent.errors import FieldError, Problem
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData, Part, Setting
    from guestagent.plan.kinds import Resource
    from guestagent.plan.kinds.script import Frequency, Stage
    from guestagent.plan.wanted import Ask, Wanted
    from guestagent.settings import Settings

_COMMANDS: dict[str, tuple[Stage, int, Frequency]] = {
    "bootcmd": ("early", 20, "boot"),
    "runcmd": ("late", 50, "instance"),
}
_LATE: dict[str, tuple[int, Frequency]] = {
    "per-once": (41, "once"),
    "per-boot": (42, "boot"),
    "per-instance": (43, "instance"),
    "script": (50, "instance"),
}


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan this module's keys."""
    resources, problems = _plan(ask.data, ask.facts, ask.settings)
    wanted.want(*resources)
    wanted.problems += problems


def _plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """The steps of both keys and of all scripts, none of which is shown.

    A command that cannot be used spoils its key: what follows may rely on it.
    """
    found: dict[str, Script] = {}
    problems: list[Problem] = []
    for key, place in _COMMANDS.items():
        setting = data.setting(key)
        if setting and setting.value:
            try:
                content = _script(setting)
            except _BadCommand as bad:
                problems.append(Problem("error", *setting.at(bad.index), bad.reason))
                continue
            script = Script("script", *place, key, content, setting.at(), True)
            found[script.file_name] = script
    hooks = 0
    for part in data.scripts:
        hooks += part.kind == "boothook"
        script = _from_part(part, hooks)
        while script.file_name in found:  # a script with the name of runcmd's
            script = script._replace(name=f"{script.name}_")
        found[script.file_name] = script
    return list(found.values()), problems


class _BadCommand(Exception):
    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index, self.reason = index, reason


def _script(setting: Setting) -> bytes:
    """Commands as a script: text is a line for the shell, a list the words of a command."""
    lines = ["#!/bin/sh"]
    for index, item in enumerate(setting.value):
        try:
            if isinstance(item, str):
                quoted(item)  # for what no script can hold
                lines.append(item)
            else:
                lines.append(command(item))
        except FieldError as error:
            reason = f"{error}; none of the commands is run"
            raise _BadCommand(index, reason) from None
    return "\n".join((*lines, "")).encode()


def _from_part(part: Part, hooks: int) -> Script:
    """Return a part's script; a vendor's name carries its document, which no other has."""
    vendor = f"{part.origin.document}-" if part.origin.document.startswith("vendor") else ""
    if part.kind == "boothook":
        name = f"{hooks:02}-{vendor}{part.name}"
        return Script("script", "early", 10, "boot", name, part.content, part.origin, True)
    name = f"{vendor}{part.name}"
    order, often = _LATE[part.kind]
    if vendor and part.kind == "script":
        order = 40  # before those of the user
    return Script("script", "late", order, often, name, part.content, part.origin, True)
