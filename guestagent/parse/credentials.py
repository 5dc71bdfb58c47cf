"""The layout of systemd's system credentials: documents of NoCloud, and values of their own.

``guestagent.meta-data``, ``guestagent.user-data`` and so on are the documents.  What has to be said
most often needs no YAML: ``guestagent.hostname``, ``guestagent.ssh-authorized-keys`` and
``guestagent.instance-id`` go before the values of ``guestagent.meta-data``.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import Origin, Problems
from guestagent.parse import nocloud
from guestagent.parse.items import Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from guestagent.model import InstanceData, Text
    from guestagent.parse.userdata.signatures import Signatures
    from guestagent.sources.bundle import Bundle

_START = defs.CREDENTIAL_PREFIX
# Credentials that have one value of meta-data each, by the key of that.
_VALUES = {
    "local-hostname": f"{_START}hostname",
    "instance-id": f"{_START}instance-id",
    "public-keys": f"{_START}ssh-authorized-keys",
}
_DOCUMENTS = tuple(
    f"{_START}{name}" for name in ("meta-data", "user-data", "vendor-data", "network-config")
)
_KNOWN = (*_VALUES.values(), *_DOCUMENTS, defs.SOURCE_CREDENTIAL)
_UNKNOWN = f"is not known, and ignored; known are: {', '.join(sorted(_KNOWN))}"
_NO_TEXT = "is not UTF-8 text; it is left out"


class _Reader(nocloud.Reader):
    """Reads credentials."""

    meta_name, user_name, vendor_name, network_name = _DOCUMENTS
    subplatform = "credentials"

    def read_fields(self) -> dict[str, Any]:
        """Return the mapping of ``meta-data``, and read the values beside it."""
        found = super().read_fields()
        self.values = {key: self._read_value(name) for key, name in _VALUES.items()}
        return found

    @classmethod
    def parse(
        cls,
        bundle: Bundle,
        problems: Problems,
        guest: Callable[[], Mapping[str, str]] = dict,
        signatures: Signatures | None = None,
    ) -> InstanceData:
        """Return what the credentials say, and warn of those that are not known."""
        for name in bundle.names(""):
            if name.startswith(_START) and name not in _KNOWN:
                shown = name if name.isprintable() else ""
                problems.warn(Origin(bundle.label, shown, ""), _UNKNOWN)
        return super().parse(bundle, problems, guest, signatures)

    def read_instance_id(self) -> Text | None:
        """Return the instance id; None where there is none, which is no error here."""
        if self.item_with("instance-id").get("instance-id") is None:
            return None
        return super().read_instance_id()

    def item_with(self, name: str) -> Item:
        """Return where a value is: a credential of its own goes before ``meta-data``."""
        if self.values.get(name) is None:
            return super().item_with(name)
        return Item({name: self.values[name]}, self.origin(_VALUES[name]), self.problems)

    def _read_value(self, name: str) -> str | None:
        """Return the text of a credential; None where there is none that can be used."""
        content = self.read_bytes(name)
        if content is None:
            return None
        try:
            return content.decode().strip()
        except UnicodeDecodeError:
            self.problems.error(self.origin(name), _NO_TEXT)
            return None


read_instance_id, parse = _Reader.read_instance_id_of, _Reader.parse
