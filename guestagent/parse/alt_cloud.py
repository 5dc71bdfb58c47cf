"""The layout of Alt Cloud: a single document of user data, on a floppy disk or a CD-ROM.

Source: the page "AltCloud" of cloud-init's documentation.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.parse import nocloud

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import Network, Text


class _Reader(nocloud.Reader):
    """Reads user data, of which there is no more than that."""

    cloud = "altcloud"
    subplatform = "altcloud"

    def read_fields(self) -> dict[str, Any]:
        """Return nothing: there are no metadata."""
        names = self.bundle.names("")
        self.user_name = next(name for name in defs.ALT_CLOUD_NAMES if name in names)
        return {}

    def read_instance_id(self) -> Text | None:
        """Return None: the medium does not say for which instance it is."""
        return None

    def read_network(self) -> Network | None:
        """Return None: there is nothing of the network."""
        return None

    def read_vendor_data(self) -> str | None:
        """Return None: there are no vendor data."""
        return None


read_instance_id, parse = _Reader.read_instance_id_of, _Reader.parse
