"""Finds what vendor data holds for a guest's set-up: texts in the formats of user data.

Two shapes are read.  In cloud-init's, the whole or its key ``cloud-init`` is a string or a list of
strings.  In Nova's ("Vendordata" in its administrator's guide) there is one object for each
provider: ``{"static": {"cloud-init": …}, "<target>": …}``.
"""

from __future__ import annotations

from guestagent import defs
from guestagent.parse.userdata.places import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from guestagent.errors import Origin, Problems

_KEY = "cloud-init"
_BAD_CHARACTER = (
    "has a NUL, or a character that is not UTF-8: nothing of it is used, as a part of it is lost"
)
_NOT_TEXT = "must be a string or a list of strings, in the formats of user data"
_IS_MAPPING = "must be a string that begins with #cloud-config, not a mapping of its keys"
_EMPTY: tuple[object, ...] = (None, "", [], {})


def find_texts(value: object, origin: Origin, problems: Problems) -> list[tuple[str, bytes]]:
    """Return the texts in a document's JSON value, in its order.

    Each comes with the path of keys that leads to it, such as ``static.cloud-init[1]``, empty for
    the whole.  Vendor data without any text is no problem; of more than ``defs.MAX_PARTS`` texts
    none is used.
    """
    items = list(_items(value))
    if len(items) > defs.MAX_PARTS:
        problems.error(origin, f"holds more than {defs.MAX_PARTS} texts")
        return []
    texts = []
    for path, item in items:
        if isinstance(item, str) and "\0" in item:
            problems.error(origin._replace(key=path), _BAD_CHARACTER)
        elif isinstance(item, str):
            texts.append((path, item.encode()))
        else:
            reason = _IS_MAPPING if isinstance(item, dict) else _NOT_TEXT
            problems.error(origin._replace(key=path), reason)
    return texts


def _items(value: object) -> Iterator[tuple[str, object]]:
    """Return everything that should be a text, with its path, without what is empty."""
    for path, given in _places(value):
        if isinstance(given, list):
            for index, item in enumerate(given):
                if item not in _EMPTY:
                    yield f"{path}[{index}]", item
        elif given not in _EMPTY:
            yield path, given


def _places(value: object) -> Iterator[tuple[str, object]]:
    """Return the values that may hold texts, with their paths."""
    if not isinstance(value, dict):
        yield "", value
        return
    for name, given in value.items():
        if isinstance(given, dict) and _KEY in given:
            yield f"{shown(name)}.{_KEY}", given[_KEY]
        elif name == _KEY:
            yield _KEY, given
