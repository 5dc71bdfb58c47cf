"""What only cloud-config's keys need to know of the guest: gathered where there is cloud-config."""

from __future__ import annotations

from guestagent import defs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.model import Facts
    from guestagent.system.root import Root

# Programs that planners look for in ``Facts.programs``.
_PROGRAMS = (
    *("apt-get", "dnf", "chronyd", "locale-gen", "localedef", "setupcon"),
    "debconf-set-selections",
    "doas",
    *("update-ca-certificates", "update-ca-trust", "growpart", "sfdisk"),
)
# Small files whose text planners look at in ``Facts.texts``.
_TEXTS = (
    defs.SELINUX_CONFIG,
    *(f"{defs.SSH_DIR}/ssh_host_{kind}_key.pub" for kind in ("rsa", "ecdsa", "ed25519")),
    defs.FSTAB,
    defs.OS_RELEASE,
    *(defs.TIMEZONE_FILE, defs.SUPPORTED_LOCALES),
    *defs.SYSTEM_FILES,
)
_LINKS = (defs.DEFAULT_LOCALE,)


def extend(facts: Facts, root: Root) -> Facts:
    """The facts with programs and texts of the tree.  Raises Refused, OSError."""
    from os import uname

    programs = {name for name in _PROGRAMS if root.program(name)}
    if root.exists(defs.TIMESYNCD):
        programs.add("systemd-timesyncd")
    return facts._replace(
        programs=facts.programs | programs,
        texts={path: root.text(path) for path in _TEXTS},
        links={path: target for path in _LINKS if (target := root.readlink(path))},
        machine=uname().machine,
    )
