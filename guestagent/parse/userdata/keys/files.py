"""The key ``write_files``, and the form of its value after check().

===========  ==================================================================
write_files  list of {"path": str, "content": str | bytes, "encoding": "text/plain" | "base64" |
             "gzip" | "gzip+base64", "owner": str, "permissions": str (octal digits), "append",
             "defer": bool, "source": {"uri": str, "headers": {str: str}}}; only path, and in
             a source its uri, are always there
===========  ==================================================================
"""

from __future__ import annotations

from guestagent.parse.userdata.containers import AnyOf, ListOf, MapOf, Mapping
from guestagent.parse.userdata.scalars import Choice, Integer, String, flag
from guestagent.parse.userdata.shape import Field
from guestagent.parse.userdata.yamltree import Octal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from guestagent.parse.userdata.places import Path, Places
    from guestagent.parse.userdata.shape import Schema

_OCTAL_DIGITS = frozenset("01234567")
_NUMBER = Integer(least=0, text=False)
_DECIMAL_MODE = "is a number without a leading 0, taken as octal: write it in quotes, as '0644'"
_UNKNOWN_ENCODING = "is an unknown encoding; content is used as it is (text/plain)"


class _Mode(AnyOf):
    """Permissions: octal digits, or a number that YAML made of them."""

    def __init__(self) -> None:
        super().__init__(_NUMBER, String())

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the octal digits.

        A number that was written in octal, 0644, is the mode.  The digits of any other, 644, are
        taken as they were written; 493, which has other digits, can only be the mode itself.
        """
        found = super().convert(places, value, old, new=new)
        if isinstance(value, str):
            return found
        if isinstance(value, Octal) or not _OCTAL_DIGITS.issuperset(str(found)):
            return f"{found:04o}"
        if found > 7:
            places.warn(old, _DECIMAL_MODE)
        return str(found)

    def json(self) -> Schema:
        """Return the schema of a string, or of a deprecated number."""
        return {"anyOf": [_NUMBER.json() | {"deprecated": True}, String().json()]}


class _Encoding(Choice):
    """An encoding in upper or lower case; as in cloud-init, an unknown one means none."""

    def convert(self, places: Places, value: Any, old: Path, *, new: Path) -> Any:
        """Return the encoding, None for an empty string."""
        word = value.strip().lower()
        if not word:
            return None
        for known, meaning in self._meanings:
            if word == known:
                return meaning
        places.warn(old, _UNKNOWN_ENCODING)
        return "text/plain"

    def json(self) -> Schema:
        """Return the schema of the known ones, or of any other string, which is deprecated."""
        known: Schema = {"enum": list(self._values)}
        return {"anyOf": [known, {"type": "string", "deprecated": True}]}


_ENCODING = _Encoding(
    "text/plain",
    "base64",
    "gzip",
    "gzip+base64",
    old=(
        ("b64", "base64"),
        ("gz", "gzip"),
        ("gz+base64", "gzip+base64"),
        ("gzip+b64", "gzip+base64"),
        ("gz+b64", "gzip+base64"),
    ),
)
_SOURCE = Mapping(
    {
        "uri": Field(String(), "The https:// URL of the content.", required=True),
        "headers": Field(
            MapOf(String()), "Header fields to send.  Default: none.", secret=True, alone=True
        ),
    }
)

_FILE = Mapping(
    {
        "path": Field(String(), "The file's absolute path.", required=True),
        "content": Field(String(binary=True), "The content.  Default: none."),
        "encoding": Field(_ENCODING, "How content is encoded.  Default: text/plain, not at all."),
        "owner": Field(String(), "user:group.  Default: root:root.", alone=True),
        "permissions": Field(_Mode(), "The mode in octal, in quotes.  Default: 0644.", alone=True),
        "append": Field(flag(), "Add to the file instead of replacing it.  Default: false."),
        "defer": Field(
            flag(), "Write it late, after users and packages.  Default: false.", alone=True
        ),
        "source": Field(_SOURCE, "Where to fetch the content, by the setting fetch.enable."),
    }
)

KEYS = {"write_files": Field(ListOf(_FILE), "Files to write.")}
