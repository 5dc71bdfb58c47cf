"""The network stacks that guestagent writes files for, one package for each.

A package holds all that is special to its stack: ``in_use`` tells whether it runs at boot, where
that takes more than a look at one unit; ``render`` makes the text of its files; ``read_back`` finds
in such a text what a change of it means; and ``reload`` has a running guest carry out that change.
All but ``reload`` is free of effects.  Of stacks that are not in use, no module is imported.
"""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from guestagent.errors import Problems
    from guestagent.model import Interface
    from guestagent.stacks.rendered import RenderedFile
    from guestagent.system.root import Root

    Render = Callable[[Sequence[Interface], Problems], list[RenderedFile]]

_BOOT_TARGETS = ("sysinit", "multi-user", "network", "network-online")


def in_use(root: Root) -> Literal["networkd", "networkmanager", "ifupdown", "netplan", ""]:
    """Return the stack that will configure the network at boot, or "" if there is none.

    A stack that is merely installed does not count.
    """
    # netplan comes first because it writes files for the next two.
    if root.exists(f"{defs.GENERATORS_DIR}/netplan"):
        from guestagent.stacks import netplan  # few guests have it

        if netplan.in_use(root):
            return "netplan"

    # NetworkManager takes every NIC, networkd only those that it has a file for.
    if starts_at_boot(root, "NetworkManager.service"):
        return "networkmanager"
    # Debian's image with networkd keeps the files of ifupdown.
    if starts_at_boot(root, defs.NETWORKD_UNITS[0]):
        return "networkd"

    from guestagent.stacks import ifupdown

    if ifupdown.in_use(root):
        return "ifupdown"
    return ""


def renderer(stack: str, *, for_networkmanager: bool = False) -> Render:
    """Return the function that renders interfaces for a stack.

    ``for_networkmanager``: if that is netplan, it writes for NetworkManager.
    """
    match stack:
        case "networkd":
            from guestagent.stacks.networkd import render as networkd

            return networkd.render
        case "networkmanager":
            from guestagent.stacks.networkmanager import render as networkmanager

            return networkmanager.render
        case "ifupdown":
            from guestagent.stacks.ifupdown import render as ifupdown

            return ifupdown.render
        case "netplan":
            from guestagent.stacks.netplan import render as netplan

            return netplan.render_for_networkmanager if for_networkmanager else netplan.render
    raise AssertionError(stack)


def starts_at_boot(root: Root, unit: str) -> bool:
    """Tell whether a target of the boot wants a unit of systemd, and the unit is not masked."""
    return _is_wanted(root, unit) and not is_masked(root, unit)


def _is_wanted(root: Root, unit: str) -> bool:
    for directory in defs.UNIT_DIRS:
        for target in _BOOT_TARGETS:
            if root.exists(f"{directory}/{target}.target.wants/{unit}"):
                return True
    return False


def is_masked(root: Root, unit: str) -> bool:
    """Tell whether a unit of systemd is masked."""
    return any(root.readlink(f"{where}/{unit}") == "/dev/null" for where in defs.UNIT_DIRS)
