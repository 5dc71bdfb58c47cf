"""What the guest is like, gathered once from its tree before anything is planned."""

from __future__ import annotations

from guestagent import defs, stacks
from guestagent.facts.network import find_nics, find_resolver
from guestagent.memory import note
from guestagent.model import Facts
from guestagent.system.accounts import read_accounts, read_groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from guestagent.system.root import Root

# The programs that planners look for in ``Facts.programs``, besides those of ``facts.system``.
PROGRAMS = frozenset(("sshd", "ssh-keygen", "sudo"))


def gather(root: Root) -> Facts:
    """Return the facts of a tree.  Raises Refused and OSError where the tree is unsound."""
    groups = read_groups(root)
    release = root.text(defs.OS_RELEASE)
    killed = note.read(root)
    facts = Facts(
        live=root.live,
        os_id=_os_id(release),
        hostname=None,
        accounts=tuple(read_accounts(root)),
        groups=tuple(parts[0] for parts in groups),
        nics=None,
        stack=stacks.in_use(root),
        resolver=find_resolver(root),
        sshd_dropins=_sshd_includes_dropins(root),
        programs=frozenset(name for name in PROGRAMS if root.program(name)),
        unfinished=frozenset(killed.accounts),
        appended=killed.appended,
        memberships=_memberships(groups),
        texts={defs.OS_RELEASE: release},
    )
    if not root.live:
        return facts

    # Only the running system has these.
    from os import uname

    from guestagent.facts.disk import room

    return facts._replace(hostname=uname().nodename, nics=find_nics(root), room=room(root))


def _memberships(groups: Iterable[list[str]]) -> frozenset[str]:
    """Return "group:user" for each member that the lines of group(5) list."""
    found = set()
    for parts in groups:
        for member in parts[-1].split(","):
            found.add(f"{parts[0]}:{member}")
    return frozenset(found)


def _os_id(release: str) -> str:
    """Return ``ID=`` of the text of os-release(5)."""
    for line in release.splitlines():
        if line.startswith("ID="):
            return line[3:].strip("\"'")
    return ""


def _sshd_includes_dropins(root: Root) -> bool:
    """Tell whether sshd_config(5) includes its drop-in directory."""
    for line in root.text(defs.SSHD_CONFIG).splitlines():
        words = line.split()
        is_include = words[:1] != [] and words[0].lower() == "include"
        if is_include and any("sshd_config.d/" in path for path in words[1:]):
            return True
    return False
