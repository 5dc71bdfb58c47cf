"""What vendor data holds for a guest's set-up: texts of the formats that user data has.

Two shapes are read: that which cloud-init documents, where the whole or its key ``cloud-init``
is text or a list of texts, and that which Nova makes ("Vendordata" in its administrator's
guide), one object for each provider, ``{"static": {"cloud-init": …}, "<target>": …}``.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.parse.userdata.reader import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_KEY = "cloud-init"
_NO_TEXT = "must be text or a list of texts, as user data has it"
_MAPPING = "must be text that begins with #cloud-config, not an object of its keys"


def vendor_parts(value: object) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]]]:
    """The texts in a document's JSON value, in its order, and what is wrong with others.

    Both come with the path of keys that leads to them, such as ``static.cloud-init[1]``, empty
    for the whole.  Nothing given, in whatever way JSON says it, is no problem; more than
    ``defs.MAX_PARTS`` texts are one problem and none is taken.
    """
    entries = [
        (f"{path}[{index}]" if isinstance(given, list) else path, item)
        for path, given in _places(value)
        for index, item in enumerate(given if isinstance(given, list) else [given])
        if item not in (None, "", [], {})
    ]
    if len(entries) > defs.MAX_PARTS:
        return [], [("", f"holds more than {defs.MAX_PARTS} texts")]
    texts = [(path, item.encode()) for path, item in entries if isinstance(item, str)]
    return texts, [
        (path, _MAPPING if isinstance(item, dict) else _NO_TEXT)
        for path, item in entries
        if not isinstance(item, str)
    ]


def _places(value: object) -> Iterator[tuple[str, object]]:
    """Where texts can stand, with their paths."""
    if not isinstance(value, dict):
        yield "", value
        return
    for name, given in value.items():
        if isinstance(given, dict) and _KEY in given:
            yield f"{name if plain(name) else '?'}.{_KEY}", given[_KEY]
        elif name == _KEY:
            yield _KEY, given
