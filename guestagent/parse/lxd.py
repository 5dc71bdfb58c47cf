"""The layout of the guest API of LXD and Incus: ``1.0/meta-data`` and ``1.0/config/KEY``.

Source: the page "Communication between instance and host" of LXD's documentation.  The documents
are those of NoCloud, each the value of a key of the instance: ``cloud-init.user-data``, else
``user.user-data``, and so on.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.parse import nocloud

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import Network

_CONFIG = f"{defs.LXD_API}/config"
_IGNORED = "is not used, because there is {}"


class _Reader(nocloud.Reader):
    """Reads the keys of an instance."""

    cloud = "lxd"
    known_keys = nocloud.KEYS
    subplatform = f"LXD socket API v. {defs.LXD_API}"

    def read_fields(self) -> dict[str, Any]:
        """Return the mapping of ``meta-data``, and find out which keys have the documents."""
        self.user_name = self._name_key("user-data")
        self.vendor_name = self._name_key("vendor-data")
        self.network_name = self._name_key("network-config")
        return super().read_fields()

    def _name_key(self, name: str) -> str:
        """Return the key of the instance that has a document."""
        keys = self.bundle.names(_CONFIG)
        new, old = f"cloud-init.{name}", f"user.{name}"
        if new not in keys:
            return old
        if old in keys:
            self.problems.warn(self.origin(old), _IGNORED.format(new))
        return new

    def read_network(self) -> Network | None:
        """Return the network that a key of the instance describes; None where there is none."""
        return self.read_network_config()

    def path(self, name: str) -> str:
        """Return the name, with its folders, that the source has for a document."""
        if name == defs.SEED_VALUES:
            return name
        folder = defs.LXD_API if name == self.meta_name else _CONFIG
        return f"{folder}/{name}"


read_instance_id, parse = _Reader.read_instance_id_of, _Reader.parse
