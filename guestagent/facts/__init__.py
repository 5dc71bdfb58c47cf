"""What the guest is like, gathered once from its tree before anything is planned."""

from __future__ import annotations

from guestagent import defs, stacks
from guestagent.errors import Refused
from guestagent.facts.network import find_nics, find_resolver
from guestagent.memory import note
from guestagent.model import UNREADABLE, Facts
from guestagent.system.accounts import read_accounts, read_groups, read_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from guestagent.model import SshdLine
    from guestagent.system.root import Root

# The programs that planners look for in ``Facts.programs``, besides those of ``facts.system``.
PROGRAMS = frozenset(("sshd", "ssh-keygen", "sudo"))


# What of sshd_config(5) may keep someone out who has a key, or let someone in who has none here,
# and values that do neither.
_DECIDING = frozenset(
    (
        *("authorizedkeysfile", "pubkeyauthentication", "authenticationmethods", "usepam"),
        *("allowusers", "denyusers", "allowgroups", "denygroups", "permitrootlogin"),
        *("trustedusercakeys", "authorizedkeyscommand", "hostkey", "include", UNREADABLE),
    )
)
_USUAL = {
    "include": ([f"{defs.SSHD_DROPINS}/*.conf"], ["sshd_config.d/*.conf"]),
    "authorizedkeysfile": (
        [".ssh/authorized_keys"],
        [".ssh/authorized_keys", ".ssh/authorized_keys2"],
    ),
    "trustedusercakeys": (["none"],),
    "authorizedkeyscommand": (["none"],),
    "pubkeyauthentication": (["yes"],),
    "authenticationmethods": (["any"],),
    "usepam": (["yes"],),
    "permitrootlogin": (["yes"], ["prohibit-password"], ["without-password"]),
}


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
        sshd=_sshd(root),
        programs=frozenset(name for name in PROGRAMS if root.program(name)),
        unfinished=frozenset(killed.accounts),
        appended=killed.appended,
        made=frozenset(killed.made),
        memberships=_memberships(groups),
        texts={defs.OS_RELEASE: release},
    )
    if not facts.stack:
        from guestagent.stacks import enabling

        facts = facts._replace(idle=enabling.installed(root), enabling=enabling.links(root))
    if facts.sshd:
        facts = facts._replace(locked=read_locked(root), host_keys=_other_host_keys(root, facts))
    if facts.stack == "ifupdown":
        from guestagent.facts import interfaces

        facts = facts._replace(interfaces_words=interfaces.own_words(root))
    if facts.stack == "netplan":
        from guestagent.stacks import netplan

        chosen = netplan.writes_for_networkmanager(root)
        facts = facts._replace(netplan_for_networkmanager=chosen)
    if not root.live:
        return facts

    # Only the running system has these.
    from os import path, uname

    from guestagent.facts.disk import room

    return facts._replace(
        hostname=uname().nodename,
        nics=find_nics(root),
        room=room(root),
        systemd=path.isdir(defs.SYSTEMD_DIR),
    )


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


def _sshd(root: Root) -> tuple[SshdLine, ...]:
    """Return sshd's configuration, if something in it may decide whether a key lets someone in."""
    try:
        names = [name for name in root.listdir(defs.SSHD_DROPINS) if name.endswith(".conf")]
        dropins = (f"{defs.SSHD_DROPINS}/{name}" for name in names)
        paths = (main_sshd_config(root), *(path for path in dropins if path != defs.SSHD_CLOSED))
        if not _any_decides([line for path in paths for line in root.text(path).splitlines()]):
            return ()
    except (Refused, OSError):
        pass  # one file that cannot be read keeps no key from being written: sshd is asked later
    from guestagent.facts import sshd

    lines = sshd.read(root)
    return lines if _any_decides([f"{line.keyword} {line.value}" for line in lines]) else ()


def main_sshd_config(root: Root) -> str:
    """Return the path of the sshd_config(5) that sshd reads: that of /etc, or else the vendor's."""
    try:
        if not root.exists(defs.SSHD_CONFIG) and root.exists(defs.SSHD_VENDOR_CONFIG):
            return defs.SSHD_VENDOR_CONFIG
    except (Refused, OSError):
        pass  # who reads the file tells that
    return defs.SSHD_CONFIG


def _any_decides(lines: Collection[str]) -> bool:
    """Tell whether one of the lines may decide, or one of UsePAM is missing.

    What holds without that one depends on how sshd was built.
    """
    asks_pam = any(line.split()[:1] and line.split()[0].lower() == "usepam" for line in lines)
    return bool(lines) and (not asks_pam or any(_decides(line) for line in lines))


def _decides(line: str) -> bool:
    """Tell whether a line of sshd_config(5) may decide whether a key lets someone in.

    One that includes other files than the usual drop-ins may, until these are read.
    """
    words = line.replace("=", " ", 1).lower().split()
    if not words or words[0] not in _DECIDING:
        return False
    if words[0] == "hostkey":
        return not _is_usual_host_key(words[-1])
    return words[1:] not in _USUAL.get(words[0], ())


def _is_usual_host_key(path: str) -> bool:
    """Tell whether a host key is one of those that are removed where an instance is new."""
    folder, _, name = path.rpartition("/")
    return folder == defs.SSH_DIR and name.startswith("ssh_host_") and name.endswith("_key")


def _other_host_keys(root: Root, facts: Facts) -> tuple[str, ...]:
    """Return the other files of host keys that sshd is told to use, those that exist."""
    paths = [line.value.strip('"') for line in facts.sshd if line.keyword == "hostkey"]
    found = []
    for path in dict.fromkeys(paths):
        if _is_usual_host_key(path) or not path.startswith("/"):  # "none", or one of an agent
            continue
        try:
            if root.exists(path):
                found.append(path)
        except (Refused, OSError):
            found.append(path)  # sshd may have a better way there
    return tuple(found)


def _sshd_includes_dropins(root: Root) -> bool:
    """Tell whether sshd_config(5) includes guestagent's drop-ins, and for all connections."""
    try:
        text = root.text(main_sshd_config(root))
    except (Refused, OSError):
        return False
    own = (defs.SSHD_CLOSED, defs.SSHD_DROPIN)
    included: set[str] = set()
    for_all = True
    for line in text.splitlines():
        keyword, *values = line.replace("=", " ", 1).replace('"', "").split() or [""]
        if keyword.lower() == "match":
            for_all = [value.lower() for value in values] == ["all"]
        elif keyword.lower() == "include" and for_all:
            included |= {path for path in own for value in values if _includes(value, path)}
    return len(included) == len(own)


def _includes(pattern: str, path: str) -> bool:
    """Tell whether a pattern of sshd's Include, a glob(7), is one of a drop-in."""
    pattern = pattern if pattern.startswith("/") else f"{defs.SSH_DIR}/{pattern}"
    folder, _, names = pattern.rpartition("/")
    if folder != defs.SSHD_DROPINS or names in ("*.conf", "*"):
        return folder == defs.SSHD_DROPINS
    from fnmatch import fnmatchcase  # dear, and seldom needed

    return fnmatchcase(path.rpartition("/")[2], names)
