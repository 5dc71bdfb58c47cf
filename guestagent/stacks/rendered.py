"""What all renderers share: the form of their results, and a few numbers."""

from __future__ import annotations

from guestagent.errors import FieldError, Origin
from guestagent.record import NamedTuple

# Policy routing comes after the kernel's local table and before its main one, ip-rule(8).
RULE_PRIORITY = 30000
# Values of the bonding driver that systemd does not know, and so neither does netplan.
UNKNOWN_TO_SYSTEMD = ("filter", "filter_active", "filter_backup", "vlan+srcmac")


class Rendered(NamedTuple):
    """Files for one network stack, as ``(path, text, origin)``; and what it cannot express.

    ``lost`` holds an origin and a reason for each setting that the stack has no word for.
    """

    files: tuple[tuple[str, str, Origin], ...]
    lost: tuple[tuple[Origin, str], ...] = ()


def section(name: str, pairs: list[tuple[str, str]]) -> str:
    """One section of an INI-like file, after an empty line; nothing without pairs.

    FieldError: a value would not stay on its line.
    """
    if not pairs:
        return ""
    for key, value in pairs:
        if not (value.isascii() and value.isprintable()):
            raise FieldError(f"{key} holds a character that cannot stand in the file")
    return "\n".join(["", f"[{name}]", *(f"{key}={value}" for key, value in pairs), ""])
