"""The stack ifupdown, Debian's or ifupdown-ng, with one interfaces(5) file."""

from __future__ import annotations

from guestagent import defs
from guestagent.stacks import starts_at_boot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.system.root import Root


def in_use(root: Root) -> bool:
    """Tell whether ifup runs at boot, and reads the directory of guestagent's file."""
    # By systemd or by OpenRC.
    starts = starts_at_boot(root, "networking.service") or root.exists(defs.OPENRC_NETWORKING)
    return starts and root.program("ifup") and "interfaces.d" in root.text(defs.IFUPDOWN_MAIN)


def own_words(root: Root) -> frozenset[str]:
    """Return the words of the interfaces(5) files that are not guestagent's, without comments.

    A NIC is named in them wherever they use it: in a stanza, as a member of a bond or a bridge.
    """
    paths = [defs.IFUPDOWN_MAIN]
    for name in root.listdir(defs.IFUPDOWN_DIR):
        path = f"{defs.IFUPDOWN_DIR}/{name}"
        if path != defs.NETWORK_STACK_FILES["ifupdown"]:
            paths.append(path)
    words: set[str] = set()
    for path in paths:
        for line in root.text(path).splitlines():
            if not line.lstrip().startswith("#"):
                words.update(line.split())
    return frozenset(words)
