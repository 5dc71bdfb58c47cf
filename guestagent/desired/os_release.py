"""What os-release(5) says of the guest's distribution."""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts


def get(facts: Facts, key: str) -> str:
    """Return the value of a key of os-release(5), empty if it has none."""
    for line in facts.texts.get(defs.OS_RELEASE, "").splitlines():
        name, _, value = line.partition("=")
        if name == key:
            return value.strip().strip("\"'")
    return ""


def is_like(facts: Facts, distribution: str) -> bool:
    """Tell whether the guest is of that distribution or a derivative of it."""
    return distribution in (facts.os_id, *get(facts, "ID_LIKE").split())
