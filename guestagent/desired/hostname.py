"""The host name: static, running, and its own line in /etc/hosts."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Problem
from guestagent.resources import Block, File, Hostname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, Text
    from guestagent.resources import Resource
    from guestagent.settings import Settings


def plan(
    name: Text | None, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """hostname(5), the kernel's name where the system runs, hosts(5) by setting.

    Linux holds at most 64 bytes: a longer FQDN is cut at its first dot, and so is every
    FQDN unless the setting ``hostname.fqdn`` wants it whole.
    """
    if name is None or not settings.hostname_manage:
        return [], []
    short = name.value.split(".")[0]
    static = name.value if settings.hostname_fqdn else short
    problems = []
    if len(static) > defs.HOSTNAME_LIMIT:
        reason = f"longer than {defs.HOSTNAME_LIMIT} bytes: cut at the first dot"
        problems.append(Problem("warning", *name.origin, reason))
        static = short
    found: list[Resource] = [
        File("file", defs.HOSTNAME_FILE, f"{static}\n".encode(), 0o644, name.origin)
    ]
    if facts.live:
        found.append(Hostname("hostname", static, name.origin))
    if settings.hosts_manage:
        names = " ".join(dict.fromkeys((name.value, short)))
        line = f"127.0.1.1 {names}"
        found.append(Block("block", defs.HOSTS_FILE, (line,), "line", "root", 0o644, name.origin))
    return found, problems
