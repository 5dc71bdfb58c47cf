"""A second opinion on public keys: ssh-keygen(1), where it is installed."""

from __future__ import annotations

from guestagent.errors import Problem
from guestagent.system.tools import program, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Text


def check(keys: tuple[Text, ...]) -> tuple[tuple[Text, ...], list[Problem]]:
    """The keys that ssh-keygen can read, and a problem for each of the others."""
    tool = program("ssh-keygen")
    if tool is None or not keys or _readable(tool, keys):
        return keys, []
    good = tuple(key for key in keys if _readable(tool, (key,)))
    reason = "is not a public key that ssh-keygen can read"
    bad = [Problem("error", *key.origin, reason) for key in keys if key not in good]
    return good, bad


def _readable(tool: str, keys: tuple[Text, ...]) -> bool:
    text = "".join(f"{key.value}\n" for key in keys).encode()
    result = run([tool, "-l", "-f", "-"], text)
    return result.status == 0 and result.output.count(b"\n") == len(keys)
