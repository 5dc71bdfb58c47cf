"""What a reload needs to know of the file that ``render`` wrote for ifupdown.

The file has a block for each interface, which begins with its ``auto`` line.  In it a line that
sets something is followed by the lines that undo it.
"""

from __future__ import annotations

from guestagent.stacks.ifupdown.render import CLIENT_RUNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Blocks = dict[str, list[str]]

# Lines that give an interface DNS servers: its own ones, and a DHCP client.
_GIVES_DNS = ("dns-", CLIENT_RUNS)


def blocks(text: str) -> Blocks:
    """Return the lines of each interface's block, but for the first two, by its name.

    An interface without a name is left out: ifup(8) has to configure all of it again.
    """
    found: Blocks = {}
    lines: list[str] = []
    for line in map(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "auto":
            lines = []
            is_pattern = "/" in rest
            if not is_pattern:
                found[rest] = lines
        elif line and word != "iface" and not line.startswith("#"):
            lines.append(line)
    return found


def makes_device(block: Sequence[str]) -> bool:
    """Tell whether a block has a command that makes a bond or VLAN."""
    return any("ip link add " in line for line in block)


def undo_commands(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the commands that undo each setting of the old block that the new one lacks."""
    commands = []
    setting = ""
    for line in old:
        word, _, command = line.partition(" ")
        if word in ("pre-up", "up"):
            setting = line
        elif word == "down" and setting not in new:
            commands.append(command)
    return commands


def late_undo_commands(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return the commands that remove what a client left, which the new block does not start."""
    commands = []
    for line in old:
        word, _, command = line.partition(" ")
        if word == "post-down" and line not in new:
            commands.append(command)
    return commands


def loses_dns(old: Sequence[str], new: Sequence[str]) -> bool:
    """Tell whether an interface has to forget its DNS servers.

    That is not so while a DHCP client of it stays: its servers cannot be told from the others.
    """
    client_stays = any(line.startswith(CLIENT_RUNS) and line in new for line in old)
    if client_stays:
        return False
    return any(line.startswith(_GIVES_DNS) and line not in new for line in old)
