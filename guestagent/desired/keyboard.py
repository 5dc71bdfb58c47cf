"""``keyboard``: the layout of the keyboard on the consoles."""

from __future__ import annotations

from guestagent import defs
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.script import Script

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.wanted import Ask, Wanted

_LETTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+,:()"  # as XKB's names have
)
_DEFAULTS = {"model": "pc105", "layout": "", "variant": "", "options": ""}
_SETUPCON = """\
#!/bin/sh
# Set the layout on the consoles, and save it for the start of the next boot.
exec setupcon -k --force --save
"""
_VCONSOLE = """\
#!/bin/sh
# Set the layout on the consoles.
exec systemctl --no-block restart systemd-vconsole-setup.service
"""


def plan(ask: Ask, wanted: Wanted) -> None:
    """Plan keyboard(5) on Debian and its derivatives, vconsole.conf(5) on others, and a script.

    The lines are a block at the file's end, because its readers take the last of two assignments.
    """
    setting = ask.data.setting("keyboard")
    if setting is None:
        return
    given: dict[str, str] = _DEFAULTS | setting.value
    wrong = [field for field, text in given.items() if not _LETTERS.issuperset(text)]
    for field in wrong:
        wanted.error(setting.at(field), "must be letters, digits and _ - + , : ( )")
    if wrong:
        return
    if not given["layout"]:
        wanted.error(setting.at("layout"), "must not be empty")
        return
    lines = [f'XKB{field.upper()}="{text}"' for field, text in given.items()]
    if ask.facts.is_like("debian"):
        path = defs.DEFAULT_KEYBOARD
        script = ""
    else:
        path = defs.VCONSOLE_CONF
        keymap = _console_keymap(given["layout"], given["variant"])
        lines.insert(0, f'KEYMAP="{keymap}"')
        script = _VCONSOLE
    if "setupcon" in ask.facts.programs:
        script = _SETUPCON
    why = setting.at()
    wanted.want(Block("block", path, tuple(lines), style="block", user="root", mode=0o644, why=why))
    if script:
        content = script.encode()
        wanted.want(
            Script("script", "early", 60, "instance", name="keyboard", content=content, why=why)
        )


def _console_keymap(layout: str, variant: str) -> str:
    """Return the console's map for the first layout.

    The maps made from XKB's layouts have names of the form LAYOUT or LAYOUT-VARIANT.
    """
    first_layout = layout.split(",")[0]
    first_variant = variant.split(",")[0]
    if first_variant:
        return f"{first_layout}-{first_variant}"
    return first_layout
