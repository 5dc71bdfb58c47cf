"""What a reload needs to know of the files that ``render`` wrote for systemd-networkd."""

from __future__ import annotations

from guestagent.stacks.rendered import first_value


def made_device(path: str, text: str) -> str:
    """Return the name of the bond or VLAN that a file makes, "" for a file that makes none."""
    return first_value(text, "Name") if path.endswith(".netdev") else ""
