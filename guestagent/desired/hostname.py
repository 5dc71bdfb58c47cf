"""The host name: static, running, and its own line in /etc/hosts."""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Problem
from guestagent.plan.kinds.block import Block
from guestagent.plan.kinds.file import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts, InstanceData
    from guestagent.plan.kinds import Resource
    from guestagent.settings import Settings


def names(data: InstanceData) -> tuple[str, str]:
    """The short name and the full one; both are empty where no name is given."""
    if data.hostname is None:
        return "", ""
    name = data.hostname.value
    return (name, data.fqdn.value) if data.fqdn else (name.split(".")[0], name)


def plan(
    data: InstanceData, facts: Facts, settings: Settings
) -> tuple[list[Resource], list[Problem]]:
    """hostname(5), the kernel's name where the system runs, and hosts(5), each by setting.

    Linux holds at most 64 bytes: a longer FQDN is cut at its first dot, and so is every
    FQDN unless the setting ``hostname.fqdn`` wants it whole.
    """
    name = data.hostname
    if name is None:
        return [], []
    found: list[Resource] = []
    problems: list[Problem] = []
    short, full = names(data)
    if settings.hostname_manage:
        static = full if settings.hostname_fqdn else short
        why = data.fqdn.origin if data.fqdn and settings.hostname_fqdn else name.origin
        if len(static) > defs.HOSTNAME_LIMIT:
            reason = f"longer than {defs.HOSTNAME_LIMIT} bytes: cut at the first dot"
            problems.append(Problem("warning", *why, reason))
            static = static.split(".")[0]
        found.append(File("file", defs.HOSTNAME_FILE, f"{static}\n".encode(), 0o644, why))
        if facts.live:
            from guestagent.plan.kinds.hostname import Hostname

            found.append(Hostname("hostname", static, why))
    if settings.hosts_manage:
        line = " ".join(("127.0.1.1", *dict.fromkeys((full, short))))
        found.append(Block("block", defs.HOSTS_FILE, (line,), "line", "root", 0o644, name.origin))
    return found, problems
