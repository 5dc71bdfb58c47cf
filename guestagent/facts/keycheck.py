"""Have ssh-keygen(1), where it is installed, give a second opinion on public keys."""

from __future__ import annotations

from guestagent.system.tools import find_program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from guestagent.errors import Problems
    from guestagent.model import Text


def usable_keys(keys: tuple[Text, ...], problems: Problems) -> tuple[Text, ...]:
    """Return the keys that ssh-keygen can read; each other one becomes a problem."""
    tool = find_program("ssh-keygen")
    # All keys at once are enough where all are good: a process for each would take its time.
    if tool is None or not keys or _can_read(tool, keys, problems):
        return keys
    usable = []
    for key in keys:
        if _can_read(tool, [key], problems):
            usable.append(key)
        else:
            problems.error(key.origin, "is not a public key that ssh-keygen can read; ignored")
    return tuple(usable)


def _can_read(tool: str, keys: Sequence[Text], problems: Problems) -> bool:
    text = "".join(f"{key.value}\n" for key in keys).encode()
    result = run([tool, "-l", "-f", "-"], text)
    problems.passing |= result.status < 0  # it was killed, or took too long
    # It prints a fingerprint for each key that it can read, and ignores other lines.
    return result.status == 0 and result.output.count(b"\n") == len(keys)
