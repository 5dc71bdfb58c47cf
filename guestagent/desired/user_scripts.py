"""The user's scripts: ``bootcmd``, ``runcmd`` and the scripts among the parts of user data.

They run in cloud-init's order.  Early: the boothooks in the order of the parts, then bootcmd.
Late: the vendor's scripts; those of the kinds per-once, per-boot and per-instance; and last, sorted
by their names, the other scripts and runcmd.
"""

from __future__ import annotations

from guestagent.desired import shell_quoting
from guestagent.errors import FieldError
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Part, Setting
    from guestagent.plan.kinds.script import Frequency, Stage
    from guestagent.plan.wanted import Ask, Wanted

# Key, stage, order in the stage, frequency.
_COMMANDS: tuple[tuple[str, Stage, int, Frequency], ...] = (
    ("bootcmd", "early", 20, "boot"),
    ("runcmd", "late", 50, "instance"),
)
_BOOTHOOK_ORDER = 10
_VENDOR_ORDER = 40
_LATE_PARTS: dict[str, tuple[int, Frequency]] = {
    "per-once": (41, "once"),
    "per-boot": (42, "boot"),
    "per-instance": (43, "instance"),
    "script": (50, "instance"),
}


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan the scripts of both keys and of all parts.  Plans hide what is in them."""
    found: dict[str, Script] = {}
    for key, stage, order, frequency in _COMMANDS:
        setting = ask.data.setting(key)
        if setting is None or not setting.value:
            continue
        content = _script_of_commands(setting, wanted)
        if content is not None:
            why = setting.at()
            script = Script(
                "script", stage, order, frequency, name=key, content=content, why=why, secret=True
            )
            found[script.file_name] = script
    boothooks = 0
    for part in ask.data.scripts:
        if part.kind == "boothook":
            boothooks += 1
        script = _script_of_part(part, boothooks)
        # A part may be called runcmd, or as another document's part with the document before it.
        while script.file_name in found:
            script = script._replace(name=f"{script.name}_")
        found[script.file_name] = script
    wanted.want(*found.values())


def _script_of_commands(setting: Setting, wanted: Wanted) -> bytes | None:
    """Return a script of the commands of a key, or None if one of them cannot be used.

    A text is a line for the shell, a list is the words of one command.
    """
    lines = ["#!/bin/sh"]
    for index, item in enumerate(setting.value):
        try:
            if isinstance(item, str):
                lines.append(shell_quoting.check(item))
            else:
                lines.append(shell_quoting.quote_command(item))
        except FieldError as error:
            # The commands after it may rely on this one.
            wanted.error(setting.at(index), f"{error}; none of the commands is run")
            return None
    return ("\n".join(lines) + "\n").encode()


def _script_of_part(part: Part, boothooks: int) -> Script:
    """Return the script of one part; ``boothooks`` is the number of boothooks so far."""
    name = part.name
    document = part.origin.document
    from_vendor = document.startswith("vendor")
    if from_vendor:
        # Names are unique in a document only.
        name = f"{document}-{name}"
    stage: Stage = "late"
    frequency: Frequency
    if part.kind == "boothook":
        stage, order, frequency = "early", _BOOTHOOK_ORDER, "boot"
        name = f"{boothooks:02}-{name}"
    else:
        order, frequency = _LATE_PARTS[part.kind]
        if from_vendor and part.kind == "script":
            order = _VENDOR_ORDER
    return Script(
        "script",
        stage,
        order,
        frequency,
        name=name,
        content=part.content,
        why=part.origin,
        secret=True,
    )
