"""What the renderers share: the form of their results and of INI-like files, and a few numbers."""

from __future__ import annotations

from guestagent.errors import FieldError, Origin
from guestagent.record import NamedTuple

# Policy routing comes after the kernel's local table and before its main one, ip-rule(8).
RULE_PRIORITY = 30000
# Of NetworkManager's profiles for NICs that the source does not name: higher than those that it
# makes by itself (-999), and lower than any other.
LOWEST_PRIORITY = "-998"
# Values of the bonding driver that systemd does not know, and so neither does netplan.
UNKNOWN_TO_SYSTEMD = ("filter", "filter_active", "filter_backup", "vlan+srcmac")


class RenderedFile(NamedTuple):
    """A file of a network stack; ``origin`` is where the source asks for it."""

    path: str
    text: str
    mode: int
    origin: Origin


class FileChange(NamedTuple):
    """The text of a rendered file before and after a run; None where the file does not exist."""

    path: str
    old: str | None
    new: str | None


def section(name: str, pairs: list[tuple[str, str]]) -> str:
    """Return one section of an INI-like file, after an empty line; "" without pairs.

    Raises FieldError for a value that would not stay on its line.
    """
    if not pairs:
        return ""
    lines = ["", f"[{name}]"]
    for key, value in pairs:
        if not (value.isascii() and value.isprintable()):
            raise FieldError(f"{key} has a character that the file cannot hold")
        lines.append(f"{key}={value}")
    return "\n".join([*lines, ""])


def first_value(text: str, key: str) -> str:
    """Return the first value of a key in an INI-like file, in any section; "" without one."""
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == key:
            return value
    return ""
