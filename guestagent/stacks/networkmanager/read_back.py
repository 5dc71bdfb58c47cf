"""What a reload needs to know of the profiles that ``render`` wrote for NetworkManager."""

from __future__ import annotations

from guestagent.stacks.rendered import first_value


def uuid(profile: str) -> str:
    """Return the UUID of a profile."""
    return first_value(profile, "uuid")


def is_member(profile: str) -> bool:
    """Tell whether a profile makes its NIC a member of a bond."""
    return first_value(profile, "slave-type") != ""
