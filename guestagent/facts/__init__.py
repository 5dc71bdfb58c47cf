"""What the guest is like, read once from its tree before anything is planned."""

from __future__ import annotations

from guestagent import defs
from guestagent.facts import network as netfacts
from guestagent.memory import note
from guestagent.model import Facts
from guestagent.system.accounts import read_accounts, read_groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root

_WANTED_PROGRAMS = ("sshd", "ssh-keygen", "sudo")


def gather(root: Root) -> Facts:
    """Read the facts of a tree.  Raises Refused and OSError where the tree is unsound."""
    known = read_groups(root)
    return Facts(
        live=root.live,
        os_id=_os_id(root.text(defs.OS_RELEASE)),
        hostname=_kernel_name() if root.live else None,
        accounts=tuple(read_accounts(root)),
        groups=tuple(parts[0] for parts in known),
        nics=netfacts.nics(root) if root.live else None,
        backend=netfacts.backend(root),
        resolver=netfacts.resolver(root),
        sshd_dropins=_includes_dropins(root.text(defs.SSHD_CONFIG)),
        programs=frozenset(name for name in _WANTED_PROGRAMS if root.program(name)),
        room=_room(root) if root.live else None,
        unfinished=frozenset(note.read(root).accounts),
        memberships=frozenset(
            f"{parts[0]}:{name}" for parts in known for name in parts[-1].split(",")
        ),
    )


def _room(root: Root) -> int:
    from guestagent.facts.disk import room

    return room(root)


def _kernel_name() -> str:
    from os import uname

    return uname().nodename


def _os_id(text: str) -> str:
    """``ID=`` of os-release(5)."""
    for line in text.splitlines():
        if line.startswith("ID="):
            return line[3:].strip("\"'")
    return ""


def _includes_dropins(text: str) -> bool:
    """True if sshd_config(5) includes its drop-in directory."""
    lines = (line.split() for line in text.splitlines())
    return any(
        words[0].lower() == "include" and any("sshd_config.d/" in word for word in words[1:])
        for words in lines
        if words
    )
