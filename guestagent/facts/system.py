"""Gather what only the keys of cloud-config need to know of the guest."""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts
    from guestagent.system.root import Root

_TIMESYNCD = "systemd-timesyncd"
# Programs that planners look for in ``Facts.programs``.
PROGRAMS = frozenset(
    (
        *("apt-get", "debconf-set-selections", "dnf"),
        *("chronyd", "locale-gen", "localedef", "setupcon", _TIMESYNCD),
        *("doas", "growpart", "sfdisk"),
        *("update-ca-certificates", "update-ca-trust"),
    )
)
# Small files whose text planners look at in ``Facts.texts``.
_TEXTS = (
    *(defs.FSTAB, defs.OS_RELEASE, defs.SELINUX_CONFIG),
    *(defs.TIMEZONE_FILE, defs.SUPPORTED_LOCALES),
    *defs.SYSTEM_FILES,
)
_HOST_KEYS = tuple(
    f"{defs.SSH_DIR}/ssh_host_{kind}_key.pub" for kind in ("rsa", "ecdsa", "ed25519")
)
# Symbolic links whose targets planners look at in ``Facts.links``.
_LINKS = (defs.DEFAULT_LOCALE,)


def names(root: Root) -> dict[str, str]:
    """Return what templates of user data may know of the guest, by cloud-init's names.

    The kernel of an offline tree is not known.
    """
    from os import uname

    release = {}
    for line in root.text(defs.OS_RELEASE).splitlines():
        key, _, value = line.partition("=")
        release[key] = value.strip().strip("\"'")
    found = {
        "distro": release.get("ID", ""),
        "distro_version": release.get("VERSION_ID", ""),
        "distro_release": release.get("VERSION_CODENAME", ""),
        "variant": release.get("ID", ""),
    }
    if root.live:
        found |= {"kernel_release": uname().release, "machine": uname().machine}
    return {name: value for name, value in found.items() if value}


def extend(facts: Facts, root: Root) -> Facts:
    """Return the facts with further programs, texts and links.  Raises Refused, OSError."""
    from os import uname

    programs = {name for name in PROGRAMS - {_TIMESYNCD} if root.program(name)}
    if root.exists(defs.TIMESYNCD):  # in no directory of programs
        programs.add(_TIMESYNCD)
    texts = {path: root.text(path) for path in (*_TEXTS, *_HOST_KEYS)}
    for path in _HOST_KEYS:
        # A unit may make the key after this run: that is nothing a later run has to notice.
        root.watched.pop(path, None)
    links = {}
    for path in _LINKS:
        target = root.readlink(path)
        if target:
            links[path] = target
    return facts._replace(
        programs=facts.programs | programs,
        texts=texts,
        links=links,
        machine=uname().machine,
    )
