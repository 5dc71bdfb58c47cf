"""Add bytes to the kernel's random pool."""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.system.ownfiles import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.plan.kinds.entropy import AddEntropy
    from guestagent.system.root import Root


def carry_out(change: AddEntropy, root: Root) -> None:
    """Write the bytes to random(4), which credits none.  Raises OSError."""
    fd = os.open(defs.RANDOM_DEVICE, os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_all(fd, change.content)
    finally:
        os.close(fd)
