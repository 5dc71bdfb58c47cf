"""The system credentials that systemd was given for guestagent, as a source.

A hypervisor hands them over in strings of SMBIOS type 11, a container manager by
``--set-credential=``: systemd.system-credentials(7).  systemd puts all of them into one folder,
which only root can read.
"""

from __future__ import annotations

import os

from guestagent import defs
from guestagent.errors import SourceBroken
from guestagent.sources.bundle import Bundle
from guestagent.sources.directory import Directory
from guestagent.system.machine import credentials_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from guestagent.errors import Problems


class _Credentials(Directory):
    """A transport over the folder; credentials for others are not there for it."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; see ``Transport``."""
        found = [] if folder else super().names("")
        return [name for name in found if name.startswith(defs.CREDENTIAL_PREFIX)]


def open_source(problems: Problems) -> Bundle | None:
    """Return the credentials for guestagent; None where there are none but which source to use.

    Raises SourceBroken.
    """
    folder = credentials_folder()
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceBroken(f"{folder}: {error.strerror}") from None
    transport = _Credentials(fd, folder)
    bundle = Bundle("system credentials", transport)
    if set(transport.names("")) <= {defs.SOURCE_CREDENTIAL}:
        bundle.close()
        return None
    # Only who starts the machine or its service manager can put something there.
    bundle.own = True
    return bundle
