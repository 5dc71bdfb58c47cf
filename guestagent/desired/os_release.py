"""What os-release(5) says of the guest's distribution."""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts


def value(facts: Facts, key: str) -> str:
    """The value of a key of os-release(5), empty where there is none."""
    lines = facts.texts.get(defs.OS_RELEASE, "").splitlines()
    found = (line.partition("=")[2] for line in lines if line.startswith(f"{key}="))
    return next(found, "").strip().strip("\"'")


def like(facts: Facts, distribution: str) -> bool:
    """True if the guest is of that distribution or made from it."""
    return distribution in (facts.os_id, *value(facts, "ID_LIKE").split())
