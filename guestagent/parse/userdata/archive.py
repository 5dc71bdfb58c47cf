"""cloud-config archives: a YAML list of parts, each text or a mapping of content and headers."""

from __future__ import annotations

from guestagent.errors import FieldError
from guestagent.parse.userdata import part_types, yamltree
from guestagent.parse.userdata.part_types import Item

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load_entries(content: bytes) -> list[Any]:
    """Return the entries of an archive.  Raises FieldError if it is not a YAML list."""
    entries = yamltree.load(content).value
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise FieldError("is an archive that is not a list")
    return entries


def read_entry(entry: Any) -> Item:
    """Return what an entry of an archive holds.  Raises FieldError if it has another form."""
    if isinstance(entry, str | bytes):
        entry = {"content": entry}
    if not isinstance(entry, dict):
        raise FieldError("is neither text nor a mapping with content")
    content = entry.get("content") or b""
    media_type = entry.get("type") or ""
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
        if not media_type and part_types.type_by_marker(content) is None:
            # As in cloud-init, text that does not say what it is is cloud-config.
            media_type = "text/cloud-config"
    if not isinstance(content, bytes) or not isinstance(media_type, str):
        raise FieldError("is an entry whose content or type is not text")
    headers = {str(key).lower(): str(value) for key, value in entry.items() if key != "content"}
    return Item(
        media_type=media_type.partition(";")[0].strip().lower(),
        file_name=headers.get("filename", ""),
        content=content,
        headers=headers,
    )
