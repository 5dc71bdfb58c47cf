"""What sshd_config(5) says for an account, without asking sshd.

sshd itself cannot be asked before it has host keys, nor about a tree that is not running.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from guestagent.model import SshdLine

# Each further line of these adds to the ones before; of all others the first counts.
_LISTS = ("allowusers", "denyusers", "allowgroups", "denygroups")


def words(value: str) -> list[str]:
    """Return the words of a value; quotes around one are left out."""
    return [word.strip('"') for word in value.partition(" #")[0].split()]


def settings_for(lines: Iterable[SshdLine], user: str, groups: Collection[str]) -> dict[str, str]:
    """Return the values of keywords that hold for a user, by the keywords in lower case.

    What is said under a condition that is met overrides what is said for all, even by an earlier
    line.  A condition that depends on where someone logs in from counts as not met.
    """
    for_all: dict[str, str] = {}
    by_match: dict[str, str] = {}
    for keyword, value, match, _ in lines:
        if match and not _is_met(match, user, groups):
            continue
        found = by_match if match else for_all
        if keyword in _LISTS and keyword in found:
            found[keyword] = f"{found[keyword]} {value}"
        else:
            found.setdefault(keyword, value)
    return for_all | by_match


def _is_met(match: str, user: str, groups: Collection[str]) -> bool:
    """Tell whether all conditions of Match are met."""
    parts = words(match)
    while parts:
        criterion = parts.pop(0).lower()
        if criterion == "all":
            continue
        patterns = parts.pop(0).split(",") if parts else []
        names = {"user": (user,), "group": groups}.get(criterion, ())
        if not is_listed(patterns, names):
            return False
    return True


def is_listed(patterns: Collection[str], names: Collection[str]) -> bool:
    """Tell whether one of the names fits a list of patterns, ssh_config(5): "!" excludes."""
    for name in names:
        fits = [pattern for pattern in patterns if fnmatchcase(name, pattern.lstrip("!"))]
        if fits and not any(pattern.startswith("!") for pattern in fits):
            return True
    return False
