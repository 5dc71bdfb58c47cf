"""The layout of VMware's guestinfo: ``guestinfo.metadata``, ``.userdata`` and ``.vendordata``.

Source: the page "VMware" of cloud-init's documentation.  The documents are those of NoCloud, each
with a key beside it that says how it is encoded; the network is a part of the metadata.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.errors import FieldError
from guestagent.parse import fields, nocloud
from guestagent.sources.bundle import Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.model import Network

_ENCODINGS = {"base64": False, "b64": False, "gzip+base64": True, "gz+b64": True}
_BAD_ENCODING = f"must be base64 or gzip+base64; {fields.NOTHING_OF_IT}"
_REDACTED = b"---"  # what others leave in place of a value, which cannot be removed
_REDACT = "is not supported: what the keys of guestinfo say stays there, for every user to read"


class _Reader(nocloud.Reader):
    """Reads the keys of guestinfo."""

    meta_name = "guestinfo.metadata"
    user_name = "guestinfo.userdata"
    vendor_name = "guestinfo.vendordata"
    cloud = "vmware"
    subplatform = "guestinfo"
    known_keys = (*nocloud.KEYS, "public-keys-data", "network", "network.encoding")
    given_first = False  # the UUID of the firmware stands for an id that is not given

    def read_fields(self) -> dict[str, Any]:
        """Return the mapping of the metadata; an empty one where it cannot be used."""
        found = super().read_fields()
        if found.get("public-keys-data") is not None:
            self.keys_name = "public-keys-data"
        for name in ("redact", "cleanup-guestinfo"):
            if found.get(name):
                self.problems.warn(self.origin(self.meta_name).under(name), _REDACT)
        return found

    def read_network(self) -> Network | None:
        """Return the network of the metadata, a mapping or its text; None where there is none."""
        value = self.meta.get("network")
        if not value:
            return None
        from guestagent.parse.network import config

        origin = self.meta.origin.under("network")
        if not isinstance(value, str):
            return config.read_network_config(value, origin, self.problems)
        try:
            content = _decoded(value.encode(), self.meta.get("network.encoding") or "")
        except FieldError as error:
            self.problems.error(origin, str(error))
            return None
        return config.parse_network_config(content, origin, self.problems)

    def read_bytes(self, name: str) -> bytes | None:
        """Return a document, decoded; None where it is missing or cannot be used."""
        content = super().read_bytes(name)
        if not content or name == defs.SEED_VALUES:
            return content
        try:
            encoding = self.bundle.get(f"{name}.encoding", defs.NAME_LIMIT) or b""
            content = _decoded(content, encoding.decode("utf-8", "replace"))
        except (FieldError, Unreadable) as error:
            self.problems.error(self.origin(name), f"its encoding: {error}")
            return None
        return None if content.strip() == _REDACTED else content


read_instance_id, parse = _Reader.read_instance_id_of, _Reader.parse


def _decoded(content: bytes, encoding: object) -> bytes:
    """Return what a value is before its encoding, which is empty for none.

    Raises FieldError where it is not in that encoding, or larger than a document may be.
    """
    word = encoding.strip().lower() if isinstance(encoding, str) else None
    if word == "":
        return content
    if word not in _ENCODINGS:
        raise FieldError(_BAD_ENCODING)
    content = fields.base64(content.decode("utf-8", "replace"))
    if _ENCODINGS[word]:
        content = fields.gunzipped(content, defs.JSON_LIMIT)
    if len(content) > defs.JSON_LIMIT:
        raise FieldError(f"is larger than {defs.JSON_LIMIT} bytes")
    return content
